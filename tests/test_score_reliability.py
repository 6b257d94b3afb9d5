"""The scoring task, and training and scoring in one quantum graph of a real butler."""

import numpy as np
import pytest
from dia_vetting.errors import TableSchemaError
from dia_vetting.reliability.model_dataset import ContentHashError, from_table, provenance, to_table
from dia_vetting.reliability.schemas import DIA_SOURCE_VETTING
from dia_vetting.reliability.score_reliability import ScoreReliabilityConfig, ScoreReliabilityTask
from dia_vetting.reliability.train_reliability import TrainReliabilityTask
from lsst.daf.butler import Config
from lsst.daf.butler.tests import addDatasetType, makeTestCollection, makeTestRepo
from lsst.pipe.base import NoWorkFound
from lsst.pipe.base.testUtils import assertValidInitOutput, lintConnections, makeQuantum, runTestQuantum
from model_samples import untrained_model
from reliability_samples import by_visit, make_cutouts, trained, trained_task

INSTRUMENT = {"instrument": "Synthetic"}


def _task():
    return ScoreReliabilityTask(config=ScoreReliabilityConfig())


def test_a_row_in_is_a_row_out():
    cutouts, _, _ = make_cutouts(60, size=21, ra0=20.0)
    cutouts["science"][4] = np.nan
    model = trained()[2].model
    task = _task()
    vetting = DIA_SOURCE_VETTING.check(task.run(cutouts, model).vetting)
    for name in ("diaSourceId", "visit", "band", "ra", "snr"):
        np.testing.assert_array_equal(vetting[name], cutouts[name])
    card = from_table(model).card
    assert set(vetting["version"]) == {card.version}
    assert vetting.meta["model_content_hash"] == card.content_hash
    assert np.isnan(vetting["reliability"][4])
    assert vetting["reason"][4] == "too few valid pixels"
    assert np.isfinite(np.delete(np.asarray(vetting["reliability_err"]), 4)).all()
    ood = np.delete(np.asarray(vetting["ood"]), 4)
    assert ((ood >= 0) & (ood <= 1)).all()
    assert np.isnan(vetting["ood"][4])
    assert task.metadata["scored"] == 59
    assert task.metadata["too_few_valid_pixels"] == 1


def test_scores_tell_injected_from_others_on_new_sky():
    cutouts, _, injected = make_cutouts(300, size=21, seed=11, ra0=30.0)
    reliability = np.asarray(_task().run(cutouts, trained()[2].model).vetting["reliability"])
    assert np.mean(reliability[injected][:, None] > reliability[~injected]) > 0.95


def test_prevalence_is_configured():
    """Otherwise it is that of the card; odds are in the ratio of those of the prevalences."""
    cutouts, _, _ = make_cutouts(60, size=21, ra0=20.0)
    model = untrained_model()
    config = ScoreReliabilityConfig()
    config.prevalence = 0.2
    odds = []
    for one in (ScoreReliabilityConfig(), config):
        vetting = ScoreReliabilityTask(config=one).run(cutouts, to_table(model)).vetting
        reliability = np.asarray(vetting["reliability"], dtype=float)
        odds.append(reliability / (1 - reliability))
    rho = model.card.prevalence
    np.testing.assert_allclose(odds[1] / odds[0], 0.25 * (1 - rho) / rho, rtol=1e-4)


def test_flashes_in_a_row_are_flagged_and_less_reliable():
    cutouts, _, _ = make_cutouts(300, size=21, seed=11, ra0=30.0)
    model = trained()[2].model
    cutouts["visit"][:], cutouts["psfFlux"][:], cutouts["snr"][:] = 7, 1.0, 20.0
    off = ScoreReliabilityConfig()
    off.doGlintTrails = False
    best = np.argsort(
        -np.asarray(ScoreReliabilityTask(config=off).run(cutouts, model).vetting["reliability"])
    )
    row = np.sort(best[:6])
    position = np.random.default_rng(1).uniform(0, 1000, (300, 2))
    position[row] = np.array([100, 900]) + np.arange(6)[:, None] * np.array([73, -51])
    cutouts["ra"][:], cutouts["dec"][:] = 30 + 0.2 * position[:, 0] / 3600, 0.2 * position[:, 1] / 3600
    cutouts["x0"][:], cutouts["y0"][:] = np.ceil(position.T - 10).astype(int)
    plain = ScoreReliabilityTask(config=off).run(cutouts, model).vetting
    task = _task()
    vetting = task.run(cutouts, model).vetting
    np.testing.assert_array_equal(np.flatnonzero(vetting["glint_trail"]), row)
    assert task.metadata["glint_trail"] == 6
    assert (vetting["reliability"][row] < 0.2 * plain["reliability"][row]).all()
    others = ~np.asarray(vetting["glint_trail"])
    np.testing.assert_array_equal(vetting["reliability"][others], plain["reliability"][others])
    assert not plain["glint_trail"].any()
    # The same sources in two images are no row.
    cutouts["visit"][row[::2]] = 8
    assert not _task().run(cutouts, model).vetting["glint_trail"].any()


def test_two_runs_give_the_same_bytes():
    cutouts, _, result = trained()
    first, second = (_task().run(cutouts, result.model).vetting for _ in range(2))
    assert first["reliability"].tobytes() == second["reliability"].tobytes()


def test_bad_input():
    cutouts, _, result = trained()
    with pytest.raises(NoWorkFound, match="dia_source_cutout"):
        _task().run(cutouts[:0], result.model)
    with pytest.raises(TableSchemaError, match=r"dia_source_cutout.*'template'"):
        _task().run(cutouts[[name for name in cutouts.colnames if name != "template"]], result.model)
    with pytest.raises(ContentHashError, match="reliability_model"):
        _task().run(cutouts, _tampered(result.model))


def _tampered(model):
    rows = model.to_pylist()
    rows[-1]["data"] = bytes(len(rows[-1]["data"]))
    return type(model).from_pylist(rows, schema=model.schema)


def test_training_and_scoring_through_a_butler(tmp_path):
    """Both tasks with their real connections: deferred reads, dataset names, storage classes, provenance."""
    cutouts, labels, expected = trained()
    visits = by_visit(cutouts)
    files = {
        "cls": "lsst.daf.butler.datastores.fileDatastore.FileDatastore",
        "templates": {"default": "{run}/{datasetType}/{instrument:?}_{visit:?}_{detector:?}"},
    }
    known = {"instrument": ["Synthetic"], "visit": list(visits), "detector": [0, 1]}
    repo = makeTestRepo(str(tmp_path), known, config=Config({"datastore": files}))
    for name in ("dia_source_cutout", "dia_source_label", "dia_source_vetting"):
        addDatasetType(repo, name, {"instrument", "visit", "detector"}, "ArrowAstropy")
    addDatasetType(repo, "reliability_model", {"instrument"}, "ArrowTable")
    addDatasetType(repo, "reliability_training", {"instrument"}, "ArrowAstropy")
    butler = makeTestCollection(repo)
    data_ids = [{"instrument": "Synthetic", "visit": visit, "detector": 0} for visit in visits]
    states = by_visit(labels)
    for data_id in data_ids:
        butler.put(visits[data_id["visit"]], "dia_source_cutout", data_id)
        butler.put(states[data_id["visit"]], "dia_source_label", data_id)
    # One detector has labels and no cutouts, as where there was no DIA source to cut out.
    lonely = {"instrument": "Synthetic", "visit": 1, "detector": 1}
    butler.put(labels[:3], "dia_source_label", lonely)

    train = trained_task()
    everything = {
        "cutouts": data_ids,
        "labels": [*data_ids, lonely],
        "model": INSTRUMENT,
        "training": INSTRUMENT,
    }
    runTestQuantum(train, butler, makeQuantum(train, butler, INSTRUMENT, everything), mockRun=False)
    model = butler.get("reliability_model", INSTRUMENT)
    assert from_table(model).card.content_hash == from_table(expected.model).card.content_hash
    assert len(butler.get("reliability_training", INSTRUMENT)) == len(labels)
    assert set(provenance(model).values()) == {butler.run}
    assert len(provenance(model)) == 2 * len(data_ids) + 1

    score = _task()
    one = {"cutouts": data_ids[0], "model": INSTRUMENT, "vetting": data_ids[0]}
    runTestQuantum(score, butler, makeQuantum(score, butler, data_ids[0], one), mockRun=False)
    # The butler drops a table's metadata unless asked for it.
    with_meta = {"strip_astropy_meta_yaml": False}
    vetting = butler.get("dia_source_vetting", data_ids[0], parameters=with_meta)
    np.testing.assert_array_equal(vetting["diaSourceId"], visits[data_ids[0]["visit"]]["diaSourceId"])
    assert np.isfinite(vetting["reliability"]).all()
    assert vetting.meta["model_content_hash"] == from_table(model).card.content_hash


@pytest.mark.parametrize("task", [TrainReliabilityTask, ScoreReliabilityTask])
def test_connections_and_schemas(task):
    lintConnections(task.ConfigClass().connections.ConnectionsClass)
    assertValidInitOutput(task(config=task.ConfigClass()))


def test_connections_of_fine_tuning_and_influence():
    config = trained_task(fineTune=True, doInfluence=True).config
    lintConnections(config.connections.ConnectionsClass)
    assertValidInitOutput(TrainReliabilityTask(config=config))
