"""Drawing many sources at once: transforms on a common grid, one inverse Fourier transform per source.

GalSim gives the transforms of the profiles (see `.transforms`); its own drawing makes one source at a time,
and takes several times as long for stamps.
"""

from __future__ import annotations

__all__ = ["SourceDrawer", "effective_fwhm"]

import functools

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .knots import Knots
from .population import Sources
from .presets import Preset, PsfModel
from .transforms import profile_table, psf_table

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]
type C64 = NDArray[np.complex64]

_CHUNK = 16  # sources drawn together: their arrays stay in the cache
_WRAP = 40  # pixels beyond the stamp before the image repeats
_SAMPLED = 3.2  # FWHM, pixels, from which a grid of whole pixels is enough


class SourceDrawer:
    """Draws the sources of stamps of one preset.

    Parameters
    ----------
    preset : `Preset`
        Size, pixel scale and PSF.
    sharpest : `float`
        FWHM of the sharpest PSF that will be drawn, pixel: the grid is finer for undersampled ones.
    """

    def __init__(self, preset: Preset, sharpest: float) -> None:
        self._preset = preset
        self._factor = 2 if sharpest < _SAMPLED else 1
        side = scipy.fft.next_fast_len(preset.size + _WRAP, real=True)
        self._shape = (self._factor * side, self._factor * side)
        step = 2.0 * np.pi * self._factor
        self._kx = (step * np.fft.rfftfreq(self._shape[0])).astype(np.float32)
        self._ky = (step * np.fft.fftfreq(self._shape[0])).astype(np.float32)
        self._squares = (self._kx**2, self._kx * self._ky[:, None], self._ky[:, None] ** 2)
        pixel = np.sinc(self._ky / (2.0 * np.pi))[:, None] * np.sinc(self._kx / (2.0 * np.pi))
        self._pixel = (pixel * self._factor**2).astype(np.float32)

    def psf(self, fwhm: F64, shear: NDArray[np.complex128]) -> F32:
        """Return the transforms of PSFs, with that of the pixel.

        Parameters
        ----------
        fwhm : `numpy.ndarray`, (N,), float64
            FWHM, pixel.
        shear : `numpy.ndarray`, (N,), complex128
            Reduced shear.

        Returns
        -------
        transforms : `numpy.ndarray`, (N, rows, columns), float32
            On the grid of the drawer.
        """
        transforms = psf_table(self._preset.psf).at(self._wave(fwhm, shear))
        transforms *= self._pixel
        return transforms

    def draw(self, sources: Sources, flux: F64, x: F64, y: F64, psf: F32) -> F32:
        """Draw the sources of stamps, each alone, without noise.

        Parameters
        ----------
        sources : `Sources`
            What they are like, (N, M).
        flux : `numpy.ndarray`, (N, M), float64
            Total flux.
        x, y : `numpy.ndarray`, (N, M), float64
            Positions in the stamp without padding, pixel; a NaN means that there is no source.
        psf : `numpy.ndarray`, (N, rows, columns), float32
            As from `psf`.

        Returns
        -------
        images : `numpy.ndarray`, (N, M, S, S), float32
            Light in each pixel, S the side without padding; 0 where there is no source.
        """
        size = self._preset.size
        images = np.zeros((*x.shape, size, size), np.float32)
        stamps, columns = np.nonzero(np.isfinite(x))
        for start in range(0, len(stamps), _CHUNK):
            at = stamps[start : start + _CHUNK], columns[start : start + _CHUNK]
            light: F32 | C64 = self._light(sources, at, flux[at])
            if sources.knots is not None:
                light = light + self._knot_light(sources, sources.knots, at, flux[at])
            light *= psf[at[0]]
            phased = self._phase(x[at], y[at])
            phased *= light
            image = scipy.fft.irfft2(phased, s=self._shape, overwrite_x=True)
            images[at] = image[:, : size * self._factor : self._factor, : size * self._factor : self._factor]
        return images

    def _wave(self, radius: F64, shear: NDArray[np.complex128]) -> F32:
        """Return wave numbers times the radius in the frame where a sheared profile is round."""
        g1, g2 = shear.real, shear.imag
        scale = radius**2 / (1.0 - g1**2 - g2**2)
        terms = (
            scale * ((1.0 + g1) ** 2 + g2**2),
            scale * 4.0 * g2,
            scale * ((1.0 - g1) ** 2 + g2**2),
        )
        xx, xy, yy = (term.astype(np.float32)[:, None, None] for term in terms)
        squared = xy * self._squares[1]
        squared += xx * self._squares[0]
        squared += yy * self._squares[2]
        return np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)

    def _light(self, sources: Sources, at: tuple[NDArray[np.int64], ...], flux: F64) -> F32:
        """Return the transforms of the sources at an index, before the PSF."""
        star = sources.star[at]
        light = np.empty((len(star), *self._pixel.shape), np.float32)
        light[star] = flux[star, None, None]
        galaxy = tuple(index[~star] for index in at)
        share, shear = sources.bulge_fraction[galaxy], sources.shear[galaxy]
        scale = 1.0 / self._preset.pixel_scale
        table = profile_table()
        disc = table.at(self._wave(sources.radius[galaxy] * scale, shear))
        row = 1 + sources.bulge_index[galaxy][:, None, None]
        bulge = table.at(self._wave(sources.bulge_radius[galaxy] * scale, shear), row)
        smooth = 1.0 if sources.knots is None else 1.0 - sources.knots.share[galaxy].sum(axis=1)
        disc *= (flux[~star] * (1.0 - share) * smooth).astype(np.float32)[:, None, None]
        bulge *= (flux[~star] * share).astype(np.float32)[:, None, None]
        disc += bulge
        light[~star] = disc
        return light

    def _knot_light(
        self, sources: Sources, knots: Knots, at: tuple[NDArray[np.int64], ...], flux: F64
    ) -> C64:
        """Return the transforms of the knots of the sources at an index, before the PSF."""
        shear, radius = sources.shear[at][:, None], sources.radius[at][:, None] / self._preset.pixel_scale
        g1, g2 = shear.real, shear.imag
        scale = radius / np.sqrt(1.0 - g1**2 - g2**2)
        x = scale * ((1.0 + g1) * knots.dx[at] + g2 * knots.dy[at])
        y = scale * (g2 * knots.dx[at] + (1.0 - g1) * knots.dy[at])
        light = (flux * (1.0 - sources.bulge_fraction[at]))[:, None] * knots.share[at]
        size = (knots.size[at][:, None] * radius)[..., None]
        along_x, along_y = (
            np.exp(-1j * place[..., None] * k - 0.5 * (size * k) ** 2).astype(np.complex64)
            for place, k in ((x, self._kx), (y, self._ky))
        )
        return np.asarray((light[..., None] * along_y).astype(np.complex64).swapaxes(1, 2) @ along_x)

    def _phase(self, x: F64, y: F64) -> C64:
        """Return the factors that move profiles from the first pixel to positions."""
        along_x, along_y = (np.exp(-1j * p[:, None] * k) for p, k in ((x, self._kx), (y, self._ky)))
        return np.asarray(along_y.astype(np.complex64)[:, :, None] * along_x.astype(np.complex64)[:, None, :])


def effective_fwhm(model: PsfModel, fwhm: F64) -> NDArray[np.float32]:
    """Return the FWHM of a PSF with the response of the pixel in it.

    Parameters
    ----------
    model : `PsfModel`
        Profile.
    fwhm : `numpy.ndarray`, float64
        FWHM before the pixel, pixel.

    Returns
    -------
    fwhm : `numpy.ndarray`, float32
        FWHM along the axes of the pixel, interpolated from a few widths.
    """
    nodes, values = _fwhm_nodes(model)
    return np.asarray(fwhm * np.interp(1.0 / fwhm, nodes, values), np.float32)


@functools.lru_cache(32)
def _fwhm_nodes(model: PsfModel) -> tuple[F64, F64]:
    """Return sides of the pixel, and FWHM along an axis with it, both in units of the FWHM before.

    The profile along x is the transform of what is integrated over the wave numbers along y.
    """
    wave = np.linspace(0.0, 40.0, 401)
    weight = np.where(wave == 0.0, 0.5, 1.0)
    psf = psf_table(model).at(np.hypot(wave, wave[:, None]).astype(np.float32))
    sides, x = np.linspace(0.0, 1.25, 11), np.linspace(0.0, 1.2, 601)
    waves_at = np.cos(x[:, None] * wave)
    widths = []
    for side in sides:
        pixel = weight * np.sinc(wave * side / (2.0 * np.pi))
        profile = waves_at @ (pixel * (pixel @ psf))
        widths.append(2.0 * np.interp(-0.5 * profile[0], -profile, x))
    return sides, np.array(widths)
