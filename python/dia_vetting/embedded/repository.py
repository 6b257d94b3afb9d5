"""Butler repositories without Rubin's stack: dimension records, dataset types, collections."""

from __future__ import annotations

__all__ = [
    "ObservedVisit",
    "chain",
    "day_obs",
    "missing",
    "open_repository",
    "put_once",
    "register_tract",
    "register_visits",
    "sky_polygon",
]

import dataclasses
import datetime
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.time import Time, TimeDelta
from lsst.daf.butler import Butler, DatasetType, Timespan
from lsst.daf.butler._collection_type import CollectionType
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from ..errors import BadInputError
from .instruments import ONE_TO_ONE, EmbeddedInstrument
from .tract_geometry import TractGeometry

type Corners = tuple[Iterable[float], Iterable[float]]
"""Right ascensions and declinations of the corners of a region, deg, in order."""

_IMAGE = ("instrument", "visit", "detector")
_TRACT = ("skymap", "tract")

DATASET_TYPES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "visit_image": (_IMAGE, "VisitImage"),
    "template_visit_image": (_IMAGE, "VisitImage"),
    "tract_geometry": (_TRACT, "StructuredDataDict"),
    "survey_config": (("instrument",), "StructuredDataDict"),
    "exposure_calibration": (_IMAGE, "ArrowAstropy"),
    "sim_truth_object": (_TRACT, "ArrowAstropy"),
    "sim_truth_source": (_IMAGE, "ArrowAstropy"),
    "sim_truth_artefact": (_IMAGE, "ArrowAstropy"),
    "sim_truth_psf": (_IMAGE, "ArrowAstropy"),
}
"""Dimensions and storage class of what is written outside of pipelines."""


@dataclasses.dataclass(frozen=True)
class ObservedVisit:
    """What the dimension records of a visit hold.

    Parameters
    ----------
    visit
        Id of the visit and of its only exposure.
    physical_filter
        As the instrument registers it.
    mjd_begin, mjd_end
        MJD, TAI.
    exposure_time
        Seconds.
    ra, dec
        Boresight, ICRS, deg.
    rotation
        Angle of the detector's +y axis from north towards east, deg; none if not known.
    airmass
        At the middle of the exposure; none if not known.
    target, program, reason
        Free words.
    simulated
        Whether the pixels are.
    regions
        Corners of each detector on the sky.
    """

    visit: int
    physical_filter: str
    mjd_begin: float
    mjd_end: float
    exposure_time: float
    ra: float
    dec: float
    rotation: float | None
    airmass: float | None
    target: str
    program: str
    reason: str
    simulated: bool
    regions: Mapping[int, Corners]


def open_repository(root: str | Path) -> Butler:
    """Open a repository for writing, and make it if it is not there.

    Parameters
    ----------
    root
        Folder; may be absent or empty.

    Returns
    -------
    butler : `lsst.daf.butler.Butler`
        With the dataset types of `DATASET_TYPES` registered.

    Raises
    ------
    BadInputError
        If the folder holds other files but no repository.
    """
    folder = Path(root)
    if not (folder / "butler.yaml").exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInputError(str(root), "a butler repository or an empty folder", "other files")
        Butler.makeRepo(str(folder))
    butler = Butler.from_config(str(folder), writeable=True)
    for name, (dimensions, storage_class) in DATASET_TYPES.items():
        butler.registry.registerDatasetType(
            DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
        )
    return butler


def day_obs(mjd_tai: float, offset_hours: float = 12.0) -> int:
    """Return the observing day as YYYYMMDD: it changes when the Sun is up, not at midnight.

    Parameters
    ----------
    mjd_tai
        Time, MJD (TAI).
    offset_hours
        TAI hour at which the day changes; Rubin and DECam (Chile) use 12.
    """
    day = math.floor(mjd_tai - offset_hours / 24.0)
    return int((datetime.date(1858, 11, 17) + datetime.timedelta(days=day)).strftime("%Y%m%d"))


def sky_polygon(corners: Corners) -> ConvexPolygon:
    """Return the convex polygon of corners on the sky, deg, in any order."""
    points = [
        UnitVector3d(LonLat.fromDegrees(float(r) % 360.0, float(d))) for r, d in zip(*corners, strict=True)
    ]
    return ConvexPolygon.convexHull(points)


def _time(mjd_tai: float) -> Time:
    return Time(mjd_tai, format="mjd", scale="tai")


def register_visits(butler: Butler, instrument: EmbeddedInstrument, visits: Iterable[ObservedVisit]) -> None:
    """Insert all dimension records of visits; those that are there are left alone.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Of the repository; the instrument's own records are inserted first.
    instrument : `EmbeddedInstrument`
        Theirs.
    visits
        With the regions of all their detectors.
    """
    instrument.register(butler.registry)
    for number, visit in enumerate(visits):
        for element, rows in _visit_rows(instrument.name, visit, number).items():
            butler.registry.insertDimensionData(element, *rows, skip_existing=True)


def _visit_rows(instrument: str, visit: ObservedVisit, number: int) -> dict[str, list[dict[str, Any]]]:
    day = day_obs(visit.mjd_begin)
    day_begin = Time(f"{day // 10000}-{day // 100 % 100:02d}-{day % 100:02d}T12:00:00", scale="tai")
    timespan = Timespan(_time(visit.mjd_begin), _time(visit.mjd_end))
    zenith = None if visit.airmass is None else math.degrees(math.acos(1.0 / max(visit.airmass, 1.0)))
    both = {
        "instrument": instrument,
        "id": visit.visit,
        "physical_filter": visit.physical_filter,
        "day_obs": day,
        "seq_num": number,
        "exposure_time": visit.exposure_time,
        "target_name": visit.target[:64],
        "observation_reason": visit.reason[:68],
        "science_program": visit.program[:64],
        "zenith_angle": zenith,
        "timespan": timespan,
    }
    exposure = {
        "obs_id": str(visit.visit),
        "group": str(visit.visit),
        "dark_time": visit.exposure_time,
        "observation_type": "science",
        "seq_start": number,
        "seq_end": number,
        "tracking_ra": visit.ra,
        "tracking_dec": visit.dec,
        "sky_angle": None if visit.rotation is None else visit.rotation % 360.0,
        "has_simulated": visit.simulated,
        "can_see_sky": True,
    }
    ids = {"instrument": instrument, "visit": visit.visit}
    ra, dec = (np.concatenate([np.asarray(r[axis]) for r in visit.regions.values()]) for axis in (0, 1))
    whole_day = Timespan(day_begin, day_begin + TimeDelta(1.0 * u.day))
    return {
        "day_obs": [{"instrument": instrument, "id": day, "timespan": whole_day}],
        "group": [{"instrument": instrument, "name": str(visit.visit)}],
        "exposure": [{**both, **exposure}],
        "visit": [{**both, "name": str(visit.visit), "region": sky_polygon((ra, dec))}],
        "visit_definition": [{**ids, "exposure": visit.visit}],
        "visit_system_membership": [{**ids, "visit_system": ONE_TO_ONE}],
        "visit_detector_region": [
            {**ids, "detector": detector, "region": sky_polygon(region)}
            for detector, region in visit.regions.items()
        ],
    }


def register_tract(butler: Butler, geometry: TractGeometry, run: str) -> None:
    """Insert the records of a skymap of one tract, and put its geometry.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Of the repository.
    geometry : `TractGeometry`
        Patches become records with the region of their outer box.
    run : `str`
        Collection of the ``tract_geometry`` dataset.

    Raises
    ------
    BadInputError
        If the skymap is registered with another geometry.
    """
    name = geometry.skymap
    rows, columns = geometry.grid
    digest = hashlib.sha1(json.dumps(geometry.to_dict(), sort_keys=True).encode()).digest()
    known = list(butler.registry.queryDimensionRecords("skymap"))
    for record in known:
        if record.name == name and record.hash != digest:
            raise BadInputError(f"skymap {name}", "the geometry that the repository has", "another one")
    skymap = {"name": name, "hash": digest, "tract_max": geometry.tract + 1}
    ids = {"skymap": name, "tract": geometry.tract}
    butler.registry.syncDimensionData("skymap", {**skymap, "patch_nx_max": columns, "patch_ny_max": rows})
    ny, nx = geometry.shape
    tract = {"skymap": name, "id": geometry.tract, "region": _box_region(geometry, (0, nx, 0, ny))}
    butler.registry.insertDimensionData("tract", tract, skip_existing=True)
    patches = [
        {
            **ids,
            "id": box.patch,
            "cell_x": box.patch % columns,
            "cell_y": box.patch // columns,
            "region": _box_region(geometry, box.outer),
        }
        for box in geometry.patches()
    ]
    butler.registry.insertDimensionData("patch", *patches, skip_existing=True)
    put_once(butler, geometry.to_dict(), "tract_geometry", run, ids)


def _box_region(geometry: TractGeometry, box: tuple[int, int, int, int]) -> ConvexPolygon:
    x0, x1, y0, y1 = (edge - 0.5 for edge in box)
    return sky_polygon(geometry.pixel_to_sky([x0, x1, x1, x0], [y0, y0, y1, y1]))


def missing(butler: Butler, dataset_type: str, run: str, data_id: Mapping[str, Any]) -> bool:
    """Tell whether a run has no such dataset."""
    return butler.find_dataset(dataset_type, dict(data_id), collections=run) is None


def put_once(butler: Butler, value: Any, dataset_type: str, run: str, data_id: Mapping[str, Any]) -> bool:
    """Put a dataset unless the run has it; return whether it was put."""
    butler.collections.register(run)
    if not missing(butler, dataset_type, run, data_id):
        return False
    butler.put(value, dataset_type, dict(data_id), run=run)
    return True


def chain(butler: Butler, name: str, runs: Sequence[str]) -> None:
    """Make ``name`` a chain of runs, in this order of precedence; runs that it had come after them."""
    for run in runs:
        butler.collections.register(run)
    butler.collections.register(name, CollectionType.CHAINED)
    had = butler.collections.get_info(name).children
    butler.collections.redefine_chain(name, [*runs, *(run for run in had if run not in runs)])
