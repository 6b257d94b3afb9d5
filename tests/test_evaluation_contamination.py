import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.reliability.evaluation_contamination import contamination_figures, corrected_purity
from dia_vetting.reliability.metrics import Sample


def make(n=6000, hidden=0.15, seed=1, groups=60):
    """A quarter injected; of the unlabelled a fraction is real, and scores like the injected."""
    rng = np.random.default_rng(seed)
    injected = rng.random(n) < 0.25
    real = injected | (rng.random(n) < hidden)
    score = 1 / (1 + np.exp(-rng.normal(np.where(real, 2.5, -2.5), 1.3)))
    truth = np.where(injected, "injected", np.where(real, "hidden", "artefact"))
    sample = Sample(score, injected, rng.integers(0, groups, n), 5 + rng.exponential(8, n))
    return Table({"truth_class": truth}), sample


def figures(rows, sample, parts=None):
    parts = parts or {"all": np.ones(len(rows), bool)}
    return contamination_figures(rows, sample, parts, {"fixed": 0.5}, 200, 0)


def test_truth_and_labels_are_counts():
    rows, sample = make()
    found = figures(rows, sample)["all"]
    truth, called = np.asarray(rows["truth_class"]), sample.score >= 0.5
    hidden, artefact, unlabelled = truth == "hidden", truth == "artefact", truth != "injected"
    np.testing.assert_allclose(found["prior"]["truth"]["value"], hidden[unlabelled].mean())
    at = found["at_threshold"]["fixed"]
    fpr, purity = at["false_positive_rate"], at["purity"]
    np.testing.assert_allclose(fpr["labels"]["value"], called[unlabelled].mean())
    np.testing.assert_allclose(fpr["truth"]["value"], called[artefact].mean())
    np.testing.assert_allclose(purity["labels"]["value"], (truth == "injected")[called].mean())
    np.testing.assert_allclose(purity["truth"]["value"], (~artefact)[called].mean())
    np.testing.assert_allclose(at["completeness"]["truth"]["value"], called[hidden].mean())
    only = at["purity_of_unlabelled"]
    np.testing.assert_allclose(only["truth"]["value"], hidden[called & unlabelled].mean())


def test_correction_is_nearer_to_the_truth_than_the_labels_are():
    found = figures(*make())["all"]
    prior = found["prior"]
    assert prior["estimated"]["low"] < prior["truth"]["value"] < prior["estimated"]["high"]
    for name in ("false_positive_rate", "purity"):
        figure = found["at_threshold"]["fixed"][name]
        labels, corrected, truth = (figure[c]["value"] for c in ("labels", "corrected", "truth"))
        assert abs(corrected - truth) < 0.3 * abs(labels - truth)


@pytest.mark.parametrize("hidden", [0.0, 0.1])
def test_interval_of_the_corrected_purity_holds_the_truth(hidden):
    held = 0
    for seed in range(40):
        rows, sample = make(3000, hidden, seed)
        weights = sample.weights(200, np.random.default_rng(seed))
        found = corrected_purity(sample, 0.5, weights)
        truth = (np.asarray(rows["truth_class"]) != "artefact")[sample.score >= 0.5].mean()
        assert found.low <= found.value <= found.high <= 1
        held += found.low <= truth <= found.high
    assert held >= 36


def test_small_parts_have_their_numbers_only_and_no_truth_no_column():
    rows, sample = make(500)
    few = np.arange(500) < 10
    found = figures(rows, sample, {"all": np.ones(500, bool), "few": few})
    assert set(found["few"]) == {"n_injected", "n_unlabelled"}
    assert found["few"]["n_injected"] + found["few"]["n_unlabelled"] == 10
    rows.remove_column("truth_class")
    found = figures(Table({"id": np.arange(500)}), sample)["all"]
    assert set(found["prior"]) == {"estimated"}
    assert set(found["at_threshold"]["fixed"]["purity"]) == {"labels", "corrected"}


def test_nothing_called():
    _, sample = make(500)
    found = corrected_purity(sample, 1.1, sample.weights(50, np.random.default_rng(1)))
    assert np.isnan([found.value, found.low, found.high]).all()
