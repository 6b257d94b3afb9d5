"""The seed recipe, against its closed forms: Kolmogorov-Smirnov, spherical geometry, counts."""

import dataclasses
import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from dia_vetting.injection.schemas import (
    HOST_GALAXY,
    TRANSIENT_EPOCH,
    TRANSIENT_TEMPLATE_EPOCH,
    TRANSIENT_TRUTH,
    host_galaxy_schema,
)
from dia_vetting.injection.sky_regions import inside_any, uniform_positions
from dia_vetting.injection.transients import Field, SeedPopulation, Visit
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d
from scipy import stats


def polygon(ra: float, dec: float, half: float) -> ConvexPolygon:
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    scale = half / np.cos(np.deg2rad(dec))
    return ConvexPolygon(
        [UnitVector3d(LonLat.fromDegrees((ra + scale * a) % 360, dec + half * b)) for a, b in corners]
    )


TRACT = polygon(0.0, -45.0, 0.8)
FIELD = Field(3, "SimLSST", "embedded", 0, TRACT)


def hosts(count: int, seed: int = 0, half: float = 0.5, schema=HOST_GALAXY, **columns):
    rng = np.random.default_rng(seed)
    values = {
        "host_id": np.arange(1, count + 1),
        "tract": np.zeros(count),
        "patch": np.zeros(count),
        "host_ra": (rng.uniform(-half, half, count) / np.cos(np.deg2rad(45))) % 360,
        "host_dec": -45 + rng.uniform(-half, half, count),
        "host_a": np.full(count, 1.5),
        "host_b": np.full(count, 0.5),
        "host_pa": np.full(count, 30.0),
        "host_mag": rng.uniform(18, 23, count),
        "host_extendedness": np.ones(count),
    }
    return schema.build(values | columns)


def visits(count: int, half: float = 0.6) -> list[Visit]:
    left, right = polygon(0.42, -45.0, half / 2), polygon(359.58, -45.0, half / 2)
    return [Visit(100 + i, "gr"[i % 2], (left, right), 60_000.0 + i) for i in range(count)]


@pytest.fixture(scope="module")
def drawn():
    return SeedPopulation(fraction=0.5).draw(hosts(4000, half=0.25), visits(6), FIELD)


def test_elliptical_radius_is_half_normal_and_phase_uniform(drawn):
    truth = drawn.truth[drawn.truth["host_id"] > 0]
    t = np.deg2rad(truth["host_pa"])
    major = (truth["delta_ra"] * np.sin(t) + truth["delta_dec"] * np.cos(t)) / truth["host_a"]
    minor = (truth["delta_ra"] * np.cos(t) - truth["delta_dec"] * np.sin(t)) / truth["host_b"]
    assert stats.kstest(np.hypot(major, minor), "halfnorm").pvalue > 0.01
    phase = np.arctan2(minor, major)
    assert stats.kstest(phase, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01
    # Not a circular Gaussian: second moments are a^2/2 and b^2/2 along the host's own axes.
    np.testing.assert_allclose([np.mean(major**2), np.mean(minor**2)], 0.5, rtol=0.06)


def test_offsets_on_the_sky_are_those_of_the_table(drawn):
    """Astropy's great circles: distance, and position angle from north through east."""
    truth = drawn.truth[drawn.truth["host_id"] > 0]
    host = SkyCoord(truth["host_ra"], truth["host_dec"], unit="deg")
    sky = SkyCoord(truth["ra"], truth["dec"], unit="deg")
    distance = np.hypot(truth["delta_ra"], truth["delta_dec"])
    np.testing.assert_allclose(host.separation(sky).arcsec, distance, rtol=1e-6, atol=1e-7)
    angle = np.rad2deg(np.arctan2(truth["delta_ra"], truth["delta_dec"]))
    turn = (host.position_angle(sky).deg - angle + 180) % 360 - 180
    assert np.abs(turn[distance > 0.05]).max() < 1e-3


def test_transients_stretch_along_the_position_angle(drawn):
    truth = drawn.truth[drawn.truth["host_id"] > 0]
    east, north = np.asarray(truth["delta_ra"]), np.asarray(truth["delta_dec"])
    pa = 0.5 * np.arctan2(2 * np.mean(east * north), np.mean(north**2) - np.mean(east**2))
    assert np.rad2deg(pa) == pytest.approx(30.0, abs=1.5)


def test_magnitudes_are_uniform_about_the_host(drawn):
    truth = drawn.truth["host_id"] > 0
    delta = drawn.epochs["mag"][truth] - drawn.epochs["host_mag"][truth]
    assert stats.kstest(delta, stats.uniform(-1, 4).cdf).pvalue > 0.01


def test_fractions(drawn):
    expected = 0.5 * drawn.hosts_in_visits
    hosted = np.count_nonzero(drawn.truth["host_id"])
    assert abs(hosted - expected) < 4 * np.sqrt(0.25 * drawn.hosts_in_visits)
    assert (len(drawn.truth) - hosted) / len(drawn.truth) == pytest.approx(0.05, abs=6 / len(drawn.truth))


@pytest.fixture(scope="module")
def mixed(drawn):
    """The same population, a quarter of it faded and a sixth varying."""
    model = SeedPopulation(fraction=0.5, faded_fraction=0.25, varying_fraction=1 / 6)
    return model.draw(hosts(4000, half=0.25), visits(6), FIELD)


def kinds(population):
    """Return the truth's row by id, and by kind the ids."""
    truth = population.truth
    ids = {kind: set(truth["injection_id"][truth["kind"] == kind]) for kind in np.unique(truth["kind"])}
    return {row["injection_id"]: row for row in truth}, ids


def test_fractions_that_faded_and_that_vary(mixed):
    _, ids = kinds(mixed)
    count = len(mixed.truth)
    assert count > 5000
    for kind, fraction in (("faded", 1 / 4), ("varying", 1 / 6), ("appearing", 7 / 12)):
        error = np.sqrt(fraction * (1 - fraction) / count)
        assert len(ids[kind]) / count == pytest.approx(fraction, abs=4 * error)
    # Host-less ones are not another kind of object.
    hostless = mixed.truth["kind"][mixed.truth["host_id"] == 0]
    assert np.mean(hostless == "faded") == pytest.approx(0.25, abs=4 * np.sqrt(0.19 / len(hostless)))


def test_where_each_kind_shines(mixed):
    """Appearing ones in the visit, faded ones in the template, varying ones in both, of another magnitude."""
    _, ids = kinds(mixed)
    TRANSIENT_EPOCH.check(mixed.epochs)
    TRANSIENT_TEMPLATE_EPOCH.check(mixed.template_epochs)
    TRANSIENT_TRUTH.check(mixed.truth)
    assert sorted(mixed.epochs["injection_id"]) == sorted(ids["appearing"] | ids["varying"])
    assert sorted(mixed.template_epochs["injection_id"]) == sorted(ids["faded"] | ids["varying"])
    visit = {row["injection_id"]: row for row in mixed.epochs}
    both = [row for row in mixed.template_epochs if row["injection_id"] in ids["varying"]]
    for row in both:
        for name in set(TRANSIENT_EPOCH.names()) - {"mag"}:
            other = visit[row["injection_id"]][name]
            assert row[name] == other or (name == "host_mag" and row["host_id"] == 0 and np.isnan(other))
    change = [row["mag"] - visit[row["injection_id"]]["mag"] for row in both]
    assert stats.kstest(change, stats.uniform(-1.5, 3.0).cdf).pvalue > 0.01


def test_faded_ones_are_as_bright_as_they_would_have_been(drawn, mixed):
    known = {row["injection_id"]: row for row in drawn.epochs}
    _, ids = kinds(mixed)
    faded = [row for row in mixed.template_epochs if row["injection_id"] in ids["faded"]]
    assert len(faded) > 1000
    for row in faded:
        assert row["mag"] == known[row["injection_id"]]["mag"]
        assert (row["ra"], row["dec"], row["visit"]) == tuple(
            known[row["injection_id"]][name] for name in ("ra", "dec", "visit")
        )


def test_the_recipe_of_all_else_stays_as_it_was(drawn, mixed):
    """Ids, hosts, positions and magnitudes are those of a population of which none has faded or varies."""
    assert len(drawn.template_epochs) == 0
    assert drawn.template_epochs.colnames == TRANSIENT_TEMPLATE_EPOCH.names()
    assert set(drawn.truth["kind"]) == {"appearing"}
    for name in set(TRANSIENT_TRUTH.names()) - {"kind"}:
        np.testing.assert_array_equal(mixed.truth[name], drawn.truth[name])
    _, ids = kinds(mixed)
    kept = np.array([i not in ids["faded"] for i in drawn.epochs["injection_id"]])
    for name in TRANSIENT_EPOCH.names():
        np.testing.assert_array_equal(mixed.epochs[name], drawn.epochs[name][kept])


def test_stars_vary_at_their_place_and_leave_the_rest_as_it_was(drawn):
    """Half of them fade; what they gain or lose is theirs at most; galaxies have what they had."""
    galaxies = hosts(4000, half=0.25)
    stars = hosts(3000, seed=5, half=0.25, host_extendedness=np.zeros(3000), host_id=np.arange(9001, 12001))
    population = SeedPopulation(fraction=0.5, star_fraction=0.25)
    both = population.draw(vstack([galaxies, stars]), visits(6), FIELD)
    on_star = both.truth["host_id"] > 9000
    for name in TRANSIENT_TRUTH.names():
        np.testing.assert_array_equal(both.truth[name][~on_star], drawn.truth[name])
    found = both.truth[on_star]
    seen = both.hosts_in_visits - drawn.hosts_in_visits
    assert len(found) / seen == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / seen))
    np.testing.assert_allclose(found["ra"], found["host_ra"], atol=1e-9)
    np.testing.assert_allclose(found["dec"], found["host_dec"], atol=1e-9)
    faded = np.mean(found["kind"] == "faded")
    assert faded == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(found)))
    assert set(found["kind"]) == {"faded", "appearing"}
    light = vstack([both.epochs, both.template_epochs], metadata_conflicts="silent")
    change = {row["injection_id"]: row["mag"] - row["host_mag"] for row in light}
    assert len(light) == len(both.truth)
    of_stars = [change[i] for i in found["injection_id"]]
    assert stats.kstest(of_stars, stats.uniform(0.0, 4.0).cdf).pvalue > 0.01


def test_stars_among_the_hosts_have_no_other_transients(drawn):
    galaxies = hosts(4000, half=0.25)
    stars = hosts(3000, seed=5, half=0.25, host_extendedness=np.zeros(3000), host_id=np.arange(9001, 12001))
    found = SeedPopulation(fraction=0.5).draw(vstack([galaxies, stars]), visits(6), FIELD)
    np.testing.assert_array_equal(found.truth["injection_id"], drawn.truth["injection_id"])


def test_the_whole_may_have_faded():
    model = SeedPopulation(fraction=0.5, faded_fraction=1.0)
    population = model.draw(hosts(300, half=0.25), visits(1), FIELD)
    assert len(population.epochs) == 0
    assert len(population.template_epochs) == len(population.truth) > 50


def test_default_fraction_is_three_percent():
    found = SeedPopulation().draw(hosts(5000, half=0.25), visits(4), FIELD)
    share = np.count_nonzero(found.truth["host_id"]) / found.hosts_in_visits
    assert share == pytest.approx(0.03, abs=4 * np.sqrt(0.03 * 0.97 / found.hosts_in_visits))


def test_visits_are_independent_of_each_other_and_of_order():
    table, all_visits = hosts(1000), visits(4)
    model = SeedPopulation(fraction=0.2)
    together = model.draw(table, all_visits, FIELD).epochs
    alone = model.draw(table[::-1], all_visits[2:3], FIELD).epochs
    same = together[together["visit"] == all_visits[2].visit]
    for name in TRANSIENT_EPOCH.names():
        np.testing.assert_array_equal(alone[name], same[name])
    first, second = (together[together["visit"] == v.visit] for v in all_visits[:2])
    shared = np.intersect1d(first["host_id"], second["host_id"])
    assert len(shared) == pytest.approx(1000 * 0.2 * 0.2, abs=40)  # hosts are drawn anew


def test_ids_are_unique_and_belong_to_seed_tract_and_visit(drawn):
    ids = np.asarray(drawn.truth["injection_id"])
    assert len(np.unique(ids)) == len(ids)
    assert ids.min() > 0
    np.testing.assert_array_equal(ids, drawn.epochs["injection_id"])
    model, table = SeedPopulation(fraction=0.5), hosts(200)
    fields = (FIELD, dataclasses.replace(FIELD, seed=4), dataclasses.replace(FIELD, tract=1))
    other = [model.draw(table, visits(1), field).truth["injection_id"] for field in fields]
    assert not set(other[0]) & set(other[1])
    assert not set(other[0]) & set(other[2])
    np.testing.assert_array_equal(other[0], model.draw(table, visits(1), FIELD).truth["injection_id"])


def test_only_hosts_on_the_visits_detectors_count():
    table = hosts(2000, half=0.7)
    few = [Visit(1, "r", (polygon(0.3, -45.2, 0.1),))]
    found = SeedPopulation(fraction=1.0, hostless_fraction=0.3).draw(table, few, FIELD)
    inside = inside_any(few[0].regions, table["host_ra"], table["host_dec"])
    hosted = found.truth["host_id"] > 0
    assert set(found.truth["host_id"][hosted]) == set(table["host_id"][inside])
    assert found.hosts_in_visits == inside.sum() > 0
    assert inside_any(few[0].regions, found.truth["ra"], found.truth["dec"])[~hosted].all()
    assert np.isnan(found.truth["host_ra"][~hosted]).all()


def test_magnitude_follows_the_band_of_the_visit_where_it_is_known():
    schema = host_galaxy_schema(["g"])
    table = hosts(300, schema=schema, host_mag_g=np.where(np.arange(300) % 2, 30.0, np.nan))
    epochs = SeedPopulation(fraction=1.0, hostless_fraction=0.0).draw(table, visits(2), FIELD).epochs
    green, odd = epochs["band"] == "g", epochs["host_id"] % 2 == 0
    assert (epochs["host_mag"][green & odd] == 30.0).all()
    assert (epochs["host_mag"][~green] < 24).all()
    assert (epochs["host_mag"][green & ~odd] < 24).all()


def test_tables_are_what_source_injection_reads(drawn):
    epochs = drawn.epochs
    assert {"ra", "dec", "mag", "source_type", "visit"} <= set(epochs.colnames)
    assert set(epochs["source_type"]) == {"Star"}
    assert str(epochs["ra"].unit) == "deg"
    assert np.isfinite(epochs["mag"]).all()
    parameters = json.loads(drawn.truth["parameters"][0])
    assert set(parameters) == {"radius", "phase", "delta_mag"}


def test_no_host_in_any_visit_gives_empty_tables():
    far = [Visit(1, "r", (polygon(40.0, 10.0, 0.1),))]
    found = SeedPopulation().draw(hosts(100), far, FIELD)
    assert len(found.truth) == len(found.epochs) == 0
    assert found.epochs.colnames == TRANSIENT_EPOCH.names()


def test_hostless_positions_are_uniform_by_area_across_ra_zero():
    regions = [polygon(0.05, -45.0, 0.2), polygon(359.6, -45.0, 0.1)]
    ra, dec = uniform_positions(20000, regions, TRACT, np.random.default_rng(5))
    assert len(ra) == 20000
    first = inside_any(regions[:1], ra, dec)
    share = regions[0].getBoundingCircle().getArea() and 0.04 / 0.05  # areas 4:1, no overlap
    assert first.mean() == pytest.approx(share, abs=0.01)
    sin_dec = np.sin(np.deg2rad(dec[first]))
    # Great circles bound the polygon, so compare with the middle strip only.
    middle = np.abs((ra[first] + 180) % 360 - 180 - 0.05) < 0.1
    low, high = np.sin(np.deg2rad([-45.19, -44.81]))
    strip = sin_dec[middle][(sin_dec[middle] > low) & (sin_dec[middle] < high)]
    assert stats.kstest(strip, stats.uniform(low, high - low).cdf).pvalue > 0.01


def test_uniform_positions_in_disjoint_regions_are_none():
    ra, dec = uniform_positions(5, [polygon(40.0, 10.0, 0.1)], TRACT, np.random.default_rng(5))
    assert len(ra) == len(dec) == 0
