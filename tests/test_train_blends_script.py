"""benchmarks/train_blends.py: from shards to a model, without Rubin's packages."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from dia_vetting.blends.methods import get_method
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.shipped import open_model
from dia_vetting.blends.simulation import simulate

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "train_blends.py"
RUN = """
import runpy, sys
sys.argv[0] = {script!r}
runpy.run_path({script!r}, run_name="__main__")
loaded = {{name.split(".")[0] for name in sys.modules}}
print("loaded:", sorted(loaded & {{"lsst", "astropy", "galsim", "sep", "click"}}))
"""


def run(*arguments: object) -> str:
    code = RUN.format(script=str(SCRIPT))
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1] / "python")}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shards_are_simulated_and_trained_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, file = tmp_path / "shards", tmp_path / "model.parquet"
    presets = ["--preset", "farrens2021=60", "--preset", "great3=60,knots=0.5,fwhm=0.7-0.8"]
    monkeypatch.setattr(
        sys, "argv", ["train_blends", str(shards), "--simulate-only", *presets, "--seed", "5"]
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    names = sorted(path.name for path in shards.iterdir())
    assert names == ["0_farrens2021_0000.npz", "1_great3_0000.npz"]
    small = ["--option", "width=4", "--option", "depth=1", "--epochs", 2, "--batch-size", 32]
    said = run(file, "--shards", shards, *small)
    assert "120 stamps of 65 pixels" in said
    assert "loaded: []" in said
    model = open_model(file)
    assert model.card.presets == {"farrens2021": (60, 5), "great3": (60, 5)}
    assert 0 < model.card.kind_counts["any_companion"] < model.card.kind_counts["blend"]
    assert model.card.options["width"] == 4
    stamps, _ = simulate(load_preset("great3"), 10, 6)
    assert np.isfinite(get_method("ours", model).predict(stamps).p_blend).all()
    assert pq.read_table(file).num_rows == len(model.networks[0])
