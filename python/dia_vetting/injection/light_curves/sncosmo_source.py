"""Supernovae of a spectral series that the user has in sncosmo, with its K-corrections and passbands."""

from __future__ import annotations

__all__ = ["SncosmoSupernovae", "sncosmo_supernovae"]

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BadInputError
from ...magnitudes import AB_ZERO_POINT, ab_magnitude
from ..brightness import cosmology
from .supernova import Supernovae
from .supernova_classes import IA

type F64 = NDArray[np.float64]

_REST_BAND = "bessellb"
"""Passband of the absolute magnitudes; it comes with sncosmo."""


@dataclasses.dataclass(frozen=True)
class SncosmoSupernovae:
    """N supernovae of one source; arrays of length N.

    Parameters
    ----------
    source : `str`
        Name of a source that sncosmo has, or can read, without a network.
    bandpasses : `~collections.abc.Mapping` [`str`, `str`]
        sncosmo's name of the passband of each band.
    redshift, peak_mjd : `numpy.ndarray`, float64
        Redshift (NaN gives NaN fluxes), and the time of the source's phase 0, MJD (TAI).
    magnitude : `numpy.ndarray`, float64
        Absolute AB magnitude at maximum in Bessell's B.
    x1, c : `numpy.ndarray`, float64
        Stretch and colour; used where the source has these parameters.
    """

    source: str
    bandpasses: Mapping[str, str]
    redshift: F64
    peak_mjd: F64
    magnitude: F64
    x1: F64
    c: F64

    @property
    def parameters(self) -> Mapping[str, NDArray[Any]]:
        """Return all of it by name."""
        names = ("redshift", "peak_mjd", "magnitude", "x1", "c")
        source = np.full(len(self.redshift), self.source)
        return {"source": source} | {name: getattr(self, name) for name in names}

    def flux(self, mjd: F64, band: Sequence[str]) -> F64:
        """Return fluxes, nJy, (N, V) (see `.base.LightCurves.flux`); 0 outside the phases of the source.

        Raises
        ------
        BadInputError
            If sncosmo, the source or a passband is not there, or the source does not cover a passband.
        """
        model = _model(self.source)
        result = np.full((len(self.redshift), len(mjd)), np.nan)
        names = np.asarray(band)
        for name in np.unique(names):
            columns = np.flatnonzero(names == name)
            times, back = np.unique(np.asarray(mjd, np.float64)[columns], return_inverse=True)
            fluxes = self._band_flux(model, _passband(str(name), self.bandpasses), times)
            result[:, columns] = fluxes[:, back]
        return result

    def _band_flux(self, model: Any, passband: Any, times: F64) -> F64:
        """Return fluxes in one passband at ascending times, (N, T)."""
        fluxes = np.full((len(self.redshift), len(times)), np.nan)
        for row in np.flatnonzero(np.isfinite(self.redshift)):
            self._set(model, int(row))
            try:
                fluxes[row] = model.bandflux(passband, times, zp=AB_ZERO_POINT, zpsys="ab")
            except ValueError as error:  # the passband reaches beyond the spectra at this redshift
                wanted = f"spectra for {passband.name} at z = {self.redshift[row]:.3f}"
                raise BadInputError(f"sncosmo source {self.source}", wanted, str(error)) from None
            # sncosmo goes on with the first and last spectrum.
            fluxes[row, (times < model.mintime()) | (times > model.maxtime())] = 0.0
        return np.asarray(np.maximum(fluxes, 0.0), np.float64)

    def _set(self, model: Any, row: int) -> None:
        own = {name: getattr(self, name)[row] for name in ("x1", "c") if name in model.param_names}
        model.set(z=self.redshift[row], t0=self.peak_mjd[row], **own)
        model.set_source_peakabsmag(self.magnitude[row], _REST_BAND, "ab", cosmo=cosmology())

    def with_peak_magnitudes(self, peak_mag: F64, band: str) -> SncosmoSupernovae:
        """Return the same with given apparent AB magnitudes in a band at phase 0, (N,)."""
        at_peak = dataclasses.replace(self, peak_mjd=np.zeros(len(peak_mag)))
        found = ab_magnitude(at_peak.flux(np.zeros(1), [band])[:, 0])
        return dataclasses.replace(self, magnitude=self.magnitude + peak_mag - found)


def sncosmo_supernovae(drawn: Supernovae, source: str, bandpasses: Mapping[str, str]) -> SncosmoSupernovae:
    """Give drawn supernovae the spectra of a source.

    Parameters
    ----------
    drawn : `~dia_vetting.injection.light_curves.supernova.Supernovae`
        Redshifts, times, absolute magnitudes, x1 and colour are taken over; reddening is not, except for Ia,
        whose magnitudes get beta c where the source has a colour.
    source, bandpasses
        See `SncosmoSupernovae`.

    Returns
    -------
    supernovae : `SncosmoSupernovae`
        As many.

    Raises
    ------
    BadInputError
        If sncosmo or the source is not there.
    """
    has_color = "c" in _model(source).param_names
    thermonuclear = drawn.kind == "Ia"
    color = np.where(thermonuclear & has_color, drawn.reddening, 0.0)
    return SncosmoSupernovae(
        source,
        dict(bandpasses),
        drawn.redshift,
        drawn.peak_mjd,
        drawn.magnitude + IA["beta"][0] * color,
        np.where(thermonuclear, drawn.x1, 0.0),
        color,
    )


def _sncosmo() -> Any:
    try:
        return importlib.import_module("sncosmo")
    except ImportError as error:
        raise BadInputError("supernova.sncosmoSource", "sncosmo (pip install sncosmo)", str(error)) from None


def _model(source: str) -> Any:
    sncosmo = _sncosmo()
    try:
        return sncosmo.Model(source)
    except Exception as error:  # sncosmo looks names up on the network: any error of that may come
        raise BadInputError("supernova.sncosmoSource", "a source that sncosmo has here", str(error)) from None


def _passband(band: str, bandpasses: Mapping[str, str]) -> Any:
    if band not in bandpasses:
        raise BadInputError("supernova.sncosmoBandpasses", f"a passband of {band}", f"{dict(bandpasses)}")
    try:
        return _sncosmo().get_bandpass(bandpasses[band])
    except Exception as error:  # as above
        wanted = f"a passband {bandpasses[band]!r} that sncosmo has here"
        raise BadInputError("supernova.sncosmoBandpasses", wanted, str(error)) from None
