"""benchmarks/blend_evaluation.py and blend_speed.py, with a model that has hardly been trained."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
from blend_samples import small_model
from dia_vetting.bad_input import BadInputError
from dia_vetting.blends.model_io import BlendModel, to_table
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.simulation import simulate

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("blend_evaluation")


def trained_on(**presets: tuple[int, int]) -> BlendModel:
    model = small_model()
    return BlendModel(model.card.model_copy(update={"presets": presets}), model.networks).sealed()


def test_everything_is_written(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"ours": {"great3": (90, 1)}, "other": {"great3": (90, 1), "farrens2021": (90, 2)}}
    for name, presets in files.items():
        pq.write_table(to_table(trained_on(**presets)), tmp_path / f"{name}.parquet")
    models = [part for name in files for part in ("--model", f"{name}={tmp_path / name}.parquet")]
    presets = ["--preset", "farrens2021", "--preset", "great3", "--sigma", "14", "40"]
    few = ["--count", "200", "--validation-count", "100"]
    monkeypatch.setattr(
        sys, "argv", ["blend_evaluation", *models, *presets, *few, "--out", str(tmp_path / "out")]
    )
    script.main()
    said = capsys.readouterr().out
    assert "farrens2021, sigma 40: asked for 0.83; published SExtractor 0.67" in said
    assert "published on GREAT3: 0.565 / 0.755" in said
    assert "flux ratio >= 0.025" in said
    figures = {path.stem for path in (tmp_path / "out").glob("*.png")}
    cases = ("farrens2021_14", "farrens2021_40", "great3")
    expected = {f"{kind}_{case}" for kind in ("confusion", "tpr", "mistakes") for case in cases}
    assert figures == expected | {"accuracy_by_noise", "transfer"}
    content = json.loads((tmp_path / "out" / "blend_evaluation.json").read_text())
    check_content(content)


def check_content(content: dict) -> None:
    assert content["models"]["ours"]["presets"] == {"great3": [90, 1]}
    great3, farrens = content["simulated"]["great3"], content["simulated"]["farrens2021, sigma 14"]
    assert "sextractor_matched" in farrens["methods"]
    assert "sextractor_matched" not in great3["methods"]
    for of in great3["methods"].values():
        matrix = np.array(of["confusion"])
        assert matrix.sum() == 200
        right = matrix[0, [0, 2]].sum() + matrix[1, 1] + matrix[2, [0, 2]].sum()
        assert of["accuracy"]["value"] == pytest.approx(right / 200)
        assert of["accuracy"]["low"] < of["accuracy"]["value"] < of["accuracy"]["high"]
    # The same networks: nothing is lost between models, whatever their cards say.
    transfer = great3["methods"]["other"]["transfer"]
    assert transfer["reference"] == "ours"
    assert not transfer["left_out"]
    assert transfer["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert farrens["methods"]["ours"]["transfer"]["left_out"]
    assert great3["methods"]["ours"]["overlap"]["n"]["value"] > 0
    assert "overlap" not in great3["methods"]["sextractor"]


def test_seeds_of_training_are_refused(script: ModuleType) -> None:
    models = {"mine": trained_on(great3=(90, 9000))}
    with pytest.raises(BadInputError, match="'mine' was not trained with"):
        script.check_seeds(models, (9000, 8000))
    with pytest.raises(BadInputError, match="'mine'"):
        script.check_seeds(models, (1, 9000))
    with pytest.raises(BadInputError, match="sextractor_tuned"):
        script.check_seeds(models, (900, 8000))
    with pytest.raises(BadInputError, match="different"):
        script.check_seeds(models, (5, 5))
    script.check_seeds(models, (9001, 8000))


def test_threshold_is_of_the_validation_stamps(script: ModuleType) -> None:
    case = script.Case(load_preset("great3"))
    method = script.make_methods({"ours": small_model()})["ours"]
    stamps, truth = simulate(case.preset, 150, 8)
    threshold = script.threshold_of(method, case, (stamps, truth))
    score = script.asked(method, stamps).p_blend[truth.kind != "blend"]
    assert np.mean(score > threshold) <= 0.01 < np.mean(score >= threshold)


def test_answers_in_parts_are_those_of_all(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    method = script.make_methods({"ours": small_model()})["sextractor_tuned"]
    stamps, _ = simulate(load_preset("great3"), 30, 8)
    whole = method.ask(stamps)
    monkeypatch.setattr(script, "CHUNK", 7)
    np.testing.assert_array_equal(script.asked(method, stamps).n_sources, whole.n_sources)


def test_real_galaxies_are_resampled_by_galaxy(script: ModuleType, shared_data: Path) -> None:
    case = script.Case(load_preset("great3"))
    methods = script.make_methods({"ours": small_model()})
    test = simulate(case.preset, 24, 3, galaxies=shared_data / "hst_galaxies" / "catalog.fits")
    done = script.evaluate_case(case, methods, test, dict.fromkeys(methods, 0.5), real=True)
    assert done.figures["groups"] == len(np.unique(test[1].group)) < 24
    assert done.title == "great3, blends of real galaxies"


def test_speed_is_of_the_same_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    script = importlib.import_module("blend_speed")
    stamps = script.make_stamps(8, 51)
    assert stamps.images.shape == (8, 51, 51)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        speeds = script.measure(stamps, 1, 1, pool)
    assert set(speeds) == {"ours", "vgg16", "one_class", "siamese", "sextractor", "sextractor_tuned"}
    assert all(speed > 0 for speed in speeds.values())
