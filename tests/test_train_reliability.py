"""The training task."""

import functools

import numpy as np
import pytest
from dia_vetting.errors import TableSchemaError
from dia_vetting.masks import MaskBit
from dia_vetting.reliability.folds import TooFewExamplesError, TooFewSkyCellsError
from dia_vetting.reliability.inputs import InjectionLeakError, StampSizeError
from dia_vetting.reliability.model_dataset import from_table
from dia_vetting.reliability.networks import UnknownOptionError
from dia_vetting.reliability.schemas import RELIABILITY_TRAINING
from dia_vetting.reliability.train_reliability import (
    TrainReliabilityConfig,
    TrainReliabilityConnections,
    TrainReliabilityTask,
)
from dia_vetting.reliability.training_rows import DuplicateIdError, gather_rows
from dia_vetting.skycells import sky_cell, sky_fold
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound
from reliability_samples import lazily, make_cutouts, trained


def _task(**changes):
    config = TrainReliabilityConfig()
    short = {"architecture": "seed_cnn", "epochs": 1, "minUpdates": 1, "folds": 3, "minExamples": 5}
    for name, value in (short | changes).items():
        setattr(config, name, value)
    config.validate()
    return TrainReliabilityTask(config=config)


def _run(cutouts, labels, **changes):
    return _task(**changes).run(lazily(cutouts, labels), "Synthetic")


@functools.cache
def _sample():
    return make_cutouts(300, size=21, seed=2)[:2]


def _gather(cutouts, labels, limit=10**6):
    return gather_rows(lazily(cutouts, labels), 4096, 0, limit, 0.2)


def test_it_learns_out_of_fold():
    _, labels, result = trained()
    RELIABILITY_TRAINING.check(result.training)
    card = from_table(result.model).card
    value, low, high = card.metrics["auc_injected_unlabelled"]
    assert low <= value <= high
    assert value > 0.95
    assert card.label_counts["injected"] == np.sum(labels["state"] == "injected")
    assert card.class_prior == pytest.approx(np.mean(labels["state"] == "injected"))
    assert card.stamp_size == 21
    assert result.training.meta["model_content_hash"] == card.content_hash


def test_the_training_table_says_what_was_used():
    _, labels, result = trained()
    table = result.training
    assert set(table["diaSourceId"]) == set(labels["diaSourceId"])
    cells = sky_cell(table["ra"], table["dec"], 4096)
    np.testing.assert_array_equal(table["sky_cell"], cells)
    np.testing.assert_array_equal(table["fold"], sky_fold(cells, 3, 0))
    assert table["used"].all()
    np.testing.assert_array_equal(from_table(result.model).trained_cells, np.unique(cells))


def test_rows_are_joined_by_id_not_by_order():
    cutouts, labels = _sample()
    first = _run(cutouts, labels)
    shuffled = cutouts[np.random.default_rng(0).permutation(len(cutouts))]
    assert from_table(_run(shuffled, labels).model).card == from_table(first.model).card


def test_two_runs_give_the_same_model():
    first, second = (_run(*_sample(), architecture="small_resnet") for _ in range(2))
    assert first.model.equals(second.model, check_metadata=True)
    assert first.training["reliability"].tobytes() == second.training["reliability"].tobytes()


def test_ambiguous_and_masked_sources_are_not_trained_on():
    cutouts, labels = (table.copy() for table in _sample())
    labels["state"] = np.asarray(labels["state"]).astype("U12")
    labels["state"][:20], labels["state"][20:40] = "ambiguous", "masked"
    result = _run(cutouts, labels)
    out = np.isin(result.training["state"], ["ambiguous", "masked"])
    assert out.sum() == 40
    np.testing.assert_array_equal(result.training["used"], ~out)
    np.testing.assert_array_equal(np.isnan(result.training["reliability"]), out)
    counts = from_table(result.model).card.label_counts
    assert counts["ambiguous"] == counts["masked"] == 20
    assert counts["injected_used"] + counts["unlabelled_used"] == 260


def test_unusable_rows_stay_in_the_table():
    cutouts, labels = (table.copy() for table in _sample())
    cutouts["science"][:10] = np.nan
    labels["ra"][np.isin(labels["diaSourceId"], cutouts["diaSourceId"][10:15])] = np.nan
    rows = _gather(cutouts[:-30], labels)
    unusable = np.concatenate([cutouts["diaSourceId"][:15], cutouts["diaSourceId"][-30:]])
    assert set(rows.labels["diaSourceId"][~rows.used]) == set(unusable)
    assert len(rows.inputs) == rows.used.sum() == 255
    assert len(rows.table(np.zeros(255, np.float32), 3, 0, {})) == 300


def test_inputs_follow_their_labels():
    cutouts, labels = (table.copy() for table in _sample())
    cutouts["mask"][:, 0, 0] = np.uint32(MaskBit.CR) * (np.asarray(cutouts["diaSourceId"]) % 2)
    rows = _gather(cutouts[::-1], labels)
    np.testing.assert_array_equal(rows.inputs[:, 4, 0, 0], rows.labels["diaSourceId"][rows.used] % 2)
    by_id = dict(zip(labels["diaSourceId"], labels["state"], strict=True))
    states = [by_id[i] for i in rows.labels["diaSourceId"][rows.used]]
    np.testing.assert_array_equal(rows.injected, np.array(states) == "injected")


def test_a_limit_selects_at_random_but_the_same():
    first, second = (_gather(*_sample(), limit=100) for _ in range(2))
    assert first.used.sum() == len(first.inputs) == 100
    np.testing.assert_array_equal(first.used, second.used)
    assert 0 < first.injected.sum() < 100


def test_no_work():
    cutouts, labels = _sample()
    with pytest.raises(NoWorkFound):
        _task().run([], "Synthetic")
    other = cutouts.copy()
    other["diaSourceId"] += 10**9
    with pytest.raises(NoWorkFound, match="of 3 detectors"):
        _run(other, labels)


def test_too_little_to_train_with():
    cutouts, labels = _sample()
    with pytest.raises(TooFewExamplesError, match="at least 200 of each"):
        _run(cutouts, labels, minExamples=200)
    with pytest.raises(TooFewSkyCellsError, match="1 sky cells"):
        _run(cutouts, labels, nside=32)


def test_bad_tables_are_named():
    cutouts, labels = _sample()
    with pytest.raises(TableSchemaError, match=r"labels of visit 1.*'state'"):
        _run(cutouts, labels[[name for name in labels.colnames if name != "state"]])
    with pytest.raises(TableSchemaError, match=r"cutouts of visit 1.*'variance'"):
        _run(cutouts[[name for name in cutouts.colnames if name != "variance"]], labels)
    twice = cutouts.copy()
    twice["diaSourceId"][twice["visit"] == 2] = 5
    with pytest.raises(DuplicateIdError, match="cutouts of visit 2: expected each diaSourceId once"):
        _run(twice, labels)
    leaky = cutouts.copy()
    leaky["mask"][:, 3, 3] |= np.uint32(MaskBit.INJECTED)
    with pytest.raises(InjectionLeakError, match="cutouts of visit 1"):
        _run(leaky, labels)


def test_stamps_of_two_sizes():
    cutouts, labels = _sample()
    sources = lazily(cutouts, labels) + lazily(*make_cutouts(50, size=30, seed=9)[:2])
    with pytest.raises(StampSizeError, match="stamps of 21 pixels, found 30 pixels"):
        _task().run(sources, "Synthetic")


def test_configuration_is_checked_before_anything_runs():
    with pytest.raises(FieldValidationError, match="vgg6"):
        _task(architecture="vgg6")
    with pytest.raises(UnknownOptionError, match="depth"):
        _task(options={"depth": 3})
    with pytest.raises(FieldValidationError, match="nside"):
        _task(nside=3000)
    task = _task(options={"width": 4, "dropout": 0.1})
    assert task.config.network_options() == {"dropout": 0.1, "width": 4, "hidden": 64}


def test_dataset_names_follow_the_model_name():
    config = TrainReliabilityConfig()
    assert TrainReliabilityConnections(config=config).model.name == "reliability_model"
    config.connections.modelName = "seed_cnn_"
    connections = TrainReliabilityConnections(config=config)
    assert connections.model.name == "seed_cnn_reliability_model"
    assert connections.training.name == "seed_cnn_reliability_training"
    assert connections.trainingSchema.name == "seed_cnn_reliability_training_schema"
    assert connections.cutouts.name == "dia_source_cutout"
