"""Which object is which true source, one to one, and which objects are blends in truth."""

from __future__ import annotations

__all__ = ["MatchCriteria", "Matches", "match_objects"]

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ...reliability.matching import Pairs, find_pairs
from .catalog import CatalogObjects
from .truth import TrueSources

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class MatchCriteria:
    """When an object is a true source, and when it is a blend of several.

    Parameters
    ----------
    radius : `float`
        Largest distance of an object from its true source, arcsec.
    magnitudes : `float`
        Largest difference of their magnitudes.
    blend_radius : `float`
        Other true sources within it of the one that an object is make the object a blend, arcsec.
    least_ratio : `float`
        If they have at least this fraction of its flux.
    """

    radius: float = 1.0
    magnitudes: float = 1.5
    blend_radius: float = 2.0
    least_ratio: float = 0.1


@dataclasses.dataclass(frozen=True)
class Matches:
    """N objects and M true sources.

    Parameters
    ----------
    source_of : `numpy.ndarray`, (N,), int64
        Index of the true source of each object; -1 if none.
    object_of : `numpy.ndarray`, (M,), int64
        Index of the object of each true source; -1 if none.
    blend : `numpy.ndarray`, (N,), bool
        Whether the object is matched and its true source has a companion (see `MatchCriteria`).
    unrecognised : `numpy.ndarray`, (N,), bool
        Whether one of these companions has no object of its own.
    """

    source_of: I64
    object_of: I64
    blend: Bool
    unrecognised: Bool


def match_objects(
    objects: CatalogObjects, truth: TrueSources, criteria: MatchCriteria | None = None
) -> Matches:
    """Match objects and true sources.

    Of all pairs that the criteria allow, the one with the least ``(d / radius)^2 + (dm / magnitudes)^2`` is
    matched first, then the next of which neither is taken. So a faint source that happens to lie nearer does
    not take the object of a bright one.

    Parameters
    ----------
    objects : `CatalogObjects`
        N objects. One whose flux is not positive has no match.
    truth : `TrueSources`
        M sources, all that are simulated, however faint.
    criteria : `MatchCriteria`, optional
        Limits.

    Returns
    -------
    matches : `Matches`
        In the order of both.
    """
    criteria = criteria or MatchCriteria()
    pairs = find_pairs((objects.ra, objects.dec), (truth.ra, truth.dec), criteria.radius)
    difference = np.abs(objects.magnitude[pairs.first] - truth.magnitude[pairs.second])
    cost = (pairs.distance / criteria.radius) ** 2 + (difference / criteria.magnitudes) ** 2
    allowed = np.flatnonzero(difference <= criteria.magnitudes)
    order = allowed[np.argsort(cost[allowed], kind="stable")]
    source_of, object_of = _taken(pairs, order, len(objects), len(truth))
    blend, unrecognised = _blends(truth, source_of, object_of, criteria)
    return Matches(source_of, object_of, blend, unrecognised)


def _taken(pairs: Pairs, order: I64, n_objects: int, n_sources: int) -> tuple[I64, I64]:
    """Take pairs in an order, each object and source once."""
    source_of, object_of = np.full(n_objects, -1, np.int64), np.full(n_sources, -1, np.int64)
    for one, two in zip(pairs.first[order].tolist(), pairs.second[order].tolist(), strict=True):
        if source_of[one] < 0 and object_of[two] < 0:
            source_of[one], object_of[two] = two, one
    return source_of, object_of


def _blends(truth: TrueSources, source_of: I64, object_of: I64, criteria: MatchCriteria) -> tuple[Bool, Bool]:
    pairs = find_pairs((truth.ra, truth.dec), (truth.ra, truth.dec), criteria.blend_radius)
    bright = truth.flux[pairs.second] >= criteria.least_ratio * truth.flux[pairs.first]
    pairs = pairs.where(bright & (pairs.first != pairs.second))
    blend, unrecognised = np.zeros((2, len(truth) + 1), bool)  # the last one is that of no source
    blend[pairs.first] = True
    unrecognised[pairs.first[object_of[pairs.second] < 0]] = True
    return blend[source_of], unrecognised[source_of]
