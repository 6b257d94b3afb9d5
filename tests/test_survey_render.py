"""Drawing against GalSim and closed forms."""

import dataclasses

import galsim
import numpy as np
import pytest
from dia_vetting.embedded.survey import list_visits, load_config
from dia_vetting.embedded.survey.psf_model import visit_psf
from dia_vetting.embedded.survey.render import SourceList, draw_sources

ROUND = {
    "camera": {"diffusion": 0.0},
    "psf": {"ellipticity": 0.0, "coma": 0.0, "defocus": 0.0, "fwhm_variation": 0.0, "profile": "kolmogorov"},
}


def make_psf(preset="lsst", overrides=ROUND, **changes):
    config = load_config(preset, size="tiny", overrides=overrides)
    visit = dataclasses.replace(list_visits(config, 1)[0], **changes)
    return config, visit_psf(config, 1, visit, 0)


def galaxy(x, y, flux, fraction, disc, bulge, ratio, angle):
    one = np.ones(1)
    return SourceList(
        x * one, y * one, flux * one, fraction * one, disc * one, bulge * one, ratio * one, ratio * one,
        angle * one, 0 * one, 0 * one,
    )  # fmt: skip


def drawn_by_galsim(profile, x, y, shape=(400, 400)):
    image = galsim.Image(shape[1], shape[0], xmin=0, ymin=0, scale=1.0)
    profile.drawImage(image, center=galsim.PositionD(x, y), method="auto")
    return image.array


@pytest.mark.parametrize(("preset", "seeing"), [("lsst", 0.8), ("ztf", 2.0)])
def test_star_agrees_with_galsim(preset, seeing):
    config, psf = make_psf(preset, seeing=seeing)
    x, y, flux = 200.3, 180.77, 1e5
    image = draw_sources(SourceList.points(x, y, flux), psf, 0.001)
    kolmogorov = galsim.Kolmogorov(fwhm=seeing / config.camera.pixel_scale, flux=flux)
    other = drawn_by_galsim(kolmogorov, x, y)
    assert image.sum() == pytest.approx(flux, rel=0.01)
    assert np.abs(image - other).max() < 2e-3 * other.max()


def test_moffat_agrees_with_galsim():
    overrides = {**ROUND, "psf": {**ROUND["psf"], "profile": "moffat", "moffat_beta": 3.2}}
    _, psf = make_psf(overrides=overrides, seeing=0.8)
    image = draw_sources(SourceList.points(200.0, 200.0, 1.0), psf, 1e-7)
    other = drawn_by_galsim(galsim.Moffat(beta=3.2, fwhm=4.0), 200.0, 200.0)
    assert np.abs(image - other).max() < 2e-3 * other.max()


@pytest.mark.parametrize(
    ("fraction", "disc", "bulge", "ratio"), [(0.0, 6.0, 0.0, 0.4), (1.0, 0.0, 3.0, 0.7), (0.3, 5.0, 2.0, 0.6)]
)
def test_galaxy_agrees_with_galsim(fraction, disc, bulge, ratio):
    _, psf = make_psf(seeing=0.7)
    x, y, flux, angle = 190.4, 210.1, 2e4, 0.6
    image = draw_sources(galaxy(x, y, flux, fraction, disc, bulge, ratio, angle), psf, 0.01)
    parts = []
    for share, radius, n in ((1 - fraction, disc, 1), (fraction, bulge, 4)):
        if share:
            # GalSim shears at constant area: the circular radius is a sqrt(q).
            round_one = galsim.Sersic(n, half_light_radius=radius * np.sqrt(ratio), flux=share * flux)
            parts.append(round_one.shear(q=ratio, beta=angle * galsim.radians))
    profile = galsim.Convolve(galsim.Add(parts), galsim.Kolmogorov(fwhm=3.5))
    other = drawn_by_galsim(profile, x, y)
    assert np.abs(image - other).max() < 4e-3 * other.max()
    assert image.sum() == pytest.approx(other.sum(), rel=0.02)


def test_trail_is_a_line_of_stars():
    _, psf = make_psf(seeing=0.7)
    trail = draw_sources(SourceList.points(200.0, 200.0, 1000.0, 12.0, 5.0), psf, 1e-4)
    steps = (np.arange(200) + 0.5) / 200 - 0.5
    stars = SourceList.points(200 + 12 * steps, 200 + 5 * steps, np.full(200, 5.0))
    assert np.abs(trail - draw_sources(stars, psf, 1e-4)).max() < 1e-2 * trail.max()


def test_sources_outside_reach_in():
    _, psf = make_psf()
    inside = draw_sources(SourceList.points(-4.0, 200.0, 1e6), psf, 0.1)
    assert inside[200, 0] > inside[200, 10] > 0
    assert not draw_sources(SourceList.points(-5000.0, 200.0, 1e3), psf, 1.0).any()
    assert not draw_sources(SourceList.points([], [], []), psf, 1.0).any()


def moments(stamp):
    half = stamp.shape[0] // 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1]
    weight = stamp * np.exp(-0.5 * (u**2 + v**2) / 3.0**2)
    total = weight.sum()
    return (weight * u**2).sum() / total, (weight * v**2).sum() / total, (weight * u * v).sum() / total


def test_psf_varies_over_the_field_and_between_visits():
    config = load_config("lsst", size="demo")
    visits = list_visits(config, 2)
    first = visit_psf(config, 2, visits[0], 0).stamps([0, 999], [0, 999], 31)
    assert np.abs(first[0] - first[1]).max() > 0.01 * first.max()
    second = visit_psf(config, 2, visits[1], 0).stamps([0], [0], 31)
    assert np.abs(first[0] - second[0]).max() > 0.01 * first.max()
    assert np.all(np.abs(first.sum(axis=(1, 2)) - 1) < 0.05)


def test_psf_is_continuous_across_detectors():
    config = load_config("lsst", size="demo", overrides={"camera": {"gap": 0.0}})
    visit = list_visits(config, 2)[0]
    left = visit_psf(config, 2, visit, 0).stamps([999.5], [500], 31)
    right = visit_psf(config, 2, visit, 1).stamps([-0.5], [500], 31)
    assert np.allclose(left, right, atol=1e-9)


def test_tracking_error_elongates():
    _, psf = make_psf(psf_kind="elongated")
    xx, yy, xy = moments(psf.stamps([200], [200], 41)[0])
    _, plain = make_psf(psf_kind="nominal")
    xx0, yy0, xy0 = moments(plain.stamps([200], [200], 41)[0])
    assert np.hypot(xx - yy, 2 * xy) / (xx + yy) > 0.08
    assert np.hypot(xx0 - yy0, 2 * xy0) / (xx0 + yy0) < 0.001


def test_donut_has_a_hole():
    overrides = {"camera": ROUND["camera"], "psf": {**ROUND["psf"], "donut_radius": [2.0, 2.0]}}
    _, psf = make_psf(overrides=overrides, psf_kind="donut", seeing=0.6)
    stamp = psf.stamps([200], [200], 41)[0]
    profile = stamp[20, 20:]
    assert profile.argmax() >= 3
    assert profile[0] < 0.8 * profile.max()


def test_interpolated_psf_is_the_exact_one():
    """Sources drawn from the polynomials against the transfer function at their place."""
    config = load_config("hsc", size="demo")
    psf = visit_psf(config, 2, list_visits(config, 2)[0], 0)
    x, y = np.array([333.0, 871.0]), np.array([777.0, 130.0])
    image = draw_sources(SourceList.points(x, y, np.ones(2)), psf, 1e-4)
    exact = psf.stamps(x, y, 15)
    for i in range(2):
        cut = image[int(y[i]) - 7 : int(y[i]) + 8, int(x[i]) - 7 : int(x[i]) + 8]
        assert np.abs(cut - exact[i]).max() < 0.01 * exact[i].max()
