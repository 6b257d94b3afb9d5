"""Scores of files of alerts: every alert a row, every bad file named, nothing half-written."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from alert_samples import CUTOUTS, container, message, parquet, rubin_record, write_schemas, ztf_record
from click.testing import CliRunner, Result
from dia_vetting.alerts.avro_schemas import SchemaFolder
from dia_vetting.alerts.rubin import rubin_alert
from dia_vetting.alerts.schemas import ALERT_SCORE
from dia_vetting.alerts.score_alerts import score_alerts, score_batch
from dia_vetting.cli import main
from dia_vetting.errors import BadInputError
from dia_vetting.reliability.model_dataset import to_table
from dia_vetting.reliability.scoring import load_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from model_samples import untrained_model

MODEL = untrained_model(stamp_size=30)
NETWORKS = load_networks(MODEL)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["score-alerts", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every format, and two files that are none."""
    folder = tmp_path / "alerts"
    (folder / "more").mkdir(parents=True)
    (folder / "a").write_bytes(container([rubin_record(n) for n in range(3)]))
    (folder / "b.txt").write_bytes(parquet([rubin_record(3), rubin_record(4, cutoutScience=b"spoiled")]))
    (folder / "more" / "c").write_bytes(message(rubin_record(5)))
    (folder / "more" / "d").write_bytes(container([ztf_record(6)]))
    (folder / "more" / "e").write_text("not an alert")
    (folder / "more" / "f").write_bytes(container([rubin_record(7), rubin_record(8)])[:-9])
    return folder


def test_every_alert_is_a_row(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.parquet"
    schemas = SchemaFolder(write_schemas(tmp_path / "schemas"))
    summary = score_alerts([folder], MODEL, output, schemas, "mine")
    table = pq.read_table(output)
    assert table.column_names == ALERT_SCORE.names()
    rows = table.to_pylist()
    assert [r["diaSourceId"] or r["candid"] - 1245250001315010000 for r in rows] == [
        *(1000, 1001, 1002, 1003, 1004, 1005, 6, 1007)
    ]
    assert [r["stream"] for r in rows] == ["rubin"] * 6 + ["ztf", "rubin"]
    assert [Path(r["file"]).name for r in rows] == ["a", "a", "a", "b.txt", "b.txt", "c", "d", "f"]
    for number, row in enumerate(rows):
        assert (row["model"], row["version"]) == ("mine", MODEL.card.version)
        if number == 4:
            assert np.isnan(row["reliability"])
            assert np.isnan(row["reliability_err"])
            assert row["reason"].startswith("cutoutScience: expected a FITS header")
            assert row["valid_fraction"] == 0
        else:
            assert row["reason"] == ""
            assert 0 <= row["reliability"] <= 1
            assert row["valid_fraction"] == 1
    assert [r["stream_score"] for r in rows[5:7]] == pytest.approx([0.9, 0.8])
    assert rows[6]["objectId"] == "ZTF20abcdefg"
    about = json.loads(table.schema.metadata[b"dia_vetting:model"])
    assert about["content_hash"] == MODEL.card.content_hash
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"
    assert summary.reasons.total() == 8
    assert summary.reasons[""] == 7
    found = [str(error) for error in summary.errors]
    assert len(found) == 2
    assert "e: expected alerts in" in found[0]
    assert "after 1 alerts, which are kept" in found[1]
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_the_score_does_not_depend_on_what_else_there_is() -> None:
    alerts = [rubin_alert(rubin_record(n, size), "f") for n, size in enumerate((30, 31, 44, 25, 60))]
    together = score_batch(MODEL, NETWORKS, alerts)
    for number, alert in enumerate(alerts):
        alone = score_batch(MODEL, NETWORKS, [alert])
        assert alone["reliability"][0] == pytest.approx(together["reliability"][number], rel=1e-4)
    other = score_batch(MODEL, NETWORKS, alerts, prevalence=0.5)
    assert (other["reliability"] > together["reliability"]).all()


def test_command_and_exit_code(folder: Path, tmp_path: Path) -> None:
    model, output = tmp_path / "model.parquet", tmp_path / "out.parquet"
    pq.write_table(to_table(MODEL), model)
    schemas = write_schemas(tmp_path / "schemas")
    good = [folder / "a", folder / "more" / "c"]
    result = run(*good, "--schema", schemas, "--model", model, "--output", output)
    assert result.exit_code == 0, result.output
    assert "4 alerts scored" in result.output
    assert MODEL.card.version in result.output
    assert len(pq.read_table(output)) == 4
    result = run(folder, "--model", model, "--output", output)
    assert result.exit_code == 1
    assert "3 files or datasets were left out." in result.output
    assert "the folder of its schema (--schema), found none" in result.output
    assert "1 alerts not scored: cutoutScience" in result.output
    assert len(pq.read_table(output)) == 7


def test_bad_arguments_leave_nothing_behind(tmp_path: Path) -> None:
    model, output = tmp_path / "model.parquet", tmp_path / "out.parquet"
    pq.write_table(to_table(MODEL), model)
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty", "--model", model, "--output", output)
    assert result.exit_code == 1
    assert "expected files with alerts, found none" in result.output
    with pytest.raises(BadInputError, match="a folder to write to"):
        score_alerts([model], MODEL, tmp_path / "absent" / "out.parquet")
    assert run(model, "--model", "nobody", "--output", output).exit_code == 1
    assert "1001" not in run(model, "--model", model, "--output", output).output
    assert len(pq.read_table(output)) == 0  # the only file was no alert
    broken = untrained_model(layout="of tomorrow")
    output.unlink()
    with pytest.raises(BadInputError, match="input layout"):
        score_alerts([model], broken, output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "model.parquet"]


def test_memory_does_not_grow_with_the_number_of_alerts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dia_vetting.alerts.score_alerts._BATCH", 8)
    file = tmp_path / "a"
    file.write_bytes(container([rubin_record(n) for n in range(8)]))
    peaks = []
    for count in (2, 12):
        tracemalloc.start()
        summary = score_alerts([file] * count, MODEL, tmp_path / "out")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert summary.reasons[""] == 8 * count
    assert peaks[1] < 1.3 * peaks[0]


RECORD = rubin_record(1)


@settings(max_examples=60, deadline=None)
@given(
    cutout=st.sampled_from(CUTOUTS),
    place=st.integers(0, len(RECORD["cutoutScience"]) - 1),
    value=st.binary(min_size=1, max_size=40),
    cut=st.booleans(),
)
def test_a_damaged_cutout_has_a_reason_or_a_score_that_is_one(
    cutout: str, place: int, value: bytes, cut: bool
) -> None:
    stamp = RECORD[cutout]
    damaged = stamp[:place] + value + (b"" if cut else stamp[place + len(value) :])
    (row,) = score_batch(MODEL, NETWORKS, [rubin_alert(RECORD | {cutout: damaged}, "file")])
    assert bool(row["reason"]) == np.isnan(row["reliability"])
    if len(damaged) != len(stamp):
        assert row["reason"]
    elif not row["reason"]:
        assert 0 <= row["reliability"] <= 1


def test_real_alerts_are_scored(shared_data: Path, tmp_path: Path) -> None:
    paths = [shared_data / "rubin_alerts", shared_data / "ztf_alerts"]
    summary = score_alerts(paths, MODEL, tmp_path / "out")
    assert not summary.errors
    table = pq.read_table(tmp_path / "out")
    assert summary.reasons[""] == 114 + 36
    assert np.isfinite(table["reliability"].to_numpy()).all()
    assert np.isfinite(table["stream_score"].to_numpy()).all()
    assert len(table) == 114 + 36
