"""The common form of an alert, whichever stream and file format it comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ..cutouts import PlacedPlanes
from ..errors import BadInputError

__all__ = ["Alert", "AlertError", "Triplet", "integer", "number", "positive", "text"]

_TEXT_LENGTH = 64


class AlertError(BadInputError):
    """A file, a record or a cutout that is not what an alert packet must be."""


@dataclasses.dataclass(frozen=True)
class Triplet:
    """The three cutouts of an alert on one pixel grid.

    Parameters
    ----------
    science, template, difference : `~dia_vetting.cutouts.PlacedPlanes`
        Each [ny, nx] of its own size, nJy, NaN and NO_DATA where nothing was measured; the variance of the
        difference is that of its pixels, nJy^2.
    x, y : `float`
        Position of the source in the frame of the origins, centre of the first pixel at 0.
    """

    science: PlacedPlanes
    template: PlacedPlanes
    difference: PlacedPlanes
    x: float
    y: float


@dataclasses.dataclass(frozen=True)
class Alert:
    """What vetting needs of an alert packet.

    Parameters
    ----------
    stream : `str`
        "rubin" or "ztf".
    file : `str`
        File that it was in.
    dia_source_id, candid : `int`
        Id of the detection; that of the other stream is 0.
    object_id : `str`
        The stream's name of the object; empty if it has none.
    visit, detector : `int`
        Exposure and detector.
    band : `str`
        Short name of the passband.
    mjd : `float`
        Middle of the exposure, MJD (TAI).
    exposure_time : `float`
        Seconds.
    ra, dec : `float`
        ICRS, deg; NaN if the packet has no position on the sky.
    snr : `float`
        Signal-to-noise ratio of the detection, positive; NaN if not known.
    flux, flux_err : `float`
        PSF flux on the difference image and its uncertainty, nJy; negative for a source that faded.
    psf_fwhm : `float`
        Full width at half maximum of the PSF of the difference, pixels; NaN if not known.
    stream_score : `float`
        The stream's own real/bogus score; NaN if it has none.
    triplet : `Triplet` or `None`
        The cutouts; none where there is a reason.
    reason : `str`
        Why it has no cutouts that can be used; empty if it has.
    """

    stream: str
    file: str
    dia_source_id: int
    candid: int
    object_id: str
    visit: int
    detector: int
    band: str
    mjd: float
    exposure_time: float
    ra: float
    dec: float
    snr: float
    flux: float
    flux_err: float
    psf_fwhm: float
    stream_score: float
    triplet: Triplet | None
    reason: str


def number(record: Mapping[str, Any], field: str, source: str) -> float:
    """Return a field as a number; NaN if it is absent or null.

    Raises
    ------
    AlertError
        If it is something else than a number.
    """
    value = record.get(field)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AlertError(source, f"a number in the field {field!r}", type(value).__name__)
    return float(value)


def positive(record: Mapping[str, Any], field: str, source: str) -> float:
    """Return a field as a positive number; NaN if it is absent, null, or not finite and positive.

    Raises
    ------
    AlertError
        If it is something else than a number.
    """
    value = number(record, field, source)
    return value if 0 < value < math.inf else math.nan


def integer(record: Mapping[str, Any], field: str, source: str) -> int:
    """Return a field as an integer of 64 bits; 0 if it is absent or null.

    Raises
    ------
    AlertError
        If it is something else than such an integer.
    """
    value = record.get(field)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise AlertError(source, f"an integer in the field {field!r}", type(value).__name__)
    return value


def text(record: Mapping[str, Any], field: str, source: str) -> str:
    """Return a field as a string of at most 64 characters; empty if it is absent or null.

    Raises
    ------
    AlertError
        If it is something else than a string.
    """
    value = record.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AlertError(source, f"a string in the field {field!r}", type(value).__name__)
    return value[:_TEXT_LENGTH]
