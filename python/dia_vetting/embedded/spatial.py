"""Convolution with kernels that vary over the image, without tiles and hence without seams.

A kernel that is a polynomial of position is a sum of fixed kernels with polynomial weights (Alard 2000,
A&AS 144, 363), so that one Fourier transform of the image serves all of them.
"""

from __future__ import annotations

__all__ = ["FourierImage", "SpatialKernel", "core_radius"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..psf import Box, chebyshev_grid, chebyshev_terms, n_chebyshev_terms

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]


class FourierImage:
    """An image, continued beyond its edges and transformed, ready for convolutions.

    Parameters
    ----------
    image
        float32 [ny, nx], finite.
    margin
        Largest half-width of the kernels to come, pixels.
    mirror
        Continue the image by its mirror image; else by zeros.
    """

    def __init__(self, image: F32, margin: int, mirror: bool = True) -> None:
        self.shape = (image.shape[0], image.shape[1])
        self.margin = margin
        ny, nx = self.shape
        pad = [(min(margin, n - 1), min(margin, n - 1)) for n in self.shape]
        continued = np.pad(np.asarray(image, np.float32), pad, mode="reflect" if mirror else "constant")
        self._offset = (pad[0][0], pad[1][0])
        self._size = (
            fft.next_fast_len(ny + 2 * margin, real=True),
            fft.next_fast_len(nx + 2 * margin, real=True),
        )
        self._transform = fft.rfft2(continued, self._size)

    def convolve(self, kernel: NDArray[Any]) -> F32:
        """Return the image convolved by one odd-sided kernel, float32 [ny, nx]."""
        half_y, half_x = kernel.shape[0] // 2, kernel.shape[1] // 2
        product = fft.rfft2(kernel.astype(np.float32), self._size)
        product *= self._transform
        full = fft.irfft2(product, self._size, overwrite_x=True)
        y0, x0 = self._offset[0] + half_y, self._offset[1] + half_x
        return np.asarray(full[y0 : y0 + self.shape[0], x0 : x0 + self.shape[1]], np.float32)


@dataclasses.dataclass(frozen=True)
class SpatialKernel:
    """A kernel K(x, y; u, v) = sum_k c_k(x, y) B_k(u, v), the c_k Chebyshev polynomials.

    Parameters
    ----------
    components
        B_k, float64 [n_components, K, K], K odd.
    weights
        Coefficients of the c_k, float64 [n_components, n_terms].
    order, box
        Of the polynomials, see `dia_vetting.psf.chebyshev_terms`.
    """

    components: F64
    weights: F64
    order: int
    box: Box

    @classmethod
    def from_coefficients(
        cls, coefficients: F64, order: int, box: Box, tolerance: float = 1e-4
    ) -> SpatialKernel:
        """Compress polynomial coefficients [n_terms, K, K] to the fewest components.

        Parameters
        ----------
        coefficients
            float64 [n_terms, K, K].
        order, box
            Of the polynomials.
        tolerance
            Components below this fraction of the largest singular value are dropped.

        Returns
        -------
        kernel
            At most n_terms components.
        """
        n_terms, side = coefficients.shape[:2]
        left, singular, right = np.linalg.svd(coefficients.reshape(n_terms, -1), full_matrices=False)
        keep = max(1, int(np.sum(singular > tolerance * singular[0])))
        components = right[:keep].reshape(keep, side, side)
        return cls(components, (left[:, :keep] * singular[:keep]).T, order, box)

    @classmethod
    def from_nodes(
        cls, x: F64, y: F64, kernels: F64, order: int, box: Box, tolerance: float = 1e-4
    ) -> SpatialKernel:
        """Fit kernels known at nodes; ``kernels`` float64 [N, K, K]; see `from_coefficients`."""
        while order > 0 and n_chebyshev_terms(order) > len(x):
            order -= 1
        terms = chebyshev_terms(x, y, order, box)
        flat = np.linalg.lstsq(terms, kernels.reshape(len(kernels), -1), rcond=None)[0]
        return cls.from_coefficients(flat.reshape(-1, *kernels.shape[1:]), order, box, tolerance)

    @property
    def half_width(self) -> int:
        """Half-width of the kernel, pixels."""
        return int(self.components.shape[1]) // 2

    def at(self, x: Any, y: Any) -> F64:
        """Return the kernel at positions, float64 [N, K, K]."""
        values = chebyshev_terms(x, y, self.order, self.box) @ self.weights.T
        return np.asarray(np.tensordot(values, self.components, axes=1), np.float64)

    def weight_map(self, component: int, shape: tuple[int, int]) -> F32:
        """Return c_k on every pixel, float32 [ny, nx]."""
        return chebyshev_grid(self.weights[component], self.order, self.box, shape)

    def total(self, shape: tuple[int, int]) -> F32:
        """Return the sum of the kernel on every pixel, float32 [ny, nx]."""
        sums = self.components.sum(axis=(1, 2)) @ self.weights
        return chebyshev_grid(np.asarray(sums), self.order, self.box, shape)

    def convolve(self, image: FourierImage) -> F32:
        """Return D(x) = sum_u K(x; u) I(x - u), float32 [ny, nx]."""
        result = np.zeros(image.shape, np.float32)
        for k, component in enumerate(self.components):
            part = image.convolve(component)
            part *= self.weight_map(k, image.shape)
            result += part
        return result

    def correlate(self, image: FourierImage) -> F32:
        """Return C(x) = sum_u K(x; u) I(x + u), float32 [ny, nx]."""
        return SpatialKernel(self.components[:, ::-1, ::-1], self.weights, self.order, self.box).convolve(
            image
        )


def core_radius(kernel: F64, fraction: float) -> int:
    """Return the radius beyond which less than ``fraction`` of the sum of K^2 lies, pixels.

    Parameters
    ----------
    kernel
        float64 [K, K].
    fraction
        Between 0 and 1.

    Returns
    -------
    radius
        In the maximum norm, 0 for a delta function.
    """
    half = kernel.shape[0] // 2
    offset = np.abs(np.arange(kernel.shape[0]) - half)
    ring = np.maximum(offset[:, None], offset[None, :])
    power = np.bincount(ring.ravel(), (kernel**2).ravel(), half + 1)
    outside = 1.0 - np.cumsum(power) / power.sum()
    return int(np.argmax(outside < fraction)) if (outside < fraction).any() else half
