"""Scores out of fold, by the ensemble, or with a reason why there is none."""

import dataclasses

import numpy as np
import pytest
from dia_vetting.reliability.calibration import Calibration
from dia_vetting.reliability.inputs import CHANNELS, METADATA, network_inputs
from dia_vetting.reliability.model_dataset import INHERITED_CELLS, ReliabilityModel, TensorError, from_table
from dia_vetting.reliability.networks import UnknownArchitectureError, UnknownOptionError
from dia_vetting.reliability.scoring import (
    InputLayoutError,
    load_networks,
    predict_features,
    predict_logits,
    score_cutouts,
    score_inputs,
)
from dia_vetting.skycells import sky_cell, sky_fold
from model_samples import untrained_model
from reliability_samples import make_cutouts, trained
from scipy.special import expit, logit

BIASES = np.array([[-1.0, 0.5], [2.0, 2.4]])
"""Logits of two networks of each of two folds."""
ODDITIES = np.array([[0.1, 0.2], [0.5, 0.9]])
IDENTITY = Calibration((-1.0, 1.0), -1.0, (1.0,), 1e12, 1e12).to_dict()
"""Logits that are logarithms of likelihood ratios."""


def _model() -> ReliabilityModel:
    return from_table(trained()[2].model)


def _change_card(model, **values):
    return dataclasses.replace(model, card=model.card.model_copy(update=values))


def _constant_oddity(oddity, width):
    """Return the statistics of an outlier model that gives every row the same score."""
    return {
        "centre": np.zeros(width, np.float32),
        "whitening": np.zeros((width, width), np.float32),
        "means": np.zeros((1, width), np.float32),
        "quantiles": np.linspace(-oddity / 0.99, 1 - oddity / 0.99, 100, dtype=np.float32),
        "tail": np.ones(1, np.float32),
    }


@pytest.fixture
def constants():
    """A model whose networks say nothing but their own constants, so that each score tells who gave it."""
    model = untrained_model(calibration=IDENTITY, prevalence=0.5)
    auxiliary = {}
    for index, weights in enumerate(model.networks):
        weights["output.weight"][:] = 0
        weights["output.bias"][:] = BIASES.flat[index]
        arrays = _constant_oddity(ODDITIES.flat[index], weights["output.weight"].shape[1])
        auxiliary |= {f"ood{index}.{name}": array for name, array in arrays.items()}
    return dataclasses.replace(model, auxiliary=auxiliary)


def _score(model, cutouts, prevalence=None):
    return score_cutouts(model, cutouts, load_networks(model), prevalence=prevalence)


def _sky():
    """Return cutouts, their cells, and which of these were not trained on."""
    cutouts, _, _ = make_cutouts(300, size=21, seed=5)
    cells = sky_cell(cutouts["ra"], cutouts["dec"], 4096)
    new = np.isin(cells, np.unique(cells)[::3])
    assert 0 < new.sum() < len(new)
    return cutouts, cells, new


def test_trained_sky_is_scored_by_the_fold_that_never_saw_it(constants):
    cutouts, cells, new = _sky()
    scores = _score(dataclasses.replace(constants, trained_cells=np.unique(cells[~new])), cutouts)
    fold = sky_fold(cells, 2, constants.card.seed)
    assert set(fold[~new]) == {0, 1}
    np.testing.assert_array_equal(scores.fold, np.where(new, -1, fold))
    for found, of_fold, of_all in (
        (scores.reliability, expit(BIASES.mean(axis=1)), expit(BIASES.mean())),
        (scores.reliability_err, expit(BIASES).std(axis=1, ddof=1), expit(BIASES).std(ddof=1)),
        (scores.ood, ODDITIES.mean(axis=1), ODDITIES.mean()),
    ):
        np.testing.assert_allclose(found, np.where(new, of_all, of_fold[fold]), rtol=1e-4)
    assert not np.any(scores.reason)


def test_one_network_per_fold_has_no_scatter_of_its_own(constants):
    cutouts, cells, new = _sky()
    single = _change_card(constants, n_folds=4, members=1)
    scores = _score(dataclasses.replace(single, trained_cells=np.unique(cells[~new])), cutouts)
    fold = sky_fold(cells, 4, constants.card.seed)
    np.testing.assert_array_equal(scores.fold, np.where(new, -1, fold))
    expected = np.where(new, expit(BIASES.mean()), expit(BIASES.ravel())[fold])
    np.testing.assert_allclose(scores.reliability, expected, rtol=1e-5)
    assert np.isnan(scores.reliability_err[~new]).all()
    np.testing.assert_allclose(scores.reliability_err[new], expit(BIASES).std(ddof=1), rtol=1e-5)


def test_sky_that_a_parent_was_trained_on_has_a_reason_and_no_score(constants):
    """Every network of a tuned model started from weights that saw it."""
    cutouts, cells, new = _sky()
    auxiliary = constants.auxiliary | {INHERITED_CELLS: np.unique(cells[~new])}
    scores = _score(dataclasses.replace(constants, auxiliary=auxiliary), cutouts)
    assert set(scores.reason[~new]) == {"sky that a parent of the model was trained on"}
    assert set(scores.reason[new]) == {""}
    for values in (scores.reliability, scores.reliability_err, scores.ood):
        assert np.isnan(values[~new]).all()
        assert np.isfinite(values[new]).all()


def test_a_model_without_statistics_says_nothing_of_oddity(constants):
    scores = _score(dataclasses.replace(constants, auxiliary={}), make_cutouts(10, size=21)[0])
    assert np.isnan(scores.ood).all()
    assert np.isfinite(scores.reliability).all()


@pytest.mark.parametrize("prevalence", [0.001, 0.03, 0.5, 0.9])
def test_prevalence_multiplies_the_odds(prevalence):
    """By the ratio of the odds of the two prevalences, the same for every source."""
    model, cutouts = untrained_model(), make_cutouts(200, size=21, ra0=10.0)[0]
    scores, known = _score(model, cutouts, prevalence), _score(model, cutouts)
    shift = logit(prevalence) - logit(model.card.prevalence)
    difference = logit(scores.reliability.astype(float)) - logit(known.reliability.astype(float))
    np.testing.assert_allclose(difference, shift, atol=1e-4)
    assert len(np.unique(known.reliability)) > 100
    same = _score(_change_card(model, prevalence=prevalence), cutouts)
    np.testing.assert_array_equal(same.reliability, scores.reliability)


def test_scatter_is_that_of_probabilities_at_the_prevalence(constants):
    scores = _score(constants, make_cutouts(5, size=21)[0], 0.1)
    each = expit(BIASES + logit(0.1))
    np.testing.assert_allclose(scores.reliability, expit(BIASES.mean() + logit(0.1)), rtol=1e-5)
    np.testing.assert_allclose(scores.reliability_err, each.std(ddof=1), rtol=1e-5)


def test_scores_of_training_rows_are_their_out_of_fold_scores():
    cutouts, _, result = trained()
    scores = _score(_model(), cutouts)
    known = dict(zip(result.training["diaSourceId"], result.training["reliability"], strict=True))
    np.testing.assert_allclose(scores.reliability, [known[i] for i in cutouts["diaSourceId"]], atol=1e-5)
    assert set(scores.fold) == {0, 1, 2}
    assert np.isfinite(scores.reliability_err).all()


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
    for values in (scores.reliability, scores.reliability_err, scores.ood):
        assert values.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(values), scores.reason != "")
        assert ((values[3:] >= 0) & (values[3:] <= 1)).all()
    assert ((scores.reliability[3:] > 0) & (scores.reliability[3:] < 1)).all()


def test_no_rows():
    scores = _score(_model(), make_cutouts(10, size=21)[0][:0])
    assert len(scores.reliability) == len(scores.ood) == len(scores.reason) == 0


def test_rows_do_not_depend_on_their_neighbours():
    cutouts, _, _ = make_cutouts(150, size=21, ra0=10.0)
    scores = _score(_model(), cutouts)
    order = np.random.default_rng(0).permutation(150)
    for part in (order, np.arange(1)):
        again = _score(_model(), cutouts[part])
        np.testing.assert_allclose(again.reliability, scores.reliability[part], atol=1e-6)
        np.testing.assert_allclose(again.ood, scores.ood[part], atol=1e-4)


def test_two_runs_give_the_same_bytes():
    cutouts, _, _ = make_cutouts(300, size=21, ra0=10.0)
    first, second = (_score(_model(), cutouts) for _ in range(2))
    for name in ("reliability", "reliability_err", "ood"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_larger_stamps_are_scored_by_their_centre():
    large, _, _ = make_cutouts(50, size=31, ra0=10.0)
    small = large.copy()
    for name in ("science", "template", "difference", "variance", "mask"):
        small[name] = large[name][:, 5:26, 5:26]
    np.testing.assert_array_equal(_score(_model(), large).reliability, _score(_model(), small).reliability)


def test_stamps_of_another_parity_and_smaller_ones_are_scored_too():
    model = _change_card(_model(), stamp_size=30)
    for size in (21, 31):
        scores = _score(model, make_cutouts(50, size=size, ra0=10.0)[0])
        assert np.isfinite(scores.reliability).all()


def test_inputs_are_scored_as_their_cutouts():
    cutouts, cells, _ = _sky()
    model = _model()
    networks, inputs = load_networks(model), network_inputs(cutouts)
    cells[7] = -1
    scores, expected = score_inputs(model, inputs, cells, networks), _score(model, cutouts)
    assert scores.reason[7] == "no sky position"
    others = np.arange(len(cutouts)) != 7
    np.testing.assert_allclose(scores.reliability[others], expected.reliability[others], atol=1e-6)


def test_predictions_in_any_micro_batch():
    networks = load_networks(_model())
    inputs = network_inputs(make_cutouts(70, size=21)[0])
    whole = predict_logits(networks, inputs, 1000)
    assert whole.shape == (6, 70)
    np.testing.assert_allclose(predict_logits(networks, inputs, 7), whole, atol=1e-5)
    np.testing.assert_allclose(predict_logits(networks[4:], inputs), whole[4:], atol=1e-5)
    assert predict_logits(networks, inputs[:0]).shape == (6, 0)
    assert predict_logits([], inputs).shape == (0, 70)


def test_a_logit_is_linear_in_the_features():
    networks = load_networks(_model())
    inputs = network_inputs(make_cutouts(70, size=21)[0])
    logits, features = predict_features(networks, inputs, 16)
    assert features.shape == (6, 70, networks[0].n_features)
    np.testing.assert_allclose(logits, predict_logits(networks, inputs), atol=1e-5)
    for network, values, hidden in zip(networks, logits, features, strict=True):
        weight, bias = (p.detach().cpu().numpy() for p in (network.output.weight, network.output.bias))
        np.testing.assert_allclose(hidden @ weight[0] + bias, values, atol=1e-4)


def test_a_model_that_cannot_be_run_says_why():
    model = _model()
    with pytest.raises(UnknownArchitectureError, match=r"this model: architecture.*seed_cnn.*'vgg5'"):
        load_networks(_change_card(model, architecture="vgg5"), "this model")
    with pytest.raises(UnknownOptionError, match="depth"):
        load_networks(_change_card(model, options={"depth": 3}))
    with pytest.raises(InputLayoutError, match="minmax"):
        load_networks(_change_card(model, layout="minmax"))
    with pytest.raises(InputLayoutError, match="science"):
        load_networks(_change_card(model, channels=CHANNELS[:3]))
    with pytest.raises(InputLayoutError, match="psf_fwhm"):
        load_networks(_change_card(model, metadata=METADATA[:1]))
    with pytest.raises(TensorError, match=r"network 0: expected 'layers.0.weight' of shape \(8, 5, 3, 3\)"):
        load_networks(_change_card(model, options={"width": 8}))
    with pytest.raises(TensorError, match=r"missing .*stem.*unknown .*layers"):
        load_networks(_change_card(model, architecture="small_resnet", options={}))
