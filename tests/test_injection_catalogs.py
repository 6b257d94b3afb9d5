"""The catalogs of lsst.source.injection: nothing lost, nothing twice, each row in its trixel."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from click.testing import CliRunner
from dia_vetting.cli import main
from dia_vetting.embedded import repository
from dia_vetting.embedded.instruments import SimLSST
from dia_vetting.errors import BadInputError
from dia_vetting.injection.injection_catalogs import (
    VISIT_DETECTOR_FAKES,
    injection_catalogs,
    visit_detector_fakes,
)
from dia_vetting.injection.schemas import TRANSIENT_EPOCH, TRANSIENT_TRUTH
from lsst.daf.butler import Butler, CollectionType, DatasetType, DimensionUniverse
from lsst.sphgeom import HtmPixelization, LonLat, UnitVector3d
from test_repository import GEOMETRY, visit

FIELDS = {"0h": (0.0, -10.0), "pole": (77.0, 89.3), "south": (200.0, -60.0)}


def epochs(count: int, ra: float = 0.0, dec: float = -10.0, seed: int = 1, **change):
    rng = np.random.default_rng(seed)
    values = {
        "injection_id": np.arange(1, count + 1),
        "visit": rng.choice([101, 102], count),
        "band": rng.choice(["g", "r"], count),
        "ra": (ra + rng.uniform(-0.6, 0.6, count) / np.cos(np.deg2rad(dec))) % 360,
        "dec": dec + rng.uniform(-0.6, 0.6, count),
        "mag": rng.uniform(20, 25, count),
        "source_type": np.full(count, "Star"),
        "host_id": np.zeros(count),
        "host_mag": np.full(count, np.nan),
        "midpointMjdTai": np.full(count, 61000.2),
        "trail_length": np.zeros(count),
        "trail_angle": np.zeros(count),
    }
    return TRANSIENT_EPOCH.build(values | change)


def keys(tables):
    return sorted((int(row["injection_id"]), int(row["visit"])) for table in tables for row in table)


@pytest.mark.parametrize("centre", FIELDS.values(), ids=FIELDS.keys())
def test_each_row_once_and_in_its_trixel(centre):
    table, pixels = epochs(400, *centre), HtmPixelization(7)
    assert DimensionUniverse().skypix_dimensions["htm7"].pixelization == pixels
    shards = injection_catalogs([table[:150], table[150:]])
    assert keys(shards.tables.values()) == keys([table])
    assert len(shards.tables) > 2
    assert not any(shards.left_out.values())
    for (index, band), part in shards.tables.items():
        assert set(part["band"] if "band" in part.colnames else [band]) == {band}
        trixel = pixels.triangle(index)
        for row in part:
            assert trixel.contains(UnitVector3d(LonLat.fromDegrees(row["ra"], row["dec"])))


def test_rows_that_cannot_be_written_are_counted():
    table = epochs(20)
    table["ra"][:3], table["mag"][2:6], table["trail_length"][5:8] = np.nan, np.nan, 2.0
    shards = injection_catalogs([table])
    assert shards.left_out == {"no_position": 3, "no_magnitude": 3, "trail": 2}
    assert sum(map(len, shards.tables.values())) == 12
    assert injection_catalogs([TRANSIENT_EPOCH.empty()]).tables == {}


def test_masked_and_impossible_positions_are_counted():
    table = epochs(5)
    table["ra"] = MaskedColumn(table["ra"], mask=[True, False, False, False, False], unit="deg")
    table["dec"][1], table["dec"][2] = 90.5, -90.0
    shards = injection_catalogs([table])
    assert shards.left_out["no_position"] == 2
    assert keys(shards.tables.values()) == keys([table[2:]])


def truth(count: int, **change) -> Table:
    """Hosts two arcseconds to the west of `on_detectors`, for even ids."""
    nothing, host_ra = np.full(count, np.nan), (0.0 - 2 / 3600) % 360
    hosted = np.arange(1, count + 1) % 2 == 0
    values = {
        "injection_id": np.arange(1, count + 1),
        "host_id": np.where(hosted, 77, 0),
        "ra": np.zeros(count),
        "dec": np.full(count, -10.0),
        "host_ra": np.where(hosted, host_ra, np.nan),
        "host_dec": np.where(hosted, -10.0, np.nan),
        "host_a": np.where(hosted, 1.5, np.nan),
        "host_b": np.where(hosted, 0.5, np.nan),
        "host_pa": np.where(hosted, 30.0, np.nan),
        "host_mag": nothing,
        "delta_ra": nothing,
        "delta_dec": nothing,
        "kind": np.full(count, "appearing"),
        "model": np.full(count, "seed"),
        "parameters": np.full(count, "{}"),
    }
    return TRANSIENT_TRUTH.build(values | change)


def at(table: Table, **columns) -> Table:
    for name, values in columns.items():
        table[name][:] = values
    return table


def on_detectors(count: int, **columns) -> Table:
    """Rows at RA 0h on visit 101, the even ones with a host of magnitude 20."""
    hosted = np.arange(1, count + 1) % 2 == 0
    table = at(epochs(count), visit=101, ra=0.0, dec=-10.0)
    return at(table, host_id=np.where(hosted, 77, 0), host_mag=np.where(hosted, 20.0, np.nan), **columns)


def square(ra: float, dec: float, half: float = 0.01):
    corners = [
        (ra - half, dec - half),
        (ra + half, dec - half),
        (ra + half, dec + half),
        (ra - half, dec + half),
    ]
    return repository.sky_polygon(tuple(zip(*corners, strict=True)))


def test_fakes_of_a_visit_a_template_and_both():
    science, template = on_detectors(4), on_detectors(5)[2:]
    template["mag"] += 1.0
    shards = visit_detector_fakes([truth(5)], [science], [template], {(101, 3): square(0.0, -10.0)})
    assert not any(shards.left_out.values())
    ((key, fakes),) = shards.tables.items()
    assert key == (101, 3)
    assert VISIT_DETECTOR_FAKES.check(fakes).colnames == VISIT_DETECTOR_FAKES.names()
    assert len(set(fakes["injection_id"])) == len(fakes) == 7
    assert np.all(fakes["injection_id"] > 0)
    visit_rows, template_rows = fakes[fakes["isVisitSource"]], fakes[fakes["isTemplateSource"]]
    assert not np.any(fakes["isVisitSource"] & fakes["isTemplateSource"])
    assert visit_rows["injection_id"].tolist() == [1, 2, 3, 4]
    assert visit_rows["isVariable"].tolist() == [False, False, True, True]
    assert not np.any(visit_rows["twin_id"])
    assert template_rows["twin_id"].tolist() == [3, 4, 0]
    assert template_rows["injection_id"][2] == 5
    assert template_rows["isVariable"].tolist() == [True, True, False]
    np.testing.assert_array_equal(template_rows["mag_offset"][:2], [1.0, 1.0])
    assert np.all(np.isnan(visit_rows["mag_offset"]))
    assert np.all(fakes["detector"] == 3)
    for name in (
        "ra",
        "dec",
        "host_ra",
        "host_dec",
        "delta_ra",
        "delta_dec",
    ):  # upstream: fakes["ra"] * u.deg
        assert fakes[name].unit is None


def test_fakes_and_their_hosts():
    science = on_detectors(2, mag=[21.0, 22.5])
    shards = visit_detector_fakes([truth(2)], [science], [], {(101, 0): square(0.0, -10.0)})
    lonely, hosted = shards.tables[101, 0]
    assert lonely["host_type"] == ""
    assert not lonely["hosted_fake"]
    for name in ("host_ra", "host_dec", "host_a", "host_flux", "delta_ra", "delta_dec", "delta_mag"):
        assert np.isnan(lonely[name])
    assert hosted["hosted_fake"]
    assert (hosted["host_id"], hosted["host_type"]) == (77, "extended")
    assert hosted["delta_ra"] == pytest.approx(2.0, abs=1e-6)  # across 0h
    assert hosted["delta_dec"] == pytest.approx(0.0, abs=1e-6)
    assert hosted["delta_mag"] == pytest.approx(2.5)
    assert hosted["host_flux"] == pytest.approx(36307.8, rel=1e-5)
    assert (hosted["host_a"], hosted["host_b"], hosted["host_pa"]) == (1.5, 0.5, 30.0)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, -10.0), (77.0, 89.3)])
def test_fakes_lie_in_the_region_of_their_detector_once(ra, dec):
    width = 0.1 / np.cos(np.deg2rad(dec))
    rng = np.random.default_rng(3)
    science = at(
        epochs(600),
        ra=(ra + rng.uniform(-2 * width, 2 * width, 600)) % 360,
        dec=dec + rng.uniform(-0.12, 0.12, 600),
    )
    regions = {}
    for detector, left in enumerate([-1.02, -0.02]):  # they overlap by 4 per cent
        corners = ra + width * np.array([left, left + 1.04, left + 1.04, left])
        for number in (101, 102):
            regions[number, detector] = repository.sky_polygon(
                (corners, dec + np.array([-1, -1, 1, 1]) * 0.1)
            )
    template = science[:100]
    shards = visit_detector_fakes([truth(600)], [science], [template], regions)
    counts = {reason: count for reason, count in shards.left_out.items() if count}
    assert set(counts) == {"on_no_detector"}
    assert 200 < counts["on_no_detector"] < 600
    assert sum(map(len, shards.tables.values())) + counts["on_no_detector"] == 700
    for (number, detector), table in shards.tables.items():
        assert set(table["visit"]) == {number}
        for row in table:
            assert regions[number, detector].contains(UnitVector3d(LonLat.fromDegrees(row["ra"], row["dec"])))
    placed = {key for table in shards.tables.values() for key in keys([table[table["isVisitSource"]]])}
    for row in science:
        point = UnitVector3d(LonLat.fromDegrees(row["ra"], row["dec"]))
        inside = any(regions[int(row["visit"]), detector].contains(point) for detector in (0, 1))
        assert ((int(row["injection_id"]), int(row["visit"])) in placed) == inside


def test_a_row_in_the_overlap_goes_to_the_detector_it_is_deeper_in():
    regions = {(101, 0): square(359.992, -10.0), (101, 1): square(0.006, -10.0)}
    science = on_detectors(2, ra=[359.999, 0.0])
    shards = visit_detector_fakes([truth(2)], [science], [], regions)
    assert {detector: keys([table]) for (_, detector), table in shards.tables.items()} == {
        0: [(1, 101)],
        1: [(2, 101)],
    }


def test_fakes_that_cannot_be_made():
    science, regions = on_detectors(3), {(101, 0): square(0.0, -10.0)}
    assert visit_detector_fakes([], [], [], regions).tables == {}
    assert visit_detector_fakes([truth(3)], [science], [], {}).left_out["on_no_detector"] == 3
    with pytest.raises(BadInputError, match="1 transients without truth, the first 3"):
        visit_detector_fakes([truth(2)], [science], [], regions)
    with pytest.raises(BadInputError, match="injection_id 2, visit 101: expected one row per image"):
        visit_detector_fakes([truth(3)], [science, science[1:2]], [], regions)
    science["ra"][0], science["mag"][1] = np.nan, np.nan
    shards = visit_detector_fakes([truth(3)], [science], [science[:1]], regions)
    assert shards.left_out == {"no_position": 2, "no_magnitude": 1, "trail": 0, "on_no_detector": 0}


@pytest.fixture
def repo(tmp_path):
    butler = repository.open_repository(tmp_path / "repo")
    repository.chain(butler, "SimLSST/defaults", ["SimLSST/survey"])
    instrument = SimLSST()
    instrument.register(butler.registry)
    for detector in (0, 1):
        instrument.register_detector(butler.registry, detector, f"D{detector:02d}")
    repository.register_visits(butler, instrument, [visit(101, 61000.2), visit(102, 61000.9)])
    repository.register_tract(butler, GEOMETRY, "SimLSST/survey")
    dimensions = ("instrument", "skymap", "tract")
    butler.registry.registerDatasetType(
        DatasetType("transient_epoch", dimensions, "ArrowAstropy", universe=butler.dimensions)
    )
    butler.collections.register("u/t", CollectionType.RUN)
    data_id = {"instrument": "SimLSST", "skymap": GEOMETRY.skymap, "tract": GEOMETRY.tract}
    butler.put(epochs(300), "transient_epoch", data_id, run="u/t")
    return str(tmp_path / "repo")


def run(repo: str, collection: str = "u/t"):
    arguments = ["export-injection-catalog", repo, collection, "u/fakes", "--instrument", "SimLSST"]
    return CliRunner().invoke(main, arguments)


def test_command_writes_what_upstream_reads(repo):
    done = run(repo)
    assert done.exit_code == 0, done.output
    assert "np.isin(injection_catalog['visit'], {visit})" in done.output
    butler = Butler.from_config(repo, collections="u/fakes")
    refs = butler.query_datasets("injection_catalog")
    assert {tuple(sorted(ref.datasetType.dimensions.names)) for ref in refs} == {("band", "htm7")}
    assert len(refs) > 2
    tables = [butler.get(ref) for ref in refs]
    assert keys(tables) == keys([epochs(300)])
    for table in tables:
        assert {"ra", "dec", "mag", "source_type", "visit", "injection_id"} <= set(table.colnames)
        injection_catalog, chosen = table, 101
        selected = eval("np.isin(injection_catalog['visit'], {visit})".format(visit=chosen))  # noqa: UP032
        assert set(injection_catalog["visit"][selected]) <= {101}
    again = run(repo)
    assert again.exit_code == 1
    assert "a run that has some" in again.output


def test_no_transients_is_said(repo):
    done = run(repo, "SimLSST/survey")
    assert done.exit_code == 1
    assert "transient_epoch of SimLSST" in done.output
