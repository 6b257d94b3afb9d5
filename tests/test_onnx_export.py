"""An exported model gives in onnxruntime what torch gives, for any number of rows."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from dia_vetting.cli import main
from dia_vetting.reliability import onnx_export
from dia_vetting.reliability.calibration import Calibration
from dia_vetting.reliability.inputs import NetworkInputs
from dia_vetting.reliability.model_dataset import ModelCard, from_table, to_table
from dia_vetting.reliability.onnx_export import export_onnx
from dia_vetting.reliability.scoring import load_networks, predict_logits, score_inputs
from model_samples import CALIBRATION, untrained_model


def make_inputs(n: int, size: int, seed: int = 0) -> NetworkInputs:
    rng = np.random.default_rng(seed)
    stamps = rng.normal(0, 2, (n, 5, size, size)).astype(np.float16)
    stamps[:, 3] = 1
    return NetworkInputs(stamps, rng.normal(size=(n, 3)).astype(np.float32))


def run(path: Path, inputs: NetworkInputs) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"stamps": inputs.stamps.astype(np.float32), "metadata": inputs.metadata})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(untrained_model(members=1), path)
    return path


@pytest.mark.parametrize("n", [1, 2, 37])
def test_same_scores_as_torch(exported: Path, n: int) -> None:
    model, inputs = untrained_model(members=1), make_inputs(n, 21, n)
    networks = load_networks(model)
    reliability, logits = run(exported, inputs)
    assert reliability.dtype == logits.dtype == np.float32
    np.testing.assert_allclose(logits, predict_logits(networks, inputs), rtol=0, atol=1e-5)
    elsewhere = np.full(n, 123)
    scores = score_inputs(model, inputs, elsewhere, networks)
    assert np.all(scores.reason == "")
    np.testing.assert_allclose(reliability, scores.reliability, rtol=0, atol=1e-5)


def test_the_calibration_is_the_same_over_all_logits() -> None:
    """Far beyond the knots, where exponentials end, and where it is flat."""
    logits = np.concatenate([np.linspace(-1, 1, 401), [-1e4, -30, 30, 1e4]]).astype(np.float32)
    flat = Calibration((), 0.0, (), 50.0, 500.0)
    for calibration in (CALIBRATION, flat):
        for prevalence in (0.0001, 0.03, 0.9):
            ours = onnx_export._Calibration(calibration, prevalence)(onnx_export.torch.from_numpy(logits))
            expected = calibration.reliability(logits, prevalence)
            np.testing.assert_allclose(ours.numpy(), expected, rtol=2e-4, atol=1e-6)


def test_the_file_holds_the_card_and_nothing_of_this_machine(exported: Path) -> None:
    proto = onnx.load(exported)
    notes = {prop.key: prop.value for prop in proto.metadata_props}
    card = untrained_model(members=1).card
    assert ModelCard.model_validate(json.loads(notes["model_card"])) == card
    assert notes["version"] == card.version
    assert notes["content_hash"] == card.content_hash
    shapes = [
        [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    ]
    assert shapes == [["n", 5, 21, 21], ["n", 3], ["n"], [2, "n"]]
    assert str(Path(onnx_export.__file__).parent).encode() not in exported.read_bytes()


def test_command_for_another_size_and_architecture(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    model = untrained_model(
        architecture="dihedral_resnet", options={"width": 2, "stem": 2, "depth": 1, "hidden": 4}, members=1
    )
    pq.write_table(to_table(model), tmp_path / "model.parquet")
    arguments = ["export-onnx", str(tmp_path / "model.parquet"), str(tmp_path / "model.onnx"), "--size", "22"]
    result = CliRunner().invoke(main, [*arguments, "--prevalence", "0.5"])
    assert result.exit_code == 0, result.output
    assert f"dihedral_resnet {model.card.version}, 2 networks" in result.output
    inputs = make_inputs(5, 22)
    networks = load_networks(from_table(pq.read_table(tmp_path / "model.parquet")))
    reliability, logits = run(tmp_path / "model.onnx", inputs)
    expected = predict_logits(networks, inputs)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(reliability, CALIBRATION.reliability(expected.mean(axis=0), 0.5), atol=1e-5)
    assert np.ptp(logits) > 1e-3
