"""Models that come with the package: named, listed, checked and scored with; any model by name or file."""

import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from dia_vetting.cli import main
from dia_vetting.errors import BadInputError
from dia_vetting.reliability import shipped
from dia_vetting.reliability.model_dataset import ContentHashError, to_table
from dia_vetting.reliability.schemas import DIA_SOURCE_VETTING
from dia_vetting.reliability.score_reliability import ScoreReliabilityConfig, ScoreReliabilityTask
from dia_vetting.reliability.shipped import (
    DEFAULT_MODEL,
    UnknownModelError,
    named,
    open_model,
    shipped_model,
    shipped_models,
)
from lsst.pipe.base import Pipeline
from lsst.pipe.base.testUtils import lintConnections
from model_samples import untrained_model
from reliability_samples import make_cutouts

MAX_BYTES = 3_000_000
VETTING = Path(__file__).parents[1] / "pipelines" / "_ingredients" / "vetting.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ship two models from a folder of this test."""
    for name in ("first-1", "second-1"):
        pq.write_table(to_table(named(untrained_model(), name)), tmp_path / f"{name}.parquet")
    (tmp_path / "README.md").write_text("Not a model.")
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path)
    return tmp_path


def test_names_and_content(folder: Path) -> None:
    assert shipped_models() == ["first-1", "second-1"]
    model = shipped_model("second-1")
    assert model.card.name == "second-1"
    assert model.card.content_hash == named(untrained_model(), "second-1").card.content_hash
    assert model.card.version != untrained_model().card.version


def test_an_unknown_name_says_what_there_is(folder: Path) -> None:
    with pytest.raises(UnknownModelError, match="expected one of first-1, second-1, found 'third'"):
        shipped_model("third")
    with pytest.raises(UnknownModelError, match="first-1, second-1"):
        open_model("../first-1")


def test_a_changed_file_is_refused(folder: Path) -> None:
    table = pq.read_table(folder / "first-1.parquet")
    rows = table.to_pylist()
    rows[-1]["data"] = bytes(len(rows[-1]["data"]))
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), folder / "first-1.parquet")
    with pytest.raises(ContentHashError, match="shipped model first-1"):
        shipped_model("first-1")


def test_a_file_under_another_name_is_refused(folder: Path) -> None:
    (folder / "first-1.parquet").rename(folder / "third-1.parquet")
    with pytest.raises(UnknownModelError, match="shipped model third-1: expected a model card of that name"):
        shipped_model("third-1")


def test_a_reference_is_a_file_or_a_name(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "other" / "own.parquet"
    file.parent.mkdir()
    pq.write_table(to_table(untrained_model()), file)
    assert open_model(file).card == open_model(str(file)).card == untrained_model().card
    assert open_model("first-1").card.name == "first-1"
    with pytest.raises(BadInputError, match=r"absent\.parquet: expected a Parquet file with a model"):
        open_model(tmp_path / "absent.parquet")
    file.write_text("no Parquet")
    with pytest.raises(BadInputError, match=r"own\.parquet: expected a Parquet file with a model"):
        open_model(file)


def test_commands(folder: Path) -> None:
    listed = CliRunner().invoke(main, ["shipped-models"])
    version = shipped_model("first-1").card.version
    assert listed.output.splitlines()[0] == f"first-1: seed_cnn {version}, trained on Synthetic"
    assert len(listed.output.splitlines()) == 2
    page = CliRunner().invoke(main, ["model-card", "first-1"])
    assert page.output.startswith(f"# Model card: first-1 {version}\n")
    CliRunner().invoke(main, ["model-card", "first-1", "-o", str(folder / "card.md")])
    assert (folder / "card.md").read_text() == page.output
    unknown = CliRunner().invoke(main, ["model-card", "third"])
    assert unknown.exit_code == 1
    assert unknown.output == "Error: model: expected one of first-1, second-1, found 'third'.\n"


def shipped_config(name: str) -> ScoreReliabilityConfig:
    config = ScoreReliabilityConfig()
    config.modelSource, config.shippedModel = "shipped", name
    config.validate()
    return config


def test_scores_say_which_shipped_model_gave_them(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    cutouts, _, _ = make_cutouts(40, size=21)
    task = ScoreReliabilityTask(config=shipped_config("second-1"))
    with caplog.at_level(logging.INFO):
        vetting = DIA_SOURCE_VETTING.check(task.run(cutouts).vetting)
    card = shipped_model("second-1").card
    assert set(vetting["model"]) == {"second-1"}
    assert set(vetting["version"]) == {card.version}
    for notes in (vetting.meta, task.metadata):
        assert notes["model"] == "second-1"
        assert notes["model_source"] == "shipped"
        assert notes["model_content_hash"] == card.content_hash
    assert f"Model second-1 (shipped), version {card.version}, hash {card.content_hash}." in caplog.text
    assert np.isfinite(vetting["reliability"]).all()
    from_dataset = ScoreReliabilityTask(config=ScoreReliabilityConfig())
    same = from_dataset.run(cutouts, to_table(untrained_model())).vetting
    np.testing.assert_array_equal(same["reliability"], vetting["reliability"])
    assert set(same["model"]) == {"reliability_model"}
    assert same.meta["model_source"] == "dataset"


def test_a_pipeline_that_scores_with_a_shipped_model_reads_none(folder: Path) -> None:
    inputs = []
    for source in ("dataset", "shipped"):
        pipeline = Pipeline.from_uri(str(VETTING))
        pipeline.addConfigOverride("scoreReliability", "modelSource", source)
        pipeline.addConfigOverride("scoreReliability", "shippedModel", "first-1")
        graph = pipeline.to_graph()
        inputs.append(set(graph.tasks["scoreReliability"].inputs))
    assert inputs == [{"cutouts", "model"}, {"cutouts"}]
    lintConnections(shipped_config("first-1").connections.ConnectionsClass)


def test_a_pipeline_cannot_name_a_model_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UnknownModelError, match="one of first-1, second-1"):
        shipped_config("third")


def test_what_the_package_ships_scores_and_is_small() -> None:
    """Runs on the package data themselves; a checkout without any is possible."""
    package = shipped.models_folder()
    assert (package / "README.md").is_file()
    assert not shipped_models() or DEFAULT_MODEL in shipped_models()
    cutouts, _, _ = make_cutouts(5)
    for name in shipped_models():
        assert len((package / f"{name}.parquet").read_bytes()) <= MAX_BYTES
        vetting = ScoreReliabilityTask(config=shipped_config(name)).run(cutouts).vetting
        assert np.isfinite(vetting["reliability"]).all()
