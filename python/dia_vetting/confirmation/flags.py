"""Why an object got its verdict, and what was not known of it: the bits of ``flags``."""

from __future__ import annotations

__all__ = ["MISSING", "VerdictFlag", "flag_names"]

import enum


class VerdictFlag(enum.IntFlag):
    """Bits of ``flags`` in `dia_object_verdict`. Those of `MISSING` say what was not known."""

    SINGLE_EPOCH = 1 << 0
    """Detected in one visit only."""
    SINGLE_NIGHT = 1 << 1
    """Detected in one night only (day_obs)."""
    SINGLE_BAND = 1 << 2
    """Detected in one band only."""
    FEW_DETECTIONS = 1 << 3
    """Detected in fewer visits than a confirmation asks for."""
    NO_DETECTION = 1 << 4
    """No DIA source has this object's id."""
    NO_FORCED = 1 << 5
    """No forced flux could be used: the light curve has detections only."""
    NO_SCORE = 1 << 6
    """None of its DIA sources has a reliability."""
    UNSCORED_SOURCES = 1 << 7
    """Some of its DIA sources have no reliability."""
    NAN_FLUX = 1 << 8
    """A flux or its error was not finite, or the error not positive; such points are left out."""
    BAD_PIXELS = 1 << 9
    """Some forced fluxes were on unusable pixels; they are left out."""
    DUPLICATE_ID = 1 << 10
    """The object's id stood twice, or that of one of its sources, or it had two points in one image."""
    NIGHT_ESTIMATED = 1 << 11
    """The day_obs of a visit was not known: its night was taken from the time and the longitude given."""
    BAD_POSITION = 1 << 12
    """The object's position is not finite: no host, star or motion was looked for."""
    NO_HOST_CATALOG = 1 << 13
    """There was no table of objects to look for hosts in."""
    NO_STAR_CATALOG = 1 << 14
    """There was no table to look for stars in."""
    NO_BLEND = 1 << 15
    """None of its sources has a blend flag."""
    RELIABLE = 1 << 16
    """The scores of its detections say real: more likely than not, all together."""
    UNRELIABLE = 1 << 17
    """The scores of its detections say artefact."""
    TRANSIENT_SHAPE = 1 << 18
    """The light curve is more like a rise and a decline than like noise, outliers or a steady variable."""
    VARIABLE_SHAPE = 1 << 19
    """The light curve is more like a random walk about a mean than like a rise and a decline."""
    CONSTANT = 1 << 20
    """The light curve agrees with a constant flux in each band."""
    ISOLATED_OUTLIERS = 1 << 21
    """The light curve is more like outliers in single visits than like anything that lasts."""
    NEGATIVE = 1 << 22
    """Most of its detections are negative: brighter in the template."""
    BOTH_SIGNS = 1 << 23
    """It has significant detections of either sign."""
    MOVES = 1 << 24
    """Its positions drift by more than their errors."""
    SCATTERED = 1 << 25
    """Its positions scatter by more than their errors, without a drift."""
    TRAILED = 1 << 26
    """Its detections are trailed."""
    DIPOLE = 1 << 27
    """Half or more of its detections are dipoles."""
    GLINT_TRAIL = 1 << 28
    """A detection is one of a row of flashes."""
    BLENDED = 1 << 29
    """Most of its detections are flagged as blends."""
    OUT_OF_DISTRIBUTION = 1 << 30
    """Most of its detections are stranger than almost all that the network was trained with."""
    HOSTLESS = 1 << 31
    """No galaxy within reach."""
    HOST_CENTRE = 1 << 32
    """At the centre of a galaxy within the errors: an active nucleus would be there, and residuals are."""
    ON_STAR = 1 << 33
    """On a star, within the errors."""
    NEAR_BRIGHT_STAR = 1 << 34
    """Near a star so bright that its residuals reach there."""
    SAME_PIXEL = 1 << 35
    """Its detections stay on the same detector pixels while the pointing moves: a defect."""


MISSING = (
    VerdictFlag.NO_DETECTION
    | VerdictFlag.NO_FORCED
    | VerdictFlag.NO_SCORE
    | VerdictFlag.UNSCORED_SOURCES
    | VerdictFlag.NAN_FLUX
    | VerdictFlag.BAD_PIXELS
    | VerdictFlag.DUPLICATE_ID
    | VerdictFlag.NIGHT_ESTIMATED
    | VerdictFlag.BAD_POSITION
    | VerdictFlag.NO_HOST_CATALOG
    | VerdictFlag.NO_STAR_CATALOG
    | VerdictFlag.NO_BLEND
)
"""Bits that say what was not known, rather than why the verdict is what it is."""


def flag_names(flags: int) -> list[str]:
    """Return the names of the bits that are set, lowest first.

    Parameters
    ----------
    flags : `int`
        A value of the column ``flags``.

    Raises
    ------
    ValueError
        If a bit is set that has no name.
    """
    unknown = int(flags) & ~sum(int(bit) for bit in VerdictFlag)
    if unknown:
        raise ValueError(f"{flags} has the bits {unknown:#x}, which are no flags of verdicts.")
    return [str(bit.name) for bit in VerdictFlag if int(flags) & int(bit)]
