"""What each DIA object of a simulation really is. Only evaluate* tasks may use this."""

from __future__ import annotations

__all__ = ["SUPERNOVA", "TRANSIENTS", "TRUTH_CLASSES", "ObjectTruth", "classify_objects", "source_truth"]

import dataclasses
from collections.abc import Mapping

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..reliability.truth_matching import Truth, TruthClasses, classify_sources
from .grouping import first_of_each, positions

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Strings = NDArray[np.str_]

SUPERNOVA = "supernova"
"""Injected with a light curve."""

TRANSIENTS = (SUPERNOVA, "hidden")
"""Classes of truth that are transients with light curves."""

TRUTH_CLASSES = (*TRANSIENTS, "flash", "variable", "moving", "artefact", "ambiguous")
"""``truth_class`` of an object; flash is an injection into single visits, which nothing can confirm."""

_MODELS = {"supernova": SUPERNOVA, "agn": "variable", "variable": "variable", "moving": "moving"}
"""Class of the models of makeTransients; the others draw anew in every visit."""


@dataclasses.dataclass(frozen=True)
class ObjectTruth:
    """Truth of N objects.

    Parameters
    ----------
    truth_class : `numpy.ndarray`, (N,), str
        One of `TRUTH_CLASSES`: that of most of its sources; of as many, the first that is no artefact.
    truth_id : `numpy.ndarray`, (N,), int64
        Of the real source; 0 for artefacts and for objects without sources.
    cause : `numpy.ndarray`, (N,), str
        Most frequent cause of an artefact; empty for others.
    n_agree : `numpy.ndarray`, (N,), int64
        Sources of that truth.
    """

    truth_class: Strings
    truth_id: I64
    cause: Strings
    n_agree: I64


def source_truth(
    sources: Table, labels: Table, truths: Mapping[tuple[int, int], Truth], transients: Table
) -> TruthClasses:
    """Tell what each DIA source is, image by image.

    Parameters
    ----------
    sources : `astropy.table.Table`
        S DIA sources of any images, with what `~dia_vetting.reliability.truth_matching.classify_sources`
        reads.
    labels : `astropy.table.Table`
        ``diaSourceId``, ``injection_id``, ``nearest_injection_id``; a source without a label is taken to be
        no injection.
    truths : `~collections.abc.Mapping`
        What is true of the images, by visit and detector.
    transients : `astropy.table.Table`
        ``injection_id`` and ``model`` of what was injected.

    Returns
    -------
    truth : `~dia_vetting.reliability.truth_matching.TruthClasses`
        Of S sources, the injected ones by their model (see `TRUTH_CLASSES`); sources on images without a
        truth are ambiguous.
    """
    count = len(sources)
    classes, cause = np.full(count, "ambiguous", "U16"), np.full(count, "", "U16")
    ids = np.zeros(count, np.int64)
    joined = _labels_of(sources, labels)
    visit, detector = (np.asarray(sources[name], np.int64) for name in ("visit", "detector"))
    for (one, other), truth in truths.items():
        rows = np.flatnonzero((visit == one) & (detector == other))
        if len(rows):
            found = classify_sources(sources[rows], joined[rows], truth)
            classes[rows], cause[rows], ids[rows] = found.truth_class, found.cause, found.truth_id
    injected = classes == "injected"
    at = positions(ids[injected], transients["injection_id"])
    model = np.append(np.asarray(transients["model"]).astype(str), "")[at]
    classes[injected] = [_MODELS.get(str(name), "flash") for name in model]
    return TruthClasses(classes, cause, ids)


def _labels_of(sources: Table, labels: Table) -> Table:
    ids = np.asarray(labels["diaSourceId"], np.int64)
    rows = np.flatnonzero(first_of_each(ids)) if len(ids) else np.zeros(0, np.int64)
    at = positions(sources["diaSourceId"], ids[rows])
    names = ("injection_id", "nearest_injection_id")
    return Table({name: np.append(np.asarray(labels[name], np.int64)[rows], 0)[at] for name in names})


def classify_objects(owner: I64, count: int, truth: TruthClasses) -> ObjectTruth:
    """Tell what each object is by its sources.

    Parameters
    ----------
    owner : `numpy.ndarray`, (S,), int64
        Object of each source, in ``[0, count)``.
    count : `int`
        Number N of objects.
    truth : `~dia_vetting.reliability.truth_matching.TruthClasses`
        Of these sources.

    Returns
    -------
    objects : `ObjectTruth`
        Of N objects; one without sources is ambiguous.
    """
    kinds = np.array(TRUTH_CLASSES)
    kind = positions_of_text(truth.truth_class, kinds)
    triples = np.stack([owner, kind, truth.truth_id], axis=1)
    pairs, counts = np.unique(triples, axis=0, return_counts=True)
    doubtful = pairs[:, 1] >= len(TRUTH_CLASSES) - 2  # artefact and ambiguous come last of as many
    order = np.lexsort((-pairs[:, 1], ~doubtful, counts))  # the last one that is written stays
    best = np.full(count, -1, np.int64)
    best[pairs[order, 0]] = order
    known = best >= 0
    chosen = np.append(kinds[pairs[:, 1]], "ambiguous")[best]
    cause = np.full(count, "", truth.cause.dtype)
    _most_frequent(cause, owner[truth.cause != ""], truth.cause[truth.cause != ""])
    return ObjectTruth(
        chosen,
        np.where(known, np.append(pairs[:, 2], 0)[best], 0),
        np.where(chosen == "artefact", cause, ""),
        np.where(known, np.append(counts, 0)[best], 0),
    )


def positions_of_text(values: Strings, names: Strings) -> I64:
    """Return the index of each of ``values`` in ``names``, which has them all."""
    order = np.argsort(names)
    return np.asarray(order[np.searchsorted(names, values, sorter=order)], np.int64)


def _most_frequent(result: Strings, owner: I64, values: Strings) -> None:
    names, index = np.unique(values, return_inverse=True)
    pairs, counts = np.unique(np.stack([owner, index], axis=1), axis=0, return_counts=True)
    order = np.lexsort((-pairs[:, 1], counts))
    result[pairs[order, 0]] = names[pairs[order, 1]]
