"""Scores out of fold, by the ensemble, or with a reason why there is none."""

import dataclasses

import numpy as np
import pytest
import torch
from dia_vetting.reliability.inputs import CHANNELS, network_inputs
from dia_vetting.reliability.model_dataset import ReliabilityModel, TensorError, from_table
from dia_vetting.reliability.networks import UnknownArchitectureError, UnknownOptionError, build_network
from dia_vetting.reliability.scoring import (
    InputLayoutError,
    fold_batch_norms,
    load_networks,
    predict,
    score_cutouts,
)
from dia_vetting.skycells import sky_cell, sky_fold
from reliability_samples import make_cutouts, trained

BIASES = np.array([-1.0, 0.5, 2.0])


def _model() -> ReliabilityModel:
    return from_table(trained()[2].model)


def _change_card(model, **values):
    return dataclasses.replace(model, card=model.card.model_copy(update=values))


@pytest.fixture
def constants():
    """A model whose networks say nothing but their own constant, so that each score tells who gave it."""
    model = _model()
    for weights, bias in zip(model.networks, BIASES, strict=True):
        weights["classifier.4.weight"][:] = 0
        weights["classifier.4.bias"][:] = bias
    return model


def _score(model, cutouts):
    return score_cutouts(model, cutouts, load_networks(model))


def test_trained_sky_is_scored_by_the_fold_that_never_saw_it(constants):
    cutouts, _, _ = make_cutouts(300, size=21, seed=5)
    cells = sky_cell(cutouts["ra"], cutouts["dec"], 4096)
    unseen = np.unique(cells)[::3]
    model = dataclasses.replace(constants, trained_cells=np.setdiff1d(np.unique(cells), unseen))
    scores = _score(model, cutouts)
    sigmoid = 1 / (1 + np.exp(-BIASES))
    new = np.isin(cells, unseen)
    fold = sky_fold(cells, 3, model.card.seed)
    assert 0 < new.sum() < len(new)
    np.testing.assert_array_equal(scores.fold, np.where(new, -1, fold))
    np.testing.assert_allclose(scores.reliability, np.where(new, sigmoid.mean(), sigmoid[fold]), rtol=1e-6)
    np.testing.assert_allclose(scores.reliability_err[new], sigmoid.std(ddof=1), rtol=1e-5)
    assert np.isnan(scores.reliability_err[~new]).all()
    assert not np.any(scores.reason)


def test_scores_of_training_rows_are_their_out_of_fold_scores():
    cutouts, _, result = trained()
    scores = _score(_model(), cutouts)
    known = dict(zip(result.training["diaSourceId"], result.training["reliability"], strict=True))
    np.testing.assert_allclose(scores.reliability, [known[i] for i in cutouts["diaSourceId"]], atol=1e-5)
    assert set(scores.fold) == {0, 1, 2}


def test_every_row_has_a_score_or_a_reason():
    cutouts, _, _ = make_cutouts(40, size=21, ra0=10.0)
    cutouts["science"][0] = np.nan
    cutouts["difference"][1, 6:16, 6:16] = np.nan
    cutouts["ra"][2] = np.nan
    cutouts["template"][3, :, :8] = np.nan
    scores = _score(_model(), cutouts)
    assert list(scores.reason[:4]) == [
        "too few valid pixels",
        "no valid pixel at the centre",
        "no sky position",
        "",
    ]
    np.testing.assert_array_equal(np.isnan(scores.reliability), scores.reason != "")
    assert ((scores.reliability[3:] >= 0) & (scores.reliability[3:] <= 1)).all()


def test_rows_do_not_depend_on_their_neighbours():
    cutouts, _, _ = make_cutouts(150, size=21, ra0=10.0)
    scores = _score(_model(), cutouts)
    order = np.random.default_rng(0).permutation(150)
    np.testing.assert_allclose(
        _score(_model(), cutouts[order]).reliability, scores.reliability[order], atol=1e-6
    )
    np.testing.assert_allclose(_score(_model(), cutouts[:1]).reliability, scores.reliability[:1], atol=1e-6)


def test_two_runs_give_the_same_bytes():
    cutouts, _, _ = make_cutouts(300, size=21, ra0=10.0)
    first, second = (_score(_model(), cutouts) for _ in range(2))
    assert first.reliability.tobytes() == second.reliability.tobytes()
    assert first.reliability_err.tobytes() == second.reliability_err.tobytes()


def test_larger_stamps_are_scored_by_their_centre():
    large, _, _ = make_cutouts(50, size=31, ra0=10.0)
    small = large.copy()
    for name in ("science", "template", "difference", "variance", "mask"):
        small[name] = large[name][:, 5:26, 5:26]
    np.testing.assert_array_equal(_score(_model(), large).reliability, _score(_model(), small).reliability)


@pytest.mark.parametrize("name", ["small_resnet", "resnet50"])
def test_folded_batch_norms_change_nothing(name):
    torch.manual_seed(1)
    network = build_network(name, {}, 5)
    network.train()
    with torch.no_grad():  # running statistics other than their defaults
        network(3 * torch.randn(8, 5, 30, 30) + 1)
    inputs = np.random.default_rng(0).normal(size=(20, 5, 30, 30)).astype(np.float16)
    before = predict([network], inputs)
    fold_batch_norms(network.eval())
    np.testing.assert_allclose(predict([network], inputs), before, atol=1e-5)
    sequential = [m for m in network.modules() if isinstance(m, torch.nn.Sequential)]
    assert not any(isinstance(child, torch.nn.BatchNorm2d) for module in sequential for child in module)


def test_predict_in_any_micro_batch():
    networks = load_networks(_model())
    inputs = network_inputs(make_cutouts(70, size=21)[0])
    whole = predict(networks, inputs, 1000)
    assert whole.shape == (3, 70)
    np.testing.assert_allclose(predict(networks, inputs, 7), whole, atol=1e-6)
    assert predict(networks, inputs[:0]).shape == (3, 0)


def test_a_model_that_cannot_be_run_says_why():
    model = _model()
    with pytest.raises(UnknownArchitectureError, match=r"this model: architecture.*seed_cnn.*'vgg6'"):
        load_networks(_change_card(model, architecture="vgg6"), "this model")
    with pytest.raises(UnknownOptionError, match="depth"):
        load_networks(_change_card(model, options={"depth": 3}))
    with pytest.raises(InputLayoutError, match="minmax"):
        load_networks(_change_card(model, layout="minmax"))
    with pytest.raises(InputLayoutError, match="science"):
        load_networks(_change_card(model, channels=CHANNELS[:3]))
    with pytest.raises(TensorError, match=r"fold 0: expected 'features.0.weight' of shape \(8, 5, 3, 3\)"):
        load_networks(_change_card(model, options={"width": 8}))
    with pytest.raises(TensorError, match=r"missing .*stem.*unknown .*features"):
        load_networks(_change_card(model, architecture="small_resnet", options={}))
