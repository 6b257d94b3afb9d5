"""Training of one network: it learns, repeats itself, and never looks at its test rows."""

import functools

import numpy as np
import pytest
import torch
from dia_vetting.reliability.folds import fold_splits
from dia_vetting.reliability.inputs import network_inputs
from dia_vetting.reliability.networks import build_network
from dia_vetting.reliability.scoring import predict
from dia_vetting.reliability.training import (
    TrainingDivergedError,
    TrainingSettings,
    deterministic_torch,
    dihedral,
    train_network,
)
from dia_vetting.skycells import sky_cell
from reliability_samples import make_cutouts
from sklearn.metrics import log_loss, roc_auc_score

QUICK = TrainingSettings(seed=3, epochs=4, min_updates=60, threads=1)


@functools.cache
def _sample():
    cutouts, _, injected = make_cutouts(900, size=21)
    cells = sky_cell(cutouts["ra"], cutouts["dec"], 4096)
    return network_inputs(cutouts), injected, fold_splits(cells, injected, 3, 0, 0.2, 20)[0]


@functools.cache
def _trained(architecture):
    inputs, injected, split = _sample()
    return train_network(inputs, injected, split, architecture, {}, QUICK)


def _network(architecture, weights):
    network = build_network(architecture, {}, 5)
    network.load_state_dict({name: torch.from_numpy(tensor.copy()) for name, tensor in weights.items()})
    return network


@pytest.mark.parametrize("architecture", ["seed_cnn", "small_resnet"])
def test_it_learns(architecture):
    inputs, injected, split = _sample()
    trained = _trained(architecture)
    scores = predict([_network(architecture, trained.weights)], inputs[split.test])[0]
    assert roc_auc_score(injected[split.test], scores) > 0.98
    assert np.mean((scores > 0.5) == injected[split.test]) > 0.9


def test_the_same_seed_gives_the_same_bytes():
    inputs, injected, split = _sample()
    again = train_network(inputs, injected, split, "small_resnet", {}, QUICK)
    first = _trained("small_resnet")
    assert again.history == first.history
    assert {n: t.tobytes() for n, t in again.weights.items()} == {
        n: t.tobytes() for n, t in first.weights.items()
    }


def test_another_seed_gives_others():
    inputs, injected, split = _sample()
    short = TrainingSettings(seed=4, epochs=1, min_updates=1, threads=1)
    other = train_network(inputs, injected, split, "seed_cnn", {}, short)
    assert not np.array_equal(
        other.weights["features.0.weight"], _trained("seed_cnn").weights["features.0.weight"]
    )


def test_test_rows_are_never_looked_at():
    inputs, injected, split = _sample()
    poisoned, flipped = inputs.copy(), injected.copy()
    poisoned[split.test] = np.nan
    flipped[split.test] = ~injected[split.test]
    again = train_network(poisoned, flipped, split, "small_resnet", {}, QUICK)
    first = _trained("small_resnet")
    for name, tensor in first.weights.items():
        np.testing.assert_array_equal(again.weights[name], tensor)


def test_the_selected_epoch_has_the_best_rate_then_the_lowest_loss():
    trained = _trained("seed_cnn")
    batches = len(_sample()[2].train) // QUICK.batch_size
    assert len(trained.history) == -(-QUICK.min_updates // batches) > QUICK.epochs
    keys = [(epoch["tpr"], -epoch["validation_loss"]) for epoch in trained.history]
    assert trained.epoch == keys.index(max(keys))


def test_validation_figures_against_independent_code():
    inputs, injected, split = _sample()
    trained = _trained("seed_cnn")
    rows = split.validation
    scores = predict([_network("seed_cnn", trained.weights)], inputs[rows])[0]
    kept = trained.history[trained.epoch]
    loss = log_loss(injected[rows], scores.astype(float), sample_weight=_balanced(injected[rows]))
    assert kept["validation_loss"] == pytest.approx(loss, rel=1e-4)
    assert np.mean(scores[~injected[rows]] >= trained.threshold) <= QUICK.selection_fpr
    assert np.mean(scores[injected[rows]] >= trained.threshold) == pytest.approx(kept["tpr"])


def _balanced(injected):
    return np.where(injected, 1 / injected.sum(), 1 / (~injected).sum())


def test_a_rare_class_is_not_given_up():
    """With 3 % of injections, an unweighted loss would be content with low scores for all."""
    cutouts, _, injected = make_cutouts(1200, size=21, seed=8, injected_fraction=0.03)
    cells = sky_cell(cutouts["ra"], cutouts["dec"], 4096)
    split = fold_splits(cells, injected, 2, 0, 0.2, 5)[0]
    inputs = network_inputs(cutouts)
    trained = train_network(inputs, injected, split, "seed_cnn", {}, QUICK)
    scores = predict([_network("seed_cnn", trained.weights)], inputs[split.test])[0]
    assert np.median(scores[injected[split.test]]) > 0.5


def test_divergence_is_an_error():
    inputs, injected, split = _sample()
    broken = inputs.copy()
    broken[split.train] = np.nan
    with pytest.raises(TrainingDivergedError, match="Fold 0: the loss of epoch 1 is nan"):
        train_network(broken, injected, split, "seed_cnn", {}, QUICK)


def test_dihedral_is_the_symmetry_group_of_the_square():
    stamp = torch.arange(9.0).reshape(1, 1, 3, 3)
    images = dihedral(stamp.repeat(8, 1, 1, 1), np.arange(8))
    assert len({tuple(image.flatten().tolist()) for image in images}) == 8
    assert (images[:, 0, 1, 1] == 4).all()
    assert torch.equal(images[0], stamp[0])
    assert torch.equal(images[4, 0], torch.fliplr(stamp[0, 0]))
    assert torch.equal(images.sum(dim=(1, 2, 3)), torch.full((8,), 36.0))


def test_torch_gets_its_state_back():
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with deterministic_torch(1, 2):
        first = torch.rand(1)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 2
    with deterministic_torch(1):
        assert torch.equal(torch.rand(1), first)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before[1:]
