"""Galaxies of a GalSim RealGalaxy catalog in place of parametric ones."""

from __future__ import annotations

__all__ = ["LEAST_CHOICE", "MAX_BRIGHTENING", "RealGalaxies", "drawn", "sheared_psf"]

import pathlib

import galsim
import numpy as np
from numpy.typing import NDArray

from ..bad_input import BadInputError
from .presets import Preset
from .transforms import psf_profile

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

MAX_BRIGHTENING = 1.0
"""By how much a galaxy is made brighter than it is, magnitude."""

LEAST_CHOICE = 8
"""Number of galaxies of which the brightest are chosen from, however bright they are to be."""


class RealGalaxies:
    """Images of real galaxies, drawn at the resolution of a preset.

    The light is that of the original image, deconvolved from its PSF, turned, moved and convolved again, as
    in Mandelbaum et al. (2012, MNRAS 420, 1518). The noise of the original image stays in it.

    Parameters
    ----------
    path : `str` or `pathlib.Path`
        The catalog; the files of images and PSFs are beside it.

    Raises
    ------
    BadInputError
        If it cannot be read.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        path = pathlib.Path(path)
        try:
            self._catalog = galsim.RealGalaxyCatalog(path.name, dir=str(path.parent))
            self._galaxies = [galsim.RealGalaxy(self._catalog, index=k) for k in range(len(self._catalog))]
            self.magnitude = np.asarray(self._catalog.mag, np.float64)
        except (OSError, ValueError, KeyError, galsim.GalSimError) as error:
            raise BadInputError(str(path), "a RealGalaxy catalog of GalSim", str(error)) from error
        self.radius = np.array([_radius(galaxy) for galaxy in self._galaxies])

    def __len__(self) -> int:
        return len(self._galaxies)

    def chosen(self, magnitude: F64, uniform: F64) -> NDArray[np.int64]:
        """Choose galaxies to be drawn at magnitudes.

        Parameters
        ----------
        magnitude : `numpy.ndarray`, float64
            Magnitudes that they are scaled to.
        uniform : `numpy.ndarray`, float64
            Random numbers from 0 to 1, one each.

        Returns
        -------
        index : `numpy.ndarray`, int64
            Positions in the catalog: any with the same probability that is at most `MAX_BRIGHTENING` fainter,
            or one of the `LEAST_CHOICE` brightest where there are fewer. Scaling up a galaxy scales up the
            noise of its image.
        """
        order = np.argsort(self.magnitude, kind="stable")
        allowed = np.searchsorted(self.magnitude[order], magnitude + MAX_BRIGHTENING, side="right")
        allowed = np.clip(allowed, min(LEAST_CHOICE, len(self)), len(self))
        return np.asarray(order[(uniform * allowed).astype(np.int64)])

    def profile(self, index: int, turn: float, psf: galsim.GSObject) -> galsim.GSObject:
        """Return a galaxy as it is seen.

        Parameters
        ----------
        index : `int`
            Position in the catalog.
        turn : `float`
            Rotation, radian.
        psf : `galsim.GSObject`
            As from `sheared_psf`.
        """
        return galsim.Convolve(self._galaxies[index].rotate(turn * galsim.radians), psf)


def sheared_psf(preset: Preset, fwhm: float, shear: complex) -> galsim.GSObject:
    """Return a PSF of the preset; its FWHM in pixels."""
    size = fwhm * preset.pixel_scale
    round_psf = psf_profile(preset.psf).withGSParams(galsim.GSParams())
    return round_psf.dilate(size).shear(g1=shear.real, g2=shear.imag)


def drawn(preset: Preset, profile: galsim.GSObject, x: float, y: float) -> F32:
    """Return a profile at a position of the stamp without padding."""
    middle = 0.5 * (preset.size - 1)
    image = profile.drawImage(
        nx=preset.size,
        ny=preset.size,
        scale=preset.pixel_scale,
        offset=(x - middle, y - middle),
        dtype=np.float32,
    )
    return np.asarray(image.array)


def _radius(galaxy: galsim.RealGalaxy) -> float:
    """Return the half-light radius without the PSF, as if both were Gaussian, arcsec."""
    observed, psf = (part.calculateHLR() for part in (galaxy.original_gal, galaxy.original_psf))
    return float(max(observed**2 - psf**2, 0.0) ** 0.5)
