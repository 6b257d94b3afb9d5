import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.reliability.glint_trails import centroid_error, chance_in_image, chance_trails, doubt_trails

FWHM, SIDE, SCALE = 4.0, 1000.0, 0.2


def field(n, seed, snr=15.0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, SIDE, (n, 2)), np.full(n, snr)


def flashes(start, step, places, snr, seed=0):
    places = np.asarray(places, float)
    scatter = np.random.default_rng(seed).normal(0, 0.6 * FWHM / snr, (len(places), 2))
    return np.asarray(start) + places[:, None] * np.asarray(step) + scatter


def chance(position, snr):
    error = centroid_error(np.full(len(position), FWHM), np.asarray(snr, float))
    return chance_trails(position, error, 2 * FWHM, 150.0, SIDE**2)


def cutouts(position, snr, ra=150.0, dec=-30.0, angle=0.7, flux=1.0):
    """Sources of one image of a camera that is turned on the sky."""
    east, north = SCALE * (
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ position.T
    )
    n = len(position)
    return Table(
        {
            "ra": (ra + east / 3600 / np.cos(np.radians(dec + north / 3600))) % 360,
            "dec": dec + north / 3600,
            "x0": np.ceil(position[:, 0] - 15).astype(int),
            "y0": np.ceil(position[:, 1] - 15).astype(int),
            "snr": np.broadcast_to(snr, n).astype(float),
            "psfFlux": np.broadcast_to(flux, n) * np.ones(n),
            "psf_fwhm": np.full(n, FWHM, np.float32),
        }
    )


@pytest.mark.parametrize("places", [range(4), range(7), (0, 1, 3, 4), (0, 2, 3, 4, 6)])
def test_a_row_of_flashes_is_found_among_others(places):
    scattered, _ = field(100, 1)
    row = flashes((200, 300), (61, 37), places, 15.0)
    expected = chance(np.concatenate([scattered, row]), np.full(100 + len(row), 15.0))
    assert (expected[100:] < 0.01).all()
    assert (expected[:100] > 0.01).all()


def test_longer_and_straighter_rows_are_less_likely_by_chance():
    scattered, _ = field(100, 1)

    def least(places, snr):
        row = flashes((200, 300), (61, 37), places, snr, seed=3)
        return chance(np.concatenate([scattered, row]), np.full(100 + len(row), snr))[100:].max()

    assert least(range(6), 15.0) < 0.01 * least(range(4), 15.0)
    assert least(range(4), 100.0) < 0.1 * least(range(4), 10.0)


def test_chance_is_the_number_of_rows_among_scattered_sources():
    """What is expected less than once in ten images is seen in no more than a tenth of the images."""
    images = [chance(*field(150, seed)) for seed in range(200)]
    for level in (0.1, 1.0):
        assert np.mean([(expected <= level).any() for expected in images]) <= 1.5 * level
    assert min(expected.min() for expected in images) < 0.1


def test_two_and_none_are_no_row():
    for n in (0, 1, 2):
        assert np.isinf(chance(*field(n, 0))).all()


def test_neighbours_too_near_or_too_far_are_no_row():
    near = flashes((200, 300), (FWHM, 0), range(5), 1e3)
    far = flashes((100, 300), (160, 0), range(5), 1e3)
    assert np.isinf(chance(near, np.full(5, 1e3))).all()
    assert np.isinf(chance(far, np.full(5, 1e3))).all()


@pytest.mark.parametrize(("ra", "dec"), [(150.0, -30.0), (0.0, 0.0), (359.999, 5.0), (10.0, 88.9)])
def test_rows_are_found_from_sky_positions(ra, dec):
    scattered, _ = field(80, 2)
    row = flashes((200, 300), (61, 37), range(5), 15.0)
    table = cutouts(np.concatenate([scattered, row]), 15.0, ra, dec)
    expected = chance_in_image(table, np.ones(85, bool))
    assert (expected[80:] < 1e-3).all()
    assert (expected[:80] > 0.01).all()


def test_signs_are_apart_and_only_candidates_count():
    row = flashes((200, 300), (61, 37), range(5), 15.0)
    scattered, _ = field(80, 2)
    position = np.concatenate([scattered, row])
    everything = np.ones(84, bool)
    assert (chance_in_image(cutouts(position[:84], 15.0), everything)[80:] < 0.01).all()
    alternating = np.ones(84)
    alternating[80::2] = -1
    assert (chance_in_image(cutouts(position[:84], 15.0, flux=alternating), everything)[80:] > 0.01).all()
    some = np.ones(85, bool)
    some[82] = False
    expected = chance_in_image(cutouts(position, 15.0), some)
    assert np.isinf(expected[82])
    assert (expected[[80, 81, 83, 84]] < 0.01).all()


def test_unknown_positions_and_snr_are_in_no_row():
    row = flashes((200, 300), (61, 37), range(6), 15.0)
    table = cutouts(np.concatenate([field(80, 2)[0], row]), 15.0)
    table["ra"][82], table["snr"][83], table["psf_fwhm"][84] = np.nan, np.nan, np.nan
    expected = chance_in_image(table, np.ones(86, bool))
    assert np.isinf(expected[[82, 83, 84]]).all()
    table["ra"] = np.nan
    assert np.isinf(chance_in_image(table, np.ones(86, bool))).all()
    assert len(chance_in_image(table[:0], np.ones(0, bool))) == 0


def test_doubt_follows_bayes_and_leaves_others():
    reliability = np.array([0.9, 0.9, 0.9, np.nan], np.float32)
    lowered, trail = doubt_trails(reliability, np.array([1e-4, 0.05, np.inf, 1e-4]), rate=0.1)
    certain, _ = doubt_trails(np.ones(1, np.float32), np.array([1e-9]))
    assert certain == 1
    np.testing.assert_array_equal(trail, [True, False, False, False])
    np.testing.assert_allclose(lowered[0], 9e-3 / (1 + 9e-3), rtol=1e-5)
    np.testing.assert_array_equal(lowered[1:], reliability[1:])
