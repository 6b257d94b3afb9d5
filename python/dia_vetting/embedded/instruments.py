"""Instruments of the embedded repositories: three simulated cameras, and a minimal DECam.

They register what the butler's dimensions need and nothing else. The DECam of Rubin's own ``obs_decam`` has
the same name and the same detector and exposure ids, but repositories must not mix the two.
"""

from __future__ import annotations

__all__ = ["DECam", "EmbeddedInstrument", "SimDECam", "SimHSC", "SimLSST", "SimZTF", "instrument_class"]

from typing import Any, ClassVar, NoReturn

from lsst.daf.butler.registry import Registry
from lsst.pipe.base import Instrument
from lsst.utils.introspection import get_full_type_name

from ..errors import BadInputError

ONE_TO_ONE = 0
"""Visit system in which a visit is one exposure, with the same id."""

_DECAM_FILTERS = {
    "u": "u DECam c0006 3500.0 1000.0",
    "g": "g DECam SDSS c0001 4720.0 1520.0",
    "r": "r DECam SDSS c0002 6415.0 1480.0",
    "i": "i DECam SDSS c0003 7835.0 1470.0",
    "z": "z DECam SDSS c0004 9260.0 1520.0",
    "Y": "Y DECam c0005 10095.0 1130.0",
}
_DECAM_DETECTORS = [f"S{n}" for n in (29, 30, 31, 25, 26, 27, 28, 20, 21, 22, 23, 24, 14, 15, 16, 17, 18, 19)]
_DECAM_DETECTORS += [f"S{n}" for n in (8, 9, 10, 11, 12, 13, 1, 2, 3, 4, 5, 6, 7)]
_DECAM_DETECTORS += [f"N{n}" for n in range(1, 32)]
"""CCD names in the order of CCDNUM, which starts at 1."""


class EmbeddedInstrument(Instrument):
    """An instrument whose detectors, filters and id ranges are class attributes."""

    name: ClassVar[str]
    filters: ClassVar[dict[str, str]]
    """Physical filter by band."""
    detectors: ClassVar[dict[int, str]]
    """Full name of each detector by its id."""
    visit_max: ClassVar[int] = 2**31
    detector_max: ClassVar[int] = 256

    @classmethod
    def getName(cls) -> str:  # noqa: D102
        return cls.name

    def getRawFormatter(self, dataId: Any) -> NoReturn:  # noqa: D102
        raise NotImplementedError(f"{self.name} of the embedded repositories has calibrated images only.")

    def register(self, registry: Registry, *, update: bool = False) -> None:  # noqa: D102
        with registry.transaction():
            registry.syncDimensionData(
                "instrument",
                {
                    "name": self.name,
                    "visit_max": self.visit_max,
                    "exposure_max": self.visit_max,
                    "detector_max": self.detector_max,
                    "visit_system": ONE_TO_ONE,
                    "class_name": get_full_type_name(type(self)),
                },
                update=update,
            )
            registry.syncDimensionData(
                "visit_system",
                {"instrument": self.name, "id": ONE_TO_ONE, "name": "one-to-one"},
                update=update,
            )
            for band, physical_filter in self.filters.items():
                row = {"instrument": self.name, "name": physical_filter, "band": band.lower()}
                registry.syncDimensionData("physical_filter", row, update=update)
            for detector, full_name in self.detectors.items():
                self.register_detector(registry, detector, full_name, update=update)

    def register_detector(
        self, registry: Registry, detector: int, full_name: str, *, update: bool = False
    ) -> None:
        """Insert the record of one detector; nothing happens if it is there."""
        row = {
            "instrument": self.name,
            "id": detector,
            "full_name": full_name,
            "name_in_raft": full_name,
            "purpose": "SCIENCE",
        }
        registry.syncDimensionData("detector", row, update=update)


class _Simulated(EmbeddedInstrument):
    filters: ClassVar[dict[str, str]] = {band: band for band in "ugrizy"}
    detectors: ClassVar[dict[int, str]] = {}
    """They depend on the survey's configuration; `.repository` registers them."""


class SimLSST(_Simulated):
    """The LSST-like simulated camera."""

    name: ClassVar[str] = "SimLSST"


class SimHSC(_Simulated):
    """The HSC-like simulated camera."""

    name: ClassVar[str] = "SimHSC"


class SimZTF(_Simulated):
    """The ZTF-like simulated camera."""

    name: ClassVar[str] = "SimZTF"
    configPaths = ("resource://dia_vetting/config/SimZTF",)


class SimDECam(_Simulated):
    """The DECam-like simulated camera."""

    name: ClassVar[str] = "SimDECam"


class DECam(EmbeddedInstrument):
    """The Dark Energy Camera; detector ids are CCDNUM, visit ids EXPNUM."""

    name: ClassVar[str] = "DECam"
    filters: ClassVar[dict[str, str]] = _DECAM_FILTERS
    detectors: ClassVar[dict[int, str]] = dict(enumerate(_DECAM_DETECTORS, start=1))


def instrument_class(name: str) -> type[EmbeddedInstrument]:
    """Return the instrument of a short name.

    Parameters
    ----------
    name
        SimLSST, SimHSC, SimZTF, SimDECam or DECam.

    Raises
    ------
    BadInputError
        If there is no such instrument.
    """
    known = {cls.name: cls for cls in (SimLSST, SimHSC, SimZTF, SimDECam, DECam)}
    if name not in known:
        raise BadInputError("instrument", f"one of {', '.join(known)}", repr(name))
    return known[name]
