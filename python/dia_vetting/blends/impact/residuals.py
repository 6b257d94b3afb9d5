"""Sources in difference images near objects that are blends, and near others."""

from __future__ import annotations

__all__ = ["DiaSources", "residual_rows"]

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...reliability.matching import find_pairs, nearest
from .catalog import CatalogObjects
from .matches import Matches
from .resampling import Figure, Resampling
from .rows import EDGES, TREATMENTS, Bin, bins, impact_rows

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

_DROPPING = (*TREATMENTS[1:], "truth")
"""Treatments that drop something."""


@dataclasses.dataclass(frozen=True)
class DiaSources:
    """K DIA sources of all visits.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (K,), float64
        ICRS, degrees.
    artefact, real : `numpy.ndarray`, (K,), bool
        By the truth; both false where it is not known, or ambiguous.
    has_truth : `bool`
        Whether there is a truth.
    """

    ra: F64
    dec: F64
    artefact: Bool
    real: Bool
    has_truth: bool

    def classes(self) -> dict[str, Bool]:
        """Return masks (K,) by the name of the class: all, and by the truth where there is one."""
        known = {"artefacts": self.artefact, "real": self.real} if self.has_truth else {}
        return {"sources": np.ones(len(self.ra), bool), **known}


def residual_rows(
    objects: CatalogObjects,
    matches: Matches,
    sources: DiaSources,
    group: I64,
    resampling: Resampling,
    radius: float,
) -> list[dict[str, Any]]:
    """Return the figures of difference images.

    Each DIA source within a radius of an object belongs to the nearest one.

    Parameters
    ----------
    objects : `CatalogObjects`
        N objects.
    matches : `~.matches.Matches`
        What they are. The treatment ``truth`` drops those that are blends in truth, and leaves the other
        matched ones: what is no source at all, a defect of a coadd, has residuals of its own.
    sources : `DiaSources`
        All that lie on the tract.
    group : `numpy.ndarray`, (N,), int64
        Index of the group of each object.
    resampling : `Resampling`
        The groups.
    radius : `float`
        arcsec.

    Returns
    -------
    rows : `list` of `dict`
        For each class of DIA sources (``sources`` for all, ``artefacts``, ``real``), over all visits:
        ``<class>_per_object``, of the objects that are left; ``<class>_per_dropped``, of those that are
        dropped; ``<class>_per_dropped_expected``, of those that are left, had they the magnitudes of the
        dropped ones, and ``<class>_per_dropped_excess``, the former minus the latter; ``<class>_left``, the
        fraction of the DIA sources at objects that are at objects which are left.
    """
    pairs = find_pairs((sources.ra, sources.dec), (objects.ra, objects.dec), radius)
    pair = nearest(pairs.first, len(sources.ra))
    owner = np.append(pairs.second, -1)[pair]
    gone = objects.dropped | {"truth": matches.blend}
    left = {name: ~flags for name, flags in objects.dropped.items()}
    split = _Split(left | {"truth": (matches.source_of >= 0) & ~matches.blend}, gone)
    rows = []
    for name, chosen in sources.classes().items():
        counts = np.bincount(owner[chosen & (owner >= 0)], minlength=len(objects)).astype(np.float64)
        rows += _per_object(name, split, objects.magnitude, counts, group, resampling)
        rows += _left(name, split, counts, group, resampling)
        rows += _like_for_like(name, split, objects.magnitude, counts, group, resampling)
    return rows


@dataclasses.dataclass(frozen=True)
class _Split:
    """Objects (N,) that are left, and that are dropped, by treatment."""

    left: dict[str, Bool]
    gone: dict[str, Bool]


def _per_object(
    name: str, split: _Split, magnitude: F64, counts: F64, group: I64, resampling: Resampling
) -> list[dict[str, Any]]:
    rows = []
    for chosen in bins(len(counts), {"magnitude": magnitude}):
        values = {n: resampling.mean(group, counts, of & chosen.rows) for n, of in split.left.items()}
        rows += impact_rows(f"{name}_per_object", chosen, values)
        gone = {n: resampling.mean(group, counts, split.gone[n] & chosen.rows) for n in _DROPPING}
        rows += impact_rows(f"{name}_per_dropped", chosen, gone)
    return rows


def _left(name: str, split: _Split, counts: F64, group: I64, resampling: Resampling) -> list[dict[str, Any]]:
    def share(treatment: str) -> Figure:
        sums = resampling.sums(group, np.stack([counts * split.left[treatment], counts], axis=1))
        return resampling.of_sums(sums, lambda s: s[:, 0] / s[:, 1], int(counts.sum()))

    return impact_rows(f"{name}_left", _every(), {n: share(n) for n in TREATMENTS})


def _like_for_like(
    name: str, split: _Split, magnitude: F64, counts: F64, group: I64, resampling: Resampling
) -> list[dict[str, Any]]:
    """Compare dropped objects with those left, by the magnitudes of the dropped ones."""
    edges = np.array(EDGES["magnitude"])
    place = np.clip(np.searchsorted(edges, magnitude, side="right") - 1, 0, len(edges) - 2)
    member = (place[:, None] == np.arange(len(edges) - 1)) & np.isfinite(magnitude)[:, None]
    columns = {}
    for n in _DROPPING:
        parts = [member & flags[:, None] for flags in (split.gone[n], split.left[n])]
        both = [(of, of * counts[:, None]) for of in parts]
        columns[n] = np.concatenate([one for pair in both for one in pair], axis=1)
    rows = []
    for suffix, compute in (("expected", _expected), ("excess", _excess)):
        values = {
            n: _figure(of, compute, group, resampling, int(np.count_nonzero(split.gone[n])))
            for n, of in columns.items()
        }
        rows += impact_rows(f"{name}_per_dropped_{suffix}", _every(), values)
    return rows


def _figure(
    columns: NDArray[Any], compute: Callable[[F64], F64], group: I64, resampling: Resampling, n: int
) -> Figure:
    return resampling.of_sums(resampling.sums(group, columns), compute, n)


def _split(sums: F64) -> tuple[F64, F64, F64]:
    """Return number of dropped, their sources, and rate of those left, (B, K), in bins that have both."""
    gone, of_gone, left, of_left = np.split(sums, 4, axis=1)
    both = (gone > 0) & (left > 0)
    rate = np.where(both, of_left / np.where(both, left, 1.0), 0.0)
    return np.where(both, gone, 0.0), np.where(both, of_gone, 0.0), rate


def _expected(sums: F64) -> F64:
    gone, _, rate = _split(sums)
    return np.asarray((gone * rate).sum(axis=1) / gone.sum(axis=1))


def _excess(sums: F64) -> F64:
    gone, of_gone, rate = _split(sums)
    return np.asarray((of_gone - gone * rate).sum(axis=1) / gone.sum(axis=1))


def _every() -> Bin:
    return Bin("", np.nan, np.nan, np.zeros(0, bool))
