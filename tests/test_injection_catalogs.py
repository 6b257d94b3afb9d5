"""The catalogs of lsst.source.injection: nothing lost, nothing twice, each row in its trixel."""

import numpy as np
import pytest
from click.testing import CliRunner
from dia_vetting.cli import main
from dia_vetting.embedded import repository
from dia_vetting.embedded.instruments import SimLSST
from dia_vetting.injection.injection_catalogs import SELECTION, injection_catalogs
from dia_vetting.injection.schemas import TRANSIENT_EPOCH
from lsst.daf.butler import Butler, CollectionType, DatasetType
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
    assert shards.left_out == {"no_position": 3, "no_magnitude": 3, "trail": 2, "repeated": 0}
    assert sum(map(len, shards.tables.values())) == 12
    assert injection_catalogs([TRANSIENT_EPOCH.empty()]).tables == {}


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
        selected = eval(SELECTION.split('"')[1].format(visit=chosen))
        assert set(injection_catalog["visit"][selected]) <= {101}
    again = run(repo)
    assert again.exit_code == 1
    assert "a run that has some" in again.output


def test_no_transients_is_said(repo):
    done = run(repo, "SimLSST/survey")
    assert done.exit_code == 1
    assert "transient_epoch of SimLSST" in done.output
