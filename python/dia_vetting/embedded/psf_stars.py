"""Stamps of the stars of one image, and how they compare with a model."""

from __future__ import annotations

__all__ = ["StarStamps", "core_pixels", "star_stamps"]

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..planes import Planes, cutouts
from ..psf import shift_matrices
from .star_selection import Stars

type F64 = NDArray[np.float64]
type Flags = NDArray[np.bool_]

_MODEL_ERROR = 0.01
"""Assumed relative error of a model pixel, so that the brightest star does not outvote all others."""


@dataclasses.dataclass(frozen=True)
class StarStamps:
    """Stars as stamps.

    Parameters
    ----------
    data
        nJy, [N, S, S].
    sky
        Variance without the star's own light, nJy^2, [N].
    per_flux
        Variance per flux, nJy.
    usable
        Pixels that are neither bad nor another source's, [N, S, S].
    middle_x, middle_y
        Middle pixel, [N].
    dx, dy
        Position from the middle pixel, pixels, [N].
    flux, background
        nJy and nJy / pixel, [N].
    sigma
        Gaussian width of a star, pixels.
    """

    data: F64
    sky: F64
    per_flux: float
    usable: Flags
    middle_x: F64
    middle_y: F64
    dx: F64
    dy: F64
    flux: F64
    background: F64
    sigma: float

    @property
    def x(self) -> F64:
        """Position in the array, pixels, [N]."""
        return self.middle_x + self.dx

    @property
    def y(self) -> F64:
        """Position in the array, pixels, [N]."""
        return self.middle_y + self.dy

    @property
    def size(self) -> int:
        """Side S of the stamps."""
        return int(self.data.shape[-1])

    def noise_variance(self, model: F64) -> F64:
        """Return the variance that a model of unit flux, [N, S, S], predicts, nJy^2."""
        light = np.maximum(self.flux, 0.0)[:, None, None] * np.maximum(model, 0.0)
        return np.asarray(self.sky[:, None, None] + self.per_flux * light)

    def weight(self, model: F64) -> F64:
        """Return the inverse variance, that of the model included, 1 / nJy^2, [N, S, S]; 0 if not usable.

        The variance is the model's and not the pixel's: a pixel that is high by chance also claims a high
        variance, which biases fluxes low (e.g. Portillo et al. 2020, AJ 159, 165).
        """
        variance = self.noise_variance(model) + (_MODEL_ERROR * self.flux[:, None, None] * model) ** 2
        return np.where(self.usable, 1.0 / variance, 0.0)

    def residual(self, model: F64) -> F64:
        """Return data minus background minus flux times model, nJy, [N, S, S]."""
        return self.data - self.background[:, None, None] - self.flux[:, None, None] * model

    def nuisance(self, model: F64) -> F64:
        """Return derivatives with flux, x, y and background, [N, S * S, 4]."""
        slope = shift_matrices(self.size, np.zeros(1), derivative=True)[0]
        flux = self.flux[:, None, None]
        parts = [model, flux * (model @ slope.T), flux * (slope @ model), np.ones_like(model)]
        return np.stack(parts, axis=-1).reshape(len(model), -1, 4)

    def centred(self) -> F64:
        """Return the stars of unit flux moved to the middle pixel, [N, S, S]; NaN where not usable."""
        by_x, by_y = shift_matrices(self.size, -self.dx), shift_matrices(self.size, -self.dy)
        moved = by_y @ self.data @ by_x.transpose(0, 2, 1)
        return np.where(self.usable, moved / self.flux[:, None, None], np.nan)

    def stepped(self, step: F64) -> StarStamps:
        """Return the stars with other flux, x, y and background: changes [N, 4], limited in position."""
        move = np.clip(step[:, 1:3], -0.5, 0.5)
        return dataclasses.replace(
            self,
            flux=self.flux + step[:, 0],
            dx=np.clip(self.dx + move[:, 0], -2.0, 2.0),
            dy=np.clip(self.dy + move[:, 1], -2.0, 2.0),
            background=self.background + step[:, 3],
        )

    def __getitem__(self, index: NDArray[np.intp] | Flags) -> StarStamps:
        names = ("data", "sky", "usable", "middle_x", "middle_y", "dx", "dy", "flux", "background")
        return dataclasses.replace(self, **{name: getattr(self, name)[index] for name in names})

    def __len__(self) -> int:
        return len(self.flux)

    def without_intruders(self, model: F64, tolerance: float) -> StarStamps:
        """Drop pixels of neighbours: far over the model, and those next to them."""
        error = np.sqrt(self.noise_variance(model))
        light = tolerance * self.flux[:, None, None] * model
        over = (np.abs(self.residual(model)) > 5.0 * np.hypot(error, light)) & self.usable
        grown = ndimage.maximum_filter(over, size=(1, 3, 3))
        return dataclasses.replace(self, usable=self.usable & ~grown)

    def alike(self, model: F64) -> Flags:
        """Tell which stars have a core like the model: no galaxies, blends or cosmic rays."""
        core = core_pixels(self.size, self.sigma)
        pixels = np.maximum((core & self.usable).sum(axis=(1, 2)), 1)
        chi2 = (core * self.residual(model) ** 2 * self.weight(model)).sum(axis=(1, 2)) / pixels
        middle = np.median(chi2)
        limit = middle + max(5.0 * 1.4826 * float(np.median(np.abs(chi2 - middle))), 1.0)
        moved = np.hypot(self.dx, self.dy)
        return np.asarray((chi2 <= limit) & (pixels > 0.7 * core.sum()) & (moved < 1.5) & (self.flux > 0))


def core_pixels(size: int, sigma: float) -> Flags:
    """Return the pixels within two Gaussian widths of the middle, [size, size]."""
    u = np.arange(size) - size // 2
    return np.asarray(np.hypot(u[:, None], u[None, :]) <= max(2.0 * sigma, 1.5))


def star_stamps(planes: Planes, stars: Stars, size: int) -> StarStamps:
    """Cut the stars out of an image.

    Parameters
    ----------
    planes
        The exposure.
    stars
        What to cut.
    size
        Odd side of the stamps.
    """
    middle_x, middle_y = np.rint(stars.x), np.rint(stars.y)
    first = middle_x.astype(np.int64) - size // 2, middle_y.astype(np.int64) - size // 2
    data = cutouts(planes.image - stars.background, *first, size).astype(np.float64)
    variance = cutouts(planes.variance, *first, size).astype(np.float64)
    usable = ~cutouts(planes.unusable(), *first, size, fill=True) & np.isfinite(data) & (variance > 0)
    usable &= ~_others(cutouts(stars.segments, *first, size, fill=0), stars.label)
    data[~usable] = 0.0
    sky, per_flux = _variance_law(data, np.where(usable, variance, np.nan))
    return StarStamps(
        data=data,
        sky=sky,
        per_flux=per_flux,
        usable=usable,
        middle_x=middle_x,
        middle_y=middle_y,
        dx=stars.x - middle_x,
        dy=stars.y - middle_y,
        flux=stars.flux,
        background=np.zeros(len(stars)),
        sigma=float(np.median(stars.radius)) / 1.1774,
    )


def _others(segments: NDArray[np.int32], label: NDArray[np.int64]) -> Flags:
    """Return the pixels of other sources than the star itself, and those next to them."""
    other = (segments > 0) & (segments != label[:, None, None])
    return np.asarray(ndimage.maximum_filter(other, size=(1, 5, 5)))


def _variance_law(data: F64, variance: F64) -> tuple[F64, float]:
    """Fit variance = sky + per_flux * light: each star's sky, [N], and one slope."""
    known = np.isfinite(variance).any(axis=(1, 2))
    everywhere = float(np.nanmedian(variance)) if known.any() else 1.0
    sky = np.full(len(data), everywhere)
    sky[known] = np.nanmedian(variance[known], axis=(1, 2))
    light = np.where(np.isfinite(variance), np.maximum(data, 0.0), 0.0)
    excess = np.nan_to_num(variance - sky[:, None, None])
    slope = max(float((excess * light).sum() / max((light**2).sum(), 1e-30)), 0.0)
    faint = np.where(np.isfinite(variance), variance - slope * data, np.nan)
    sky[known] = np.maximum(np.nanmedian(faint[known], axis=(1, 2)), 0.1 * everywhere)
    return sky, slope
