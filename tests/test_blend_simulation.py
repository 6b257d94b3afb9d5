"""Simulated stamps and their truth."""

from __future__ import annotations

import dataclasses

import galsim
import numpy as np
import pytest
from dia_vetting.blends.presets import available_presets, load_preset
from dia_vetting.blends.simulation import BLOCK, simulate
from dia_vetting.blends.stamps import BlendStamps, BlendTruth
from dia_vetting.errors import BadInputError


def arrays(*results: BlendStamps | BlendTruth) -> list[np.ndarray]:
    return [getattr(r, field.name) for r in results for field in dataclasses.fields(r)]


def same(first: tuple[BlendStamps, BlendTruth], second: tuple[BlendStamps, BlendTruth]) -> bool:
    pairs = zip(arrays(*first), arrays(*second), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("name", available_presets())
def test_shapes_and_types(name: str) -> None:
    preset = load_preset(name)
    stamps, truth = simulate(preset, 30, 1)
    assert stamps.images.shape == (30, preset.side, preset.side)
    assert truth.segmentation.shape == stamps.images.shape
    assert truth.kind.dtype == np.dtype("U9")
    for array in arrays(stamps):
        assert array.dtype == np.float32
    for array in (truth.x, truth.y, truth.flux):
        assert (array.shape, array.dtype) == ((30, 5), np.float64)
    for array in (truth.blendedness, truth.separation, truth.flux_ratio, truth.snr):
        assert (array.shape, array.dtype) == ((30,), np.float64)
    assert truth.n_sources.dtype == truth.group.dtype == np.int64
    np.testing.assert_array_equal(truth.group, np.arange(30))
    assert np.isfinite(stamps.images).all()


def test_same_seed_same_bytes_whatever_the_jobs() -> None:
    preset = load_preset("great3")
    one = simulate(preset, BLOCK + 20, 5)
    assert same(one, simulate(preset, BLOCK + 20, 5))
    assert same(one, simulate(preset, BLOCK + 20, 5, jobs=2))


def test_another_seed_differs_and_so_does_every_stamp() -> None:
    preset = load_preset("great3")
    stamps, truth = simulate(preset, 2 * BLOCK, 5)
    other, other_truth = simulate(preset, 2 * BLOCK, 6)
    assert not np.any(truth.x[:, 0] == other_truth.x[:, 0])
    assert not np.array_equal(stamps.images[0], other.images[0])
    assert len(np.unique(truth.x[:, 0])) == 2 * BLOCK
    assert len({image.tobytes() for image in stamps.images}) == 2 * BLOCK


def test_first_stamps_do_not_depend_on_the_count() -> None:
    preset = load_preset("cfis")
    stamps, truth = simulate(preset, BLOCK + 10, 7)
    for count in (1, 37, BLOCK + 3):
        first = slice(0, count)
        assert same(simulate(preset, count, 7), (stamps.where(first), truth.where(first)))


def test_noise_levels_share_their_sources() -> None:
    preset = load_preset("farrens2021")
    low, truth = simulate(preset.with_noise(5.0), 20, 3)
    high, other = simulate(preset.with_noise(40.0), 20, 3)
    np.testing.assert_array_equal(truth.flux, other.flux)
    np.testing.assert_allclose(truth.snr, 8.0 * other.snr, rtol=1e-6)
    assert (low.noise_sigma == 5.0).all()
    assert (high.noise_sigma == 40.0).all()


@pytest.mark.parametrize("name", ["farrens2021", "lsst"])
def test_noise_of_the_stamps_is_as_stated(name: str) -> None:
    preset = load_preset(name)
    stamps, _ = simulate(preset, 300, 2)
    clean, _ = simulate(preset.with_noise(1e-6), 300, 2)
    noise = (stamps.images - clean.images) / stamps.noise_sigma[:, None, None]
    assert noise.std() == pytest.approx(1.0, rel=0.01)
    assert np.mean(noise[:, 1:] * noise[:, :-1]) == pytest.approx(preset.noise.correlation, abs=0.01)
    low, high = preset.noise.sigma
    assert stamps.noise_sigma.min() >= low * (1 - 1e-6)
    assert stamps.noise_sigma.max() <= high * (1 + 1e-6)
    assert np.log(stamps.noise_sigma).std() == pytest.approx(np.log(high / low) / 12**0.5, rel=0.1)


def test_padding_has_no_light() -> None:
    clean, truth = simulate(load_preset("farrens2021").with_noise(1e-6), 50, 4)
    inside = np.zeros((65, 65), bool)
    inside[7:-7, 7:-7] = True
    assert np.abs(clean.images[:, ~inside]).max() < 1e-4
    assert not truth.segmentation[:, ~inside].any()


def test_stars_are_where_the_truth_says() -> None:
    """Independent drawing: GalSim's point sources at the true places with the true fluxes."""
    preset = load_preset("lsst")
    stars = preset.population.model_copy(update={"star_fraction": 1.0})
    round_psf = preset.psf.model_copy(update={"ellipticity": 0.0, "fwhm": (0.8, 0.8)})
    preset = preset.model_copy(update={"population": stars, "psf": round_psf})
    sigma = 3.0
    clean, truth = simulate(preset.with_noise(1e-5), 40, 9)
    _, noisy = simulate(preset.with_noise(sigma), 40, 9)
    psf = galsim.Moffat(beta=preset.psf.beta, fwhm=0.8)
    for k in range(40):
        light = np.zeros((5, 64, 64))
        for j in range(truth.n_sources[k]):
            offset = (truth.x[k, j] - 31.5, truth.y[k, j] - 31.5)
            image = (psf * truth.flux[k, j]).drawImage(nx=64, ny=64, scale=0.2, offset=offset, dtype=float)
            light[j] = image.array
        np.testing.assert_allclose(clean.images[k], light.sum(axis=0), atol=1e-3 * light.max())
        for j, alone in enumerate(light):
            member = (noisy.segmentation[k] >> j & 1).astype(bool)
            slack = 1e-3 * light.max()
            assert (alone[member] > 1.5 * sigma - slack).all()
            assert (alone[~member] < 1.5 * sigma + slack).all()
        assert noisy.snr[k] == pytest.approx(np.sqrt(np.sum(light[0] ** 2)) / sigma, rel=2e-3)
        purity = np.sum(light[0] ** 2) / np.sum(light[0] * light.sum(axis=0))
        assert noisy.blendedness[k] == pytest.approx(1.0 - purity, abs=2e-3)


def test_sum_of_the_light_is_the_flux() -> None:
    preset = load_preset("great3").with_kinds(single=1.0).with_noise(1e-6)
    stamps, truth = simulate(preset, 200, 12)
    share = stamps.images.sum(axis=(1, 2)) / truth.flux[:, 0]
    assert np.median(share) == pytest.approx(0.98, abs=0.02)  # the rest is outside the stamp
    assert share.min() > 0.8
    assert share.max() < 1.001


def test_bands() -> None:
    preset = load_preset("lsst")
    bands = ["g", "r", "i", "z", "y"]
    stamps, truth = simulate(preset, 60, 8, bands=bands)
    plain, plain_truth = simulate(preset, 60, 8)
    assert stamps.images.shape == (60, 5, 64, 64)
    assert stamps.noise_sigma.shape == stamps.psf_fwhm.shape == (60, 5)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays(truth), arrays(plain_truth), strict=True))
    np.testing.assert_array_equal(stamps.noise_sigma[:, 2], plain.noise_sigma)
    np.testing.assert_array_equal(stamps.psf_fwhm[:, 2], plain.psf_fwhm)
    clean, _ = simulate(preset.with_noise(1e-6), 60, 8, bands=bands)
    total = clean.images.sum(axis=(2, 3))
    assert np.median(-2.5 * np.log10(total[:, 0] / total[:, 2])) == pytest.approx(0.9, abs=0.15)
    assert np.median(-2.5 * np.log10(total[:, 3] / total[:, 2])) == pytest.approx(-0.2, abs=0.1)


@pytest.mark.parametrize(("name", "bands"), [("lsst", ["u"]), ("great3", ["i"])])
def test_unknown_band(name: str, bands: list[str]) -> None:
    with pytest.raises(BadInputError, match=f"{name}.*bands.*'{bands[0]}'"):
        simulate(load_preset(name), 1, 1, bands=bands)


def test_no_stamps() -> None:
    with pytest.raises(BadInputError, match="at least 1"):
        simulate(load_preset("great3"), 0, 1)
