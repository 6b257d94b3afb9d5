"""Blend flags by stock pipetask: in the run of the whole pipeline, and by a query that joins them."""

import numpy as np
import pytest
from astropy.table import join
from dia_vetting.blends.flags import unscored
from dia_vetting.blends.model_io import from_table
from dia_vetting.blends.schemas import DIA_SOURCE_BLEND, OBJECT_BLEND
from dia_vetting.blends.shipped import DEFAULT_MODEL, open_model
from pipeline_runs import (
    MAIN,
    PIPELINE,
    assert_same_table,
    command,
    copy_repo,
    executed,
    main_run,
    open_butler,
    run_arguments,
)

TRACT = {"skymap": "embedded_simlsst_v1", "tract": 0}
RUN = "u/test/blends"
INGREDIENT = PIPELINE.parents[1] / "_ingredients" / "blends.yaml"
TRAINED = ("trainBlends:presets={'lsst':300}", "trainBlends:epochs=1")


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    return main_run(tmp_path_factory.getbasetemp())[0]


@pytest.fixture(scope="module")
def butler(repo):
    return open_butler(repo, MAIN)


def test_every_dia_source_has_a_row(butler):
    version = open_model(DEFAULT_MODEL).card.version
    refs = butler.query_datasets("dia_source_blend")
    assert len(refs) == 3
    for ref in refs:
        blends, sources = butler.get(ref), butler.get("dia_source_detector", ref.dataId)
        DIA_SOURCE_BLEND.check(blends)
        np.testing.assert_array_equal(blends["diaSourceId"], sources["diaSourceId"])
        np.testing.assert_array_equal(np.isnan(blends["p_blend"]), unscored(blends["flags"]))
        assert np.isfinite(blends["p_blend"]).mean() > 0.5
        assert set(blends["blendVersion"]) == {version}


def test_every_primary_object_has_a_row_in_each_band(butler):
    objects = butler.get("object", TRACT)
    rows = [butler.get(ref) for ref in butler.query_datasets("object_blend")]
    assert {band for table in rows for band in table["band"]} == {"r"}
    ids = np.concatenate([OBJECT_BLEND.check(table)["objectId"] for table in rows])
    assert sorted(ids) == sorted(objects["objectId"][objects["detect_isPrimary"]])


def test_evaluations_are_split_by_blends(butler):
    comparisons = butler.get("reliability_metrics")["comparisons"]
    for figures in comparisons.values():
        counted = sum(part["n_positive"] + part["n_negative"] for part in figures["blends"].values())
        assert counted == figures["all"]["n_positive"] + figures["all"]["n_negative"] > 0
    assert "blends" not in butler.get("shipped_reliability_metrics")["comparisons"]["real_vs_artefact"]
    parts = butler.get("injection_metrics")["blends"]
    assert sum(part["all"]["n"] for part in parts.values()) == len(butler.get("injection_outcome"))
    assert parts["not_flagged"]["all"]["n"] == 0


def test_blends_scores_labels_and_truth_join_by_id(butler):
    """The query of doc/blends.md."""
    truth = butler.get("reliability_truth", instrument="SimLSST")["diaSourceId", "truth_class"]
    for ref in butler.query_datasets("dia_source_blend"):
        names = ("dia_source_vetting", "dia_source_label")
        scores, labels = (butler.get(name, ref.dataId) for name in names)
        rows = butler.get(ref)["diaSourceId", "p_blend", "flags"]
        for other in (
            scores["diaSourceId", "reliability"],
            labels["diaSourceId", "state", "injection_id"],
            truth,
        ):
            rows = join(rows, other, keys="diaSourceId")
        assert len(rows) == len(scores)


@pytest.fixture(scope="module")
def copy(repo, tmp_path_factory):
    return copy_repo(repo, tmp_path_factory.mktemp("blends") / "repo")


def test_a_model_can_be_trained_and_asked_in_one_graph(copy):
    arguments = run_arguments(
        copy, "u/test/own", inputs=f"{MAIN},SimLSST/defaults", settings=TRAINED, pipeline=INGREDIENT
    )
    assert executed(command("pipetask", *arguments)) == (5, 0, 5)
    butler = open_butler(copy, "u/test/own")
    (ref,) = butler.query_datasets("blend_model")  # it belongs to no data
    assert not ref.dataId.dimensions.names
    card = from_table(butler.get("blend_model")).card
    assert card.presets == {"lsst": (300, 0)}
    for ref in butler.query_datasets("dia_source_blend"):
        assert set(butler.get(ref)["blendVersion"]) == {card.version}


def test_the_subset_runs_alone_and_makes_the_same_again(copy, butler):
    """In a graph of its own, on images and tables of an earlier run."""
    arguments = run_arguments(copy, RUN, subset="blends", inputs=f"{MAIN},SimLSST/defaults", settings=())
    assert executed(command("pipetask", *arguments)) == (4, 0, 4)
    other = open_butler(copy, RUN)
    for name in ("dia_source_blend", "object_blend"):
        for ref in butler.query_datasets(name):
            assert_same_table(butler.get(ref), other.get(name, ref.dataId))
