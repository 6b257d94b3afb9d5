import galsim
import numpy as np
import pytest
from dia_vetting.embedded.object_measurement import (
    ObjectDetectionConfig,
    _kron_flux,
    adaptive_moments,
    detect_objects,
    measure_band,
)
from dia_vetting.planes import Planes
from dia_vetting.psf import PolynomialPsf

SIGMA, SKY = 2.0, 5.0
SHAPE = (400, 400)


@pytest.fixture(scope="module")
def scene() -> tuple[Planes, PolynomialPsf, dict[str, np.ndarray]]:
    """Gaussian stars and Gaussian galaxies on a grid: every moment and flux is known."""
    rng = np.random.default_rng(5)
    x, y = (v.ravel().astype(float) for v in np.meshgrid(np.arange(40, 361, 40), np.arange(40, 361, 40)))
    x, y = x + rng.uniform(-0.5, 0.5, len(x)), y + rng.uniform(-0.5, 0.5, len(y))
    flux = 10 ** rng.uniform(3.5, 4.5, len(x))
    size = np.where(np.arange(len(x)) % 2, 2.5, 0.0)
    e1 = np.where(size > 0, 0.3, 0.0)
    image = galsim.ImageF(SHAPE[1], SHAPE[0], xmin=0, ymin=0)
    psf = galsim.Gaussian(sigma=SIGMA)
    for cx, cy, f, s in zip(x, y, flux, size, strict=True):
        profile = psf if s == 0 else galsim.Convolve(psf, galsim.Gaussian(sigma=s).shear(e1=0.3))
        stamp = (profile * f).drawImage(
            nx=39, ny=39, scale=1, method="no_pixel", center=galsim.PositionD(cx, cy), dtype=np.float32
        )
        overlap = stamp.bounds & image.bounds
        image[overlap] += stamp[overlap]
    pixels = image.array + rng.normal(0, SKY, SHAPE).astype(np.float32)
    planes = Planes(pixels, np.full(SHAPE, SKY**2), np.zeros(SHAPE))
    kernel = psf.drawImage(nx=25, ny=25, scale=1, method="no_pixel").array
    box = (0.0, SHAPE[1] - 1.0, 0.0, SHAPE[0] - 1.0)
    model = PolynomialPsf.from_nodes(np.array([200.0]), np.array([200.0]), kernel[None], 0, box)
    return planes, model, {"x": x, "y": y, "flux": flux, "size": size, "e1": e1}


def test_every_object_is_found_once(scene: tuple) -> None:
    planes, psf, truth = scene
    found = detect_objects(
        {"r": planes, "i": planes}, {"r": psf, "i": psf}, ObjectDetectionConfig(threshold=5)
    )
    assert len(found) == len(truth["x"])
    distance = np.hypot(found["x"][:, None] - truth["x"], found["y"][:, None] - truth["y"]).min(axis=0)
    assert distance.max() < 0.5


def test_moments_are_those_of_the_convolved_gaussian(scene: tuple) -> None:
    planes, _, truth = scene
    bright = truth["flux"] > 10000
    shapes = adaptive_moments(planes, truth["x"][bright], truth["y"][bright], SIGMA)
    galaxy = truth["size"][bright] > 0
    # A sheared Gaussian of distortion e keeps its determinant: xx = s^2 (1 + e) / sqrt(1 - e^2).
    own = np.where(galaxy, 2.5**2 / np.sqrt(1 - 0.3**2), 0.0)
    np.testing.assert_allclose(shapes.xx, SIGMA**2 + own * 1.3, rtol=0.08)
    np.testing.assert_allclose(shapes.yy, SIGMA**2 + own * 0.7, rtol=0.08)
    assert np.abs(shapes.xy).max() < 0.4


def test_fluxes_and_extendedness(scene: tuple) -> None:
    planes, psf, truth = scene
    config = ObjectDetectionConfig(threshold=5)
    found = detect_objects({"r": planes}, {"r": psf}, config)
    order = np.hypot(found["x"][:, None] - truth["x"], found["y"][:, None] - truth["y"]).argmin(axis=1)
    galaxy, flux = truth["size"][order] > 0, truth["flux"][order]
    shapes = adaptive_moments(planes, found["x"].astype(float), found["y"].astype(float), SIGMA)
    measured = measure_band(planes, psf, found, shapes, config)
    np.testing.assert_array_equal(measured["extendedness"] == 1, galaxy)
    pull = (measured["psfFlux"] - flux)[~galaxy] / measured["psfFluxErr"][~galaxy]
    assert np.abs(np.mean(pull)) < 0.6
    assert 0.7 < np.std(pull) < 1.4
    assert np.median(measured["kronFlux"][galaxy] / flux[galaxy]) == pytest.approx(0.95, abs=0.06)
    np.testing.assert_allclose(measured["ixxPSF"], SIGMA**2, rtol=0.01)


def test_masked_and_missing_pixels_give_no_object(scene: tuple) -> None:
    planes, psf, truth = scene
    image, mask = planes.image.copy(), planes.mask.copy()
    image[:, 220:] = np.nan
    half = Planes(image, planes.variance, mask)
    found = detect_objects({"r": half}, {"r": psf}, ObjectDetectionConfig(threshold=5))
    assert found["x"].max() < 220
    assert len(found) == (truth["x"] < 220).sum()


def test_kron_flux_takes_moments_that_sep_itself_makes_but_does_not_take() -> None:
    planes = Planes(np.ones((60, 60), np.float32), np.ones((60, 60), np.float32), np.zeros((60, 60)))
    names = ("x", "y", "a", "b", "theta")
    # Axes swapped by rounding, an angle past the right one by rounding, no axis at all, no number.
    rows = [
        (30, 30, 2, 2 + 1e-6, 0),
        (30, 30, 3, 2, np.float32(np.pi / 2)),
        (30, 30, 0, 0, 0),
        (30, 30, np.nan, 1, np.nan),
    ]
    objects = np.array(rows, dtype=[(name, "f8") for name in names])
    flux, error, _ = _kron_flux(planes, objects, 2.5)
    assert np.isfinite(flux).all()
    assert (error > 0).all()
