"""Mask planes of `lsst.images` and the package's own fixed bits: one from the other."""

from __future__ import annotations

__all__ = ["bits_from_mask", "mask_from_bits"]

import numpy as np
from lsst.images import (
    Box,
    Mask,
    MaskPlane,
    MaskSchema,
    get_legacy_difference_image_mask_planes,
    get_legacy_optional_mask_planes,
)
from numpy.typing import NDArray

from .masks import MaskBit

_OWN_PLANES = {
    "BAD_TEMPLATE": MaskPlane("BAD_TEMPLATE", "Template pixel was bad in every exposure that covers it."),
    "NO_DATA_TEMPLATE": MaskPlane("NO_DATA_TEMPLATE", "No template exposure covers this pixel."),
}
"""Planes that lsst.images does not describe."""


def _planes_by_bit() -> dict[MaskBit, MaskPlane]:
    described = {
        **get_legacy_difference_image_mask_planes(),
        **get_legacy_optional_mask_planes(),
        **_OWN_PLANES,
    }
    return {bit: described[str(bit.name)] for bit in MaskBit}


_PLANES = _planes_by_bit()
_BITS = {name: bit for bit, plane in _PLANES.items() for name in (str(bit.name), plane.name)}
"""Mask bit by plane name: the short legacy names, and the long ones of lsst.images."""


def bits_from_mask(mask: Mask) -> NDArray[np.uint32]:
    """Return a mask as bits of `MaskBit`, uint32 [ny, nx]; planes that it does not know are left out.

    Planes are known by their short legacy name (SAT) or by the long one of lsst.images (SATURATED).
    """
    bits = np.zeros(mask.bbox.shape, np.uint32)
    for name in mask.schema.names:
        if name in _BITS:
            bits |= mask.get(name).astype(np.uint32) * np.uint32(_BITS[name])
    return bits


def mask_from_bits(bits: NDArray[np.uint32], bbox: Box, keep: Mask | None = None) -> Mask:
    """Make a mask of all planes of `MaskBit`, under the names that lsst.images gives them.

    Parameters
    ----------
    bits : `numpy.ndarray`, (ny, nx), uint32
        Of `MaskBit`.
    bbox : `lsst.images.Box`
        Box of the image.
    keep : `lsst.images.Mask`, optional
        Its planes that `MaskBit` does not know are copied.

    Returns
    -------
    mask : `lsst.images.Mask`
        Without a sky projection.
    """
    others = [] if keep is None else [plane for plane in keep.schema if plane and plane.name not in _BITS]
    mask = Mask(0, schema=MaskSchema([*_PLANES.values(), *others]), bbox=bbox)
    there = np.bitwise_or.reduce(bits, axis=None, initial=np.uint32(0))
    for bit, plane in _PLANES.items():
        if there & np.uint32(bit):  # most planes are empty, and setting one costs more than looking
            mask.set(plane.name, (bits & np.uint32(bit)) != 0)
    for plane in others:
        assert keep is not None
        mask.set(plane.name, keep.get(plane.name))
    return mask
