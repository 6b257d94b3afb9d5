"""Detection on differences whose content is known."""

import numpy as np
import pytest
from dia_vetting.embedded.detection import DetectionConfig, detect_peaks
from dia_vetting.embedded.halos import halo_inflation
from dia_vetting.embedded.matched_filter import StaticErrors, match_filter, measure_static_errors
from dia_vetting.embedded.subtraction import StaticSky, subtract
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from diffim_scene import draw, make_pair, psf

FWHM = 0.8
SHAPE = (300, 320)
SIGMA = 18.0


def sky(seed: int | None, shape: tuple[int, int] = SHAPE) -> Planes:
    noise = np.zeros(shape) if seed is None else np.random.default_rng(seed).normal(0, SIGMA, shape)
    return Planes(noise, np.full(shape, SIGMA**2), np.zeros(shape))


def with_sources(planes: Planes, x: list[float], y: list[float], snr: list[float]) -> Planes:
    unit = SIGMA * np.sqrt(float(psf(FWHM, SHAPE).effective_area(0, 0)[0]))
    image = planes.image + draw(planes.shape, FWHM, np.array(x), np.array(y), unit * np.array(snr))
    return Planes(image, planes.variance, planes.mask)


def test_filter_returns_flux_and_error_of_an_isolated_source() -> None:
    model = psf(FWHM, SHAPE)
    filtered, _ = match_filter(with_sources(sky(None), [100.0], [80.0], [20.0]), model, 31)
    area = float(model.effective_area(0, 0)[0])
    assert filtered.sigma[80, 100] == pytest.approx(SIGMA * np.sqrt(area), rel=2e-3)
    assert filtered.snr[80, 100] == pytest.approx(20.0, rel=3e-3)


def test_filter_gives_masked_pixels_no_weight() -> None:
    planes = with_sources(sky(None), [100.0], [80.0], [20.0])
    image, mask = planes.image.copy(), planes.mask.copy()
    image[:, 102], mask[:, 102] = 1e6, np.uint32(MaskBit.BAD)
    filtered, _ = match_filter(Planes(image, planes.variance, mask), psf(FWHM, SHAPE), 31)
    assert filtered.flux[80, 100] / filtered.sigma[80, 100] == pytest.approx(19.0, abs=1.5)
    assert np.abs(filtered.snr[200:]).max() < 0.1


def test_noise_alone_gives_hardly_any_source() -> None:
    counts = [len(detect_peaks(sky(seed), psf(FWHM, SHAPE))[0]) for seed in range(4)]
    assert sum(counts) <= 1


def test_half_of_the_sources_are_found_near_the_threshold() -> None:
    x, y = (v.ravel() for v in np.meshgrid(np.arange(20.3, 300, 30), np.arange(20.7, 290, 30)))
    fraction = {}
    for snr in (4.2, 5.8):
        planes = with_sources(sky(11), list(x), list(y), [snr] * len(x))
        peaks, _, _ = detect_peaks(planes, psf(FWHM, SHAPE))
        found = np.hypot(x[:, None] - peaks.x, y[:, None] - peaks.y).min(axis=1) < 3
        fraction[snr] = found.mean()
    assert fraction[5.8] >= 0.5
    assert fraction[4.2] < 0.5


def test_close_sources_of_both_signs_are_kept_apart() -> None:
    planes = with_sources(sky(1), [100.0, 106.0, 200.0, 208.0], [80.0, 81.0, 150.0, 150.0], [40, -12, 30, 25])
    peaks, _, _ = detect_peaks(planes, psf(FWHM, SHAPE))
    assert len(peaks) == 4
    assert sorted(np.sign(peaks.flux)) == [-1, 1, 1, 1]
    assert not peaks.is_pair.any()


def test_an_unresolved_dipole_is_one_source() -> None:
    planes = with_sources(sky(2), [100.0, 101.0], [80.0, 80.0], [60.0, -60.0])
    peaks, _, _ = detect_peaks(planes, psf(FWHM, SHAPE))
    assert len(peaks) == 1
    assert peaks.is_pair[0]
    assert np.hypot(peaks.x[0] - 100.5, peaks.y[0] - 80) < 0.7


def test_a_very_bright_source_has_no_satellites() -> None:
    planes = with_sources(sky(3), [150.2], [150.4], [3000.0])
    peaks, _, _ = detect_peaks(planes, psf(FWHM, SHAPE))
    assert len(peaks) == 1


def test_sources_in_holes_are_not_found() -> None:
    planes = with_sources(sky(4), [100.0], [80.0], [50.0])
    image, mask = planes.image.copy(), planes.mask.copy()
    image[60:100, 80:120], mask[60:100, 80:120] = np.nan, np.uint32(MaskBit.NO_DATA)
    peaks, _, _ = detect_peaks(Planes(image, planes.variance, mask), psf(FWHM, SHAPE))
    assert len(peaks) == 0


def jittered_stars(jitter: float) -> tuple[Planes, StaticSky, np.ndarray, np.ndarray]:
    random = np.random.default_rng(8)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(25.0, 300, 25), np.arange(25.0, 290, 25)))
    flux = 10 ** random.uniform(4.6, 5.4, len(x))
    static = draw(SHAPE, FWHM, x, y, flux)
    moved = draw(
        SHAPE, FWHM, x + random.normal(0, jitter, len(x)), y + random.normal(0, jitter, len(x)), flux
    )
    planes = sky(9)
    return Planes(planes.image + moved - static, planes.variance, planes.mask), StaticSky(
        static.astype(np.float32), x.astype(int), y.astype(int)
    ), x, y  # fmt: skip


def test_registration_errors_are_measured_and_suppressed() -> None:
    difference, static, _, _ = jittered_stars(0.06)
    peaks, _, errors = detect_peaks(difference, psf(FWHM, SHAPE), static)
    assert errors.count > 50
    assert errors.jitter == pytest.approx(0.06, abs=0.012)
    assert errors.fraction < 0.01
    naive, _, _ = detect_peaks(difference, psf(FWHM, SHAPE))
    assert len(naive) > 30
    assert len(peaks) <= 2


def test_a_variable_star_survives_the_registration_term() -> None:
    difference, static, x, y = jittered_stars(0.06)
    changed = with_sources(difference, [x[50]], [y[50]], [25.0])
    peaks, _, _ = detect_peaks(changed, psf(FWHM, SHAPE), static)
    assert (np.hypot(peaks.x - x[50], peaks.y - y[50]) < 2).any()


def test_few_constant_sources_leave_the_default_errors() -> None:
    flat = np.ones((50, 50), np.float32)
    default = StaticErrors(0.05, 0.01, 0.0, 0)
    none = np.zeros(0, np.int64)
    assert measure_static_errors(flat, flat, flat, none, none, np.ones((61, 61)), default) is default


def test_halos_of_saturated_stars_raise_the_noise_only_there() -> None:
    random = np.random.default_rng(6)
    score = random.normal(size=(200, 200)).astype(np.float32)
    saturated = np.zeros(score.shape, bool)
    saturated[95:105, 95:105] = True
    yy, xx = np.mgrid[:200, :200]
    radius = np.hypot(xx - 99.5, yy - 99.5)
    score[(radius > 8) & (radius < 20)] += 6.0
    factor = halo_inflation(score, saturated, 30)
    assert np.median(factor[(radius > 10) & (radius < 16)]) > 5
    assert (factor[radius > 45] == 1).all()
    quiet = halo_inflation(random.normal(size=score.shape).astype(np.float32), saturated, 30)
    assert (quiet > 1.0).mean() < 0.02


def test_detection_after_subtraction_finds_the_transients_and_little_else() -> None:
    pair = make_pair(1, 0.9, 0.75)
    result = subtract(pair.science, pair.template, pair.science_psf, pair.template_psf)
    peaks, _, _ = detect_peaks(result.difference, result.psf, result.static, DetectionConfig())
    distance = np.hypot(pair.x[:, None] - peaks.x, pair.y[:, None] - peaks.y)
    assert (distance.min(axis=1) < 1.0).all()
    assert (distance.min(axis=0) > 3.0).sum() <= 2
