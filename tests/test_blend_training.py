"""Training: it learns, it repeats, it splits by group, and its card says what was done."""

import dataclasses

import numpy as np
import pytest
from blend_samples import QUICK, make_stamps, small_model
from dia_vetting.blends.methods import get_method
from dia_vetting.blends.methods.names import UnknownMethodError
from dia_vetting.blends.prediction import Calibration
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.simulation import simulate
from dia_vetting.blends.stamps import BlendStamps
from dia_vetting.blends.training import TrainingDivergedError, TrainingSettings, split_groups, train_blends
from dia_vetting.blends.training_rows import TrainingRows, training_rows
from dia_vetting.blends.validation import (
    fit_calibration,
    fit_count_weights,
    fit_overlap_threshold,
    make_thresholds,
)
from dia_vetting.errors import BadInputError
from dia_vetting.reliability.networks import UnknownOptionError

SMALL = {"width": 8, "depth": 1}
LEARNS = TrainingSettings(epochs=12, batch_size=32, learning_rate=1e-2, threads=1)


@pytest.fixture(scope="module")
def learnt():
    stamps, truth = make_stamps(450)
    return train_blends("ours", training_rows(stamps, truth), {"gaussians": (450, 0)}, LEARNS, SMALL)


def test_kinds_numbers_and_overlaps_are_learnt(learnt) -> None:
    stamps, truth = make_stamps(150, seed=9)
    method = get_method("ours", learnt)
    answer = method.predict(stamps)
    assert np.mean((answer.p_blend > 0.5) == (truth.kind == "blend")) > 0.93
    assert np.mean((answer.p_companion > 0.5) == (truth.kind != "single")) > 0.93
    assert np.mean(answer.n_sources == truth.n_sources) > 0.93
    overlap = np.bitwise_count(truth.segmentation) > 1
    maps = method.predict_maps(stamps)
    said = maps.overlap > maps.threshold
    there = overlap.any(axis=(1, 2))
    ratios = (said & overlap).sum((1, 2))[there] / (said | overlap).sum((1, 2))[there]
    assert ratios.mean() > 0.45
    source = truth.segmentation > 0
    assert ((maps.source > 0.5) & source).sum() / ((maps.source > 0.5) | source).sum() > 0.7
    np.testing.assert_array_equal(answer.overlap_area, (maps.overlap > maps.threshold).sum(axis=(1, 2)))


def test_the_card_says_how_good_it_is(learnt) -> None:
    card = learnt.card
    value, low, high = card.metrics["accuracy"]
    assert low <= value <= high
    assert value > 0.85
    assert card.kind_counts == {"single": 150, "blend": 150, "separated": 150, "any_companion": 0}
    assert card.psf_fwhm == (3.5, 3.5)
    assert card.peak_snr[0] < card.peak_snr[1]
    assert 0 <= card.thresholds["tnr_0.9"] <= card.thresholds["tnr_0.99"] <= 1
    assert card.settings["augmentation_noise"] == 0.3
    assert card.initial_weights == ""
    assert len(card.version) == 7


def test_more_noise_is_less_certain(learnt) -> None:
    stamps, truth = make_stamps(150, seed=9)
    method = get_method("ours", learnt)
    rng = np.random.default_rng(0)
    noisy = stamps.images + rng.normal(0, 20, stamps.images.shape).astype(np.float32)
    sigma = np.hypot(stamps.noise_sigma, 20).astype(np.float32)
    faint = method.predict(BlendStamps(noisy, sigma, stamps.psf_fwhm)).p_blend
    clear = method.predict(stamps).p_blend
    assert np.std(faint) < np.std(clear)
    assert np.mean((faint > 0.5) == (truth.kind == "blend")) < np.mean(
        (clear > 0.5) == (truth.kind == "blend")
    )


@pytest.mark.parametrize("method", ["ours", "vgg16", "one_class", "siamese"])
def test_the_same_seed_gives_the_same_bytes(method: str) -> None:
    small_model.cache_clear()
    first = small_model(method).card.content_hash
    small_model.cache_clear()
    assert small_model(method).card.content_hash == first


def test_another_seed_gives_another_model() -> None:
    stamps, truth = make_stamps(90)
    rows = training_rows(stamps, truth)
    settings = dataclasses.replace(QUICK, seed=1)
    other = train_blends("ours", rows, {"gaussians": (90, 0)}, settings, {"width": 4, "depth": 1})
    assert other.card.content_hash != small_model().card.content_hash


def test_members_differ_and_answer_together() -> None:
    stamps, truth = make_stamps(60)
    settings = dataclasses.replace(QUICK, members=2, epochs=1)
    model = train_blends("ours", training_rows(stamps, truth), {}, settings, {"width": 4, "depth": 1})
    assert len(model.networks) == len(model.card.epochs) == 2
    name = "stem.0.weight"
    assert not np.array_equal(model.networks[0][name], model.networks[1][name])
    assert np.isfinite(get_method("ours", model).predict(stamps).p_blend).all()


@pytest.mark.parametrize("method", ["vgg16", "siamese"])
def test_baselines_overfit_a_few_stamps(method: str) -> None:
    stamps, truth = make_stamps(60, snr=150)
    kept = np.flatnonzero(truth.kind != "separated")
    rows = training_rows(stamps.where(kept), truth.where(kept))
    rate = 1e-3 if method == "vgg16" else 1e-2
    settings = dataclasses.replace(LEARNS, epochs=25, batch_size=20, learning_rate=rate, patience=25)
    model = train_blends(method, rows, {}, settings, {"width": 8})
    answer = get_method(method, model).predict(stamps.where(kept))
    assert np.mean((answer.p_blend > 0.5) == (truth.kind[kept] == "blend")) > 0.85


def test_one_class_brings_single_sources_close() -> None:
    model = small_model("one_class")
    stamps, _ = make_stamps(90)
    answer = get_method("one_class", model).predict(stamps)
    assert np.isfinite(answer.p_blend).all()
    np.testing.assert_array_equal(answer.p_blend, answer.p_companion)
    assert np.isnan(answer.n_sources).all()
    assert np.isnan(answer.overlap_area).all()


def test_simulated_stamps_of_two_presets_train_one_model() -> None:
    parts = []
    for name in ("farrens2021", "great3"):
        preset = load_preset(name)
        made = simulate(preset, 40, 3)
        parts.append(training_rows(*made, size=51, any_companion=preset.layout.offset is not None))
    rows = TrainingRows.joined(parts)
    model = train_blends("ours", rows, {"farrens2021": (40, 3), "great3": (40, 3)}, QUICK, SMALL)
    assert model.card.stamp_size == 51
    assert 0 < model.card.kind_counts["any_companion"] < model.card.kind_counts["blend"]
    assert set(model.card.presets) == {"farrens2021", "great3"}


def test_groups_are_on_one_side() -> None:
    group = np.repeat(np.arange(20), 5)
    train, validation = split_groups(group, 0.25, 3)
    assert len(train) + len(validation) == 100
    assert len(validation) == 25
    assert not set(group[train]) & set(group[validation])
    assert not np.array_equal(validation, split_groups(group, 0.25, 4)[1])
    with pytest.raises(BadInputError, match="two groups or more, found 1"):
        split_groups(np.zeros(5, np.int64), 0.5, 0)


def test_calibration_finds_scale_and_offset() -> None:
    stamps, truth = make_stamps(3000)
    rows = training_rows(stamps, truth)
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 3000)
    blend = rng.random(3000) < 1 / (1 + np.exp(-logit))
    rows = dataclasses.replace(rows, kind=blend.astype(np.int64))
    found = fit_calibration(np.stack([np.zeros(3000), (logit - 1) / 3], axis=1), rows, offset=True)
    assert found.scale == pytest.approx(3, rel=0.1)
    assert found.offset == pytest.approx(1, abs=0.15)
    assert fit_calibration(np.stack([np.zeros(3000), logit / 3], 1), rows, offset=False) == Calibration(
        pytest.approx(3, rel=0.1), 0.0
    )


def test_rare_numbers_count_as_much_as_others() -> None:
    stamps, truth = make_stamps(2000)
    rng = np.random.default_rng(1)
    count = rng.choice([1, 2, 3, 4], 2000, p=[0.6, 0.3, 0.07, 0.03])
    rows = dataclasses.replace(training_rows(stamps, truth), count=count)
    logits = (
        np.log([0.6, 0.3, 0.07, 0.03])
        + 1.3 * (np.arange(1, 5) == count[:, None])
        + rng.normal(0, 1, (2000, 4))
    )
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    weights = fit_count_weights(p, rows)

    def macro_f1(said):
        f1 = [
            2 * np.sum((said == k) & (count == k)) / np.sum((said == k) * 1 + (count == k))
            for k in range(1, 5)
        ]
        return np.mean(f1)

    assert weights[0] == 1.0
    assert weights[3] > 1.0
    assert macro_f1(Calibration(count_weights=weights).numbers(p)) > macro_f1(1 + p.argmax(axis=1)) + 0.01
    assert fit_count_weights(np.full((2000, 4), np.nan), rows) == (1.0, 1.0, 1.0, 1.0)


def test_the_threshold_of_overlaps_is_that_of_the_best_ratio() -> None:
    stamps, truth = make_stamps(300)
    rows = training_rows(stamps, truth)
    rng = np.random.default_rng(2)
    p = rng.beta(0.4, 2.0, rows.maps.shape)
    rows = dataclasses.replace(rows, maps=np.where(rng.random(p.shape) < p, 2, 0).astype(np.uint8))
    found = fit_overlap_threshold(p.astype(np.float32), rows)
    ratio = np.mean([p[p > t].sum() / ((p > t).sum() + p[p <= t].sum()) for t in (found,)])
    assert found == pytest.approx(ratio / (1 + ratio), abs=0.05)
    empty = dataclasses.replace(rows, maps=np.zeros_like(rows.maps))
    assert fit_overlap_threshold(p.astype(np.float32), empty) == 0.5


def test_training_goes_on_from_a_parent(learnt) -> None:
    stamps, truth = make_stamps(200, seed=4)
    rows = training_rows(stamps, truth)
    settings = dataclasses.replace(LEARNS, epochs=1, learning_rate=1e-4)
    child = train_blends("ours", rows, {"gaussians": (200, 4)}, settings, SMALL, parent=learnt)
    fresh = train_blends("ours", rows, {"gaussians": (200, 4)}, settings, SMALL)
    stamps, truth = make_stamps(150, seed=9)
    right = [
        np.mean((get_method("ours", m).predict(stamps).p_blend > 0.5) == (truth.kind == "blend"))
        for m in (child, fresh)
    ]
    assert right[0] > 0.93
    assert right[0] > right[1] + 0.1
    half = train_blends(
        "ours",
        rows,
        {},
        dataclasses.replace(settings, parent_share=0.5),
        SMALL,
        parent=learnt,
    )
    for name, weights in half.networks[0].items():
        mean = 0.5 * (child.networks[0][name] + learnt.networks[0][name])
        if weights.dtype.kind == "f":
            np.testing.assert_allclose(weights, mean, rtol=1e-5, atol=1e-6)
    assert child.card.parent == learnt.card.content_hash
    assert child.card.parent_presets == {"gaussians": (450, 0)}
    with pytest.raises(BadInputError, match="method ours, parent: expected blend_net with"):
        train_blends("ours", rows, {}, settings, {"width": 4}, parent=learnt)


def test_thresholds_are_at_the_rates_they_name(learnt) -> None:
    stamps, truth = make_stamps(150, seed=9)
    answer = get_method("ours", learnt).predict(stamps)
    thresholds = make_thresholds(answer, training_rows(stamps, truth))
    assert np.mean(answer.p_blend[truth.kind != "blend"] <= thresholds["tnr_0.9"]) >= 0.9
    assert np.mean(answer.p_companion[truth.kind == "single"] <= thresholds["companion_tnr_0.95"]) >= 0.95


def test_bad_training_input_is_named() -> None:
    stamps, truth = make_stamps(30)
    rows = training_rows(stamps, truth)
    with pytest.raises(UnknownMethodError, match="ours, vgg16, one_class, siamese, found 'sextractor'"):
        train_blends("sextractor", rows, {}, QUICK)
    with pytest.raises(UnknownOptionError):
        train_blends("ours", rows, {}, QUICK, {"colour": 3})
    with pytest.raises(BadInputError, match="no initial weights"):
        train_blends("ours", rows, {}, QUICK, {}, ("weights.npz 123", {}))
    with pytest.raises(BadInputError, match="one kind alone"):
        train_blends("ours", rows.where(rows.kind == 0), {}, QUICK)
    with pytest.raises(BadInputError, match="30 rows of truth, found 20"):
        training_rows(stamps, truth.where(slice(20)))
    images = stamps.images.copy()
    images[7] = 0
    with pytest.raises(BadInputError, match="the first is 7"):
        training_rows(dataclasses.replace(stamps, images=images), truth)


def test_a_loss_that_is_no_number_ends_training() -> None:
    stamps, truth = make_stamps(90)
    settings = dataclasses.replace(QUICK, learning_rate=1e38)
    with pytest.raises(TrainingDivergedError, match="lower learning rate"):
        train_blends("ours", training_rows(stamps, truth), {}, settings, {"width": 4, "depth": 1})
