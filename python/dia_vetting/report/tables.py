"""What a report is made of, before anything is left out: the tables of a run, as the butler gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from astropy.table import Table

__all__ = ["PageLimits", "RunTables"]


@dataclasses.dataclass(frozen=True)
class RunTables:
    """Tables of a run, each of all visits and detectors or tracts; `None` for what the collection lacks.

    Parameters
    ----------
    instrument, collection, repo : `str`
        Where they are from.
    scores : `astropy.table.Table`
        `~dia_vetting.reliability.schemas.DIA_SOURCE_VETTING`: the sources that the page is about.
    visits : `astropy.table.Table`
        ``visit`` (int64), ``mjd`` (middle of the exposure, TAI, days), ``day_obs`` (int64, yyyymmdd) and
        ``band``.
    measurements : `astropy.table.Table`, optional
        ``diaSourceId``, ``psfFlux``, ``psfFluxErr`` (nJy) and ``valid_fraction``, of the cutouts.
    labels : `astropy.table.Table`, optional
        `~dia_vetting.reliability.schemas.DIA_SOURCE_LABEL`.
    blends : `astropy.table.Table`, optional
        `~dia_vetting.blends.schemas.DIA_SOURCE_BLEND`.
    truth : `astropy.table.Table`, optional
        `~dia_vetting.reliability.schemas.RELIABILITY_TRUTH`.
    embedding : `astropy.table.Table`, optional
        `~dia_vetting.reliability.schemas.RELIABILITY_EMBEDDING`.
    associations : `astropy.table.Table`, optional
        ``diaSourceId`` and ``diaObjectId``.
    objects : `astropy.table.Table`, optional
        ``diaObjectId``, ``ra``, ``dec`` (deg).
    forced : `astropy.table.Table`, optional
        `~dia_vetting.embedded.source_schemas.DIA_OBJECT_FORCED_SOURCE`.
    verdicts : `astropy.table.Table`, optional
        ``diaObjectId``, ``verdict`` and whatever else is said of an object.
    hosts : `astropy.table.Table`, optional
        ``host_id``, ``host_ra``, ``host_dec`` (deg), ``host_mag``.
    curves : `astropy.table.Table`, optional
        `~dia_vetting.reliability.schemas.RELIABILITY_CURVE`.
    metrics : `~collections.abc.Mapping`
        ``reliability_metrics`` by the prefix of the model; may be empty.
    injection : `~collections.abc.Mapping`, optional
        ``injection_metrics``.
    missing : `tuple` [`str`]
        Dataset types that were looked for and are not there.
    """

    instrument: str
    collection: str
    repo: str
    scores: Table
    visits: Table
    measurements: Table | None = None
    labels: Table | None = None
    blends: Table | None = None
    truth: Table | None = None
    embedding: Table | None = None
    associations: Table | None = None
    objects: Table | None = None
    forced: Table | None = None
    verdicts: Table | None = None
    hosts: Table | None = None
    curves: Table | None = None
    metrics: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    injection: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PageLimits:
    """How much goes onto a page; what is left out is said there.

    Parameters
    ----------
    sources : `int`
        DIA sources: where there are more, whole objects are drawn at random.
    stamps : `int`
        Triplets of stamps: half of them for the objects with the best scores, the others drawn at random.
    forced : `int`
        Points of forced photometry: those of the objects with the best scores.
    gallery : `int`
        Stamps in each gallery.
    seed : `int`
        Seed of the draws.
    """

    sources: int = 200_000
    stamps: int = 20_000
    forced: int = 400_000
    gallery: int = 48
    seed: int = 0
