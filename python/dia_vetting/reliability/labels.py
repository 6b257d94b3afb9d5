"""Which DIA source is an injection: labels by position and flux, and the injections nothing recovered."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..magnitudes import AB_ZERO_POINT
from .matching import Pairs, find_pairs, flux_consistent, mutual_nearest, nearest
from .schemas import DIA_SOURCE_LABEL, MISSED_INJECTION

__all__ = [
    "Labels",
    "MatchCriteria",
    "Reason",
    "State",
    "injected_flux",
    "label_sources",
    "label_table",
    "missed_injections",
]

_REASON_DTYPE = "U20"


class State(enum.StrEnum):
    """The states of a DIA source, as `dia_source_label` spells them."""

    INJECTED = "injected"
    UNLABELLED = "unlabelled"
    AMBIGUOUS = "ambiguous"
    MASKED = "masked"


class Reason(enum.StrEnum):
    """Why no DIA source recovered an injection, as `missed_injection` spells it."""

    UNDETECTED = "undetected"
    """No DIA source within the radius."""
    FLUX_INCONSISTENT = "flux_inconsistent"
    """None of those within the radius has a consistent flux."""
    CONFUSED = "confused"
    """One has, but it or the injection is nearer to another."""
    MASKED = "masked"
    """Its match is masked."""
    NOT_INJECTED = "not_injected"
    """It is not in the image: see its injection_flag."""


@dataclasses.dataclass(frozen=True)
class MatchCriteria:
    """When a DIA source is taken for an injection.

    Parameters
    ----------
    radius : `float`
        Largest distance of a match, arcsec.
    ambiguous_radius : `float`
        A source closer than this to an injection that is not its match is ambiguous, arcsec; at least
        ``radius``.
    n_sigma, fraction : `float`
        See `.matching.flux_consistent`.
    """

    radius: float = 0.5
    ambiguous_radius: float = 1.0
    n_sigma: float = 4.0
    fraction: float = 0.1

    def __post_init__(self) -> None:
        if self.ambiguous_radius < self.radius:
            raise ValueError(f"Ambiguous radius {self.ambiguous_radius} is below the radius {self.radius}.")


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of N sources and the fate of M injections.

    Parameters
    ----------
    state : `numpy.ndarray`, (N,), str
        One of `State`.
    match : `numpy.ndarray`, (N,), int64
        Index of the matched injection; -1 if none. Masked sources keep theirs.
    nearest : `numpy.ndarray`, (N,), int64
        Index of the matched injection, or else of the nearest within the ambiguous radius; -1 if none.
    distance : `numpy.ndarray`, (N,), float64
        Distance to ``nearest``, arcsec; NaN if none.
    reason : `numpy.ndarray`, (M,), str
        Why an injection was missed, one of `Reason`; empty for a recovered one.
    """

    state: NDArray[np.str_]
    match: NDArray[np.int64]
    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]
    reason: NDArray[np.str_]


def injected_flux(injections: Table) -> NDArray[np.float64]:
    """Return the calibrated flux of injections.

    Parameters
    ----------
    injections : `astropy.table.Table`
        M rows with ``flux`` (nJy) or else ``mag`` (AB).

    Returns
    -------
    flux : `numpy.ndarray`, (M,), float64
        ``flux``, or ``10^(-0.4 (mag - 31.4))``, nJy.
    """
    if "flux" in injections.colnames:
        return np.asarray(injections["flux"], dtype=float)
    return np.asarray(10 ** (-0.4 * (np.asarray(injections["mag"], dtype=float) - AB_ZERO_POINT)))


def label_sources(
    sources: Table, injections: Table, masked: NDArray[np.bool_], criteria: MatchCriteria
) -> Labels:
    """Label DIA sources.

    A source is *injected* if, among all pairs within the radius whose fluxes agree, it and an injection are
    nearest to each other: an artefact beside a faint injection neither takes its place nor its label.
    Other sources within the ambiguous radius of an injection are *ambiguous*, those whose centre is masked
    *masked*, whatever they lie near, and the rest *unlabelled*.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N rows with ``ra``, ``dec`` (deg), ``psfFlux``, ``psfFluxErr`` (nJy).
    injections : `astropy.table.Table`
        M rows with ``ra``, ``dec`` (deg), ``flux`` (nJy) or ``mag``, ``injection_flag``.
    masked : `numpy.ndarray`, (N,), bool
        Sources that cannot be used.
    criteria : `MatchCriteria`
        Radii and flux limits.

    Returns
    -------
    labels : `Labels`
        States, matches and reasons.
    """
    done = np.flatnonzero(np.asarray(injections["injection_flag"]) == 0)
    placed = injections[done]
    near = find_pairs(_sky(sources), _sky(placed), criteria.ambiguous_radius)
    agree = _agreeing(near, sources, placed, criteria)
    matched = agree.where(mutual_nearest(agree, len(sources), len(placed)))
    match, closest = np.full(len(sources), -1), np.full(len(sources), -1)
    distance = np.full(len(sources), np.nan)
    for pairs, index in ((near.where(_is_nearest(near, len(sources))), closest), (matched, match)):
        index[pairs.first] = done[pairs.second]
        distance[pairs.first] = pairs.distance
    closest = np.where(match >= 0, match, closest)
    state = np.select(
        [masked, match >= 0, closest >= 0],
        [State.MASKED, State.INJECTED, State.AMBIGUOUS],
        default=State.UNLABELLED,
    )
    reason = np.full(len(injections), Reason.NOT_INJECTED, dtype=_REASON_DTYPE)
    reason[done] = _reasons(near.where(near.distance <= criteria.radius), agree, matched, masked, len(placed))
    return Labels(state, match, closest, distance, reason)


def _sky(table: Table) -> tuple[Any, Any]:
    return table["ra"], table["dec"]


def _agreeing(near: Pairs, sources: Table, placed: Table, criteria: MatchCriteria) -> Pairs:
    flux, error = (np.asarray(sources[c], dtype=float)[near.first] for c in ("psfFlux", "psfFluxErr"))
    expected = injected_flux(placed)[near.second]
    agree = flux_consistent(flux, error, expected, criteria.n_sigma, criteria.fraction)
    return near.where(agree & (near.distance <= criteria.radius))


def _is_nearest(pairs: Pairs, count: int) -> NDArray[np.bool_]:
    chosen = nearest(pairs.first, count)
    return np.isin(np.arange(len(pairs.first)), chosen[chosen >= 0])


def _reasons(
    near: Pairs, agree: Pairs, matched: Pairs, masked: NDArray[np.bool_], count: int
) -> NDArray[np.str_]:
    """Return why each of ``count`` placed injections was missed; later reasons overwrite earlier ones."""
    reason = np.full(count, Reason.UNDETECTED, dtype=_REASON_DTYPE)
    reason[near.second] = Reason.FLUX_INCONSISTENT
    reason[agree.second] = Reason.CONFUSED
    reason[matched.second] = np.where(masked[matched.first], Reason.MASKED, "")
    return reason


def label_table(sources: Table, injections: Table, labels: Labels) -> Table:
    """Return the label table, one row per source in the order of the sources.

    Parameters
    ----------
    sources, injections : `astropy.table.Table`
        As given to `label_sources`, with the identifying columns of `DIA_SOURCE_LABEL`.
    labels : `Labels`
        Its result.

    Returns
    -------
    table : `astropy.table.Table`
        In `DIA_SOURCE_LABEL`'s schema.
    """
    near = labels.nearest >= 0
    ratio = np.full(len(sources), np.nan)
    ratio[near] = np.asarray(sources["psfFlux"], dtype=float)[near]
    ratio[near] /= injected_flux(injections)[labels.nearest[near]]
    copied = ("diaSourceId", "visit", "detector", "band", "ra", "dec", "snr")
    return DIA_SOURCE_LABEL.build(
        {
            **{name: sources[name] for name in copied},
            "state": labels.state,
            "injection_id": _ids(injections, labels.match),
            "nearest_injection_id": _ids(injections, labels.nearest),
            "match_distance": labels.distance,
            "flux_ratio": ratio,
        }
    )


def _ids(injections: Table, index: NDArray[np.int64]) -> NDArray[np.int64]:
    ids = np.append(np.asarray(injections["injection_id"], dtype=np.int64), 0)
    return ids[index]


def missed_injections(injections: Table, labels: Labels, visit: int, detector: int, band: str) -> Table:
    """Return the injections that no DIA source recovered, with the reason.

    Parameters
    ----------
    injections : `astropy.table.Table`
        As given to `label_sources`; ``x``, ``y`` are NaN where it has no such columns.
    labels : `Labels`
        Its result.
    visit, detector : `int`
        Where they were injected.
    band : `str`
        Band of the visit.

    Returns
    -------
    table : `astropy.table.Table`
        In `MISSED_INJECTION`'s schema.
    """
    missed = np.flatnonzero(labels.reason != "")
    rows, count = injections[missed], len(missed)
    pixel = {c: rows[c] if c in rows.colnames else np.full(count, np.nan) for c in "xy"}
    return MISSED_INJECTION.build(
        {
            **{name: rows[name] for name in ("injection_id", "ra", "dec", "injection_flag")},
            **pixel,
            "visit": np.full(count, visit),
            "detector": np.full(count, detector),
            "band": np.full(count, band),
            "flux": injected_flux(rows),
            "reason": labels.reason[missed],
        }
    )
