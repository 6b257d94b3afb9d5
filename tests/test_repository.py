"""Dimension records, regions and collections, in real repositories."""

from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time
from click.testing import CliRunner
from dia_vetting.embedded import repository
from dia_vetting.embedded.instruments import DECam, SimDECam, SimHSC, SimLSST, SimZTF, instrument_class
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.errors import BadInputError
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.butler import cli as butler_cli
from lsst.pipe.base import Instrument
from lsst.sphgeom import LonLat, UnitVector3d

GEOMETRY = TractGeometry("embedded_simlsst_v1", 0, 0.02, -10.0, 0.2, (1000, 1700), 600, 50)
RUN = "SimLSST/survey"


def visit(number: int, mjd: float, ra: float = 0.01) -> repository.ObservedVisit:
    square = ([ra, ra + 0.02, ra + 0.02, ra], [-10.01, -10.01, -9.99, -9.99])
    beside = ([ra + 0.021, ra + 0.04, ra + 0.04, ra + 0.021], [-10.01, -10.01, -9.99, -9.99])
    return repository.ObservedVisit(
        visit=number,
        physical_filter="r",
        mjd_begin=mjd,
        mjd_end=mjd + 30 / 86400,
        exposure_time=30.0,
        ra=ra,
        dec=-10.0,
        rotation=-1.0,
        airmass=2.0,
        target="field",
        program="science",
        reason="test",
        simulated=True,
        regions={0: square, 1: beside},
    )


@pytest.fixture(scope="module")
def butler(tmp_path_factory: pytest.TempPathFactory) -> Butler:
    butler = repository.open_repository(tmp_path_factory.mktemp("repository") / "repo")
    repository.chain(butler, "SimLSST/defaults", [RUN])
    instrument = SimLSST()
    instrument.register(butler.registry)
    for detector in (0, 1):
        instrument.register_detector(butler.registry, detector, f"D{detector:02d}")
    repository.register_visits(butler, instrument, [visit(101, 61000.2), visit(102, 61000.9, ra=359.99)])
    repository.register_tract(butler, GEOMETRY, RUN)
    return butler


def contains(region: object, ra: float, dec: float) -> bool:
    return bool(region.contains(UnitVector3d(LonLat.fromDegrees(ra % 360, dec))))


def test_all_records_of_a_visit(butler: Butler) -> None:
    registry = butler.registry
    count = {
        element: len(list(registry.queryDimensionRecords(element)))
        for element in ("visit", "exposure", "visit_detector_region", "group", "day_obs", "visit_definition")
    }
    assert count == {
        "visit": 2,
        "exposure": 2,
        "visit_detector_region": 4,
        "group": 2,
        "day_obs": 2,
        "visit_definition": 2,
    }
    (record,) = registry.queryDimensionRecords("visit", instrument="SimLSST", visit=101)
    assert record.physical_filter == "r"
    assert record.zenith_angle == pytest.approx(60.0)
    assert record.timespan.begin.tai.mjd == pytest.approx(61000.2, abs=1e-9)
    assert (record.timespan.end - record.timespan.begin).sec == pytest.approx(30.0, abs=1e-4)
    assert contains(record.region, 0.045, -10.0)  # on the second detector
    assert not contains(record.region, 0.055, -10.0)
    (day,) = registry.queryDimensionRecords("day_obs", instrument="SimLSST", day_obs=record.day_obs)
    assert day.timespan.contains(record.timespan)


def test_registering_again_changes_nothing(butler: Butler) -> None:
    repository.register_visits(butler, SimLSST(), [visit(101, 61000.2), visit(103, 61001.2)])
    repository.register_tract(butler, GEOMETRY, RUN)
    assert len(list(butler.registry.queryDimensionRecords("visit"))) == 3


def test_regions_join_visits_to_the_patches_they_overlap(butler: Butler) -> None:
    assert len(list(butler.registry.queryDimensionRecords("patch"))) == 6
    with butler.query() as query:
        joined = {
            (data_id["visit"], data_id["detector"], data_id["patch"])
            for data_id in query.join_dimensions(["visit", "detector", "patch"]).data_ids(
                ["instrument", "visit", "detector", "skymap", "tract", "patch"]
            )
        }
    assert any(number == 101 for number, _, _ in joined)
    box = GEOMETRY.patch_box(0)
    x, y = np.mean(box.outer[:2]), np.mean(box.outer[2:])
    (ra,), (dec,) = GEOMETRY.pixel_to_sky(x, y)
    for record in butler.registry.queryDimensionRecords("patch"):
        assert contains(record.region, ra, dec) == (record.id == 0)


def test_geometry_is_a_dataset(butler: Butler) -> None:
    data_id = {"skymap": GEOMETRY.skymap, "tract": 0}
    found = butler.get("tract_geometry", data_id, collections="SimLSST/defaults")
    assert TractGeometry.from_dict(found) == GEOMETRY


def test_another_geometry_under_the_same_name_is_refused(butler: Butler) -> None:
    other = TractGeometry("embedded_simlsst_v1", 0, 0.5, -10.0, 0.2, (1000, 1700), 600, 50)
    with pytest.raises(BadInputError, match="skymap embedded_simlsst_v1"):
        repository.register_tract(butler, other, RUN)


@pytest.mark.parametrize(
    ("time", "day"),
    [
        ("2026-11-20T23:00:00", 20261120),
        ("2026-11-21T06:00:00", 20261120),
        ("2026-11-21T11:59:00", 20261120),
        ("2026-11-21T12:01:00", 20261121),
    ],
)
def test_a_night_is_one_day_of_observation(time: str, day: int) -> None:
    assert repository.day_obs(Time(time, scale="tai").mjd) == day


def test_chains_keep_what_they_had(butler: Butler) -> None:
    repository.chain(butler, "SimLSST/defaults", ["SimLSST/truth"])
    assert butler.collections.get_info("SimLSST/defaults").children == ("SimLSST/truth", RUN)


def test_put_once(butler: Butler) -> None:
    data_id = {"instrument": "SimLSST"}
    assert repository.put_once(butler, {"a": 1}, "survey_config", RUN, data_id)
    assert not repository.put_once(butler, {"a": 2}, "survey_config", RUN, data_id)
    assert butler.get("survey_config", data_id, collections=RUN) == {"a": 1}


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInputError, match="a butler repository or an empty folder"):
        repository.open_repository(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("cls", [SimLSST, SimHSC, SimZTF, SimDECam, DECam])
def test_butler_register_instrument_knows_them(tmp_path: Path, cls: type) -> None:
    Butler.makeRepo(str(tmp_path))
    name = f"dia_vetting.embedded.instruments.{cls.__name__}"
    result = CliRunner().invoke(butler_cli, ["register-instrument", str(tmp_path), name])
    assert result.exit_code == 0, result.output
    butler = Butler.from_config(str(tmp_path))
    assert isinstance(Instrument.fromName(cls.getName(), butler.registry), cls)
    assert instrument_class(cls.getName()) is cls
    detectors = {r.id: r.full_name for r in butler.registry.queryDimensionRecords("detector")}
    assert detectors == dict(cls.detectors)


def test_decam_detectors_follow_ccdnum() -> None:
    assert len(DECam.detectors) == 62
    assert [DECam.detectors[n] for n in (1, 25, 33, 34, 62)] == ["S29", "S1", "N2", "N3", "N31"]
