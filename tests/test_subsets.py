import numpy as np
from astropy.table import Table
from dia_vetting.reliability.metrics import Sample
from dia_vetting.reliability.subsets import (
    COMPLETENESS_ONLY,
    PAIRS,
    SUBSETS,
    pair_figures,
    subset_figures,
    subset_masks,
)

THRESHOLDS = {"fixed": 0.5}


def make_rows(n=4000, seed=1):
    """Rows of which negative and incomplete ones are lost more often; loud ones are seldom negative."""
    rng = np.random.default_rng(seed)
    positive, snr = rng.random(n) < 0.4, 5 + rng.exponential(8, n)
    sign = np.where(rng.random(n) < np.where(snr < 8, 0.6, 0.1), -1, 1)
    valid = np.where(rng.random(n) < 0.1, 0.8, 1.0)
    found = rng.random(n) < np.where(snr < 8, 0.7, 0.99) - 0.2 * (valid < 1)
    score = np.where(positive, np.where(found, 0.9, 0.1), np.where(rng.random(n) < 0.03, 0.9, 0.1))
    kind = np.where(positive, np.where(rng.random(n) < 0.3, "varying", "appearing"), "")
    rows = Table({"snr": snr, "psfFlux": sign * snr, "valid_fraction": valid, "injection_kind": kind})
    return rows, Sample(score, positive, rng.integers(0, 30, n), snr)


def figures(rows, sample):
    weights = sample.weights(200, np.random.default_rng(2))
    masks = subset_masks(rows)
    return (
        subset_figures(sample, masks, THRESHOLDS, weights, 0.03),
        pair_figures(sample, masks, THRESHOLDS, weights),
    )


def test_subsets_partition_the_rows():
    rows, sample = make_rows()
    rows["psfFlux"][0] = rows["valid_fraction"][0] = np.nan
    masks = subset_masks(rows)
    assert list(masks) == list(SUBSETS)
    snr = np.sum([mask for name, mask in masks.items() if name.startswith("snr")], axis=0)
    assert (snr == 1).all()
    for pair in (("positive_flux", "negative_flux"), ("whole_stamp", "invalid_pixels")):
        counted = masks[pair[0]].astype(int) + masks[pair[1]]
        np.testing.assert_array_equal(counted, np.arange(len(rows)) > 0)
    assert masks["varying"].sum() == (rows["injection_kind"] == "varying").sum() > 100
    rows["truth_class"] = np.where(sample.positive, "hidden", "variable")
    assert subset_masks(rows)["varying"].sum() > masks["varying"].sum()


def test_figures_are_those_of_the_rows_alone():
    rows, sample = make_rows()
    found, _ = figures(rows, sample)
    part = sample.where(np.asarray(rows["psfFlux"]) < 0)
    called = part.score >= 0.5
    mine = found["negative_flux"]
    assert (mine["n_positive"], mine["n_negative"]) == (part.positive.sum(), (~part.positive).sum())
    at = mine["at_threshold"]["fixed"]
    tpr, fpr = called[part.positive].mean(), called[~part.positive].mean()
    np.testing.assert_allclose(at["sensitivity"]["value"], tpr)
    np.testing.assert_allclose(at["false_positive_rate"]["value"], fpr)
    np.testing.assert_allclose(at["precision"]["value"], part.positive[called].mean())
    stated = 0.03 * tpr / (0.03 * tpr + 0.97 * fpr)
    np.testing.assert_allclose(at["purity_at_prevalence_0.03"]["value"], stated)
    for name in COMPLETENESS_ONLY:
        assert set(found[name]["at_threshold"]["fixed"]) == {"sensitivity"}


def test_pairs_tell_what_is_lost_from_what_is_faint():
    _, pairs = figures(*make_rows())
    assert {name: pair["compared_with"] for name, pair in pairs.items()} == PAIRS
    sign = pairs["negative_flux"]["fixed"]["completeness"]
    assert sign["difference"]["high"] < 0
    assert sign["difference_alike_in_snr"]["low"] < 0 < sign["difference_alike_in_snr"]["high"]
    edge = pairs["invalid_pixels"]["fixed"]["completeness"]
    assert edge["difference_alike_in_snr"]["high"] < 0
    assert abs(edge["difference_alike_in_snr"]["value"] + 0.2) < 0.08
    assert edge["n_part"] < edge["n_rest"]
    assert "false_positive_rate" in pairs["negative_flux"]["fixed"]
    assert "false_positive_rate" not in pairs["varying"]["fixed"]
