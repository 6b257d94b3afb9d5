"""Damped random walks, as active nuclei have them: the same path whatever epochs are asked for."""

from __future__ import annotations

__all__ = ["DampedRandomWalks"]

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BadInputError
from ...magnitudes import ab_flux
from ...seeding import generator
from .base import wavelengths

type F64 = NDArray[np.float64]

_ANCHOR = 60_000.0
"""MJD at which all paths start, forwards and backwards in time."""
_LONGEST_STEP, _STEPS_PER_TAU = 1.0, 32.0
"""Points of a path are a day apart at most, 32 in the shortest damping time; it is linear between them."""
_COLOUR_POWER, _COLOUR_WAVELENGTH = -0.479, 400.0
"""Amplitude falls with wavelength (MacLeod et al. 2010, ApJ 721, 1014: their slope of SF_inf)."""


@dataclasses.dataclass(frozen=True)
class DampedRandomWalks:
    """N Ornstein-Uhlenbeck processes in magnitude about a mean magnitude for each band.

    A path has variance sigma^2 and autocorrelation exp(-t / tau) (Kelly et al. 2009, ApJ 698, 895); all bands
    share it, scaled by
    (wavelength / 400 nm)^-0.479.

    Parameters
    ----------
    mean_mag : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Mean AB magnitude by band, each (N,).
    sigma : `numpy.ndarray`, (N,), float64
        Standard deviation at 400 nm, mag.
    tau : `numpy.ndarray`, (N,), float64
        Damping time, day (observer's frame).
    keys : `tuple`
        What seeds the paths.

    Raises
    ------
    BadInputError
        If a damping time or standard deviation is not positive.
    """

    mean_mag: Mapping[str, F64]
    sigma: F64
    tau: F64
    keys: tuple[object, ...]

    def __post_init__(self) -> None:
        for name, values in (("tau", self.tau), ("sigma", self.sigma)):
            if not (values > 0).all():
                raise BadInputError("damped random walk", f"{name} > 0", f"{np.min(values)}")

    @property
    def parameters(self) -> Mapping[str, NDArray[Any]]:
        """Return standard deviation, damping time and mean magnitudes."""
        means = {f"mean_mag_{band}": values for band, values in self.mean_mag.items()}
        return {"sigma": self.sigma, "tau": self.tau, **means}

    def flux(self, mjd: F64, band: Sequence[str]) -> F64:
        """Return fluxes, nJy, (N, V) (see `.base.LightCurves.flux`).

        Raises
        ------
        BadInputError
            Also if a band has no mean magnitude.
        """
        for name in band:
            if name not in self.mean_mag:
                raise BadInputError("damped random walk", f"a band of {', '.join(self.mean_mag)}", repr(name))
        scale = (wavelengths(band) / _COLOUR_WAVELENGTH) ** _COLOUR_POWER
        mean = np.stack([self.mean_mag[name] for name in band], axis=1)
        mag = mean + scale * self.path(np.asarray(mjd, np.float64))
        return ab_flux(mag)

    def path(self, mjd: F64) -> F64:
        """Return the change at 400 nm, mag, (N, V)."""
        step = min(_LONGEST_STEP, float(self.tau.min(initial=np.inf)) / _STEPS_PER_TAU)
        steps = (mjd - _ANCHOR) / step
        start = self.sigma * generator(*self.keys, "walk start").standard_normal(len(self.sigma))
        ahead = self._walk(start, "walk forwards", max(float(steps.max(initial=0.0)), 0.0), step)
        back = self._walk(start, "walk backwards", max(float(-steps.min(initial=0.0)), 0.0), step)
        path = np.empty((len(steps), len(start)))
        for points, mine in ((ahead, steps >= 0), (back, steps < 0)):
            position = np.abs(steps[mine])
            low = np.clip(np.floor(position).astype(np.int64), 0, len(points) - 2)
            part = (position - low)[:, None]
            path[mine] = (1.0 - part) * points[low] + part * points[low + 1]
        return path.T

    def _walk(self, start: F64, stream: str, reach: float, step: float) -> F64:
        """Return the points from the anchor on, (T, N): a longer reach only appends."""
        rng, decay = generator(*self.keys, stream), np.exp(-step / self.tau)
        kick = self.sigma * np.sqrt(1.0 - decay**2)
        points = [start]
        for _ in range(int(np.ceil(reach)) + 1):
            points.append(decay * points[-1] + kick * rng.standard_normal(len(start)))
        return np.stack(points)
