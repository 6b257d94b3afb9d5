"""Visits, as the dimension records of data IDs describe them."""

from __future__ import annotations

__all__ = ["DimensionRecordError", "region_of", "visits_from_data_ids"]

from collections.abc import Iterable

from astropy.time import Time
from lsst.daf.butler import DataCoordinate
from lsst.sphgeom import Region

from ..errors import BadInputError
from .transients import Visit


class DimensionRecordError(BadInputError):
    """A data ID whose dimension record has no region or no band."""


def visits_from_data_ids(data_ids: Iterable[DataCoordinate]) -> list[Visit]:
    """Group data IDs of (visit, detector) into visits.

    Parameters
    ----------
    data_ids : `~collections.abc.Iterable` of `lsst.daf.butler.DataCoordinate`
        Expanded, with dimension records.

    Returns
    -------
    visits : `list` of `Visit`
        In order of their ids, detectors in order of theirs.

    Raises
    ------
    DimensionRecordError
        If a detector has no region or a visit no band.
    """
    bands: dict[int, str] = {}
    times: dict[int, tuple[float, float]] = {}
    regions: dict[int, dict[int, Region]] = {}
    for data_id in data_ids:
        visit, detector = int(data_id["visit"]), int(data_id["detector"])
        bands[visit] = _band(data_id)
        times[visit] = _times(data_id)
        regions.setdefault(visit, {})[detector] = region_of(data_id, "visit_detector_region")
    return [
        Visit(
            visit, bands[visit], tuple(region for _, region in sorted(regions[visit].items())), *times[visit]
        )
        for visit in sorted(bands)
    ]


def region_of(data_id: DataCoordinate, element: str) -> Region:
    """Return the region of a dimension element; `DimensionRecordError` if the record has none."""
    record = data_id.records[element] if data_id.hasRecords() else None
    if record is None or record.region is None:
        raise DimensionRecordError(str(data_id), f"a {element} record with a region", "none")
    region: Region = record.region
    return region


def _band(data_id: DataCoordinate) -> str:
    record = data_id.records["physical_filter"] if data_id.hasRecords() else None
    if record is None or record.band is None:
        raise DimensionRecordError(str(data_id), "a physical_filter record with a band", "none")
    return str(record.band)


def _times(data_id: DataCoordinate) -> tuple[float, float]:
    """Return middle (MJD, TAI) and length (s) of a visit; NaN where its record has no time span."""
    record = data_id.records["visit"] if data_id.hasRecords() else None
    span = record.timespan if record is not None else None
    if span is None or not isinstance(span.begin, Time) or not isinstance(span.end, Time):
        return float("nan"), float("nan")
    begin, end = span.begin.tai.mjd, span.end.tai.mjd
    return float(0.5 * (begin + end)), float((end - begin) * 86_400.0)
