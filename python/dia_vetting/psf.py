"""Point spread functions whose stamp pixels are polynomials of position.

Pixel convention: 0-based, the centre of the first pixel is (0, 0), arrays are ``[y, x]``.
"""

from __future__ import annotations

__all__ = ["Box", "PolynomialPsf", "chebyshev_grid", "chebyshev_terms", "n_chebyshev_terms", "shift_matrices"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

type Box = tuple[float, float, float, float]
type F64 = NDArray[np.float64]

_GAUSS_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


def n_chebyshev_terms(order: int) -> int:
    """Return the number of two-dimensional terms of total degree up to ``order``."""
    return (order + 1) * (order + 2) // 2


def _normalised(value: ArrayLike, low: float, high: float) -> F64:
    return (2.0 * np.asarray(value, np.float64) - low - high) / max(high - low, 1.0)


def _powers(order: int) -> list[tuple[int, int]]:
    return [(i, total - i) for total in range(order + 1) for i in range(total, -1, -1)]


def chebyshev_terms(x: ArrayLike, y: ArrayLike, order: int, box: Box) -> F64:
    """Evaluate the terms T_i(x) T_j(y), i + j <= order.

    Parameters
    ----------
    x, y
        Positions, pixels, shape [N].
    order
        Largest total degree.
    box
        (x_min, x_max, y_min, y_max), mapped to [-1, 1].

    Returns
    -------
    terms
        float64 [N, n_terms]; the first term is 1.
    """
    tx = np.polynomial.chebyshev.chebvander(np.atleast_1d(_normalised(x, box[0], box[1])), order)
    ty = np.polynomial.chebyshev.chebvander(np.atleast_1d(_normalised(y, box[2], box[3])), order)
    return np.stack([tx[:, i] * ty[:, j] for i, j in _powers(order)], axis=1)


def chebyshev_grid(coefficients: F64, order: int, box: Box, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Evaluate a two-dimensional Chebyshev series on every pixel of an image.

    Parameters
    ----------
    coefficients
        float64 [n_terms], in the order of `chebyshev_terms`.
    order, box
        As in `chebyshev_terms`.
    shape
        (ny, nx).

    Returns
    -------
    surface
        float32 [ny, nx].
    """
    matrix = np.zeros((order + 1, order + 1))
    for value, (i, j) in zip(coefficients, _powers(order), strict=True):
        matrix[j, i] = value
    tx = np.polynomial.chebyshev.chebvander(_normalised(np.arange(shape[1]), box[0], box[1]), order)
    ty = np.polynomial.chebyshev.chebvander(_normalised(np.arange(shape[0]), box[2], box[3]), order)
    return np.asarray((ty @ matrix).astype(np.float32) @ tx.T.astype(np.float32), np.float32)


def shift_matrices(size: int, shift: F64, derivative: bool = False) -> F64:
    """Band-limited shift operators of one axis.

    A periodic signal of odd length S is interpolated exactly by the Dirichlet kernel, so that
    ``shift_matrices(S, d) @ signal`` is the signal moved by ``d`` pixels towards larger indices.

    Parameters
    ----------
    size
        Odd length S of the axis.
    shift
        Shifts in pixels, shape [N].
    derivative
        Return the derivative with respect to the shift instead.

    Returns
    -------
    matrices
        float64 [N, S, S].
    """
    frequency = np.fft.rfftfreq(size) * 2.0 * np.pi
    lag = np.arange(size)
    phase = frequency[None, :, None] * (lag[None, None, :] - shift[:, None, None])
    weight = np.where(frequency > 0, 2.0, 1.0) / size
    if derivative:
        wave = np.sin(phase) * frequency[None, :, None]
    else:
        wave = np.cos(phase)
    row = np.einsum("f,nfl->nl", weight, wave)
    index = (lag[:, None] - lag[None, :]) % size
    return np.asarray(row[:, index], np.float64)


@dataclasses.dataclass(frozen=True)
class PolynomialPsf:
    """A PSF whose every stamp pixel is a Chebyshev polynomial of position.

    Parameters
    ----------
    coefficients
        float64 [n_terms, S, S], S odd; term order of `chebyshev_terms`.
    order
        Largest total degree of the polynomials.
    box
        (x_min, x_max, y_min, y_max) in pixels: the region the polynomials were fitted on.

    Raises
    ------
    ValueError
        If the stamps are not odd squares or the number of terms does not fit ``order``.
    """

    coefficients: F64
    order: int
    box: Box

    def __post_init__(self) -> None:
        coefficients = np.asarray(self.coefficients, np.float64)
        if coefficients.ndim != 3 or coefficients.shape[1] != coefficients.shape[2]:
            raise ValueError(f"PSF coefficients must be [n_terms, S, S], not {coefficients.shape}.")
        if coefficients.shape[1] % 2 == 0:
            raise ValueError(f"PSF stamps must have an odd size, not {coefficients.shape[1]}.")
        if coefficients.shape[0] != n_chebyshev_terms(self.order):
            raise ValueError(f"{coefficients.shape[0]} terms do not make a polynomial of order {self.order}.")
        object.__setattr__(self, "coefficients", coefficients)

    @property
    def size(self) -> int:
        """Side of the stamps, pixels."""
        return int(self.coefficients.shape[1])

    @classmethod
    def from_nodes(
        cls, x: ArrayLike, y: ArrayLike, stamps: NDArray[Any], order: int = 2, box: Box | None = None
    ) -> PolynomialPsf:
        """Fit the polynomials to stamps at nodes by least squares.

        Parameters
        ----------
        x, y
            Node positions, pixels, shape [N].
        stamps
            [N, S, S], each is divided by its sum first.
        order
            Largest total degree; lowered where the nodes are too few for it.
        box
            Region for the normalisation; the extent of the nodes by default.

        Returns
        -------
        psf
            The fitted model.
        """
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        stamps = np.asarray(stamps, np.float64)
        while order > 0 and n_chebyshev_terms(order) > len(x):
            order -= 1
        box = box or (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
        unit = (stamps / stamps.sum(axis=(1, 2), keepdims=True)).reshape(len(stamps), -1)
        solution = np.linalg.lstsq(chebyshev_terms(x, y, order, box), unit, rcond=None)[0]
        return cls(solution.reshape(-1, *stamps.shape[1:]), order, box)

    def cropped(self, size: int) -> PolynomialPsf:
        """Return the PSF with smaller stamps (pixel values of the polynomials are kept)."""
        cut = (self.size - size) // 2
        if cut <= 0:
            return self
        return PolynomialPsf(self.coefficients[:, cut:-cut, cut:-cut].copy(), self.order, self.box)

    def _evaluate(self, x: ArrayLike, y: ArrayLike) -> F64:
        terms = chebyshev_terms(x, y, self.order, self.box)
        return np.asarray(np.tensordot(terms, self.coefficients, axes=1), np.float64)

    def _scale(self, x: ArrayLike, y: ArrayLike) -> F64:
        terms = chebyshev_terms(x, y, self.order, self.box)
        return np.asarray(terms @ self.coefficients.sum(axis=(1, 2)), np.float64)

    def kernel_images(self, x: ArrayLike, y: ArrayLike, size: int | None = None) -> F64:
        """Return the centred PSF at positions.

        Parameters
        ----------
        x, y
            Positions, pixels, shape [N].
        size
            Odd side to crop to. The normalisation stays that of the full stamp, so that fluxes
            fitted with cropped stamps are total fluxes.

        Returns
        -------
        stamps
            float64 [N, S, S], unit sum over the full stamp, centre at index S // 2.
        """
        model = self if size is None else self.cropped(size)
        return model._evaluate(x, y) / self._scale(x, y)[:, None, None]

    def stellar_images(
        self, x: ArrayLike, y: ArrayLike, size: int | None = None
    ) -> tuple[F64, NDArray[np.int64], NDArray[np.int64]]:
        """Return images of unit point sources at sub-pixel positions.

        The shift is a Fourier one: exact for a band-limited PSF, better than 1e-5 of the peak for a
        FWHM over 3 pixels, 1e-3 at 2 pixels.

        Parameters
        ----------
        x, y
            Positions, pixels, shape [N].
        size
            Odd side to crop to after the shift.

        Returns
        -------
        stamps
            float64 [N, S, S].
        x_first, y_first
            Pixel of the image that the first pixel of each stamp falls on, int64 [N].
        """
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        ix, iy = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        stamps = self.kernel_images(x, y)
        mx, my = shift_matrices(self.size, x - ix), shift_matrices(self.size, y - iy)
        stamps = my @ stamps @ mx.transpose(0, 2, 1)
        side = self.size if size is None else min(size, self.size)
        cut = (self.size - side) // 2
        return stamps[:, cut : cut + side, cut : cut + side], ix - side // 2, iy - side // 2

    def gradient_images(self, x: ArrayLike, y: ArrayLike, size: int | None = None) -> tuple[F64, F64]:
        """Return the derivatives of `stellar_images` with respect to the source's x and y, per pixel.

        Parameters
        ----------
        x, y, size
            As in `stellar_images`.

        Returns
        -------
        d_dx, d_dy
            float64 [N, S, S].
        """
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        dx, dy = x - np.rint(x), y - np.rint(y)
        stamps = self.kernel_images(x, y)
        mx, my = shift_matrices(self.size, dx), shift_matrices(self.size, dy)
        gx, gy = shift_matrices(self.size, dx, True), shift_matrices(self.size, dy, True)
        side = self.size if size is None else min(size, self.size)
        cut = (self.size - side) // 2
        inner = slice(cut, cut + side)
        d_dx = (my @ stamps @ gx.transpose(0, 2, 1))[:, inner, inner]
        return d_dx, (gy @ stamps @ mx.transpose(0, 2, 1))[:, inner, inner]

    def fwhm(self, x: ArrayLike, y: ArrayLike) -> F64:
        """Return the full width at half maximum, pixels, float64 [N].

        It is the diameter of the circle with the area in which the PSF exceeds half its maximum, on a
        grid eight times finer than the pixels.
        """
        fine = 8
        half = min(self.size // 2, 12)
        offsets = np.arange(-half * fine, half * fine + 1) / fine
        row = shift_matrices(self.size, -offsets)[:, self.size // 2, :]
        images = row @ self.kernel_images(x, y) @ row.T
        area = (images > 0.5 * images.max(axis=(1, 2), keepdims=True)).sum(axis=(1, 2)) / fine**2
        return np.asarray(2.0 * np.sqrt(area / np.pi), np.float64)

    def effective_area(self, x: ArrayLike, y: ArrayLike) -> F64:
        """Return 1 / sum P^2, pixels, float64 [N]: sky noise of a PSF flux is sigma * sqrt(this)."""
        return np.asarray(1.0 / (self.kernel_images(x, y) ** 2).sum(axis=(1, 2)), np.float64)

    def moments(self, x: ArrayLike, y: ArrayLike, sigma: float | None = None) -> tuple[F64, F64, F64]:
        """Return the Gaussian-weighted second moments (ixx, iyy, ixy) of the PSF, pixel^2, each [N].

        Parameters
        ----------
        x, y
            Positions, pixels, shape [N].
        sigma
            Width of the weight, pixels; the PSF's own Gaussian width by default.
        """
        stamps = self.kernel_images(x, y)
        sigma = sigma or float(np.median(self.fwhm(x, y))) / _GAUSS_FWHM
        u = np.arange(self.size) - self.size // 2
        weight = np.exp(-0.5 * (u[:, None] ** 2 + u[None, :] ** 2) / sigma**2)
        total = np.einsum("nyx,yx->n", stamps, weight)
        ixx = np.einsum("nyx,yx,x->n", stamps, weight, u**2) / total
        iyy = np.einsum("nyx,yx,y->n", stamps, weight, u**2) / total
        return ixx, iyy, np.einsum("nyx,yx,x,y->n", stamps, weight, u, u) / total

    def convolved_with(self, x: ArrayLike, y: ArrayLike, kernels: NDArray[Any], size: int) -> PolynomialPsf:
        """Return this PSF convolved by kernels known at nodes.

        Parameters
        ----------
        x, y
            Node positions, pixels, shape [N].
        kernels
            [N, K, K], K odd, unit sum.
        size
            Odd side of the new stamps.

        Returns
        -------
        psf
            Model of the order of this one, or more where the nodes allow it.
        """
        stamps = self.kernel_images(x, y)
        full = stamps.shape[1] + kernels.shape[1] - 1
        product = np.fft.rfft2(stamps, (full, full)) * np.fft.rfft2(kernels, (full, full))
        image = np.fft.irfft2(product, (full, full))
        if size < full:
            cut = (full - size) // 2
            image = image[:, cut : cut + size, cut : cut + size]
        return PolynomialPsf.from_nodes(x, y, image, max(self.order, 2), self.box)
