"""The export of fakes into a real repository: dataset types, data IDs, counts, and nothing half written."""

import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner
from dia_vetting.cli import main
from dia_vetting.embedded import repository
from dia_vetting.embedded.instruments import SimLSST
from dia_vetting.injection.ap_fakes import VISIT_DETECTOR_FAKES
from dia_vetting.injection.schemas import TRANSIENT_EPOCH
from lsst.daf.butler import Butler, CollectionType, DatasetType
from test_ap_fakes import rows_with, truth_of
from test_injection_catalogs import keys
from test_repository import GEOMETRY, visit

FAKES = VISIT_DETECTOR_FAKES.name
OTHER = dataclasses.replace(GEOMETRY, skymap="other_v1")
TYPES = ("transient_epoch", "transient_truth", "transient_template_epoch")


def drawn(first: int, count: int, seed: int):
    """Rows of both visits over both detectors and a little beyond."""
    rng = np.random.default_rng(seed)
    return rows_with(
        count,
        injection_id=np.arange(first, first + count),
        ra=rng.uniform(0.005, 0.055, count),
        dec=rng.uniform(-10.011, -9.989, count),
    )


@pytest.fixture
def repo(tmp_path):
    """Two skymaps with transients of their own in one run; a fifth of each is in the template, too."""
    butler = repository.open_repository(tmp_path / "repo")
    repository.chain(butler, "SimLSST/defaults", ["SimLSST/survey"])
    instrument = SimLSST()
    instrument.register(butler.registry)
    for detector in (0, 1):
        instrument.register_detector(butler.registry, detector, f"D{detector:02d}")
    repository.register_visits(butler, instrument, [visit(101, 61000.2), visit(102, 61000.9)])
    butler.collections.register("u/t", CollectionType.RUN)
    for name in TYPES:
        dimensions = ("instrument", "skymap", "tract")
        butler.registry.registerDatasetType(
            DatasetType(name, dimensions, "ArrowAstropy", universe=butler.dimensions)
        )
    for geometry, first in ((GEOMETRY, 1), (OTHER, 1001)):
        repository.register_tract(butler, geometry, "SimLSST/survey")
        data_id = {"instrument": "SimLSST", "skymap": geometry.skymap, "tract": geometry.tract}
        rows = drawn(first, 100, seed=first)
        tables = (rows, truth_of(rows["injection_id"], 0.02), rows[:20])
        for name, table in zip(TYPES, tables, strict=True):
            butler.put(table, name, data_id, run="u/t")
    return str(tmp_path / "repo")


def export(repo: str, *options: str, run: str = "u/fakes", collection: str = "u/t"):
    arguments = ["export-injection-catalog", repo, collection, run, "--instrument", "SimLSST", *options]
    return CliRunner().invoke(main, arguments)


def fakes_in(repo: str, run: str = "u/fakes"):
    butler = Butler.from_config(repo, collections=run)
    return {
        (ref.dataId["visit"], ref.dataId["detector"]): butler.get(ref) for ref in butler.query_datasets(FAKES)
    }


def test_fakes_of_two_skymaps(repo):
    done = export(repo, "--ap-fakes")
    assert done.exit_code == 0, done.output
    tables = fakes_in(repo)
    assert set(tables) == {(101, 0), (101, 1), (102, 0), (102, 1)}
    count = sum(map(len, tables.values()))
    assert f"{count} rows in 4 datasets {FAKES} in u/fakes." in done.output
    assert 150 < count < 240
    assert f"{240 - count} rows left out of {FAKES}: off_detectors" in done.output
    assert "200 rows in" in done.output
    science = [table[table["isVisitSource"]] for table in tables.values()]
    assert len(set(keys(science))) == len(keys(science))
    assert set(keys(science)) <= set(keys([drawn(1, 100, 1), drawn(1001, 100, 1001)]))
    assert {number > 1000 for number, _ in keys(science)} == {True, False}
    for (number, detector), table in tables.items():
        VISIT_DETECTOR_FAKES.check(table)
        assert set(table["visit"]) == {number}
        assert set(table["detector"]) == {detector}
        assert 0 < table["isTemplateSource"].sum() < len(table) / 2
        assert [table[name].dtype.kind for name in ("injection_id", "ra", "isVisitSource")] == ["i", "f", "b"]
        edges = (0.01, 0.03) if detector == 0 else (0.031, 0.05)
        assert np.all((table["ra"] > edges[0]) & (table["ra"] < edges[1]))
    butler = Butler.from_config(repo)
    kind = butler.get_dataset_type(FAKES)
    assert kind.storageClass_name == "ArrowAstropy"
    assert set(kind.dimensions.required) == {"instrument", "visit", "detector"}


def test_only_if_asked_for(repo):
    done = export(repo)
    assert done.exit_code == 0, done.output
    assert FAKES not in done.output
    assert "injection_catalog" in done.output


def test_a_run_that_has_fakes_is_refused_and_nothing_is_written(repo):
    assert export(repo, "--ap-fakes").exit_code == 0
    again = export(repo, "--ap-fakes", "--dataset-type", "other_catalog")
    assert again.exit_code == 1
    assert f"a run without {FAKES}" in again.output
    butler = Butler.from_config(repo)
    assert not butler.query_datasets("other_catalog", collections="*", find_first=False, explain=False)
    assert export(repo, "--ap-fakes", run="u/more").exit_code == 0
    assert len(fakes_in(repo, "u/more")) == 4


def put_alone(repo: str, name: str, table, run: str) -> None:
    butler = Butler.from_config(repo, writeable=True)
    butler.collections.register(run, CollectionType.RUN)
    data_id = {"instrument": "SimLSST", "skymap": GEOMETRY.skymap, "tract": GEOMETRY.tract}
    butler.put(table, name, data_id, run=run)


def test_what_the_collection_lacks(repo):
    put_alone(repo, "transient_epoch", drawn(1, 30, 1), "u/alone")
    done = export(repo, "--ap-fakes", collection="u/alone")
    assert done.exit_code == 1
    assert "transient_truth of SimLSST" in done.output
    put_alone(repo, "transient_truth", truth_of(range(1, 31)), "u/alone")  # and no light in templates
    assert export(repo, "--ap-fakes", collection="u/alone").exit_code == 0
    assert not any(table["isTemplateSource"].any() for table in fakes_in(repo).values())


def test_visits_that_the_repository_does_not_know(repo):
    rows = drawn(1, 4, 1)
    rows["visit"] = 999
    put_alone(repo, "transient_epoch", TRANSIENT_EPOCH.check(rows), "u/unknown")
    put_alone(repo, "transient_truth", truth_of(range(1, 5)), "u/unknown")
    done = export(repo, "--ap-fakes", collection="u/unknown")
    assert done.exit_code == 0, done.output
    assert f"0 rows in 0 datasets {FAKES}" in done.output
    assert f"4 rows left out of {FAKES}: off_detectors" in done.output
