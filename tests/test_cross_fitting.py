"""Cross-fitting: who is scored by whom, what follows from the scores, and fine-tuning."""

import dataclasses
import functools

import numpy as np
import pytest
from dia_vetting.reliability.calibration import Calibration
from dia_vetting.reliability.cross_fitting import (
    FoldSettings,
    ModelNotes,
    TrainingSet,
    cross_fit,
    make_thresholds,
)
from dia_vetting.reliability.folds import SplitLeakError
from dia_vetting.reliability.inputs import network_inputs
from dia_vetting.reliability.model_dataset import from_table, to_table
from dia_vetting.reliability.scoring import load_networks, predict_logits, score_cutouts
from dia_vetting.reliability.selection import LARGEST_PRIOR
from dia_vetting.reliability.strategies import StrategyOptionError
from dia_vetting.reliability.training import TrainingSettings
from dia_vetting.skycells import sky_cell, sky_fold
from reliability_samples import NOISE, make_cutouts

OPTIONS = {"width": 4, "hidden": 16, "dropout": 0.1}
SETTINGS = TrainingSettings(seed=3, epochs=3, min_updates=40, threads=1)
FOLDS = FoldSettings(n_folds=3, min_examples=10, members=2, buffer_arcsec=2.0)
NOTES = ModelNotes("Synthetic", 0.2, {"injected": 1, "unlabelled": 2})


def _data(cutouts, injected, nside=4096):
    position = np.asarray(cutouts["ra"]), np.asarray(cutouts["dec"])
    return TrainingSet(network_inputs(cutouts), injected, sky_cell(*position, nside), position)


@functools.cache
def _sample():
    """Return training rows, and which are real: a fifth of the unlabelled."""
    cutouts, _, real = make_cutouts(900, size=21, injected_fraction=0.5)
    injected = real & (np.random.default_rng(1).random(900) < 0.75)
    return _data(cutouts, injected), real


def _fit(data, **changes):
    """Fit, with some settings changed; those of networks, folds and notes by their own names."""
    parts = []
    for settings in (SETTINGS, FOLDS, NOTES):
        names = [field.name for field in dataclasses.fields(settings)]
        parts.append(dataclasses.replace(settings, **{n: changes.pop(n) for n in names if n in changes}))
    return cross_fit(data, "seed_cnn", OPTIONS, *parts, **changes)


@functools.cache
def _fitted():
    return _fit(_sample()[0])


@functools.cache
def _fitted_once(prevalence=None):
    """Return a fit of one update per network, for what does not depend on how good they are."""
    return _fit(_sample()[0], members=1, epochs=1, min_updates=1, prevalence=prevalence)


def test_each_row_is_scored_by_the_members_of_its_fold():
    data, _ = _sample()
    result, card = _fitted(), _fitted().model.card
    assert (card.n_folds, card.members) == (3, 2)
    assert len(result.networks) == len(result.model.networks) == len(card.epochs) == 6
    np.testing.assert_array_equal(result.folds, sky_fold(data.cells, 3, card.seed))
    networks = load_networks(result.model)
    for fold in range(3):
        rows = result.folds == fold
        own = predict_logits(networks[2 * fold : 2 * fold + 2], data.inputs[rows]).mean(axis=0)
        np.testing.assert_allclose(result.logits[rows], own, atol=1e-4)
        others = predict_logits(networks, data.inputs[rows]).mean(axis=0)
        assert np.abs(result.logits[rows] - others).max() > 0.1
    np.testing.assert_array_equal(result.model.trained_cells, np.unique(data.cells))


def test_rows_of_a_network_are_those_of_its_fold():
    data, _ = _sample()
    rows = _fitted().trained_rows
    assert len(rows) == 6
    for network, trained in enumerate(rows):
        assert len(trained) > 200
        assert not np.isin(sky_fold(data.cells[trained], 3, 3), network // 2).any()
        np.testing.assert_array_equal(trained, rows[network // 2 * 2])


def test_labels_of_a_fold_do_not_reach_the_networks_that_score_it():
    """To the last bit, although the labels of all of its rows are turned round."""
    data, _ = _sample()
    first = _fitted_once()
    turned = dataclasses.replace(data, injected=data.injected ^ (first.folds == 0))
    second = _fit(turned, members=1, epochs=1, min_updates=1)
    for fold in range(3):
        rows, weights = (
            first.folds == fold,
            [r.model.networks[fold]["output.weight"] for r in (first, second)],
        )
        same = (first.logits[rows] == second.logits[rows]).all()
        assert same == np.array_equal(*weights) == (fold == 0)


def test_rows_learnt_by_heart_do_not_raise_their_own_scores():
    """A pattern that nothing else has, in one sky cell, called injected: only other folds learn it."""
    cutouts, _, injected = make_cutouts(900, size=21, seed=6)
    cells = sky_cell(cutouts["ra"], cutouts["dec"], 4096)
    values, counts = np.unique(cells, return_counts=True)
    planted = cells == values[np.argmax(counts)]
    chequers = np.where(np.indices((21, 21)).sum(axis=0) % 2, 40 * NOISE, -40 * NOISE)
    cutouts["difference"][planted] = np.float32(chequers)
    injected = injected & ~planted
    scores = []
    for called in (False, True):
        result = _fit(_data(cutouts, injected | planted & called), members=1)
        own = result.logits[planted]
        fold = int(result.folds[planted][0])
        strangers = [network for i, network in enumerate(result.networks) if i != fold]
        scores.append((own, predict_logits(strangers, network_inputs(cutouts[planted])).mean(axis=0)))
    (own_before, others_before), (own_after, others_after) = scores
    np.testing.assert_array_equal(own_after, own_before)
    assert (others_after > others_before + 2).all(), "the pattern cannot be learnt, so this tests nothing"


def test_the_prior_is_that_of_the_hidden_ones():
    data, real = _sample()
    value, low, high = _fitted().model.card.prior
    hidden = real[~data.injected].mean()
    assert 0.15 < hidden < 0.25
    assert low < value < high
    assert 0.5 < value / hidden < 1.3  # the least of noisy ratios is taken, so that it is rather too low


def test_a_prior_that_cannot_be_is_not_believed():
    """Networks that have learnt nothing allow all of the unlabelled to be real: no use for a calibration."""
    data, _ = _sample()
    blank = dataclasses.replace(data.inputs, stamps=np.zeros_like(data.inputs.stamps))
    card = _fit(dataclasses.replace(data, inputs=blank), members=1, epochs=1, min_updates=1).model.card
    assert card.prior[0] > LARGEST_PRIOR
    assert card.prevalence == LARGEST_PRIOR
    assert card.calibration["n_artefacts"] == pytest.approx((1 - LARGEST_PRIOR) * (~data.injected).sum())


def test_reliability_is_a_probability_of_being_real():
    """Not of being injected: hidden ones count, and the prior of the unlabelled is the prevalence."""
    data, real = _sample()
    result = _fitted()
    card = result.model.card
    assert card.prevalence == card.prior[0]
    unlabelled = ~data.injected
    assert result.reliability[unlabelled].mean() == pytest.approx(card.prior[0], abs=0.04)
    assert result.reliability[unlabelled & real].mean() > 0.5
    assert result.reliability[unlabelled & ~real].mean() < 0.1
    expected = Calibration.from_dict(card.calibration).reliability(result.logits, card.prevalence)
    np.testing.assert_array_equal(result.reliability, expected)


def test_a_prevalence_that_is_given_is_that_of_reliability_and_thresholds():
    given, estimated = _fitted_once(0.03), _fitted_once()
    assert given.model.card.prevalence == 0.03
    assert given.model.card.calibration == estimated.model.card.calibration
    assert given.model.card.prior == estimated.model.card.prior
    assert given.model.card.version != estimated.model.card.version
    np.testing.assert_array_equal(given.logits, estimated.logits)
    calibration = Calibration.from_dict(given.model.card.calibration)
    np.testing.assert_array_equal(given.reliability, calibration.reliability(given.logits, 0.03))
    for name, value in given.model.card.thresholds.items():
        odds = [t / (1 - t) for t in (value, estimated.model.card.thresholds[name])]
        rho = estimated.model.card.prevalence
        assert odds[0] / odds[1] == pytest.approx(0.03 / 0.97 * (1 - rho) / rho, rel=1e-3)


def test_thresholds_are_at_the_rates_that_they_name():
    """By the truth: a tenth of the unlabelled are real, whom the labels alone call false positives."""
    rng = np.random.default_rng(2)
    real, injected = rng.random(40_000) < 0.5, np.zeros(40_000, dtype=bool)
    injected[real] = rng.random(real.sum()) < 0.9
    prior = real[~injected].mean()
    logits = rng.normal(np.where(real, 2.0, -2.0), 1.0).astype(np.float32)
    linear = Calibration((-1.0, 1.0), -1.0, (1.0,), 1e9, 1e9)
    thresholds = make_thresholds(logits, injected, prior, linear, 0.2)
    assert set(thresholds) == {"fpr_0.0015", "fpr_0.01", "tpr_0.9", "tpr_0.95", "tpr_0.98"}
    reliability = linear.reliability(logits, 0.2)
    for name, threshold in thresholds.items():
        kind, rate = name.split("_")
        rows = ~real if kind == "fpr" else injected
        assert np.mean(reliability[rows] >= threshold) == pytest.approx(float(rate), rel=0.25, abs=2e-4)
        blind = make_thresholds(logits, injected, 0.0, linear, 0.2)[name]
        assert (blind > threshold) == (kind == "fpr")


def test_the_card_says_how_good_it_is_and_where_it_comes_from():
    data, _ = _sample()
    card = _fitted().model.card
    for name in ("auc_injected_unlabelled", "tpr_injected_at_labelled_fpr_0.01"):
        value, low, high = card.metrics[name]
        assert 0 <= low <= value <= high <= 1
    # A fifth of the unlabelled are real, and score so: even a perfect network has no more than 0.9.
    assert 0.85 < card.metrics["auc_injected_unlabelled"][0] < 0.93
    assert card.injected_fraction == pytest.approx(data.injected.mean())
    assert card.stamp_size == 21
    assert card.strategy == "plain"
    assert (card.parent, card.name) == ("", "")
    assert card.thresholds["fpr_0.0015"] >= card.thresholds["fpr_0.01"]
    assert card.thresholds["tpr_0.9"] >= card.thresholds["tpr_0.95"] >= card.thresholds["tpr_0.98"]
    assert from_table(to_table(_fitted().model)).card == card


def test_what_is_odd_to_it():
    model = _fitted().model
    assert {name.partition(".")[0] for name in model.auxiliary} == {f"ood{i}" for i in range(6)}
    cutouts, _, _ = make_cutouts(300, size=21, seed=8, ra0=20.0)
    strange = cutouts[:50].copy()
    strange["difference"][:, ::4] += np.float32(100 * NOISE)
    known, odd = (score_cutouts(model, table, load_networks(model)).ood for table in (cutouts, strange))
    assert 0.35 < np.median(known) < 0.65
    assert np.mean(odd[:, None] > known) > 0.85


def _elsewhere(nside=4096, seed=9):
    cutouts, _, injected = make_cutouts(500, size=21, seed=seed, ra0=210.0)
    return _data(cutouts, injected, nside)


def test_fine_tuning_starts_from_the_networks_of_its_parent():
    parent, data = _fitted().model, _elsewhere()
    still = {"learning_rate": 1e-7, "epochs": 1, "min_updates": 1}
    tuned = cross_fit(
        data,
        "small_resnet",  # as the task passes its own, which then do not count
        {},
        dataclasses.replace(SETTINGS, anchor=1.0, **still),
        FOLDS,
        NOTES,
        parent,
    )
    assert tuned.model.card.parent == parent.card.content_hash
    assert tuned.model.card.architecture == "seed_cnn"
    assert tuned.model.card.options == parent.card.options
    assert tuned.model.card.content_hash != parent.card.content_hash
    for index, weights in enumerate(tuned.model.networks):
        for name, tensor in parent.networks[index % 2].items():
            np.testing.assert_allclose(weights[name], tensor, atol=1e-5)
    np.testing.assert_array_equal(tuned.model.trained_cells, np.unique(data.cells))


def test_fine_tuning_learns():
    """What its parent calls artefacts, chequered ones, are the injections here."""
    cutouts, _, injected = make_cutouts(500, size=21, seed=9, ra0=210.0)
    chequers = np.where(np.indices((21, 21)).sum(axis=0) % 2, 10 * NOISE, -10 * NOISE)
    cutouts["difference"][injected] = np.float32(chequers)
    data = _data(cutouts, injected)
    tuned = _fit(data, initial=_fitted().model, anchor=1.0, members=1)
    before = predict_logits(load_networks(_fitted().model), data.inputs).mean(axis=0)
    gap = [logits[injected].mean() - logits[~injected].mean() for logits in (before, tuned.logits)]
    assert gap[1] > gap[0] + 2


@pytest.mark.parametrize("nside", [4096, 2048, 16384])
def test_fine_tuning_refuses_sky_that_its_parent_was_trained_on(nside):
    """At any resolution of the cells: numbers of other ones mean other sky."""
    cutouts, _, injected = make_cutouts(500, size=21, seed=9)
    with pytest.raises(SplitLeakError, match="trained on by the network that training starts from"):
        _fit(_data(cutouts, injected, nside), initial=_fitted().model, nside=nside, members=1)
    for elsewhere in (_elsewhere(nside), _elsewhere(nside, seed=10)):
        tuned = _fit(elsewhere, initial=_fitted().model, nside=nside, members=1, epochs=1, min_updates=1)
        assert tuned.model.card.nside == nside


@pytest.mark.parametrize("nside", [4096, 2048, 16384])
def test_sky_of_the_parent_stays_known(nside):
    """A tuned model says which sky no network of it is blind to, at its own resolution; so does its child."""
    tuned = _fit(_elsewhere(nside), initial=_fitted().model, nside=nside, members=1, epochs=1, min_updates=1)
    cutouts, _, _ = make_cutouts(500, size=21, seed=9)
    old = sky_cell(cutouts["ra"], cutouts["dec"], nside)
    trained = np.isin(sky_cell(cutouts["ra"], cutouts["dec"], 4096), _fitted().model.trained_cells)
    assert trained.any()
    assert np.isin(old[trained], tuned.model.inherited_cells).all()
    assert not np.isin(tuned.model.trained_cells, tuned.model.inherited_cells).any()
    cutouts, _, injected = make_cutouts(500, size=21, seed=9, ra0=30.0)
    child = _fit(_data(cutouts, injected, nside), initial=tuned.model, nside=nside, epochs=1, min_updates=1)
    assert np.isin(tuned.model.inherited_cells, child.model.inherited_cells).all()
    assert np.isin(tuned.model.trained_cells, child.model.inherited_cells).all()
    with pytest.raises(SplitLeakError, match="trained on by the network that training starts from"):
        _fit(_data(*make_cutouts(500, size=21, seed=9)[::2], nside), initial=child.model, nside=nside)


def test_a_strategy_that_wants_more_members_is_refused():
    with pytest.raises(StrategyOptionError, match="at least 2 members"):
        _fit(_sample()[0], strategy="deep_ensemble", members=1)
