"""Measurements against photutils, GalSim and closed forms."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.embedded.detection import DetectionConfig
from dia_vetting.embedded.measurement import FLAG_BITS, Detections, detect_and_measure, pixel_flags
from dia_vetting.embedded.photometry import fit_positions, forced_psf_flux
from dia_vetting.embedded.shapes import fit_dipoles, measure_moments, trails_from_moments
from dia_vetting.embedded.subtraction import StaticSky, subtract
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes, cutouts
from diffim_scene import draw, make_pair, psf, stamp
from photutils.psf import ImagePSF, PSFPhotometry

FWHM = 0.8
SHAPE = (300, 320)
SIGMA = 18.0


def exposure(x: list[float], y: list[float], flux: list[float], seed: int | None = 1) -> Planes:
    noise = np.zeros(SHAPE) if seed is None else np.random.default_rng(seed).normal(0, SIGMA, SHAPE)
    image = noise + draw(SHAPE, FWHM, np.array(x), np.array(y), np.array(flux))
    return Planes(image, np.full(SHAPE, SIGMA**2), np.zeros(SHAPE))


def measure(planes: Planes, **options: object) -> Detections:
    model = psf(FWHM, SHAPE)
    nothing = StaticSky(np.zeros(SHAPE, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    blank = exposure([], [], [], 5)
    return detect_and_measure(
        planes,
        model,
        nothing,
        {"science": (planes, model), "template": (blank, model)},
        DetectionConfig(**options),
    )


def test_forced_flux_of_a_noiseless_source_is_exact() -> None:
    planes = exposure([100.3, 200.0], [80.8, 150.5], [5e3, -2e4], None)
    result = forced_psf_flux(planes, psf(FWHM, SHAPE), [100.3, 200.0], [80.8, 150.5])
    assert np.allclose(result.flux, [5e3, -2e4], rtol=1e-3)
    area = float(psf(FWHM, SHAPE).effective_area(0, 0)[0])
    assert np.allclose(result.err, SIGMA * np.sqrt(area), rtol=0.02)


def test_forced_flux_leaves_masked_pixels_out() -> None:
    planes = exposure([100.0], [80.0], [1e4], None)
    image, mask = planes.image.copy(), planes.mask.copy()
    image[79, :], mask[79, :] = 1e6, np.uint32(MaskBit.CR)
    result = forced_psf_flux(Planes(image, planes.variance, mask), psf(FWHM, SHAPE), 100.0, 80.0)
    assert result.flux[0] == pytest.approx(1e4, rel=1e-3)
    mask[:] = np.uint32(MaskBit.BAD)
    assert np.isnan(forced_psf_flux(Planes(image, planes.variance, mask), psf(FWHM, SHAPE), 100, 80).flux[0])


def test_local_background_removes_a_pedestal() -> None:
    planes = exposure([100.3], [80.8], [1e4], None)
    raised = Planes(planes.image + 30, planes.variance, planes.mask)
    plain = forced_psf_flux(raised, psf(FWHM, SHAPE), 100.3, 80.8).flux[0]
    local = forced_psf_flux(raised, psf(FWHM, SHAPE), 100.3, 80.8, local_background=True).flux[0]
    assert plain > 1.05e4
    assert local == pytest.approx(1e4, rel=2e-3)


def test_positions_and_fluxes_agree_with_photutils() -> None:
    random = np.random.default_rng(4)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(30.0, 300, 40), np.arange(30.0, 280, 40)))
    x, y = x + random.uniform(-0.5, 0.5, len(x)), y + random.uniform(-0.5, 0.5, len(y))
    planes = exposure(list(x), list(y), [8e3] * len(x))
    fit = fit_positions(
        planes, psf(FWHM, SHAPE), np.rint(x), np.rint(y), np.full(len(x), 6e3), np.zeros(len(x), bool)
    )
    other = PSFPhotometry(ImagePSF(stamp(FWHM)), fit_shape=(31, 31))(
        planes.image.astype(float), error=np.sqrt(planes.variance).astype(float),
        init_params=Table({"x": np.rint(x), "y": np.rint(y), "flux": np.full(len(x), 6e3)}),
    )  # fmt: skip
    other.sort("id")
    assert np.abs(fit.x - other["x_fit"]).max() < 0.02
    assert np.abs(fit.flux / other["flux_fit"] - 1).max() < 0.01
    assert np.std((fit.x - x) / fit.x_err) == pytest.approx(1.0, abs=0.3)
    assert np.std((fit.y - y) / fit.y_err) == pytest.approx(1.0, abs=0.3)


def test_blended_sources_are_fitted_together() -> None:
    planes = exposure([100.0, 109.5], [80.0, 81.0], [4e4, 1.6e4], None)
    found = measure(planes).table
    found.sort("psfFlux")
    assert np.allclose(found["psfFlux"], [1.6e4, 4e4], rtol=0.02)


@pytest.fixture(scope="module")
def simulated() -> tuple[Detections, object]:
    pair = make_pair(3, 0.9, 0.75, transient_snr=60.0)
    result = subtract(pair.science, pair.template, pair.science_psf, pair.template_psf)
    exposures = {
        "science": (pair.science, pair.science_psf),
        "template": (pair.template, pair.template_psf),
    }
    return detect_and_measure(result.difference, result.psf, result.static, exposures), pair


def test_measured_transients(simulated: tuple[Detections, object]) -> None:
    found, pair = simulated
    table = found.table
    distance = np.hypot(pair.x[:, None] - table["x"].value, pair.y[:, None] - table["y"].value)
    row = distance.argmin(axis=1)
    assert np.median(distance.min(axis=1)) * 0.2 < 0.02
    flux, err = table["psfFlux"].value[row], table["psfFluxErr"].value[row]
    assert np.mean(flux / pair.flux) == pytest.approx(1.0, abs=0.01)
    assert np.std((flux - pair.flux) / err) == pytest.approx(1.0, abs=0.35)
    assert np.mean(table["scienceFlux"].value[row] / pair.flux) == pytest.approx(1.0, abs=0.02)
    assert np.median(np.abs(table["templateFlux"].value[row] / table["templateFluxErr"].value[row])) < 3
    assert not table["isDipole"][row].any()
    assert not table["isNegative"][row].any()
    assert np.median(table["extendedness"][row]) == 0
    assert table["ixx"].value[row].mean() == pytest.approx(table["ixxPSF"].value[row].mean(), rel=0.1)


def test_columns_carry_units(simulated: tuple[Detections, object]) -> None:
    table = simulated[0].table
    units = {"x": u.pix, "psfFlux": u.nJy, "scienceFluxErr": u.nJy, "ixx": u.pix**2, "trailAngle": u.deg}
    assert {name: table[name].unit for name in units} == units


def test_an_empty_image_gives_an_empty_table() -> None:
    found = measure(exposure([], [], [], None))
    assert len(found.table) == 0
    assert "psfFlux" in found.table.colnames
    assert found.n_dropped == 0


def test_negative_sources_are_negative() -> None:
    table = measure(exposure([100.0], [80.0], [-1e4])).table
    assert len(table) == 1
    assert table["isNegative"][0]
    assert table["psfFlux"][0] == pytest.approx(-1e4, rel=0.1)


def test_dipoles_are_classified() -> None:
    x, y = np.array([100.0, 200.0]), np.array([80.0, 150.0])
    planes = exposure([100.5, 99.5, 200.0], [80.0, 80.0, 150.0], [4e4, -4e4, 2e4])
    data = cutouts(planes.image, x.astype(int) - 15, y.astype(int) - 15, 31).astype(float)
    dipoles = fit_dipoles(data, np.full(data.shape, SIGMA**2), psf(FWHM, SHAPE), x, y)
    assert list(dipoles.is_dipole) == [True, False]
    assert abs((dipoles.angle[0] + 180) % 360 - 180) < 10
    assert abs(dipoles.flux_difference[0]) < 0.2 * dipoles.mean_flux[0]


def test_moments_of_an_elliptical_gaussian_and_its_trail() -> None:
    angle, major, minor = np.radians(30.0), 4.0, 1.8
    yy, xx = np.mgrid[-20:21, -20:21]
    along, across = xx * np.cos(angle) + yy * np.sin(angle), -xx * np.sin(angle) + yy * np.cos(angle)
    image = np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2))[None]
    zero = np.zeros(1)
    moments = measure_moments(image, zero, zero, 2.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = rotation @ np.diag([major**2, minor**2]) @ rotation.T
    measured = (moments.xx[0], moments.yy[0], moments.xy[0])
    assert np.allclose(measured, (expected[0, 0], expected[1, 1], expected[0, 1]), rtol=0.01)
    point = measure_moments(np.exp(-0.5 * (xx**2 + yy**2) / minor**2)[None], zero, zero, 2.0)
    trail = trails_from_moments(moments, point)
    assert trail.length[0] == pytest.approx(np.sqrt(12 * (major**2 - minor**2)), rel=0.01)
    assert trail.angle[0] == pytest.approx(30.0, abs=0.5)


def test_pixel_flags_of_centre_and_surroundings() -> None:
    mask = np.zeros((50, 50), np.uint32)
    mask[20, 20] = np.uint32(MaskBit.CR)
    flags = pixel_flags(mask, np.array([20.4, 24.0, 40.0, 0.0]), np.array([20.0, 20.0, 40.0, 25.0]), 4)
    assert list(flags["pixelFlags_crCenter"]) == [True, False, False, False]
    assert list(flags["pixelFlags_cr"]) == [True, True, False, False]
    assert list(flags["pixelFlags_edge"]) == [False, False, False, True]
    assert len(flags) == 2 * len(FLAG_BITS)


def test_flagged_centres_are_dropped_and_counted() -> None:
    planes = exposure([100.0, 200.0], [80.0, 150.0], [3e4, 3e4])
    mask = planes.mask.copy()
    mask[80, 100] = np.uint32(MaskBit.INTRP)
    flagged = Planes(planes.image, planes.variance, mask)
    found = measure(flagged)
    assert len(found.table) == 1
    assert found.n_dropped == 1
    assert found.dropped["pixelFlags_interpolatedCenter"] == 1
    kept = measure(flagged, drop_flags=())
    assert len(kept.table) == 2
    assert kept.mask[80, 100] & np.uint32(MaskBit.DETECTED)
