"""ZTF's public alerts in the common form."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from ..cutouts import PlacedPlanes
from ..magnitudes import AB_ZERO_POINT
from ..planes import robust_sigma
from .packets import Alert, AlertError, Triplet, integer, number, positive, text
from .stamps import StampError, gunzip, make_planes, read_stamp

__all__ = ["ZTF_BANDS", "ztf_alert"]

type F32 = NDArray[np.float32]

ZTF_BANDS = {1: "g", 2: "r", 3: "i"}
"""Band by ``fid``."""

_CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
_POGSON = 2.5 / math.log(10.0)
_TYPICAL_ZERO_POINT = 26.3
_HALF_SIDE = 31
"""Cutouts are 63 pixels wide, the pixel of the source in the middle."""

_MAX_STAMP = 2**22
_MAX_DN = 1e9
_SIGNS = {"t": 1.0, "1": 1.0, "f": -1.0, "0": -1.0}


def ztf_alert(record: Mapping[str, Any], file: str) -> Alert:
    """Bring an alert of ZTF into the common form.

    Fluxes and pixels are nJy: ``10^(0.4 (31.4 - mag))``, and DN times ``10^(0.4 (31.4 - magzpsci))``. The
    cutout of the difference is reference minus science where ``isdiffpos`` is f; here it is always science
    minus reference. ``seeratio`` is the FWHM of the difference image over that of the candidate, ``fwhm``.

    Parameters
    ----------
    record : `~collections.abc.Mapping`
        With the fields ``candid``, ``candidate`` and ``cutoutScience``, ``cutoutTemplate``,
        ``cutoutDifference``, these with ``stampData``.
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
    candidate = record.get("candidate")
    if not isinstance(candidate, Mapping):
        raise AlertError(file, "a record in the field 'candidate'", type(candidate).__name__)
    sign = _SIGNS.get(text(candidate, "isdiffpos", file), math.nan)
    flux = sign * _flux(number(candidate, "magpsf", file))
    snr = _POGSON / positive(candidate, "sigmapsf", file)
    width, ratio = positive(candidate, "fwhm", file), positive(candidate, "seeratio", file)
    exposure_time = positive(candidate, "exptime", file)
    exposure_time = 30.0 if math.isnan(exposure_time) else exposure_time
    score = number(candidate, "drb", file)
    pid, channel = integer(candidate, "pid", file), candidate.get("rcid")
    triplet, reason = None, ""
    try:
        triplet = _triplet(record, candidate, sign, file)
    except StampError as error:
        reason = str(error)
    return Alert(
        stream="ztf",
        file=file,
        dia_source_id=0,
        candid=integer(record, "candid", file),
        object_id=text(record, "objectId", file),
        # pid is days since 2017-01-01 to five decimals, the channel, and the kind of product.
        visit=pid // 10_000,
        detector=pid // 100 % 100 if channel is None else integer(candidate, "rcid", file),
        band=ZTF_BANDS.get(integer(candidate, "fid", file), ""),
        mjd=_mjd(number(candidate, "jd", file)) + exposure_time / 172_800,
        exposure_time=exposure_time,
        ra=number(candidate, "ra", file),
        dec=number(candidate, "dec", file),
        snr=snr,
        flux=flux,
        flux_err=abs(flux) / snr,
        psf_fwhm=width if math.isnan(ratio) else width * ratio,
        stream_score=number(candidate, "rb", file) if math.isnan(score) else score,
        triplet=triplet,
        reason=reason,
    )


def _flux(magnitude: float) -> float:
    """Return nJy of an AB magnitude; NaN where it is out of any range."""
    return 10.0 ** (0.4 * (AB_ZERO_POINT - magnitude)) if abs(magnitude) < 100 else math.nan


def _mjd(jd_utc: float) -> float:
    """Return MJD (TAI) of a Julian date (UTC); NaN if that is in no year of the survey."""
    if not 2_450_000 < jd_utc < 2_500_000:
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of leap seconds that nobody knows yet
        return float(Time(jd_utc, format="jd", scale="utc").tai.mjd)


def _triplet(record: Mapping[str, Any], candidate: Mapping[str, Any], sign: float, file: str) -> Triplet:
    if math.isnan(sign):
        raise StampError("isdiffpos", "t, 1, f or 0", repr(candidate.get("isdiffpos"))[:20])
    zero_point = number(candidate, "magzpsci", file)
    scale = _flux(zero_point if 10 < zero_point < 40 else _TYPICAL_ZERO_POINT)
    images = [_image(record, name) for name in _CUTOUTS]
    if len({image.shape for image in images}) > 1:
        raise StampError("cutouts", "one shape of all three", ", ".join(str(i.shape) for i in images))
    x, y = (
        _place(number(candidate, name, file), side)
        for name, side in (("xpos", images[0].shape[1]), ("ypos", images[0].shape[0]))
    )
    placed = []
    for image, scaled in zip(images, (scale, scale, scale * sign), strict=True):
        planes = make_planes(image, _variance(images[2]), scaled)
        placed.append(PlacedPlanes(planes, x[1], y[1]))
    return Triplet(placed[0], placed[1], placed[2], x[0], y[0])


def _image(record: Mapping[str, Any], name: str) -> F32:
    cutout = record.get(name)
    data = cutout.get("stampData") if isinstance(cutout, Mapping) else cutout
    if not isinstance(data, bytes) or not data:
        raise StampError(name, "a cutout", "none")
    stamp = read_stamp(gunzip(data, _MAX_STAMP, name), name)
    unit = stamp.header.get("BUNIT", "DN")
    if not isinstance(unit, str) or unit.strip() != "DN":
        raise StampError(name, "pixels in DN", f"BUNIT {unit!r:.40}")
    return stamp.image


def _place(position: float, side: int) -> tuple[float, int]:
    """Return where the source is along one axis of the detector, and the pixel that the cutout starts at.

    ``position`` counts from 1. Cutouts that reach over the lower edge and are not filled up begin at the
    detector's first pixel.
    """
    if not 0 < position < 1e5:
        return (side - 1) // 2, 0
    pixel = int(np.rint(position)) - 1
    first = pixel - _HALF_SIDE
    return position - 1, max(first, 0) if side < 2 * _HALF_SIDE + 1 else first


def _variance(difference: F32) -> F32:
    """Return the variance of the difference, DN^2, from its robust scatter: there is no variance plane."""
    sigma = robust_sigma(difference[np.abs(difference) < _MAX_DN])
    return np.full_like(difference, sigma**2)
