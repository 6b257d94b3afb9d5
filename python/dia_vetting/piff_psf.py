"""Stock Piff PSFs from polynomial ones, so that every image of our repositories has one that Rubin can read.

Nothing is fitted here. A Piff PSF with a ``PixelGrid`` of one pixel pitch and a ``BasisPolynomial``
interpolation is the same model as `PolynomialPsf` (with monomials for Chebyshev terms), so that its
coefficients can be set directly.
"""

from __future__ import annotations

__all__ = ["piff_from_polynomial"]

from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from .psf import PolynomialPsf

if TYPE_CHECKING:
    from lsst.images import Box
    from lsst.images.psfs import PiffWrapper

_INTERPOLANT = "Lanczos(11)"
"""How Piff draws between pixels; exact at whole-pixel shifts. DP1 and DP2 use the same."""


def piff_from_polynomial(psf: PolynomialPsf, bbox: Box) -> PiffWrapper:
    """Make a Piff PSF that draws what a polynomial PSF does.

    Parameters
    ----------
    psf : `PolynomialPsf`
        In the frame of the array: its (0, 0) is the first pixel of ``bbox``.
    bbox : `lsst.images.Box`
        Box of the image in its parent frame, the frame in which the Piff PSF is evaluated.

    Returns
    -------
    wrapper : `lsst.images.psfs.PiffWrapper`
        ``compute_kernel_image`` gives the polynomial stamps to rounding; ``compute_stellar_image``
        interpolates with a Lanczos function of order 11.
    """
    import piff
    from galsim import PixelScale
    from lsst.images.psfs import PiffWrapper

    model = piff.PixelGrid(scale=1.0, size=psf.size, interp=_INTERPOLANT, centered=False)
    interpolation = piff.BasisPolynomial(order=psf.order, keys=["x", "y"])
    interpolation.q = _monomial_solution(psf, bbox.x.start, bbox.y.start)
    impl = piff.SimplePSF(model, interpolation)
    impl.wcs, impl.pointing, impl.stars = {0: PixelScale(1.0)}, None, []
    return PiffWrapper(impl, bounds=bbox, stamp_size=psf.size)


def _monomial_solution(psf: PolynomialPsf, x0: int, y0: int) -> NDArray[np.float64]:
    """Return Piff's coefficients, [S * S, n_terms], terms x^i y^j with j running fastest."""
    low_x, high_x, low_y, high_y = psf.box
    in_x = _chebyshev_to_monomials(psf.order, low_x + x0, high_x + x0)
    in_y = _chebyshev_to_monomials(psf.order, low_y + y0, high_y + y0)
    ours = [(i, total - i) for total in range(psf.order + 1) for i in range(total, -1, -1)]
    theirs = [(i, j) for i in range(psf.order + 1) for j in range(psf.order + 1 - i)]
    change = np.array([[in_x[a, i] * in_y[b, j] for i, j in theirs] for a, b in ours])
    return np.asarray(psf.coefficients.reshape(len(ours), -1).T @ change, np.float64)


def _chebyshev_to_monomials(order: int, low: float, high: float) -> NDArray[np.float64]:
    """Return the coefficient of x^p in T_i on [low, high], as [i, p]."""
    high = max(high, low + 1.0)  # as PolynomialPsf normalises
    table = np.zeros((order + 1, order + 1))
    for i in range(order + 1):
        series = Chebyshev.basis(i, domain=[low, high]).convert(kind=Polynomial, domain=[-1, 1])
        table[i, : i + 1] = series.coef[: i + 1]
    return table
