"""Detection efficiency against magnitude: a logistic form for each band."""

from __future__ import annotations

__all__ = ["Injections", "LogisticFit", "MagnitudeModel", "fit_logistic"]

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.special import expit

from ..skycells import sky_cell
from .logistic import Logistic, common_threshold, fit_logistic_curve

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

_NSIDE = 8192
"""Cells of 0.43 arcmin: injections on the same sky share its host and template."""


@dataclasses.dataclass(frozen=True)
class Injections:
    """N injections as the efficiency models see them.

    Parameters
    ----------
    recovered : `numpy.ndarray`, (N,), bool
        Whether each was recovered.
    band : `numpy.ndarray`, (N,), str
        Bands.
    mag, snr : `numpy.ndarray`, (N,), float64
        AB magnitude and expected signal-to-noise ratio.
    hosted : `numpy.ndarray`, (N,), bool
        Whether each has a host.
    host_surface_brightness, separation : `numpy.ndarray`, (N,), float64
        Of the host at that place (mag / arcsec^2) and from its centre (arcsec); NaN if host-less or not
        known.
    cell : `numpy.ndarray`, (N,), int64
        Sky cell; the same for all injections on one host.
    """

    recovered: Bool
    band: NDArray[np.str_]
    mag: F64
    snr: F64
    hosted: Bool
    host_surface_brightness: F64
    separation: F64
    cell: NDArray[np.int64]

    @classmethod
    def of(cls, outcomes: Table) -> Injections:
        """Take them from a table in `~dia_vetting.injection.schemas.INJECTION_OUTCOME`."""
        names = ("mag", "expected_snr", "host_surface_brightness", "separation")
        mag, snr, brightness, separation = (np.asarray(outcomes[name], np.float64) for name in names)
        return cls(
            np.asarray(outcomes["recovered"], bool),
            np.asarray(outcomes["band"]).astype(str),
            mag,
            snr,
            np.asarray(outcomes["host_id"]) != 0,
            brightness,
            separation,
            _host_cells(outcomes),
        )

    def where(self, keep: NDArray[Any]) -> Injections:
        """Return some rows; ``keep`` is a mask or indices."""
        return Injections(*(getattr(self, field.name)[keep] for field in dataclasses.fields(self)))

    def __len__(self) -> int:
        return len(self.recovered)


def _host_cells(outcomes: Table) -> NDArray[np.int64]:
    """Return the sky cell of each injection; on a host, that of the injection nearest to its centre."""
    cells = sky_cell(np.asarray(outcomes["ra"]), np.asarray(outcomes["dec"]), _NSIDE)
    host, separation = np.asarray(outcomes["host_id"], np.int64), np.asarray(outcomes["separation"], float)
    order = np.lexsort((np.asarray(outcomes["injection_id"]), separation, host))
    hosts, first, of_row = np.unique(host[order], return_index=True, return_inverse=True)
    del hosts
    nearest = np.empty_like(cells)
    nearest[order] = cells[order][first][of_row]
    return np.where(host != 0, nearest, cells)


@dataclasses.dataclass(frozen=True)
class LogisticFit:
    """Logistic efficiency p(m) = ceiling / (1 + exp((m - m50) / width)).

    Parameters
    ----------
    m50 : `float`
        Magnitude at which half of the ceiling is reached.
    width : `float`
        mag.
    ceiling : `float`
        Efficiency at the bright end.
    """

    m50: float
    width: float
    ceiling: float

    def __call__(self, mag: F64) -> F64:
        """Return the efficiency at magnitudes."""
        return np.asarray(self.ceiling * expit((self.m50 - mag) / self.width), np.float64)


def fit_logistic(
    mag: F64, recovered: Bool, weights: F64 | None = None, start: LogisticFit | None = None
) -> LogisticFit | None:
    """Fit the logistic form to injections by maximum likelihood.

    Parameters
    ----------
    mag : `numpy.ndarray`, (N,), float64
        AB magnitudes.
    recovered : `numpy.ndarray`, (N,), bool
        Whether each was recovered.
    weights : `numpy.ndarray`, (N,), float64, optional
        How often each counts; once by default.
    start : `LogisticFit`, optional
        Where the search begins.

    Returns
    -------
    fit : `LogisticFit` or `None`
        `None` where all or none were recovered.
    """
    trials = np.ones(len(mag)) if weights is None else weights
    if not len(mag):
        return None
    start = LogisticFit(float(np.median(mag)), 0.3, 0.95) if start is None else start
    first = Logistic(np.array([-start.m50]), start.width, start.ceiling)
    best = fit_logistic_curve(-mag, common_threshold(len(mag)), recovered * trials, trials, first)
    return None if best is None else LogisticFit(-float(best.coefficients[0]), best.width, best.ceiling)


@dataclasses.dataclass(frozen=True)
class MagnitudeModel:
    """A logistic form for each band.

    Parameters
    ----------
    bands : `~collections.abc.Mapping` [`str`, `LogisticFit`]
        By band; one in which all or none were recovered is not there.
    """

    bands: Mapping[str, LogisticFit]

    def __call__(self, injections: Injections) -> F64:
        """Return the efficiency for each injection; NaN in bands that are not there."""
        efficiency = np.full(len(injections), np.nan)
        for band, fit in self.bands.items():
            mine = injections.band == band
            efficiency[mine] = fit(injections.mag[mine])
        return efficiency

    @staticmethod
    def usable(injections: Injections) -> Bool:
        """Return which injections can be fitted."""
        return np.asarray(np.isfinite(injections.mag))

    @classmethod
    def fit(
        cls, injections: Injections, weights: F64 | None = None, start: MagnitudeModel | None = None
    ) -> MagnitudeModel | None:
        """Fit each band (see `fit_logistic`); `None` where there is nothing to fit in any."""
        fits = {}
        for band in np.unique(injections.band):
            mine = injections.band == band
            best = fit_logistic(
                injections.mag[mine],
                injections.recovered[mine],
                None if weights is None else weights[mine],
                None if start is None else start.bands.get(str(band)),
            )
            if best is not None:
                fits[str(band)] = best
        return cls(fits) if fits else None

    def parameters(self) -> dict[tuple[str, str], float]:
        """Return the parameters by band and name."""
        return {
            (band, name): value
            for band, fit in self.bands.items()
            for name, value in dataclasses.asdict(fit).items()
        }
