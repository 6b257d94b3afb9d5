"""Offsets from hosts against their closed forms."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from dia_vetting.injection.host_geometry import deproject
from dia_vetting.injection.placement import (
    HostLight,
    Nuclear,
    SeedPlacement,
    UniformSeparation,
    sersic_b,
    sersic_half_light_radius,
    sersic_surface_brightness,
)
from scipy import stats
from scipy.integrate import quad
from scipy.special import gammainc

COUNT = 20_000


def hosts(count: int = COUNT, a: float = 1.5, b: float = 0.6, pa: float = 30.0, **columns) -> Table:
    values = {"host_a": np.full(count, a), "host_b": np.full(count, b), "host_pa": np.full(count, pa)}
    return Table(values | columns)


def elliptical(east, north, a: float, b: float, pa: float):
    """Return elliptical radius in semi-major axes, and the phase."""
    t = np.deg2rad(pa)
    along, across = east * np.sin(t) + north * np.cos(t), east * np.cos(t) - north * np.sin(t)
    return np.hypot(along / a, across / b), np.arctan2(across / b, along / a)


@pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0])
def test_sersic_half_light_radius_is_that_of_the_second_moment(n):
    def profile(r: float) -> float:
        return r * np.exp(-sersic_b(n) * r ** (1 / n))

    total, square = quad(profile, 0, np.inf)[0], quad(lambda r: r**2 * profile(r), 0, np.inf, limit=200)[0]
    rms = np.sqrt(0.5 * square / total)  # along one axis, of r_e = 1
    assert sersic_half_light_radius(rms, n) == pytest.approx(1.0, rel=1e-4)
    assert quad(profile, 0, 1)[0] / total == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("n", [1.0, 4.0])
def test_host_light_follows_the_sersic_profile(n):
    east, north = HostLight(sersic_n=n).offsets(hosts(), np.random.default_rng(1))
    radius, phase = elliptical(east, north, 1.5, 0.6, 30.0)
    r_e = float(sersic_half_light_radius(1.0, n))

    def enclosed(r):
        return gammainc(2 * n, sersic_b(n) * (r / r_e) ** (1 / n))

    assert stats.kstest(radius, enclosed).pvalue > 0.01
    assert stats.kstest(phase, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01


def test_second_moments_of_an_exponential_disc_are_those_measured():
    east, north = HostLight().offsets(hosts(pa=0.0), np.random.default_rng(2))
    assert np.std(north) == pytest.approx(1.5, rel=0.03)
    assert np.std(east) == pytest.approx(0.6, rel=0.03)


def test_psf_is_taken_off_the_moments_and_never_all_of_them():
    east, north = HostLight(psf_fwhm=2.3548 * 0.5).offsets(hosts(pa=0.0), np.random.default_rng(2))
    assert np.std(north) == pytest.approx(np.sqrt(1.5**2 - 0.25), rel=0.03)
    assert np.std(east) == pytest.approx(np.sqrt(0.6**2 - 0.25), rel=0.03)
    east, _ = HostLight(psf_fwhm=5.0).offsets(hosts(pa=0.0), np.random.default_rng(2))
    assert np.std(east) == pytest.approx(0.06, rel=0.03)


def test_bulge_and_disc_where_both_are_measured():
    share, count = 0.3, COUNT
    table = hosts(
        host_bulge_fraction=np.where(np.arange(count) < count // 2, share, np.nan),
        host_bulge_radius=np.full(count, 0.4),
        host_disc_radius=np.full(count, 2.0),
    )
    east, north = HostLight().offsets(table, np.random.default_rng(3))
    radius = elliptical(east, north, 1.0, 0.4, 30.0)[0]  # in arcsec along the major axis
    known, unknown = radius[: count // 2], radius[count // 2 :]

    def enclosed(r):
        bulge = gammainc(8.0, sersic_b(4.0) * (r / 0.4) ** 0.25)
        return share * bulge + (1 - share) * gammainc(2.0, sersic_b(1.0) * r / 2.0)

    assert stats.kstest(known, enclosed).pvalue > 0.01
    assert stats.kstest(unknown, enclosed).pvalue < 1e-6


def test_seed_placement_is_half_normal():
    east, north = SeedPlacement().offsets(hosts(), np.random.default_rng(4))
    radius, _ = elliptical(east, north, 1.5, 0.6, 30.0)
    assert stats.kstest(radius, "halfnorm").pvalue > 0.01


def test_uniform_separation_on_the_sky():
    """Separation uniform, and position angle uniform, as great circles of astropy have them."""
    east, north = UniformSeparation(4.0).offsets(hosts(), np.random.default_rng(5))
    ra0, dec0 = np.full(COUNT, 0.0001), np.full(COUNT, 71.0)
    ra, dec = deproject(east, north, ra0, dec0)
    host, sky = SkyCoord(ra0, dec0, unit="deg"), SkyCoord(ra, dec, unit="deg")
    assert stats.kstest(host.separation(sky).arcsec, stats.uniform(0, 4).cdf).pvalue > 0.01
    assert stats.kstest(host.position_angle(sky).deg, stats.uniform(0, 360).cdf).pvalue > 0.01


def test_nuclear():
    east, north = Nuclear().offsets(hosts(10), np.random.default_rng(6))
    assert not east.any()
    assert not north.any()
    east, _ = Nuclear(0.1).offsets(hosts(), np.random.default_rng(6))
    assert stats.kstest(east, stats.norm(0, 0.1).cdf).pvalue > 0.01


@pytest.mark.parametrize("n", [1.0, 2.5])
def test_surface_brightness_adds_up_to_the_magnitude(n):
    a, b = 1.5, 0.6

    def light(radius: float) -> float:
        mean = float(sersic_surface_brightness(20.0, a, b, radius, n))
        return 10 ** (-0.4 * mean) * 2 * np.pi * a * b * radius

    assert quad(light, 0, 60, limit=200)[0] == pytest.approx(10 ** (-0.4 * 20.0), rel=1e-3)


def test_surface_brightness_is_that_of_the_placement():
    """Transients that are placed by `HostLight` are as many per area as the profile is bright."""
    table = hosts(200_000)
    radius, _ = elliptical(*HostLight().offsets(table, np.random.default_rng(5)), 1.5, 0.6, 30.0)
    counts, edges = np.histogram(radius, np.linspace(0.2, 3.0, 8))
    area = np.pi * 1.5 * 0.6 * np.diff(edges**2)
    middle = np.sqrt(0.5 * (edges[1:] ** 2 + edges[:-1] ** 2))
    expected = 10 ** (-0.4 * sersic_surface_brightness(0.0, 1.5, 0.6, middle)) * 200_000
    np.testing.assert_allclose(counts / area, expected, rtol=0.06)
