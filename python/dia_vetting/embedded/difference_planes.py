"""Mask, sky and noise level of a difference image."""

from __future__ import annotations

__all__ = ["combine_masks", "excess_variance", "fit_background"]

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..masks import MaskBit
from ..planes import Planes, blank_sky, robust_sigma
from ..psf import PolynomialPsf, chebyshev_grid, chebyshev_terms, n_chebyshev_terms
from .photometry import forced_psf_flux

type F32 = NDArray[np.float32]
type U32 = NDArray[np.uint32]

_FROM_TEMPLATE = (
    (MaskBit.SAT, MaskBit.SAT_TEMPLATE),
    (MaskBit.BAD | MaskBit.CR, MaskBit.BAD_TEMPLATE),
    (MaskBit.NO_DATA, MaskBit.NO_DATA_TEMPLATE),
    (MaskBit.SAT_TEMPLATE, MaskBit.SAT_TEMPLATE),
    (MaskBit.BAD_TEMPLATE, MaskBit.BAD_TEMPLATE),
    (MaskBit.NO_DATA_TEMPLATE, MaskBit.NO_DATA_TEMPLATE),
)
_GROWING = MaskBit.SAT | MaskBit.BAD | MaskBit.CR | MaskBit.NO_DATA | MaskBit.INTRP
_DROPPED = MaskBit.DETECTED | MaskBit.DETECTED_NEGATIVE


def _grown(where: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    if radius <= 0 or not where.any():
        return where
    return np.asarray(ndimage.maximum_filter(where, size=2 * radius + 1))


def combine_masks(science: U32, template: U32, reach: dict[str, int], edge: int) -> U32:
    """Return the mask of the difference.

    Parameters
    ----------
    science, template
        uint32 [ny, nx].
    reach
        Radius by which the kernels spread the defects of "science" and "template", pixels.
    edge
        Width of the EDGE border, pixels.

    Returns
    -------
    mask
        uint32 [ny, nx]: the planes of the science image except its detections, the defects of the
        template as *_TEMPLATE.
    """
    mask = science & ~np.uint32(_DROPPED)
    for bit in MaskBit(_GROWING):
        grown = _grown((science & np.uint32(bit)) != 0, reach["science"])
        mask[grown] |= np.uint32(bit)
    for source, target in _FROM_TEMPLATE:
        grown = _grown((template & np.uint32(source)) != 0, reach["template"])
        mask[grown] |= np.uint32(target)
    if edge > 0:
        border = np.ones(mask.shape, bool)
        border[edge:-edge, edge:-edge] = False
        mask[border] |= np.uint32(MaskBit.EDGE)
    return mask


def _cells(values: F32, good: NDArray[np.bool_], cell: int) -> tuple[NDArray[np.float64], ...]:
    """Clipped mean of the good pixels of square cells: x, y, mean, count, each [M]."""
    nx = values.shape[1]
    rows, columns = np.nonzero(good)
    data = values[rows, columns].astype(np.float64)
    middle, width = np.median(data[::7]), robust_sigma(data[::7])
    fine = np.abs(data - middle) < 4.0 * max(width, 1e-30)
    key = (rows[fine] // cell) * ((nx + cell - 1) // cell) + columns[fine] // cell
    length = int(key.max()) + 1
    count = np.bincount(key, minlength=length)
    full = count > 0.05 * cell**2
    if not full.any():
        full = count > 0
    divide = np.maximum(count, 1)
    mean, x, y = (np.bincount(key, v, length) / divide for v in (data[fine], columns[fine], rows[fine]))
    return x[full], y[full], mean[full], count[full].astype(np.float64)


def fit_background(image: F32, variance: F32, bad: NDArray[np.bool_], order: int, cell: int = 64) -> F32:
    """Fit the sky of a difference image.

    Parameters
    ----------
    image, variance
        float32 [ny, nx].
    bad
        Pixels to leave out, bool [ny, nx].
    order
        Total degree of the Chebyshev polynomial; lowered where the cells are too few.
    cell
        Side of the cells whose clipped means are fitted, pixels.

    Returns
    -------
    background
        float32 [ny, nx], zeros if no pixel is good.
    """
    mask = np.where(bad, np.uint32(MaskBit.BAD), np.uint32(0)).astype(np.uint32)
    good = blank_sky(Planes(image, variance, mask), threshold=5.0)
    if not good.any():
        return np.zeros(image.shape, np.float32)
    x, y, mean, count = _cells(image, good, cell)
    while order > 0 and len(x) < 2 * n_chebyshev_terms(order):
        order -= 1
    ny, nx = image.shape
    box = (0.0, float(nx - 1), 0.0, float(ny - 1))
    weight = np.sqrt(count)
    terms = chebyshev_terms(x, y, order, box)
    solution = np.linalg.lstsq(terms * weight[:, None], mean * weight, rcond=None)[0]
    return chebyshev_grid(solution, order, box, (ny, nx))


def excess_variance(
    image: F32, variance: F32, bad: NDArray[np.bool_], psf: PolynomialPsf, count: int = 4000
) -> float:
    """Return the variance that the plane lacks for PSF fluxes of blank sky, nJy^2 per pixel.

    PSF fluxes are measured where nothing is seen. Their scatter in units of their errors, squared and less
    one, times the median variance is what noise that pixels share adds; a plane has variances only. It is
    never below 0. It belongs to the sky: a multiple of the plane would raise the photon noise of sources too.

    Parameters
    ----------
    image, variance
        float32 [ny, nx].
    bad
        Pixels to leave out, bool [ny, nx].
    psf
        PSF of the image.
    count
        Positions at most; the scatter is known to about 1 / sqrt(count).

    Returns
    -------
    excess
        0 if fewer than 100 positions are free.
    """
    mask = np.where(bad, np.uint32(MaskBit.NO_DATA), np.uint32(0)).astype(np.uint32)
    planes = Planes(image, variance, mask)
    centre = 0.5 * (image.shape[1] - 1), 0.5 * (image.shape[0] - 1)
    good = blank_sky(planes, threshold=5.0, grow=round(2 * float(psf.fwhm(*centre)[0])))
    step = max(1, int(np.sqrt(good.sum() / count)))
    y, x = np.nonzero(good[step // 2 :: step, step // 2 :: step])
    if len(x) < 100:
        return 0.0
    forced = forced_psf_flux(planes, psf, x * step + step // 2, y * step + step // 2)
    pull = forced.flux / forced.err
    scale = robust_sigma(pull[np.isfinite(pull)]) ** 2
    return max(scale - 1.0, 0.0) * float(np.median(variance[good]))
