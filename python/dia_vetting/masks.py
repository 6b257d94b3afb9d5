"""The package's own fixed mask bit layout, and how plane names of other software map onto it."""

import enum

__all__ = ["INJECTION_BITS", "UNUSABLE_BITS", "MaskBit"]


class MaskBit(enum.IntFlag):
    """Mask planes by Rubin's names, at fixed bits.

    Arrays of these are ``uint32``. The layout never changes once published: new planes are appended, so
    that cutouts written years apart mean the same.
    """

    NO_DATA = 1 << 0
    BAD = 1 << 1
    SAT = 1 << 2
    CR = 1 << 3
    EDGE = 1 << 4
    INTRP = 1 << 5
    SUSPECT = 1 << 6
    DETECTED = 1 << 7
    DETECTED_NEGATIVE = 1 << 8
    STREAK = 1 << 9
    CROSSTALK = 1 << 10
    SAT_TEMPLATE = 1 << 11
    BAD_TEMPLATE = 1 << 12
    NO_DATA_TEMPLATE = 1 << 13
    INJECTED = 1 << 14
    INJECTED_CORE = 1 << 15


INJECTION_BITS = MaskBit.INJECTED | MaskBit.INJECTED_CORE
"""Planes that say where a source was injected: the answer, so never shown to a network."""

UNUSABLE_BITS = MaskBit.NO_DATA | MaskBit.BAD | MaskBit.SAT | MaskBit.CR
"""Planes whose pixels say nothing about the sky."""
