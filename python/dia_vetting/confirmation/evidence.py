"""How well noise, a constant, isolated outliers, a rise and decline, or a random walk explain light curves.

Every model is Gaussian and linear in its fluxes, so that its evidence (marginal likelihood) has a closed
form; what it is not linear in lies on a fixed grid, over which the evidence is averaged. All objects of a
chunk are computed at once. Each band has its own fluxes, with one prior standard deviation for all bands.

Every model has a small offset in each band, too: the noise of the template is the same in all visits of a
place (`OFFSET` of the error of a point).
"""

from __future__ import annotations

__all__ = ["AMPLITUDES", "MODEL_FRACTION", "OFFSET", "Evidence", "Segments", "light_curve_evidence"]

import dataclasses
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .light_curves import LightCurves
from .random_walk import random_walk_evidence
from .transient_fit import Sums, TransientFit, fit_transients

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

AMPLITUDES = 10.0 ** np.arange(2.0, 5.25, 0.5)
"""Prior standard deviations of fluxes, nJy: AB magnitudes 26.4 to 18.9."""

OFFSET = 0.5
"""Prior standard deviation of the offset of a band, over the median error of its points."""

MODEL_FRACTION = 0.1
"""Error of a model of the shape, as a fraction of the flux: no light curve is just like one of a grid."""

OUTLIER_RATE = 0.1
"""Prior fraction of the visits with an outlier, where there are isolated ones."""

_CHUNK = 60_000  # points at a time


@dataclasses.dataclass(frozen=True)
class Segments:
    """Points of one object in one band: M segments of sorted points.

    Parameters
    ----------
    start, length : `numpy.ndarray`, (M,), int64
        First point, and number of points.
    owner : `numpy.ndarray`, (M,), int64
        Object of each, ascending.
    """

    start: I64
    length: I64
    owner: I64

    @classmethod
    def of(cls, owner: I64, band: I64) -> Segments:
        """Find the segments of points that are sorted by object and band."""
        new = np.r_[True, (owner[1:] != owner[:-1]) | (band[1:] != band[:-1])] if len(owner) else []
        start = np.flatnonzero(new)
        return cls(start, np.diff(np.r_[start, len(owner)]), owner[start])

    def sum(self, values: F64) -> F64:
        """Sum over the points of each segment, (K, ...) to (M, ...)."""
        return np.asarray(np.add.reduceat(values, self.start, axis=0))

    def per_object(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum over the segments of each object that has one, (M, ...) to (O, ...)."""
        return np.asarray(np.add.reduceat(values, self.object_start(), axis=0))

    def object_start(self) -> I64:
        """Return the first segment of each object that has one, (O,)."""
        return np.flatnonzero(np.r_[True, self.owner[1:] != self.owner[:-1]])


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Figures of N objects; NaN (0 for integers) for objects without points.

    Parameters
    ----------
    snr
        sqrt(sum flux^2 / err^2).
    chi2_constant, dof_constant
        About the weighted mean of each band.
    chi2_transient, dof_transient
        About the best rise and decline, with `MODEL_FRACTION` in the errors.
    peak, rise, decline
        Of that, day.
    transient, variable, constant, outliers
        Log evidence over that of noise.
    """

    snr: F64
    chi2_constant: F64
    dof_constant: I64
    chi2_transient: F64
    dof_transient: I64
    peak: F64
    rise: F64
    decline: F64
    transient: F64
    variable: F64
    constant: F64
    outliers: F64


def light_curve_evidence(curves: LightCurves) -> Evidence:
    """Compare models of all light curves.

    Parameters
    ----------
    curves : `~.light_curves.LightCurves`
        Of N objects.

    Returns
    -------
    evidence : `Evidence`
        Arrays of length N.
    """
    result = _empty(curves.n_objects)
    for chunk in _chunks(curves.owner):
        _fill(result, curves, chunk)
    return result


def _empty(count: int) -> Evidence:
    whole = ("dof_constant", "dof_transient")
    values: dict[str, Any] = {
        field.name: np.zeros(count, np.int64) if field.name in whole else np.full(count, np.nan)
        for field in dataclasses.fields(Evidence)
    }
    return Evidence(**values)


def _chunks(owner: I64) -> list[slice]:
    """Cut the points into runs of whole objects."""
    if not len(owner):
        return []
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    edges = [0]
    for start in np.r_[starts[1:], len(owner)]:
        if start - edges[-1] >= _CHUNK:
            edges.append(int(start))
    if edges[-1] < len(owner):
        edges.append(len(owner))
    return [slice(low, high) for low, high in itertools.pairwise(edges)]


def _fill(result: Evidence, curves: LightCurves, chunk: slice) -> None:
    owner, flux, err = curves.owner[chunk], curves.flux[chunk], curves.err[chunk]
    segments = Segments.of(owner, curves.band[chunk])
    wide = np.hypot(err, MODEL_FRACTION * flux)
    sums = _sums(segments, flux, wide, err)
    objects = segments.owner[segments.object_start()]
    noise = segments.per_object(_linear(sums, np.zeros(1)))[:, 0]
    constant = _averaged(segments.per_object(_linear(sums, AMPLITUDES)))
    fit = fit_transients(segments, sums, curves.mjd[chunk], flux, wide)
    walk = _averaged(random_walk_evidence(segments, sums, curves.mjd[chunk], flux, wide, AMPLITUDES))
    outliers = _outliers(segments, flux, wide)
    plain = _sums(segments, flux, err, err)
    n_points = segments.per_object(segments.length)
    n_bands = segments.per_object(np.ones(len(segments.length), np.int64))
    values = {
        "snr": np.sqrt(segments.per_object(plain.ff)),
        "chi2_constant": segments.per_object(plain.ff - plain.f**2 / plain.w),
        "dof_constant": n_points - n_bands,
        "dof_transient": np.maximum(n_points - n_bands - 3, 0),
        "constant": constant - noise,
        "variable": walk - noise,
        "outliers": outliers - noise,
        **_of_fit(fit, noise),
    }
    for name, value in values.items():
        getattr(result, name)[objects] = value


def _of_fit(fit: TransientFit, noise: F64) -> dict[str, F64]:
    return {
        "chi2_transient": fit.chi2,
        "peak": fit.peak,
        "rise": fit.rise,
        "decline": fit.decline,
        "transient": fit.log_evidence - noise,
    }


def _sums(segments: Segments, flux: F64, err: F64, noise: F64) -> Sums:
    weight = err**-2
    typical = segments.sum(noise) / segments.length
    return Sums(
        segments.sum(weight),
        segments.sum(weight * flux),
        segments.sum(weight * flux**2),
        (OFFSET * typical) ** 2,
    )


def _linear(sums: Sums, amplitudes: F64) -> F64:
    """Return the log evidence of a constant of N(0, offset^2 + A^2), over no constant: (M, A)."""
    variance = sums.offset[:, None] + amplitudes**2
    spread = 1.0 + variance * sums.w[:, None]
    return -0.5 * np.log(spread) + 0.5 * variance * sums.f[:, None] ** 2 / spread


def _outliers(segments: Segments, flux: F64, err: F64) -> F64:
    """Return the log evidence of outliers in `OUTLIER_RATE` of the visits, (O,)."""
    variance = err[:, None] ** 2
    total = variance + AMPLITUDES**2
    gain = 0.5 * flux[:, None] ** 2 * (1.0 / variance - 1.0 / total) + 0.5 * np.log(variance / total)
    point = np.logaddexp(np.log1p(-OUTLIER_RATE), np.log(OUTLIER_RATE) + gain)
    return _averaged(segments.per_object(segments.sum(point)))


def _averaged(log_evidence: F64) -> F64:
    """Average evidences over a grid, (O, ...) to (O,)."""
    flat = log_evidence.reshape(len(log_evidence), -1)
    return np.asarray(logsumexp(flat, axis=1) - np.log(flat.shape[1]))
