"""The PSF fitted to stars drawn by GalSim, against the PSF that drew them."""

import galsim
import numpy as np
import pytest
from dia_vetting.embedded.moffat import Moffat, fit_moffat
from dia_vetting.embedded.psf_fitting import PsfFitConfig, PsfKind, fit_psf
from dia_vetting.embedded.psf_series import PsfSeries
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes

SHAPE = (600, 600)
SKY, GAIN = 900.0, 1.0


def profile(kind: str, x: float, y: float) -> galsim.GSObject:
    """Return a PSF in pixels; size and shape vary linearly over the image."""
    u, v = x / SHAPE[1] - 0.5, y / SHAPE[0] - 0.5
    if kind == "moffat":
        return galsim.Moffat(beta=3.0, fwhm=3.6 * (1 + 0.05 * u)).shear(g1=0.05 + 0.03 * v, g2=0.02 * u)
    if kind == "elongated":
        return galsim.Convolve(galsim.Kolmogorov(fwhm=3.6), galsim.Gaussian(sigma=1.2).shear(g1=0.4))
    disc = galsim.TopHat(2.2) - 0.25 * galsim.TopHat(1.1)
    return galsim.Convolve(galsim.Kolmogorov(fwhm=3.4 * (1 + 0.04 * u)), disc / 0.75)


def truth(kind: str, x: float, y: float, size: int) -> np.ndarray:
    stamp = profile(kind, x, y).drawImage(nx=size, ny=size, scale=1.0, dtype=float).array
    return np.asarray(stamp / stamp.sum())


def exposure(kind: str, n_stars: int, seed: int = 5) -> Planes:
    """Draw stars on a jittered grid, with sky and photon noise, and the variance of the noisy pixels."""
    rng = np.random.default_rng(seed)
    image = galsim.ImageD(SHAPE[1], SHAPE[0], init_value=0.0)
    side = int(np.ceil(np.sqrt(max(n_stars, 1))))
    step = SHAPE[0] / side
    for i in range(n_stars):
        x = (i % side + 0.5) * step + rng.uniform(-6, 6)
        y = (i // side + 0.5) * step + rng.uniform(-6, 6)
        star = profile(kind, x, y) * float(10 ** rng.uniform(4.3, 5.8))
        stamp = star.drawImage(nx=81, ny=81, scale=1.0, center=galsim.PositionD(x + 1, y + 1), dtype=float)
        overlap = stamp.bounds & image.bounds
        image[overlap] += stamp[overlap]
    clean = image.array + SKY
    counts = clean + rng.normal(0.0, 1.0, SHAPE) * np.sqrt(clean / GAIN)
    return Planes(counts - SKY, np.maximum(counts, 1.0) / GAIN, np.zeros(SHAPE, np.uint32))


@pytest.mark.parametrize("kind", ["moffat", "elongated", "donut"])
def test_fluxes_are_unbiased(kind: str) -> None:
    fit = fit_psf(exposure(kind, 49))
    assert fit.kind is PsfKind.PIXELS
    assert fit.n_stars >= 40
    x, y = (a.ravel() for a in np.meshgrid([100.0, 300.0, 500.0], [100.0, 300.0, 500.0]))
    model = fit.psf.kernel_images(x, y)
    true = np.array([truth(kind, *place, fit.psf.size) for place in zip(x, y, strict=True)])
    bias = (model * true).sum((1, 2)) / (model**2).sum((1, 2)) - 1.0
    assert abs(bias.mean()) < 0.005
    assert bias.std() < 0.005
    assert abs(model - true).max() < (0.04 if kind == "donut" else 0.02) * true.max()
    u = np.arange(fit.psf.size) - fit.psf.size // 2
    sigma = fit.fwhm / 2.3548
    window = model * np.exp(-0.5 * (u[:, None] ** 2 + u**2) / sigma**2)
    centre = np.einsum("nyx,x->n", window, u) / window.sum((1, 2))
    assert abs(centre).max() < 0.01


def test_few_stars_still_give_the_flux() -> None:
    fit = fit_psf(exposure("moffat", 4))
    assert fit.kind is PsfKind.PIXELS
    model, true = fit.psf.kernel_images(300.0, 300.0)[0], truth("moffat", 300.0, 300.0, fit.psf.size)
    assert abs((model * true).sum() / (model**2).sum() - 1.0) < 0.02


def test_fall_backs_are_told() -> None:
    assert fit_psf(exposure("moffat", 1)).kind is PsfKind.MOFFAT
    empty = fit_psf(exposure("moffat", 0), PsfFitConfig(default_fwhm=3.0))
    assert empty.kind is PsfKind.DEFAULT
    assert empty.n_stars == 0
    assert empty.fwhm == pytest.approx(3.0, abs=0.1)


def test_masked_pixels_do_not_count_and_the_fit_repeats() -> None:
    planes = exposure("moffat", 25)
    image, mask = planes.image.copy(), planes.mask.copy()
    image[:, 200:203] = np.nan
    mask[:, 200:203] |= np.uint32(MaskBit.NO_DATA)
    damaged = Planes(image, planes.variance, mask)
    first, second = fit_psf(damaged), fit_psf(damaged)
    assert np.isfinite(first.psf.coefficients).all()
    assert first.psf.coefficients.tobytes() == second.psf.coefficients.tobytes()


def test_moffat_is_recovered() -> None:
    moffat = Moffat(0.11, 0.08, 0.02, 2.5)
    found = fit_moffat(moffat.stamp(31) * 50.0, 1.5, 2.5)
    np.testing.assert_allclose((found.a, found.b, found.c), (0.11, 0.08, 0.02), rtol=0.02, atol=1e-4)


def test_the_first_function_of_the_series_is_the_moffat_profile() -> None:
    moffat = Moffat(0.11, 0.08, 0.02, 2.5)
    image = PsfSeries(moffat, 4).images(31, np.array([0.3]), np.array([-0.2]))[0, 0].reshape(31, 31)
    u = np.arange(31) - 15
    np.testing.assert_allclose(image, moffat.peak * moffat.at(u[None, :] - 0.3, u[:, None] + 0.2))
    assert image.sum() == pytest.approx(1.0, abs=0.02)
