"""The text of the page, without a browser."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.report.figures import confusion_of_verdicts, curve_series, plain
from dia_vetting.report.joining import join_run
from dia_vetting.report.tables import PageLimits
from dia_vetting.report.writing import render_page
from report_samples import page_text, synthetic_page, synthetic_tables

FILES = Path(__file__).parents[1] / "python" / "dia_vetting" / "report" / "page"


def _variables(theme: str) -> dict[str, str]:
    css = (FILES / "base.css").read_text()
    block = css.split('[data-theme="dark"] {' if theme == "dark" else ":root {")[1].split("}")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def _contrast(one: str, two: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2)."""
    channels = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (one, two)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    low, high = np.sort(linear @ [0.2126, 0.7152, 0.0722])
    return float((high + 0.05) / (low + 0.05))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out(theme: str) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for what is drawn."""
    colours = _variables(theme)
    for back in ("surface", "raised", "sunken"):
        for text in ("text", "muted", "accent"):
            assert _contrast(colours[text], colours[back]) >= 4.5, (text, back)
    assert _contrast(colours["accent"], colours["accent-text"]) >= 4.5
    assert _contrast(colours["warm"], colours["warm-back"]) >= 4.5
    script = (FILES / "colours.js").read_text().split("const MARKS")[0]
    pairs = re.findall(r'\["(#[0-9a-f]{6})", "(#[0-9a-f]{6})"\]', script)
    assert len(pairs) > 20
    for pair in pairs:
        assert _contrast(pair[theme == "dark"], colours["raised"]) >= 3, pair


def test_text_from_a_repository_cannot_become_a_part_of_the_page() -> None:
    run = synthetic_tables()
    evil = "</script><script>alert(1)</script><!--"
    labels = run.labels.copy()
    labels["state"] = np.full(len(labels), evil)
    scores = Table({name: run.scores[name] for name in run.scores.colnames})
    scores["model"] = np.full(len(scores), evil)
    changed = type(run)(**{**vars(run), "collection": evil, "labels": labels, "scores": scores})
    text = render_page(changed, join_run(changed, PageLimits()), None, PageLimits())
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', text, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert meta["collection"] == evil
    assert evil in next(c for c in meta["tables"]["sources"]["columns"] if c["name"] == "state")["categories"]


def test_the_same_input_makes_the_same_page() -> None:
    run, page, sheets = synthetic_page()
    assert render_page(run, page, sheets, PageLimits()) == page_text()


def test_json_has_no_nan() -> None:
    found = plain({"a": [np.float32(np.nan), np.int64(3), np.bool_(True)], 4: (np.inf, "x", None)})
    assert found == {"a": [None, 3, True], "4": [None, "x", None]}


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    n = 5000
    columns = {name: np.linspace(0, 1, n) for name in ("x", "x_low", "x_high", "y", "y_low", "y_high")}
    texts = {"comparison": "real_vs_artefact", "subset": "all", "curve": "roc"}
    table = Table({**columns, **{k: np.full(n, v) for k, v in texts.items()}})
    table["threshold"], table["n"] = np.nan, 10
    (series,) = curve_series(table)
    assert len(series["x"]) == 400
    assert (series["x"][0], series["x"][-1]) == (0, 1)
    assert series["threshold"] is None
    table["subset"] = np.full(n, "snr6")
    assert curve_series(table) == []
    assert curve_series(None) == []


def test_confusion_of_verdicts_is_by_class() -> None:
    truth = np.array(["hidden"] * 8 + ["artefact"] * 2 + [""])
    verdict = np.array(["confirmed"] * 6 + ["unknown", ""] + ["unknown"] * 2 + ["confirmed"])
    found = confusion_of_verdicts(truth, verdict)
    assert (found["rows"], found["columns"]) == (["artefact", "hidden"], ["confirmed", "unknown"])
    cell = found["cells"][1][0]
    assert (cell["count"], cell["fraction"]) == (6, pytest.approx(6 / 7))
    assert (cell["low"], cell["high"]) == (pytest.approx(0.4869, abs=1e-3), pytest.approx(0.9743, abs=1e-3))
    assert found["cells"][0][0]["count"] == 0
