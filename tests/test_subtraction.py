"""The differencing engine against GalSim scenes, direct convolution and closed forms."""

import dataclasses

import numpy as np
import pytest
from dia_vetting.embedded.decorrelation import whitening_kernels
from dia_vetting.embedded.kernel_basis import KernelBasis
from dia_vetting.embedded.photometry import forced_psf_flux
from dia_vetting.embedded.spatial import FourierImage, SpatialKernel, core_radius
from dia_vetting.embedded.subtraction import (
    NoKernelCandidatesError,
    NoOverlapError,
    NoUsablePixelsError,
    Subtraction,
    SubtractionConfig,
    SubtractionError,
    subtract,
)
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes, blank_sky
from diffim_scene import make_pair
from scipy import ndimage, signal

FWHM = {"template": (0.9, 0.75), "science": (0.7, 0.85)}


def run(convolved: str, seed: int = 1, **options: float) -> tuple[Subtraction, object]:
    pair = make_pair(seed, *FWHM[convolved], **options)
    return subtract(pair.science, pair.template, pair.science_psf, pair.template_psf), pair


def gaussian(sigma: float, size: int) -> np.ndarray:
    u = np.arange(size) - size // 2
    kernel = np.exp(-0.5 * (u[:, None] ** 2 + u[None, :] ** 2) / sigma**2)
    return kernel / kernel.sum()


def test_varying_kernel_is_the_sum_over_its_stamp() -> None:
    random = np.random.default_rng(1)
    image = random.normal(size=(60, 70)).astype(np.float32)
    x, y = (v.ravel() for v in np.meshgrid([0.0, 35.0, 69.0], [0.0, 30.0, 59.0]))
    kernels = np.stack([gaussian(1.0 + 0.01 * a + 0.004 * b, 9) for a, b in zip(x, y, strict=True)])
    kernels[:, 1, 7] += 0.2
    kernel = SpatialKernel.from_nodes(x, y, kernels, 2, (0.0, 69.0, 0.0, 59.0), 1e-9)
    result = kernel.convolve(FourierImage(image, 4))
    correlated = kernel.correlate(FourierImage(image, 4))
    for row, column in ((20, 20), (40, 55)):
        local = kernel.at([column], [row])[0]
        patch = image[row - 4 : row + 5, column - 4 : column + 5]
        assert result[row, column] == pytest.approx((local[::-1, ::-1] * patch).sum(), abs=1e-5)
        assert correlated[row, column] == pytest.approx((local * patch).sum(), abs=1e-5)


def test_stamp_convolution_is_scipys() -> None:
    basis = KernelBasis(half_width=6)
    stamps = np.random.default_rng(2).normal(size=(2, 33, 33)).astype(np.float32)
    fast = basis.convolve_stamps(stamps)
    for k, image in enumerate(basis.images()):
        slow = signal.convolve(stamps[1], image, mode="valid")
        assert np.abs(fast[1, k] - slow).max() < 1e-4


def test_only_the_first_basis_function_has_flux() -> None:
    sums = KernelBasis().images().sum(axis=(1, 2))
    assert sums[0] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(sums[1:]).max() < 1e-10


def test_whitening_makes_the_noise_power_flat() -> None:
    kernel = gaussian(1.3, 21)[None]
    phi, phi_k = whitening_kernels(kernel, np.array([30.0]), np.array([300.0]), 61)
    power = 30.0 * np.abs(np.fft.fft2(phi[0], (128, 128))) ** 2
    power += 300.0 * np.abs(np.fft.fft2(phi_k[0], (128, 128))) ** 2
    assert power.std() / power.mean() < 0.02
    assert power.mean() == pytest.approx(330.0, rel=0.01)
    assert phi[0].sum() == pytest.approx(1.0)


def test_core_radius_of_a_delta_is_zero() -> None:
    delta = np.zeros((11, 11))
    delta[5, 5] = 1.0
    assert core_radius(delta, 0.01) == 0
    assert core_radius(np.ones((11, 11)), 0.01) == 5


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_difference_is_white_and_fluxes_are_unbiased(convolved: str) -> None:
    result, pair = run(convolved)
    assert result.convolved == convolved
    difference = result.difference
    free = blank_sky(difference, 5.0) & ~difference.has(MaskBit.EDGE)
    pull = difference.image[free] / np.sqrt(difference.variance[free])
    assert pull.std() == pytest.approx(1.0, abs=0.04)
    noise = np.where(free, difference.image, 0.0)
    neighbours = (noise[:, 1:] * noise[:, :-1]).sum() / (noise**2).sum()
    assert abs(neighbours) < 0.03
    flux, err, chi2, npix = forced_psf_flux(difference, result.psf, pair.x, pair.y)
    pulls = (flux - pair.flux) / err
    assert np.mean(flux / pair.flux) == pytest.approx(1.0, abs=3 / 30 / np.sqrt(len(flux)))
    assert pulls.std() == pytest.approx(1.0, abs=0.35)
    assert np.median(chi2 / npix) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_bright_transients_have_no_flux_bias(convolved: str) -> None:
    result, pair = run(convolved, transient_snr=150.0)
    flux = forced_psf_flux(result.difference, result.psf, pair.x, pair.y).flux
    assert np.mean(flux / pair.flux) == pytest.approx(1.0, abs=0.005)


def test_forgetting_the_whitening_in_the_psf_would_bias_the_flux() -> None:
    result, pair = run("science", transient_snr=150.0)
    flux = forced_psf_flux(result.difference, pair.template_psf, pair.x, pair.y).flux
    assert np.mean(flux / pair.flux) > 1.05


def test_blank_sky_flux_errors_are_honest() -> None:
    for convolved in FWHM:
        result, pair = run(convolved)
        random = np.random.default_rng(5)
        x, y = random.uniform(30, 330, (2, 600))
        stars = np.column_stack([np.r_[pair.x, pair.star_x], np.r_[pair.y, pair.star_y]])
        far = np.hypot(x[:, None] - stars[:, 0], y[:, None] - stars[:, 1]).min(axis=1) > 14
        flux, err, _, _ = forced_psf_flux(result.difference, result.psf, x[far], y[far])
        assert (flux / err).std() == pytest.approx(1.0, abs=0.12)
        assert abs((flux / err).mean()) < 0.25


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_template_in_another_photometric_scale(convolved: str) -> None:
    result, pair = run(convolved, template_scale=1.25)
    expected = 0.8 if convolved == "template" else 1.25
    assert result.diagnostics["kernel_sum"] == pytest.approx(expected, rel=0.01)
    flux = forced_psf_flux(result.difference, result.psf, pair.x, pair.y).flux
    assert np.mean(flux / pair.flux) == pytest.approx(1.0, abs=0.02)


def test_transients_on_candidates_do_not_change_the_kernel() -> None:
    pair = make_pair(1, *FWHM["template"])
    before = subtract(pair.science, pair.template, pair.science_psf, pair.template_psf)
    image = pair.science.image.copy()
    for x, y in zip(pair.star_x[:8], pair.star_y[:8], strict=True):
        model, x0, y0 = pair.science_psf.stellar_images([x + 1.5], [y])
        image[y0[0] : y0[0] + 41, x0[0] : x0[0] + 41] += 2e4 * model[0].astype(np.float32)
    science = dataclasses.replace(pair.science, image=image)
    after = subtract(science, pair.template, pair.science_psf, pair.template_psf)
    assert after.diagnostics["kernel_sum"] == pytest.approx(before.diagnostics["kernel_sum"], abs=0.01)


@pytest.mark.parametrize("seed", [3, 4])
def test_few_candidates_with_a_transient_and_a_template_artefact_give_the_right_scale(seed: int) -> None:
    pair = make_pair(seed, *FWHM["science"], shape=(200, 200), n_transients=1, n_stars=5)
    before = subtract(pair.science, pair.template, pair.science_psf, pair.template_psf)
    places = list(zip(before.static.x, before.static.y, strict=True))
    flux = [float(pair.template.image[y - 8 : y + 9, x - 8 : x + 9].sum()) for x, y in places]
    host, artefact = np.argsort(flux)[::-1][:2]
    image = pair.science.image.copy()
    model, x0, y0 = pair.science_psf.stellar_images([places[host][0] + 1.0], [places[host][1]])
    image[y0[0] : y0[0] + 41, x0[0] : x0[0] + 41] += np.float32(flux[host]) * model[0].astype(np.float32)
    x, y = places[artefact]  # only in the template, as a cosmic ray of its one exposure is
    image[y - 8 : y + 9, x - 8 : x + 9] = 0.0
    science = dataclasses.replace(pair.science, image=image)
    after = subtract(science, pair.template, pair.science_psf, pair.template_psf)
    assert before.diagnostics["n_candidates"] == after.diagnostics["n_candidates"] == 5
    assert after.diagnostics["kernel_sum"] == pytest.approx(before.diagnostics["kernel_sum"], abs=0.01)


def test_interpolated_noise_of_a_single_template_does_not_make_flux_errors_too_small() -> None:
    pair = make_pair(1, *FWHM["science"])
    random = np.random.default_rng(8)
    deep = np.float32(9.0) * pair.template.variance
    noise = random.normal(0, np.sqrt(deep))
    # Half a pixel by linear interpolation: a quarter of the pixel variance, all of it on large scales.
    moved = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 4
    template = Planes(
        (pair.template.image + moved).astype(np.float32), pair.template.variance + deep, pair.template.mask
    )
    result = subtract(pair.science, template, pair.science_psf, pair.template_psf)
    x, y = random.uniform(30, 330, (2, 900))
    stars = np.column_stack([np.r_[pair.x, pair.star_x], np.r_[pair.y, pair.star_y]])
    far = np.hypot(x[:, None] - stars[:, 0], y[:, None] - stars[:, 1]).min(axis=1) > 14
    flux, err, _, _ = forced_psf_flux(result.difference, result.psf, x[far], y[far])
    assert (flux / err).std() == pytest.approx(1.0, abs=0.1)


def test_noise_that_pixels_share_is_in_the_flux_errors() -> None:
    """Each pixel shares 5 % with its four neighbours: PSF fluxes scatter by up to 1.4 / 1.01 in variance."""
    pair = make_pair(2, *FWHM["science"])
    random = np.random.default_rng(9)
    share = np.array([[0.0, 0.05, 0.0], [0.05, 1.0, 0.05], [0.0, 0.05, 0.0]])
    noise = ndimage.convolve(random.normal(size=pair.science.shape), share / np.sqrt((share**2).sum()))
    added = (noise * np.sqrt(8.0 * np.median(pair.science.variance))).astype(np.float32)
    variance = pair.science.variance + np.float32(8.0) * np.median(pair.science.variance)
    science = Planes(pair.science.image + added, variance, pair.science.mask)
    x, y = random.uniform(30, 330, (2, 2000))
    stars = np.column_stack([np.r_[pair.x, pair.star_x], np.r_[pair.y, pair.star_y]])
    far = np.hypot(x[:, None] - stars[:, 0], y[:, None] - stars[:, 1]).min(axis=1) > 14
    widths = []
    for scale_variance in (False, True):
        config = SubtractionConfig(scale_variance=scale_variance)
        result = subtract(science, pair.template, pair.science_psf, pair.template_psf, config)
        flux, err, _, _ = forced_psf_flux(result.difference, result.psf, x[far], y[far])
        widths.append(float((flux / err).std()))
    assert widths[0] > 1.1
    assert widths[1] == pytest.approx(1.0, abs=0.05)


def with_defects(planes: Planes, bit: MaskBit, where: tuple[slice, slice], value: float) -> Planes:
    image, mask = planes.image.copy(), planes.mask.copy()
    image[where] = value
    mask[where] |= np.uint32(bit)
    return Planes(image, planes.variance, mask)


def test_masks_of_both_images_are_kept_apart() -> None:
    pair = make_pair(1, *FWHM["template"])
    science = with_defects(pair.science, MaskBit.CR, np.s_[100:103, 100:104], 5e5)
    template = with_defects(pair.template, MaskBit.SAT, np.s_[200:210, 200:210], 1e6)
    template = with_defects(template, MaskBit.NO_DATA, np.s_[300:, :60], np.nan)
    difference = subtract(science, template, pair.science_psf, pair.template_psf).difference
    assert difference.has(MaskBit.CR)[100:103, 100:104].all()
    assert difference.has(MaskBit.CR).sum() < 60
    assert difference.has(MaskBit.SAT_TEMPLATE)[200:210, 200:210].all()
    assert not difference.has(MaskBit.SAT).any()
    assert np.isnan(difference.image[320, 20])
    assert difference.has(MaskBit.NO_DATA_TEMPLATE)[320, 20]
    good = ~(difference.unusable() | difference.has(MaskBit.NO_DATA_TEMPLATE | MaskBit.SAT_TEMPLATE))
    assert np.isfinite(difference.image[good]).all()
    ring = difference.image[93:96, 93:112]
    assert np.abs(ring).max() < 6 * np.sqrt(np.median(difference.variance[good]))


def test_same_input_same_output() -> None:
    first, _ = run("template")
    second, _ = run("template")
    assert np.array_equal(first.difference.image, second.difference.image, equal_nan=True)


def test_impossible_data_raise_typed_errors() -> None:
    pair = make_pair(1, *FWHM["template"])
    psfs = pair.science_psf, pair.template_psf
    ny, nx = pair.science.shape
    nothing = Planes(np.full((ny, nx), np.nan), pair.science.variance, pair.science.mask)
    with pytest.raises(NoUsablePixelsError) as caught:
        subtract(nothing, pair.template, *psfs)
    assert caught.value.metadata == {"image": "science"}
    left = with_defects(pair.science, MaskBit.NO_DATA, np.s_[:, : nx // 2], np.nan)
    right = with_defects(pair.template, MaskBit.NO_DATA, np.s_[:, nx // 2 :], np.nan)
    with pytest.raises(NoOverlapError):
        subtract(left, right, *psfs)
    sky = np.random.default_rng(1).normal(0, 18, (ny, nx))
    empty = Planes(sky, np.full((ny, nx), 324.0), np.zeros((ny, nx)))
    with pytest.raises(NoKernelCandidatesError) as caught:
        subtract(empty, empty, *psfs)
    assert caught.value.metadata["needed"] == SubtractionConfig().min_candidates
    assert issubclass(NoKernelCandidatesError, SubtractionError)
    with pytest.raises(ValueError, match="differ in shape"):
        subtract(pair.science, Planes(sky[:50], sky[:50], np.zeros((50, nx))), *psfs)
