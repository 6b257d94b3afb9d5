"""Light of the sources of stamps, from parametric profiles or from images of real galaxies."""

from __future__ import annotations

__all__ = ["Light", "ParametricLight", "PsfDraw", "RealLight"]

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .drawing import SourceDrawer
from .population import Sources
from .presets import Preset
from .real_galaxies import RealGalaxies, drawn, sheared_psf

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class PsfDraw:
    """PSFs of N stamps.

    Parameters
    ----------
    fwhm : `numpy.ndarray`, (N,), float64
        FWHM before the pixel, pixel.
    shear : `numpy.ndarray`, (N,), complex128
        Reduced shear, ``g1 + i g2``.
    sharpest : `float`
        Smallest FWHM that the preset can have, pixel.
    """

    fwhm: F64
    shear: NDArray[np.complex128]
    sharpest: float

    def __getitem__(self, index: slice) -> PsfDraw:
        return PsfDraw(self.fwhm[index], self.shear[index], self.sharpest)

    def scaled(self, factor: float) -> PsfDraw:
        """Return PSFs of another width."""
        return PsfDraw(self.fwhm * factor, self.shear, self.sharpest * factor)


class Light(Protocol):
    """What draws the sources of stamps, each alone."""

    def assigned(self, sources: Sources, rng: np.random.Generator) -> tuple[Sources, I64]:
        """Return the sources as they will be drawn, (N, M), and the galaxy of each central source, (N,)."""

    def draw(self, sources: Sources, flux: F64, x: F64, y: F64, psf: PsfDraw) -> F32:
        """Return the light of each source alone, (N, M, S, S), S without padding.

        ``flux``, ``x`` and ``y`` are (N, M), NaN where there is no source; positions are pixels of the stamp
        without padding.
        """


class ParametricLight:
    """Light of bulges, discs and stars.

    Parameters
    ----------
    preset : `Preset`
        What is simulated.
    """

    def __init__(self, preset: Preset) -> None:
        self._preset = preset

    def assigned(self, sources: Sources, rng: np.random.Generator) -> tuple[Sources, I64]:
        """Return the sources unchanged (see `Light`)."""
        return sources, np.arange(len(sources.star))

    def draw(self, sources: Sources, flux: F64, x: F64, y: F64, psf: PsfDraw) -> F32:
        """Return the light of each source alone (see `Light`)."""
        drawer = SourceDrawer(self._preset, psf.sharpest)
        return drawer.draw(sources, flux, x, y, drawer.psf(psf.fwhm, psf.shear))


class RealLight:
    """Light of real galaxies, and of stars.

    Parameters
    ----------
    preset : `Preset`
        What is simulated.
    galaxies : `RealGalaxies`
        The catalog.
    """

    def __init__(self, preset: Preset, galaxies: RealGalaxies) -> None:
        self._preset = preset
        self._galaxies = galaxies

    def assigned(self, sources: Sources, rng: np.random.Generator) -> tuple[Sources, I64]:
        """Return the sources with the radii of galaxies (see `Light`); magnitudes stay as they are."""
        index = self._galaxies.chosen(sources.magnitude, rng.random(sources.star.shape))
        radius = np.where(sources.star, 0.0, self._galaxies.radius[index])
        return dataclasses.replace(sources, radius=radius, galaxy=index), index[:, 0]

    def draw(self, sources: Sources, flux: F64, x: F64, y: F64, psf: PsfDraw) -> F32:
        """Return the light of each source alone (see `Light`)."""
        images = np.zeros((*x.shape, self._preset.size, self._preset.size), np.float32)
        for k, column in zip(*np.nonzero(np.isfinite(x)), strict=True):
            at = (k, column)
            beam = sheared_psf(self._preset, psf.fwhm[k], psf.shear[k])
            profile = beam
            if not sources.star[at]:
                turn = float(np.angle(sources.shear[at]))
                profile = self._galaxies.profile(sources.galaxy[at], turn, beam)
            images[at] = drawn(self._preset, profile.withFlux(flux[at]), x[at], y[at])
        return images
