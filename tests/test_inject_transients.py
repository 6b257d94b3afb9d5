"""The injection task on real images of lsst.images."""

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.errors import TableSchemaError
from dia_vetting.images import (
    MissingImageComponentError,
    NoUsablePixelsError,
    has_injections,
    pixel_to_sky,
    planes_from_image,
    sky_to_pixel,
)
from dia_vetting.injection.flags import InjectionFlag
from dia_vetting.injection.gain import GainError
from dia_vetting.injection.inject_transients import (
    InjectTransientsConfig,
    InjectTransientsConnections,
    InjectTransientsTask,
)
from dia_vetting.injection.schemas import INJECTED_CATALOG, TRANSIENT_EPOCH
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from injection_images import SCALE, noisy_planes, visit_image
from lsst.images import Box, MaskedImage
from lsst.images.psfs import GaussianPointSpreadFunction
from lsst.images.serialization import ArchiveReadError

SHAPE, GAIN = (200, 220), 1.5
START = (1000, 500)
"""Parent-frame (y, x) of the first pixel."""

DATA_ID = {"instrument": "SimLSST", "visit": 42, "detector": 3}


def epochs(image, x, y, mag, visit=42, first_id=1, **change) -> Table:
    ra, dec = pixel_to_sky(image, np.asarray(x, float), np.asarray(y, float))
    count = len(ra)
    values = {
        "injection_id": np.arange(first_id, first_id + count),
        "visit": np.full(count, visit),
        "band": np.full(count, "r"),
        "ra": ra,
        "dec": dec,
        "mag": np.broadcast_to(mag, count),
        "source_type": np.full(count, "Star"),
        "host_id": np.zeros(count),
        "host_mag": np.full(count, np.nan),
        "midpointMjdTai": np.full(count, 61_345.0),
        "trail_length": np.zeros(count),
        "trail_angle": np.zeros(count),
    }
    return TRANSIENT_EPOCH.build(values | change)


def run(image, tables, seed=0, **data_id):
    config = InjectTransientsConfig()
    config.seed = seed
    return InjectTransientsTask(config=config).run(image, tables, **(DATA_ID | data_id))


@pytest.fixture(scope="module")
def image():
    return visit_image(noisy_planes(SHAPE, GAIN), start=START)


@pytest.fixture(scope="module")
def table(image):
    return epochs(image, [550.3, 620.9, 600.0], [1050.2, 1120.7, 1080.0], [18.0, 20.0, 22.0])


def test_flux_position_noise_masks_and_metadata(image, table):
    found = run(image, [table])
    catalog, after = found.injectedCatalog, planes_from_image(found.injectedImage)
    before = planes_from_image(image)
    INJECTED_CATALOG.check(catalog)
    np.testing.assert_allclose(catalog["flux"], 10 ** (0.4 * (31.4 - np.array([18, 20, 22]))))
    np.testing.assert_allclose(catalog["x"], [550.3, 620.9, 600.0], atol=1e-6)
    added = after.image.astype(float) - before.image
    assert added.sum() == pytest.approx(catalog["injected_flux"].sum(), rel=1e-5)
    noise = np.sqrt(catalog["flux"] / GAIN)
    assert (np.abs(catalog["injected_flux"] - catalog["flux"]) < 4 * noise).all()
    assert (catalog["injected_flux"] != catalog["flux"]).all()
    np.testing.assert_allclose(after.variance - before.variance, added / GAIN, rtol=0.01, atol=0.5)
    peak = np.unravel_index(np.argmax(added), SHAPE)
    assert peak == (50, 50)
    assert after.has(MaskBit.INJECTED_CORE).sum() == 27
    assert after.has(MaskBit.INJECTED)[added != 0].all()
    assert has_injections(found.injectedImage)
    assert not has_injections(image)
    assert found.injectedImage.metadata["INJECTED"] == "visit_image"
    assert found.injectedImage.bbox == image.bbox
    assert found.injectedImage.psf is image.psf
    assert (catalog["injection_flag"] == 0).all()
    assert (catalog["injection_draw_size"] == 31).all()


def test_pixels_are_the_psf_at_the_subpixel_position():
    """With lsst.images' own Gaussian PSF, whose stellar image is evaluated here in closed form."""
    box = Box.from_shape(SHAPE, start=START)
    psf = GaussianPointSpreadFunction(sigma=1.8, stamp_size=33, bounds=box)
    image = visit_image(noisy_planes(SHAPE, GAIN), psf, start=START)
    table = epochs(image, [550.37], [1050.81], 12.0)  # bright: photon noise of 1e-4
    after = run(image, [table]).injectedImage
    added = after.image.array.astype(float) - image.image.array
    profiles = [np.exp(-0.5 * ((np.arange(n) - c) / 1.8) ** 2) for n, c in ((200, 50.81), (220, 50.37))]
    expected = np.outer(*profiles) / np.outer(*profiles).sum()
    flux = 10 ** (0.4 * (31.4 - 12.0))
    assert np.abs(added / flux - expected).max() / expected.max() < 2e-3


def test_same_seed_same_bytes_and_noise_of_its_own(image, table):
    one, again, other = run(image, [table]), run(image, [table]), run(image, [table], seed=1)
    np.testing.assert_array_equal(one.injectedImage.image.array, again.injectedImage.image.array)
    assert (one.injectedCatalog["injected_flux"] != other.injectedCatalog["injected_flux"]).all()
    # The noise of a source depends on itself alone.
    alone = run(image, [table[1:2]])
    assert alone.injectedCatalog["injected_flux"][0] == one.injectedCatalog["injected_flux"][1]
    elsewhere = run(image, [table], detector=4)
    assert (elsewhere.injectedCatalog["injected_flux"] != one.injectedCatalog["injected_flux"]).all()


def test_only_rows_of_this_visit_from_all_tracts(image, table):
    other = epochs(image, [555.0], [1150.0], 20.0, visit=43, first_id=50)
    second = epochs(image, [640.0], [1160.0], 20.0, first_id=90)
    found = run(image, [table, other, second]).injectedCatalog
    assert found["injection_id"].tolist() == [1, 2, 3, 90]


def test_no_injection_in_a_visit_passes_the_image_through(image, table):
    for tables in ([], [TRANSIENT_EPOCH.empty()], [table]):
        found = run(image, tables, visit=43)
        assert len(found.injectedCatalog) == 0
        assert found.injectedCatalog.colnames == INJECTED_CATALOG.names()
        np.testing.assert_array_equal(found.injectedImage.image.array, image.image.array)
        np.testing.assert_array_equal(found.injectedImage.variance.array, image.variance.array)
        assert not planes_from_image(found.injectedImage).has(MaskBit.INJECTED).any()


def test_bad_rows_are_flagged_and_rows_far_away_left_to_others(image):
    x = [560.0, 570.0, 580.0, 495.0, 450.0, 300.0]
    y = [1050.0, 1060.0, 1070.0, 1050.0, 1050.0, 1050.0]
    kinds = np.array(["Star", "Sersic", "DeltaFunction", "Star", "Star", "Star"])
    mags = np.array([np.nan, 20.0, 20.0, 20.0, 20.0, 20.0])
    task = InjectTransientsTask(config=InjectTransientsConfig())
    table = epochs(image, x, y, mags, source_type=kinds)
    found = task.run(image, [table], **DATA_ID).injectedCatalog
    F = InjectionFlag
    assert found["injection_flag"].tolist() == [F.MAG_BAD, F.TYPE_UNKNOWN, 0, 0, F.NO_OVERLAP]
    assert found["injection_draw_size"].tolist() == [0, 0, 31, 31, 31]
    assert 0 < found["injected_flux"][3] < 0.2 * found["flux"][3]
    assert found["injected_flux"][4] == 0
    assert task.metadata["rows_of_visit"] == 6
    assert task.metadata["rows_on_image"] == 5
    assert task.metadata["flagged"]["MAG_BAD"] == 1
    assert found.meta["PSF_COMPUTE_ERROR"] == 5


def test_gain_comes_from_the_scaling_where_there_is_one(table):
    planes = noisy_planes(SHAPE, GAIN)
    scaled = visit_image(planes, start=START, flux_per_electron=1 / 7.0)
    task = InjectTransientsTask(config=InjectTransientsConfig())
    task.run(scaled, [table], **DATA_ID)
    assert task.metadata["gain"] == pytest.approx(7.0)
    task.run(visit_image(planes, start=START), [table], **DATA_ID)
    assert task.metadata["gain"] == pytest.approx(GAIN, rel=0.01)
    assert 0 < task.metadata["psf_border_fraction"] < 0.01


def test_gain_is_measured_where_the_calibration_is_not_that_of_the_pixels(table):
    """As in a template, which has the scaling of the visit image whose pixels it was warped to."""
    scaled = visit_image(noisy_planes(SHAPE, GAIN), start=START, flux_per_electron=1 / 7.0)
    config = InjectTransientsConfig()
    config.gainFromVariance = True
    task = InjectTransientsTask(config=config)
    catalog = task.run(scaled, [table], **DATA_ID).injectedCatalog
    assert task.metadata["gain"] == pytest.approx(GAIN, rel=0.01)
    np.testing.assert_allclose(catalog["gain"], GAIN, rtol=0.01)


def test_dataset_names_follow_the_image():
    config = InjectTransientsConfig()
    config.connections.visitImageType = "template_detector"
    config.connections.epochType = "transient_template_epoch"
    connections = InjectTransientsConnections(config=config)
    assert connections.visitImage.name == "template_detector"
    assert connections.epochs.name == "transient_template_epoch"
    assert connections.injectedImage.name == "injected_template_detector"
    assert connections.injectedCatalog.name == "injected_template_detector_catalog"
    assert connections.injectedCatalogSchema.name == "injected_template_detector_catalog_schema"


def test_nan_pixels_stay(table):
    planes = noisy_planes(SHAPE, GAIN)
    planes.image[40:60, 45:50] = np.nan
    after = run(visit_image(planes, start=START), [table]).injectedImage
    np.testing.assert_array_equal(np.isnan(after.image.array), np.isnan(planes.image))


def test_bad_input_is_named(image, table):
    nan = np.full(SHAPE, np.nan)
    empty = visit_image(Planes(nan, nan, np.zeros(SHAPE, np.uint32)), start=START)
    with pytest.raises(NoUsablePixelsError, match=r"visit_image \(visit 42, detector 3\)"):
        run(empty, [table])
    broken = visit_image(noisy_planes(SHAPE, GAIN), ArchiveReadError("no such class"), start=START)
    with pytest.raises(MissingImageComponentError, match=r"visit_image \(visit 42, .*cannot read the PSF"):
        run(broken, [table])
    no_psf = MaskedImage(image.image, mask=image.mask, variance=image.variance)
    with pytest.raises(MissingImageComponentError, match="no PSF"):
        run(no_psf, [table])
    constant = Planes(noisy_planes(SHAPE, GAIN).image, np.ones(SHAPE), np.zeros(SHAPE, np.uint32))
    with pytest.raises(GainError, match="visit 42, detector 3"):
        run(visit_image(constant, start=START), [table])
    bad = table.copy()
    bad.remove_column("mag")
    with pytest.raises(TableSchemaError, match="mag"):
        TRANSIENT_EPOCH.check(bad)


def test_positions_survive_the_way_to_the_sky(image, table):
    x, y = sky_to_pixel(image, table["ra"], table["dec"])
    shifted = epochs(image, x + 1.0, y, 20.0)
    step = np.hypot(shifted["dec"] - table["dec"], (shifted["ra"] - table["ra"]) * np.cos(np.deg2rad(2.0)))
    np.testing.assert_allclose(step * 3600, SCALE, rtol=1e-4)


def test_pixels_do_not_know_the_order_of_rows_and_tables():
    """Crowded, so that sums of neighbours would show it; one by one and many at once."""
    image = visit_image(noisy_planes((200, 200), 2.0), flux_per_electron=0.5)
    rng = np.random.default_rng(3)
    table = epochs(image, rng.uniform(50, 80, 60), rng.uniform(50, 80, 60), rng.uniform(20, 24, 60))
    for minimum in (10_000, 0):
        task = InjectTransientsTask(config=config_of(blockMinimum=minimum))
        first, second = (
            task.run(image, tables, instrument="SimLSST", visit=42, detector=3)
            for tables in ([table], [table[40:][::-1], table[:40][::-1]])
        )
        for plane in ("image", "variance"):
            one, other = (getattr(result.injectedImage, plane).array for result in (first, second))
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(first.injectedCatalog["x"], second.injectedCatalog["x"])


def test_rows_without_a_position_are_counted(image, table):
    table = table.copy()
    table["ra"][0] = np.nan
    task = InjectTransientsTask(config=config_of())
    result = task.run(image, [table], instrument="SimLSST", visit=42, detector=3)
    assert task.metadata["rows_without_position"] == 1
    assert len(result.injectedCatalog) == len(table) - 1


def config_of(**options):
    config = InjectTransientsTask.ConfigClass()
    config.update(**options)
    return config
