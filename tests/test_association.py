import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from dia_vetting.embedded.association import associate, unit_vectors


def test_unit_vectors_agree_with_astropy() -> None:
    ra, dec = np.array([0.0, 123.4, 359.9]), np.array([-89.0, 10.0, 45.0])
    expected = SkyCoord(ra * u.deg, dec * u.deg).cartesian.xyz.value.T
    np.testing.assert_allclose(unit_vectors(ra, dec), expected, atol=1e-15)


def test_groups_jittered_detections_near_the_pole_and_across_ra_zero() -> None:
    rng = np.random.default_rng(1)
    # Four objects 3 arcsec apart in a row across RA = 0 at declination 85, seen in 6 epochs.
    true_ra = (np.arange(4) - 1.5) * 3 / 3600 / np.cos(np.radians(85.0))
    epoch = np.repeat(np.arange(6), 4)
    ra = (np.tile(true_ra, 6) + rng.normal(0, 0.05 / 3600 / np.cos(np.radians(85.0)), 24)) % 360
    dec = 85.0 + rng.normal(0, 0.05 / 3600, 24)
    order = rng.permutation(24)
    index = associate(ra[order], dec[order], epoch[order], 0.6)
    truth = np.tile(np.arange(4), 6)[order]
    assert len(np.unique(index)) == 4
    for star in range(4):
        assert len(np.unique(index[truth == star])) == 1


def test_two_sources_of_one_epoch_never_share_an_object() -> None:
    ra = np.array([10.0, 10.0 + 0.2 / 3600, 10.0 + 0.1 / 3600])
    index = associate(ra, np.zeros(3), np.array([1, 1, 2]), 0.6)
    assert index[0] != index[1]
    assert index[2] in index[:2]


def test_beyond_the_radius_is_a_new_object() -> None:
    index = associate(np.array([10.0, 10.0 + 0.7 / 3600]), np.zeros(2), np.array([1, 2]), 0.6)
    assert list(index) == [0, 1]


def test_no_source_gives_no_object() -> None:
    assert associate(np.array([]), np.array([]), np.array([]), 1.0).shape == (0,)
