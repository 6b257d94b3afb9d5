"""Light curves: shapes, colours, rates and walks against what they should be."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from dia_vetting.errors import BadInputError
from dia_vetting.injection.brightness import distance_modulus
from dia_vetting.injection.light_curves.damped_random_walk import DampedRandomWalks
from dia_vetting.injection.light_curves.extinction import extinction_curve
from dia_vetting.injection.light_curves.supernova import draw_redshifts, draw_supernovae
from dia_vetting.injection.light_curves.supernova_classes import CLASSES, RATES
from scipy import stats


def supernovae(kind: str, count: int = 400, z: float = 0.05, seed: int = 1):
    rng = np.random.default_rng(seed)
    return draw_supernovae(count, np.full(count, z), 60_000.0, 60_000.0, rng, {kind: 1.0})


def magnitudes(drawn, mjd, band):
    with np.errstate(divide="ignore"):
        return 31.4 - 2.5 * np.log10(drawn.flux(np.asarray(mjd, float), [band] * len(mjd)))


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_nothing_before_the_explosion_and_finite_for_ever(kind):
    drawn, mjd = supernovae(kind), np.concatenate([np.arange(59_900.0, 60_400.0), [1e5]])
    for band in "ugrizy":
        flux = drawn.flux(mjd, [band] * len(mjd))
        assert np.isfinite(flux).all()
        assert (flux >= 0).all()
        assert not flux[:, mjd < 60_000.0 - 60.0].any()
        assert (flux[:, np.abs(mjd - 60_000.0) < 3] > 0).all()


@pytest.mark.parametrize("kind", sorted(set(CLASSES) - {"Ia"}))
def test_absolute_magnitudes_of_core_collapse(kind):
    drawn, model = supernovae(kind, 2000), CLASSES[kind]
    assert stats.kstest(drawn.magnitude, stats.norm(model.magnitude, model.scatter).cdf).pvalue > 0.01
    assert stats.kstest(drawn.reddening, stats.expon(scale=0.1).cdf).pvalue > 0.01


def test_ia_are_standardised_by_stretch_and_colour():
    """B at maximum, at low redshift: M - alpha x1 + beta c, with the intrinsic scatter of 0.1 mag."""
    drawn = supernovae("Ia", 3000, z=0.001)
    flux = drawn._flux(np.array([60_000.0]), np.array([440.0 * 1.001]))[:, 0]
    absolute = 31.4 - 2.5 * np.log10(flux) - distance_modulus(np.array([0.001]))
    residual = absolute - (-19.36 - 0.14 * drawn.x1 + 3.1 * drawn.reddening)
    assert np.mean(residual) == pytest.approx(0.0, abs=0.008)
    assert np.std(residual) == pytest.approx(0.10, rel=0.05)
    assert np.mean(drawn.x1 < 0.973) == pytest.approx(1.472 / (1.472 + 0.222), abs=0.03)


def test_ia_declines_by_its_stretch():
    drawn = supernovae("Ia", 500, z=0.001)
    early, late = (drawn._flux(np.array([t]), np.array([440.44]))[:, 0] for t in (60_000.0, 60_015.015))
    dm15 = 2.5 * np.log10(early / late)
    assert dm15[np.abs(drawn.x1) < 0.1].mean() == pytest.approx(1.09, abs=0.08)
    assert stats.spearmanr(dm15, drawn.x1).statistic < -0.99


def test_plateau_of_ii_p():
    """About 84 days from explosion to its end (Anderson et al. 2014), then a drop of over a magnitude."""
    drawn = supernovae("II-P", 200, z=0.001)
    mag = magnitudes(drawn, 60_000.0 + np.array([10.0, 60.0, 110.0]), "r")
    assert np.median(mag[:, 1] - mag[:, 0]) < 0.8
    assert np.median(mag[:, 2] - mag[:, 1]) > 1.0


def test_time_is_dilated_and_light_reddened_by_redshift():
    near, far = supernovae("Ia", z=0.02), supernovae("Ia", z=0.6)

    def length(drawn, z):
        mjd = np.arange(59_960.0, 60_120.0)
        flux = drawn._flux(mjd, np.full(len(mjd), 440.0 * (1 + z)))
        return (flux > 0.5 * flux.max(axis=1, keepdims=True)).sum(axis=1)

    ratio = np.mean(length(far, 0.6)) / np.mean(length(near, 0.02))
    assert ratio == pytest.approx(1.6 / 1.02, rel=0.03)
    colour = [np.median(magnitudes(d, [60_000.0], "g") - magnitudes(d, [60_000.0], "i")) for d in (near, far)]
    assert colour[1] > colour[0] + 0.5


def test_shares_of_the_classes_and_seeds():
    rng = np.random.default_rng(5)
    drawn = draw_supernovae(20_000, np.full(20_000, 0.1), 60_000.0, 60_100.0, rng)
    total = sum(RATES.values())
    for name, share in RATES.items():
        expected = share / total
        assert np.mean(drawn.kind == name) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))
    assert stats.kstest(drawn.peak_mjd, stats.uniform(60_000, 100).cdf).pvalue > 0.01
    again = draw_supernovae(20_000, np.full(20_000, 0.1), 60_000.0, 60_100.0, np.random.default_rng(5))
    np.testing.assert_array_equal(drawn.magnitude, again.magnitude)


def test_peak_magnitude_can_be_said():
    wanted = np.linspace(19, 24, 50)
    drawn = supernovae("Ic", 50, z=0.2).with_peak_magnitudes(wanted)
    np.testing.assert_allclose(magnitudes(drawn, [60_000.0], "r")[:, 0], wanted, atol=1e-6)


def test_unknown_redshift_band_and_class():
    drawn = draw_supernovae(2, np.array([0.1, np.nan]), 6e4, 6e4, np.random.default_rng(1))
    flux = drawn.flux(np.array([60_000.0]), ["r"])
    assert np.isfinite(flux[0]).all()
    assert np.isnan(flux[1]).all()
    with pytest.raises(BadInputError, match="'white'"):
        drawn.flux(np.array([60_000.0]), ["white"])
    with pytest.raises(BadInputError, match="'Iz'"):
        draw_supernovae(1, np.array([0.1]), 6e4, 6e4, np.random.default_rng(1), {"Iz": 1.0})
    with pytest.raises(BadInputError, match="positive share"):
        draw_supernovae(1, np.array([0.1]), 6e4, 6e4, np.random.default_rng(1), {"Ia": 0.0})


def test_redshifts_follow_the_volume():
    z = draw_redshifts(20_000, 0.02, 0.5, np.random.default_rng(2))
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    grid = np.linspace(0.02, 0.5, 4000)
    density = cosmology.differential_comoving_volume(grid).value * (1 + grid) ** 0.5
    cdf = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    assert stats.kstest(z, lambda x: np.interp(x, grid, cdf / cdf[-1])).pvalue > 0.01


def test_extinction_law():
    """Their table 3 for R_V = 3.1: A(B)/A(V) 1.337, A(U)/A(V) 1.569, A(I)/A(V) 0.479 at 440, 360, 900 nm."""
    ratio = extinction_curve([440.0, 360.0, 900.0]) / extinction_curve(1000 / 1.82)
    np.testing.assert_allclose(ratio, [1.337, 1.569, 0.479], rtol=0.01)
    np.testing.assert_allclose(extinction_curve(1000 / 1.0999), extinction_curve(1000 / 1.1001), rtol=0.01)
    np.testing.assert_allclose(extinction_curve(1000 / 3.299), extinction_curve(1000 / 3.301), rtol=0.01)


def walks(count: int, tau: float = 20.0, sigma: float = 0.2, keys=(1, "agn")):
    mean = {"g": np.full(count, 22.0), "r": np.full(count, 21.5)}
    return DampedRandomWalks(mean, np.full(count, sigma), np.full(count, tau), keys)


def test_walk_has_its_variance_and_correlation():
    drawn, count = walks(20_000), 20_000
    path = drawn.path(np.array([59_000.0, 60_000.0, 60_010.0, 60_500.0]))
    np.testing.assert_allclose(path.std(axis=0), 0.2, rtol=4 / np.sqrt(2 * count))
    correlation = np.corrcoef(path.T)
    assert correlation[1, 2] == pytest.approx(np.exp(-0.5), abs=0.02)
    assert abs(correlation[0, 1]) < 0.03
    assert abs(correlation[1, 3]) < 0.03


def test_walk_is_the_same_whatever_is_asked_for():
    drawn, mjd = walks(50), np.array([59_900.3, 60_000.0, 60_020.7])
    wide = drawn.path(np.concatenate([[58_000.0], mjd, [61_000.0]]))[:, 1:4]
    np.testing.assert_array_equal(drawn.path(mjd), wide)
    np.testing.assert_array_equal(drawn.path(mjd[1:2])[:, 0], wide[:, 1])
    assert (walks(50, keys=(2, "agn")).path(mjd) != wide).all()


def test_walk_varies_less_in_the_red_and_together():
    drawn = walks(500)
    mjd = np.full(2, 60_123.0)
    mag = 31.4 - 2.5 * np.log10(drawn.flux(mjd, ["g", "r"]))
    change = mag - np.array([22.0, 21.5])
    np.testing.assert_allclose(change[:, 1] / change[:, 0], (623.0 / 480.0) ** -0.479, rtol=1e-6)


def test_bad_walks():
    with pytest.raises(BadInputError, match="tau > 0"):
        walks(3, tau=0.0)
    with pytest.raises(BadInputError, match="'z'"):
        walks(3).flux(np.array([60_000.0]), ["z"])
