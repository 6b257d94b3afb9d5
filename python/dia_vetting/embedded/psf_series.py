"""The basis in which a PSF is fitted: a Moffat profile times polynomials that stay finite in the wings.

With q = u / sqrt(|u|^2 + r^2), u the offset from the centre in the frame in which the Moffat profile is
round, the polynomials of q up to some total degree span the Zernike polynomials of the plane folded into a
disc. Fine in the core, they become constant along the radius far out, where a PSF is a power law and its
stars are noise.
"""

from __future__ import annotations

__all__ = ["PsfSeries", "degrees"]

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .moffat import Moffat

type F64 = NDArray[np.float64]

_FOLD = 1.5
"""Radius r of the fold, in units of the scale of the Moffat profile."""


def degrees(degree: int) -> NDArray[np.int64]:
    """Return the total degree of every term of a polynomial of two variables, int64 [n_terms]."""
    return np.repeat(np.arange(degree + 1), np.arange(1, degree + 2))


@dataclasses.dataclass(frozen=True)
class PsfSeries:
    """Basis functions of a PSF's pixels.

    Parameters
    ----------
    moffat
        The factor that all have in common.
    degree
        Largest total degree of the polynomials.
    """

    moffat: Moffat
    degree: int

    def images(self, size: int, dx: F64, dy: F64) -> F64:
        """Return the basis functions on stamps, for sources off the middle pixel.

        Parameters
        ----------
        size
            Odd side S of the stamps.
        dx, dy
            Offsets of the sources, pixels, [N].

        Returns
        -------
        images
            float64 [N, n_terms, S * S]; the first is the Moffat profile.
        """
        axis = np.arange(size) - size // 2
        x = np.broadcast_to((axis - dx[:, None])[:, None, :], (len(dx), size, size)).reshape(len(dx), -1)
        y = np.broadcast_to((axis - dy[:, None])[:, :, None], (len(dy), size, size)).reshape(len(dy), -1)
        qx, qy = self._folded(x, y)
        profile = self.moffat.at(x, y) * self.moffat.peak
        return self._products(qx, qy, profile)

    def _folded(self, x: F64, y: F64) -> tuple[F64, F64]:
        form = np.array([[self.moffat.a, self.moffat.c], [self.moffat.c, self.moffat.b]])
        # The upper Cholesky factor turns the ellipse into a circle.
        (xx, _), (xy, yy) = np.linalg.cholesky(form)
        round_x, round_y = xx * x + xy * y, yy * y
        fold = 1.0 / np.sqrt(round_x**2 + round_y**2 + _FOLD**2)
        return round_x * fold, round_y * fold

    def _products(self, qx: F64, qy: F64, profile: F64) -> F64:
        along = _chebyshev(qx, self.degree)
        across = _chebyshev(qy, self.degree)
        across[:] *= profile
        images = np.empty((len(qx), len(degrees(self.degree)), qx.shape[1]))
        pairs = ((total - j, j) for total in range(self.degree + 1) for j in range(total + 1))
        for k, (i, j) in enumerate(pairs):
            np.multiply(along[i], across[j], out=images[:, k])
        return images


def _chebyshev(q: F64, degree: int) -> F64:
    """Return the Chebyshev polynomials of the first kind, [degree + 1, *q.shape]."""
    values = np.empty((degree + 1, *q.shape))
    values[0] = 1.0
    if degree:
        values[1] = q
    for n in range(2, degree + 1):
        values[n] = 2.0 * q * values[n - 1] - values[n - 2]
    return values
