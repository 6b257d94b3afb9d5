"""Drawn sources against GalSim's own drawing, one by one."""

from __future__ import annotations

import dataclasses

import galsim
import numpy as np
import pytest
from dia_vetting.blends.drawing import SourceDrawer, effective_fwhm
from dia_vetting.blends.population import BULGE_INDICES, Sources, draw_sources
from dia_vetting.blends.presets import Preset, available_presets, load_preset
from dia_vetting.seeding import generator

COUNT = 40


def galsim_psf(preset: Preset, fwhm: float, shear: complex) -> galsim.GSObject:
    """Return the PSF as GalSim makes it, without our tables. The FWHM is in pixels."""
    size = fwhm * preset.pixel_scale
    if preset.psf.kind == "moffat":
        psf = galsim.Moffat(beta=preset.psf.beta, fwhm=size)
    else:
        # Half of the peak of an Airy pattern with an obscuration of 0.3 is at 0.4906 lambda / D.
        psf = galsim.Airy(lam_over_diam=size / (2 * 0.49056), obscuration=preset.psf.obscuration)
    return psf.shear(g1=shear.real, g2=shear.imag)


def galsim_image(
    preset: Preset, sources: Sources, at: tuple[int, int], psf: galsim.GSObject, x: float, y: float
) -> np.ndarray:
    """Return one source of unit flux."""
    profile = psf
    if not sources.star[at]:
        share, shear = sources.bulge_fraction[at], sources.shear[at]
        index = BULGE_INDICES[sources.bulge_index[at]]
        galaxy = galsim.Exponential(half_light_radius=sources.radius[at], flux=1.0 - share) + galsim.Sersic(
            index, half_light_radius=sources.bulge_radius[at], flux=share
        )
        profile = galsim.Convolve(galaxy.shear(g1=shear.real, g2=shear.imag), psf)
    middle = 0.5 * (preset.size - 1)
    image = profile.drawImage(
        nx=preset.size,
        ny=preset.size,
        scale=preset.pixel_scale,
        offset=(x - middle, y - middle),
        dtype=np.float64,
    )
    return np.asarray(image.array)


@pytest.mark.parametrize("name", available_presets())
def test_within_a_thousandth_of_the_peak_of_galsim(name: str) -> None:
    preset, rng = load_preset(name), generator("drawing", name)
    sources = draw_sources(preset.population, COUNT, rng)
    fwhm = rng.uniform(*preset.psf.fwhm, COUNT) / preset.pixel_scale
    shear = preset.psf.ellipticity * (rng.normal(size=COUNT) + 1j * rng.normal(size=COUNT))
    x, y = rng.uniform(0, preset.size - 1, (2, COUNT, 5))
    drawer = SourceDrawer(preset, preset.psf.fwhm[0] / preset.pixel_scale)
    images = drawer.draw(sources, np.ones((COUNT, 5)), x, y, drawer.psf(fwhm, shear))
    errors = []
    for k in range(COUNT):
        psf = galsim_psf(preset, fwhm[k], shear[k])
        expected = galsim_image(preset, sources, (k, 0), psf, x[k, 0], y[k, 0])
        errors.append(np.abs(images[k, 0] - expected).max() / expected.max())
    assert np.median(errors) < 1e-4
    assert max(errors) < 1e-3


@pytest.fixture(scope="module")
def small() -> tuple[Preset, SourceDrawer, Sources]:
    """Sources that are small beside the stamp."""
    preset = load_preset("lsst")
    sources = draw_sources(preset.population, 20, generator("small"))
    small = dataclasses.replace(
        sources,
        radius=np.minimum(sources.radius, 0.2),
        bulge_radius=np.minimum(sources.bulge_radius, 0.05),
    )
    return preset, SourceDrawer(preset, 3.0), small


def test_flux_and_centroid(small: tuple[Preset, SourceDrawer, Sources]) -> None:
    _, drawer, sources = small
    rng = generator("flux")
    x, y = 31.5 + rng.uniform(-3.0, 3.0, (2, 20, 5))
    flux = rng.uniform(10.0, 1e4, (20, 5))
    images = drawer.draw(sources, flux, x, y, drawer.psf(np.full(20, 3.2), np.zeros(20, complex)))
    total = images.sum(axis=(2, 3), dtype=np.float64)
    assert np.all(np.abs(total / flux - 1.0) < 0.02)  # the wings of a Moffat profile leave the stamp
    for image, cx, cy in zip(images[:, 0], x[:, 0], y[:, 0], strict=True):
        moments = galsim.hsm.FindAdaptiveMom(galsim.Image(image, xmin=0, ymin=0))
        assert moments.moments_centroid.x == pytest.approx(cx, abs=0.01)
        assert moments.moments_centroid.y == pytest.approx(cy, abs=0.01)


def test_no_light_where_there_is_no_source(small: tuple[Preset, SourceDrawer, Sources]) -> None:
    _, drawer, sources = small
    x = np.where(np.arange(5) < 2, 30.0, np.full((20, 5), np.nan))
    images = drawer.draw(sources, np.ones((20, 5)), x, x, drawer.psf(np.full(20, 4.0), np.zeros(20, complex)))
    assert (images[:, :2].max(axis=(2, 3)) > 0.0).all()
    assert not images[:, 2:].any()


def test_a_source_does_not_depend_on_its_neighbours(small: tuple[Preset, SourceDrawer, Sources]) -> None:
    _, drawer, sources = small
    x, y = generator("alone").uniform(20, 40, (2, 20, 5))
    psf = drawer.psf(np.full(20, 4.0), np.zeros(20, complex))
    many = drawer.draw(sources, np.ones((20, 5)), x, y, psf)
    few = drawer.draw(sources[:3], np.ones((3, 5)), x[:3], y[:3], psf[:3])
    np.testing.assert_array_equal(many[:3], few)


@pytest.mark.parametrize("name", ["great3", "euclid"])
def test_effective_fwhm_has_the_pixel(name: str) -> None:
    preset = load_preset(name)
    for size in preset.psf.fwhm:
        fwhm = size / preset.pixel_scale
        seen = galsim.Convolve(galsim_psf(preset, fwhm, 0j), galsim.Pixel(preset.pixel_scale))
        quick = seen.withGSParams(folding_threshold=0.05)  # the wings of an Airy pattern are endless
        fine = quick.drawImage(nx=63, ny=63, scale=size / 20.0, method="no_pixel")
        expected = fine.calculateFWHM()
        found = effective_fwhm(preset.psf, np.array([fwhm]))
        assert found.dtype == np.float32
        assert found[0] * preset.pixel_scale == pytest.approx(expected, rel=0.01)
        assert found[0] > fwhm
