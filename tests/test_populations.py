"""Physical populations: one id, one place, one light curve; nothing lost; independent of what else is run."""

import dataclasses

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from dia_vetting.injection.brightness import (
    FlatMagnitude,
    FlatSnr,
    HostOffset,
    LuminosityFunction,
    distance_modulus,
)
from dia_vetting.injection.placement import HostLight, Nuclear
from dia_vetting.injection.population_control import far_enough
from dia_vetting.injection.populations import CoherentPopulation, MovingPopulation, StaticPopulation
from dia_vetting.injection.schemas import HOST_GALAXY
from dia_vetting.injection.sites import Selection, draw_sites
from dia_vetting.injection.sky_regions import inside_any, poisson_positions, sky_area
from dia_vetting.injection.transients import Field, SeedPopulation, Visit
from dia_vetting.seeding import generator
from lsst.sphgeom import ConvexPolygon, UnitVector3d
from scipy import stats


def polygon(ra: float, dec: float, half: float) -> ConvexPolygon:
    """Return a square on the tangent plane, so that it works near a pole."""
    centre = SkyCoord(ra, dec, unit="deg")
    corners = [centre.spherical_offsets_by(half * a * centre.ra.unit, half * b * centre.ra.unit) for a, b in
               ((-1, -1), (1, -1), (1, 1), (-1, 1))]  # fmt: skip
    return ConvexPolygon([UnitVector3d(*np.asarray(c.cartesian.xyz.value, float)) for c in corners])


def field(ra: float = 0.0, dec: float = -45.0, seed: int = 3) -> Field:
    return Field(seed, "SimLSST", "embedded", 0, polygon(ra, dec, 0.4))


def hosts(count: int, ra: float = 0.0, dec: float = -45.0, seed: int = 0, **columns) -> Table:
    rng = np.random.default_rng(seed)
    places = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, count) * SkyCoord(0, 0, unit="deg").ra.unit,
        0.3 * np.sqrt(rng.random(count)) * SkyCoord(0, 0, unit="deg").ra.unit,
    )
    values = {
        "host_id": np.arange(1, count + 1),
        "tract": np.zeros(count),
        "patch": np.zeros(count),
        "host_ra": places.ra.deg,
        "host_dec": places.dec.deg,
        "host_a": np.full(count, 1.5),
        "host_b": np.full(count, 0.5),
        "host_pa": np.full(count, 30.0),
        "host_mag": rng.uniform(18, 23, count),
        "host_extendedness": np.ones(count),
    }
    extra = {name: columns.pop(name) for name in ("host_redshift",) if name in columns}
    table = HOST_GALAXY.build(values | columns)
    for name, value in extra.items():
        table[name] = value
    return table


def visits(
    count: int, ra: float = 0.0, dec: float = -45.0, first: int = 100, mjd: float = 60_000.0
) -> list[Visit]:
    region = polygon(ra, dec, 0.25)
    return [Visit(first + i, "gr"[i % 2], (region,), mjd + 3.0 * i, 30.0, 24.5) for i in range(count)]


@dataclasses.dataclass
class Ramp:
    """Light curves that rise by a nJy a day, from a flux of each transient's own; none before MJD 60,000."""

    start: np.ndarray

    @property
    def parameters(self):
        return {"start": self.start}

    def flux(self, mjd, band):
        colour = np.array([1.0 if b == "r" else 0.5 for b in band])
        return np.where(mjd >= 60_000, colour * (self.start[:, None] + mjd - 60_000), 0.0)


def ramps(sites, magnitudes, rng, keys):
    return Ramp(rng.uniform(100, 200, len(sites)))


def coherent(**options) -> CoherentPopulation:
    selection = Selection(HostLight(), host_fraction=0.5, hostless_density=300.0, **options)
    return CoherentPopulation(selection, ramps, "ramp")


def test_one_place_and_one_light_curve_for_each_transient():
    population = coherent().draw(hosts(400), visits(8), field())
    truth = {row["injection_id"]: row for row in population.truth}
    assert len(truth) == len(population.truth) > 150
    assert 0 in population.truth["host_id"]
    assert set(population.epochs["injection_id"]) == set(truth)
    for row in population.epochs:
        mine = truth[row["injection_id"]]
        assert (row["ra"], row["dec"], row["host_id"]) == (mine["ra"], mine["dec"], mine["host_id"])
    start = {key: float(row["parameters"].split(":")[1].rstrip("}")) for key, row in truth.items()}
    flux = 10 ** (0.4 * (31.4 - population.epochs["mag"]))
    colour = np.where(population.epochs["band"] == "r", 1.0, 0.5)
    expected = [start[row["injection_id"]] + row["midpointMjdTai"] - 60_000 for row in population.epochs]
    np.testing.assert_allclose(flux, colour * expected, rtol=1e-5)


def test_more_visits_give_the_same_transients_with_more_epochs():
    few = coherent().draw(hosts(400), visits(4), field())
    many = coherent().draw(hosts(400)[::-1], visits(8)[::-1], field())
    assert list(few.truth["injection_id"]) == list(many.truth["injection_id"])
    old = many.epochs[np.isin(many.epochs["visit"], few.epochs["visit"])]
    for name in few.epochs.colnames:
        np.testing.assert_array_equal(old[name], few.epochs[name])
    other = coherent().draw(hosts(400), visits(4), field(seed=4))
    assert not set(other.truth["injection_id"]) & set(few.truth["injection_id"])


def test_everything_drawn_is_in_the_truth_or_counted():
    table = hosts(400)
    drawn, rejected = draw_sites(
        table, coherent().selection, [field().region], field().region, np.random.default_rng(1)
    )
    assert rejected == {"bad_host": 0, "avoided": 0, "too_close": rejected["too_close"]}
    assert list(drawn["index"]) != list(range(len(drawn)))  # something was too close, so indices have gaps
    assert int(drawn["index"].max()) + 1 <= len(drawn) + rejected["too_close"]
    population = coherent().draw(table, visits(2), field())
    inside = inside_any(visits(1)[0].regions, population.truth["ra"], population.truth["dec"])
    assert inside.all()
    assert population.left_out["outside"] > 0


def test_template_has_the_mean_of_its_exposures():
    templates = visits(6, first=1, mjd=60_100.0)
    early = visits(2, first=50, mjd=50_000.0)
    population = coherent().draw(hosts(200), visits(4), field(), [*templates, *early])
    assert set(population.truth["kind"]) == {"varying"}
    first = population.template_epochs[0]
    start = float(
        population.truth["parameters"][population.truth["injection_id"] == first["injection_id"]][0]
        .split(":")[1].rstrip("}")
    )  # fmt: skip
    mjds = [v.mjd for v in templates if v.band == first["band"]]
    mean = np.mean([start + m - 60_000 for m in mjds]) * len(mjds) / (len(mjds) + 1)  # and one without light
    colour = 1.0 if first["band"] == "r" else 0.5
    assert 10 ** (0.4 * (31.4 - first["mag"])) == pytest.approx(colour * mean, rel=1e-5)
    inside = inside_any(visits(1)[0].regions, hosts(200)["host_ra"], hosts(200)["host_dec"])
    assert population.hosts_in_visits == 4 * np.sum(inside)
    alone = coherent().draw(hosts(200), visits(4), field())
    assert set(alone.truth["kind"]) == {"appearing"}
    assert not len(alone.template_epochs)


def test_never_two_within_a_psf_unless_asked():
    crowded = StaticPopulation(Selection(Nuclear(), 1.0, hostless_density=30_000.0), FlatMagnitude())
    population = crowded.draw(hosts(300), visits(2), field())
    for visit in np.unique(population.epochs["visit"]):
        rows = population.epochs[population.epochs["visit"] == visit]
        sky = SkyCoord(rows["ra"], rows["dec"], unit="deg")
        assert sky.match_to_catalog_sky(sky, 2)[1].arcsec.min() > 3.0
    assert population.left_out["too_close"] > 50
    free = dataclasses.replace(crowded, selection=dataclasses.replace(crowded.selection, min_separation=0.0))
    assert len(free.draw(hosts(300), visits(2), field()).epochs) > len(population.epochs)


def test_known_sources_are_avoided():
    table = hosts(300)
    selection = Selection(
        Nuclear(),
        1.0,
        avoid_ra=np.asarray(table["host_ra"][:40]),
        avoid_dec=np.asarray(table["host_dec"][:40]),
    )
    population = StaticPopulation(selection, FlatMagnitude()).draw(table, visits(1), field())
    assert not set(population.truth["host_id"]) & set(table["host_id"][:40])
    assert population.left_out["avoided"] > 0


def test_far_enough_keeps_the_first_of_a_chain():
    step = 2.0 / 3600.0
    keep, counts = far_enough(np.zeros(4), np.arange(4) * step, 3.0, np.empty(0), np.empty(0), 0.0)
    assert keep.tolist() == [True, False, True, False]
    assert counts == {"avoided": 0, "too_close": 2}


def test_number_per_area():
    selection = Selection(Nuclear(), host_density=1000.0, min_separation=0.0)
    region = polygon(0, -45, 0.25)
    rng = np.random.default_rng(2)
    counts = [len(draw_sites(hosts(2000), selection, [region], region, rng)[0]) for _ in range(20)]
    expected = 1000.0 * 0.25
    assert sky_area([region], region) == pytest.approx(0.25, rel=0.02)
    assert np.mean(counts) == pytest.approx(expected, rel=0.05)
    loose = [len(poisson_positions(1000.0, [region], region, rng)[0]) for _ in range(50)]
    assert np.mean(loose) == pytest.approx(expected, rel=0.03)
    assert np.var(loose) == pytest.approx(expected, rel=0.6)


BROKEN = {
    "NaN size": {"host_a": np.nan},
    "negative size": {"host_b": -1.0},
    "NaN position": {"host_ra": np.nan},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("model", ["coherent", "static", "seed"])
def test_bad_hosts_are_counted_and_have_no_transient(broken, model):
    table = hosts(100)
    for name, value in broken.items():
        table[name][:30] = value
    models = {
        "coherent": coherent(),
        "static": StaticPopulation(Selection(HostLight(), 1.0), FlatMagnitude()),
        "seed": SeedPopulation(fraction=1.0),
    }
    population = models[model].draw(table, visits(2), field())
    assert population.left_out["bad_host"] == 30
    assert not set(population.truth["host_id"]) & set(table["host_id"][:30])
    assert np.isfinite(population.epochs["ra"]).all()


@pytest.mark.parametrize(
    "model", [coherent(), StaticPopulation(Selection(HostLight(), 1.0), FlatMagnitude())]
)
def test_no_hosts_and_no_visits(model):
    population = model.draw(hosts(0), visits(1), field())
    assert set(population.truth["host_id"]) <= {0}
    population = model.draw(hosts(20), [], field())
    assert len(population.truth) == len(population.epochs) == 0


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.99, 10.0), (120.0, 89.0)])
def test_across_zero_hours_and_near_the_pole(ra, dec):
    table = hosts(300, ra, dec)
    population = coherent().draw(table, visits(2, ra, dec), field(ra, dec))
    assert len(population.truth) > 100
    sky = SkyCoord(population.truth["ra"], population.truth["dec"], unit="deg")
    assert sky.separation(SkyCoord(ra, dec, unit="deg")).deg.max() < 0.4
    hosted = population.truth[population.truth["host_id"] > 0]
    host = SkyCoord(hosted["host_ra"], hosted["host_dec"], unit="deg")
    distance = host.separation(SkyCoord(hosted["ra"], hosted["dec"], unit="deg")).arcsec
    np.testing.assert_allclose(
        distance, np.hypot(hosted["delta_ra"], hosted["delta_dec"]), rtol=1e-5, atol=1e-6
    )


def test_brightness_laws():
    rng = np.random.default_rng(1)
    host_mag, z = np.full(5000, 20.0), np.full(5000, 0.1)
    assert (
        stats.kstest(HostOffset(-1, 3).magnitudes(host_mag, z, 24.0, rng), stats.uniform(19, 4).cdf).pvalue
        > 0.01
    )
    assert (
        stats.kstest(
            FlatMagnitude(20, 26).magnitudes(host_mag, z, 24.0, rng), stats.uniform(20, 6).cdf
        ).pvalue
        > 0.01
    )
    snr = 5.0 * 10 ** (0.4 * (24.0 - FlatSnr(2, 30).magnitudes(host_mag, z, 24.0, rng)))
    assert stats.kstest(snr, stats.uniform(2, 28).cdf).pvalue > 0.01
    mag = LuminosityFunction(-19, 0.5).magnitudes(host_mag, z, 24.0, rng)
    assert (
        stats.kstest(mag, stats.norm(-19 + 38.3117, 0.5).cdf).pvalue > 0.01
    )  # Wright's calculator: 460.3 Mpc
    assert np.isnan(LuminosityFunction().magnitudes(host_mag, np.full(5000, np.nan), 24.0, rng)).all()
    assert np.isnan(distance_modulus(np.array([0.0, -1.0, np.nan]))).all()


def test_static_population_counts_transients_without_a_magnitude():
    table = hosts(200, host_redshift=np.where(np.arange(200) % 2 == 0, 0.1, np.nan))
    model = StaticPopulation(Selection(Nuclear(), 1.0), LuminosityFunction())
    population = model.draw(table, visits(1), field())
    assert set(population.truth["host_id"]) <= set(table["host_id"][::2])
    assert population.left_out["no_magnitude"] > 0
    placed = draw_sites(
        table,
        model.selection,
        visits(1)[0].regions,
        field().region,
        generator("sites", *field().keys("static", 100)),
    )[0]
    assert len(population.truth) + population.left_out["no_magnitude"] == len(placed)


def moving(**options) -> MovingPopulation:
    return MovingPopulation(2000.0, (20.0, 23.0), **options)


def test_moving_objects_follow_great_circles():
    pair = [dataclasses.replace(v, mjd=60_000.0 + 0.01 * i) for i, v in enumerate(visits(2))]
    population = moving().draw(hosts(0), pair, field())
    epochs = population.epochs
    ids, counts = np.unique(epochs["injection_id"], return_counts=True)
    assert (counts == 2).sum() > 300
    rates = {row["injection_id"]: row["parameters"] for row in population.truth}
    twice = ids[counts == 2][:50]
    for key in twice:
        rows = epochs[epochs["injection_id"] == key]
        rows.sort("midpointMjdTai")
        first, second = (SkyCoord(r["ra"], r["dec"], unit="deg") for r in rows)
        rate = float(rates[key].split('"rate": ')[1].split(",")[0])
        assert first.separation(second).arcsec == pytest.approx(rate * 864.0, rel=1e-3, abs=1e-3)
        turn = first.position_angle(second).deg - rows["trail_angle"][0]
        assert abs((turn + 180) % 360 - 180) < 0.5
        assert rows["trail_length"][0] == pytest.approx(rate * 30.0, rel=1e-3, abs=1e-4)


def test_a_second_visit_of_a_night_adds_only_what_was_not_seen():
    same = [dataclasses.replace(v, mjd=60_000.0 + 1e-4 * i) for i, v in enumerate(visits(2))]
    population = moving().draw(hosts(0), same, field())
    assert population.left_out["seen_earlier"] > 300
    per_visit = [np.sum(population.epochs["visit"] == v.visit) for v in same]
    expected = 2000.0 * 0.25
    assert abs(np.array(per_visit) - expected).max() < 5 * np.sqrt(expected)
