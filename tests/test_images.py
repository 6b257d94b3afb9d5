"""Reading and making images, on real Rubin layouts and against astropy."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astro_metadata_translator import makeObservationInfo
from astropy.time import Time
from astropy.wcs import WCS
from dia_vetting import images as im
from dia_vetting.embedded.camera import make_detector
from dia_vetting.errors import BadInputError, ScienceError
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from dia_vetting.psf import PolynomialPsf
from lsst.images import Box, DifferenceImage, Image, Mask, MaskedImage, MaskPlane, MaskSchema, VisitImage
from lsst.images.serialization import ArchiveReadError, read_archive

FIXTURES = {
    "visit_image-1.0.0-dp1.json": VisitImage,
    "visit_image-1.0.0-dp2.json": VisitImage,
    "difference_image-1.0.0-dp2.json": DifferenceImage,
    "visit_image-1.0.0.json": VisitImage,
}
BBOX = Box.factory[100:160, 3000:3080]


def tan_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [0.002, -30.0]
    wcs.wcs.crpix = [40.0, 30.0]
    wcs.wcs.cd = np.array([[-0.2, 0.01], [0.01, 0.2]]) / 3600
    return wcs


def gaussian_psf(size: int = 21) -> PolynomialPsf:
    axis = np.arange(size) - size // 2
    nodes = [(x, y) for x in (0.0, 40.0, 79.0) for y in (0.0, 30.0, 59.0)]
    sigma = [1.6 + 0.004 * x + 0.002 * y for x, y in nodes]
    stamps = [np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / s**2) for s in sigma]
    return PolynomialPsf.from_nodes(*np.transpose(nodes), np.array(stamps), 2, (0.0, 79.0, 0.0, 59.0))


def make_planes() -> Planes:
    rng = np.random.default_rng(1)
    image, variance = rng.normal(size=(2, *BBOX.shape))
    mask = rng.integers(0, 2 * int(max(MaskBit)), BBOX.shape).astype(np.uint32)
    image[3, 4] = np.nan
    return Planes(image, variance**2, mask)


def make_image(planes: Planes | None = None, **changes: object) -> VisitImage:
    values = {
        "sky_projection": im.detector_projection(tan_wcs(), "SimLSST", 7, 2, BBOX),
        "psf": gaussian_psf(),
        "detector": make_detector("SimLSST", 2, "D02", BBOX, visit=7, pixel_scale=0.2),
        "obs_info": makeObservationInfo(
            instrument="SimLSST",
            physical_filter="r",
            datetime_begin=Time(61000.0, format="mjd", scale="tai"),
            datetime_end=Time(61000.5, format="mjd", scale="tai"),
        ),
        "band": "r",
        "flux_per_electron": 0.5,
        "metadata": {"A": 1},
        **changes,
    }
    return im.make_visit_image(planes or make_planes(), **values)


def test_planes_come_back_from_file_with_origin_psf_and_wcs(tmp_path: Path) -> None:
    planes = make_planes()
    make_image(planes).write(str(tmp_path / "image.fits"))
    image = VisitImage.read(str(tmp_path / "image.fits"))
    found = im.planes_from_image(image)
    np.testing.assert_array_equal(found.image, planes.image)
    np.testing.assert_array_equal(found.variance, planes.variance)
    np.testing.assert_array_equal(found.mask, planes.mask)
    assert im.origin(image) == (3000, 100)
    np.testing.assert_allclose(im.local_psf(image).coefficients, gaussian_psf().coefficients, atol=1e-12)
    assert im.mid_time(image) == pytest.approx(61000.25)
    np.testing.assert_allclose(im.nanojansky_per_electron(image, [3000, 3079], [100, 159]), 0.5)


def test_sky_positions_agree_with_astropy_at_a_shifted_origin() -> None:
    image = make_image()
    x, y = np.array([3000.0, 3039.0, 3079.4]), np.array([100.0, 129.0, 159.4])
    ra, dec = im.pixel_to_sky(image, x, y)
    expected_ra, expected_dec = tan_wcs().all_pix2world(x - 3000, y - 100, 0)
    np.testing.assert_allclose(ra, expected_ra % 360, atol=1e-11)
    np.testing.assert_allclose(dec, expected_dec, atol=1e-11)
    assert ra.min() >= 0
    assert ra.max() > 359  # the field straddles 0h
    back = im.sky_to_pixel(image, ra, dec)
    np.testing.assert_allclose(back, (x, y), atol=1e-6)


def test_no_positions_are_transformed_to_none() -> None:
    image = make_image()
    for transform in (im.pixel_to_sky, im.sky_to_pixel):
        assert [values.shape for values in transform(image, [], [])] == [(0,), (0,)]


@pytest.mark.parametrize("name", FIXTURES)
def test_rubin_fixtures(shared_data: Path, name: str) -> None:
    image = read_archive(str(shared_data / "lsst_images_fixtures" / name))
    planes = im.planes_from_image(image, name)
    for bit, long_name in [
        (MaskBit.DETECTED, "DETECTED"),
        (MaskBit.EDGE, "DETECTION_EDGE"),
        (MaskBit.CR, "COSMIC_RAY"),
    ]:
        if long_name in image.mask.schema:
            np.testing.assert_array_equal(planes.has(bit), image.mask.get(long_name))
    x, y = np.array([0.0, 12.25]) + im.origin(image)[0], np.array([3.0, 7.5]) + im.origin(image)[1]
    sky = image.sky_projection.pixel_to_sky(x=x, y=y)
    ra, dec = im.pixel_to_sky(image, x, y)
    np.testing.assert_allclose((ra, dec), (sky.ra.deg, sky.dec.deg), atol=1e-9)
    np.testing.assert_allclose(im.sky_to_pixel(image, ra, dec), (x, y), atol=1e-5)
    psf = im.local_psf(image)
    drawn = image.psf.compute_kernel_image(x=x[0], y=y[0]).array
    np.testing.assert_allclose(psf.kernel_images(0.0, 3.0)[0], drawn, atol=1e-3 * drawn.max())
    assert not im.has_injections(image)


@pytest.mark.parametrize("name", FIXTURES)
def test_replacing_planes_keeps_everything_else(shared_data: Path, tmp_path: Path, name: str) -> None:
    image = read_archive(str(shared_data / "lsst_images_fixtures" / name))
    planes = im.planes_from_image(image)
    mask = planes.mask | np.uint32(MaskBit.INJECTED)
    replaced = im.replace_planes(
        image, Planes(planes.image + 5, planes.variance * 2, mask), metadata={"INJECTED": True}
    )
    assert type(replaced) is FIXTURES[name]
    replaced.write(str(tmp_path / "image.fits"))
    back = type(replaced).read(str(tmp_path / "image.fits"))
    np.testing.assert_array_equal(im.planes_from_image(back).mask, mask)
    np.testing.assert_array_equal(back.image.array, image.image.array + 5)
    for plane in image.mask.schema.names:
        np.testing.assert_array_equal(back.mask.get(plane), image.mask.get(plane))
    assert back.sky_projection == image.sky_projection
    assert back.metadata.get("id") == image.metadata.get("id")
    assert im.has_injections(back)
    assert not im.has_injections(image)
    assert "INJECTED" not in image.metadata


@pytest.mark.parametrize(
    ("value", "injected"), [(True, True), ("True", True), (False, False), ("F", False), (0, False)]
)
def test_injections_by_metadata(value: object, injected: bool) -> None:
    clean = Planes(np.zeros(BBOX.shape), np.ones(BBOX.shape), np.zeros(BBOX.shape, np.uint32))
    assert im.has_injections(make_image(clean, metadata={"INJECTED": value})) is injected


def test_difference_image_inherits_from_science_but_for_pixels_and_psf(tmp_path: Path) -> None:
    science = make_image(metadata={"INJECTED": True})
    planes = Planes(np.zeros(BBOX.shape), np.ones(BBOX.shape), np.zeros(BBOX.shape, np.uint32))
    wide = gaussian_psf(25)
    im.make_difference_image(science, planes, wide, {"B": 2}).write(str(tmp_path / "d.fits"))
    back = DifferenceImage.read(str(tmp_path / "d.fits"))
    assert im.local_psf(back).size == 25
    assert im.has_injections(back)
    assert back.metadata["B"] == 2
    assert back.sky_projection == science.sky_projection
    assert back.obs_info == science.obs_info


def test_patch_image_sits_in_its_tract(tmp_path: Path) -> None:
    whole = Box.factory[0:500, 0:700]
    projection = im.tract_projection(tan_wcs(), "embedded", 0, whole)
    planes = Planes(np.zeros((50, 60)), np.ones((50, 60)), np.zeros((50, 60), np.uint32))
    im.make_patch_image(planes, sky_projection=projection, x0=200, y0=100).write(str(tmp_path / "p.fits"))
    image = MaskedImage.read(str(tmp_path / "p.fits"))
    assert im.origin(image) == (200, 100)
    ra, dec = im.pixel_to_sky(image, 210.0, 120.0)
    np.testing.assert_allclose((ra, dec), np.transpose([tan_wcs().all_pix2world(210, 120, 0)]), atol=1e-10)
    with pytest.raises(im.MissingImageComponentError, match="deep_coadd tract 0: the image has no PSF"):
        im.local_psf(image, source="deep_coadd tract 0")


def test_other_flux_units_are_converted() -> None:
    image = MaskedImage(
        Image(np.full((4, 5), 2.0, np.float32), unit=u.uJy),
        mask=Mask(0, schema=MaskSchema([MaskPlane("SAT", "")]), shape=(4, 5)),
        variance=Image(np.full((4, 5), 3.0, np.float32), unit=u.uJy**2),
    )
    planes = im.planes_from_image(image)
    np.testing.assert_allclose(planes.image, 2000.0, rtol=1e-6)
    np.testing.assert_allclose(planes.variance, 3e6, rtol=1e-6)


def test_what_is_missing_is_named() -> None:
    bare = MaskedImage(Image(np.zeros((4, 5), np.float32)), mask_schema=MaskSchema([MaskPlane("SAT", "")]))
    with pytest.raises(BadInputError, match="visit_image 7: expected pixels in nJy, found pixels in no unit"):
        im.planes_from_image(bare, "visit_image 7")
    for call in (im.pixel_to_sky, im.sky_to_pixel):
        with pytest.raises(im.MissingImageComponentError, match="visit_image 7: the image has no WCS"):
            call(bare, [0.0], [0.0], "visit_image 7")
    empty = Planes(np.full(BBOX.shape, np.nan), np.ones(BBOX.shape), np.zeros(BBOX.shape, np.uint32))
    with pytest.raises(im.NoUsablePixelsError, match="visit_image 7: no pixel is finite") as caught:
        im.planes_from_image(make_image(empty), "visit_image 7")
    assert isinstance(caught.value, ScienceError)
    assert caught.value.metadata == {"pixels": 4800}
    with pytest.raises(im.MissingImageComponentError, match="visit_image 7: cannot read the PSF: no piff"):
        im.local_psf(make_image(psf=ArchiveReadError("no piff")), source="visit_image 7")
