"""Alerts into a butler repository, as the cutouts of DIA sources that the pipelines run on."""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from lsst.daf.butler import Butler, DatasetType
from numpy.typing import NDArray

from ..embedded.instruments import EmbeddedInstrument
from ..embedded.repository import ObservedVisit, missing, open_repository, put_once, register_visits
from ..errors import BadInputError
from ..progress import progress
from .avro_schemas import SchemaFolder
from .cutouts import alert_cutouts
from .instruments import AlertInstrument, alert_instrument
from .packets import Alert
from .score_alerts import AlertReader

__all__ = ["AlertIngest", "ingest_alerts"]

_DATASET_TYPE = "dia_source_cutout"
_DIMENSIONS = ("instrument", "visit", "detector")
_MJD_RANGE = 50_000.0, 90_000.0
_MARGIN = 0.005
"""Half the side of the piece of sky that a source stands for in the region of its detector, deg."""

_FIELD = 3.0
"""Sources farther than this from the middle of their visit have no say in its region, deg."""


@dataclasses.dataclass
class AlertIngest:
    """What was ingested, and what could not be.

    Parameters
    ----------
    alerts, datasets : `int`
        Alerts and datasets that this call put; others were there.
    left_out : `collections.Counter`
        Number of alerts by why they have no place in the repository.
    errors : `list` of `BadInputError`
        Files that could not be read, and datasets that could not be put.
    """

    alerts: int = 0
    datasets: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    errors: list[BadInputError] = dataclasses.field(default_factory=list)


def ingest_alerts(
    paths: Sequence[Path],
    root: Path,
    instrument: str,
    run: str,
    schemas: SchemaFolder | None = None,
    size: int = 30,
) -> AlertIngest:
    """Put alerts into a repository, one dataset per visit and detector.

    Memory holds the alerts of one detector at a time; until all files are read they wait in the folder for
    temporary files (about 30 kB each).

    Parameters
    ----------
    paths : sequence of `~pathlib.Path`
        Files and folders.
    root : `~pathlib.Path`
        Folder of the repository; made if it is absent.
    instrument : `str`
        An instrument of the repository, or one of `~.instruments`, which is then registered.
    run : `str`
        RUN collection to put the datasets into.
    schemas : `~.avro_schemas.SchemaFolder`, optional
        Schemas of the wire format.
    size : `int`, optional
        Side of the stamps, pixels.

    Returns
    -------
    summary : `AlertIngest`
        Bad files and alerts without a place are left out and listed, and so are new alerts of a detector
        that has a dataset in the run. Those that are there already are not put again.

    Raises
    ------
    BadInputError
        If there is no file, the instrument is not known, or the folder is no repository.
    """
    reader = AlertReader(paths, schemas)
    new = not (root / "butler.yaml").exists()
    own = alert_instrument(instrument) if new else None
    butler = open_repository(root) if new else Butler.from_config(str(root), writeable=True)
    butler.registry.registerDatasetType(
        DatasetType(_DATASET_TYPE, _DIMENSIONS, "ArrowAstropy", universe=butler.dimensions)
    )
    butler.collections.register(run)
    place = _Place(butler, own or _registered(butler, instrument), instrument)
    summary = AlertIngest()
    with tempfile.TemporaryDirectory(prefix="dia_vetting_alerts_") as folder:
        spool = _Spool(Path(folder))
        for alert in reader:
            reason = place.refuses(alert)
            if reason:
                summary.left_out[reason] += 1
            else:
                spool.add(alert)
        summary.errors.extend(reader.errors)
        place.register(spool.visits)
        with progress(len(spool.keys), "writing cutouts") as advance:
            for visit, detector in sorted(spool.keys):
                _put(
                    butler, spool.alerts(visit, detector), place.data_id(visit, detector), run, size, summary
                )
                advance()
    return summary


def _registered(butler: Butler, name: str) -> AlertInstrument | None:
    """Return our instrument if the repository has it or none of the name; nothing if it has another's."""
    classes = {r.name: r.class_name for r in butler.registry.queryDimensionRecords("instrument")}
    if name not in classes or classes[name].startswith(f"{AlertInstrument.__module__}."):
        return alert_instrument(name)
    return None


def _put(
    butler: Butler,
    alerts: list[Alert],
    data_id: dict[str, str | int],
    run: str,
    size: int,
    summary: AlertIngest,
) -> None:
    """Put the alerts of a detector, each id once."""
    once: dict[int, Alert] = {}
    for alert in alerts:
        once.setdefault(alert.dia_source_id or alert.candid, alert)
    if not missing(butler, _DATASET_TYPE, run, data_id):
        there = set(butler.get(_DATASET_TYPE, data_id, collections=run)["diaSourceId"])
        if not once.keys() <= there:
            where = f"{_DATASET_TYPE} {data_id} in {run}"
            expected = "all alerts of a detector in one call, or another run"
            found = f"{len(once.keys() - there)} alerts that are not among the {len(there)} there"
            summary.errors.append(BadInputError(where, expected, found))
        return
    if len(once) < len(alerts):
        summary.left_out["another packet of the same id was ingested"] += len(alerts) - len(once)
    put_once(butler, alert_cutouts(list(once.values()), size), _DATASET_TYPE, run, data_id)
    summary.alerts += len(once)
    summary.datasets += 1


class _Place:
    """Where alerts go in a repository."""

    def __init__(self, butler: Butler, own: AlertInstrument | None, name: str) -> None:
        self._butler, self._own, self._name = butler, own, name
        if own is not None:
            own.register(butler.registry)
        records = butler.registry.queryDimensionRecords("detector", instrument=name)
        self._detectors = {int(record.id) for record in records}
        self._visits: dict[int, bool] = {}

    def data_id(self, visit: int, detector: int) -> dict[str, str | int]:
        return {"instrument": self._name, "visit": visit, "detector": detector}

    def refuses(self, alert: Alert) -> str:
        """Return why an alert cannot be put; empty if it can."""
        if alert.detector not in self._detectors or alert.visit <= 0:
            return f"no such visit or detector of {self._name}"
        if self._own is None:
            return "" if self._is_known(alert.visit) else "its visit is not in the repository"
        if alert.stream != self._own.stream:
            return f"it is from another stream than {self._name}'s"
        if alert.band not in self._own.filters:
            return f"its band is none of {self._name}'s"
        in_time = _MJD_RANGE[0] < alert.mjd < _MJD_RANGE[1]
        return "" if in_time and abs(alert.ra) <= 720 and abs(alert.dec) <= 90 else "it has no time or place"

    def _is_known(self, visit: int) -> bool:
        if visit not in self._visits:
            records = self._butler.registry.queryDimensionRecords("visit", instrument=self._name, visit=visit)
            self._visits[visit] = any(records)
        return self._visits[visit]

    def register(self, visits: dict[int, _Visit]) -> None:
        if self._own is not None:
            observed = (visit.observed(self._own) for _, visit in sorted(visits.items()))
            register_visits(self._butler, self._own, observed)


@dataclasses.dataclass
class _Visit:
    """What the alerts of a visit tell of it; positions, deg, by detector."""

    first: Alert
    positions: dict[int, list[tuple[float, float]]] = dataclasses.field(default_factory=dict)

    def observed(self, instrument: EmbeddedInstrument) -> ObservedVisit:
        """Return the visit, whose regions are what its alerts cover."""
        alert = self.first
        everywhere = _vectors([p for places in self.positions.values() for p in places])
        middle = np.median(everywhere, axis=0)
        middle /= max(float(np.linalg.norm(middle)), 1e-9)
        half = alert.exposure_time / 172_800
        return ObservedVisit(
            visit=alert.visit,
            physical_filter=instrument.filters[alert.band],
            mjd_begin=alert.mjd - half,
            mjd_end=alert.mjd + half,
            exposure_time=alert.exposure_time,
            ra=float(np.degrees(np.arctan2(middle[1], middle[0]))) % 360.0,
            dec=float(np.degrees(np.arcsin(np.clip(middle[2], -1, 1)))),
            rotation=None,
            airmass=None,
            target="",
            program=alert.stream,
            reason="alerts",
            simulated=False,
            regions={d: _outline(places, middle) for d, places in sorted(self.positions.items())},
        )


def _vectors(positions: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Return unit vectors, [N, 3]."""
    ra, dec = np.radians(np.array(positions)).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _outline(
    positions: list[tuple[float, float]], middle: NDArray[np.float64]
) -> tuple[list[float], list[float]]:
    """Return the corners of small squares about sources, of the middle of the visit if all are elsewhere."""
    vectors = _vectors(positions)
    near = vectors[vectors @ middle > np.cos(np.radians(_FIELD))]
    ra, dec = [], []
    for x, y, z in near if len(near) else middle[None]:
        latitude = float(np.clip(np.degrees(np.arcsin(np.clip(z, -1, 1))), -89.9, 89.9))
        longitude = float(np.degrees(np.arctan2(y, x))) % 360.0
        wide = _MARGIN / np.cos(np.radians(latitude))
        ra += [longitude - wide, longitude + wide, longitude + wide, longitude - wide]
        dec += [latitude - _MARGIN, latitude - _MARGIN, latitude + _MARGIN, latitude + _MARGIN]
    return ra, dec


class _Spool:
    """Alerts on disk by visit and detector."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.keys: set[tuple[int, int]] = set()
        self.visits: dict[int, _Visit] = {}

    def add(self, alert: Alert) -> None:
        self.keys.add((alert.visit, alert.detector))
        visit = self.visits.setdefault(alert.visit, _Visit(dataclasses.replace(alert, triplet=None)))
        visit.positions.setdefault(alert.detector, []).append((alert.ra, alert.dec))
        with self._file(alert.visit, alert.detector).open("ab") as file:
            pickle.dump(alert, file)

    def alerts(self, visit: int, detector: int) -> list[Alert]:
        return list(self._read(self._file(visit, detector)))

    def _read(self, path: Path) -> Iterator[Alert]:
        with path.open("rb") as file:
            while file.peek(1):
                yield pickle.load(file)

    def _file(self, visit: int, detector: int) -> Path:
        return self._folder / f"{visit}_{detector}"
