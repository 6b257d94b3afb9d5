import numpy as np
import pytest
from astropy.table import Table
from blend_samples import small_model
from dia_vetting.blends.flag_object_blends import FlagObjectBlendsTask
from dia_vetting.blends.flags import BlendFlag
from dia_vetting.blends.model_io import to_table
from dia_vetting.blends.schemas import OBJECT_BLEND
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.errors import TableSchemaError
from dia_vetting.images import make_patch_image, tract_projection
from injection_images import moffat_psf, noisy_planes
from lsst.images import Box
from lsst.pipe.base import NoWorkFound

GEOMETRY = TractGeometry("map", 7, 150.0, 2.0, 0.2, (600, 600), 300, 30)
PATCH = 3
X0, Y0 = 270, 270
STARS = np.array([(400.3, 350.0), (500.0, 400.2), (350.0, 500.0), (450.0, 540.0), (550.0, 320.0)])
PAIR = np.array([(430.0, 450.0), (436.0, 450.0)])


def coadd(stars=True):
    """Patch 3 of a tract of 2 x 2: bright stars and one close pair."""
    shape = GEOMETRY.patch_box(PATCH).shape
    planes, psf = noisy_planes(shape, 1.5), moffat_psf(shape)
    for x, y in [*STARS, *PAIR] if stars else []:
        stamp, column, row = psf.stellar_images(x - X0, y - Y0)
        planes.image[row[0] : row[0] + 31, column[0] : column[0] + 31] += 1e5 * stamp[0]
    projection = tract_projection(GEOMETRY.wcs, "map", 7, Box.from_shape(GEOMETRY.shape))
    return make_patch_image(planes, sky_projection=projection, x0=X0, y0=Y0)


def objects():
    """The stars and one of the pair, one in the border, one of patch 0 there, and one that is not primary."""
    x, y = np.concatenate([STARS, PAIR[:1], [(290.0, 400.0), (295.0, 400.0), (400.0, 350.0)]]).T
    ra, dec = GEOMETRY.pixel_to_sky(x, y)
    patch = GEOMETRY.find_patch(x, y)
    primary = np.array([True] * 6 + [False, True, False])
    patch[6] = PATCH  # measured on this coadd, but in the inner region of patch 2
    return Table(
        {
            "objectId": 100 - np.arange(9),
            "tract": np.full(9, 7),
            "patch": patch,
            "coord_ra": ra,
            "coord_dec": dec,
            "detect_isPrimary": primary,
        }
    )


def run(image, table, patch=PATCH):
    config = FlagObjectBlendsTask.ConfigClass()
    config.stampSize = 33
    task = FlagObjectBlendsTask(config=config)
    return task.run(image, table, patch, "r", to_table(small_model())).blends


@pytest.fixture(scope="module")
def blends():
    return run(coadd(), objects())


def test_rows_are_the_objects_that_are_primary_in_the_patch(blends):
    table = objects()
    OBJECT_BLEND.check(blends)
    assert blends.colnames == OBJECT_BLEND.names()
    assert blends["objectId"].tolist() == [100, 99, 98, 97, 96, 95]
    np.testing.assert_array_equal(blends["coord_ra"], table["coord_ra"][:6])
    assert set(blends["patch"]) == {PATCH}
    assert set(blends["tract"]) == {7}
    assert set(blends["band"]) == {"r"}


def test_patches_together_have_each_primary_object_once():
    image, table = coadd(), objects()
    found = [run(image, table, patch)["objectId"].tolist() for patch in (2, PATCH)]
    assert found[0] == [93]
    assert sorted(found[0] + found[1]) == sorted(table["objectId"][table["detect_isPrimary"]].tolist())


def test_sep_splits_the_pair_and_the_stamps_are_in_the_right_place(blends):
    assert blends["sextractor_blend"].tolist() == [False] * 5 + [True]
    assert not (np.asarray(blends["flags"]) & int(BlendFlag.FAINT)).any()
    assert np.isfinite(blends["p_blend"]).all()


def test_the_psf_is_fitted_to_the_stars_of_the_coadd(blends):
    psf = BlendFlag.PSF_ESTIMATED | BlendFlag.PSF_UNKNOWN
    assert not (np.asarray(blends["flags"]) & int(psf)).any()
    without = run(coadd(stars=False), objects())
    assert (np.asarray(without["flags"]) & int(BlendFlag.PSF_UNKNOWN)).all()
    assert (np.asarray(without["flags"]) & int(BlendFlag.FAINT)).all()


def test_nothing_to_do_and_bad_input():
    image, table = coadd(), objects()
    with pytest.raises(NoWorkFound, match="primary in patch 1"):
        run(image, table, 1)
    with pytest.raises(NoWorkFound, match="primary"):
        run(image, table[:0])
    table["coord_ra"].unit = "m"
    with pytest.raises(TableSchemaError, match="coord_ra"):
        run(image, table)
    table.remove_column("detect_isPrimary")
    with pytest.raises(TableSchemaError, match="detect_isPrimary"):
        run(image, table)
