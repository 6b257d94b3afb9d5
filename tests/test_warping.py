"""Warping and coaddition against analytic images and Monte Carlo noise."""

import numpy as np
import pytest
from dia_vetting.embedded.warping import coadd, noise_factor, pixel_positions, warp
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from scipy import ndimage

SHAPE = (80, 90)


def gaussian(x: float, y: float, sigma: float = 2.0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def planes(image: np.ndarray, variance: float = 4.0) -> Planes:
    return Planes(image, np.full(image.shape, variance), np.zeros(image.shape))


def shifted(dx: float, dy: float):
    return lambda x, y: (x + dx, y + dy)


def test_whole_pixel_shift_is_exact() -> None:
    image = np.random.default_rng(1).normal(size=SHAPE)
    out = warp(planes(image), shifted(3, -2), (70, 80))
    assert np.allclose(out.image[5:60, 5:75], image[3:58, 8:78], atol=1e-4)
    assert np.allclose(out.variance[5:60, 5:75], 4.0)
    assert out.has(MaskBit.NO_DATA)[:2].all()
    assert np.isnan(out.image[:2]).all()


def test_sub_pixel_shift_of_a_gaussian() -> None:
    out = warp(planes(1e4 * gaussian(40, 40)), shifted(0.37, -0.21), SHAPE)
    expected = 1e4 * gaussian(40 - 0.37, 40 + 0.21)
    good = ~out.has(MaskBit.NO_DATA)
    assert np.abs(out.image - expected)[good].max() < 2e-3 * expected.max()


def test_flux_is_conserved_when_the_pixel_scale_changes() -> None:
    out = warp(planes(1e4 * gaussian(45, 40, 3.0)), lambda x, y: (1.25 * x + 0.02 * y, 1.25 * y), (64, 70))
    assert np.nansum(out.image) == pytest.approx(1e4, rel=1e-3)
    assert np.nanmedian(out.variance) == pytest.approx(4.0 * 1.25**4, rel=1e-3)


def test_coarse_grid_follows_a_distorted_map() -> None:
    def distorted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r2 = (x - 500) ** 2 + (y - 400) ** 2
        return x + 2e-6 * (x - 500) * r2 / 100, y + 2e-6 * (y - 400) * r2 / 100

    x, y, jacobian = pixel_positions(distorted, (800, 1000))
    yy, xx = np.mgrid[:800, :1000].astype(float)
    exact = distorted(xx, yy)
    assert np.abs(x - exact[0]).max() < 1e-4
    assert np.abs(y - exact[1]).max() < 1e-4
    gy, gx = np.gradient(exact[0])
    hy, hx = np.gradient(exact[1])
    assert np.abs(jacobian - (gx * hy - gy * hx))[5:-5, 5:-5].max() < 1e-4


def test_noise_factor_is_the_scatter_of_interpolated_noise() -> None:
    noise = np.random.default_rng(2).normal(size=(400, 400))
    for dx, dy in ((0.5, 0.5), (0.25, 0.0)):
        moved = ndimage.shift(noise, (dy, dx), order=3, mode="mirror")[20:-20, 20:-20]
        assert noise_factor(dx, dy) == pytest.approx(moved.var(), rel=0.03)
    assert noise_factor(3.0, 7.0) == pytest.approx(1.0, abs=1e-6)


def test_variance_by_default_is_that_of_psf_fluxes() -> None:
    random = np.random.default_rng(3)
    out = warp(planes(random.normal(0, 2, (500, 500))), shifted(0.5, 0.5), (500, 500))
    weight = gaussian(30, 30, 2.0, (61, 61))
    fluxes = ndimage.convolve(np.nan_to_num(out.image), weight)[40:-40:7, 40:-40:7]
    expected = np.sqrt((weight**2).sum() * np.nanmedian(out.variance))
    assert fluxes.std() == pytest.approx(expected, rel=0.06)
    single = warp(planes(random.normal(0, 2, (500, 500))), shifted(0.5, 0.5), (500, 500), marginal=True)
    assert np.nanstd(single.image) == pytest.approx(np.sqrt(np.nanmedian(single.variance)), rel=0.02)


def test_bad_pixels_are_filled_and_flagged() -> None:
    image, mask = 100 + 1e4 * gaussian(40, 40), np.zeros(SHAPE, np.uint32)
    image[60, 60], image[20:30, 70:80] = 1e6, np.nan
    mask[60, 60] = np.uint32(MaskBit.CR)
    out = warp(Planes(image, np.full(SHAPE, 4.0), mask), shifted(0.4, 0.4), SHAPE)
    assert out.has(MaskBit.CR)[60, 60]
    assert out.has(MaskBit.CR).sum() == 9
    assert np.isnan(out.image[25, 75])
    far = ~out.has(MaskBit.CR | MaskBit.NO_DATA)
    assert out.image[far].max() < 1e3
    assert np.isfinite(out.image[far]).all()


def test_coadd_is_the_weighted_mean() -> None:
    random = np.random.default_rng(4)
    stack = [planes(random.normal(5, np.sqrt(v), (200, 200)), v) for v in (1.0, 4.0)]
    out = coadd(stack)
    assert np.allclose(out.image, (stack[0].image + stack[1].image / 4) / 1.25, atol=1e-5)
    assert np.allclose(out.variance, 0.8)
    assert out.image.var() == pytest.approx(0.8, rel=0.05)
    assert np.allclose(coadd(stack, [1.0, 0.0]).image, stack[0].image)


def test_coadd_rejects_cosmic_rays_but_not_stars() -> None:
    random = np.random.default_rng(5)
    star = 1e5 * gaussian(40, 40)
    stack = [planes(star + random.normal(0, 2, SHAPE)) for _ in range(5)]
    stack[2].image[20, 20:30] += 500
    out = coadd(stack)
    assert np.abs(out.image[20, 20:30]).max() < 6
    assert np.allclose(out.variance[20, 20:30], 1.0)
    assert out.variance[40, 40] == pytest.approx(4 / 5)
    assert out.image[40, 40] == pytest.approx(star[40, 40], rel=1e-3)


def test_coadd_has_no_data_where_nothing_contributes() -> None:
    stack = [planes(np.ones(SHAPE)) for _ in range(3)]
    for p in stack:
        p.image[:10], p.mask[:10] = np.nan, np.uint32(MaskBit.NO_DATA)
        p.mask[30:34, 30:34] |= np.uint32(MaskBit.SAT)
    stack[0].image[50], stack[0].mask[50] = np.nan, np.uint32(MaskBit.NO_DATA)
    out = coadd(stack)
    assert np.isnan(out.image[:10]).all()
    assert out.has(MaskBit.NO_DATA)[:10].all()
    assert not out.has(MaskBit.NO_DATA)[10:].any()
    assert out.has(MaskBit.SAT)[30:34, 30:34].all()
    assert np.isfinite(out.image[32, 32])
    assert out.variance[50, 5] == pytest.approx(2.0)


def test_coadd_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="Nothing"):
        coadd([])
    with pytest.raises(ValueError, match="differ"):
        coadd([planes(np.ones((5, 5))), planes(np.ones((5, 6)))])
