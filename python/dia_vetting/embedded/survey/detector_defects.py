"""Defects of the detectors: hot pixels and columns, edges, saturation and bleed trails, crosstalk, holes."""

from __future__ import annotations

__all__ = [
    "crosstalk",
    "dead_columns",
    "edge_glow",
    "edges",
    "hot_columns",
    "hot_pixels",
    "nan_patches",
    "saturate",
]

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...masks import MaskBit
from .artefacts import ImageContext, Patch
from .visits import sky_electrons

type F32 = NDArray[np.float32]
type U32 = NDArray[np.uint32]


def hot_pixels(context: ImageContext) -> list[Patch]:
    """Draw the hot pixels (cause hot_pixel): the same in all visits, but some that blink.

    Parameters
    ----------
    context : `ImageContext`
        The image. The configured share of pixels is masked BAD.
    """
    rng = context.detector_rng("hot pixels")
    settings = context.defects
    ny, nx = context.shape
    n = int(rng.poisson(settings.hot_pixel * context.config.megapixels))
    x, y = rng.integers(0, nx, n), rng.integers(0, ny, n)
    low, high = np.log(settings.hot_pixel_level)
    charge = np.exp(rng.uniform(low, high, n))
    masked, blinks = rng.random(n) < settings.hot_pixel_masked, rng.random(n) < 0.2
    on = ~blinks | (context.rng("blinking pixels").random(n) < 0.5)
    bits = [MaskBit.BAD if m else MaskBit(0) for m in masked]
    return [
        Patch("hot_pixel", x[i : i + 1], y[i : i + 1], charge[i : i + 1], bits[i]) for i in np.flatnonzero(on)
    ]


def hot_columns(context: ImageContext) -> list[Patch]:
    """Draw columns with too much charge from some row on (cause hot_column), the same in all visits.

    Parameters
    ----------
    context : `ImageContext`
        The image. The configured share of columns is masked BAD.
    """
    rng = context.detector_rng("hot columns")
    settings = context.defects
    ny, nx = context.shape
    patches = []
    for _ in range(int(settings.hot_column * nx / 1000.0 + rng.random())):
        column, start = int(rng.integers(10, nx - 10)), int(rng.integers(0, ny * 3 // 4))
        stop = ny if rng.random() < 0.5 else min(ny, start + int(rng.integers(ny // 8, ny // 2)))
        level = rng.uniform(*settings.hot_column_level) * context.noise
        bit = MaskBit.BAD if rng.random() < settings.hot_column_masked else MaskBit(0)
        rows = np.arange(start, stop)
        charge = level * (1.0 + 0.3 * np.sin(rows / rng.uniform(20.0, 200.0)))
        patches.append(Patch("hot_column", np.full(len(rows), column), rows, charge, bit))
    return patches


def dead_columns(context: ImageContext, electrons: F32, mask: U32) -> list[Patch]:
    """Make the dead columns of a detector (cause dead_column), in place; they are all masked BAD.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    electrons, mask : `numpy.ndarray`, (ny, nx)
        Changed in place.
    """
    rng = context.detector_rng("dead columns")
    ny, nx = context.shape
    patches = []
    for _ in range(int(context.defects.dead_column * nx / 1000.0 + rng.random())):
        column, start = int(rng.integers(10, nx - 10)), int(rng.integers(0, ny // 2))
        rows = np.arange(start, ny)
        lost = -0.9 * electrons[rows, column].astype(float)
        electrons[rows, column] += lost.astype(np.float32)
        mask[rows, column] |= np.uint32(MaskBit.BAD)
        patches.append(Patch("dead_column", np.full(len(rows), column), rows, lost, MaskBit.BAD))
    return patches


def _edge_patch(
    context: ImageContext, cause: str, side: int, low: int, high: int, charge: F32, bit: MaskBit
) -> Patch:
    """Return a band along one side (0 left, 1 right, 2 bottom, 3 top), ``low`` to ``high`` pixels from it."""
    ny, nx = context.shape
    along = ny if side < 2 else nx
    depth, place = (a.ravel() for a in np.meshgrid(np.arange(low, high), np.arange(along)))
    across = depth if side in (0, 2) else (nx if side == 1 else ny) - 1 - depth
    x, y = (across, place) if side < 2 else (place, across)
    return Patch(cause, x, y, charge[depth - low].astype(float), bit)


def edge_glow(context: ImageContext) -> list[Patch]:
    """Draw the glow that reaches beyond the EDGE mask of one side (cause edge), never masked.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    """
    if context.defects.edge_glow == 0:
        return []
    side = int(context.detector_rng("edge glow").integers(4))
    first = context.defects.dead_edge + context.defects.edge_width
    reach = np.arange(12, dtype=np.float32)
    charge = context.defects.edge_glow * np.float32(context.noise) * np.exp(-reach / np.float32(3.0))
    return [_edge_patch(context, "edge", side, first, first + len(reach), charge, MaskBit(0))]


def edges(context: ImageContext, mask: U32) -> list[Patch]:
    """Mask the dead edges NO_DATA and the bands beyond them EDGE (cause dead_edge), in place.

    Parameters
    ----------
    context : `ImageContext`
        The image.
    mask : `numpy.ndarray`, (ny, nx), uint32
        Changed in place.
    """
    dead, width = context.defects.dead_edge, context.defects.edge_width
    patches = []
    for low, high, bit in ((0, dead, MaskBit.NO_DATA), (dead, dead + width, MaskBit.EDGE)):
        bands = [
            _edge_patch(context, "dead_edge", s, low, high, np.zeros(high - low, np.float32), bit)
            for s in range(4)
        ]
        for band in bands:
            mask[band.y, band.x] |= np.uint32(bit)
        patches += bands if bit == MaskBit.NO_DATA else []
    return patches


def _bleed(column: F32, full_well: float) -> None:
    """Let the charge above the full well of one column flow up and down in equal parts, in place."""
    runs, count = ndimage.label(column > full_well)
    for first, last in ((s[0].start, s[0].stop - 1) for s in ndimage.find_objects(runs, count) if s):
        inside = column[first : last + 1]
        excess = 0.5 * float((inside - full_well).clip(0).sum())
        inside[:] = np.minimum(inside, full_well)
        for position, step in ((first - 1, -1), (last + 1, 1)):
            left, at = excess, position
            while left > 0 and 0 <= at < len(column):
                room = min(max(full_well - float(column[at]), 0.0), left)
                column[at] += room
                left -= room
                at += step


def saturate(context: ImageContext, electrons: F32, mask: U32) -> list[Patch]:
    """Clip at the full well, bleed along the columns and mask SAT, in place (cause saturated).

    Parameters
    ----------
    context : `ImageContext`
        The image.
    electrons, mask : `numpy.ndarray`, (ny, nx)
        Changed in place.

    Returns
    -------
    patches : `list` [`Patch`]
        One for each connected saturated area.
    """
    camera = context.config.camera
    for column in np.flatnonzero((electrons > camera.full_well).any(axis=0)):
        _bleed(electrons[:, column], camera.full_well)
    full = electrons > camera.masked_level * camera.full_well
    grown = ndimage.binary_dilation(full, iterations=1)
    mask[grown] |= np.uint32(MaskBit.SAT)
    labels, _ = ndimage.label(grown, structure=np.ones((3, 3)))
    patches = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = np.nonzero(labels[box] == number)
        y, x = rows + box[0].start, columns + box[1].start
        patches.append(Patch("saturated", x, y, electrons[y, x].astype(float), MaskBit.SAT))
    return patches


def crosstalk(context: ImageContext, saturated: list[Patch]) -> list[Patch]:
    """Copy saturated areas faintly into the amplifier next to theirs, mirrored (cause crosstalk).

    Parameters
    ----------
    context : `ImageContext`
        The image. The configured share is masked CROSSTALK.
    saturated : `list` [`Patch`]
        From `saturate`.
    """
    if context.defects.crosstalk == 0:
        return []
    rng = context.rng("crosstalk")
    nx = context.shape[1]
    width = nx // context.config.camera.amplifier_columns
    floor = 0.3 * context.config.camera.full_well
    patches = []
    for patch in saturated:
        masked = rng.random() < context.defects.crosstalk_masked
        amplifier = patch.x // width
        other = np.where(amplifier % 2 == 0, amplifier + 1, amplifier - 1)
        mirrored = (other + 1) * width - 1 - (patch.x - amplifier * width)
        keep = (mirrored >= 0) & (mirrored < nx) & (patch.electrons > floor)
        charge = context.defects.crosstalk * patch.electrons[keep]
        bit = MaskBit.CROSSTALK if masked else MaskBit(0)
        patches.append(Patch("crosstalk", mirrored[keep], patch.y[keep], charge, bit))
    return patches


def nan_patches(context: ImageContext, mask: U32) -> list[Patch]:
    """Punch holes of NO_DATA into a template exposure, in place (cause template_nan).

    Parameters
    ----------
    context : `ImageContext`
        The image; a science exposure has none.
    mask : `numpy.ndarray`, (ny, nx), uint32
        Changed in place.
    """
    if not context.visit.is_template:
        return []
    rng = context.rng("template holes")
    settings = context.defects
    ny, nx = context.shape
    sky = sky_electrons(context.config, context.visit)
    patches = []
    for _ in range(int(rng.poisson(settings.template_nan_patch * context.config.megapixels))):
        radius, x0, y0 = rng.uniform(*settings.template_nan_radius), rng.uniform(0, nx), rng.uniform(0, ny)
        reach = math.ceil(radius)
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        hole = (np.hypot(dx, dy / rng.uniform(0.6, 1.0)) < radius).astype(float) * sky
        patch = Patch.from_box("template_nan", -hole, int(x0) - reach, int(y0) - reach, context.shape, 0.0)
        mask[patch.y, patch.x] |= np.uint32(MaskBit.NO_DATA)
        patches.append(patch.masked_by(MaskBit.NO_DATA))
    return patches
