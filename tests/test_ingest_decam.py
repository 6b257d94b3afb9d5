"""DECam exposures: the real sample, and made-up ones for what it does not have."""

import re
import shutil
from pathlib import Path

import galsim
import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner
from dia_vetting import images as im
from dia_vetting.cli import main
from dia_vetting.embedded.decam import DecamFileError, find_triples, mask_from_quality, read_triple
from dia_vetting.embedded.decam_calibration import NoZeroPointError
from dia_vetting.embedded.ingest_decam import EXPOSURE_CALIBRATION, IngestSummary, ingest_decam
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.errors import BadInputError
from dia_vetting.masks import MaskBit
from lsst.daf.butler import Butler

SIDE = 220
SKY = 400.0
GAIN = 4.0
STARS = [
    (40.2, 50.7, 2e5),
    (150.4, 60.1, 9e4),
    (60.9, 160.3, 6e4),
    (165.5, 170.8, 1.2e5),
    (110.0, 112.0, 4e4),
]
TPV = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CUNIT1": "deg", "CUNIT2": "deg"}
TPV |= {"CRVAL1": 187.6, "CRVAL2": 25.43, "CRPIX1": 580.2, "CRPIX2": 10935.0}
TPV |= {"CD1_1": -1.2e-07, "CD1_2": 7.286e-05, "CD2_1": -7.288e-05, "CD2_2": -1.2e-07}
TPV |= {"PV1_0": 0.01, "PV1_1": 1.04, "PV1_7": 0.016, "PV2_1": 1.01, "PV2_5": 0.015}


def write_exposure(
    folder: Path,
    number: int,
    *,
    suffix: str = ".fits",
    transparency: float = 1.0,
    flare: float = 1.0,
    **header: object,
) -> None:
    rng = np.random.default_rng(number)
    image = galsim.ImageF(SIDE, SIDE, scale=1.0)
    image.setOrigin(0, 0)
    for index, (x, y, flux) in enumerate(STARS):
        flux *= transparency * (flare if index == 1 else 1.0)
        star = galsim.Moffat(beta=3.0, fwhm=4.0 + 0.2 * (number % 3), flux=flux)
        star.drawImage(image, center=galsim.PositionD(x, y), add_to_image=True)
    expected = image.array + SKY
    pixels = (expected + rng.normal(size=expected.shape) * np.sqrt(expected / GAIN)).astype(np.float32)
    quality = np.zeros(pixels.shape, np.int32)
    quality[10, 20], quality[11, 21:24] = 1, 5
    pixels[11, 21:24] += 5000
    weight = np.where(quality > 0, 0.0, GAIN / expected).astype(np.float32)
    primary = fits.Header()
    values = {
        "INSTRUME": "DECam",
        "PLVER": "V4.8.2",
        "EXPNUM": number,
        "DATE-OBS": f"2017-03-{number % 28 + 1:02d}T06:18:30.75",
        "EXPTIME": 100.0,
        "FILTER": "r DECam SDSS c0002 6415.0 1480.0",
        "TELRA": "12:30:00",
        "TELDEC": "25:25:00",
        "AIRMASS": 1.5,
        "MAGZERO": 30.0,
        **header,
    }
    primary.update({key: value for key, value in values.items() if value is not None})
    hdu = fits.CompImageHDU if suffix.endswith(".fz") else fits.ImageHDU
    for member, data in (("ooi", pixels), ("ood", quality), ("oow", weight)):
        extension = fits.Header(TPV)
        extension["CCDNUM"], extension["GAINA"], extension["FWHM"] = 25, GAIN, 4.0
        kind = {"quantize_level": 0.0, "compression_type": "GZIP_2"} if hdu is fits.CompImageHDU else {}
        hdus = [fits.PrimaryHDU(header=primary), hdu(data, header=extension, name="S1", **kind)]
        fits.HDUList(hdus).writeto(folder / f"c4d_{number:06d}_{member}_r_v1{suffix}")


@pytest.mark.parametrize("suffix", [".fits", ".fits.fz", ".fits.gz"])
def test_plain_and_compressed_files_are_read(tmp_path: Path, suffix: str) -> None:
    write_exposure(tmp_path, 7, suffix=suffix)
    (triple,), errors = find_triples(tmp_path)
    assert not errors
    (image,) = read_triple(triple)
    assert (image.visit, image.detector, image.band) == (7, 25, "r")
    assert image.mjd_begin == pytest.approx(57820.26286 + 37 / 86400, abs=1e-4)  # UTC to TAI
    bad = image.planes.has(MaskBit.BAD)
    assert bad.sum() == 1
    assert bad[10, 20]
    assert image.planes.has(MaskBit.CR).sum() == 3
    assert image.planes.image[11, 22] > 4000  # a cosmic ray is marked, not mended
    assert np.isfinite(image.planes.variance).all()
    blank = image.planes.image[80:100, 5:25]
    assert abs(blank.mean()) < 3 * np.sqrt(SKY / GAIN / blank.size)


def test_quality_codes_and_bits_by_version() -> None:
    codes = mask_from_quality(np.arange(9), "V4.8.2a")
    names = ["", "BAD", "NO_DATA", "SAT", "SAT", "CR", "BAD", "", "STREAK"]
    assert codes.tolist() == [int(MaskBit[name]) if name else 0 for name in names]
    values = [0, 1, 2, 4, 16, 64, 128, 1 | 16]
    bits = mask_from_quality(np.array(values), "DES V3.4.1")
    expected = ["", "BAD", "SAT", "INTRP", "CR", "SAT", "", ("BAD", "CR")]
    for found, name in zip(bits, expected, strict=True):
        parts = [name] if isinstance(name, str) else name
        assert found == sum(int(MaskBit[part]) for part in parts if part)
    with pytest.raises(DecamFileError, match=r"a.fits: expected data-quality codes 0 to 8, found \[64\]"):
        mask_from_quality(np.array([0, 64]), "V5.2.2LS", "a.fits")
    with pytest.raises(DecamFileError, match="a pipeline version in PLVER"):
        mask_from_quality(np.array([0]), "", "a.fits")


def test_zero_point_follows_from_common_stars(tmp_path: Path) -> None:
    folder = tmp_path / "exposures"
    folder.mkdir()
    write_exposure(folder, 1)
    write_exposure(folder, 2, transparency=0.6, MAGZERO=None)
    write_exposure(folder, 3, MAGZERO=30.04)
    summary = ingest_decam(folder, tmp_path / "repo")
    rows = {int(row["visit"]): row for row in summary.calibration}
    assert rows[2]["zeroPoint"] - rows[1]["zeroPoint"] == pytest.approx(2.5 * np.log10(0.6), abs=0.01)
    assert rows[2]["zeroPointSource"] == "common stars"
    assert rows[2]["zeroPointErr"] < 0.01
    # The headers of two equal exposures differ by 0.04 mag: they meet half-way.
    assert rows[1]["zeroPoint"] == pytest.approx(30.02, abs=0.005)
    assert rows[3]["zeroPointOffset"] == pytest.approx(-0.02, abs=0.005)
    assert rows[3]["zeroPointSource"] == "header and common stars"
    assert rows[1]["zeroPointStars"] == rows[2]["zeroPointStars"] >= 3
    EXPOSURE_CALIBRATION.check(summary.calibration)


def test_a_star_that_varies_has_no_say(tmp_path: Path) -> None:
    folder = tmp_path / "exposures"
    folder.mkdir()
    write_exposure(folder, 1)
    write_exposure(folder, 2, flare=1.3, MAGZERO=None)
    write_exposure(folder, 3, MAGZERO=None)
    rows = {int(row["visit"]): row for row in ingest_decam(folder, tmp_path / "repo").calibration}
    assert rows[2]["zeroPoint"] == pytest.approx(30.0, abs=0.015)


def test_without_any_zero_point_an_exposure_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "exposures"
    folder.mkdir()
    write_exposure(folder, 1)
    write_exposure(folder, 2, FILTER="g DECam SDSS c0001 4720.0 1520.0", MAGZERO=None)
    summary = ingest_decam(folder, tmp_path / "repo")
    (error,) = summary.errors
    assert isinstance(error, NoZeroPointError)
    assert "c4d_000002_ooi_r_v1.fits[S1]" in str(error)
    assert summary.calibration["visit"].tolist() == [1]


def test_roles_stay_when_exposures_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "exposures"
    folder.mkdir()
    write_exposure(folder, 1)
    write_exposure(folder, 2, transparency=0.5, MAGZERO=29.2474)
    first = ingest_decam(folder, tmp_path / "repo")
    roles = {int(row["visit"]): row["role"] for row in first.calibration}
    assert roles == {1: "template", 2: "science"}  # the deeper one
    write_exposure(folder, 3, transparency=4.0, MAGZERO=31.505)
    second = ingest_decam(folder, tmp_path / "repo")
    assert {int(row["visit"]): row["role"] for row in second.calibration} == {**roles, 3: "science"}
    assert second.made == 1


def test_templates_can_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "exposures"
    folder.mkdir()
    write_exposure(folder, 1)
    write_exposure(folder, 2, transparency=0.5, MAGZERO=29.2474)
    named = ingest_decam(folder, tmp_path / "repo", template_visits=[2])
    assert {int(row["visit"]): row["role"] for row in named.calibration} == {1: "science", 2: "template"}
    with pytest.raises(
        BadInputError, match=r"usable exposure of visit 1, not science, found science already"
    ):
        ingest_decam(folder, tmp_path / "repo", template_visits=[1])
    with pytest.raises(BadInputError, match=r"visit 9, not science, found usable visits \[1, 2\]"):
        ingest_decam(folder, tmp_path / "other", template_visits=[9])


def damage(folder: Path, how: str) -> str:
    """Damage exposure 2 in some way, and return what the message must say."""
    path = folder / "c4d_000002_{}_r_v1.fits"
    image, quality, weight = (Path(str(path).format(m)) for m in ("ooi", "ood", "oow"))
    if how == "missing":
        weight.unlink()
        return r"c4d_000002_ood_r_v1.fits: expected all of ooi, ood and oow, found no oow"
    if how == "truncated":
        weight.write_bytes(weight.read_bytes()[:60000])
        return r"c4d_000002_oow_r_v1.fits: expected a whole FITS file"
    if how == "no fits":
        image.write_text("not an image")
        return r"c4d_000002_ooi_r_v1.fits: expected a whole FITS file"
    if how == "other camera":
        fits.setval(image, "INSTRUME", value="hsc")
        return r"c4d_000002_ooi_r_v1.fits: expected INSTRUME = DECam, found hsc"
    if how == "no wcs":
        with fits.open(image, mode="update") as hdus:
            hdus[1].header["CTYPE1"], hdus[1].header["CTYPE2"] = "X", "Y"
        return r"c4d_000002_ooi_r_v1.fits\[S1\]: expected a celestial WCS"
    if how == "no key":
        fits.delval(image, "EXPTIME")
        return r"c4d_000002_ooi_r_v1.fits\[S1\]: expected header key EXPTIME"
    if how == "filter":
        fits.setval(image, "FILTER", value="VR DECam c0007 6300.0 2600.0")
        return r"expected FILTER of one of the bands"
    if how == "name":
        shutil.copy(image, folder / "flat.fits")
        return r"flat.fits: expected a name with _ooi_, _ood_ or _oow_"
    with fits.open(quality, mode="update") as hdus:
        hdus[1].data = hdus[1].data[:, :-3]
    return r"c4d_000002_ood_r_v1.fits\[S1\]: expected shape \(220, 220\), found \(220, 217\)"


HOW = ["missing", "truncated", "no fits", "other camera", "no wcs", "no key", "filter", "name", "shape"]


def test_a_bad_file_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    write_exposure(good, 2)
    for how in HOW:
        folder = tmp_path / how
        shutil.copytree(good, folder)
        message = damage(folder, how)
        triples, errors = find_triples(folder)
        for triple in triples:
            try:
                list(read_triple(triple))
            except DecamFileError as error:
                errors.append(error)
        assert len(errors) == 1, how
        assert re.search(message, str(errors[0])), (how, str(errors[0]))


def test_command_counts_what_it_left_out_and_fails(tmp_path: Path) -> None:
    folder = tmp_path / "exposures"
    folder.mkdir()
    write_exposure(folder, 1)
    write_exposure(folder, 2)
    message = damage(folder, "truncated")
    result = CliRunner().invoke(main, ["ingest-decam", str(folder), str(tmp_path / "repo")])
    assert result.exit_code == 1
    assert re.search(message, result.output)
    assert "1 images in" in result.output
    assert "1 files or exposures were left out." in result.output
    damage(folder, "no fits")
    (folder / "c4d_000001_ooi_r_v1.fits").write_text("nor this")
    result = CliRunner().invoke(main, ["ingest-decam", str(folder), str(tmp_path / "other")])
    assert result.exit_code == 1
    assert "expected at least one usable DECam exposure, found 2 unusable ones" in result.output


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Butler, IngestSummary]:
    folder, root = shared_data / "decam", tmp_path_factory.mktemp("decam") / "repo"
    summary = ingest_decam(folder, root)
    return folder, Butler.from_config(str(root), collections="DECam/defaults"), summary


def members(folder: Path, row: object) -> dict[str, tuple[np.ndarray, fits.Header]]:
    name = row["file"].split("[")[0]
    return {m: fits.getdata(folder / name.replace("ooi", m), 1, header=True) for m in ("ooi", "ood", "oow")}


def get_image(butler: Butler, row: object) -> object:
    name = "template_visit_image" if row["role"] == "template" else "visit_image"
    return butler.get(name, instrument="DECam", visit=int(row["visit"]), detector=int(row["detector"]))


def test_all_nine_exposures_and_their_roles(real: tuple[Path, Butler, IngestSummary]) -> None:
    _, butler, summary = real
    assert summary.made == 9
    assert not summary.errors
    roles = {(str(row["band"]), str(row["role"])) for row in summary.calibration}
    assert roles == {(band, role) for band in "grz" for role in ("science", "template")}
    template, science = (
        {ref.dataId["visit"] for ref in butler.query_datasets(name)}
        for name in ("template_visit_image", "visit_image")
    )
    assert len(template) == 3
    assert len(science) == 6
    assert not template & science
    assert len(butler.query_datasets("exposure_calibration")) == 9


def test_wcs_is_tpv_to_a_milliarcsecond(real: tuple[Path, Butler, IngestSummary]) -> None:
    folder, butler, summary = real
    for row in summary.calibration:
        image = get_image(butler, row)
        header = members(folder, row)["ooi"][1]
        assert header["CTYPE1"] == "RA---TPV"
        ny, nx = image.bbox.shape
        x, y = (
            a.ravel() for a in np.meshgrid(np.linspace(-0.5, nx - 0.5, 9), np.linspace(-0.5, ny - 0.5, 9))
        )
        ra, dec = im.pixel_to_sky(image, x, y)
        true_ra, true_dec = WCS(header).all_pix2world(x, y, 0)
        offset = np.hypot((ra - true_ra) * np.cos(np.radians(dec)), dec - true_dec) * 3.6e6
        assert offset.max() < 1e-3  # mas
        np.testing.assert_allclose(im.sky_to_pixel(image, ra, dec), (x, y), atol=1e-5)


def test_pixels_variance_and_mask_are_those_of_the_files(real: tuple[Path, Butler, IngestSummary]) -> None:
    folder, butler, summary = real
    rays = 0
    for row in summary.calibration:
        planes = im.planes_from_image(get_image(butler, row))
        files = members(folder, row)
        scale = 10 ** (-0.4 * (row["zeroPoint"] - 31.4))
        sky = files["ooi"][0] - planes.image / scale
        assert sky.std() < 0.01 * sky.mean()  # what was subtracted is smooth, at cosmic rays too
        weight = files["oow"][0]
        good = weight > 0
        np.testing.assert_allclose(planes.variance[good], scale**2 / weight[good], rtol=1e-4)
        assert (planes.variance > 0).all()
        np.testing.assert_array_equal(planes.has(MaskBit.CR), files["ood"][0] == 5)
        np.testing.assert_array_equal(planes.has(MaskBit.BAD), files["ood"][0] == 1)
        rays += int(planes.has(MaskBit.CR).sum())
    assert rays == 384


def test_a_star_has_one_magnitude_in_all_exposures_of_a_band(
    real: tuple[Path, Butler, IngestSummary],
) -> None:
    _, butler, summary = real
    fluxes: dict[str, list[float]] = {}
    for row in summary.calibration:
        image = get_image(butler, row)
        x, y = im.sky_to_pixel(image, 186.73546, 25.46479)  # the brightest star in z
        planes = im.planes_from_image(image)
        flux, _, _ = sep.sum_circle(np.ascontiguousarray(planes.image), x, y, 13.0)
        fluxes.setdefault(str(row["band"]), []).append(float(flux[0]))
    for band, values in fluxes.items():
        assert np.std(values) / np.mean(values) < 0.01, (band, values)


def test_calibration_and_psf_say_where_they_come_from(real: tuple[Path, Butler, IngestSummary]) -> None:
    _, butler, summary = real
    EXPOSURE_CALIBRATION.check(summary.calibration)
    for row in summary.calibration:
        image = get_image(butler, row)
        assert image.metadata["ZERO_POINT_SOURCE"] == row["zeroPointSource"]
        assert image.metadata["PSF_MODEL"] == row["psfModel"]
        assert image.metadata["PSF_STARS"] == row["psfStars"] in (2, 3)
        assert 2.5 < row["psfFwhm"] < 6.5
        fwhm = im.local_psf(image).fwhm(100, 100)[0]
        assert fwhm == pytest.approx(row["psfFwhm"], rel=0.05)
    headers = summary.calibration["visit"][np.isfinite(summary.calibration["zeroPointOffset"])]
    assert set(headers) == {630780, 634850, 640615, 650104}
    assert (summary.calibration["zeroPointErr"] < 0.02).all()


def test_tract_holds_the_field_and_visits_have_their_night(real: tuple[Path, Butler, IngestSummary]) -> None:
    _, butler, summary = real
    (ref,) = butler.query_datasets("tract_geometry")
    geometry = TractGeometry.from_dict(butler.get(ref))
    for row in summary.calibration:
        image = get_image(butler, row)
        ny, nx = image.bbox.shape
        ra, dec = im.pixel_to_sky(image, [0, nx - 1, nx - 1, 0], [0, 0, ny - 1, ny - 1])
        assert (geometry.find_patch(*geometry.sky_to_pixel(ra, dec)) == 0).all()
    (record,) = butler.registry.queryDimensionRecords("visit", instrument="DECam", visit=431608)
    assert record.day_obs == 20150410  # taken at 3h50 UTC of the 11th
    assert record.physical_filter == "z DECam SDSS c0004 9260.0 1520.0"
