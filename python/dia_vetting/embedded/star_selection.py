"""Point sources of one image that are fit to measure its PSF: by size, isolation and clean pixels."""

from __future__ import annotations

__all__ = ["Stars", "select_stars"]

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..masks import MaskBit
from ..planes import Planes

type F64 = NDArray[np.float64]
type Flags = NDArray[np.bool_]

_DIRTY = MaskBit.SAT | MaskBit.CR | MaskBit.BAD | MaskBit.NO_DATA | MaskBit.INTRP | MaskBit.SUSPECT
_LOCUS_WIDTH = 0.07
"""Half-width, in ln(size), of the window in which candidates of one size are counted."""
_LOCUS_SHAPE = 0.12
"""The same for each component of the ellipticity."""
_MIN_RADIUS = 0.75
"""Half-light radius in pixels below which a source is sharper than any telescope makes it."""


@dataclasses.dataclass(frozen=True)
class Stars:
    """Point sources, the brightest first.

    Parameters
    ----------
    x, y
        Windowed centroid in the array, pixels, [N].
    flux
        Aperture flux, nJy, [N].
    snr
        Signal-to-noise ratio of ``flux``, [N].
    radius
        Half-light radius, pixels, [N].
    e1, e2
        Ellipticity (a^2 - b^2) / (a^2 + b^2) times cos, sin of twice the angle from the x axis, [N].
    label
        Its number in ``segments``, [N].
    background
        Smooth background of the whole image, nJy, float32 [ny, nx].
    segments
        Which source a pixel belongs to, all detected ones counted from 1, or 0; int32 [ny, nx].
    """

    x: F64
    y: F64
    flux: F64
    snr: F64
    radius: F64
    e1: F64
    e2: F64
    label: NDArray[np.int64]
    background: NDArray[np.float32]
    segments: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.x)


def select_stars(planes: Planes, min_snr: float, max_stars: int) -> Stars:
    """Find the point sources of an image.

    Parameters
    ----------
    planes
        The exposure.
    min_snr
        Signal-to-noise ratio below which a source is left out.
    max_stars
        Keep at most so many.

    Returns
    -------
    stars
        Sources of the size at which sources cluster (the stellar locus, which may vary linearly over
        the image), without a neighbour, a saturated, bad or cosmic-ray pixel, or the image's edge near
        them. May be empty.
    """
    background, segments, sources = _detect(planes)
    keep = (sources.snr >= min_snr) & (sources.radius > _MIN_RADIUS)
    keep &= _clean(planes, sources) & _isolated(sources)
    sources = _subset(sources, keep)
    sources = _subset(sources, _on_locus(sources))
    brightest = np.argsort(-sources.snr, kind="stable")[:max_stars]
    return Stars(
        **{f.name: getattr(sources, f.name)[brightest] for f in dataclasses.fields(_Sources)},
        background=background,
        segments=segments,
    )


@dataclasses.dataclass(frozen=True)
class _Sources:
    x: F64
    y: F64
    flux: F64
    snr: F64
    radius: F64
    e1: F64
    e2: F64
    label: NDArray[np.int64]


def _subset(sources: _Sources, keep: Flags) -> _Sources:
    return _Sources(**{f.name: getattr(sources, f.name)[keep] for f in dataclasses.fields(_Sources)})


def _detect(planes: Planes) -> tuple[NDArray[np.float32], NDArray[np.int32], _Sources]:
    """Detect sources over 5 sigma and measure them in circular apertures."""
    import sep

    bad = planes.unusable()
    image = np.where(bad, np.float32(0), planes.image)
    error = np.sqrt(np.where(bad, np.float32(1), planes.variance))
    sep.set_extract_pixstack(max(300_000, image.size // 4))
    first = np.ascontiguousarray(image - sep.Background(image, mask=bad, bw=128, bh=128).back())
    found, segments = sep.extract(
        first,
        5.0,
        err=error,
        mask=bad,
        minarea=5,
        deblend_cont=0.02,
        deblend_nthresh=16,
        segmentation_map=True,
    )
    # Once more without the sources, whose wings would be taken for sky.
    covered = bad | ndimage.binary_dilation(segments > 0, iterations=6)
    background = sep.Background(image, mask=covered, bw=128, bh=128).back()
    image = np.ascontiguousarray(image - background)
    image[bad] = 0.0
    if not len(found):
        nothing, none = np.zeros(0), np.zeros(0, np.int64)
        sources = _Sources(nothing, nothing, nothing, nothing, nothing, nothing, nothing, none)
        return background, segments, sources
    x, y = found["x"], found["y"]
    aperture = np.clip(4.0 * found["a"], 4.0, 15.0)
    flux, flux_error, _ = sep.sum_circle(image, x, y, aperture, err=error, mask=bad)
    radius, _ = sep.flux_radius(image, x, y, aperture, 0.5, normflux=flux, subpix=5, mask=bad)
    radius = np.nan_to_num(radius)
    x, y, _ = sep.winpos(image, x, y, np.clip(radius / 1.1774, 0.7, 6.0), mask=bad)
    snr = np.where(flux_error > 0, flux / np.maximum(flux_error, 1e-30), 0.0)
    a2, b2 = found["a"] ** 2, found["b"] ** 2
    ellipticity, angle = (a2 - b2) / (a2 + b2), 2.0 * found["theta"]
    e1, e2 = ellipticity * np.cos(angle), ellipticity * np.sin(angle)
    label = np.arange(1, len(x) + 1)
    return background, segments, _Sources(x, y, flux, snr, radius, e1, e2, label)


def _clean(planes: Planes, sources: _Sources) -> Flags:
    """Tell which sources have no dirty pixel in their core, and lie inside the image with it."""
    ny, nx = planes.shape
    dirty = planes.has(_DIRTY) | planes.unusable()
    total = np.zeros((ny + 1, nx + 1), np.int32)
    total[1:, 1:] = dirty.cumsum(0).cumsum(1)
    half = np.ceil(2.5 * sources.radius) + 1
    edges = [sources.x - half, sources.x + half + 1, sources.y - half, sources.y + half + 1]
    x1, x2, y1, y2 = (np.rint(np.nan_to_num(edge)).astype(int) for edge in edges)
    inside = (x1 >= 0) & (y1 >= 0) & (x2 <= nx) & (y2 <= ny)
    x1, x2, y1, y2 = np.clip(x1, 0, nx), np.clip(x2, 0, nx), np.clip(y1, 0, ny), np.clip(y2, 0, ny)
    count = total[y2, x2] - total[y1, x2] - total[y2, x1] + total[y1, x1]
    return np.asarray(inside & (count == 0))


def _isolated(sources: _Sources) -> Flags:
    """Tell which sources have no neighbour of over 3 % of their flux within seven half-light radii."""
    alone = np.ones(len(sources.x), bool)
    if len(sources.x) < 2:
        return alone
    places = np.column_stack([sources.x, sources.y])
    reach = 7.0 * float(np.median(sources.radius)) + 1.0
    first, second = cKDTree(places).query_pairs(reach, output_type="ndarray").T
    alone[first[sources.flux[second] > 0.03 * sources.flux[first]]] = False
    alone[second[sources.flux[first] > 0.03 * sources.flux[second]]] = False
    return alone


def _on_locus(sources: _Sources) -> Flags:
    """Tell which sources have the size and shape of the most compact cluster of bright ones."""
    if not len(sources.x):
        return np.zeros(0, bool)
    size = np.log(sources.radius)
    bright = np.argsort(-sources.snr, kind="stable")[: max(20, len(size) // 2)]
    near = np.abs(size[bright][:, None] - size[bright]) < _LOCUS_WIDTH
    for shape in (sources.e1[bright], sources.e2[bright]):
        near &= np.abs(shape[:, None] - shape) < _LOCUS_SHAPE
    crowd = np.asarray(near.sum(axis=1))
    # Galaxies are larger than stars, cosmic rays smaller but of every shape.
    most = float(crowd.max())
    rich = crowd >= min(max(3.0, 0.35 * most), most)
    edge = size[bright][rich].min()
    first = rich & (size[bright] < edge + _LOCUS_WIDTH)
    chosen = near[np.argmax(np.where(first, crowd, 0))]
    member = np.ones(len(size), bool)
    for values, width in ((size, _LOCUS_WIDTH), (sources.e1, _LOCUS_SHAPE), (sources.e2, _LOCUS_SHAPE)):
        offset = values - np.median(values[bright][chosen])
        member &= _near_trend(sources, offset, width)
    return member


def _near_trend(sources: _Sources, offset: F64, width: float) -> Flags:
    """Tell which values follow the trend over the image of those that are near zero."""
    member = np.abs(offset) < 1.5 * width
    for _ in range(3):
        residual = offset - _plane(sources, offset, member)
        spread = 1.4826 * np.median(np.abs(residual[member]))
        narrow = 0.4 * width if member.sum() >= 6 else width
        member = np.abs(residual) < np.clip(3.0 * spread, narrow, width)
    return np.asarray(member)


def _plane(sources: _Sources, values: F64, use: Flags) -> F64:
    """Fit a plane (or a constant to few points) robustly and return it at every source."""
    terms = np.column_stack([np.ones(len(values)), sources.x, sources.y])
    if use.sum() < 12:
        return np.full(len(values), float(np.median(values[use])))
    weight = use.astype(float)
    solution = np.zeros(3)
    for _ in range(4):
        solution = np.linalg.lstsq(terms * weight[:, None], values * weight, rcond=None)[0]
        residual = np.abs(values - terms @ solution)
        weight = use / (1.0 + (residual / 0.03) ** 2)
    return np.asarray(terms @ solution)
