"""Detection efficiency as a function of signal-to-noise ratio, band, and the host's light at that place."""

from __future__ import annotations

__all__ = ["ProductModel", "product_efficiency"]

import dataclasses
from collections.abc import Mapping

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.special import expit

from .efficiency import Injections
from .logistic import Threshold, fit_threshold

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class ProductModel:
    """Efficiency p = ceiling / (1 + exp(-z)).

    z = (ln(snr / snr50) - s (host (1 - e) + nucleus e)) / width, e = exp(-d / reach); s = max(0, pivot - mu)
    is how much brighter than the pivot the host is there (0 without a host), mu its surface brightness and d
    the distance from its centre. The noise that the host's photons add is in the expected signal-to-noise
    ratio already; what is fitted is what its subtraction leaves behind.

    Parameters
    ----------
    snr50 : `~collections.abc.Mapping` [`str`, `float`]
        By band: expected signal-to-noise ratio at which half of the ceiling is reached without a host.
    host : `float`
        Growth of ln(snr50) per magnitude of s far from the centre; NaN if no injection tells.
    nucleus : `float`
        The same at the centre.
    width : `float`
        In ln(snr).
    ceiling : `float`
        Efficiency of the brightest.
    pivot : `float`
        mag / arcsec^2; a constant.
    reach : `float`
        arcsec; a constant.
    """

    snr50: Mapping[str, float]
    host: float
    nucleus: float
    width: float
    ceiling: float
    pivot: float
    reach: float

    def __call__(self, injections: Injections) -> F64:
        """Return the efficiency for each injection; NaN where a quantity or the band is not known."""
        s, near = _excess(injections, self.pivot), _near(injections, self.reach)
        shift = np.where(s == 0, 0.0, s * (self.host * (1.0 - near) + self.nucleus * near))
        threshold = np.array([self.snr50.get(band, np.nan) for band in injections.band.tolist()])
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (np.log(injections.snr / threshold) - shift) / self.width
        return np.asarray(self.ceiling * expit(z), np.float64)

    @staticmethod
    def usable(injections: Injections) -> Bool:
        """Return which injections can be fitted: those whose signal-to-noise ratio and host are known."""
        known = np.isfinite(injections.host_surface_brightness) & np.isfinite(injections.separation)
        return np.asarray((known | ~injections.hosted) & np.isfinite(injections.snr) & (injections.snr > 0))

    @classmethod
    def fit(
        cls,
        injections: Injections,
        weights: F64 | None = None,
        start: ProductModel | None = None,
        *,
        pivot: float,
        reach: float,
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
        pivot, reach : `float`
            The constants.

        Returns
        -------
        model : `ProductModel` or `None`
            `None` where all or none were recovered.
        """
        bands, of_row = np.unique(injections.band, return_inverse=True)
        s = _excess(injections, pivot)
        near = _near(injections, reach)
        design = np.column_stack([of_row[:, None] == np.arange(len(bands)), s * (1.0 - near), s * near])
        trials = np.ones(len(injections)) if weights is None else weights
        first = Threshold(np.append(np.full(len(bands), np.log(5.0)), [0.0, 0.0]), 0.15, 0.95)
        if start is not None:
            tail = np.nan_to_num([start.host, start.nucleus])
            values = np.append(np.log([start.snr50[str(band)] for band in bands]), tail)
            first = Threshold(values, start.width, start.ceiling)
        best = fit_threshold(np.log(injections.snr), design, injections.recovered * trials, trials, first)
        if best is None:
            return None
        told = (trials[:, None] * design != 0).any(axis=0)
        found = np.where(told, best.coefficients, np.nan)
        snr50 = {str(band): float(value) for band, value in zip(bands, np.exp(found), strict=False)}
        host, nucleus = map(float, found[-2:])
        return cls(snr50, host, nucleus, best.width, best.ceiling, pivot, reach)

    def parameters(self) -> dict[tuple[str, str], float]:
        """Return the parameters by band (all for those that every band shares) and name."""
        shared = {name: getattr(self, name) for name in _SHARED}
        return {(band, "snr50"): value for band, value in self.snr50.items()} | {
            ("all", name): value for name, value in shared.items()
        }

    @classmethod
    def from_table(cls, table: Table) -> ProductModel:
        """Read the model from rows of `~dia_vetting.injection.schemas.INJECTION_EFFICIENCY`."""
        rows = table[np.asarray(table["model"]).astype(str) == "product"]
        value = {
            (str(band), str(name)): float(number)
            for band, name, number in zip(rows["band"], rows["parameter"], rows["value"], strict=True)
        }
        snr50 = {band: number for (band, name), number in value.items() if name == "snr50"}
        return cls(snr50, **{name: value["all", name] for name in _SHARED})


_SHARED = tuple(field.name for field in dataclasses.fields(ProductModel) if field.name != "snr50")


def _excess(injections: Injections, pivot: float) -> F64:
    """Return s: 0 without a host, NaN where the host's light is not known."""
    return np.where(injections.hosted, np.maximum(pivot - injections.host_surface_brightness, 0.0), 0.0)


def _near(injections: Injections, reach: float) -> F64:
    """Return e: 1 at the host's centre, 0 far away and without a host."""
    return np.where(injections.hosted, np.exp(-injections.separation / reach), 0.0)


def product_efficiency(
    table: Table, band: NDArray[np.str_], snr: F64, host_surface_brightness: F64, separation: F64
) -> F64:
    """Evaluate the product model that a table of fitted efficiencies has.

    Parameters
    ----------
    table : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_EFFICIENCY`.
    band : `numpy.ndarray`, (N,), str
        Bands.
    snr : `numpy.ndarray`, (N,), float64
        Expected signal-to-noise ratios of PSF fluxes on the difference image.
    host_surface_brightness, separation : `numpy.ndarray`, (N,), float64
        Of the host there (mag / arcsec^2) and from its centre (arcsec); NaN without a host.

    Returns
    -------
    efficiency : `numpy.ndarray`, (N,), float64
        NaN in bands that the model does not have.
    """
    nothing = np.zeros(len(snr))
    hosted = np.isfinite(host_surface_brightness)
    rows = Injections(
        nothing > 0,
        np.asarray(band).astype(str),
        nothing,
        np.asarray(snr, np.float64),
        hosted,
        host_surface_brightness,
        separation,
        nothing.astype(np.int64),
    )
    return ProductModel.from_table(table)(rows)
