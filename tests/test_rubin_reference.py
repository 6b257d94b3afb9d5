"""One pair of the reference data against Rubin's own differencing (skipped where the data are absent)."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT.parent / "shared" / "data" / "rubin_reference"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the Rubin reference data are not beside the checkout"
)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = ROOT / "benchmarks" / "rubin_reference.py"
    spec = importlib.util.spec_from_file_location("rubin_reference_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("pair", [0, 6])
def test_as_complete_as_rubin_with_half_of_the_bogus(benchmark: ModuleType, pair: int) -> None:
    ours, rubin = benchmark.run_ours(FOLDER, pair), benchmark.run_rubin(FOLDER, pair)
    snr = benchmark.truth_of(FOLDER, pair)["injections"]["snr"]
    for low, high, slack in ((5, 7, 1), (7, 10, 1), (10, np.inf, 0)):
        inside = (snr >= low) & (snr < high)
        assert (ours.match[inside] >= 0).sum() >= (rubin.match[inside] >= 0).sum() - slack
    bogus = {name: np.isin(r.kind, benchmark.CLASSES).sum() for name, r in (("ours", ours), ("rubin", rubin))}
    assert bogus["ours"] <= 0.5 * bogus["rubin"]
    assert ours.pixel_pull == pytest.approx(1.0, abs=0.02)
    assert benchmark.std(ours.blank_pull) == pytest.approx(1.0, abs=0.06)


def test_the_comparison_reproduces_the_published_figures(benchmark: ModuleType) -> None:
    truth = {p: benchmark.truth_of(FOLDER, p)["injections"] for p in (0, 1, 2, 6)}
    rubin = benchmark.summarise({p: benchmark.run_rubin(FOLDER, p) for p in truth}, truth)
    completeness = [rubin[f"completeness {name}"] for name in benchmark.BINS]
    assert completeness == ["33/49", "36/38", "271/282"]
    assert float(rubin["bogus per image"]) == pytest.approx(20, abs=0.1)
    assert rubin["flux bias %, pairs 0-2"].startswith("+1.0")
    assert rubin["flux bias %, pairs 6"].startswith("+19.5")
