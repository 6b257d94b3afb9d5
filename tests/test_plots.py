import io

import numpy as np
import pytest
from dia_vetting.reliability.evaluation import EvaluationSettings, evaluate
from dia_vetting.reliability.evaluation_hosts import add_hosts
from dia_vetting.reliability.evaluation_rows import join_rows
from dia_vetting.reliability.examples import Example
from dia_vetting.reliability.plots_binned import host_figure, magnitude_figure, snr_figure
from dia_vetting.reliability.plots_calibration import calibration_figure
from dia_vetting.reliability.plots_contamination import contamination_figure
from dia_vetting.reliability.plots_curves import confusion_figure, roc_pr_figure, score_histogram_figure
from dia_vetting.reliability.plots_subsets import subset_figure
from dia_vetting.reliability.plots_triplets import triplets_figure
from evaluation_samples import make_detector, make_transients
from matplotlib.colors import to_rgba

THRESHOLDS = {"fixed": 0.5}


@pytest.fixture(scope="module", params=[True, False], ids=["truth", "no truth"])
def evaluated(request):
    rows = join_rows(make_detector(1, known=request.param))
    add_hosts(rows, make_transients(1))
    return rows, *evaluate(rows, EvaluationSettings(THRESHOLDS, replicates=100, score_prevalence=0.2))


def rendered(figure):
    """The bytes of a small PNG: drawing it is half of the test."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=30)
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
    roc, precision_recall, _, required = figure.axes
    assert len(roc.collections) == len(metrics["comparisons"])
    (star,) = (line for line in required.lines if line.get_marker() == "*")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([0.90], [0.95])
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


def test_star_of_the_roc_curve_is_the_requirement_at_that_prevalence(evaluated):
    _, metrics, curves = evaluated
    stars = [line for line in roc_pr_figure(curves, metrics).axes[2].lines if line.get_marker() == "*"]
    assert len(stars) == len(metrics["comparisons"])
    for star, comparison in zip(stars, metrics["comparisons"].values(), strict=True):
        n_positive, n_negative = comparison["snr6"]["n_positive"], comparison["snr6"]["n_negative"]
        hits, false = 0.9 * n_positive, star.get_xdata()[0] * n_negative
        np.testing.assert_allclose(hits / (hits + false), 0.95)


def test_magnitude_and_host_figures_hold_the_table(evaluated):
    _, _, curves = evaluated
    figure = magnitude_figure(curves, 0.5)
    assert "magnitude" in figure.axes[0].get_xlabel()
    assert rendered(figure)
    figure = host_figure(curves, THRESHOLDS)
    for axis, quantity in zip(figure.axes, ("surface_brightness", "offset", "offset_radii"), strict=True):
        kept = curves[(curves["curve"] == f"completeness_{quantity}") & (curves["n"] > 0)]
        assert len(kept) > 2
        (points,) = axis.containers
        np.testing.assert_allclose(points.lines[0].get_ydata(), kept["y"])
        assert axis.get_xlabel()
    assert rendered(figure)


def test_no_host_is_said(evaluated):
    _, _, curves = evaluated
    figure = host_figure(curves[curves["curve"] == "roc"], THRESHOLDS)
    assert texts(figure) == ["no source in any bin"] * 3
    assert rendered(figure)


def test_reliability_diagram(evaluated):
    _, metrics, curves = evaluated
    figure = calibration_figure(curves, metrics)
    diagram = figure.axes[0]
    assert len(diagram.containers) == len(metrics["comparisons"])
    kept = curves[(curves["curve"] == "calibration") & (curves["subset"] == "all")]
    kept = kept[(kept["comparison"] == "injected_vs_unlabelled") & (kept["n"] > 0)]
    np.testing.assert_allclose(diagram.containers[0].lines[0].get_xdata(), kept["x"])
    np.testing.assert_allclose(diagram.containers[0].lines[0].get_ydata(), kept["y"])
    assert len(figure.axes[2].containers) == 2  # signs of the flux
    assert rendered(figure)
    unknown = calibration_figure(curves[curves["curve"] == "roc"], metrics)
    assert all("not known" in text for text in texts(unknown))
    assert len(texts(unknown)) == 3


def test_subset_and_contamination_figures(evaluated):
    _, metrics, _ = evaluated
    figure = subset_figure(metrics)
    injected = metrics["comparisons"]["injected_vs_unlabelled"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert f"negative flux ({injected['subsets']['negative_flux']['n_positive']})" in names
    assert len(figure.axes[0].containers) == min(len(metrics["comparisons"]), 3)
    assert rendered(figure)
    figure = contamination_figure(metrics)
    shown = figure.axes[1].containers[0].lines[0].get_xdata()
    by_label = metrics["contamination"]["all"]["at_threshold"]["fixed"]["false_positive_rate"]["labels"]
    np.testing.assert_allclose(shown[0], by_label["value"])
    known = "real_vs_artefact" in metrics["comparisons"]
    assert len(figure.axes[2].containers) == 2 + known
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


def test_another_sky_is_no_other_grey():
    y, x = np.mgrid[:30, :30]
    galaxy = (300 * np.exp(-0.05 * ((x - 15) ** 2 + (y - 15) ** 2))).astype(np.float32)
    figure = triplets_figure({"Best": [make_example(science=galaxy + 500, template=galaxy)]})
    picture = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(picture[:, :30], picture[:, 32:62], atol=0.02)
    assert np.ptp(picture[:, :30, 0]) > 0.9


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_flat_or_empty_stamps_are_drawn(value):
    flat = np.full((30, 30), value, np.float32)
    example = make_example(science=flat, template=flat, difference=flat, variance=flat)
    assert rendered(triplets_figure({"All": [example]}))
    assert rendered(triplets_figure({}))
