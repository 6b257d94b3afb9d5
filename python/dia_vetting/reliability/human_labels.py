"""Labels that people gave: read from the files of the report page, and what scores are worth against them.

They are for evaluation and never for training. Who looks chooses what to look at, so that the figures are of
the sources that were labelled, not of all: the card and the log say how many these are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInputError
from ..seeding import generator
from .curves import summarise_curves
from .ids import positions_of
from .metrics import Sample, threshold_rates
from .schemas import RELIABILITY_HUMAN_LABEL

__all__ = ["LABELS", "human_counts", "human_metrics", "read_label_files"]

type Figure = tuple[float, float, float]

LABELS = ("real", "bogus", "unsure")
"""What a label may be."""

_FORMAT = "dia_vetting labels"
_VERSION = 1
_REPLICATES = 500


def read_label_files(paths: Sequence[Path], instrument: str, labeller: str = "") -> Table:
    """Read files that the report page saved.

    Parameters
    ----------
    paths : `~collections.abc.Sequence` of `pathlib.Path`
        JSON files.
    instrument : `str`
        Instrument that the labels must be of.
    labeller : `str`, optional
        Who labelled, to be noted.

    Returns
    -------
    labels : `astropy.table.Table`
        In `RELIABILITY_HUMAN_LABEL`'s schema, by diaSourceId; of several labels of a source the latest.

    Raises
    ------
    BadInputError
        If a file is no such file, of a newer version or of another instrument, or holds something else than
        labels.
    """
    latest: dict[int, tuple[str, str, str]] = {}
    for path in paths:
        for source, label, time, page in _rows(path, instrument):
            if source not in latest or time >= latest[source][1]:
                latest[source] = (label, time, page)
    ids = np.array(sorted(latest), dtype=np.int64)
    labels, times, pages = (np.array([latest[int(i)][k] for i in ids], dtype=str) for k in range(3))
    return RELIABILITY_HUMAN_LABEL.build(
        {
            "diaSourceId": ids,
            "label": labels,
            "time": times,
            "labeller": np.full(len(ids), labeller),
            "page": pages,
        }
    )


def _rows(path: Path, instrument: str) -> list[tuple[int, str, str, str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(str(path), "a JSON file of labels", str(error)) from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise BadInputError(str(path), f'a JSON file with "format": "{_FORMAT}"', "another one")
    if content.get("version") != _VERSION:
        raise BadInputError(str(path), f"version {_VERSION} of the format", str(content.get("version")))
    if content.get("instrument") != instrument:
        raise BadInputError(str(path), f"labels of {instrument}", f"labels of {content.get('instrument')}")
    rows = content.get("labels")
    if not isinstance(rows, list):
        raise BadInputError(str(path), "a list of labels", type(rows).__name__)
    return [_row(row, f"{path}, label {number}") for number, row in enumerate(rows)]


def _row(row: object, source: str) -> tuple[int, str, str, str]:
    if not isinstance(row, dict):
        raise BadInputError(source, "an object with diaSourceId and label", type(row).__name__)
    text, label = row.get("diaSourceId"), row.get("label")
    # As text: a number in JSON loses the last digits of 63 bits in many readers.
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise BadInputError(source, "a diaSourceId of at most 63 bits, as text", repr(text))
    if label not in LABELS:
        raise BadInputError(source, f"a label of {', '.join(LABELS)}", repr(label))
    return int(text), label, str(row.get("time", "")), str(row.get("page", ""))


def human_counts(labels: Table, ids: ArrayLike) -> dict[str, int]:
    """Count labels, and those of which the source is among some.

    Parameters
    ----------
    labels : `astropy.table.Table`
        In `RELIABILITY_HUMAN_LABEL`'s schema.
    ids : array_like, (N,)
        diaSourceId of the sources that have a score.

    Returns
    -------
    counts : `dict` [`str`, `int`]
        ``human_<label>`` for those with a score, and ``human_unscored``.
    """
    known = np.isin(np.asarray(labels["diaSourceId"]), np.asarray(ids))
    label = np.asarray(labels["label"])
    counts = {f"human_{name}": int((known & (label == name)).sum()) for name in LABELS}
    return counts | {"human_unscored": int((~known).sum())}


def human_metrics(
    labels: Table,
    ids: ArrayLike,
    reliability: NDArray[np.floating],
    cells: NDArray[np.int64],
    thresholds: Mapping[str, float],
    seed: int,
) -> dict[str, Figure]:
    """Measure scores against labels that people gave; those who were unsure say nothing.

    Parameters
    ----------
    labels : `astropy.table.Table`
        In `RELIABILITY_HUMAN_LABEL`'s schema.
    ids : array_like, (N,)
        diaSourceId of the scored sources.
    reliability : `numpy.ndarray`, (N,), float
        Their scores, which must be out of fold; NaN where there is none.
    cells : `numpy.ndarray`, (N,), int64
        Their sky cells, for the intervals.
    thresholds : `~collections.abc.Mapping` [`str`, `float`]
        Scores from which on a source is called real, by name.
    seed : `int`
        Seed of the bootstrap.

    Returns
    -------
    metrics : `dict`
        Value and ends of the 95 % interval over sky cells, of ``human_auc`` (real against bogus) and for each
        threshold ``human_completeness_<name>`` and ``human_false_positive_rate_<name>``. Without labels of
        both kinds there is none, and without two sky cells no AUC, which would have no interval.
    """
    at = positions_of(ids, labels["diaSourceId"], "reliability_human_label")
    label = np.append(np.asarray(labels["label"]).astype(str), "")[at]
    used = np.isfinite(reliability) & ((label == "real") | (label == "bogus"))
    score = np.asarray(reliability[used], np.float64)
    sample = Sample(score, label[used] == "real", cells[used], np.full(len(score), np.inf))
    if not len(score) or sample.positive.all() or not sample.positive.any():
        return {}
    weights = sample.weights(_REPLICATES, generator(seed, "human labels"))
    auc = summarise_curves(sample, weights).auc
    metrics = {"human_auc": _ends(auc.value, auc.low, auc.high)}
    for name, threshold in thresholds.items():
        rates = threshold_rates(sample, threshold, weights)
        for title, rate in (("completeness", "sensitivity"), ("false_positive_rate", "false_positive_rate")):
            one = rates[rate]
            metrics[f"human_{title}_{name}"] = _ends(one.value, one.low, one.high)
    return {name: figure for name, figure in metrics.items() if np.isfinite(figure).all()}


def _ends(*values: NDArray[np.float64]) -> Figure:
    value, low, high = (float(number) for number in values)
    return value, low, high
