"""Alerts in a butler repository, and stock `pipetask` on them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from alert_samples import container, parquet, rubin_record, ztf_record
from click.testing import CliRunner, Result
from dia_vetting.alerts.cutouts import alert_cutouts
from dia_vetting.alerts.ingest_alerts import ingest_alerts
from dia_vetting.alerts.instruments import ZTF, LSSTCam, alert_instrument
from dia_vetting.alerts.rubin import rubin_alert
from dia_vetting.alerts.score_alerts import score_alerts
from dia_vetting.cli import main
from dia_vetting.embedded.instruments import SimLSST
from dia_vetting.embedded.repository import open_repository
from dia_vetting.errors import BadInputError
from dia_vetting.reliability.model_dataset import to_table
from dia_vetting.reliability.schemas import DIA_SOURCE_CUTOUT
from lsst.daf.butler import Butler
from lsst.pipe.base import Instrument
from lsst.sphgeom import LonLat, UnitVector3d
from model_samples import untrained_model
from pipeline_runs import command, executed

RUN = "LSSTCam/alerts"
VISIT = 2026030900027


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["ingest-alerts", *map(str, arguments)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alerts")
    records = [rubin_record(n, detector=94 + n % 2) for n in range(4)]
    records.append(rubin_record(4, visit=VISIT + 1, band="g", cutoutTemplate=None))
    (folder / "a").write_bytes(container(records[:3]))
    (folder / "b").write_bytes(parquet(records[3:] + records[:1]))
    return folder


@pytest.fixture(scope="module")
def repo(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("ingested") / "repo"
    summary = ingest_alerts([files], repo, "LSSTCam", RUN)
    assert (summary.alerts, summary.datasets, summary.errors) == (5, 3, [])
    assert dict(summary.left_out) == {"another packet of the same id was ingested": 1}
    return repo


def test_cutouts_are_datasets_by_visit_and_detector(repo: Path) -> None:
    butler = Butler.from_config(str(repo), collections=RUN, instrument="LSSTCam")
    ids = {}
    for visit, detector in ((VISIT, 94), (VISIT, 95), (VISIT + 1, 94)):
        table = butler.get("dia_source_cutout", visit=visit, detector=detector)
        ids[visit, detector] = DIA_SOURCE_CUTOUT.check(table)["diaSourceId"].tolist()
        assert (table["visit"] == visit).all()
        assert (table["detector"] == detector).all()
    assert ids == {(VISIT, 94): [1000, 1002], (VISIT, 95): [1001, 1003], (VISIT + 1, 94): [1004]}
    row = butler.get("dia_source_cutout", visit=VISIT, detector=95)[0]
    expected = alert_cutouts([rubin_alert(rubin_record(1, detector=95), "file")], 30)[0]
    for name in ("science", "template", "difference", "variance", "mask", "x0", "psf_fwhm", "snr"):
        np.testing.assert_array_equal(row[name], expected[name])
    assert butler.get("dia_source_cutout", visit=VISIT + 1, detector=94)["valid_fraction"][0] == 0


def test_visits_have_the_records_that_queries_need(repo: Path) -> None:
    butler = Butler.from_config(str(repo))
    records = {r.id: r for r in butler.registry.queryDimensionRecords("visit", instrument="LSSTCam")}
    assert sorted(records) == [VISIT, VISIT + 1]
    record = records[VISIT]
    assert (record.physical_filter, record.day_obs, record.zenith_angle) == ("r", 20260309, None)
    assert record.timespan.begin.tai.mjd == pytest.approx(61109.1 - 15 / 86400, abs=1e-7)
    here = UnitVector3d(LonLat.fromDegrees(150.0, 2.0))
    assert record.region.contains(here)
    (detector,) = butler.registry.queryDimensionRecords(
        "visit_detector_region", instrument="LSSTCam", visit=VISIT, detector=95
    )
    assert detector.region.contains(here)
    assert not detector.region.contains(UnitVector3d(LonLat.fromDegrees(150.02, 2.0)))
    assert isinstance(Instrument.fromName("LSSTCam", butler.registry), LSSTCam)


def test_pipetask_scores_them_as_score_alerts_does(repo: Path, files: Path, tmp_path: Path) -> None:
    model = untrained_model(stamp_size=30)
    pq.write_table(to_table(model), tmp_path / "model.parquet")
    command(
        "dia-vetting", "import-model", tmp_path / "model.parquet", repo, "model", "--instrument", "LSSTCam"
    )
    log = command(
        "pipetask",
        *("--long-log", "run", "-b", repo, "-i", f"{RUN},model", "-o", "u/test/alerts"),
        *("-p", "resource://dia_vetting/pipelines/_ingredients/vetting.yaml#vetting-score"),
        *("-d", "instrument = 'LSSTCam'", "--register-dataset-types"),
    )
    assert executed(log) == (3, 0, 3)
    butler = Butler.from_config(str(repo), collections="u/test/alerts", instrument="LSSTCam")
    score_alerts([files], model, tmp_path / "scores")
    rows = pq.read_table(tmp_path / "scores").to_pylist()
    scores = {row["diaSourceId"]: row for row in rows}
    seen = 0
    for ref in butler.query_datasets("dia_source_vetting"):
        for row in butler.get(ref):
            expected = scores[int(row["diaSourceId"])]
            np.testing.assert_allclose(row["reliability"], expected["reliability"], rtol=1e-4)
            assert bool(row["reason"]) == bool(expected["reason"])
            seen += 1
    assert seen == 5
    assert sum(bool(row["reason"]) for row in rows) == 1


def test_what_is_there_is_not_put_again(repo: Path, files: Path, tmp_path: Path) -> None:
    again = run(files, repo, "--instrument", "LSSTCam", "--run", RUN)
    assert "0 alerts in 0 datasets" in again.output
    assert again.exit_code == 0, again.output
    (tmp_path / "late").write_bytes(container([rubin_record(50)]))
    late = run(tmp_path, repo, "--instrument", "LSSTCam", "--run", RUN)
    assert late.exit_code == 1
    assert "expected all alerts of a detector in one call, or another run, found 1 alerts" in late.output
    other = run(tmp_path, repo, "--instrument", "LSSTCam", "--run", "LSSTCam/late")
    assert other.exit_code == 0, other.output


def test_alerts_without_a_place_are_counted(tmp_path: Path) -> None:
    records = [
        rubin_record(1),
        rubin_record(2, detector=999),
        rubin_record(3, visit=0),
        rubin_record(4, midpointMjdTai=float("nan")),
        rubin_record(5, band="w"),
        rubin_record(6, dec=99.0),
    ]
    folder = tmp_path / "alerts"
    folder.mkdir()
    (folder / "a").write_bytes(container(records))
    (folder / "b").write_bytes(container([ztf_record()]))
    (folder / "c").write_bytes(b"spoiled")
    result = run(folder, tmp_path / "repo", "--instrument", "LSSTCam", "--run", RUN, "--stamp-size", 41)
    assert result.exit_code == 1
    assert "1 alerts in 1 datasets" in result.output
    assert "2 alerts left out: no such visit or detector of LSSTCam" in result.output
    assert "2 alerts left out: it has no time or place" in result.output
    assert "1 alerts left out: its band is none of LSSTCam's" in result.output
    assert "1 alerts left out: it is from another stream than LSSTCam's" in result.output
    assert "c: expected alerts in an Avro container" in result.output
    butler = Butler.from_config(str(tmp_path / "repo"), collections=RUN, instrument="LSSTCam")
    assert butler.get("dia_source_cutout", visit=VISIT, detector=94)["science"].shape == (1, 41, 41)


def test_one_position_far_away_does_not_spoil_a_visit(tmp_path: Path) -> None:
    records = [rubin_record(n) for n in range(3)]
    far = rubin_record(7, ra=330.0, dec=-2.0)
    (tmp_path / "a").write_bytes(container([*records, far]))
    summary = ingest_alerts([tmp_path / "a"], tmp_path / "repo", "LSSTCam", RUN)
    assert (summary.alerts, summary.datasets) == (4, 1)
    butler = Butler.from_config(str(tmp_path / "repo"))
    (record,) = butler.registry.queryDimensionRecords("visit", instrument="LSSTCam")
    assert record.region.contains(UnitVector3d(LonLat.fromDegrees(150.0, 2.0)))
    assert not record.region.contains(UnitVector3d(LonLat.fromDegrees(330.0, -2.0)))


def test_another_instrument_of_the_repository_keeps_its_visits(tmp_path: Path) -> None:
    """As in a repository of Rubin's stack: only visits that it has get cutouts, and no record changes."""
    repo = tmp_path / "repo"
    butler = open_repository(repo)
    SimLSST().register(butler.registry)
    SimLSST().register_detector(butler.registry, 94, "D94")
    (tmp_path / "a").write_bytes(container([rubin_record(1)]))
    summary = ingest_alerts([tmp_path / "a"], repo, "SimLSST", "run")
    assert dict(summary.left_out) == {"its visit is not in the repository": 1}
    assert not list(butler.registry.queryDimensionRecords("visit"))


def test_bad_arguments(files: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="one of LSSTCam, ZTF, or one of the repository, found 'Hubble'"):
        ingest_alerts([files], tmp_path / "repo", "Hubble", RUN)
    assert not (tmp_path / "repo").exists()
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BadInputError, match="a butler repository or an empty folder"):
        ingest_alerts([files], tmp_path, "LSSTCam", RUN)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadInputError, match="files with alerts"):
        ingest_alerts([tmp_path / "nothing"], tmp_path / "repo", "LSSTCam", RUN)


def test_detectors_have_the_names_of_the_cameras() -> None:
    assert len(LSSTCam.detectors) == 189
    assert [LSSTCam.detectors[n] for n in (0, 94, 188)] == ["R01_S00", "R22_S11", "R43_S22"]
    assert [ZTF.detectors[n] for n in (0, 13, 63)] == ["c01_q1", "c04_q2", "c16_q4"]
    assert isinstance(alert_instrument("ZTF"), ZTF)


def test_real_alerts_of_ztf(shared_data: Path, tmp_path: Path) -> None:
    summary = ingest_alerts([shared_data / "ztf_alerts"], tmp_path / "repo", "ZTF", "ZTF/alerts")
    assert (summary.alerts, summary.errors, summary.left_out.total()) == (36, [], 0)
    butler = Butler.from_config(str(tmp_path / "repo"), collections="ZTF/alerts", instrument="ZTF")
    table = butler.get("dia_source_cutout", visit=247543385, detector=2)
    assert len(table) == 4
    assert set(table["band"]) == {"g"}
