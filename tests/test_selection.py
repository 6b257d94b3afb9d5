"""Figures on validation rows: right where real sources hide among the unlabelled."""

import numpy as np
import pytest
from dia_vetting.reliability.curves import threshold_at_fpr
from dia_vetting.reliability.metrics import Sample
from dia_vetting.reliability.selection import (
    LARGEST_PRIOR,
    Figures,
    figures,
    threshold_at_true_fpr,
    validation_prior,
)
from sklearn.metrics import log_loss


def _logits(n=20_000, prior=0.0, separation=4.0, seed=1):
    """Return logits, which rows are injected, and which of the unlabelled are artefacts."""
    rng = np.random.default_rng(seed)
    injected = rng.random(n) < 0.3
    real = injected | (rng.random(n) < prior)
    logits = rng.normal(np.where(real, separation / 2, -separation / 2), 1.0).astype(np.float32)
    return logits, injected, ~real


def test_without_hidden_ones_it_is_the_plain_threshold():
    logits, injected, _ = _logits(999)
    sample = Sample(logits.astype(float), injected, np.arange(999), np.full(999, np.nan))
    for rate in (0.0, 0.01, 0.2):
        level = np.float32(threshold_at_fpr(sample, rate))
        threshold = threshold_at_true_fpr(logits, injected, 0.0, rate)
        np.testing.assert_array_equal(logits >= threshold, logits >= np.nextafter(level, np.float32(np.inf)))
        assert np.mean(logits[~injected] >= threshold) <= rate


@pytest.mark.parametrize("prior", [0.05, 0.25])
def test_the_rate_is_that_of_the_artefacts(prior):
    logits, injected, artefact = _logits(100_000, prior, separation=3.0)
    threshold = threshold_at_true_fpr(logits, injected, prior, 0.05)
    assert np.mean(logits[artefact] >= threshold) == pytest.approx(0.05, abs=0.006)
    naive = threshold_at_true_fpr(logits, injected, 0.0, 0.05)
    assert np.mean(logits[artefact] >= naive) < 0.03


def test_a_threshold_is_always_found():
    rng = np.random.default_rng(1)
    scores, injected = rng.integers(0, 3, 50).astype(np.float32), np.arange(50) < 25
    for prior in (0.0, 0.5):
        assert np.isfinite(threshold_at_true_fpr(scores, injected, prior, 0.0))
    assert not (scores[~injected] >= threshold_at_true_fpr(scores, injected, 0.0, 0.0)).any()


def test_figures_against_independent_code():
    logits, injected, _ = _logits(2000)
    found = figures(logits, injected, 0.0, 0.05)
    weights = np.where(injected, 1 / injected.sum(), 1 / (~injected).sum())
    probability = 1 / (1 + np.exp(-logits.astype(float)))
    assert found.loss == pytest.approx(log_loss(injected, probability, sample_weight=weights), rel=1e-5)
    threshold = np.quantile(logits[~injected], 0.95)
    assert found.tpr == pytest.approx(np.mean(logits[injected] > threshold), abs=2e-3)


def test_few_rows_are_compared_at_a_rate_that_they_can_tell():
    logits, injected, _ = _logits(700, 0.25, separation=3.0)
    n_unlabelled = int((~injected).sum())
    rate = 2 * np.sqrt(0.25 * 0.75 / n_unlabelled)
    assert 0.03 < rate < 0.05
    expected = np.mean(logits[injected] >= threshold_at_true_fpr(logits, injected, 0.25, rate))
    assert figures(logits, injected, 0.25, 0.01).tpr == expected
    assert figures(logits, injected, 0.25, 0.2).tpr > expected


def test_the_loss_is_that_of_clean_labels():
    logits, injected, artefact = _logits(200_000, 0.2, separation=3.0)
    clean = injected | artefact
    expected = figures(logits[clean], injected[clean], 0.0, 0.05)
    found = figures(logits, injected, 0.2, 0.05)
    assert found.loss == pytest.approx(expected.loss, rel=0.03)
    assert found.tpr == pytest.approx(expected.tpr, abs=0.01)
    assert figures(logits, injected, 0.0, 0.05).loss > 1.5 * expected.loss


def test_figures_are_ordered_by_rate_then_loss():
    assert Figures(0.9, -0.5) > Figures(0.8, -0.1)
    assert Figures(0.9, -0.1) > Figures(0.9, -0.5)


@pytest.mark.parametrize("prior", [0.0, 0.1, 0.25])
def test_prior(prior):
    logits, injected, _ = _logits(5000, prior)
    value, low = validation_prior(logits, injected)
    assert value == pytest.approx(prior, abs=0.03)
    assert max(value - 0.06, 0) <= low <= value


def test_prior_of_a_network_that_knows_nothing():
    rng = np.random.default_rng(1)
    assert validation_prior(rng.random(500).astype(np.float32), np.arange(500) < 200)[0] == LARGEST_PRIOR


def test_too_few_rows_for_a_prior():
    assert validation_prior(np.zeros(50, np.float32), np.arange(50) < 10) == (0.0, 0.0)
