"""Minimal instruments for repositories that hold nothing but cutouts of alerts.

The LSSTCam of Rubin's own ``obs_lsst`` has the same name and the same visit and detector ids. In a repository
where that is registered, cutouts join its visits, and this class is not used.
"""

from __future__ import annotations

from typing import ClassVar

from ..embedded.instruments import EmbeddedInstrument
from ..errors import BadInputError

__all__ = ["ZTF", "AlertInstrument", "LSSTCam", "alert_instrument"]

_SENSORS = [f"S{row}{column}" for row in range(3) for column in range(3)]
_CORNERS = {"R00", "R04", "R40", "R44"}
_RAFTS = [r for r in (f"R{row}{column}" for row in range(5) for column in range(5)) if r not in _CORNERS]


class AlertInstrument(EmbeddedInstrument):
    """An instrument whose alerts can be ingested."""

    stream: ClassVar[str]
    """Of its alerts."""


class LSSTCam(AlertInstrument):
    """Rubin's camera: 189 science detectors. Alerts name the band only, which stands for the filter."""

    name: ClassVar[str] = "LSSTCam"
    stream: ClassVar[str] = "rubin"
    filters: ClassVar[dict[str, str]] = {band: band for band in "ugrizy"}
    detectors: ClassVar[dict[int, str]] = dict(enumerate(f"{r}_{s}" for r in _RAFTS for s in _SENSORS))
    visit_max: ClassVar[int] = 2050_12_31_99999


class ZTF(AlertInstrument):
    """ZTF's camera: detectors are its 64 readout channels (``rcid``), of 16 CCDs with four quadrants each."""

    name: ClassVar[str] = "ZTF"
    stream: ClassVar[str] = "ztf"
    filters: ClassVar[dict[str, str]] = {band: f"ZTF_{band}" for band in "gri"}
    detectors: ClassVar[dict[int, str]] = {n: f"c{n // 4 + 1:02d}_q{n % 4 + 1}" for n in range(64)}


def alert_instrument(name: str) -> AlertInstrument:
    """Return the instrument of a name.

    Parameters
    ----------
    name : `str`
        LSSTCam or ZTF.

    Raises
    ------
    BadInputError
        If there is no such instrument.
    """
    known: dict[str, type[AlertInstrument]] = {cls.name: cls for cls in (LSSTCam, ZTF)}
    if name not in known:
        raise BadInputError("instrument", f"one of {', '.join(known)}, or one of the repository", repr(name))
    return known[name]()
