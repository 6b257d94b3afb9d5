import numpy as np
import pytest
from dia_vetting.reliability.contamination import contamination_corrected
from dia_vetting.reliability.folds import TooFewExamplesError
from dia_vetting.reliability.metrics import Sample
from unlabelled_populations import population


def sample_of(rows, n_groups=300, seed=1):
    group = np.random.default_rng(seed).integers(0, n_groups, len(rows.logit))
    return Sample(rows.logit, rows.injected, group, np.full(len(rows.logit), np.nan))


def corrected(sample, threshold, n_replicates=200):
    return contamination_corrected(sample, threshold, sample.weights(n_replicates, np.random.default_rng(2)))


def truth_of(rows, threshold):
    called, unlabelled = rows.logit >= threshold, ~rows.injected
    artefact = unlabelled & ~rows.real
    return called[artefact].mean(), rows.real[called & unlabelled].mean()


@pytest.mark.parametrize("kind", ["gauss", "skewed", "hard", "saturated"])
@pytest.mark.parametrize("hidden", [0.05, 0.25])
def test_corrected_figures_are_those_of_the_truth(kind, hidden):
    rows = population(kind, 0.98, hidden, 40_000, 10_000, 1)
    threshold = np.quantile(rows.logit[rows.injected], 0.2)
    figures, (fpr, purity) = corrected(sample_of(rows), threshold), truth_of(rows, threshold)
    np.testing.assert_allclose(figures["false_positive_rate"]["value"], fpr, atol=0.1 * hidden)
    np.testing.assert_allclose(figures["purity"]["value"], purity, rtol=0.12)
    # Without the correction, what is hidden counts as artefacts.
    assert figures["called_unlabelled"]["value"] > fpr + 0.7 * hidden * (1 - fpr)
    assert not figures["false_positive_rate_clipped"]
    assert not figures["purity_clipped"]


def test_intervals_cover_the_truth():
    covered = []
    for seed in range(24):
        rows = population("gauss", 0.98, 0.15, 4_000, 1_000, seed)
        threshold = np.quantile(rows.logit[rows.injected], 0.05)
        figures = corrected(sample_of(rows, seed=seed), threshold)
        pairs = zip(("false_positive_rate", "purity"), truth_of(rows, threshold), strict=True)
        covered += [figures[name]["low"] <= value <= figures[name]["high"] for name, value in pairs]
    assert np.mean(covered) >= 0.88


def test_replicates_draw_the_prior_with_the_counts():
    # High above the artefacts P_u is about pi TPR in every replicate: part of the noise of both cancels.
    rows = population("gauss", 0.9999, 0.2, 6_000, 1_500, 3)
    figures = corrected(sample_of(rows), 2.0)
    names = ("prior", "called_unlabelled")
    prior, called = ((figures[n]["high"] - figures[n]["low"]) / figures[n]["value"] for n in names)
    assert figures["purity"]["high"] - figures["purity"]["low"] < 0.75 * np.hypot(prior, called)


def test_clipping_is_told():
    # The hidden reach less high than the injected, so that fewer are called than pi TPR says.
    rng = np.random.default_rng(4)
    score = np.concatenate([rng.normal(6, 1, 800), rng.normal(0, 1, 2_000), rng.normal(6, 0.3, 400)])
    sample = Sample(score, np.arange(len(score)) < 800, np.arange(len(score)), np.full(len(score), np.nan))
    figures = corrected(sample, 7.0)
    assert figures["false_positive_rate_clipped"]
    assert figures["false_positive_rate"]["value"] == 0 == figures["false_positive_rate"]["low"]
    nothing = corrected(sample, 99.0)
    assert not nothing["false_positive_rate_clipped"]
    assert np.isnan([nothing["purity"]["value"], nothing["purity"]["low"]]).all()
    some = corrected(sample, np.sort(score[800:])[-1])
    assert some["purity_clipped"]
    assert some["purity"]["value"] == some["purity"]["high"] == 1


def test_nothing_hidden_leaves_the_counts_as_they_are():
    rows = population("gauss", 0.999, 0.0, 5_000, 1_000, 5)
    figures = corrected(sample_of(rows), -1.0)
    np.testing.assert_allclose(
        figures["false_positive_rate"]["value"], figures["called_unlabelled"]["value"], atol=0.003
    )
    assert figures["purity"]["value"] < 0.2
    assert figures["false_positive_rate"]["high"] > 0


def test_all_real_has_no_false_positive_rate():
    injected = np.arange(200) < 100
    sample = Sample(np.zeros(200), injected, np.arange(200), np.full(200, np.nan))
    figures = corrected(sample, -1.0)
    assert figures["prior"]["value"] == 1
    assert np.isnan(figures["false_positive_rate"]["value"])
    assert figures["purity"]["value"] == 1


def test_too_few_rows_are_told():
    sample = Sample(np.zeros(50), np.arange(50) < 5, np.arange(50), np.full(50, np.nan))
    with pytest.raises(TooFewExamplesError, match="5 injected and 45 unlabelled"):
        corrected(sample, 0.0)
