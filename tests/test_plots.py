import io

import numpy as np
import pytest
from dia_vetting.reliability.evaluation import EvaluationSettings, evaluate
from dia_vetting.reliability.evaluation_rows import join_rows
from dia_vetting.reliability.examples import Example
from dia_vetting.reliability.plots_curves import (
    confusion_figure,
    roc_pr_figure,
    score_histogram_figure,
    snr_figure,
)
from dia_vetting.reliability.plots_triplets import triplets_figure
from evaluation_samples import make_detector
from matplotlib.colors import to_rgba

THRESHOLDS = {"fixed": 0.5}


@pytest.fixture(scope="module", params=[True, False], ids=["truth", "no truth"])
def evaluated(request):
    rows = join_rows(make_detector(1, known=request.param))
    return rows, *evaluate(rows, EvaluationSettings(THRESHOLDS, replicates=100))


def rendered(figure):
    """The bytes of the PNG: drawing it is half of the test."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return buffer.getvalue()


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_confusion_matrix_shows_the_counts(evaluated):
    _, metrics, _ = evaluated
    figure = confusion_figure(metrics)
    assert len(figure.axes) == 2 * min(len(metrics["comparisons"]), 2)
    cell = metrics["comparisons"]["injected_vs_unlabelled"]["all"]["at_threshold"]["fixed"]["confusion"]
    shown = [int(text.split("\n")[0]) for text in texts(figure)[:4]]
    assert shown == [cell["tp"], cell["fn"], cell["fp"], cell["tn"]]
    assert rendered(figure)


def test_histogram_holds_every_scored_source_once(evaluated):
    rows, _, _ = evaluated
    figure = score_histogram_figure(rows, THRESHOLDS)
    for axis, scale in zip(figure.axes, ("linear", "log"), strict=True):
        assert axis.get_yscale() == scale
        labels = axis.get_legend_handles_labels()[1]
        counts = {label: int(label.split("(")[-1][:-1]) for label in labels}
        scored = np.isfinite(rows["reliability"])
        for state in ("injected", "unlabelled"):
            (found,) = (n for label, n in counts.items() if label.startswith(f"{state} ("))
            assert found == (scored & (rows["state"] == state)).sum()
        assert len(counts) == (3 if "truth_class" in rows.colnames else 2)
    assert rendered(figure)


def test_curves_carry_bands_and_areas(evaluated):
    _, metrics, curves = evaluated
    figure = roc_pr_figure(curves, metrics)
    roc, precision_recall = figure.axes
    assert len(roc.collections) == len(metrics["comparisons"])
    auc = metrics["comparisons"]["injected_vs_unlabelled"]["all"]["auc"]["value"]
    assert any(f"{auc:.4f}" in text.get_text() for text in roc.get_legend().get_texts())
    assert "purity" in precision_recall.get_ylabel()
    assert rendered(figure)


def test_snr_points_are_the_table(evaluated):
    _, metrics, curves = evaluated
    figure = snr_figure(curves, 0.5)
    kept = curves[(curves["comparison"] == "injected_vs_unlabelled") & (curves["curve"] == "purity_snr")]
    kept = kept[np.isfinite(kept["y"])]
    np.testing.assert_allclose(figure.axes[1].containers[0].lines[0].get_ydata(), kept["y"])
    assert len(figure.axes[1].containers) == len(metrics["comparisons"])
    assert rendered(figure)


def make_example(**planes):
    rng = np.random.default_rng(1)
    stamps = {
        name: rng.normal(0, 5, (30, 30)).astype(np.float32) for name in ("science", "template", "difference")
    }
    return Example(**{**stamps, "variance": np.full((30, 30), 25.0, np.float32), **planes}, caption="0.9")


def test_triplets_put_stamps_side_by_side_the_right_way_up():
    difference = np.zeros((30, 30), np.float32)
    difference[2, 20] = 1000.0
    science = np.full((30, 30), np.nan, np.float32)
    figure = triplets_figure({"Best": [make_example(difference=difference, science=science)], "Worst": []})
    picture = np.asarray(figure.axes[0].images[0].get_array())
    assert picture.shape == (30, 3 * 30 + 2 * 2, 4)
    np.testing.assert_allclose(picture[:, :30], np.broadcast_to(to_rgba("#F0E442"), (30, 30, 4)), atol=0.01)
    red = picture[..., 0] - picture[..., 2]
    assert np.unravel_index(red[:, 64:].argmax(), (30, 30)) == (27, 20)
    assert "0.9" in texts(figure)
    assert rendered(figure)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_flat_or_empty_stamps_are_drawn(value):
    flat = np.full((30, 30), value, np.float32)
    example = make_example(science=flat, template=flat, difference=flat, variance=flat)
    assert rendered(triplets_figure({"All": [example]}))
    assert rendered(triplets_figure({}))
