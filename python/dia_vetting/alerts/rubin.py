"""Rubin's alerts (lsst.v7 to v11) in the common form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..cutouts import PlacedPlanes
from .packets import Alert, AlertError, Triplet, integer, number, positive, text
from .stamps import Stamp, StampError, make_planes, psf_fwhm, read_stamp

__all__ = ["rubin_alert"]

_CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
_EXPOSURE_TIME = 30.0
_GRID_TOLERANCE = 0.05
"""Largest disagreement of two cutouts about where the source is, pixels."""


def rubin_alert(record: Mapping[str, Any], file: str) -> Alert:
    """Bring an alert of Rubin into the common form.

    Parameters
    ----------
    record : `~collections.abc.Mapping`
        With the fields ``diaSource`` and ``cutoutScience``, ``cutoutTemplate``, ``cutoutDifference``.
    file : `str`
        Where it comes from.

    Returns
    -------
    alert : `Alert`
        With a reason where a cutout is missing or cannot be read.

    Raises
    ------
    AlertError
        If it is no such record.
    """
    source = record.get("diaSource")
    if not isinstance(source, Mapping):
        raise AlertError(file, "a record in the field 'diaSource'", type(source).__name__)
    ra, dec = number(source, "ra", file), number(source, "dec", file)
    object_id = integer(source, "diaObjectId", file)
    triplet, fwhm, reason = None, math.nan, ""
    try:
        triplet, fwhm = _triplet(record, ra, dec)
    except StampError as error:
        reason = str(error)
    return Alert(
        stream="rubin",
        file=file,
        dia_source_id=integer(source, "diaSourceId", file) or integer(record, "diaSourceId", file),
        candid=0,
        object_id=str(object_id) if object_id else "",
        visit=integer(source, "visit", file),
        detector=integer(source, "detector", file),
        band=text(source, "band", file),
        mjd=number(source, "midpointMjdTai", file),
        exposure_time=_EXPOSURE_TIME,
        ra=ra,
        dec=dec,
        snr=positive(source, "snr", file),
        flux=number(source, "psfFlux", file),
        flux_err=positive(source, "psfFluxErr", file),
        psf_fwhm=fwhm,
        stream_score=number(source, "reliability", file),
        triplet=triplet,
        reason=reason,
    )


def _triplet(record: Mapping[str, Any], ra: float, dec: float) -> tuple[Triplet, float]:
    """Return the cutouts on one grid and the width of the PSF of the difference."""
    stamps = [_stamp(record, name) for name in _CUTOUTS]
    if stamps[2].variance is None:
        raise StampError(_CUTOUTS[2], "an extension UNCERT", "none")
    for stamp, name in zip(stamps, _CUTOUTS, strict=True):
        # An extension that only one of them lacks was cut off.
        if stamp.extensions != stamps[2].extensions:
            wanted = f"the extensions {', '.join(stamps[2].extensions)} of cutoutDifference"
            raise StampError(name, wanted, ", ".join(stamp.extensions))
    placed = [_place(stamp, name, ra, dec) for stamp, name in zip(stamps, _CUTOUTS, strict=True)]
    (science, *_), (template, *_), (difference, x, y) = placed
    for name, (_, x_other, y_other) in zip(_CUTOUTS, placed, strict=True):
        if max(abs(x_other - x), abs(y_other - y)) > _GRID_TOLERANCE:
            found = f"offsets of {x_other - x:.2f} and {y_other - y:.2f} pixels"
            raise StampError(name, "the pixel grid of cutoutDifference", found)
    return Triplet(science, template, difference, x, y), psf_fwhm(stamps[2].psf)


def _stamp(record: Mapping[str, Any], name: str) -> Stamp:
    data = record.get(name)
    if not isinstance(data, bytes) or not data:
        raise StampError(name, "a cutout", "none")
    stamp = read_stamp(data, name)
    unit = stamp.header.get("BUNIT")
    if not isinstance(unit, str) or unit.strip() != "nJy":
        raise StampError(name, "pixels in nJy", f"BUNIT {unit!r:.40}")
    return stamp


def _place(stamp: Stamp, name: str, ra: float, dec: float) -> tuple[PlacedPlanes, float, float]:
    """Return the cutout in the parent frame, and where the source is there.

    A cutout without CUTMINX has a frame of its own, and its middle on the middle pixel of the others.
    """
    ny, nx = stamp.image.shape
    variance = np.full_like(stamp.image, np.nan) if stamp.variance is None else stamp.variance
    position = stamp.position(ra, dec, name) or ((nx - 1) / 2, (ny - 1) / 2)
    corner = stamp.corner() or (-int(np.rint(position[0])), -int(np.rint(position[1])))
    planes = PlacedPlanes(make_planes(stamp.image, variance), *corner)
    return planes, position[0] + corner[0], position[1] + corner[1]
