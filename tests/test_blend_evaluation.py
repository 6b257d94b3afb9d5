"""blends/evaluation.py and evaluation_counts.py: hand-made answers whose figures are known."""

import dataclasses

import numpy as np
import pytest
from blend_samples import make_stamps
from dia_vetting.blends import evaluation, evaluation_counts
from dia_vetting.blends.evaluation import EvaluationRows, evaluation_rows
from dia_vetting.blends.flags import BlendFlag
from dia_vetting.blends.prediction import BlendMaps, BlendPrediction
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.segmentation import SEGMENTATION_THRESHOLD
from dia_vetting.blends.simulation import simulate
from dia_vetting.blends.stamps import BlendTruth
from dia_vetting.reliability.bootstrap import Estimate, wilson_interval

COUNT = 300
NAN = float("nan")


@pytest.fixture(scope="module")
def truth() -> BlendTruth:
    """A hundred of each kind in turn; separations of blends are 2, 4 ... 20 pixels in turn."""
    made = make_stamps(COUNT)[1]
    place = np.arange(COUNT) // 3
    separation = np.where(made.kind == "blend", 2.0 + 2.0 * (place % 10), made.separation)
    return dataclasses.replace(made, separation=separation)


def rows_of(truth: BlendTruth, any_companion: bool = False) -> EvaluationRows:
    return evaluation_rows(truth, any_companion, np.random.default_rng(1))


def answer(blend: np.ndarray, companion: np.ndarray | None = None, counts: object = NAN) -> BlendPrediction:
    said = BlendPrediction.unknown(np.zeros(len(blend), np.int64))
    said.p_blend[:] = blend
    said.p_companion[:] = blend if companion is None else companion
    said.n_sources[:] = counts
    return said


def test_confusion_matrix_of_three_kinds(truth: BlendTruth) -> None:
    blend = np.where(truth.kind == "blend", 0.9, 0.1)
    companion = np.where(truth.kind == "single", 0.2, 0.9)
    blend[1:31:3] = 0.2  # ten blends are called separated: 0.7 of the others is more than 0.1
    blend[0:15:3] = companion[0:15:3] = NAN  # five singles have no score
    rows = rows_of(truth)
    matrix = evaluation.confusion_matrix(rows, answer(blend, companion))
    assert matrix.tolist() == [[95, 0, 0, 5], [0, 90, 10, 0], [0, 0, 100, 0]]
    assert float(evaluation.accuracy(rows, answer(blend, companion)).value) == pytest.approx(285 / 300)
    kinds = evaluation.kind_accuracy(rows, answer(blend, companion))
    assert {name: float(one.value) for name, one in kinds.items()} == pytest.approx(
        {"single": 0.95, "blend": 0.9, "separated": 1.0}
    )


def test_companions_are_asked_for_where_they_may_be_anywhere(truth: BlendTruth) -> None:
    rows = rows_of(dataclasses.replace(truth, kind=np.where(truth.kind == "single", "single", "blend")), True)
    companion = np.where(truth.kind == "single", 0.3, 0.55)
    said = answer(np.full(COUNT, 0.3), companion)
    assert evaluation.confusion_matrix(rows, said).tolist() == [[100, 0, 0, 0], [0, 200, 0, 0], [0, 0, 0, 0]]
    assert float(evaluation.accuracy(rows, said).value) == 1.0


def test_interval_of_single_rows_is_wilsons_at_the_least(truth: BlendTruth) -> None:
    right = np.arange(COUNT) < 270
    blend = np.where((truth.kind == "blend") == right, 1.0, 0.0)
    found = evaluation.accuracy(rows_of(truth), answer(blend))
    low, high = wilson_interval(270, COUNT)
    assert float(found.value) == pytest.approx(0.9)
    assert float(found.low) <= low
    assert float(found.high) >= high
    assert float(found.high - found.low) < 1.4 * float(high - low)


def test_interval_of_groups_is_wider(truth: BlendTruth) -> None:
    grouped = dataclasses.replace(truth, group=np.arange(COUNT) // 30)
    right = np.arange(COUNT) // 30 % 2 == 0  # whole groups are wrong
    said = answer(np.where((truth.kind == "blend") == right, 1.0, 0.0))
    alone, together = (evaluation.accuracy(rows_of(one), said) for one in (truth, grouped))
    assert float(alone.value) == float(together.value) == 0.5
    assert float(together.high - together.low) > 3 * float(alone.high - alone.low)


def test_difference_on_the_same_stamps(truth: BlendTruth) -> None:
    perfect = answer(np.where(truth.kind == "blend", 1.0, 0.0))
    worse = answer(perfect.p_blend.copy())
    worse.p_blend[:30] = 1.0 - worse.p_blend[:30]
    rows = rows_of(truth)
    found = evaluation.accuracy_difference(rows, perfect, worse)
    assert float(found.value) == pytest.approx(0.1)
    assert 0.05 < float(found.low) < 0.1 < float(found.high) < 0.15
    none = evaluation.accuracy_difference(rows, worse, worse)
    assert (float(none.value), float(none.low), float(none.high)) == (0.0, 0.0, 0.0)


def test_difference_of_different_stamps() -> None:
    found = evaluation.independent_difference(Estimate.of(0.9, 0.87, 0.92), Estimate.of(0.8, 0.76, 0.84))
    assert float(found.value) == pytest.approx(0.1)
    assert float(found.low) == pytest.approx(0.1 - np.hypot(0.03, 0.04))
    assert float(found.high) == pytest.approx(0.1 + np.hypot(0.02, 0.04))


def test_threshold_leaves_one_percent_of_the_negatives() -> None:
    scores = np.append(np.arange(1000) / 1000, np.nan)
    threshold = evaluation.threshold_at(scores, 0.99)
    assert np.count_nonzero(scores > threshold) <= 10
    assert threshold == pytest.approx(0.99)


def test_rates_and_bins_at_a_threshold(truth: BlendTruth) -> None:
    is_blend, close = truth.kind == "blend", truth.separation < 10.0
    blend = np.where(is_blend & ~close, 0.95, 0.3)
    blend[np.flatnonzero(~is_blend)[:4]] = 0.99
    blend[np.flatnonzero(is_blend & close)[:10]] = 0.95
    rows = rows_of(truth)
    rates = evaluation.rates_at(rows, answer(blend), 0.9)
    assert {name: float(one.value) for name, one in rates.items()} == pytest.approx(
        {"tpr": 0.7, "tpr_close": 0.25, "tnr": 196 / 200}
    )
    bins = evaluation.tpr_in_bins(rows, answer(blend), 0.9, "separation")
    edges = np.array(evaluation.EDGES["separation"])
    assert bins["n"].sum() == 100
    assert bins["n"][edges[:-1] == 10.0] == 20  # 10 and 12 pixels
    assert bins["rate"].value[edges[:-1] == 10.0] == 1.0
    assert bins["n"][edges[:-1] == 3.0] == 0
    assert np.isnan(bins["rate"].value[edges[:-1] == 3.0])
    assert bins["median"][edges[:-1] == 10.0] == 11.0


def test_last_bin_holds_its_upper_edge(truth: BlendTruth) -> None:
    bins = evaluation.tpr_in_bins(rows_of(truth), answer(np.ones(COUNT)), 0.5, "flux_ratio")
    assert bins["n"][-1] == 100  # all ratios are 1


def test_accuracy_in_bins_of_the_noise(truth: BlendTruth) -> None:
    noise = np.where(np.arange(COUNT) < 150, 1.0, 3.0)
    said = answer(np.where((truth.kind == "blend") == (noise < 2), 1.0, 0.0))
    bins = evaluation.accuracy_in_bins(rows_of(truth), said, noise, [0.5, 2.0, 4.0])
    assert bins["rate"].value.tolist() == [1.0, 0.0]
    assert bins["n"].tolist() == [150, 150]


def test_flags_are_counted() -> None:
    flags = np.array([0, int(BlendFlag.NAN), int(BlendFlag.NAN | BlendFlag.ALL_ZERO)])
    assert evaluation.flag_counts(flags) == {"NAN": 2, "ALL_ZERO": 1}


def counted(true: list[int], said: list[float]) -> tuple[EvaluationRows, BlendPrediction]:
    truth = make_stamps(len(true))[1]
    truth = dataclasses.replace(truth, n_sources=np.array(true))
    return rows_of(truth), answer(np.zeros(len(true)), counts=said)


def test_macro_f1_by_hand() -> None:
    rows, said = counted([1, 1, 1, 2, 2, 3, 4, 5], [1, 1, 2, 2, 2, 3, 4, NAN])
    matrix = evaluation_counts.count_matrix(rows, said)
    assert matrix.tolist() == [[2, 1, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1]]
    figures = evaluation_counts.counting(rows, said)
    expected = [2 * 2 / (3 + 2), 2 * 2 / (2 + 3), 1.0, 2 * 1 / (2 + 1)]
    assert figures["f1"].value == pytest.approx(expected)
    assert float(figures["macro_f1"].value) == pytest.approx(np.mean(expected))
    assert float(figures["accuracy"].value) == pytest.approx(6 / 8)


def test_macro_f1_is_of_the_numbers_that_there_are() -> None:
    rows, said = counted([1] * 20 + [2] * 20, [1] * 20 + [2] * 18 + [3] * 2)
    figures = evaluation_counts.counting(rows, said)
    assert np.isnan(figures["f1"].value[2:]).all()
    f1 = [1.0, 2 * 18 / (20 + 18)]
    assert float(figures["macro_f1"].value) == pytest.approx(np.mean(f1))
    assert float(figures["macro_f1"].low) < np.mean(f1) < float(figures["macro_f1"].high)


def test_overlap_by_hand() -> None:
    truth = make_stamps(3)[1]
    segmentation = np.zeros((3, 33, 33), np.uint8)
    segmentation[0, 10:14, 10:20] = 0b11  # 40 pixels of both
    segmentation[0, 20:25] = 0b01
    segmentation[1, :2, :10] = 0b10110  # 20 pixels of three
    truth = dataclasses.replace(truth, segmentation=segmentation, snr=np.array([50.0, 50.0, 50.0]))
    said = np.zeros((3, 33, 33), np.float32)
    said[0, 10:14, 15:25] = 0.9  # 20 of 40 right, 20 more
    said[1, :2, :10] = 0.8
    said[2, 0, :10] = 0.7  # no overlap in truth
    pixels = evaluation_counts.overlap(truth, BlendMaps(said, said))
    assert pixels.shared.tolist() == [20, 20, 0]
    assert pixels.either.tolist() == [60, 20, 10]
    iou = evaluation_counts.overlap_iou(rows_of(truth), pixels)
    assert float(iou["per_stamp"].value) == pytest.approx((20 / 60 + 1.0) / 2)
    assert float(iou["pooled"].value) == pytest.approx(40 / 90)
    assert float(iou["n"].value) == 2
    faint = dataclasses.replace(truth, snr=np.array([50.0, 20.0, 20.0]))
    iou = evaluation_counts.overlap_iou(rows_of(faint), pixels)
    assert float(iou["per_stamp"].value) == float(iou["pooled"].value) == pytest.approx(1 / 3)


def test_terms_are_those_of_the_simulator() -> None:
    preset = load_preset("great3")
    _, truth = simulate(preset, 100, 3)
    terms = evaluation_counts.terms(preset, truth)
    assert terms["segmentation_threshold"] == SEGMENTATION_THRESHOLD
    assert terms["least_blend_distance"] == 0.6
    assert terms["least_companion"] == pytest.approx(0.1)  # 2.5 mag
    assert terms["least_flux_ratio"] == pytest.approx(10**-1.6)  # 19.5 to 23.5 mag
    assert terms["flux_ratio"] > terms["least_flux_ratio"]
    blend = truth.kind == "blend"
    assert terms["separation"] == truth.separation[blend].min()
    assert terms["flux_ratio"] == truth.flux_ratio[blend].min()
    anywhere = load_preset("farrens2021")
    assert evaluation_counts.terms(anywhere, truth)["least_blend_distance"] is None
