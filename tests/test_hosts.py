"""Tangent planes, ellipses and the choice of hosts, against astropy and closed forms."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from dia_vetting.injection.host_geometry import (
    Ellipses,
    TangentFitError,
    deproject,
    fit_pixel_frame,
    moments_on_sky,
    project,
)
from dia_vetting.injection.hosts import HostCuts, MeasuredObjects, host_ellipses, select

CUTS = HostCuts(0.5, 10.0, (16.0, 24.0), (0.3, 5.0), 0.2)


def tract_wcs(ra: float, dec: float, scale: float = 0.2, angle: float = 0.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [1.0, 1.0]
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * scale / 3600
    return wcs


def measured(x, y, wcs, **change) -> MeasuredObjects:
    count = len(x)
    ra, dec = wcs.all_pix2world(x, y, 0)
    values = {
        "ra": ra,
        "dec": dec,
        "x": x,
        "y": y,
        "xx": np.full(count, 9.0),
        "yy": np.full(count, 4.0),
        "xy": np.zeros(count),
        "moments_in_arcsec": False,
        "extendedness": np.ones(count),
        "flux": np.full(count, 1e4),
        "flux_err": np.full(count, 100.0),
        "passes": {},
    }
    return MeasuredObjects(**(values | change))


def test_projection_agrees_with_astropy_and_inverts():
    rng = np.random.default_rng(1)
    ra0, dec0 = rng.uniform(0, 360, 200), rng.uniform(-89, 89, 200)
    separation, angle = rng.uniform(0, 3000, 200), rng.uniform(0, 360, 200)
    east = np.tan(np.deg2rad(separation / 3600)) * 206264.80624709636 * np.sin(np.deg2rad(angle))
    north = np.tan(np.deg2rad(separation / 3600)) * 206264.80624709636 * np.cos(np.deg2rad(angle))
    ra, dec = deproject(east, north, ra0, dec0)
    host, found = SkyCoord(ra0, dec0, unit="deg"), SkyCoord(ra, dec, unit="deg")
    np.testing.assert_allclose(host.separation(found).arcsec, separation, atol=1e-7)
    turn = (host.position_angle(found).deg - angle + 180) % 360 - 180
    np.testing.assert_allclose(turn[separation > 1], 0, atol=1e-6)
    back = project(ra, dec, ra0, dec0)
    np.testing.assert_allclose(back, (east, north), atol=1e-7)


@pytest.mark.parametrize("pa", [0.0, 20.0, 90.0, 155.0])
def test_ellipse_from_moments_has_its_axes_and_angle(pa):
    a, b, t = 1.4, 0.5, np.deg2rad(pa)
    east = (a * np.sin(t)) ** 2 + (b * np.cos(t)) ** 2
    north = (a * np.cos(t)) ** 2 + (b * np.sin(t)) ** 2
    cross = (a**2 - b**2) * np.sin(t) * np.cos(t)
    found = Ellipses.from_moments(np.array([east]), np.array([north]), np.array([cross]))
    np.testing.assert_allclose([found.a[0], found.b[0]], [a, b])
    np.testing.assert_allclose((found.pa[0] - pa + 90) % 180 - 90, 0, atol=1e-9)


def test_moments_that_are_no_ellipse_give_nan():
    bad = Ellipses.from_moments(
        np.array([1.0, -1.0, np.nan]), np.array([1.0, 2.0, 1.0]), np.array([1.5, 0.0, 0.0])
    )
    assert np.isnan(bad.a).all()
    assert np.isnan(bad.b).all()
    assert np.isnan(bad.pa).all()


def test_points_lie_on_the_scaled_ellipse():
    ellipse = Ellipses(np.full(50, 2.0), np.full(50, 0.7), np.full(50, 35.0))
    phase = np.linspace(0, 2 * np.pi, 50)
    east, north = ellipse.points(np.full(50, 1.7), phase)
    t = np.deg2rad(35.0)
    major, minor = east * np.sin(t) + north * np.cos(t), east * np.cos(t) - north * np.sin(t)
    np.testing.assert_allclose((major / 2.0) ** 2 + (minor / 0.7) ** 2, 1.7**2)
    # On the major axis the position angle is the ellipse's: north through east.
    assert np.rad2deg(np.arctan2(east[0], north[0])) == pytest.approx(35.0)


@pytest.mark.parametrize(("dec", "angle"), [(-60.0, 0.0), (5.0, 30.0), (80.0, -110.0)])
def test_shape_through_the_tract_agrees_with_points_traced_through_the_wcs(dec, angle):
    """Trace the ellipse itself through astropy's WCS, far from the tangent point, and measure it there."""
    wcs = tract_wcs(150.0, dec, angle=angle)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-14000, 14000, (2, 400))
    objects = measured(x, y, wcs, xy=np.full(400, 2.5))
    ellipses = host_ellipses(objects)
    vectors = np.linalg.eigh(np.array([[9.0, 2.5], [2.5, 4.0]]))
    for i in range(0, 400, 57):
        tip = vectors.eigenvectors[:, 1] * np.sqrt(vectors.eigenvalues[1])
        ra, dec_tip = wcs.all_pix2world(x[i] + tip[0], y[i] + tip[1], 0)
        host = SkyCoord(objects.ra[i], objects.dec[i], unit="deg")
        end = SkyCoord(ra, dec_tip, unit="deg")
        assert ellipses.a[i] == pytest.approx(host.separation(end).arcsec, rel=1e-3)
        turn = (host.position_angle(end).deg - ellipses.pa[i] + 90) % 180 - 90
        assert abs(turn) < 0.05


def test_moments_in_arcsec_give_the_same_shape():
    x, y = np.random.default_rng(3).uniform(0, 4000, (2, 50))
    wcs = tract_wcs(10.0, -30.0)
    pixels = host_ellipses(measured(x, y, wcs))
    angles = host_ellipses(
        measured(x, y, wcs, xx=np.full(50, 0.36), yy=np.full(50, 0.16), moments_in_arcsec=True)
    )
    np.testing.assert_allclose(angles.a, pixels.a, rtol=1e-5)
    np.testing.assert_allclose(pixels.a, 0.6, rtol=1e-3)


def test_north_turns_across_a_tract():
    frame = fit_pixel_frame(*_corner_positions(), "object")
    one = np.ones(2)
    ra = np.array([148.0, 152.0])
    east, north, cross = moments_on_sky(9 * one, 4 * one, 0 * one, ra, np.full(2, -60.0), frame)
    pa = Ellipses.from_moments(east, north, cross).pa
    # Meridians converge: a direction fixed on the plane turns by delta(ra) sin(dec).
    assert pa[1] - pa[0] == pytest.approx(4 * np.sin(np.deg2rad(-60.0)), rel=0.01)


def _corner_positions():
    wcs = tract_wcs(150.0, -60.0)
    x, y = np.meshgrid(np.linspace(-9000, 9000, 9), np.linspace(-9000, 9000, 9))
    ra, dec = wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    return x.ravel(), y.ravel(), ra, dec


def test_pixel_frame_refuses_what_it_cannot_be():
    x, y, ra, dec = _corner_positions()
    with pytest.raises(TangentFitError, match=r"object skymap: .*3 objects"):
        fit_pixel_frame(x[:2], y[:2], ra[:2], dec[:2], "object skymap")
    with pytest.raises(TangentFitError, match="one line"):
        fit_pixel_frame(x[:9], y[:9], ra[:9], dec[:9])
    with pytest.raises(TangentFitError, match="residual"):
        fit_pixel_frame(y, np.random.default_rng(0).permutation(x), ra, dec)


def test_each_cut_rejects_its_own_objects_and_is_counted_once():
    x, y = np.random.default_rng(4).uniform(0, 4000, (2, 9))
    objects = measured(x, y, tract_wcs(10.0, 0.0))
    ext, flux, err, yy = objects.extendedness, objects.flux, objects.flux_err, objects.yy
    primary = np.ones(9, dtype=bool)
    primary[0] = False
    ext[[0, 1]] = 0.0  # 0 is rejected by its flag already
    err[2], flux[3], flux[4] = 5e3, 1e8, np.nan
    yy[5], objects.xx[6], yy[7] = -1.0, 4e5, 0.1
    objects.ra[7:8] += 0.0
    objects = measured(
        x, y, tract_wcs(10.0, 0.0), extendedness=ext, flux=flux, flux_err=err, xx=objects.xx, yy=yy,
        passes={"detect_isPrimary": primary},
    )  # fmt: skip
    chosen, rejected = select(objects, host_ellipses(objects), CUTS)
    assert np.flatnonzero(chosen).tolist() == [8]
    assert rejected == {
        "detect_isPrimary": 1, "position": 0, "extendedness": 1, "snr": 2, "magnitude": 1, "shape": 1,
        "size": 1, "axis_ratio": 1,
    }  # fmt: skip
    assert sum(rejected.values()) + chosen.sum() == 9


def test_magnitude_is_ab():
    x = np.array([0.0, 1.0, 0.5])
    objects = measured(x, x**2, tract_wcs(10.0, 0.0), flux=np.array([3631e9, 1.0, -1.0]))
    expected = (3631e9 * u.nJy).to_value(u.ABmag)
    np.testing.assert_allclose(objects.magnitude()[:2], [expected, 31.4], atol=1e-3)
    assert np.isnan(objects.magnitude()[2])
