"""blends/plots_evaluation.py and plots_gallery.py: drawn, and with what they should show."""

import dataclasses
import io

import numpy as np
import pytest
from blend_samples import make_stamps
from dia_vetting.blends import evaluation
from dia_vetting.blends.evaluation import evaluation_rows
from dia_vetting.blends.plots_evaluation import confusion_figure, noise_figure, tpr_figure, transfer_figure
from dia_vetting.blends.plots_gallery import gallery_figure, worst_mistakes
from dia_vetting.blends.prediction import BlendPrediction
from dia_vetting.reliability.bootstrap import Estimate
from matplotlib.figure import Figure

COUNT = 300


@pytest.fixture(scope="module")
def sample():
    stamps, truth = make_stamps(COUNT)
    truth = dataclasses.replace(truth, snr=np.geomspace(5, 300, COUNT))
    said = BlendPrediction.unknown(np.zeros(COUNT, np.int64))
    said.p_blend[:] = np.where(truth.kind == "blend", 0.9, 0.1)
    said.p_companion[:] = np.where(truth.kind == "single", 0.1, 0.95)
    said.p_blend[[1, 4, 0]] = 0.3, 0.2, 0.8  # two blends are missed, a single source is called one
    return stamps, evaluation_rows(truth, False, np.random.default_rng(0)), said


def rendered(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=30)
    return buffer.getvalue()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in (*axis.texts, axis.title)]


def test_confusion_shows_fractions_and_counts(sample) -> None:
    _, rows, said = sample
    matrix = evaluation.confusion_matrix(rows, said)
    figure = confusion_figure({f"m{k}": matrix for k in range(5)}, "all")
    assert rendered(figure)
    assert texts(figure).count("0.980\n98") == 5
    assert len([axis for axis in figure.axes if axis.axison]) == 5
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["single", "blend", "separated"]


def test_confusion_shows_missing_scores_only_where_there_are_some(sample) -> None:
    _, rows, said = sample
    said = dataclasses.replace(said, p_blend=np.where(np.arange(COUNT) == 5, np.nan, said.p_blend))
    figure = confusion_figure({"m": evaluation.confusion_matrix(rows, said)}, "all")
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()][-1] == "no score"


def test_rates_are_drawn_where_there_are_stamps(sample) -> None:
    _, rows, said = sample
    bins = {name: evaluation.tpr_in_bins(rows, said, 0.5, name) for name in evaluation.EDGES}
    figure = tpr_figure({"one": bins, "other": bins}, "rates")
    assert rendered(figure)
    separation, snr, _ = figure.axes
    assert separation.lines[0].get_ydata() == pytest.approx(
        bins["separation"]["rate"].value[bins["separation"]["n"] >= 10]
    )
    assert snr.get_xscale() == "log"
    none = evaluation_rows(rows.truth.where(rows.truth.kind == "single"), False, np.random.default_rng(0))
    few = BlendPrediction(*(getattr(said, f.name)[::3] for f in dataclasses.fields(said)))
    bins = {name: evaluation.tpr_in_bins(none, few, 0.5, name) for name in evaluation.EDGES}
    figure = tpr_figure({"one": bins}, "rates")
    assert rendered(figure)
    assert texts(figure).count("no such stamps") == 3


def test_accuracy_by_noise_has_published_points() -> None:
    curve = {5.0: Estimate.of(0.95, 0.94, 0.96), 14.0: Estimate.of(0.9, 0.88, 0.92)}
    figure = noise_figure({"ours": curve}, {"published": {5.0: 0.944}}, "noise")
    assert rendered(figure)
    points = {tuple(line.get_ydata()) for line in figure.axes[0].lines}
    assert {(0.95, 0.9), (0.944,)} <= points


def test_transfer_frames_what_was_trained_on() -> None:
    cell = Estimate.of(0.9, 0.88, 0.92)
    values = {"a": {"great3": cell, "cfis": Estimate.of(0.7, 0.66, 0.74)}, "b": {"great3": cell}}
    figure = transfer_figure(values, {"a": ["great3"], "b": []}, "transfer")
    assert rendered(figure)
    assert len(figure.axes[0].patches) == 1
    assert sorted(texts(figure)[:3]) == ["0.700\n± 0.040", "0.900\n± 0.020", "0.900\n± 0.020"]


def test_worst_mistakes_come_first(sample) -> None:
    stamps, rows, said = sample
    mistakes = worst_mistakes(rows, said)
    assert mistakes["missed"].tolist() == [4, 1]
    assert mistakes["false"].tolist() == [0]
    figure = gallery_figure(stamps, rows.truth, rows.score(said), mistakes, "worst")
    assert rendered(figure)
    assert sum(text.startswith("p 0.200") for text in texts(figure)) == 1
    right = dataclasses.replace(said, p_blend=np.where(rows.positive, 1.0, 0.0))
    none = worst_mistakes(rows, right)
    assert [len(found) for found in none.values()] == [0, 0]
    assert "none" in texts(gallery_figure(stamps, rows.truth, rows.score(right), none, "worst"))
