import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from dia_vetting.reliability.labels import (
    MatchCriteria,
    State,
    injected_flux,
    label_sources,
    label_table,
    missed_injections,
)
from dia_vetting.reliability.matching import find_pairs, flux_consistent, mutual_nearest
from hypothesis import given, settings
from hypothesis import strategies as st

ARCSEC = 1 / 3600


def make_sources(ra, dec, flux, error=10.0):
    n = len(ra)
    return Table(
        {
            "diaSourceId": np.arange(n) + 100,
            "visit": np.full(n, 1),
            "detector": np.full(n, 2),
            "band": np.full(n, "r"),
            "ra": np.asarray(ra, float),
            "dec": np.asarray(dec, float),
            "psfFlux": np.asarray(flux, float),
            "psfFluxErr": np.full(n, error),
            "snr": np.abs(flux) / error,
        }
    )


def make_injections(ra, dec, flux, flag=0):
    n = len(ra)
    return Table(
        {
            "injection_id": np.arange(n) + 1,
            "ra": np.asarray(ra, float),
            "dec": np.asarray(dec, float),
            "flux": np.asarray(flux, float),
            "injection_flag": np.broadcast_to(flag, n),
        }
    )


def label(sources, injections, masked=None, criteria=None):
    masked = np.zeros(len(sources), dtype=bool) if masked is None else np.asarray(masked)
    return label_sources(sources, injections, masked, criteria or MatchCriteria())


@pytest.mark.parametrize("dec", [0.0, -30.0, 89.9, -89.99])
def test_pairs_agree_with_astropy_everywhere_on_the_sphere(dec):
    rng = np.random.default_rng(5)
    spread = 3 * ARCSEC
    ra1, ra2 = (
        (rng.uniform(-spread, spread, 60) / max(np.cos(np.radians(dec)), 1e-4)) % 360 for _ in range(2)
    )
    dec1, dec2 = np.clip(dec + rng.uniform(-spread, spread, (2, 60)), -90, 90)
    pairs = find_pairs((ra1, dec1), (ra2, dec2), 1.0)
    separation = SkyCoord(ra1, dec1, unit="deg")[:, None].separation(SkyCoord(ra2, dec2, unit="deg")).arcsec
    assert set(zip(pairs.first, pairs.second, strict=True)) == set(
        zip(*np.nonzero(separation <= 1.0), strict=True)
    )
    np.testing.assert_allclose(pairs.distance, separation[pairs.first, pairs.second], rtol=1e-6, atol=1e-7)
    assert (np.diff(pairs.distance) >= 0).all()
    assert len(pairs.first) > 20


def test_positions_that_are_not_finite_have_no_pair():
    pairs = find_pairs(([np.nan, 10.0], [0.0, 0.0]), ([10.0], [0.0]), 1.0)
    np.testing.assert_array_equal(pairs.first, [1])


def test_mutual_nearest_on_a_line():
    # Sources at 0 and 3, injections at 1 and 10: 0-1 is mutual; 3 is nearest to 1, which prefers 0.
    at = np.array([0.0, 3.0]) * ARCSEC, np.array([1.0, 10.0]) * ARCSEC
    pairs = find_pairs((at[0], [0, 0]), (at[1], [0, 0]), 20.0)
    mutual = pairs.where(mutual_nearest(pairs, 2, 2))
    np.testing.assert_array_equal(mutual.first, [0])
    np.testing.assert_array_equal(mutual.second, [0])


def test_flux_consistency():
    measured = np.array([1000.0, 1139.0, 1141.0, -1000.0, np.nan, 1000.0])
    expected = np.array([1000.0, 1000.0, 1000.0, 1000.0, 1000.0, np.nan])
    agree = flux_consistent(measured, 10.0, expected, 4.0, 0.1)
    np.testing.assert_array_equal(agree, [True, True, False, False, False, False])


def test_states_and_reasons_case_by_case():
    # Injections 20 arcsec apart along the equator; each has its story.
    ra = np.arange(7) * 20 * ARCSEC
    injections = make_injections(ra, np.zeros(7), np.full(7, 1000.0), [0, 0, 0, 0, 0, 0, 3])
    place = np.array([0.1, 20.1, 40.1, 40.3, 60.1, 80.8, 120.0, 500.0]) * ARCSEC
    flux = [1000.0, 300.0, 1010.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0]
    sources = make_sources(place, np.zeros(8), flux)
    masked = np.array([False, False, False, False, True, False, False, True])
    labels = label(sources, injections, masked)
    assert list(labels.state) == [
        State.INJECTED,
        State.AMBIGUOUS,  # wrong flux
        State.INJECTED,
        State.AMBIGUOUS,  # right flux, but another is nearer
        State.MASKED,  # a match, masked
        State.AMBIGUOUS,  # beyond the radius, within the ambiguous one
        State.UNLABELLED,  # where the injection was not made
        State.MASKED,  # masked, near nothing
    ]
    assert list(labels.reason) == [
        "",
        "flux_inconsistent",
        "",
        "masked",
        "undetected",
        "undetected",
        "not_injected",
    ]
    np.testing.assert_array_equal(labels.match, [0, -1, 2, -1, 3, -1, -1, -1])
    np.testing.assert_array_equal(labels.nearest, [0, 1, 2, 2, 3, 4, -1, -1])
    table = label_table(sources, injections, labels)
    np.testing.assert_array_equal(table["injection_id"], [1, 0, 3, 0, 4, 0, 0, 0])
    np.testing.assert_array_equal(table["nearest_injection_id"], [1, 2, 3, 3, 4, 5, 0, 0])
    np.testing.assert_allclose(table["match_distance"][:6], [0.1, 0.1, 0.1, 0.3, 0.1, 0.8], rtol=1e-5)
    np.testing.assert_allclose(table["flux_ratio"][:3], [1.0, 0.3, 1.01])
    assert np.isnan(table["match_distance"][6:]).all()
    missed = missed_injections(injections, labels, 1, 2, "r")
    assert list(missed["injection_id"]) == [2, 4, 5, 6, 7]
    assert np.isnan(missed["x"]).all()
    assert list(missed["injection_flag"]) == [0, 0, 0, 0, 3]


def test_artefact_nearer_than_the_detection_does_not_take_its_place():
    injections = make_injections([0.0], [0.0], [1000.0])
    sources = make_sources([0.05 * ARCSEC, 0.2 * ARCSEC], [0.0, 0.0], [5000.0, 1000.0])
    assert list(label(sources, injections).state) == [State.AMBIGUOUS, State.INJECTED]


def test_confused_injection_is_listed():
    # Two injections of one flux, one detection: the farther one is missed.
    injections = make_injections([0.0, 0.3 * ARCSEC], [0.0, 0.0], [1000.0, 1000.0])
    labels = label(make_sources([0.1 * ARCSEC], [0.0], [1000.0]), injections)
    assert list(labels.state) == [State.INJECTED]
    assert list(labels.reason) == ["", "confused"]


def test_flux_from_magnitude():
    table = Table({"mag": [31.4, 23.9]})
    np.testing.assert_allclose(injected_flux(table), [1.0, 1000.0])


def test_ambiguous_radius_below_the_radius_is_refused():
    with pytest.raises(ValueError, match="below the radius"):
        MatchCriteria(1.0, 0.5)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 40), m=st.integers(0, 40))
def test_everything_is_accounted_for(seed, n, m):
    """Against a plain double loop, in a field so crowded that every case happens."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 3 * ARCSEC, (2, n)) + np.array([[200.0], [60.0]])
    ra2, dec2 = rng.uniform(0, 3 * ARCSEC, (2, m)) + np.array([[200.0], [60.0]])
    sources = make_sources(ra, dec, rng.choice([1000.0, 1100.0, -1000.0, 4000.0], n))
    injections = make_injections(ra2, dec2, rng.choice([1000.0, 4000.0], m), rng.choice([0, 0, 0, 1], m))
    masked = rng.random(n) < 0.2
    labels = label(sources, injections, masked)
    assert set(labels.state) <= {str(s) for s in State}
    missed = missed_injections(injections, labels, 1, 2, "r")
    recovered = labels.match[labels.state == State.INJECTED]
    ids = np.append(missed["injection_id"], injections["injection_id"][recovered])
    assert sorted(ids) == list(injections["injection_id"])
    np.testing.assert_array_equal(labels.state == State.MASKED, masked)
    np.testing.assert_array_equal(labels.match, brute_force_match(sources, injections))


def brute_force_match(sources, injections, radius=0.5):
    n, m = len(sources), len(injections)
    match = np.full(n, -1)
    if not n or not m:
        return match
    here = SkyCoord(sources["ra"], sources["dec"], unit="deg")
    there = SkyCoord(injections["ra"], injections["dec"], unit="deg")
    distance = here[:, None].separation(there).arcsec
    for i in range(n):
        for j in range(m):
            difference = abs(sources["psfFlux"][i] - injections["flux"][j])
            consistent = difference <= 4 * 10.0 + 0.1 * injections["flux"][j]
            if not consistent or injections["injection_flag"][j] or distance[i, j] > radius:
                distance[i, j] = np.inf
    for i in range(n):
        j = int(np.argmin(distance[i]))
        if np.isfinite(distance[i, j]) and np.argmin(distance[:, j]) == i:
            match[i] = j
    return match
