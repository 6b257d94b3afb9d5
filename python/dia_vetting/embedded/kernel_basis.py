"""Gaussian-times-polynomial basis of the matching kernel (Alard & Lupton 1998, ApJ 503, 325)."""

from __future__ import annotations

__all__ = ["KernelBasis"]

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class KernelBasis:
    """Basis B_0 with unit sum, and B_k with zero sum, so that B_0's coefficient is the kernel sum.

    Parameters
    ----------
    sigmas
        Widths of the Gaussians, pixels.
    degrees
        Largest total degree of the polynomial on each Gaussian.
    half_width
        Half-width of the kernel, pixels.
    """

    sigmas: tuple[float, ...] = (0.7, 1.5, 3.0)
    degrees: tuple[int, ...] = (4, 3, 2)
    half_width: int = 10

    @functools.cached_property
    def _factors(self) -> tuple[F64, list[tuple[int, int]]]:
        """One-dimensional factors [n_factors, K] and the pair (y, x) that makes each basis function."""
        u = np.arange(-self.half_width, self.half_width + 1, dtype=float)
        factors: list[F64] = []
        pairs: list[tuple[int, int]] = []
        for sigma, degree in zip(self.sigmas, self.degrees, strict=True):
            first = len(factors)
            for power in range(degree + 1):
                line = np.exp(-0.5 * (u / sigma) ** 2) * (u / sigma) ** power
                factors.append(line / (line.sum() if power % 2 == 0 else np.abs(line).sum()))
            pairs += [(first + j, first + total - j) for total in range(degree + 1) for j in range(total + 1)]
        return np.array(factors), pairs

    @property
    def size(self) -> int:
        """Number of basis functions."""
        return len(self._factors[1])

    @functools.cached_property
    def _sums(self) -> F64:
        factors, pairs = self._factors
        total = factors.sum(axis=1)
        return np.array([total[j] * total[i] for j, i in pairs])

    def images(self) -> F64:
        """Return the basis functions, float64 [n_basis, K, K]."""
        factors, pairs = self._factors
        raw = np.array([np.outer(factors[j], factors[i]) for j, i in pairs])
        raw[1:] -= self._sums[1:, None, None] * raw[0]
        return raw

    def convolve_stamps(self, stamps: F32) -> F32:
        """Convolve stamps by every basis function.

        Parameters
        ----------
        stamps
            float32 [N, S + 2 h, S + 2 h] with h the half-width.

        Returns
        -------
        convolved
            float32 [N, n_basis, S, S]: the part that no edge affects.
        """
        factors, pairs = self._factors
        inner = stamps.shape[1] - 2 * self.half_width
        toeplitz = np.zeros((len(factors), inner, stamps.shape[1]), np.float32)
        for k, line in enumerate(factors):
            for row in range(inner):
                toeplitz[k, row, row : row + len(line)] = line[::-1]
        along_x = [stamps @ matrix.T for matrix in toeplitz]
        result = np.empty((len(stamps), len(pairs), inner, inner), np.float32)
        for k, (j, i) in enumerate(pairs):
            np.matmul(toeplitz[j], along_x[i], out=result[:, k])
        result[:, 1:] -= self._sums[1:, None, None].astype(np.float32) * result[:, :1]
        return result
