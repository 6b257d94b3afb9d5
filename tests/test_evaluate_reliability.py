import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from dia_vetting.errors import TableSchemaError
from dia_vetting.injection.schemas import TRANSIENT_TRUTH
from dia_vetting.reliability.evaluate_reliability import EvaluateReliabilityTask
from dia_vetting.reliability.evaluation import COMPARISONS, SELECTIONS, EvaluationSettings, evaluate
from dia_vetting.reliability.evaluation_calibration import CALIBRATED_SUBSETS
from dia_vetting.reliability.evaluation_hosts import add_hosts
from dia_vetting.reliability.evaluation_rows import join_rows
from dia_vetting.reliability.examples import choose_examples, gather_examples
from dia_vetting.reliability.ids import MissingIdError, positions_of
from dia_vetting.reliability.model_dataset import ModelCard, ReliabilityModel, to_table
from dia_vetting.reliability.schemas import RELIABILITY_CURVE, RELIABILITY_TRUTH
from dia_vetting.reliability.subsets import PAIRS, SUBSETS
from dia_vetting.tables import stack_tables
from evaluation_samples import make_detector, make_transients
from lsst.daf.butler import Config, DatasetType
from lsst.daf.butler.tests import makeTestCollection, makeTestRepo
from lsst.pipe.base import NoWorkFound
from lsst.pipe.base.testUtils import makeQuantum, runTestQuantum

VISITS = (1, 2, 3)
THRESHOLDS = {"fixed": 0.5, "model": 0.7}
SETTINGS = EvaluationSettings(
    THRESHOLDS, replicates=100, score_prevalence=0.2, training_prior=(0.05, 0.03, 0.08)
)


def make_task(**config):
    settings = EvaluateReliabilityTask.ConfigClass()
    settings.replicates = 100
    for name, value in config.items():
        setattr(settings, name, value)
    settings.validate()
    return EvaluateReliabilityTask(config=settings)


@pytest.fixture(scope="module")
def rows():
    rows = stack_tables([join_rows(make_detector(visit)) for visit in VISITS], RELIABILITY_TRUTH)
    add_hosts(rows, stack_tables(map(make_transients, VISITS), TRANSIENT_TRUTH))
    return rows


@pytest.fixture(scope="module")
def evaluated(rows):
    return evaluate(rows, SETTINGS)


def test_rows_join_by_id_whatever_the_order(rows):
    assert len(rows) == 900
    inputs = make_detector(1)
    by_id = dict(zip(inputs.scores["diaSourceId"], inputs.scores["reliability"], strict=True))
    for row in rows[rows["visit"] == 1]:
        np.testing.assert_equal(row["reliability"], np.float32(by_id[row["diaSourceId"]]))
    hidden = rows["truth_class"] == "hidden"
    assert hidden.sum() > 20
    assert (rows["truth_id"][hidden] > 0).all()
    assert set(rows["cause"][rows["truth_class"] == "artefact"]) == {"cosmic_ray", "noise"}


def test_source_without_a_score_is_kept_as_unscored():
    inputs = make_detector(1)
    rows = join_rows(dataclasses.replace(inputs, scores=inputs.scores[:100]))
    assert len(rows) == 300
    assert np.isfinite(rows["reliability"]).sum() <= 100


def test_ids_twice_or_missing_are_refused():
    inputs = make_detector(1)
    with pytest.raises(MissingIdError, match=r"dia_source_detector of visit 1, detector 3.*without a row"):
        join_rows(dataclasses.replace(inputs, dia_sources=inputs.dia_sources[:10]))
    with pytest.raises(MissingIdError, match="twice"):
        positions_of([1], [2, 2], "here")
    np.testing.assert_array_equal(positions_of([5, 9, 1], [9, 5], "here"), [1, 0, -1])
    np.testing.assert_array_equal(positions_of([5], [], "here"), [-1])


def test_metrics_are_those_of_the_rows(rows, evaluated):
    metrics, _ = evaluated
    assert set(metrics["comparisons"]) == set(COMPARISONS)
    state, truth, score = (np.asarray(rows[c]) for c in ("state", "truth_class", "reliability"))
    member = np.isfinite(score) & (state != "masked") & (state != "ambiguous")
    real, called = truth != "artefact", score >= 0.5
    figures = metrics["comparisons"]["real_vs_artefact"]["all"]
    at = figures["at_threshold"]["fixed"]
    assert at["confusion"]["tp"] == (member & real & called).sum()
    assert at["precision"]["value"] == (member & real & called).sum() / (member & called).sum()
    assert figures["n_positive"] + figures["n_negative"] == member.sum()
    loud = metrics["comparisons"]["injected_vs_unlabelled"]["snr8"]
    assert loud["n_positive"] == (member & (state == "injected") & (rows["snr"] >= 8)).sum()
    assert set(SELECTIONS) < set(metrics["comparisons"]["real_vs_artefact"])
    # Hidden real sources among the unlabelled cost purity by the labels, not by the truth.
    headline = metrics["headline"]
    by_label = headline["injected_vs_unlabelled"]["purity_snr6_fixed"]["value"]
    assert by_label < headline["real_vs_artefact"]["purity_snr6_fixed"]["value"]
    counts = metrics["counts"]
    assert counts["sources"] == 900
    assert counts["scored"] == 900 - 4 * len(VISITS)
    assert sum(counts["state"].values()) == sum(counts["truth_class"].values()) == 900
    assert sum(counts["cause"].values()) == counts["truth_class"]["artefact"]
    assert set(counts["glint_trail"]) == {"artefact"}
    assert counts["glint_trail"]["artefact"] == counts["cause"]["noise"]


def test_metrics_are_plain_and_survive_yaml(evaluated):
    text = yaml.safe_dump(evaluated[0])
    assert "&id" not in text
    assert yaml.safe_dump(yaml.safe_load(text)) == text


def test_every_interval_holds_its_value(evaluated):
    def figures(node):
        if isinstance(node, dict) and set(node) == {"value", "low", "high"}:
            yield node
        elif isinstance(node, dict):
            for child in node.values():
                yield from figures(child)

    found = list(figures(evaluated[0]))
    assert len(found) > 100
    for figure in found:
        assert math.isnan(figure["value"]) or figure["low"] <= figure["value"] <= figure["high"], figure


def test_curves(evaluated):
    curves = RELIABILITY_CURVE.check(evaluated[1])
    both, hosts = {"snr", "magnitude"}, {"surface_brightness", "offset", "offset_radii"}
    binned = {f"completeness_{q}" for q in both | hosts} | {f"purity_{q}" for q in both}
    assert set(curves["curve"]) == {"roc", "precision_recall", "calibration"} | binned
    mine = (curves["comparison"] == "real_vs_artefact") & (curves["subset"] == "snr6")
    roc = curves[(curves["curve"] == "roc") & mine]
    assert (np.diff(roc["x"]) > 0).all()
    assert (np.diff(roc["y"]) >= 0).all()
    snr = curves[curves["curve"] == "purity_snr"]
    assert set(snr["threshold"]) == {0.5, 0.7}
    defined = np.isfinite(snr["y"])
    assert ((snr["y_low"] <= snr["y"]) & (snr["y"] <= snr["y_high"]))[defined].all()


def test_rates_at_a_false_positive_rate(rows, evaluated):
    figures = evaluated[0]["comparisons"]["real_vs_artefact"]["all"]
    for rate in (0.001, 0.0015, 0.01, 0.05):
        tpr, fnr = figures[f"tpr_at_fpr_{rate}"], figures[f"fnr_at_fpr_{rate}"]
        np.testing.assert_allclose([tpr["value"], tpr["low"]], [1 - fnr["value"], 1 - fnr["high"]])
        score = np.asarray(rows["reliability"], np.float64)
        artefact = np.asarray(rows["truth_class"]) == "artefact"
        member = np.isfinite(score) & (rows["state"] != "masked")
        called = score >= figures[f"threshold_at_fpr_{rate}"]
        assert called[member & artefact].mean() <= rate
        assert called[member & ~artefact].mean() <= tpr["value"] + 1e-9


def test_only_figures_that_say_so_are_at_another_prevalence(evaluated):
    figures = evaluated[0]["comparisons"]["real_vs_artefact"]["snr6"]
    at = figures["at_threshold"]["fixed"]
    cell = at["confusion"]
    tpr, fpr = cell["tp"] / (cell["tp"] + cell["fn"]), cell["fp"] / (cell["fp"] + cell["tn"])
    np.testing.assert_allclose(at["precision"]["value"], cell["tp"] / (cell["tp"] + cell["fp"]))
    stated = at["purity_at_prevalence_0.03"]
    np.testing.assert_allclose(stated["value"], 0.03 * tpr / (0.03 * tpr + 0.97 * fpr))
    headline = evaluated[0]["headline"]["real_vs_artefact"]
    assert headline["purity_at_prevalence_0.03_snr6_fixed"] == stated
    found = figures["completeness_at_purity_0.95_at_prevalence_0.03"]["value"]
    assert found < figures["completeness_at_purity_0.95"]["value"]


def test_subsets_and_pairs_of_every_comparison(rows, evaluated):
    for comparison in evaluated[0]["comparisons"].values():
        assert set(comparison["subsets"]) == set(SUBSETS)
        assert set(comparison["pairs"]) == set(PAIRS)
    injected = evaluated[0]["comparisons"]["injected_vs_unlabelled"]
    scored = np.isfinite(rows["reliability"]) & (rows["state"] == "injected")
    negative = scored & (np.asarray(rows["psfFlux"]) < 0)
    assert injected["subsets"]["negative_flux"]["n_positive"] == negative.sum()
    pair = injected["pairs"]["negative_flux"]["fixed"]["completeness"]
    assert pair["n_part"] + pair["n_rest"] == scored.sum()
    assert pair["difference"]["value"] < 0


def test_prior_stands_beside_the_truth(rows, evaluated):
    prior = evaluated[0]["prior"]
    unlabelled = np.isfinite(rows["reliability"]) & (rows["state"] == "unlabelled")
    hidden = np.asarray(rows["truth_class"])[unlabelled] == "hidden"
    np.testing.assert_allclose(prior["truth"]["value"], hidden.mean())
    assert prior["estimated"]["low"] < hidden.mean() < prior["estimated"]["high"]
    assert prior["of_training"] == {"value": 0.05, "low": 0.03, "high": 0.08}
    assert {"all", "snr6", "snr_8_to_15", "negative_flux"} < set(evaluated[0]["contamination"])


def test_calibration_needs_the_prevalence_of_the_scores(rows, evaluated):
    for name, comparison in evaluated[0]["comparisons"].items():
        assert set(comparison["calibration"]) == set(CALIBRATED_SUBSETS), name
    metrics, curves = evaluate(rows, dataclasses.replace(SETTINGS, score_prevalence=None))
    assert metrics["comparisons"]["real_vs_artefact"]["calibration"] == {}
    assert "calibration" not in set(curves["curve"])


def test_hosts_bin_only_injections_that_have_one(rows, evaluated):
    curves = evaluated[1]
    known = np.asarray(rows["host_offset"])
    counted = np.isfinite(known) & np.isfinite(rows["reliability"]) & (rows["state"] == "injected")
    assert 0 < counted.sum() < (rows["state"] == "injected").sum()
    for quantity in ("surface_brightness", "offset", "offset_radii"):
        of = curves[(curves["curve"] == f"completeness_{quantity}") & (curves["threshold"] == 0.5)]
        assert set(of["comparison"]) == {"injected_vs_unlabelled"}
        assert of["n"].sum() == counted.sum()
    near = of[of["x_low"] == 0.5][0]
    radii = np.asarray(rows["host_offset_radii"])
    there = counted & (radii >= 0.5) & (radii < 0.75)
    assert near["n"] == there.sum()
    np.testing.assert_allclose(near["y"], (rows["reliability"][there] >= 0.5).mean())


def test_same_seed_same_figures(rows, evaluated):
    again = evaluate(rows, SETTINGS)
    assert repr(again[0]) == repr(evaluated[0])
    other = evaluate(rows, dataclasses.replace(SETTINGS, seed=1))
    assert repr(other[0]["headline"]) != repr(evaluated[0]["headline"])


def test_examples_are_the_extremes_and_read_only_what_is_needed(rows):
    chosen = choose_examples(rows, 2)
    highest = chosen["Unlabelled, highest scores"]
    unlabelled = rows[(rows["state"] == "unlabelled") & np.isfinite(rows["reliability"])]
    np.testing.assert_allclose(highest["reliability"], np.sort(unlabelled["reliability"])[::-1][:2])
    detectors = {(visit, 3): make_detector(visit).cutouts for visit in VISITS}
    needed = {(int(row["visit"]), 3) for table in chosen.values() for row in table}
    examples = gather_examples(chosen, {key: detectors[key] for key in needed})
    for kind, table in chosen.items():
        for row, example in zip(table, examples[kind], strict=True):
            np.testing.assert_allclose(example.difference, row["psfFlux"], rtol=1e-6)
            assert f"{row['reliability']:.3f}" in example.caption


def test_run_without_truth():
    task = make_task(doTruth=False, doModelThreshold=False)
    result = task.run([make_detector(visit, known=False) for visit in VISITS], {"fixed": 0.5})
    assert set(result.metrics["comparisons"]) == {"injected_vs_unlabelled"}
    assert set(result.metrics["prior"]) == {"estimated"}
    assert "truth" not in result.metrics["contamination"]["all"]["at_threshold"]["fixed"]["purity"]
    assert not hasattr(result, "truth")
    assert "truth_class" not in result.metrics["counts"]


def test_nothing_to_evaluate():
    inputs = make_detector(1)
    inputs.scores["reliability"] = np.nan
    with pytest.raises(NoWorkFound, match="1 detectors has a score"):
        make_task().run([inputs], THRESHOLDS)
    with pytest.raises(NoWorkFound):
        make_task().run([], THRESHOLDS)


def test_bad_table_names_its_detector():
    inputs = make_detector(1)
    inputs.labels.remove_column("state")
    with pytest.raises(TableSchemaError, match=r"dia_source_label of visit 1, detector 3.*'state'"):
        make_task().run([inputs], THRESHOLDS)


def test_connections_follow_the_configuration():
    config = EvaluateReliabilityTask.ConfigClass()
    config.doTruth = config.doModelThreshold = False
    connections = config.connections.ConnectionsClass(config=config)
    assert connections.transients.minimum == 0
    names = set(connections.inputs) | set(connections.outputs) | set(connections.initOutputs)
    assert not [name for name in names if "ruth" in name]
    assert connections.inputs == {"labels", "scores", "cutouts", "transients"}
    config.doHosts = False
    connections = config.connections.ConnectionsClass(config=config)
    assert connections.inputs == {"labels", "scores", "cutouts"}
    assert "hostPlot" not in connections.outputs


def test_thresholds_of_the_card_follow_the_prevalence_of_the_scores():
    card = SimpleNamespace(thresholds={"fpr_0.01": 0.5}, prevalence=0.5)
    assert make_task()._thresholds(card) == {"fixed": 0.5, "fpr_0.01": 0.5}
    moved = make_task(scorePrevalence=0.1)._thresholds(card)
    assert moved["fixed"] == 0.5
    np.testing.assert_allclose(moved["fpr_0.01"], 0.1)


def make_model():
    tensors = [{"weight": np.zeros(2, np.float32)}] * 2
    card = ModelCard(
        architecture="small_resnet",
        options={},
        strategy="plain",
        strategy_options={},
        layout="test",
        channels=("difference",),
        metadata=(),
        stamp_size=30,
        min_valid_fraction=0.2,
        instrument="Test",
        seed=0,
        nside=4096,
        n_folds=2,
        members=1,
        settings={},
        label_counts={},
        injected_fraction=0.5,
        prior=(0.07, 0.05, 0.1),
        prevalence=0.03,
        calibration={},
        epochs=(1, 1),
        thresholds={"fpr_0.01": 0.7},
        metrics={},
        software={},
    )
    return to_table(ReliabilityModel(card, tensors, np.zeros(1, np.int64)))


def register(butler, connections):
    for name in connections.inputs | connections.outputs:
        connection = getattr(connections, name)
        dimensions = butler.dimensions.conform(connection.dimensions)
        butler.registry.registerDatasetType(DatasetType(connection.name, dimensions, connection.storageClass))


def put_inputs(butler):
    butler.put(make_model(), "reliability_model", instrument="Test")
    butler.put(make_detector(1).truth.objects, "sim_truth_object", skymap="sky", tract=0)
    transients = stack_tables(map(make_transients, VISITS), TRANSIENT_TRUTH)
    butler.put(transients, "transient_truth", instrument="Test", skymap="sky", tract=0)
    for visit in VISITS:
        inputs = make_detector(visit)
        tables = {
            "dia_source_label": inputs.labels,
            "dia_source_vetting": inputs.scores,
            "dia_source_cutout": inputs.cutouts(),
            "dia_source_detector": inputs.dia_sources,
            "sim_truth_source": inputs.truth.sources,
            "sim_truth_artefact": inputs.truth.artefacts,
        }
        for name, table in tables.items():
            butler.put(table, name, instrument="Test", visit=visit, detector=3)


def test_in_a_butler(tmp_path):
    ids = {"instrument": ["Test"], "visit": list(VISITS), "detector": [3], "skymap": ["sky"], "tract": [0]}
    on_disk = Config({"datastore": {"cls": "lsst.daf.butler.datastores.fileDatastore.FileDatastore"}})
    butler = makeTestCollection(makeTestRepo(str(tmp_path), ids, config=on_disk))
    task = make_task()
    connections = task.config.ConnectionsClass(config=task.config)
    register(butler, connections)
    put_inputs(butler)
    detectors = [{"instrument": "Test", "visit": visit, "detector": 3} for visit in VISITS]
    instrument, tract = {"instrument": "Test"}, {"skymap": "sky", "tract": 0}
    io = dict.fromkeys(connections.inputs, detectors) | dict.fromkeys(connections.outputs, instrument)
    io |= {"model": instrument, "truthObjects": [tract], "transients": [instrument | tract]}
    runTestQuantum(task, butler, makeQuantum(task, butler, instrument, io), mockRun=False)
    metrics = butler.get("reliability_metrics", instrument)
    assert metrics["thresholds"]["fixed"] == 0.5
    assert metrics["thresholds"] == {"fixed": 0.5, "fpr_0.01": 0.7}
    assert task.metadata["n_detectors"] == 3
    RELIABILITY_CURVE.check(butler.get("reliability_curve", instrument))
    truth = RELIABILITY_TRUTH.check(butler.get("reliability_truth", instrument))
    assert len(truth) == 900
    hosted = np.isfinite(truth["host_surface_brightness"])
    assert 50 < hosted.sum() < (truth["injection_id"] != 0).sum()
    assert (np.asarray(truth["psfFlux"]) < 0).any()
    assert metrics["prior"]["of_training"]["value"] == 0.07
    assert metrics["score_prevalence"] == 0.03
    for plot in (
        "confusion",
        "score_histogram",
        "roc_pr",
        "snr",
        "magnitude",
        "host",
        "calibration",
        "contamination",
        "subset",
        "triplets",
    ):
        path = butler.getURI(f"reliability_{plot}_plot", instrument).ospath
        assert open(path, "rb").read(8) == b"\x89PNG\r\n\x1a\n"
