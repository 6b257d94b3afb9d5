"""The whole job by stock pipetask on the tiny survey: complete, consistent, repeatable, restartable."""

import re
from collections import Counter
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.masks import INJECTION_BITS
from dia_vetting.reliability.model_dataset import from_table
from dia_vetting.reliability.shipped import DEFAULT_MODEL, shipped_model
from dia_vetting.skycells import sky_cell, sky_fold
from lsst.daf.butler import Butler
from lsst.pipe.base import Pipeline, PipelineGraph
from matplotlib.image import imread
from pipeline_runs import (
    FOLDS,
    MAIN,
    NSIDE,
    PIPELINE,
    SETTINGS,
    assert_same_table,
    command,
    executed,
    main_run,
    open_butler,
    run_and_kill,
    run_arguments,
)

VISITS = (1001, 1002, 1003)
TRACT = {"skymap": "embedded_simlsst_v1", "tract": 0}
KILL_AFTER = 35
"""Then the first network is being trained, or is about to be."""

SECOND = "u/test/second"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return main_run(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def butler(run: tuple[Path, str]) -> Butler:
    return open_butler(run[0], MAIN)


@pytest.fixture(scope="session")
def second(run: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """Run into another collection, kill it in the middle, then let two processes do the rest.

    How many quanta were done before the end, and what the run that went on printed.
    """
    repo, _ = run
    log = tmp_path_factory.mktemp("killed") / "log"
    done = run_and_kill(run_arguments(repo, SECOND, "-j", "1"), KILL_AFTER, log)
    options = ("-j", "2", "--extend-run", "--skip-existing", "--clobber-outputs")
    return done, command("pipetask", *run_arguments(repo, SECOND, *options))


def _per_visit(butler: Butler, name: str) -> dict[int, Table]:
    return {visit: butler.get(name, visit=visit, detector=0) for visit in VISITS}


def _graph() -> PipelineGraph:
    pipeline = Pipeline.from_uri(str(PIPELINE))
    for setting in SETTINGS:
        label, key, value = re.fullmatch(r"(\w+):(\w+)=(.*)", setting).groups()  # type: ignore[union-attr]
        pipeline.addConfigOverride(label, key, value)
    graph = pipeline.to_graph()
    graph.resolve(visualization_only=True)
    return graph


def _outputs() -> dict[str, int]:
    """Dataset types that a run makes, and how many of each the tiny survey has."""
    graph = _graph()
    expected: dict[str, int] = {}
    for task in graph.tasks.values():
        for edge in task.init.iter_all_outputs():
            expected[edge.dataset_type_name] = 1
        for edge in task.iter_all_outputs():
            expected[edge.dataset_type_name] = len(VISITS) if "visit" in task.raw_dimensions else 1
    return expected


def _quanta() -> int:
    """Return how many quanta a run on the tiny survey has."""
    return sum(len(VISITS) if "visit" in task.raw_dimensions else 1 for task in _graph().tasks.values())


def _counts(butler: Butler, collection: str) -> dict[str, int]:
    refs = butler.query_all_datasets(butler.collections.get_info(collection).children[0], limit=None)
    return dict(Counter(ref.datasetType.name for ref in refs))


def test_every_quantum_succeeds(run: tuple[Path, str]) -> None:
    assert executed(run[1]) == (_quanta(), 0, _quanta())
    assert _quanta() > 40


def test_every_output_is_there(butler: Butler) -> None:
    counts, expected = _counts(butler, MAIN), _outputs()
    assert {name: counts.get(name, 0) for name in expected} == expected
    assert set(counts) - set(expected) == {"packages"}


def test_every_dia_source_has_cutout_label_and_score(butler: Butler) -> None:
    scores_of = [f"{prefix}dia_source_vetting" for prefix in ("", "seed_cnn_", "shipped_")]
    names = ("dia_source_cutout", "dia_source_label", *scores_of)
    n_scored = 0
    for visit, sources in _per_visit(butler, "dia_source_detector").items():
        assert len(sources) > 20
        for name in names:
            table = butler.get(name, visit=visit, detector=0)
            np.testing.assert_array_equal(table["diaSourceId"], sources["diaSourceId"])
        for name in scores_of:
            scores = butler.get(name, visit=visit, detector=0)
            scored = np.isfinite(scores["reliability"])
            np.testing.assert_array_equal(scored, scores["reason"] == "")
            assert ((scores["reliability"][scored] >= 0) & (scores["reliability"][scored] <= 1)).all()
            n_scored += scored.sum()
    assert n_scored > 200


def test_every_injection_is_matched_or_missed(butler: Butler) -> None:
    recovered = total = centred = 0
    for visit, catalog in _per_visit(butler, "injected_difference_catalog").items():
        labels = butler.get("dia_source_label", visit=visit, detector=0)
        missed = butler.get("missed_injection", visit=visit, detector=0)
        matched = labels["injection_id"][labels["injection_id"] != 0]
        assert len(catalog) > 5
        assert sorted([*matched, *missed["injection_id"]]) == sorted(catalog["injection_id"])
        assert np.isin(labels["state"], ["injected", "masked"])[labels["injection_id"] != 0].all()
        recovered, total = recovered + len(matched), total + len(catalog)
        on_image = [(catalog[axis] > -0.5) & (catalog[axis] < 399.5) for axis in "xy"]
        centred += np.count_nonzero(on_image[0] & on_image[1] & (catalog["injection_flag"] == 0))
    assert recovered > 0.5 * total
    assert len(butler.get("injection_outcome")) == centred


def test_injected_catalogs_are_those_of_image_and_template(butler: Butler) -> None:
    truth = butler.get("transient_truth", TRACT)
    kind = dict(zip(truth["injection_id"], truth["kind"], strict=True))
    seen: Counter[str] = Counter()
    for visit, catalog in _per_visit(butler, "injected_difference_catalog").items():
        science, template = (
            {
                row["injection_id"]: row["flux"]
                for row in butler.get(f"injected_{name}_catalog", visit=visit, detector=0)
            }
            for name in ("visit_image", "template_detector")
        )
        assert set(catalog["injection_id"]) == science.keys() | template.keys()
        for row in catalog:
            key = row["injection_id"]
            assert row["flux"] == pytest.approx(science.get(key, 0.0) - template.get(key, 0.0))
            assert (key in science, key in template) == (kind[key] != "faded", kind[key] != "appearing")
            seen[kind[key]] += 1
    total = seen.total()
    for name, fraction in (("appearing", 0.6), ("faded", 0.25), ("varying", 0.15)):
        assert seen[name] / total == pytest.approx(fraction, abs=4 * np.sqrt(fraction / total)), seen


def test_faded_transients_are_negative_sources_that_are_labelled(butler: Butler) -> None:
    """From a transient in the template to a DIA source of negative flux that is labelled as its injection."""
    truth = butler.get("transient_truth", TRACT)
    faded = set(truth["injection_id"][truth["kind"] == "faded"])
    found: list[tuple[float, float, float]] = []
    for visit, labels in _per_visit(butler, "dia_source_label").items():
        catalog = butler.get("injected_difference_catalog", visit=visit, detector=0)
        sources = butler.get("dia_source_detector", visit=visit, detector=0)
        flux = dict(zip(catalog["injection_id"], catalog["flux"], strict=True))
        for label, source in zip(labels, sources, strict=True):
            if label["state"] == "injected":
                assert source["psfFlux"] * flux[label["injection_id"]] > 0
                assert source["isNegative"] == (flux[label["injection_id"]] < 0)
            if label["state"] == "injected" and label["injection_id"] in faded:
                found.append((flux[label["injection_id"]], source["psfFlux"], source["psfFluxErr"]))
    assert len(found) > 5
    expected, measured, error = np.array(found).T
    assert (measured < 0).all()
    pull = (measured - expected) / np.hypot(error, 0.05 * expected)
    assert np.abs(np.median(pull)) < 1.0
    assert np.abs(pull).max() < 5
    outcomes = butler.get("injection_outcome")
    negative = outcomes[outcomes["flux"] < 0]
    assert negative["recovered"].sum() >= len(found)
    assert (negative["expected_snr"][np.isfinite(negative["expected_snr"])] > 0).all()


def test_the_shipped_model_scores_by_all_of_its_networks(butler: Butler) -> None:
    for scores in _per_visit(butler, "shipped_dia_source_vetting").values():
        assert (scores["fold"] == -1).all()
        assert set(scores["model"]) == {DEFAULT_MODEL}
        assert set(scores["version"]) == {shipped_model().card.version}


def test_networks_are_trained_on_both_signs(butler: Butler) -> None:
    training = butler.get("reliability_training")
    used = set(training["diaSourceId"][training["used"] & (training["state"] == "injected")])
    signs = [
        np.sign(row["psfFlux"])
        for sources in _per_visit(butler, "dia_source_detector").values()
        for row in sources
        if row["diaSourceId"] in used
    ]
    assert len(signs) == len(used)
    assert min(np.sum(np.array(signs) == sign) for sign in (-1, 1)) > 5


def test_associated_sources_are_those_of_the_detectors(butler: Butler) -> None:
    per_detector = np.concatenate(
        [t["diaSourceId"] for t in _per_visit(butler, "dia_source_detector").values()]
    )
    sources, objects = butler.get("dia_source", TRACT), butler.get("dia_object", TRACT)
    np.testing.assert_array_equal(np.sort(sources["diaSourceId"]), np.sort(per_detector))
    assert set(sources["diaObjectId"]) == set(objects["diaObjectId"])
    assert set(butler.get("dia_object_forced_source", TRACT)["diaObjectId"]) <= set(objects["diaObjectId"])


@pytest.mark.parametrize("prefix", ["", "seed_cnn_"])
def test_scores_are_out_of_fold(butler: Butler, prefix: str) -> None:
    card = from_table(butler.get(f"{prefix}reliability_model")).card
    assert (card.nside, card.n_folds, card.members) == (NSIDE, FOLDS, 1 if prefix else 2)
    training = butler.get(f"{prefix}reliability_training")
    used = {i: score for i, score, ok in training["diaSourceId", "reliability", "used"].iterrows() if ok}
    scored_by_training = 0
    for scores in _per_visit(butler, f"{prefix}dia_source_vetting").values():
        folds = sky_fold(sky_cell(scores["ra"], scores["dec"], NSIDE), FOLDS, card.seed)
        held_out = scores["fold"] >= 0
        np.testing.assert_array_equal(scores["fold"][held_out], folds[held_out])
        for row in scores:
            if row["diaSourceId"] in used:
                assert row["fold"] >= 0, "a source that was trained with has a score of the ensemble"
                assert row["reliability"] == pytest.approx(used[row["diaSourceId"]], abs=1e-5)
                assert np.isfinite(row["reliability_err"]) == (card.members > 1)
                assert 0 <= row["ood"] <= 1
                scored_by_training += 1
    assert scored_by_training == len(used) > 100
    assert 0 <= card.prior[1] <= card.prior[0] <= card.prior[2] <= 1
    assert all(0 < threshold < 1 for threshold in card.thresholds.values())


def test_cutouts_hold_what_they_say(butler: Butler) -> None:
    for cutouts in _per_visit(butler, "dia_source_cutout").values():
        assert not (cutouts["mask"] & int(INJECTION_BITS)).any()
        finite = np.all(
            [np.isfinite(cutouts[name]) for name in ("science", "template", "difference")], axis=0
        )
        np.testing.assert_allclose(cutouts["valid_fraction"], finite.mean(axis=(1, 2)), atol=1e-6)
        assert (cutouts["valid_fraction"] == 1).mean() > 0.5
        assert (cutouts["variance"][finite] > 0).all()
        size = cutouts["science"].shape[1]
        peak = np.abs(cutouts["difference"][:, size // 2 - 3 : size // 2 + 4, size // 2 - 3 : size // 2 + 4])
        noise = np.sqrt(np.nanmedian(cutouts["variance"], axis=(1, 2)))
        assert np.median(np.nanmax(peak, axis=(1, 2)) / noise) > 3, "no source in the middle of the stamps"


def test_tables_keep_their_schemas(butler: Butler) -> None:
    names = [name for name in _outputs() if name.endswith("_schema")]
    assert len(names) > 15
    for name in names:
        schema = butler.get(name)
        for ref in butler.query_datasets(name.removesuffix("_schema"), find_first=True):
            table = butler.get(ref)
            columns = [column.replace("{band}", "r") for column in schema["name"]]  # of object
            assert set(columns) <= set(table.colnames), ref
            for column, unit in zip(columns, schema["unit"], strict=True):
                assert (table[column].unit or u.dimensionless_unscaled) == u.Unit(unit), (ref, column)


def test_plots_open(butler: Butler) -> None:
    plots = [name for name in _outputs() if name.endswith("_plot")]
    assert len(plots) > 15
    for name in plots:
        (ref,) = butler.query_datasets(name, find_first=True)
        pixels = imread(butler.getURI(ref).ospath)
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.01, f"{name} is empty"


def test_headline_figures(butler: Butler) -> None:
    metrics = butler.get("reliability_metrics")
    auc = metrics["headline"]["injected_vs_unlabelled"]["auc"]
    assert 0.5 < auc["low"] <= auc["value"] <= auc["high"] <= 1
    sources = sum(len(t) for t in _per_visit(butler, "dia_source_detector").values())
    assert metrics["counts"]["sources"] == sources


def test_summary_prints_and_saves_the_plots(run: tuple[Path, str], tmp_path: Path) -> None:
    printed = command(
        "dia-vetting", "summary", run[0], MAIN, "--instrument", "SimLSST", "--plots", tmp_path / "plots"
    )
    assert MAIN in printed
    plots = [name for name in _outputs() if name.endswith("_plot")]
    assert len(list((tmp_path / "plots").glob("*.png"))) == len(plots)


def test_running_again_does_nothing(run: tuple[Path, str], butler: Butler) -> None:
    before = {ref.id for ref in butler.query_all_datasets(MAIN, find_first=False, limit=None)}
    arguments = run_arguments(run[0], MAIN, "-j", "1", "--extend-run", "--skip-existing")
    log = command("pipetask", *arguments, check=False)
    assert executed(log) == (0, 0, 0)
    assert "QuantumGraph contains no quanta" in log or "QuantumGraph contains 0 quanta" in log, log[-3000:]
    assert {ref.id for ref in butler.query_all_datasets(MAIN, find_first=False, limit=None)} == before


def test_a_killed_run_is_completed(second: tuple[int, str], butler: Butler) -> None:
    killed_after, log = second
    left = _quanta() - killed_after
    assert killed_after >= KILL_AFTER
    succeeded, failed, total = executed(log)
    assert (succeeded, failed) == (total, 0)
    assert 0 < left - 1 <= total <= left
    counts, expected = _counts(butler, SECOND), _outputs()
    assert {name: counts.get(name, 0) for name in expected} == expected


def test_both_runs_are_the_same_to_the_last_bit(
    second: tuple[int, str], run: tuple[Path, str], butler: Butler
) -> None:
    other = open_butler(run[0], SECOND)
    compared: Counter[str] = Counter()
    for name in _outputs():
        for ref in butler.query_datasets(name, find_first=True):
            if ref.datasetType.storageClass_name == "ArrowAstropy":
                assert_same_table(butler.get(ref), other.get(name, ref.dataId))
                compared[name] += 1
            elif ref.datasetType.storageClass_name == "DifferenceImage":
                one, two = butler.get(ref), other.get(name, ref.dataId)
                np.testing.assert_array_equal(one.image.array, two.image.array)
                np.testing.assert_array_equal(one.variance.array, two.variance.array)
                compared[name] += 1
    tables = ("dia_source_detector", "dia_source_cutout", "dia_source_label", "dia_source_vetting")
    assert all(compared[name] == len(VISITS) for name in (*tables, "difference_image"))
    for prefix in ("", "seed_cnn_"):
        models = [b.get(f"{prefix}reliability_model") for b in (butler, other)]
        assert models[0].equals(models[1])
        assert butler.get(f"{prefix}reliability_metrics") == other.get(f"{prefix}reliability_metrics")
