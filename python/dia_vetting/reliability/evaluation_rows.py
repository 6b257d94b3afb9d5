"""Labels, scores and truth of one detector, joined by id into the rows that are evaluated."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from ..blends.schemas import DIA_SOURCE_BLEND
from ..embedded.schemas import SIM_TRUTH_ARTEFACT, SIM_TRUTH_SOURCE
from .ids import MissingIdError, positions_of
from .labels import State
from .schemas import DIA_SOURCE_CUTOUT, DIA_SOURCE_LABEL, DIA_SOURCE_REQUIRED, DIA_SOURCE_VETTING
from .truth_matching import Truth, classify_sources

__all__ = ["CutoutReader", "DetectorInputs", "join_rows", "usable"]

_COPIED = ("diaSourceId", "visit", "detector", "band", "ra", "dec", "snr", "state", "injection_id")
_OF_CUTOUTS = ("psfFlux", "valid_fraction")


class CutoutReader(Protocol):
    """Reads the cutouts of one detector."""

    def __call__(self, columns: Sequence[str] | None = None) -> Table:
        """Return `DIA_SOURCE_CUTOUT`, or some of its columns."""
        ...


@dataclasses.dataclass(frozen=True)
class DetectorInputs:
    """What there is of one detector of one visit.

    Parameters
    ----------
    visit, detector : `int`
        Which one it is.
    labels, scores : `astropy.table.Table`
        `DIA_SOURCE_LABEL` and `DIA_SOURCE_VETTING`, joined by ``diaSourceId``.
    cutouts : `CutoutReader`
        Reads and returns `DIA_SOURCE_CUTOUT`; stamps are read for the examples that are drawn only.
    dia_sources : `astropy.table.Table`, optional
        `dia_source_detector`, where there is a truth.
    truth : `~.truth_matching.Truth`, optional
        What the simulation knows.
    blends : `astropy.table.Table`, optional
        `~dia_vetting.blends.schemas.DIA_SOURCE_BLEND`.
    """

    visit: int
    detector: int
    labels: Table
    scores: Table
    cutouts: CutoutReader
    dia_sources: Table | None = None
    truth: Truth | None = None
    blends: Table | None = None


def join_rows(inputs: DetectorInputs) -> Table:
    """Return one row per labelled DIA source.

    Parameters
    ----------
    inputs : `DetectorInputs`
        One detector. A source without a row in the scores counts as not scored.

    Returns
    -------
    rows : `astropy.table.Table`
        Columns of `RELIABILITY_TRUTH` in the order of the labels, without those of the hosts; those of the
        truth only if there is one. ``p_blend`` where there are blends, NaN where it is not known.

    Raises
    ------
    TableSchemaError
        If a table lacks a column, or it has another unit.
    MissingIdError
        If an id stands twice, or the DIA sources lack one that has a label.
    """
    where = f"visit {inputs.visit}, detector {inputs.detector}"
    labels = DIA_SOURCE_LABEL.check(inputs.labels, f"dia_source_label of {where}")
    scores = DIA_SOURCE_VETTING.check(
        inputs.scores, f"dia_source_vetting of {where}", ("diaSourceId", "reliability", "glint_trail")
    )
    rows = Table({name: labels[name] for name in _COPIED})
    at = positions_of(labels["diaSourceId"], scores["diaSourceId"], f"dia_source_vetting of {where}")
    rows["reliability"] = np.append(np.asarray(scores["reliability"], np.float32), np.float32(np.nan))[at]
    rows["glint_trail"] = np.append(np.asarray(scores["glint_trail"], bool), False)[at]
    _add_measurements(rows, inputs.cutouts, f"dia_source_cutout of {where}")
    if inputs.blends is not None:
        rows["p_blend"] = _p_blend(rows, inputs.blends, f"dia_source_blend of {where}")
    if inputs.truth is not None and inputs.dia_sources is not None:
        _add_truth(rows, labels, inputs.dia_sources, inputs.truth, where)
    return rows


def _p_blend(rows: Table, blends: Table, source: str) -> NDArray[np.float32]:
    DIA_SOURCE_BLEND.check(blends, source, ("diaSourceId", "p_blend"))
    at = positions_of(rows["diaSourceId"], blends["diaSourceId"], source)
    return np.append(np.asarray(blends["p_blend"], np.float32), np.float32(np.nan))[at]


def _add_measurements(rows: Table, reader: CutoutReader, source: str) -> None:
    columns = ("diaSourceId", *_OF_CUTOUTS)
    cutouts = DIA_SOURCE_CUTOUT.check(reader(columns), source, columns)
    at = positions_of(rows["diaSourceId"], cutouts["diaSourceId"], source)
    for name in _OF_CUTOUTS:
        values = np.asarray(cutouts[name])
        rows[name] = Column(np.append(values, values.dtype.type(np.nan))[at], unit=cutouts[name].unit)


def _add_truth(rows: Table, labels: Table, dia_sources: Table, truth: Truth, where: str) -> None:
    source = f"dia_source_detector of {where}"
    DIA_SOURCE_REQUIRED.check(dia_sources, source)
    SIM_TRUTH_SOURCE.check(truth.sources, f"sim_truth_source of {where}")
    SIM_TRUTH_ARTEFACT.check(truth.artefacts, f"sim_truth_artefact of {where}")
    at = positions_of(labels["diaSourceId"], dia_sources["diaSourceId"], source)
    if (at < 0).any():
        raise MissingIdError(source, "every labelled DIA source", f"{int((at < 0).sum())} without a row")
    classes = classify_sources(dia_sources[at], labels, truth)
    rows["truth_class"], rows["cause"] = classes.truth_class, classes.cause
    rows["truth_id"] = classes.truth_id


def usable(rows: Table) -> NDArray[np.bool_]:
    """Tell which rows are evaluated: labelled injected or unlabelled, with a score.

    Parameters
    ----------
    rows : `astropy.table.Table`
        N rows with ``state`` and ``reliability``.

    Returns
    -------
    usable : `numpy.ndarray`, (N,), bool
        Which ones.
    """
    state = np.asarray(rows["state"])
    scored = np.isfinite(np.asarray(rows["reliability"], dtype=float))
    return np.asarray(scored & ((state == State.INJECTED) | (state == State.UNLABELLED)))
