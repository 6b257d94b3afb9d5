"""How bright transients are in one visit, or at their maximum: magnitudes by name."""

from __future__ import annotations

__all__ = [
    "Brightness",
    "FlatMagnitude",
    "FlatSnr",
    "HostOffset",
    "LuminosityFunction",
    "cosmology",
    "distance_modulus",
]

import dataclasses
import functools
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

type F64 = NDArray[np.float64]


class Brightness(Protocol):
    """What draws magnitudes."""

    def magnitudes(self, host_mag: F64, redshift: F64, depth: float, rng: np.random.Generator) -> F64:
        """Draw one magnitude for each transient.

        Parameters
        ----------
        host_mag : `numpy.ndarray`, (N,), float64
            AB magnitude of the host; NaN for none.
        redshift : `numpy.ndarray`, (N,), float64
            Redshift of the host; NaN where it is not known.
        depth : `float`
            AB magnitude of a point source at SNR 5 in the visit; NaN where it is not known.
        rng : `numpy.random.Generator`
            Source of the draws; how many are taken depends on N alone.

        Returns
        -------
        mag : `numpy.ndarray`, (N,), float64
            AB magnitudes; NaN where what the law needs is not known.
        """
        ...


@dataclasses.dataclass(frozen=True)
class HostOffset:
    """Uniform in magnitude about the host's, as in the seed recipe: NaN without a host."""

    low: float = -1.0
    high: float = 3.0

    def magnitudes(self, host_mag: F64, redshift: F64, depth: float, rng: np.random.Generator) -> F64:
        """Draw magnitudes (see `Brightness.magnitudes`)."""
        return host_mag + rng.uniform(self.low, self.high, len(host_mag))


@dataclasses.dataclass(frozen=True)
class FlatMagnitude:
    """Uniform in AB magnitude."""

    low: float = 19.0
    high: float = 26.0

    def magnitudes(self, host_mag: F64, redshift: F64, depth: float, rng: np.random.Generator) -> F64:
        """Draw magnitudes (see `Brightness.magnitudes`)."""
        return rng.uniform(self.low, self.high, len(host_mag))


@dataclasses.dataclass(frozen=True)
class FlatSnr:
    """Uniform in the signal-to-noise ratio that is expected on the visit image, from its depth."""

    low: float = 1.0
    high: float = 50.0

    def magnitudes(self, host_mag: F64, redshift: F64, depth: float, rng: np.random.Generator) -> F64:
        """Draw magnitudes (see `Brightness.magnitudes`)."""
        snr = rng.uniform(self.low, self.high, len(host_mag))
        return np.asarray(depth - 2.5 * np.log10(snr / 5.0), np.float64)


@dataclasses.dataclass(frozen=True)
class LuminosityFunction:
    """Gaussian in absolute magnitude, at the host's redshift: NaN where that is not known."""

    mean: float = -19.0
    sigma: float = 1.0

    def magnitudes(self, host_mag: F64, redshift: F64, depth: float, rng: np.random.Generator) -> F64:
        """Draw magnitudes (see `Brightness.magnitudes`)."""
        absolute = rng.normal(self.mean, self.sigma, len(host_mag))
        return absolute + distance_modulus(redshift)


def cosmology() -> Any:
    """Return the flat universe with H0 = 70 km/s/Mpc and Omega_m = 0.3 that all distances here are of."""
    from astropy.cosmology import FlatLambdaCDM

    return FlatLambdaCDM(H0=70.0, Om0=0.3)


@functools.cache
def _distance_grid() -> tuple[F64, F64]:
    redshift = np.geomspace(1e-4, 10.0, 2000)
    return redshift, np.asarray(cosmology().distmod(redshift).value, np.float64)


def distance_modulus(redshift: F64) -> F64:
    """Return distance moduli in the universe of `cosmology`.

    Parameters
    ----------
    redshift : `numpy.ndarray`, (N,), float64
        From 1e-4 to 10; NaN outside.

    Returns
    -------
    modulus : `numpy.ndarray`, (N,), float64
        mag; interpolated in log z, to 1e-4 mag.
    """
    grid, modulus = _distance_grid()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            np.interp(np.log(redshift), np.log(grid), modulus, left=np.nan, right=np.nan), np.float64
        )
