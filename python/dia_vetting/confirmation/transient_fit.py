"""Rise and decline: a grid of shapes with linear fluxes in each band, for many light curves at once."""

from __future__ import annotations

__all__ = ["DECLINES", "PEAKS", "RISES", "Sums", "TransientFit", "fit_transients", "shape"]

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from .grouping import positions

if TYPE_CHECKING:
    from .evidence import Segments

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

RISES = (2.0, 6.0, 15.0)
"""Times of rise, day: standard deviation of a Gaussian."""

DECLINES = (5.0, 12.0, 30.0, 80.0)
"""e-folding times of the decline, day."""

PEAKS = (-30.0, -20.0, -12.0, -7.0, -3.0, 0.0, 3.0, 7.0, 12.0, 20.0)
"""Times of the peak from the most significant point, day."""

_SHAPES = [(peak, rise, decline) for peak in PEAKS for rise in RISES for decline in DECLINES]
_BLOCK = 24  # shapes at a time
_LEAST_SHAPE = 1e-4


@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over the points of M segments.

    Parameters
    ----------
    w, f, ff : `numpy.ndarray`, (M,), float64
        Of 1 / err^2, flux / err^2 and flux^2 / err^2.
    offset : `numpy.ndarray`, (M,), float64
        Prior variance of the offset, nJy^2.
    """

    w: F64
    f: F64
    ff: F64
    offset: F64


@dataclasses.dataclass(frozen=True)
class TransientFit:
    """Rise and decline of O objects; arrays of length O, float64.

    Parameters
    ----------
    log_evidence
        Averaged over shapes, times and amplitudes, over that of no flux at all.
    peak, rise, decline
        Of the most likely shape, day.
    chi2
        About the most likely shape, with the best flux in each band and no offset.
    """

    log_evidence: F64
    peak: F64
    rise: F64
    decline: F64
    chi2: F64


def shape(phase: ArrayLike, rise: ArrayLike, decline: ArrayLike) -> F64:
    """Return the flux over that at the peak.

    A Gaussian before the peak and an exponential after it: like none that is simulated, and near to most.

    Parameters
    ----------
    phase : array_like
        Time since the peak, day.
    rise, decline : array_like
        Standard deviation of the Gaussian, and e-folding time, day.
    """
    phase = np.asarray(phase, np.float64)
    before, after = np.minimum(phase, 0.0) / rise, np.maximum(phase, 0.0) / decline
    return np.asarray(np.exp(-0.5 * before**2 - after))


def fit_transients(segments: Segments, sums: Sums, mjd: F64, flux: F64, err: F64) -> TransientFit:
    """Fit the grid of shapes.

    With an offset o and a flux a in each band, of the priors N(0, v) and N(0, A^2), the evidence over that of
    nothing is the usual one of a linear Gaussian model, with 2 x 2 normal equations in each band.
    The grid of peaks is about the most significant point; a peak may be anywhere in the time that the light
    curve covers, so the evidence is less by the ratio of both.

    Parameters
    ----------
    segments : `~.evidence.Segments`
        Of K points in M segments of O objects.
    sums : `Sums`
        Of these points.
    mjd, flux, err : `numpy.ndarray`, (K,), float64
        Points: day, nJy.

    Returns
    -------
    fit : `TransientFit`
        Arrays of length O.
    """
    from .evidence import AMPLITUDES

    objects = segments.owner[segments.object_start()]
    owner = np.repeat(positions(segments.owner, objects), segments.length)
    centre = _most_significant(owner, np.abs(flux) / err, mjd)
    phase = (mjd - centre[owner])[:, None]
    weight = err[:, None] ** -2
    log_evidence = np.empty((len(objects), len(_SHAPES), len(AMPLITUDES)))
    explained = np.empty((len(objects), len(_SHAPES)))
    for low in range(0, len(_SHAPES), _BLOCK):
        block = slice(low, low + _BLOCK)
        peak, rise, decline = np.array(_SHAPES[block]).T
        form = shape(phase - peak, rise, decline)
        form[form < _LEAST_SHAPE] = 0.0
        wt, ft = segments.sum(weight * form), segments.sum(weight * flux[:, None] * form)
        wtt = segments.sum(weight * form**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            best = np.where(wtt > 0, ft**2 / wtt, 0.0)
        explained[:, block] = segments.per_object(best)
        for k, amplitude in enumerate(AMPLITUDES):
            log_evidence[:, block, k] = segments.per_object(_evidence(sums, wt, ft, wtt, amplitude))
    return _summarise(log_evidence, segments.per_object(sums.ff)[:, None] - explained, centre, owner, mjd)


def _most_significant(owner: I64, significance: F64, mjd: F64) -> F64:
    order = np.lexsort((significance, owner))
    return mjd[order[np.r_[np.flatnonzero(np.diff(owner)), len(owner) - 1]]]


def _evidence(sums: Sums, wt: F64, ft: F64, wtt: F64, amplitude: float) -> F64:
    """Return the log evidence of offset and flux, (M, J), of sums (M,) and (M, J)."""
    offset, f = sums.offset[:, None], sums.f[:, None]
    a, c = 1.0 / offset + sums.w[:, None], 1.0 / amplitude**2 + wtt
    determinant = a * c - wt**2
    quadratic = (c * f**2 - 2.0 * wt * f * ft + a * ft**2) / determinant
    return np.asarray(0.5 * quadratic - 0.5 * np.log(offset * amplitude**2 * determinant))


def _summarise(log_evidence: F64, chi2: F64, centre: F64, owner: I64, mjd: F64) -> TransientFit:
    count = len(centre)
    first, last = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(first, owner, mjd)
    np.maximum.at(last, owner, mjd)
    window = PEAKS[-1] - PEAKS[0]
    penalty = np.log(np.maximum((last - first) / window, 1.0))
    of_shape = logsumexp(log_evidence, axis=2)
    best = np.argmax(of_shape, axis=1)
    peak, rise, decline = np.array(_SHAPES)[best].T
    total = logsumexp(of_shape, axis=1) - np.log(log_evidence[0].size) - penalty
    return TransientFit(total, centre + peak, rise, decline, np.maximum(chi2[np.arange(count), best], 0.0))
