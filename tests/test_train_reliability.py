"""The training task."""

import functools
from pathlib import Path

import numpy as np
import pytest
from dia_vetting.errors import BadInputError, TableSchemaError
from dia_vetting.masks import MaskBit
from dia_vetting.reliability.folds import SplitLeakError, TooFewExamplesError, TooFewSkyCellsError
from dia_vetting.reliability.inputs import InjectionLeakError, StampSizeError
from dia_vetting.reliability.model_dataset import from_table
from dia_vetting.reliability.networks import UnknownOptionError
from dia_vetting.reliability.schemas import RELIABILITY_INFLUENCE, RELIABILITY_TRAINING
from dia_vetting.reliability.strategies import StrategyOptionError
from dia_vetting.reliability.train_reliability import (
    TrainReliabilityConfig,
    TrainReliabilityConnections,
    TrainReliabilityTask,
)
from dia_vetting.reliability.training_rows import DuplicateIdError, gather_rows
from dia_vetting.skycells import sky_cell, sky_fold
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound, Pipeline, PipelineGraph
from reliability_samples import lazily, make_cutouts, trained, trained_task

PIPELINE = Path(__file__).parents[1] / "pipelines" / "_ingredients" / "vetting.yaml"


def _task(**changes):
    """Return a task that trains one network per fold with a single update."""
    short = {"strategy": "plain", "members": 1, "epochs": 1, "minUpdates": 1, "minExamples": 5}
    return trained_task(**(short | changes))


def _run(cutouts, labels, initial=None, **changes):
    return _task(**changes).run(lazily(cutouts, labels), "Synthetic", initial)


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
    assert card.injected_fraction == pytest.approx(np.mean(labels["state"] == "injected"))
    assert card.stamp_size == 21
    assert (card.n_folds, card.members) == (3, 2)
    assert len(from_table(result.model).networks) == 6
    assert card.strategy == TrainReliabilityConfig().strategy
    assert card.settings["learning_rate"] == TrainReliabilityConfig().learningRate
    assert result.training.meta["model_content_hash"] == card.content_hash


def test_the_card_holds_prior_calibration_and_thresholds():
    """None of the unlabelled is real here, so that a good network finds a prior near 0."""
    task = trained_task(prior=0.05)
    assert task.config.training_settings().prior == 0.05
    card = from_table(trained()[2].model).card
    value, low, high = card.prior
    assert 0 <= low <= value <= high <= 1
    assert value < 0.05
    assert card.prevalence == pytest.approx(max(value, 0.001))
    assert set(card.thresholds) == {"fpr_0.0015", "fpr_0.01", "tpr_0.9", "tpr_0.95", "tpr_0.98"}
    table = trained()[2].training
    injected, reliability = table["state"] == "injected", np.asarray(table["reliability"])
    for name, threshold in card.thresholds.items():
        assert 0 < threshold < 1
        if name.startswith("tpr"):
            assert np.mean(reliability[injected] >= threshold) >= float(name[4:])
    knots, slopes = card.calibration["knots"], card.calibration["slopes"]
    assert len(knots) == len(slopes) + 1 > 2
    assert card.calibration["n_injected"] == injected.sum()


def test_prevalence_is_configured():
    card = from_table(_run(*_sample(), prevalence=0.02).model).card
    assert card.prevalence == 0.02


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
    changes = {"architecture": "small_resnet", "strategy": "co_teaching", "members": 2}
    first, second = (_run(*_sample(), **changes) for _ in range(2))
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


@pytest.mark.parametrize("visit", [1, 2, 3])
def test_a_detector_without_a_usable_cutout_is_passed_over(visit):
    """Whether it has the cutouts of other sources, or of its own without a pixel."""
    cutouts, labels, _ = make_cutouts(90, size=30)
    mine = np.asarray(cutouts["visit"]) == visit
    foreign, blank = cutouts.copy(), cutouts.copy()
    foreign["diaSourceId"][mine] += 10**9
    blank["science"][mine] = np.nan
    for changed in (foreign, blank):
        rows = _gather(changed, labels)
        assert set(rows.labels["visit"][rows.used]) == {1, 2, 3} - {visit}
        assert len(rows.inputs) == rows.used.sum() == 90 - mine.sum()
        assert rows.inputs.size == 30


def test_inputs_follow_their_labels():
    cutouts, labels = (table.copy() for table in _sample())
    cutouts["mask"][:, 0, 0] = np.uint32(MaskBit.CR) * (np.asarray(cutouts["diaSourceId"]) % 2)
    cutouts["snr"] = 10.0 + np.asarray(cutouts["diaSourceId"]) % 100
    rows = _gather(cutouts[::-1], labels)
    snr = 10.0 + rows.labels["diaSourceId"][rows.used] % 100
    np.testing.assert_allclose(rows.inputs.metadata[:, 1], np.log10(snr / 10.0), atol=1e-5)
    np.testing.assert_array_equal(rows.objects, rows.labels["injection_id"][rows.used])
    np.testing.assert_array_equal(rows.positions, [rows.labels[name][rows.used] for name in ("ra", "dec")])
    np.testing.assert_array_equal(rows.inputs.stamps[:, 4, 0, 0], rows.labels["diaSourceId"][rows.used] % 2)
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


def test_sources_near_sky_that_must_not_be_seen_are_not_trained_on():
    wide, narrow = (_task(buffer=buffer) for buffer in (20.0, 0.0))
    for task in (wide, narrow):
        task.run(lazily(*_sample()), "Synthetic")
    assert wide.metadata["dropped_per_fold"] > 20
    assert narrow.metadata["dropped_per_fold"] == 0


def test_an_injection_of_two_visits_stands_on_one_side():
    """Twins far apart, as if an injection had moved: only the id says that they are one."""
    cutouts, labels = (table.copy() for table in _sample())
    injected = np.flatnonzero(np.asarray(labels["state"]) == "injected")
    labels["injection_id"][injected] = np.repeat(np.arange(1, len(injected)), 2)[: len(injected)]
    twins = _task(buffer=0.0)
    twins.run(lazily(cutouts, labels), "Synthetic")
    assert twins.metadata["dropped_per_fold"] > 20


def test_influence_is_ranked_where_it_is_configured():
    cutouts, labels = (table.copy() for table in _sample())
    labels["state"] = np.asarray(labels["state"]).astype("U12")
    labels["state"][:10] = "masked"
    result = _run(cutouts, labels, doInfluence=True, epochs=3, minUpdates=40)
    table = RELIABILITY_INFLUENCE.check(result.influence)
    used = result.training[np.asarray(result.training["used"])]
    for name in ("diaSourceId", "state", "reliability", "ra"):
        np.testing.assert_array_equal(table[name], used[name])
    assert sorted(table["influence_rank"]) == sorted(table["quality_rank"]) == list(range(1, 291))
    assert table.meta["model_content_hash"] == from_table(result.model).card.content_hash
    assert not hasattr(_run(*_sample()), "influence")


def test_wrong_labels_have_influence():
    cutouts, labels, injected = make_cutouts(700, size=21)
    labels = labels.copy()
    wrong = np.isin(labels["diaSourceId"], labels["diaSourceId"][np.flatnonzero(~injected)[:12]])
    labels["state"][wrong] = "injected"
    result = trained_task(doInfluence=True, strategy="plain", members=1).run(lazily(cutouts, labels), "x")
    ids = set(labels["diaSourceId"][wrong])
    table = result.influence
    planted = np.array([i in ids for i in table["diaSourceId"]])
    assert planted.sum() == 12
    for rank in ("influence_rank", "quality_rank"):
        assert np.median(table[rank][planted]) < 30


@functools.cache
def _elsewhere(size=21):
    return make_cutouts(300, size=size, seed=4, ra0=210.0)[:2]


def test_fine_tuning_starts_from_a_model():
    parent = trained()[2].model
    result = _run(*_elsewhere(31), initial=parent, fineTune=True, architecture="small_resnet")
    card, known = from_table(result.model).card, from_table(parent).card
    assert card.parent == known.content_hash
    assert (card.architecture, card.options) == (known.architecture, known.options)
    assert card.stamp_size == known.stamp_size == 21
    assert card.settings["anchor"] == TrainReliabilityConfig().anchor
    fresh = from_table(_run(*_elsewhere(31)).model).card
    assert (fresh.parent, fresh.settings["anchor"], fresh.stamp_size) == ("", 0.0, 31)


def test_fine_tuning_needs_a_model_to_start_from():
    with pytest.raises(BadInputError, match="initialModel"):
        _run(*_elsewhere(), fineTune=True)


def test_fine_tuning_refuses_sky_that_the_model_was_trained_on():
    cutouts, labels, result = trained()
    with pytest.raises(SplitLeakError, match=r"sky cells .* were trained on by the network"):
        _run(cutouts[:300], labels, initial=result.model, fineTune=True)


def test_configuration_is_checked_before_anything_runs():
    with pytest.raises(FieldValidationError, match="vgg5"):
        _task(architecture="vgg5")
    with pytest.raises(UnknownOptionError, match="depth"):
        _task(options={"depth": 3})
    with pytest.raises(FieldValidationError, match="nside"):
        _task(nside=3000)
    with pytest.raises(FieldValidationError, match="trust_all"):
        _task(strategy="trust_all")
    with pytest.raises(StrategyOptionError, match="forget"):
        _task(strategyOptions={"forget": 0.1})
    with pytest.raises(StrategyOptionError, match="at least 2 members"):
        _task(strategy="deep_ensemble", members=1)
    for name, value in (("prevalence", 0.0), ("prior", 0.7), ("members", 0), ("buffer", -1.0)):
        with pytest.raises(FieldValidationError, match=name):
            _task(**{name: value})
    task = _task(options={"width": 4, "dropout": 0.1})
    assert task.config.network_options() == {"dropout": 0.1, "width": 4, "hidden": 64}


def _graph(**changes) -> PipelineGraph:
    pipeline = Pipeline.from_uri(str(PIPELINE))
    for name, value in changes.items():
        pipeline.addConfigOverride("trainReliability", name, value)
    graph = pipeline.to_graph()
    graph.resolve(visualization_only=True)
    return graph


def _names(graph: PipelineGraph) -> tuple[set[str], set[str]]:
    """Return the dataset types that the task reads and that it makes, the initial ones too."""
    task = graph.tasks["trainReliability"]
    made = [*task.iter_all_outputs(), *task.init.iter_all_outputs()]
    return {edge.parent_dataset_type_name for edge in task.iter_all_inputs()}, {
        edge.parent_dataset_type_name for edge in made
    }


def test_a_graph_has_influence_and_initial_model_only_where_they_are_configured():
    influence = {"reliability_influence", "reliability_influence_schema"}
    read, made = _names(_graph())
    assert read == {"dia_source_cutout", "dia_source_label"}
    assert not influence & made
    read, made = _names(_graph(doInfluence=True))
    assert read == {"dia_source_cutout", "dia_source_label"}
    assert influence <= made
    read, made = _names(_graph(fineTune=True))
    assert read == {"dia_source_cutout", "dia_source_label", "initial_reliability_model"}
    assert not influence & made
    task = TrainReliabilityTask(config=_task(doInfluence=True).config)
    assert list(task.influenceSchema["name"]) == RELIABILITY_INFLUENCE.names()


def test_dataset_names_follow_the_model_name():
    config = TrainReliabilityConfig()
    assert TrainReliabilityConnections(config=config).model.name == "reliability_model"
    config.connections.modelName = "seed_cnn_"
    connections = TrainReliabilityConnections(config=config)
    assert connections.model.name == "seed_cnn_reliability_model"
    assert connections.training.name == "seed_cnn_reliability_training"
    assert connections.trainingSchema.name == "seed_cnn_reliability_training_schema"
    assert connections.cutouts.name == "dia_source_cutout"
    config.doInfluence = config.fineTune = True
    config.connections.initialModelName = "shipped_"
    connections = TrainReliabilityConnections(config=config)
    assert connections.influence.name == "seed_cnn_reliability_influence"
    assert connections.initialModel.name == "shipped_reliability_model"
