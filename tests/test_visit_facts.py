"""What populations learn from visit images: depth, and which places are masked in all visits."""

import numpy as np
import pytest
from astropy.table import vstack
from dia_vetting.images import pixel_to_sky
from dia_vetting.injection.make_transients import MakeTransientsTask
from dia_vetting.injection.schemas import TRANSIENT_EPOCH, TRANSIENT_TRUTH
from dia_vetting.injection.transients import Visit
from dia_vetting.injection.visit_facts import image_depth, masked_ids
from dia_vetting.injection.visit_records import DimensionRecordError
from dia_vetting.masks import MaskBit
from injection_images import moffat_psf, noisy_planes, visit_image
from test_populations import field, hosts, visits

SHAPE = (200, 200)


def image(*bad):
    planes = noisy_planes(SHAPE, 2.0)
    for x, y in bad:
        planes.mask[y, x] |= np.uint32(MaskBit.BAD)
    return visit_image(planes)


class Handle:
    """A dataset that is in memory already."""

    def __init__(self, value):
        self.value = value

    def get(self):
        return self.value


def truth(ids):
    values = {c.name: np.full(len(ids), np.nan) for c in TRANSIENT_TRUTH.columns if c.dtype == "f8"}
    values |= {c.name: np.full(len(ids), "x") for c in TRANSIENT_TRUTH.columns if c.dtype == "U"}
    return TRANSIENT_TRUTH.build(values | {"injection_id": ids, "host_id": np.zeros(len(ids))})


def epochs(ids, visit, x, y):
    ra, dec = pixel_to_sky(image(), np.asarray(x, float), np.asarray(y, float))
    count = len(ids)
    values = {c.name: np.zeros(count) for c in TRANSIENT_EPOCH.columns if c.dtype != "U"}
    values |= {"band": np.full(count, "r"), "source_type": np.full(count, "Star")}
    return TRANSIENT_EPOCH.build(values | {"injection_id": ids, "visit": visit, "ra": ra, "dec": dec})


def test_depth_is_that_of_the_noise():
    """Of 200 electrons of sky at gain 2, and n_eff of the PSF at the middle."""
    n_eff = float(moffat_psf(SHAPE).effective_area([100.0], [100.0])[0])
    expected = 31.4 - 2.5 * np.log10(5.0 * np.sqrt(200.0 / 4.0 * n_eff))
    assert image_depth(image()) == pytest.approx(expected, abs=0.01)


def test_masked_within_a_pixel_and_only_on_the_image():
    table = epochs([1, 2, 3, 4], np.full(4, 42), [50.3, 80.0, 120.0, 500.0], [50.2, 80.0, 120.0, 50.0])
    ids, masked = masked_ids(table, image((51, 51), (82, 80)), ["BAD"], 42)
    assert ids.tolist() == [1, 2, 3]
    assert masked.tolist() == [True, False, False]
    assert masked_ids(table, image((51, 51)), ["SAT"], 42)[1].tolist() == [False, False, False]
    assert len(masked_ids(table, image(), ["BAD"], 43)[0]) == 0


def test_only_what_is_masked_in_all_its_visits_is_left_out():
    """1 is masked in both visits, 2 in one, 3 is in no visit (in templates only), 4 lies off the images."""
    config = MakeTransientsTask.ConfigClass()
    config.avoidMaskPlanes = ["BAD"]
    task = MakeTransientsTask(config=config)
    one, two = (epochs([1, 2, 4], np.full(3, v), [50.0, 80.0, 900.0], [50.0, 80.0, 50.0]) for v in (7, 8))
    below = epochs([3], np.array([7]), [120.0], [120.0])
    images = {(7, 0): Handle(image((50, 50), (80, 80))), (8, 0): Handle(image((50, 50)))}
    kept = task._in_the_open(truth([1, 2, 3, 4]), vstack([one, two]), below, images)
    assert [sorted(set(table["injection_id"])) for table in kept] == [[2, 3, 4], [2, 4], [3]]
    assert task.metadata["left_out_masked"] == 1


@pytest.mark.parametrize("name", ["supernova", "agn", "moving"])
def test_light_curves_need_times(name):
    config = MakeTransientsTask.ConfigClass()
    config.populations = [name]
    timeless = [Visit(v.visit, v.band, v.regions) for v in visits(2)]
    with pytest.raises(DimensionRecordError, match="timespan"):
        MakeTransientsTask(config=config).run(hosts(5), timeless, field())
