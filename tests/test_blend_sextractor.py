"""SExtractor's answers."""

import dataclasses

import numpy as np
import pytest
import sep
from blend_samples import make_stamps
from dia_vetting.blends.flags import BlendFlag
from dia_vetting.blends.methods import get_method
from dia_vetting.blends.methods.sextractor import (
    PUBLISHED,
    SExtractor,
    SExtractorSettings,
    published_verdicts,
    tune,
)


def test_published_settings() -> None:
    assert dataclasses.asdict(PUBLISHED) == {
        "threshold": 1.5,
        "levels": 32,
        "contrast": 0.005,
        "min_area": 5,
        "smooth": True,
    }


def test_wide_pairs_are_companions_and_close_ones_are_blends() -> None:
    stamps, truth = make_stamps(150, snr=60)
    answer = get_method("sextractor").predict(stamps)
    assert set(np.unique(answer.p_blend)) == {0.0, 1.0}
    by_kind = {kind: answer.p_blend[truth.kind == kind].mean() for kind in ("single", "blend", "separated")}
    assert by_kind["single"] < 0.05
    assert by_kind["separated"] < 0.3
    assert by_kind["blend"] > 0.4
    assert answer.p_companion[truth.kind == "separated"].mean() > 0.95
    assert (answer.n_sources[truth.kind == "separated"] == 2).mean() > 0.9
    assert np.isnan(answer.overlap_area).all()


def test_stamps_that_cannot_be_scored_have_no_answer() -> None:
    stamps, _ = make_stamps(4, snr=60)
    images = stamps.images.copy()
    images[0] = 0
    images[2] = np.nan
    answer = get_method("sextractor").predict(dataclasses.replace(stamps, images=images))
    assert np.isnan(answer.p_blend).tolist() == [True, False, True, False]
    assert answer.flags[0] & BlendFlag.ALL_ZERO
    assert answer.flags[2] & BlendFlag.NAN


def test_masked_pixels_are_no_source() -> None:
    stamps, truth = make_stamps(3, snr=60)
    images = stamps.images[:1].copy()
    images[0, 2:5, 2:5] = np.inf
    answer = SExtractor().predict(dataclasses.replace(stamps.where(slice(1)), images=images))
    assert truth.n_sources[0] == answer.n_sources[0] == 1


def test_seps_buffer_is_as_it_was() -> None:
    before = sep.get_extract_pixstack()
    SExtractor().predict(make_stamps(3)[0])
    assert sep.get_extract_pixstack() == before


def test_smoothing_blurs_close_pairs() -> None:
    stamps, truth = make_stamps(150, snr=200)
    blend = truth.kind == "blend"
    found = [SExtractor(SExtractorSettings(smooth=on)).predict(stamps).p_blend[blend] for on in (True, False)]
    assert found[1].sum() > found[0].sum()


def test_published_comparison_matches_with_the_truth() -> None:
    stamps, truth = make_stamps(90, snr=60)
    verdicts = published_verdicts(stamps, truth)
    assert (verdicts[truth.kind == "single"] == 0).mean() > 0.9
    assert (verdicts[truth.kind == "separated"] == 1).mean() > 0.9
    elsewhere = dataclasses.replace(truth, x=truth.x + 5)
    assert (published_verdicts(stamps, elsewhere)[truth.kind == "separated"] == 0).all()
    faint, truth = make_stamps(3, snr=0.01)
    assert (published_verdicts(faint, truth) == -1).all()


def test_tuning_takes_the_best() -> None:
    stamps, truth = make_stamps(90, snr=60)
    candidates = [SExtractorSettings(contrast=1.0), PUBLISHED, SExtractorSettings(contrast=0.9)]
    assert tune(stamps, truth.kind == "blend", candidates) == PUBLISHED


@pytest.mark.parametrize("name", ["sextractor", "sextractor_tuned"])
def test_many_pieces_are_no_error(name: str) -> None:
    stamps, _ = make_stamps(2, size=65)
    rng = np.random.default_rng(0)
    images = (1000 + 900 * rng.normal(size=stamps.images.shape)).astype(np.float32)
    answer = get_method(name).predict(dataclasses.replace(stamps, images=images))
    assert np.isfinite(answer.p_blend).all()
