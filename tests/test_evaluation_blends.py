import dataclasses

import numpy as np
import pytest
import yaml
from dia_vetting.blends.schemas import DIA_SOURCE_BLEND
from dia_vetting.reliability.evaluate_reliability import EvaluateReliabilityTask
from dia_vetting.reliability.evaluation_blends import blend_figures
from dia_vetting.reliability.evaluation_rows import join_rows
from dia_vetting.reliability.metrics import Sample
from evaluation_samples import make_detector

VISITS = (1, 2, 3)


def make_blends(inputs, seed=5):
    """Flags of all but every tenth source, in another order."""
    rng = np.random.default_rng(seed)
    labels = inputs.labels[rng.permutation(len(inputs.labels))]
    labels = labels[np.arange(len(labels)) % 10 > 0]
    p_blend = rng.random(len(labels))
    p_blend[::10] = np.nan
    values = {name: labels[name] for name in ("diaSourceId", "visit", "detector", "band", "ra", "dec")}
    zeros = np.zeros(len(labels))
    answer = {"n_sources": zeros, "overlap_area": zeros, "sextractor_blend": zeros, "flags": zeros}
    return DIA_SOURCE_BLEND.build(
        values | answer | {"p_blend": p_blend, "blendVersion": np.full(len(labels), "a")}
    )


def test_blends_join_by_id_and_what_is_not_known_is_nan():
    inputs = make_detector(1)
    blends = make_blends(inputs)
    rows = join_rows(dataclasses.replace(inputs, blends=blends))
    by_id = dict(zip(blends["diaSourceId"], blends["p_blend"], strict=True))
    expected = [by_id.get(key, np.nan) for key in rows["diaSourceId"]]
    np.testing.assert_array_equal(rows["p_blend"], np.float32(expected))
    assert 0 < np.isnan(rows["p_blend"]).sum() < len(rows)
    assert "p_blend" not in join_rows(inputs).colnames


def test_parts_are_measured_on_their_own():
    """Blends are told apart by a coin, the others perfectly; what is not flagged counts in neither."""
    rng = np.random.default_rng(1)
    n = 3000
    positive, p_blend = rng.random(n) < 0.4, rng.random(n)
    p_blend[:300] = np.nan
    score = np.where(p_blend >= 0.5, rng.random(n), np.where(positive, 0.9, 0.1))
    sample = Sample(score, positive, rng.integers(0, 200, n), np.full(n, 10.0))
    figures = blend_figures(sample, p_blend, 0.5, {"fixed": 0.5}, 100, 0)
    assert set(figures) == {"blended", "not_blended", "not_flagged"}
    assert figures["blended"]["n_positive"] == (positive & (p_blend >= 0.5)).sum()
    assert sum(figures[name]["n_positive"] + figures[name]["n_negative"] for name in figures) == n
    blended, others = figures["blended"], figures["not_blended"]
    assert blended["auc"]["low"] < 0.5 < blended["auc"]["high"]
    assert others["auc"]["value"] == 1.0
    at = blended["at_threshold"]["fixed"]
    called = score[positive & (p_blend >= 0.5)] >= 0.5
    assert at["sensitivity"]["value"] == pytest.approx(called.mean())
    assert others["at_threshold"]["fixed"]["false_positive_rate"]["value"] == 0
    empty = blend_figures(sample, np.zeros(n), 0.5, {"fixed": 0.5}, 100, 0)["blended"]
    assert empty["n_positive"] == empty["n_negative"] == 0
    assert np.isnan(empty["auc"]["value"])


def make_task(**settings):
    config = EvaluateReliabilityTask.ConfigClass()
    config.replicates = 100
    for name, value in settings.items():
        setattr(config, name, value)
    return EvaluateReliabilityTask(config=config)


def test_the_task_has_figures_of_blends_where_it_is_told():
    inputs = [make_detector(visit) for visit in VISITS]
    flagged = [dataclasses.replace(one, blends=make_blends(one)) for one in inputs]
    result = make_task(doBlends=True, blendThreshold=0.8).run(flagged, {"fixed": 0.5})
    plain = make_task().run(inputs, {"fixed": 0.5}).metrics["comparisons"]
    for name, comparison in result.metrics["comparisons"].items():
        figures = comparison["blends"]
        counted = sum(part["n_positive"] + part["n_negative"] for part in figures.values())
        assert counted == comparison["all"]["n_positive"] + comparison["all"]["n_negative"]
        assert 3 * figures["blended"]["n_negative"] < figures["not_blended"]["n_negative"]
        assert "blends" not in plain[name]
    assert "p_blend" not in result.truth.colnames
    yaml.safe_dump(result.metrics)


def test_blends_are_an_input_only_where_they_are_asked_for():
    config = EvaluateReliabilityTask.ConfigClass()
    assert "blends" not in config.ConnectionsClass(config=config).inputs
    config.doBlends = True
    connections = config.ConnectionsClass(config=config)
    assert "blends" in connections.inputs
    assert connections.blends.minimum == 0
