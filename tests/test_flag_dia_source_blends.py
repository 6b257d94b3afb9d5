import numpy as np
import pytest
from blend_samples import small_model
from dia_vetting.blends.flag_dia_source_blends import FlagDiaSourceBlendsTask
from dia_vetting.blends.flags import BlendFlag
from dia_vetting.blends.model_io import to_table
from dia_vetting.blends.schemas import DIA_SOURCE_BLEND
from dia_vetting.errors import TableSchemaError
from dia_vetting.images import NoUsablePixelsError
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from dia_vetting.reliability.schemas import DIA_SOURCE_REQUIRED
from injection_images import moffat_psf, noisy_planes, visit_image
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound

SHAPE = (240, 260)
START = (500, 300)


def dia_sources(x, y):
    n = len(x)
    columns = {name: np.arange(n) + 1.0 for name in ("ra", "dec", "psfFlux", "psfFluxErr", "snr")}
    ids = {"diaSourceId": 90 - np.arange(n), "visit": np.full(n, 42), "detector": np.full(n, 3)}
    return DIA_SOURCE_REQUIRED.build({**columns, **ids, "band": np.full(n, "r"), "x": x, "y": y})


@pytest.fixture(scope="module")
def science():
    """A star, a close pair of stars, and a block of bad pixels, in the frame of the array."""
    planes, psf = noisy_planes(SHAPE, 1.5), moffat_psf(SHAPE, fwhm=3.4)
    stamps, x0, y0 = psf.stellar_images([60.0, 160.0, 166.0], [70.0, 120.0, 120.0])
    for stamp, column, row in zip(stamps, x0, y0, strict=True):
        planes.image[row : row + 31, column : column + 31] += 3e4 * stamp
    planes.mask[40:60, 190:210] = MaskBit.BAD
    return visit_image(planes, psf, start=START)


def make_task(**settings):
    config = FlagDiaSourceBlendsTask.ConfigClass()
    config.stampSize = 33
    for name, value in settings.items():
        setattr(config, name, value)
    config.validate()
    return FlagDiaSourceBlendsTask(config=config)


def test_every_row_in_is_a_row_out(science):
    x = np.array([60.0, 160.0, 200.0, 1.0, np.nan, 120.0]) + START[1]
    y = np.array([70.0, 120.0, 50.0, 120.0, 10.0, 200.0]) + START[0]
    table, task = dia_sources(x, y), make_task()
    blends = task.run(science, table, to_table(small_model())).blends
    DIA_SOURCE_BLEND.check(blends)
    assert blends.colnames == DIA_SOURCE_BLEND.names()
    for name in ("diaSourceId", "visit", "detector", "band", "ra", "dec"):
        np.testing.assert_array_equal(blends[name], table[name])
    assert blends["sextractor_blend"].tolist() == [False, True, False, False, False, False]
    np.testing.assert_array_equal(np.isfinite(blends["p_blend"]), [True, True, False, True, False, True])
    flags = np.asarray(blends["flags"])
    assert flags[0] == flags[1] == 0
    assert flags[2] & BlendFlag.NO_CENTRE
    assert flags[3] & BlendFlag.OFF_EDGE
    assert flags[4] & BlendFlag.TOO_FEW_PIXELS
    assert flags[5] == BlendFlag.FAINT
    assert set(blends["blendVersion"]) == {small_model().card.version}
    assert blends.meta["flags"]["NAN"] == 1
    assert (task.metadata["n_sources"], task.metadata["n_unscored"]) == (6, 2)


def test_the_psf_is_that_of_the_image(science):
    """3.4 pixels or 8, while the model knows 3.5: flagged where it is far from that."""
    table = dia_sources(np.array([60.0 + START[1]]), np.array([70.0 + START[0]]))
    wide = visit_image(noisy_planes(SHAPE, 1.5), moffat_psf(SHAPE, fwhm=8.0), start=START)
    model = small_model()
    assert model.card.psf_fwhm == (3.5, 3.5)
    flags = [int(make_task().run(im, table, to_table(model)).blends["flags"][0]) for im in (science, wide)]
    assert flags[0] == BlendFlag(0)
    assert flags[1] & BlendFlag.PSF_UNTRAINED


def test_the_size_of_the_stamps_is_configured(science):
    table = dia_sources(np.array([60.0 + START[1]]), np.array([70.0 + START[0]]))
    flags = [
        int(make_task(stampSize=size).run(science, table, to_table(small_model())).blends["flags"][0])
        for size in (25, 51)
    ]
    assert flags == [0, BlendFlag.CROPPED]  # the model was trained with 33 pixels
    with pytest.raises(FieldValidationError, match="stampSize"):
        make_task(stampSize=24)


def test_nothing_to_do_and_bad_input(science):
    table, model = dia_sources(np.array([360.0]), np.array([560.0])), to_table(small_model())
    with pytest.raises(NoWorkFound, match="dia_source_detector"):
        make_task().run(science, table[:0], model)
    del table["x"]
    with pytest.raises(TableSchemaError, match="x"):
        make_task().run(science, table, model)


def test_image_without_usable_pixels_is_a_named_failure():
    planes = Planes(np.full(SHAPE, np.nan), np.ones(SHAPE), np.zeros(SHAPE, np.uint32))
    table = dia_sources(np.array([360.0]), np.array([560.0]))
    with pytest.raises(NoUsablePixelsError, match="injected_visit_image"):
        make_task().run(visit_image(planes, start=START), table, to_table(small_model()))


def test_a_shipped_model_is_no_input():
    config = FlagDiaSourceBlendsTask.ConfigClass()
    connections = config.ConnectionsClass
    assert connections(config=config).inputs == {"science", "diaSources", "model"}
    config.modelSource, config.shippedModel = "shipped", "no such model"
    assert connections(config=config).inputs == {"science", "diaSources"}
    with pytest.raises(FieldValidationError, match="No such model is shipped"):
        config.validate()
