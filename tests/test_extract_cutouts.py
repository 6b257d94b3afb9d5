import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.errors import TableSchemaError
from dia_vetting.images import make_difference_image
from dia_vetting.masks import INJECTION_BITS, MaskBit
from dia_vetting.planes import Planes
from dia_vetting.reliability.extract_cutouts import ExtractCutoutsTask, ImageBoxError, smooth_fwhm
from dia_vetting.reliability.schemas import DIA_SOURCE_CUTOUT, DIA_SOURCE_REQUIRED
from injection_images import moffat_psf, visit_image
from lsst.pipe.base import NoWorkFound

START = (500, 300)
SHAPE = (90, 120)


def make_planes(level, mask=0, shape=SHAPE):
    rng = np.random.default_rng(level)
    return Planes(
        level + rng.normal(size=shape), np.full(shape, 1.0 + level), np.full(shape, mask, np.uint32)
    )


def dia_sources(x, y):
    n = len(x)
    columns = {name: np.full(n, 1.0) for name in ("ra", "dec", "psfFlux", "psfFluxErr", "snr")}
    ids = {"diaSourceId": np.arange(n) + 7, "visit": np.full(n, 42), "detector": np.full(n, 3)}
    return DIA_SOURCE_REQUIRED.build({**columns, **ids, "band": np.full(n, "r"), "x": x, "y": y})


@pytest.fixture(scope="module")
def images():
    science = visit_image(make_planes(10, MaskBit.INJECTED | MaskBit.DETECTED), start=START)
    template = visit_image(make_planes(4), start=START)
    planes = make_planes(6, MaskBit.INJECTED | MaskBit.INJECTED_CORE)
    return science, template, make_difference_image(science, planes, moffat_psf(SHAPE))


def run(images, table, size=30):
    config = ExtractCutoutsTask.ConfigClass()
    config.stampSize = size
    return ExtractCutoutsTask(config=config).run(*images, table).cutouts


def test_row_for_row_raw_pixels_in_the_parent_frame(images):
    x, y = np.array([340.2, 300.0, 419.0, np.nan]), np.array([540.7, 500.0, 589.0, 520.0])
    table = dia_sources(x, y)
    cutouts = run(images, table)
    DIA_SOURCE_CUTOUT.check(cutouts)
    np.testing.assert_array_equal(cutouts["diaSourceId"], table["diaSourceId"])
    x0, y0 = int(cutouts["x0"][0]), int(cutouts["y0"][0])
    assert (x0, y0) == (326, 526)
    expected = make_planes(6).image[y0 - 500 : y0 - 470, x0 - 300 : x0 - 270]
    np.testing.assert_array_equal(cutouts["difference"][0], expected)
    np.testing.assert_allclose(cutouts["variance"][0], 7.0)
    np.testing.assert_allclose(np.median(cutouts["science"][0]), 10, atol=0.2)
    np.testing.assert_allclose(np.median(cutouts["template"][0]), 4, atol=0.2)
    np.testing.assert_allclose(cutouts["valid_fraction"], [1, 0.25, 0.2844, 0], atol=1e-3)


def test_no_injection_plane_in_stamps_or_metadata(images):
    cutouts = run(images, dia_sources(np.array([340.0, 300.0]), np.array([540.0, 500.0])))
    assert not (np.asarray(cutouts["mask"]) & int(INJECTION_BITS)).any()
    assert (np.asarray(cutouts["mask"][0]) == MaskBit.DETECTED).all()
    assert cutouts.meta["mask_planes"]["SAT"] == 2
    assert not any("INJECT" in name for name in cutouts.meta["mask_planes"])
    assert cutouts.meta["stamp_size"] == 30


@pytest.mark.parametrize("size", [1, 51])
def test_any_size(images, size):
    cutouts = run(images, dia_sources(np.array([350.0]), np.array([540.0])), size)
    assert cutouts["science"].shape == (1, size, size)
    assert cutouts["valid_fraction"][0] == 1


def test_fwhm_follows_the_psf(images):
    # injection_images.moffat_psf: 4 pixels on the left, a tenth more on the right.
    cutouts = run(images, dia_sources(np.array([300.0, 419.0]), np.array([540.0, 540.0])))
    np.testing.assert_allclose(cutouts["psf_fwhm"], [4.0, 4.4], rtol=0.02)


def test_smooth_fwhm_is_the_exact_one(images):
    psf = moffat_psf(SHAPE)
    x, y = np.array([0.0, 33.3, 119.0]), np.array([89.0, 40.0, 2.0])
    np.testing.assert_allclose(smooth_fwhm(psf, x, y), psf.fwhm(x, y), rtol=5e-3)
    assert np.isnan(smooth_fwhm(psf, np.array([np.nan]), np.array([1.0]))).all()


def test_dia_object_id_is_kept(images):
    table = dia_sources(np.array([350.0]), np.array([540.0]))
    assert run(images, table)["diaObjectId"][0] == 0
    table["diaObjectId"] = [99]
    assert run(images, table)["diaObjectId"][0] == 99


def test_template_may_be_larger_but_not_smaller(images):
    science, _, difference = images
    shape = (SHAPE[0] + 40, SHAPE[1] + 40)
    wide = visit_image(make_planes(4, shape=shape), start=(START[0] - 20, START[1] - 20))
    table = dia_sources(np.array([340.0]), np.array([540.0]))
    cutouts = run((science, wide, difference), table)
    np.testing.assert_array_equal(cutouts["template"][0], make_planes(4, shape=shape).image[45:75, 45:75])
    moved = visit_image(make_planes(4), start=(START[0] + 1, START[1]))
    with pytest.raises(ImageBoxError, match=r"template_detector.*covers the difference"):
        run((science, moved, difference), table)


def test_bad_tables(images):
    table = dia_sources(np.array([340.0]), np.array([540.0]))
    with pytest.raises(NoWorkFound, match="no DIA source"):
        run(images, table[:0])
    lacking = table.copy()
    lacking.remove_column("psfFluxErr")
    with pytest.raises(TableSchemaError, match=r"dia_source_detector.*psfFluxErr.*no such column"):
        run(images, lacking)
    wrong = Table(table, copy=True)
    wrong["psfFlux"].unit = "Jy"
    with pytest.raises(TableSchemaError, match=r"psfFlux.*unit nJy.*unit Jy"):
        run(images, wrong)
