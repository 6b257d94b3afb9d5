"""Detection efficiency as a function of signal-to-noise ratio, band, and the host's light at that place."""

from __future__ import annotations

__all__ = ["ProductModel", "product_efficiency"]

import dataclasses
from collections.abc import Mapping

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.special import expit

from ..magnitudes import ab_flux
from .efficiency import Injections
from .logistic import Logistic, ThresholdFunction, fit_logistic_curve

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

_FIRST_HOST, _UNIT = (0.01, 0.03), 0.01
"""Where the search for host and gradient begins. What is searched for is their squares, in squares of the
unit: the likelihood is flat in the parameters themselves at 0, and a search that came there would stay."""


@dataclasses.dataclass(frozen=True)
class ProductModel:
    """Efficiency p = ceiling / (1 + exp(-ln(snr_eff / snr50) / width)).

    snr_eff = snr / sqrt(1 + h^2 (host^2 + (gradient d)^2)) has what the subtraction of the host leaves behind
    added to the noise, in quadrature; the noise of the host's photons is in snr already. h is the host's flux
    per arcsec^2 at that place over the error of the PSF flux (0 without a host), d the separation from its
    centre. A PSF or flux scale that is wrong leaves a residual that goes with the light itself, a shift of
    the images one that goes with its gradient: with light times d, where the light falls off like a Gaussian.

    Parameters
    ----------
    snr50 : `~collections.abc.Mapping` [`str`, `float`]
        By band: snr_eff at which half of the ceiling is reached.
    host : `float`
        Residual over the light itself, arcsec^2; not negative. NaN if no injection tells.
    gradient : `float`
        Residual over light times separation, arcsec; not negative.
    width : `float`
        In ln(snr).
    ceiling : `float`
        Efficiency of the brightest.
    """

    snr50: Mapping[str, float]
    host: float
    gradient: float
    width: float
    ceiling: float

    def __call__(self, injections: Injections) -> F64:
        """Return the efficiency for each injection; NaN where a quantity or the band is not known."""
        light, turned = _host_noise(injections)
        extra = light**2 * self.host**2 + turned**2 * self.gradient**2
        extra = np.where(injections.hosted, extra, 0.0)
        snr50 = np.array([self.snr50.get(band, np.nan) for band in injections.band.tolist()])
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (np.log(injections.snr / snr50) - 0.5 * np.log1p(extra)) / self.width
        return np.asarray(self.ceiling * expit(z), np.float64)

    @staticmethod
    def usable(injections: Injections) -> Bool:
        """Return which injections can be fitted: those whose signal-to-noise ratio and host are known."""
        known = np.isfinite(injections.host_surface_brightness) & np.isfinite(injections.separation)
        measured = np.isfinite(injections.snr) & (injections.snr > 0) & np.isfinite(injections.mag)
        return np.asarray((known | ~injections.hosted) & measured)

    @classmethod
    def fit(
        cls, injections: Injections, weights: F64 | None = None, start: ProductModel | None = None
    ) -> ProductModel | None:
        """Fit by maximum likelihood.

        Parameters
        ----------
        injections : `Injections`
            N rows, all of them usable.
        weights : `numpy.ndarray`, (N,), float64, optional
            How often each counts; once by default.
        start : `ProductModel`, optional
            Where the search begins, fitted to injections of the same bands.

        Returns
        -------
        model : `ProductModel` or `None`
            `None` where all or none were recovered.
        """
        bands, of_row = np.unique(injections.band, return_inverse=True)
        trials = np.ones(len(injections)) if weights is None else weights
        best = fit_logistic_curve(
            np.log(injections.snr),
            _threshold(of_row, len(bands), *_host_noise(injections)),
            injections.recovered * trials,
            trials,
            _start(bands, start),
            np.append(np.full(len(bands), -np.inf), [0.0, 0.0]),
        )
        if best is None:
            return None
        told = np.append(
            np.bincount(of_row, trials, len(bands)) > 0, [(trials * injections.hosted).any()] * 2
        )
        *thresholds, host, gradient = np.where(told, best.coefficients, np.nan).tolist()
        host, gradient = _UNIT * float(np.sqrt(host)), _UNIT * float(np.sqrt(gradient))
        snr50 = {str(band): float(np.exp(value)) for band, value in zip(bands, thresholds, strict=True)}
        return cls(snr50, host, gradient, best.width, best.ceiling)

    def parameters(self) -> dict[tuple[str, str], float]:
        """Return the parameters by band (all for those that every band shares) and name."""
        shared = {("all", name): float(getattr(self, name)) for name in _SHARED}
        return {(band, "snr50"): value for band, value in self.snr50.items()} | shared

    @classmethod
    def from_table(cls, table: Table) -> ProductModel:
        """Read the model from a table in `~dia_vetting.injection.schemas.INJECTION_EFFICIENCY`."""
        rows = table[np.asarray(table["model"]).astype(str) == "product"]
        value = {
            (str(band), str(name)): float(number)
            for band, name, number in zip(rows["band"], rows["parameter"], rows["value"], strict=True)
        }
        snr50 = {band: number for (band, name), number in value.items() if name == "snr50"}
        return cls(snr50, **{name: value["all", name] for name in _SHARED})


_SHARED = tuple(field.name for field in dataclasses.fields(ProductModel) if field.name != "snr50")


def _host_noise(injections: Injections) -> tuple[F64, F64]:
    """Return h (arcsec^-2) and h d (arcsec^-1); 0 without a host, NaN where its light is not known."""
    error = ab_flux(injections.mag) / injections.snr
    light = np.where(injections.hosted, ab_flux(injections.host_surface_brightness) / error, 0.0)
    return light, np.where(injections.hosted, light * injections.separation, 0.0)


def _start(bands: NDArray[np.str_], model: ProductModel | None) -> Logistic:
    if model is None:
        return Logistic(
            np.append(np.full(len(bands), np.log(5.0)), (np.array(_FIRST_HOST) / _UNIT) ** 2), 0.15, 0.95
        )
    thresholds = np.log([model.snr50[str(band)] for band in bands])
    host = np.nan_to_num((model.host, model.gradient))
    return Logistic(np.append(thresholds, (host / _UNIT) ** 2), model.width, model.ceiling)


def _threshold(of_row: NDArray[np.int64], count: int, light: F64, turned: F64) -> ThresholdFunction:
    """Return ln(snr50) + ln(1 + extra) / 2 as a function of ln(snr50) by band and the squares."""
    band = (of_row[:, None] == np.arange(count)).astype(np.float64)
    squares = np.column_stack([(_UNIT * light) ** 2, (_UNIT * turned) ** 2])

    def function(coefficients: F64) -> tuple[F64, F64]:
        total = 1.0 + squares @ coefficients[count:]
        slopes = np.column_stack([band, 0.5 * squares / total[:, None]])
        return band @ coefficients[:count] + 0.5 * np.log(total), slopes

    return function


def product_efficiency(
    table: Table,
    band: NDArray[np.str_],
    mag: F64,
    snr: F64,
    host_surface_brightness: F64,
    separation: F64,
) -> F64:
    """Evaluate the product model that a table of fitted efficiencies has.

    Parameters
    ----------
    table : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_EFFICIENCY`.
    band : `numpy.ndarray`, (N,), str
        Bands.
    mag : `numpy.ndarray`, (N,), float64
        AB magnitudes in the difference.
    snr : `numpy.ndarray`, (N,), float64
        Expected signal-to-noise ratios of PSF fluxes on the difference image.
    host_surface_brightness, separation : `numpy.ndarray`, (N,), float64
        Of the host there (mag / arcsec^2) and from its centre (arcsec); NaN without a host.

    Returns
    -------
    efficiency : `numpy.ndarray`, (N,), float64
        NaN in bands that the model does not have.
    """
    names, nothing = np.asarray(band).astype(str), np.zeros(len(snr), np.int64)
    numbers = (np.asarray(c, np.float64) for c in (mag, snr, host_surface_brightness, separation))
    mag, snr, brightness, separation = numbers
    rows = Injections(nothing > 0, names, mag, snr, np.isfinite(brightness), brightness, separation, nothing)
    return ProductModel.from_table(table)(rows)
