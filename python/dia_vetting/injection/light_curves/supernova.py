"""Supernovae: parametric light curves of seven classes, in any band and at any redshift.

The light curve of a class is a table in one reference band of its rest frame, its colours are those of a
black body whose temperature falls with phase, with less light below 380 nm for those without hydrogen. The
K-correction is that of this smooth continuum at the effective wavelength of the band: there are no lines and
no passbands, and how far its colours are from real ones is not measured. For detection efficiencies and the
shape of light curves that is enough; for cosmology, use a spectral series (`.sncosmo_source`).
"""

from __future__ import annotations

__all__ = ["Supernovae", "draw_redshifts", "draw_supernovae"]

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from ...errors import BadInputError
from ...magnitudes import ab_flux, ab_magnitude
from ..brightness import cosmology, distance_modulus
from .base import wavelengths
from .extinction import extinction_curve
from .supernova_classes import CLASSES, IA, RATES, Knots

type F64 = NDArray[np.float64]

_H_C_OVER_K = 1.438777e7  # nm K
_BLANKETED = ("Ia", "Ib", "Ic", "IIb")
_BLANKETING = 380.0
_BLANKETING_POWER = 3.0
"""Below 380 nm the flux falls as (wavelength / 380 nm)^3: chosen here."""
_REDDENING = 0.1
"""Mean E(B - V) in the hosts of core collapse, exponential: chosen here."""
_WIDTH_SCATTER = 0.10
"""Scatter of the time scale of core collapse: chosen here."""
_PEAK_WAVELENGTH = 623.0
"""Observed wavelength, nm, at which ``peak_mag`` counts: r."""
_RATE_POWER = 1.5
"""The rate in a volume grows as (1 + z)^1.5: chosen here, for all classes."""


@dataclasses.dataclass(frozen=True)
class Supernovae:
    """N supernovae; arrays of length N.

    Parameters
    ----------
    kind : `numpy.ndarray`, str
        Class.
    redshift : `numpy.ndarray`, float64
        Redshift; NaN gives NaN fluxes.
    peak_mjd : `numpy.ndarray`, float64
        Time of maximum in the reference band, MJD (TAI).
    magnitude : `numpy.ndarray`, float64
        Absolute magnitude at maximum in the reference band, without reddening.
    stretch : `numpy.ndarray`, float64
        Factor on the rest-frame time scale.
    reddening : `numpy.ndarray`, float64
        E(B - V), or the colour c of Ia, mag.
    x1 : `numpy.ndarray`, float64
        Stretch parameter of Ia; NaN for the others.
    """

    kind: NDArray[np.str_]
    redshift: F64
    peak_mjd: F64
    magnitude: F64
    stretch: F64
    reddening: F64
    x1: F64

    @property
    def parameters(self) -> Mapping[str, NDArray[Any]]:
        """Return all of it by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def flux(self, mjd: F64, band: Sequence[str]) -> F64:
        """Return fluxes, nJy, (N, V) (see `.base.LightCurves.flux`); exactly 0 before the explosion."""
        return self._flux(np.asarray(mjd, np.float64), wavelengths(band))

    def with_peak_magnitudes(self, peak_mag: F64) -> Supernovae:
        """Return the same with given apparent AB magnitudes in r at maximum, (N,)."""
        at_peak = dataclasses.replace(self, peak_mjd=np.zeros(len(peak_mag)))
        found = ab_magnitude(at_peak._flux(np.zeros(1), np.array([_PEAK_WAVELENGTH]))[:, 0])
        return dataclasses.replace(self, magnitude=self.magnitude + peak_mag - found)

    def _flux(self, mjd: F64, wavelength: F64) -> F64:
        result = np.full((len(self.kind), len(mjd)), np.nan)
        for name in np.unique(self.kind):
            rows = np.flatnonzero((self.kind == name) & np.isfinite(self.redshift))
            result[rows] = self._class_flux(str(name), rows, mjd, wavelength)
        return result

    def _class_flux(self, name: str, rows: NDArray[np.int64], mjd: F64, wavelength: F64) -> F64:
        model, z = CLASSES[name], self.redshift[rows, None]
        phase = (mjd - self.peak_mjd[rows, None]) / (1.0 + z) / self.stretch[rows, None]
        rest = wavelength / (1.0 + z)
        with np.errstate(over="ignore"):
            colour = _colour(rest, model.reference, _knots(model.temperature, phase, False), name)
        faded = _knots(model.decline, np.maximum(phase, 0.0), True) - 2.5 * np.log10(colour)
        reddened = self.reddening[rows, None] * _reddening(name, rest)
        distance = distance_modulus(z) - 2.5 * np.log10(1.0 + z)
        mag = self.magnitude[rows, None] + distance + faded + reddened
        return _rise(phase, model.rise) * ab_flux(mag)


def _rise(phase: F64, rise: float) -> F64:
    """Return the flux over that at maximum: (1 - (t/rise)^2)^2, at first a fireball's t^2."""
    early = np.clip(1.0 - (np.minimum(phase, 0.0) / rise) ** 2, 0.0, 1.0) ** 2
    return np.where(phase > -rise, early, 0.0)


def _knots(knots: Knots, phase: F64, extend: bool) -> F64:
    """Interpolate a table monotonically; beyond its last entry go on at the last slope, or stay."""
    x, y = np.array(knots, np.float64).T
    last = x[-1]
    value = PchipInterpolator(x, y)(np.clip(phase, x[0], last))
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2]) if extend else 0.0
    return np.asarray(value + slope * np.maximum(phase - last, 0.0), np.float64)


def _colour(wavelength: F64, reference: float, temperature: F64, name: str) -> F64:
    """Return F_nu of the continuum over that at the reference wavelength."""
    ratio = (reference / wavelength) ** 3 * np.expm1(_H_C_OVER_K / (reference * temperature))
    ratio = ratio / np.expm1(_H_C_OVER_K / (wavelength * temperature))
    if name in _BLANKETED:
        ratio = ratio * np.minimum(wavelength / _BLANKETING, 1.0) ** _BLANKETING_POWER
    return np.asarray(ratio, np.float64)


def _reddening(name: str, wavelength: F64) -> F64:
    """Return magnitudes per E(B - V), or per colour of Ia: beta at B, and the extinction law beside it."""
    law = extinction_curve(wavelength)
    if name != "Ia":
        return law
    return np.asarray(IA["beta"][0] + law - extinction_curve(CLASSES["Ia"].reference), np.float64)


def draw_supernovae(
    count: int,
    redshift: F64,
    first_mjd: float,
    last_mjd: float,
    rng: np.random.Generator,
    kinds: Mapping[str, float] = RATES,
) -> Supernovae:
    """Draw supernovae.

    Parameters
    ----------
    count : `int`
        How many, N.
    redshift : `numpy.ndarray`, (N,), float64
        Redshifts.
    first_mjd, last_mjd : `float`
        Range of the time of maximum, uniform, MJD (TAI).
    rng : `numpy.random.Generator`
        Source of the draws; how many are taken depends on N alone.
    kinds : `~collections.abc.Mapping` [`str`, `float`], optional
        Relative number of each class; `RATES` by default.

    Returns
    -------
    supernovae : `Supernovae`
        N of them.

    Raises
    ------
    BadInputError
        If a class is not known, or no class has a positive share.
    """
    for name, share in kinds.items():
        if name not in CLASSES or not share >= 0:
            raise BadInputError("supernova kinds", f"shares of {', '.join(CLASSES)}", f"{name!r}: {share}")
    if not sum(kinds.values()) > 0:
        raise BadInputError("supernova kinds", "a positive share", f"{kinds}")
    edges = np.cumsum(list(kinds.values())) / sum(kinds.values())
    kind = np.array(list(kinds))[
        np.minimum(np.searchsorted(edges, rng.random(count), "right"), len(edges) - 1)
    ]
    peak_mjd = rng.uniform(first_mjd, last_mjd, count)
    x1, colour = _split_normal(rng, count, *IA["x1"]), _split_normal(rng, count, *IA["c"])
    width, normal, dust = (
        rng.standard_normal(count),
        rng.standard_normal(count),
        rng.exponential(_REDDENING, count),
    )
    thermonuclear = kind == "Ia"
    mean = np.array([CLASSES[str(name)].magnitude for name in kind], np.float64)
    scatter = np.array([CLASSES[str(name)].scatter for name in kind], np.float64)
    magnitude = mean + scatter * normal - np.where(thermonuclear, IA["alpha"][0] * x1, 0.0)
    # Guy et al. (2007, A&A 466, 11), section 5.4: the stretch factor of x1.
    stretch = 0.98 + 0.091 * x1 + 0.003 * x1**2 - 0.00075 * x1**3
    return Supernovae(
        kind=kind,
        redshift=np.asarray(redshift, np.float64),
        peak_mjd=peak_mjd,
        magnitude=magnitude,
        stretch=np.where(thermonuclear, stretch, np.exp(_WIDTH_SCATTER * width)),
        reddening=np.where(thermonuclear, colour, dust),
        x1=np.where(thermonuclear, x1, np.nan),
    )


def _split_normal(rng: np.random.Generator, count: int, mode: float, below: float, above: float) -> F64:
    """Draw from two half-Gaussians that meet at the mode with the same density."""
    side = np.where(rng.random(count) < below / (below + above), -below, above)
    return np.asarray(mode + side * np.abs(rng.standard_normal(count)), np.float64)


def draw_redshifts(count: int, z_min: float, z_max: float, rng: np.random.Generator) -> F64:
    """Draw redshifts of events in an expanding volume.

    The density is (1 + z)^1.5 / (1 + z) dV/dz: the rate grows with redshift and is seen slowed down;
    in the universe of `~dia_vetting.injection.brightness.cosmology`.

    Parameters
    ----------
    count : `int`
        How many, N.
    z_min, z_max : `float`
        Range.
    rng : `numpy.random.Generator`
        Source of the draws.

    Returns
    -------
    redshift : `numpy.ndarray`, (N,), float64
        By inversion of the cumulative density on a grid.
    """
    grid = np.linspace(z_min, z_max, 1000)
    volume = cosmology().comoving_volume(grid).value
    steps = np.diff(volume) * (1.0 + 0.5 * (grid[1:] + grid[:-1])) ** (_RATE_POWER - 1.0)
    total = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(np.interp(rng.random(count) * total[-1], total, grid), np.float64)
