"""Self-influence and label quality: planted wrong labels come to the top of both rankings."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from dia_vetting.extras import MissingPackageError, optional_import
from dia_vetting.reliability.influence import influence_table, label_quality, self_influence, trained_on
from dia_vetting.reliability.schemas import RELIABILITY_INFLUENCE
from reliability_samples import lazily, make_cutouts, trained_task
from scipy.optimize import minimize
from scipy.special import expit

N, FOLDS, FEATURES = 1000, 4, 6


def _fit(features, labels):
    """Return weights and bias of a logistic regression whose classes weigh the same."""
    design = np.column_stack([features, np.ones(len(features))])
    weight = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))

    def loss(w):
        z = design @ w
        gradient = design.T @ (weight * (expit(z) - labels)) / len(z) + 1e-3 * w
        return np.mean(weight * (np.logaddexp(0, z) - labels * z)) + 5e-4 * w @ w, gradient

    return minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x


def _cross_fit(features, labels, rng):
    """Return logits of one model per fold (K, N), which rows each trained on, and the fold of each row."""
    fold = rng.integers(FOLDS, size=N)
    models = [_fit(features[fold != k], labels[fold != k]) for k in range(FOLDS)]
    logits = np.array([features @ w[:-1] + w[-1] for w in models])
    return logits, trained_on([np.flatnonzero(fold != k) for k in range(FOLDS)], N), fold


def _classes(rng):
    """Return features of two classes, labels of which 3 % are wrong, and which ones are."""
    truth = rng.random(N) < 0.2
    features = rng.normal(size=(N, FEATURES)) + np.where(truth, 1.0, -1.0)[:, None]
    wrong = np.zeros(N, dtype=bool)
    wrong[rng.choice(N, size=int(0.03 * N), replace=False)] = True
    return features, truth ^ wrong, wrong


@pytest.fixture(scope="module")
def planted():
    """Return labels of which 3 % are wrong, which ones, their influence and out-of-fold scores."""
    rng = np.random.default_rng(5)
    features, labels, wrong = _classes(rng)
    logits, trained, fold = _cross_fit(features, labels, rng)
    norms = np.broadcast_to((features**2).sum(axis=1), (FOLDS, N))
    return labels, wrong, self_influence(logits, norms, labels, trained), expit(logits[fold, np.arange(N)])


def _top(values, wrong):
    """Return the fraction of the wrong ones that are among the 6 % with the highest values."""
    return np.mean(np.isin(np.flatnonzero(wrong), np.argsort(-values)[: int(0.06 * N)]))


def test_labels_learnt_by_heart_are_found_all_the_same():
    """A model with a feature of its own for each row fits them all: only the others see what is wrong."""
    rng = np.random.default_rng(6)
    features, labels, wrong = _classes(rng)
    wide = np.column_stack([features, 6.0 * np.eye(N)])
    logits, trained, _ = _cross_fit(wide, labels, rng)
    norms = np.broadcast_to((features**2).sum(axis=1), (FOLDS, N))
    in_fold = np.where(trained, (expit(logits) - labels) ** 2, 0.0)
    assert np.all((logits > 0) == labels, where=trained)
    assert in_fold.max() < 0.25
    assert _top(self_influence(logits, norms, labels, trained), wrong) >= 0.8


def _sources(labels):
    n = len(labels)
    zeros = np.zeros(n)
    columns = {
        "diaSourceId": np.arange(n) + 7,
        "visit": zeros,
        "detector": zeros,
        "band": np.full(n, "r"),
        "ra": zeros,
        "dec": zeros,
        "snr": zeros + 9.0,
        "state": np.where(labels, "injected", "unlabelled"),
    }
    return Table(columns)


def test_planted_wrong_labels_are_at_the_top(planted):
    labels, wrong, influence, scores = planted
    table = influence_table(_sources(labels), labels, influence, scores, scores, {"model_version": "abc"})
    RELIABILITY_INFLUENCE.check(table)
    assert table.meta["model_version"] == "abc"
    for rank in ("influence_rank", "quality_rank"):
        assert sorted(table[rank]) == list(range(1, N + 1))
        assert np.mean(np.asarray(table[rank])[wrong] <= 0.06 * N) >= 0.8, rank
    doubted = np.asarray(table["doubted"])
    assert np.mean(wrong[doubted]) > 0.8
    assert np.mean(doubted[wrong]) > 0.6


def test_wrong_labels_of_trained_networks_are_at_the_top():
    cutouts, labels, _ = make_cutouts(700, size=21)
    wrong = np.random.default_rng(8).choice(labels["diaSourceId"], size=21, replace=False)
    flip = np.isin(labels["diaSourceId"], wrong)
    was = np.asarray(labels["state"])
    labels["state"] = np.where(flip, np.where(was == "injected", "unlabelled", "injected"), was)
    task = trained_task(strategy="plain", members=1, folds=2, epochs=8, doInfluence=True)
    result = task.run(lazily(cutouts, labels), "Synthetic")
    table = RELIABILITY_INFLUENCE.check(result.influence)
    assert len(table) == np.sum(result.training["used"])
    planted = np.isin(table["diaSourceId"], wrong)
    assert planted.sum() == 21
    for rank in ("influence_rank", "quality_rank"):
        assert np.mean(np.asarray(table[rank])[planted] <= 0.06 * len(table)) >= 0.8, rank


def test_ranks_follow_the_values(planted):
    labels, _, influence, scores = planted
    table = influence_table(_sources(labels), labels, influence, scores, scores)
    assert np.argmax(influence) == np.flatnonzero(table["influence_rank"] == 1)
    assert np.all(np.diff(table["self_influence"][np.argsort(table["influence_rank"])]) <= 0)
    assert np.all(np.diff(table["label_quality"][np.argsort(table["quality_rank"])]) >= 0)
    assert np.all((table["label_quality"] >= 0) & (table["label_quality"] <= 1))


def test_self_influence_is_the_squared_gradient_of_the_last_layer():
    torch.manual_seed(1)
    layer = torch.nn.Linear(5, 1)
    features = torch.randn(7, 5)
    injected = np.array([1, 0, 1, 1, 0, 0, 1], dtype=bool)
    expected = []
    for row, label in zip(features, injected, strict=True):
        target = torch.tensor([float(label)])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(layer(row), target)
        gradients = torch.autograd.grad(loss, layer.parameters())
        expected.append(sum(float(g.square().sum()) for g in gradients))
    found = self_influence(
        layer(features).detach().numpy().T,
        features.square().sum(1).numpy()[None],
        injected,
        np.ones((1, 7), dtype=bool),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_networks_that_saw_a_row_weigh_as_much_as_those_that_did_not():
    logits = np.array([[0.0, 0.0], [np.log(3), 0.0], [np.log(3), 0.0]])
    norms = np.array([[1.0, 3.0], [7.0, 5.0], [15.0, 7.0]])
    trained = trained_on([np.array([0]), np.array([], dtype=int), np.array([], dtype=int)], 2)
    found = self_influence(logits, norms, np.array([True, False]), trained)
    unseen = 0.0625 * (8 + 16) / 2, 0.25 * (4 + 6 + 8) / 3
    np.testing.assert_allclose(found, [(0.25 * 2 + unseen[0]) / 2, unseen[1]])


def test_rows_without_a_score_have_no_rank(planted):
    labels, _, influence, scores = planted
    scores = scores.copy()
    scores[8] = np.nan
    table = influence_table(_sources(labels), labels, influence, scores, scores)
    assert table["quality_rank"][8] == 0
    assert np.isnan(table["label_quality"][8])
    assert not table["doubted"][8]
    assert max(table["quality_rank"]) == N - 1
    assert min(table["influence_rank"]) == 1


def test_label_quality_does_not_depend_on_how_confident_a_class_is():
    """Mean confidence is taken off: a class whose scores are all modest is not doubted for that."""
    labels = np.repeat([True, False], 50)
    scores = np.where(labels, 0.6, 0.01) + np.linspace(-0.005, 0.005, 100)
    quality, doubted = label_quality(scores, labels)
    assert not doubted.any()
    assert abs(quality[labels].mean() - quality[~labels].mean()) < 1e-6


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(
        MissingPackageError, match=r"no_such_package \(pip install 'dia_vetting\[influence\]'\)"
    ):
        optional_import("no_such_package", "influence")
