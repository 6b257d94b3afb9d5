"""All figures of one tract: from objects, truth and covered sky to the rows of ``blending_impact``."""

from __future__ import annotations

__all__ = ["ImpactSettings", "Tract", "measure_impact"]

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...skycells import sky_cell
from .catalog import CatalogObjects
from .clustering import clustering_rows
from .coverage import Coverage
from .detection import detection_rows
from .matches import MatchCriteria, match_objects
from .photometry import photometry_rows
from .resampling import Resampling
from .residuals import DiaSources, residual_rows
from .rows import TREATMENTS
from .truth import TrueSources

type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ImpactSettings:
    """What is measured, and how often it is resampled.

    Parameters
    ----------
    criteria : `MatchCriteria`
        When an object is a true source, and a blend.
    min_snr : `float`
        Expected signal-to-noise ratio of true sources that are asked for.
    residual_radius : `float`
        DIA sources belong to an object within it, arcsec.
    nside : `int`
        HEALPix resolution of the groups of the bootstrap.
    replicates : `int`
        Bootstrap replicates.
    randoms : `int`
        Random positions for each object.
    seed : `int`
        Of bootstrap and random positions.
    """

    criteria: MatchCriteria = dataclasses.field(default_factory=MatchCriteria)
    min_snr: float = 10.0
    residual_radius: float = 2.0
    nside: int = 4096
    replicates: int = 500
    randoms: int = 20
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Tract:
    """Everything about one tract.

    Parameters
    ----------
    objects : `CatalogObjects`
        Primary objects.
    truth : `TrueSources`
        Static sources of the simulation.
    coverage : `Coverage`
        Sky that the coadds cover.
    dia_sources : `DiaSources`, optional
        Sources of the difference images.
    """

    objects: CatalogObjects
    truth: TrueSources
    coverage: Coverage
    dia_sources: DiaSources | None


def measure_impact(tract: Tract, settings: ImpactSettings) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Measure what blends do on a tract.

    Parameters
    ----------
    tract : `Tract`
        What there is.
    settings : `ImpactSettings`
        How.

    Returns
    -------
    rows : `list` of `dict`
        See `.detection`, `.photometry`, `.clustering` and `.residuals`.
    counts : `dict` [`str`, `int`]
        ``objects``, those ``not_covered`` (left out, since their sky is not in the area), ``not_scored``
        (dropped by no treatment), ``without_kron`` (with a PSF flux instead), ``matched``; ``true_sources``
        on covered sky, and those ``asked_for``; ``sky_cells``.
    """
    every = tract.objects
    objects = every.where(tract.coverage.holds(every.ra, every.dec))
    truth, counted = tract.truth, tract.coverage.holds(tract.truth.ra, tract.truth.dec)
    resampling = Resampling.of(tract.coverage.coarse(settings.nside), settings.replicates, settings.seed)
    group = resampling.groups(sky_cell(objects.ra, objects.dec, settings.nside))
    group_of_truth = np.zeros(len(truth), np.int64)  # of no use where the sky is not covered
    cells = sky_cell(truth.ra[counted], truth.dec[counted], settings.nside)
    group_of_truth[counted] = resampling.groups(cells)
    matches = match_objects(objects, truth, settings.criteria)
    rows = detection_rows(
        objects, truth, matches, (group, group_of_truth), resampling, settings.min_snr, counted
    )
    rows += photometry_rows(objects, truth, matches, group, resampling)
    samples = _samples(objects, truth, counted & (truth.snr >= settings.min_snr))
    rows += clustering_rows(
        samples, tract.coverage, settings.nside, resampling, settings.randoms, settings.seed
    )
    if tract.dia_sources is not None:
        rows += residual_rows(
            objects, matches, tract.dia_sources, group, resampling, settings.residual_radius
        )
    counts = {
        "objects": len(every),
        "not_covered": len(every) - len(objects),
        "not_scored": int(np.count_nonzero(~objects.scored)),
        "without_kron": int(np.count_nonzero(~objects.is_kron)),
        "matched": int(np.count_nonzero(matches.source_of >= 0)),
        "true_sources": int(np.count_nonzero(counted)),
        "asked_for": len(samples["truth"][0]),
        "sky_cells": len(resampling.keys),
    }
    return rows, counts


def _samples(
    objects: CatalogObjects, truth: TrueSources, asked: NDArray[np.bool_]
) -> dict[str, tuple[F64, F64]]:
    """Return the positions that are counted: of objects by treatment, and of true sources."""
    left = {name: ~objects.dropped[name] for name in TREATMENTS}
    samples = {name: (objects.ra[keep], objects.dec[keep]) for name, keep in left.items()}
    return samples | {"truth": (truth.ra[asked], truth.dec[asked])}
