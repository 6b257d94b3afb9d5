import numpy as np
import pytest
from blend_samples import PSF, SIGMA, small_model
from dia_vetting.blends import source_flags
from dia_vetting.blends.flags import BlendFlag
from dia_vetting.blends.source_flags import StampCutter, flag_sources, flags_metadata
from dia_vetting.cutouts import PlacedPlanes
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes

SIZE = 33
ORIGIN = (1000, 2000)


def field(positions, shape=(300, 320), seed=1, variance=SIGMA**2):
    """Noise, and a Gaussian source of 60 sigma at each position (x, y) of the array."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.random.default_rng(seed).normal(0, SIGMA, shape)
    for x0, y0 in positions:
        image += 60 * SIGMA * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * (PSF / 2.3548) ** 2))
    return Planes(image, np.full(shape, variance), np.zeros(shape, np.uint32))


def ask(planes, x, y, fwhm=PSF):
    x, y = np.asarray(x, float) + ORIGIN[0], np.asarray(y, float) + ORIGIN[1]
    return flag_sources(PlacedPlanes(planes, *ORIGIN), x, y, SIZE, np.full(len(x), fwhm), small_model())


def test_stamps_are_the_pixels_around_the_source():
    planes = field([(100, 80)])
    planes.mask[78, 103] = MaskBit.CR
    planes.mask[79, 104] = MaskBit.DETECTED
    cutter = StampCutter(PlacedPlanes(planes, *ORIGIN), SIZE)
    stamps = cutter.cut(np.array([1100.2, 1002.0]), np.array([2080.0, 2150.0]), np.array([PSF, np.nan]))
    expected = planes.image[64:97, 84:117].copy()
    expected[78 - 64, 103 - 84] = np.nan
    np.testing.assert_array_equal(stamps.images[0], expected)
    assert np.isnan(stamps.images[1][:, :14]).all()
    assert np.isfinite(stamps.images[1][:, 14:]).all()
    np.testing.assert_array_equal(stamps.psf_fwhm, np.float32([PSF, np.nan]))


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_noise_is_that_of_blank_pixels_whatever_the_variance_plane_says(factor):
    planes = field([(100, 80)], variance=(factor * SIGMA) ** 2)
    planes.variance[150:] *= 4  # of the same image: half of it is noisier by the plane
    planes.image[150:] *= 2
    cutter = StampCutter(PlacedPlanes(planes), SIZE)
    noise = cutter.cut(np.array([200.0, 200.0]), np.array([50.0, 250.0]), np.array([PSF, PSF])).noise_sigma
    np.testing.assert_allclose(noise, [SIGMA, 2 * SIGMA], rtol=0.03)


def test_every_position_has_an_answer_and_bad_ones_a_flag():
    planes = field([(60, 60), (160, 60), (166, 60), (250, 60)])
    planes.mask[59:62, 249:252] = MaskBit.SAT
    # A good one, one of a close pair, saturated, at the edge, far off, no position.
    x, y = [60, 160, 250, 2, -500, np.nan], [60, 60, 60, 200, 60, 60]
    answers = ask(planes, x, y)
    assert {len(values) for values in answers.values()} == {6}
    flags = answers["flags"]
    assert flags[0] == flags[1] == 0
    assert flags[2] & BlendFlag.NAN
    assert flags[2] & BlendFlag.NO_CENTRE
    assert flags[3] & BlendFlag.OFF_EDGE
    for row in (4, 5):
        assert flags[row] & BlendFlag.TOO_FEW_PIXELS
        assert flags[row] & BlendFlag.NO_NOISE
    scored = np.array([True, True, False, True, False, False])
    np.testing.assert_array_equal(np.isfinite(answers["p_blend"]), scored)
    np.testing.assert_array_equal(answers["n_sources"] > 0, scored)
    np.testing.assert_array_equal(np.isfinite(answers["overlap_area"]), scored)
    assert answers["sextractor_blend"].tolist() == [False, True, False, False, False, False]
    assert set(answers["blendVersion"]) == {small_model().card.version}


def test_psf_that_is_not_known_is_flagged():
    flags = ask(field([(60, 60)]), [60], [60], np.nan)["flags"]
    assert flags[0] & BlendFlag.PSF_UNKNOWN


def test_blocks_do_not_change_the_answers(monkeypatch):
    planes = field([(60, 60), (160, 60), (166, 60)])
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 320, 50), rng.uniform(0, 300, 50)
    whole = ask(planes, x, y)
    monkeypatch.setattr(source_flags, "_BLOCK", 7)
    for name, values in ask(planes, x, y).items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, whole[name], atol=1e-5)
        else:
            np.testing.assert_array_equal(values, whole[name])


def test_no_position_no_answer():
    assert {len(values) for values in ask(field([]), [], []).values()} == {0}


def test_metadata_name_model_and_flags():
    found = flags_metadata(small_model())
    assert found["model_content_hash"].startswith(found["model_version"])
    assert found["flags"]["OFF_EDGE"] == BlendFlag.OFF_EDGE
