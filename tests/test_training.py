"""Training of the networks of a fold: they learn, repeat themselves, and never look at their test rows."""

import dataclasses
import functools
import logging

import numpy as np
import pytest
import torch
from dia_vetting.reliability.augmentation import Augmentation
from dia_vetting.reliability.folds import Split, fold_splits
from dia_vetting.reliability.inputs import NetworkInputs, network_inputs
from dia_vetting.reliability.networks import build_network
from dia_vetting.reliability.scoring import predict_logits
from dia_vetting.reliability.selection import figures
from dia_vetting.reliability.strategies import STRATEGIES, StrategyOptionError
from dia_vetting.reliability.training import (
    TrainingDivergedError,
    TrainingSettings,
    train_networks,
)
from dia_vetting.skycells import sky_cell
from reliability_samples import make_cutouts
from sklearn.metrics import roc_auc_score

QUICK = TrainingSettings(seed=3, epochs=3, min_updates=35, threads=1)
OPTIONS = {"seed_cnn": {"width": 4, "hidden": 16, "dropout": 0.1}, "small_resnet": {"width": 8}}


@functools.cache
def _sample(injected_fraction=0.4, n=600, seed=0):
    cutouts, _, injected = make_cutouts(n, size=21, injected_fraction=injected_fraction, seed=seed)
    cells = sky_cell(cutouts["ra"], cutouts["dec"], 4096)
    return network_inputs(cutouts), injected, fold_splits(cells, injected, 3, 0, 0.2, 5)[0]


@functools.cache
def _trained(architecture="small_resnet", members=1, **changes):
    settings = dataclasses.replace(QUICK, **changes)
    return train_networks(*_sample(), architecture, OPTIONS[architecture], settings, members)


def _network(architecture, weights):
    network = build_network(architecture, OPTIONS[architecture], 5)
    network.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in weights.items()})
    return network.eval()


def _logits(architecture, trained, inputs):
    return predict_logits([_network(architecture, one.weights) for one in trained], inputs)


def _bytes(trained):
    return [{name: tensor.tobytes() for name, tensor in one.weights.items()} for one in trained]


@pytest.mark.parametrize("architecture", ["seed_cnn", "small_resnet"])
def test_it_learns(architecture):
    inputs, injected, split = _sample()
    (logits,) = _logits(architecture, _trained(architecture), inputs[split.test])
    assert roc_auc_score(injected[split.test], logits) > 0.98
    assert np.mean((logits > 0) == injected[split.test]) > 0.9


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_with_hidden_ones(strategy):
    """A fifth of the unlabelled are real: the networks tell artefacts from them all the same."""
    inputs, real, split = _sample(injected_fraction=0.55)
    rng = np.random.default_rng(1)
    injected = real & (rng.random(len(real)) < 0.8)
    members = max(STRATEGIES[strategy].min_members, 2)
    settings = dataclasses.replace(QUICK, strategy=strategy)
    trained = train_networks(inputs, injected, split, "seed_cnn", OPTIONS["seed_cnn"], settings, members)
    logits = _logits("seed_cnn", trained, inputs[split.test])
    assert len(trained) == members
    assert roc_auc_score(real[split.test], logits.mean(axis=0)) > 0.97
    assert trained[0].history[-1]["prior"] == pytest.approx(0.2, abs=0.12)


def test_the_same_seed_gives_the_same_bytes():
    again = train_networks(*_sample(), "small_resnet", OPTIONS["small_resnet"], QUICK)
    first = _trained("small_resnet")
    assert again[0].history == first[0].history
    assert _bytes(again) == _bytes(first)


def test_a_pair_repeats_itself_too():
    changes = {"strategy": "stochastic_co_teaching"}
    again = train_networks(
        *_sample(), "seed_cnn", OPTIONS["seed_cnn"], dataclasses.replace(QUICK, **changes), 2
    )
    first = _trained("seed_cnn", 2, **changes)
    assert _bytes(again) == _bytes(first)
    assert _bytes(first)[0] != _bytes(first)[1]


def test_members_differ_and_more_of_them_change_none():
    one, two = _trained("seed_cnn", 1), _trained("seed_cnn", 2)
    assert _bytes(two)[0] == _bytes(one)[0]
    assert _bytes(two)[0] != _bytes(two)[1]


def test_of_an_odd_pair_the_better_one_is_kept():
    changes = {"strategy": "co_teaching"}
    pair, one = _trained("seed_cnn", 2, **changes), _trained("seed_cnn", 1, **changes)
    better = max(pair, key=lambda network: network.figures)
    assert _bytes(one) == _bytes([better])


def test_an_ensemble_of_one_is_refused():
    with pytest.raises(StrategyOptionError, match="at least 2 members"):
        _trained(strategy="deep_ensemble")


def test_another_seed_gives_others():
    other = _trained("seed_cnn", seed=4, epochs=1, min_updates=1)
    assert _bytes(other) != _bytes(_trained("seed_cnn", epochs=1, min_updates=1))


def test_test_and_dropped_rows_are_never_looked_at():
    inputs, injected, split = _sample()
    split = Split(0, split.train[5:], split.validation, split.test, split.train[:5])
    first = train_networks(inputs, injected, split, "small_resnet", OPTIONS["small_resnet"], QUICK)
    poisoned, flipped = NetworkInputs(inputs.stamps.copy(), inputs.metadata.copy()), injected.copy()
    for rows in (split.test, split.dropped):
        poisoned.stamps[rows], poisoned.metadata[rows] = np.nan, np.nan
        flipped[rows] = ~injected[rows]
    again = train_networks(poisoned, flipped, split, "small_resnet", OPTIONS["small_resnet"], QUICK)
    assert _bytes(again) == _bytes(first)


def test_the_selected_epoch_is_the_best():
    (trained,) = _trained("seed_cnn", prior=0.0)
    batches = len(_sample()[2].train) // QUICK.batch_size
    assert len(trained.history) == -(-QUICK.min_updates // batches) > QUICK.epochs
    keys = [(epoch["tpr"], -epoch["validation_loss"]) for epoch in trained.history]
    assert trained.epoch == keys.index(max(keys))
    assert (trained.figures.tpr, trained.figures.negative_loss) == max(keys)


def test_the_kept_weights_are_those_of_the_figures():
    inputs, injected, split = _sample()
    (trained,) = _trained("seed_cnn")
    (logits,) = _logits("seed_cnn", [trained], inputs[split.validation])
    found = figures(logits, injected[split.validation], trained.history[-1]["prior"], QUICK.selection_fpr)
    assert found.tpr == pytest.approx(trained.figures.tpr, abs=1e-6)
    assert found.loss == pytest.approx(trained.figures.loss, rel=1e-4)


def test_weights_are_averaged():
    """After one epoch their mean lies between the initial weights and the last ones."""
    changes = {"epochs": 1, "min_updates": 1, "weight_decay": 0.0}
    last, mean = (_trained("seed_cnn", average=average, **changes)[0].weights for average in (0.0, 10.0))
    start = _trained("seed_cnn", average=0.0, learning_rate=1e-12, **changes)[0].weights
    name = max(start, key=lambda key: start[key].size)
    moved = [float(np.linalg.norm(weights[name] - start[name])) for weights in (mean, last)]
    assert 0 < moved[0] < 0.85 * moved[1]


def test_a_rare_class_is_not_given_up():
    """With 3 % of injections, an unweighted loss would be content with low scores for all."""
    inputs, injected, split = _sample(0.03, 1200, 8)
    trained = train_networks(inputs, injected, split, "seed_cnn", OPTIONS["seed_cnn"], QUICK)
    (logits,) = _logits("seed_cnn", trained, inputs[split.test])
    assert np.median(logits[injected[split.test]]) > 0


def test_divergence_is_an_error():
    inputs, injected, split = _sample()
    broken = NetworkInputs(inputs.stamps.copy(), inputs.metadata)
    broken.stamps[split.train] = np.nan
    with pytest.raises(TrainingDivergedError, match="Fold 0: the loss of epoch 1 is nan"):
        train_networks(broken, injected, split, "seed_cnn", OPTIONS["seed_cnn"], QUICK)


def _distance(weights, start):
    names = [name for name in start if name.endswith("weight")]
    return np.sqrt(sum(float(np.sum((weights[name] - start[name]) ** 2)) for name in names))


def test_fine_tuning_starts_from_the_weights():
    (start,) = _trained("seed_cnn")
    settings = dataclasses.replace(QUICK, epochs=1, min_updates=1, learning_rate=1e-9)
    (tuned,) = train_networks(*_sample(), "seed_cnn", OPTIONS["seed_cnn"], settings, initial=[start.weights])
    assert tuned.figures.loss == pytest.approx(start.figures.loss, rel=1e-3)
    assert _distance(tuned.weights, start.weights) < 1e-4


def test_an_anchor_holds_the_weights():
    (start,) = _trained("seed_cnn")
    moved = []
    for anchor in (0.0, 100.0):
        settings = dataclasses.replace(QUICK, anchor=anchor, seed=9)
        (tuned,) = train_networks(
            *_sample(), "seed_cnn", OPTIONS["seed_cnn"], settings, initial=[start.weights]
        )
        moved.append(_distance(tuned.weights, start.weights))
    assert moved[1] < 0.5 * moved[0]


def test_an_anchor_without_a_start_is_an_error():
    with pytest.raises(ValueError, match="needs weights to start from"):
        _trained("seed_cnn", anchor=1.0)


def test_members_start_from_their_own_weights():
    two = _trained("seed_cnn", 2)
    settings = dataclasses.replace(QUICK, epochs=1, min_updates=1, learning_rate=1e-9)
    starts = [one.weights for one in two]
    tuned = train_networks(*_sample(), "seed_cnn", OPTIONS["seed_cnn"], settings, 3, starts)
    for index, one in enumerate(tuned):
        assert (
            _distance(one.weights, starts[index % 2]) < 1e-4 < _distance(one.weights, starts[1 - index % 2])
        )


def test_the_log_has_a_line_per_epoch_and_member(caplog):
    with caplog.at_level(logging.INFO, "dia_vetting"):
        train_networks(
            *_sample(),
            "seed_cnn",
            OPTIONS["seed_cnn"],
            dataclasses.replace(QUICK, epochs=1, min_updates=1),
            2,
        )
    lines = [record.getMessage() for record in caplog.records if "epoch" in record.getMessage()]
    assert len(lines) == 2
    assert lines[1].startswith("Fold 0, member 1, epoch 1 of 1: loss ")


def test_the_record_is_flat():
    settings = dataclasses.replace(QUICK, augmentation=Augmentation(edge=0.25), prior=None)
    record = settings.record()
    assert record["augmentation_edge"] == 0.25
    assert record["prior"] is None
    assert all(isinstance(value, int | float | str | None) for value in record.values())
