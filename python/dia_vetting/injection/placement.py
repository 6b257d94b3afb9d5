"""Where on its host a transient lies: offsets (east, north) from the host's centre, by name.

Every placement works on the tangent plane at the host; `~dia_vetting.injection.host_geometry.deproject` takes
the offsets to the sky, so that pixel scale and WCS never enter.
"""

from __future__ import annotations

__all__ = [
    "HostLight",
    "Nuclear",
    "Placement",
    "SeedPlacement",
    "UniformSeparation",
    "sersic_b",
    "sersic_half_light_radius",
    "sersic_surface_brightness",
]

import dataclasses
from typing import Protocol

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv, gammaln

from .host_geometry import Ellipses

type F64 = NDArray[np.float64]

_LEAST_SIZE = 0.1
"""Least ratio of an axis without the PSF to the axis as measured: moments have errors."""


class Placement(Protocol):
    """What places transients on hosts."""

    def offsets(self, hosts: Table, rng: np.random.Generator) -> tuple[F64, F64]:
        """Draw one offset for each host.

        Parameters
        ----------
        hosts : `astropy.table.Table`
            N rows in `~dia_vetting.injection.schemas.HOST_GALAXY`.
        rng : `numpy.random.Generator`
            Source of the draws; how many are taken depends on N alone.

        Returns
        -------
        east, north : `numpy.ndarray`, (N,), float64
            arcsec; NaN where the host's shape is.
        """
        ...


def _ellipses(hosts: Table) -> Ellipses:
    return Ellipses(*(np.asarray(hosts[name], np.float64) for name in ("host_a", "host_b", "host_pa")))


@dataclasses.dataclass(frozen=True)
class SeedPlacement:
    """The seed recipe: half-normal elliptical radius of scale one semi-axis, uniform phase."""

    def offsets(self, hosts: Table, rng: np.random.Generator) -> tuple[F64, F64]:
        """Draw offsets (see `Placement.offsets`)."""
        radius = rng.standard_normal(len(hosts))
        return _ellipses(hosts).points(radius, rng.uniform(0.0, 2.0 * np.pi, len(hosts)))


@dataclasses.dataclass(frozen=True)
class Nuclear:
    """At the centre, as AGN and tidal disruptions are, but for an isotropic Gaussian error.

    Parameters
    ----------
    scatter : `float`
        Standard deviation along each axis, arcsec.
    """

    scatter: float = 0.0

    def offsets(self, hosts: Table, rng: np.random.Generator) -> tuple[F64, F64]:
        """Draw offsets (see `Placement.offsets`)."""
        east, north = self.scatter * rng.standard_normal((2, len(hosts)))
        return east, north


@dataclasses.dataclass(frozen=True)
class UniformSeparation:
    """Uniform in separation from the centre and in position angle: equal numbers at all offsets.

    Parameters
    ----------
    largest : `float`
        Largest separation, arcsec.
    """

    largest: float = 3.0

    def offsets(self, hosts: Table, rng: np.random.Generator) -> tuple[F64, F64]:
        """Draw offsets (see `Placement.offsets`)."""
        radius = rng.uniform(0.0, self.largest, len(hosts))
        angle = rng.uniform(0.0, 2.0 * np.pi, len(hosts))
        return radius * np.sin(angle), radius * np.cos(angle)


@dataclasses.dataclass(frozen=True)
class HostLight:
    """Like the host's light: a Sersic profile on its ellipse, or bulge and disc where both are measured.

    The light of a Sersic profile within the elliptical radius r is the regularised gamma function P(2n, x),
    x = b (r / r_e)^(1/n) (Graham & Driver 2005, PASA 22, 118, eq. 2), so x is drawn from a gamma law. Its
    half-light radius follows from the measured moments (`sersic_half_light_radius`). A host table that has
    ``host_bulge_fraction``, ``host_bulge_radius`` and ``host_disc_radius`` (half-light semi-major axes,
    arcsec) overrides that where all three are finite: n = 4 with the probability of the bulge's share of the
    light, else n = 1, on ellipses of the host's axis ratio.

    Parameters
    ----------
    sersic_n : `float`
        Index where bulge and disc are not known; 1 is an exponential disc.
    psf_fwhm : `float`
        FWHM of the PSF in the host's moments, arcsec: sigma^2 of a Gaussian of that width is taken off both
        axes. 0 takes the moments as they are.
    """

    sersic_n: float = 1.0
    psf_fwhm: float = 0.0

    def offsets(self, hosts: Table, rng: np.random.Generator) -> tuple[F64, F64]:
        """Draw offsets (see `Placement.offsets`)."""
        count = len(hosts)
        light, phase, part = rng.random(count), rng.uniform(0.0, 2.0 * np.pi, count), rng.random(count)
        ellipses = self._without_psf(_ellipses(hosts))
        radius = self._radius(light, self.sersic_n) * sersic_half_light_radius(1.0, self.sersic_n)
        if "host_bulge_fraction" in hosts.colnames:
            share, bulge, disc = (
                np.asarray(hosts[name], np.float64)
                for name in ("host_bulge_fraction", "host_bulge_radius", "host_disc_radius")
            )
            in_bulge = part < share
            known = np.isfinite(share) & (bulge > 0) & (disc > 0)
            own = np.where(in_bulge, self._radius(light, 4.0) * bulge, self._radius(light, 1.0) * disc)
            radius = np.where(known, own / ellipses.a, radius)
        return ellipses.points(radius, phase)

    @staticmethod
    def _radius(light: F64, n: float) -> F64:
        """Return the elliptical radius, in half-light radii, within which a share of the light lies."""
        return np.asarray((gammaincinv(2.0 * n, light) / sersic_b(n)) ** n, np.float64)

    def _without_psf(self, ellipses: Ellipses) -> Ellipses:
        variance = (self.psf_fwhm * gaussian_fwhm_to_sigma) ** 2
        a, b = (
            np.sqrt(np.maximum(axis**2 - variance, (_LEAST_SIZE * axis) ** 2))
            for axis in (ellipses.a, ellipses.b)
        )
        return Ellipses(a, b, ellipses.pa)


def sersic_b(n: float) -> float:
    """Return b of the Sersic profile exp(-b (r / r_e)^(1/n)), exactly: P(2n, b) = 1/2."""
    return float(gammaincinv(2.0 * n, 0.5))


def sersic_half_light_radius(rms: ArrayLike, n: float) -> F64:
    """Return the half-light semi-major axis of a Sersic profile from its second moment.

    The mean of r^2 over the light is r_e^2 b^(-2n) Gamma(4n) / Gamma(2n) (integrate r^3 exp(-b (r/r_e)^(1/n))
    by x = b (r/r_e)^(1/n)), of which half is along the major axis.

    Parameters
    ----------
    rms : array_like, (N,) or scalar
        Root of the second moment along the major axis, any unit of length.
    n : `float`
        Index.

    Returns
    -------
    radius : `numpy.ndarray`, float64
        In the unit of ``rms``.
    """
    mean_square = np.exp(gammaln(4.0 * n) - gammaln(2.0 * n) - 2.0 * n * np.log(sersic_b(n)))
    return np.asarray(np.asarray(rms, np.float64) * np.sqrt(2.0 / mean_square), np.float64)


def sersic_surface_brightness(
    mag: ArrayLike, a: ArrayLike, b: ArrayLike, radius: ArrayLike, n: float = HostLight.sersic_n
) -> F64:
    """Return the surface brightness of a Sersic profile with given second moments.

    The light of I_0 exp(-b (r / r_e)^(1/n)) on an ellipse is 2 pi n Gamma(2n) b^(-2n) r_a r_b I_0 (Graham &
    Driver 2005, PASA 22, 118, eqs. 2 and 4), r_a and r_b the half-light semi-axes.

    Parameters
    ----------
    mag : array_like, (N,)
        Magnitudes of all the light.
    a, b : array_like, (N,)
        Semi-axes, roots of the second moments, arcsec.
    radius : array_like, (N,)
        Elliptical radius in units of these: 1 is on the ellipse.
    n : `float`, optional
        Index; by default that of `HostLight`.

    Returns
    -------
    brightness : `numpy.ndarray`, (N,), float64
        mag / arcsec^2.
    """
    axes = sersic_half_light_radius(a, n) * sersic_half_light_radius(b, n)
    norm = 2.0 * np.pi * n * np.exp(gammaln(2.0 * n)) * sersic_b(n) ** (-2.0 * n)
    depth = sersic_b(n) * (np.asarray(radius, np.float64) / sersic_half_light_radius(1.0, n)) ** (1.0 / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.asarray(mag, np.float64) + 2.5 * np.log10(norm * axes)
    return np.asarray(centre + 2.5 / np.log(10.0) * depth, np.float64)
