"""Where things fall: WCS, its errors, and visits."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from dia_vetting.embedded.survey import list_visits, load_config
from dia_vetting.embedded.survey.geometry import (
    detector_center,
    offset_sky,
    sky_extent,
    true_wcs,
    written_wcs,
)

CONFIG = load_config("lsst", size="demo")
VISITS = list_visits(CONFIG, 5)


def test_distortion_is_the_configured_cubic():
    """Angles from the boresight against scale * r * (1 + k r^2), by an independent great-circle formula."""
    config = load_config("hsc", overrides={"camera": {"distortion": 5e-9}, "observing": {"rotation": 0.0}})
    visit = list_visits(config, 1)[0]
    wcs = written_wcs(config, visit, 1)
    x, y = np.array([0.0, 999.0, 500.0]), np.array([0.0, 999.0, 10.0])
    center = np.array(detector_center(config, 1))
    u = x - 499.5 + center[0]
    v = y - 499.5 + center[1]
    radius = np.hypot(u, v)
    tangent = np.radians(config.camera.pixel_scale / 3600) * radius * (1 + 5e-9 * radius**2)
    ra, dec = wcs.all_pix2world(x, y, 0)
    boresight = SkyCoord(visit.ra, visit.dec, unit="deg")
    angle = boresight.separation(SkyCoord(ra, dec, unit="deg")).radian
    assert np.allclose(angle, np.arctan(tangent), rtol=1e-5)
    linear = np.radians(config.camera.pixel_scale / 3600) * radius
    assert np.abs(tangent - linear).max() / np.radians(config.camera.pixel_scale / 3600) > 1.0


def test_written_wcs_survives_a_fits_header():
    wcs = written_wcs(CONFIG, VISITS[0], 1)
    again = WCS(fits.Header.fromstring(wcs.to_header(relax=True).tostring()))
    x, y = np.array([3.0, 800.0]), np.array([990.0, 20.0])
    assert np.allclose(again.all_pix2world(x, y, 0), wcs.all_pix2world(x, y, 0), atol=1e-9)
    assert wcs.wcs.ctype[0] == "RA---TAN-SIP"
    assert wcs.array_shape == CONFIG.shape


def test_true_wcs_inverts():
    wcs = true_wcs(CONFIG, 5, VISITS[3], 0)
    x, y = np.random.default_rng(0).uniform(0, 999, (2, 200))
    back = wcs.sky_to_pixel(*wcs.pixel_to_sky(x, y))
    assert np.allclose(back, (x, y), atol=1e-4)
    assert all(len(part) == 0 for part in wcs.sky_to_pixel([], []))


def test_astrometric_errors_have_the_configured_rms():
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, 999, 30), np.linspace(0, 999, 30)))
    fields = [true_wcs(CONFIG, seed, VISITS[0], 0) for seed in range(60)]
    smooth = np.array([np.subtract(w.displacement(x, y), w.shift[:, None]) for w in fields])
    shift = np.array([w.shift for w in fields]) * CONFIG.camera.pixel_scale
    assert smooth.std() == pytest.approx(CONFIG.astrometry.field_error, rel=0.15)
    assert shift.std() == pytest.approx(CONFIG.astrometry.visit_shift, rel=0.2)
    # Smooth: neighbouring pixels move together.
    near = np.subtract(fields[0].displacement(x + 1, y), fields[0].displacement(x, y))
    assert np.abs(near).max() < 0.003


def test_refraction_moves_blue_stars_to_the_zenith():
    visit = VISITS[0]
    wcs = true_wcs(CONFIG, 5, visit, 0)
    ra, dec = wcs.pixel_to_sky(500.0, 500.0)
    x, y = wcs.sky_to_pixel(np.repeat(ra, 2), np.repeat(dec, 2), np.array([0.0, 1.0]))
    lifted = wcs.written.all_pix2world([x[0]], [y[0]], 0)
    straight = wcs.written.all_pix2world([x[1]], [y[1]], 0)
    place = SkyCoord(*straight, unit="deg")
    zenith = place.position_angle(SkyCoord(*lifted, unit="deg")).deg[0]
    size = place.separation(SkyCoord(*lifted, unit="deg")).arcsec[0]
    wanted = CONFIG.astrometry.refraction[visit.band] * np.sqrt(visit.airmass**2 - 1)
    assert size == pytest.approx(wanted, rel=0.01)
    assert (zenith - visit.parallactic_angle + 180) % 360 - 180 == pytest.approx(0.0, abs=1.0)


def test_offsets_agree_with_astropy():
    ra, dec = offset_sky(150.0, 2.0, 300.0, 0.0)
    place = SkyCoord(150.0, 2.0, unit="deg")
    assert place.separation(SkyCoord(ra, dec, unit="deg")).arcsec == pytest.approx(300.0, rel=1e-5)
    assert place.position_angle(SkyCoord(ra, dec, unit="deg")).deg == pytest.approx(90.0, abs=0.01)


def test_the_sky_covers_every_detector():
    width, height = sky_extent(CONFIG)
    for visit in VISITS:
        for detector in CONFIG.detectors:
            wcs = written_wcs(CONFIG, visit, detector)
            ra, dec = wcs.all_pix2world([0, 999, 0, 999], [0, 0, 999, 999], 0)
            east = (ra - CONFIG.sky.ra) * np.cos(np.radians(dec)) * 3600
            north = (dec - CONFIG.sky.dec) * 3600
            assert np.abs(east).max() < width / 2
            assert np.abs(north).max() < height / 2


def test_visits():
    science = [v for v in VISITS if not v.is_template]
    template = [v for v in VISITS if v.is_template]
    assert len(science) == 12
    assert len(template) == 8
    assert [v.visit for v in VISITS] == sorted({v.visit for v in VISITS})
    for band in CONFIG.size.bands:
        assert sum(v.band == band for v in science) == 6
        assert sum(v.band == band for v in template) == 4
    assert max(v.mjd_end for v in template) < min(v.mjd_begin for v in science) - 200
    begin = [v.mjd_begin for v in VISITS]
    assert np.all(np.diff(begin) * 86_400 > CONFIG.observing.exposure_time)
    assert all(v.mjd_end - v.mjd_begin == pytest.approx(30 / 86_400, rel=1e-3) for v in VISITS)
    low, high = CONFIG.observing.seeing
    assert all(low <= v.seeing <= high for v in VISITS)
    assert {v.psf_kind for v in science} == {"nominal", "elongated", "donut"}
    assert {v.psf_kind for v in template} == {"nominal"}
    assert all(19_000_000 < v.day_obs < 21_000_000 for v in VISITS)


def test_visits_depend_on_the_seed_alone():
    assert list_visits(CONFIG, 5) == VISITS
    assert list_visits(CONFIG, 6) != VISITS
