"""The fakes of ap_pipe: each row in the region of one detector, visits and templates told apart."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table, vstack
from dia_vetting.embedded.repository import sky_polygon
from dia_vetting.errors import BadInputError
from dia_vetting.injection.ap_fakes import VISIT_DETECTOR_FAKES, visit_detector_fakes
from dia_vetting.injection.schemas import TRANSIENT_EPOCH, TRANSIENT_TRUTH
from lsst.sphgeom import Circle, LonLat, UnitVector3d
from test_injection_catalogs import epochs, keys


def truth_of(ids, ra: float = 0.0, dec: float = -10.0) -> Table:
    """Hosts of even ids, two arcseconds of right ascension and one of declination off a place."""
    ids = np.asarray(ids, np.int64)
    count, hosted = len(ids), ids % 2 == 0
    host = {
        "host_ra": (ra - 2 / 3600) % 360,
        "host_dec": dec - 1 / 3600,
        "host_a": 1.5,
        "host_b": 0.5,
        "host_pa": 30.0,
        "host_mag": 20.0,
    }
    values = {
        "injection_id": ids,
        "host_id": np.where(hosted, 77, 0),
        "ra": np.full(count, ra),
        "dec": np.full(count, dec),
        "delta_ra": np.full(count, np.nan),
        "delta_dec": np.full(count, np.nan),
        "kind": np.full(count, "appearing"),
        "model": np.full(count, "seed"),
        "parameters": np.full(count, "{}"),
    }
    return TRANSIENT_TRUTH.build(
        values | {name: np.where(hosted, value, np.nan) for name, value in host.items()}
    )


def rows_with(count: int, **columns) -> Table:
    """Rows of `epochs` with other columns, places included."""
    table = epochs(count)
    for name, values in columns.items():
        table[name][:] = values
    return table


def at_0h(count: int, **columns) -> Table:
    """Rows at 0h on visit 101; the even ones have a host of magnitude 20."""
    hosted = np.arange(1, count + 1) % 2 == 0
    host = {"host_id": np.where(hosted, 77, 0), "host_mag": np.where(hosted, 20.0, np.nan)}
    return rows_with(count, **({"visit": 101, "ra": 0.0, "dec": -10.0} | host | columns))


def square(ra: float, dec: float, half: float = 0.01):
    left, right = ra - half, ra + half
    return sky_polygon(([left, right, right, left], [dec - half, dec - half, dec + half, dec + half]))


REGION = {(101, 3): square(0.0, -10.0)}


def test_visit_template_and_both():
    science, template = at_0h(4, mag=22.0), at_0h(5, mag=23.0)[2:]
    shards = visit_detector_fakes([truth_of(range(1, 6))], [science], [template], REGION)
    assert not any(shards.left_out.values())
    ((key, fakes),) = shards.tables.items()
    assert key == (101, 3)
    assert set(fakes["visit"]) == {101}
    assert set(fakes["detector"]) == {3}
    assert VISIT_DETECTOR_FAKES.check(fakes).colnames == VISIT_DETECTOR_FAKES.names()
    assert np.all(fakes["isVisitSource"] ^ fakes["isTemplateSource"])
    above, below = fakes[fakes["isVisitSource"]], fakes[fakes["isTemplateSource"]]
    assert above["injection_id"].tolist() == [1, 2, 3, 4]
    assert above["isVariable"].tolist() == [False, False, True, True]
    assert not above["twin_id"].any()
    assert np.isnan(above["mag_offset"]).all()
    assert below["twin_id"].tolist() == [3, 4, 0]
    assert below["isVariable"].tolist() == [True, True, False]
    np.testing.assert_allclose(below["mag_offset"], [1.0, 1.0, np.nan])
    np.testing.assert_array_equal(below["mag"], template["mag"])
    assert below["injection_id"][2] == 5
    # What the matcher does: rows with a twin are found through the other ones, by an id that stands once.
    assert np.all(fakes["injection_id"] > 0)
    assert len(set(fakes["injection_id"])) == len(fakes)
    assert set(below["twin_id"]) - {0} <= set(fakes["injection_id"][fakes["twin_id"] == 0])


def test_degrees_without_a_unit():
    """The matcher multiplies the columns by degrees; with a unit that would be square degrees."""
    fakes = visit_detector_fakes([truth_of([1])], [at_0h(1)], [], REGION).tables[101, 3]
    assert (fakes["ra"] * u.deg).unit == u.deg
    assert (fakes["dec"] * u.deg).unit == u.deg
    assert all(fakes[name].unit is None for name in fakes.colnames)
    assert fakes["dec"][0] == -10.0


def test_hosts():
    science = at_0h(2, mag=[21.0, 22.5])
    lonely, hosted = visit_detector_fakes([truth_of([1, 2])], [science], [], REGION).tables[101, 3]
    assert (lonely["host_id"], lonely["hosted_fake"]) == (0, False)
    for name in ("host_ra", "host_dec", "host_flux", "host_mag", "delta_ra", "delta_dec", "delta_mag"):
        assert np.isnan(lonely[name])
    assert (hosted["host_id"], hosted["hosted_fake"]) == (77, True)
    assert hosted["delta_ra"] == pytest.approx(2.0, abs=1e-6)  # across 0h
    assert hosted["delta_dec"] == pytest.approx(1.0, abs=1e-6)
    assert (hosted["host_mag"], hosted["delta_mag"]) == (20.0, 2.5)
    assert hosted["host_flux"] == pytest.approx(36307.8, rel=1e-5)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, -10.0), (77.0, 89.3)], ids=["0h", "pole"])
def test_each_row_once_and_in_its_detector(ra, dec):
    width, rng = 0.1 / np.cos(np.deg2rad(dec)), np.random.default_rng(3)
    place = {
        "ra": (ra + rng.uniform(-2, 2, 600) * width) % 360,
        "dec": dec + rng.uniform(-0.12, 0.12, 600),
    }
    science, regions = rows_with(600, **place), {}
    for detector, left in enumerate((-1.02, -0.02)):  # they overlap by 4 per cent
        corners = ra + width * np.array([left, left + 1.04, left + 1.04, left])
        for number in (101, 102):
            regions[number, detector] = sky_polygon((corners, dec + 0.1 * np.array([-1, -1, 1, 1])))
    shards = visit_detector_fakes([truth_of(range(1, 601))], [science], [science[:100]], regions)
    assert set(shards.tables) == set(regions)
    for (number, detector), table in shards.tables.items():
        assert set(table["visit"]) == {number}
        assert set(table["detector"]) == {detector}
        for row in table:
            assert regions[number, detector].contains(UnitVector3d(LonLat.fromDegrees(row["ra"], row["dec"])))
    everything = vstack(list(shards.tables.values()))
    inside = [
        any(
            regions[int(row["visit"]), detector].contains(
                UnitVector3d(LonLat.fromDegrees(row["ra"], row["dec"]))
            )
            for detector in (0, 1)
        )
        for row in science
    ]
    assert 100 < sum(inside) < 500
    assert keys([everything[everything["isVisitSource"]]]) == keys([science[inside]])
    assert shards.left_out["off_detectors"] + len(everything) == 700
    assert sum(shards.left_out.values()) == shards.left_out["off_detectors"]


def test_in_an_overlap_the_detector_that_the_row_is_deeper_in():
    regions = {(101, 0): square(359.992, -10.0), (101, 1): square(0.006, -10.0)}
    shards = visit_detector_fakes([truth_of([1, 2])], [at_0h(2, ra=[359.998, 0.0])], [], regions)
    assert {detector: keys([table]) for (_, detector), table in shards.tables.items()} == {
        0: [(1, 101)],
        1: [(2, 101)],
    }


def test_what_is_left_out_is_counted():
    science, template = at_0h(9), at_0h(9)[:2]
    science["ra"][0], science["mag"][1], science["trail_length"][2] = np.nan, np.nan, 2.0
    science["visit"][3], science["dec"][4], template["mag"][0] = 102, -11.0, np.nan
    truth = truth_of(range(1, 10))
    shards = visit_detector_fakes([truth, truth[:4]], [science, science[5:7]], [template], REGION)
    assert shards.left_out == {
        "no_position": 1,
        "no_magnitude": 2,
        "trail": 1,
        "repeated": 2,
        "off_detectors": 2,
    }
    fakes = shards.tables[101, 3]
    assert len(fakes) + sum(shards.left_out.values()) == 9 + 2 + 2
    assert keys([fakes]) == [(2, 101), (6, 101), (7, 101), (8, 101), (9, 101)]
    # The visit's row of transient 2 has no magnitude: that of the template stands alone.
    alone = fakes[fakes["injection_id"] == 2]
    assert (alone["twin_id"][0], alone["isVariable"][0], alone["isTemplateSource"][0]) == (0, False, True)


def test_nothing_to_sort():
    assert visit_detector_fakes([], [], [], REGION).tables == {}
    shards = visit_detector_fakes([], [TRANSIENT_EPOCH.empty()], [], {})
    assert shards.tables == {}
    assert not any(shards.left_out.values())


def test_input_that_cannot_be_used():
    with pytest.raises(BadInputError, match="none for 1 transients, the first 3"):
        visit_detector_fakes([truth_of([1, 2])], [at_0h(3)], [], REGION)
    circle = {(101, 0): Circle(UnitVector3d(LonLat.fromDegrees(0.0, -10.0)))}
    with pytest.raises(BadInputError, match="visit 101, detector 0: expected a convex polygon"):
        visit_detector_fakes([truth_of([1])], [at_0h(1)], [], circle)
    ids = [1, 1 | 1 << 62]
    science = at_0h(2, injection_id=ids)
    with pytest.raises(BadInputError, match="bit 62"):
        visit_detector_fakes([truth_of(ids)], [science], [science[:1]], REGION)
