"""Labels that people gave: files, the repository, and what scores are worth against them."""

import json
from pathlib import Path

import numpy as np
import pytest
from dia_vetting.errors import BadInputError
from dia_vetting.reliability.human_labels import human_counts, human_metrics, read_label_files
from dia_vetting.reliability.model_dataset import from_table
from dia_vetting.reliability.schemas import RELIABILITY_HUMAN_LABEL
from dia_vetting.report.ingest_labels import ingest_labels
from lsst.daf.butler import Butler, Config
from lsst.daf.butler.tests import makeTestRepo
from reliability_samples import lazily, make_cutouts, trained_task

BIG = 2**63 - 25


def _file(path: Path, rows: object, **changes: object) -> Path:
    head = {"format": "dia_vetting labels", "version": 1, "instrument": "Cam", "collection": "u/a"}
    path.write_text(json.dumps(head | changes | {"labels": rows}))
    return path


def _row(source: object, label: str, time: str = "2026-01-01T00:00:00.000Z") -> dict[str, object]:
    return {"diaSourceId": source, "label": label, "time": time, "page": "abc"}


def test_ids_stay_exact_and_the_latest_label_counts(tmp_path: Path) -> None:
    first = _file(tmp_path / "a.json", [_row(str(BIG), "real"), _row("7", "bogus", "2026-02-01")])
    second = _file(
        tmp_path / "b.json", [_row(str(BIG), "unsure", "2026-03-01"), _row("7", "real", "2026-01-01")]
    )
    for order in ([first, second], [second, first]):
        table = RELIABILITY_HUMAN_LABEL.check(read_label_files(order, "Cam", "me"))
        assert dict(table["diaSourceId", "label"].iterrows()) == {7: "bogus", BIG: "unsure"}
        assert set(table["labeller"]) == {"me"}


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        ([_row(7, "real")], {}, "label 0: expected a diaSourceId of at most 63 bits, as text"),
        ([_row(str(2**63), "real")], {}, "at most 63 bits"),
        ([_row("7", "maybe")], {}, "expected a label of real, bogus, unsure, found 'maybe'"),
        (["7"], {}, "an object with diaSourceId"),
        ({}, {}, "a list of labels"),
        ([], {"version": 2}, "version 1 of the format, found 2"),
        ([], {"format": "other"}, "dia_vetting labels"),
        ([], {"instrument": "Other"}, "labels of Cam, found labels of Other"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, rows: object, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BadInputError, match=words.replace("(", r"\(")):
        read_label_files([_file(tmp_path / "a.json", rows, **changes)], "Cam")


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    for name in ("a.json", "absent.json"):
        with pytest.raises(BadInputError, match="a JSON file of labels"):
            read_label_files([tmp_path / name], "Cam")


def _labels(ids: np.ndarray, label: np.ndarray):
    empty = np.full(len(ids), "")
    return RELIABILITY_HUMAN_LABEL.build(
        {"diaSourceId": ids, "label": label, "time": empty, "labeller": empty, "page": empty}
    )


def test_figures_are_those_of_the_labelled_sources() -> None:
    rng = np.random.default_rng(1)
    ids = np.arange(400)
    real = rng.random(400) < 0.5
    score = np.where(real, 0.8, 0.2) + rng.normal(0, 0.2, 400)
    score[:5] = np.nan
    label = np.where(real, "real", "bogus").astype("U6")
    label[10:20] = "unsure"
    table = _labels(ids[:300][::-1], label[:300][::-1])
    found = human_metrics(table, ids, score, ids // 10, {"fixed": 0.5}, 0)
    used = np.arange(400)[(np.arange(400) >= 5) & (np.arange(400) < 300) & (label != "unsure")]
    pairs = score[used[real[used]]][:, None] > score[used[~real[used]]]
    assert found["human_auc"][0] == pytest.approx(pairs.mean())
    assert found["human_completeness_fixed"][0] == pytest.approx((score[used[real[used]]] >= 0.5).mean())
    assert found["human_false_positive_rate_fixed"][0] == pytest.approx(
        (score[used[~real[used]]] >= 0.5).mean()
    )
    for value, low, high in found.values():
        assert low < value < high
    n_real, n_bogus = int(real[:300].sum()), int((~real[:300]).sum())
    unsure = real[10:20].sum()
    counts = human_counts(table, ids[50:])
    assert counts["human_unscored"] == 50
    assert sum(counts.values()) == 300
    assert human_counts(table, ids) == {
        "human_real": n_real - unsure,
        "human_bogus": n_bogus - (10 - unsure),
        "human_unsure": 10,
        "human_unscored": 0,
    }


def test_labels_of_one_kind_say_nothing() -> None:
    ids = np.arange(20)
    score = np.linspace(0, 1, 20)
    for label in ("real", "bogus", "unsure"):
        assert human_metrics(_labels(ids, np.full(20, label)), ids, score, ids, {"fixed": 0.5}, 0) == {}
    assert human_metrics(_labels(ids[:0], ids[:0].astype(str)), ids, score, ids, {}, 0) == {}


def test_they_go_into_the_card_and_nothing_is_trained_with_them() -> None:
    cutouts, labels, injected = make_cutouts(300, size=21, seed=2)
    short = {"strategy": "plain", "members": 1, "epochs": 1, "minUpdates": 1, "minExamples": 5}
    wrong = np.where(injected, "bogus", "real")  # as wrong as can be: training would show it
    said = _labels(np.append(np.asarray(cutouts["diaSourceId"]), 5), np.append(wrong, "unsure"))
    plain, judged = (
        trained_task(**short, doHumanLabels=value is not None).run(
            lazily(cutouts, labels), "Cam", None, value
        )
        for value in (None, said)
    )
    one, two = from_table(plain.model), from_table(judged.model)
    for first, second in zip(one.networks, two.networks, strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    np.testing.assert_array_equal(plain.training["reliability"], judged.training["reliability"])
    auc = one.card.metrics["auc_injected_unlabelled"][0]
    assert two.card.metrics["human_auc"][0] == pytest.approx(1 - auc, abs=0.003)  # ties
    assert two.card.label_counts["human_unscored"] == 1
    assert set(two.card.metrics) - set(one.card.metrics) == {
        n for n in two.card.metrics if n.startswith("human_")
    }
    assert judged.training.meta["model_content_hash"] == two.card.content_hash != one.card.content_hash


def test_the_connection_is_there_only_if_it_is_asked_for() -> None:
    for asked in (False, True):
        config = trained_task(doHumanLabels=asked).config
        assert ("humanLabels" in config.ConnectionsClass(config=config).prerequisiteInputs) == asked


def test_a_repository_takes_them_once(tmp_path: Path) -> None:
    files = {"cls": "lsst.daf.butler.datastores.fileDatastore.FileDatastore", "root": "<butlerRoot>"}
    ids = {"instrument": ["Cam"]}
    makeTestRepo(str(tmp_path / "repo"), ids, config=Config({"datastore": files})).close()
    path = _file(tmp_path / "a.json", [_row(str(BIG), "real"), _row("7", "unsure")])
    counts = ingest_labels([path], str(tmp_path / "repo"), "u/me/labels", "Cam", "me")
    assert counts == {"real": 1, "bogus": 0, "unsure": 1}
    with Butler.from_config(str(tmp_path / "repo"), collections="u/me/labels", instrument="Cam") as butler:
        table = butler.get("reliability_human_label")
    assert sorted(table["diaSourceId"]) == [7, BIG]
    with pytest.raises(BadInputError, match="without reliability_human_label"):
        ingest_labels([path], str(tmp_path / "repo"), "u/me/labels", "Cam")
