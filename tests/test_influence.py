"""Self-influence and label quality: planted wrong labels come to the top of both rankings."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from dia_vetting.extras import MissingPackageError, optional_import
from dia_vetting.reliability.influence import influence_table, label_quality, self_influence, trained_on
from dia_vetting.reliability.schemas import RELIABILITY_INFLUENCE
from scipy.optimize import minimize
from scipy.special import expit

N, FOLDS, FEATURES = 2000, 4, 6


def _fit(features, labels):
    """Return weights and bias of a logistic regression whose classes weigh the same."""
    design = np.column_stack([features, np.ones(len(features))])
    weight = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))

    def loss(w):
        z = design @ w
        gradient = design.T @ (weight * (expit(z) - labels)) / len(z) + 1e-3 * w
        return np.mean(weight * (np.logaddexp(0, z) - labels * z)) + 5e-4 * w @ w, gradient

    return minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x


@pytest.fixture(scope="module")
def planted():
    """Return labels of which 3 % are wrong, which ones, and what one linear model per fold says."""
    rng = np.random.default_rng(5)
    truth = rng.random(N) < 0.2
    features = rng.normal(size=(N, FEATURES)) + np.where(truth, 1.0, -1.0)[:, None]
    wrong = np.zeros(N, dtype=bool)
    wrong[rng.choice(N, size=int(0.03 * N), replace=False)] = True
    labels = truth ^ wrong
    fold = rng.integers(FOLDS, size=N)
    models = [_fit(features[fold != k], labels[fold != k]) for k in range(FOLDS)]
    logits = np.array([features @ w[:-1] + w[-1] for w in models])
    trained = trained_on([np.flatnonzero(fold != k) for k in range(FOLDS)], N)
    norms = np.broadcast_to((features**2).sum(axis=1), (FOLDS, N))
    return labels, wrong, self_influence(logits, norms, labels, trained), expit(logits[fold, np.arange(N)])


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


def test_only_networks_that_trained_on_a_row_are_asked():
    logits = np.array([[0.0, 0.0, 9.0], [np.log(3), 0.0, 9.0]])
    norms = np.array([[1.0, 3.0, 1.0], [7.0, 5.0, 1.0]])
    trained = trained_on([np.array([0, 1]), np.array([0])], 3)
    found = self_influence(logits, norms, np.array([True, False, False]), trained)
    np.testing.assert_allclose(found, [(0.25 * 2 + 0.0625 * 8) / 2, 0.25 * 4, np.nan])


def test_rows_without_influence_or_score_are_last_of_none(planted):
    labels, _, influence, scores = planted
    influence, scores = influence.copy(), scores.copy()
    influence[3], scores[8] = np.nan, np.nan
    table = influence_table(_sources(labels), labels, influence, scores, scores)
    assert table["influence_rank"][3] == 0
    assert table["quality_rank"][8] == 0
    assert not table["doubted"][8]
    assert max(table["influence_rank"]) == max(table["quality_rank"]) == N - 1


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
