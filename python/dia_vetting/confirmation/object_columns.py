"""Everything that is measured of each object, column by column, before any verdict."""

from __future__ import annotations

__all__ = ["ContextSettings", "ObjectInputs", "SourceFacts", "object_columns", "source_facts"]

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..embedded.source_schemas import BANDS
from .combination import CORRELATION, LARGEST_LOG_RATIO, combine_scores
from .context import Galaxies, Stars, find_hosts, find_stars
from .evidence import light_curve_evidence
from .grouping import first_of_each, group_max, group_mean, group_median, group_sum, positions
from .light_curves import LightCurves, Sources, assemble, read_sources
from .motion import measure_motion, position_errors

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Columns = dict[str, NDArray[Any]]

_SIGNIFICANT = 3.0  # a detection with a smaller flux over its error has no sign


@dataclasses.dataclass(frozen=True)
class ContextSettings:
    """How to look at objects.

    Parameters
    ----------
    prevalence : `float`
        At which the scores are probabilities.
    correlation : `float`
        See `~.combination.combine_scores`.
    psf_fwhm : `float`
        Typical FWHM of the PSF, arcsec, of the errors of positions.
    host_reach, host_radii : `float`
        Largest distance of a host, arcsec and in its radii.
    star_reach : `float`
        Largest distance of a star, arcsec.
    longitude : `float`
        Of the site, deg east: nights of visits that are not known.
    """

    prevalence: float = 0.03
    correlation: float = CORRELATION
    psf_fwhm: float = 0.8
    host_reach: float = 15.0
    host_radii: float = 5.0
    star_reach: float = 10.0
    longitude: float = -70.75


@dataclasses.dataclass(frozen=True)
class ObjectInputs:
    """What is known of the objects of a tract.

    Parameters
    ----------
    objects, sources : `astropy.table.Table`
        ``dia_object`` and ``dia_source``.
    scores, blends, forced : `astropy.table.Table` or `None`
        Rows of ``dia_source_vetting`` and ``dia_source_blend`` of any images, ``dia_object_forced_source``.
    nights : `~collections.abc.Mapping`
        day_obs of visits.
    galaxies, stars
        What is near; `None` if there is no such table.
    """

    objects: Table
    sources: Table
    scores: Table | None = None
    blends: Table | None = None
    forced: Table | None = None
    nights: Mapping[int, int] = dataclasses.field(default_factory=dict)
    galaxies: Galaxies | None = None
    stars: Stars | None = None


@dataclasses.dataclass(frozen=True)
class SourceFacts:
    """What was said of S sources; arrays of length S, NaN where nothing was.

    Parameters
    ----------
    reliability, ood, p_blend, trail_length, extendedness, dipole
        float64.
    glint
        Bool.
    """

    reliability: F64
    ood: F64
    p_blend: F64
    trail_length: F64
    extendedness: F64
    dipole: F64
    glint: NDArray[np.bool_]


def source_facts(inputs: ObjectInputs, sources: Sources) -> SourceFacts:
    """Join scores, blend flags and shapes to the sources by id."""

    def own(name: str) -> F64:
        table = inputs.sources
        if name not in table.colnames:
            return np.full(len(sources.row), np.nan)
        return np.asarray(table[name], np.float64)[sources.row]

    return SourceFacts(
        _joined(inputs.scores, "reliability", sources.source_id),
        _joined(inputs.scores, "ood", sources.source_id),
        _joined(inputs.blends, "p_blend", sources.source_id),
        own("trailLength"),
        own("extendedness"),
        own("isDipole"),
        _joined(inputs.scores, "glint_trail", sources.source_id) > 0,
    )


def _joined(table: Table | None, name: str, wanted: I64) -> F64:
    """Return a column of the rows with these ids, the first of each; NaN where there is none."""
    if table is None or not len(table) or name not in table.colnames:
        return np.full(len(wanted), np.nan)
    ids = np.asarray(table["diaSourceId"], np.int64)
    rows = np.flatnonzero(first_of_each(ids))
    values = np.asarray(np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan))[rows]
    return np.append(values, np.nan)[positions(wanted, ids[rows])]


def object_columns(inputs: ObjectInputs, settings: ContextSettings) -> tuple[Columns, LightCurves]:
    """Measure all objects.

    Parameters
    ----------
    inputs : `ObjectInputs`
        Of a tract.
    settings : `ContextSettings`
        How.

    Returns
    -------
    columns : `dict` [`str`, `numpy.ndarray`], (N,)
        Of each distinct object, in the order of their ids: the columns of ``dia_object_verdict`` but those of
        the verdict, and some that only features and flags are made of (small first letters:
        ``logRatio``, ``medianRatio``, ``extendedFraction``, ``glintFraction``, ``duplicated``,
        ``nightEstimated``).
    curves : `~.light_curves.LightCurves`
        Their points.
    """
    ids, first, duplicated = _distinct(np.asarray(inputs.objects["diaObjectId"], np.int64))
    sources = read_sources(inputs.sources, ids)
    curves = assemble(ids, sources, inputs.forced)
    facts = source_facts(inputs, sources)
    ra, dec = (np.asarray(inputs.objects[name], np.float64)[first] for name in ("ra", "dec"))
    columns: Columns = {"diaObjectId": ids, "ra": ra, "dec": dec}
    columns["duplicated"] = duplicated | sources.has_duplicate | (curves.left_out["duplicate"] > 0)
    columns |= _identity(sources, len(ids))
    columns |= _counts(sources, curves, inputs.nights, settings.longitude)
    columns |= _scores(facts, sources.owner, len(ids), settings)
    columns |= _light_curve(curves, sources)
    columns |= _motion(facts, sources, len(ids), settings)
    return columns | _context(ra, dec, inputs, settings), curves


def _distinct(ids: I64) -> tuple[I64, I64, NDArray[np.bool_]]:
    """Return the distinct ids in order, the first row of each, and which were there twice."""
    distinct, first, counts = np.unique(ids, return_index=True, return_counts=True)
    return distinct, first, counts > 1


def _identity(sources: Sources, count: int) -> Columns:
    time, snr = sources.values["midpointMjdTai"], np.nan_to_num(sources.values["snr"], nan=-1.0)
    known = np.isfinite(time)
    best = np.full(count, -1)
    order = np.lexsort((-sources.source_id, snr, sources.owner))
    best[sources.owner[order]] = order
    return {
        "nDiaSources": np.bincount(sources.owner, minlength=count),
        "firstDiaSourceMjdTai": -group_max(-time[known], sources.owner[known], count),
        "lastDiaSourceMjdTai": group_max(time[known], sources.owner[known], count),
        "bestDiaSourceId": np.append(sources.source_id, 0)[best],
        "maxSnr": np.append(sources.values["snr"], np.nan)[best],
    }


def _counts(sources: Sources, curves: LightCurves, nights: Mapping[int, int], longitude: float) -> Columns:
    count = curves.n_objects
    band_names = np.array([*curves.bands, *sorted(set(sources.band.tolist()) - set(curves.bands))], dtype=str)
    point_night, guessed = _nights(curves.visit, curves.mjd, nights, longitude)
    source_night, also = _nights(sources.visit, sources.values["midpointMjdTai"], nights, longitude)
    detection_band = np.array([{n: i for i, n in enumerate(band_names)}[b] for b in sources.band], np.int64)
    estimated = np.zeros(count, bool)
    estimated[curves.owner[guessed]] = True
    estimated[sources.owner[also]] = True
    left_out = sum(curves.left_out.values(), np.zeros(count, np.int64))
    columns: Columns = {
        "nightEstimated": estimated,
        "nanFlux": curves.left_out["nan"] > 0,
        "badPixels": curves.left_out["bad_pixels"] > 0,
        "nEpochs": np.bincount(curves.owner, minlength=count),
        "nDetections": _n_distinct(sources.owner, sources.visit, count),
        "nNonDetections": group_sum(curves.forced & ~curves.detected, curves.owner, count),
        "nForced": group_sum(curves.forced, curves.owner, count),
        "nLeftOut": left_out,
        "nNights": _n_distinct(curves.owner, point_night, count),
        "nNightsDetected": _n_distinct(sources.owner, source_night, count),
        "nBands": _n_distinct(curves.owner, curves.band, count),
        "nBandsDetected": _n_distinct(sources.owner, detection_band, count),
        "lastVisitMjdTai": group_max(curves.mjd, curves.owner, count),
    }
    for band in BANDS:
        of_points = np.isin(curves.band, [i for i, name in enumerate(curves.bands) if name == band])
        columns[f"{band}_nEpochs"] = group_sum(of_points, curves.owner, count)
        columns[f"{band}_nDetections"] = group_sum(sources.band == band, sources.owner, count)
    return columns


def _nights(
    visit: I64, mjd: F64, nights: Mapping[int, int], longitude: float
) -> tuple[I64, NDArray[np.bool_]]:
    """Return day_obs of each row, and where it was made of the time: the day that began at local noon."""
    known = np.array(sorted(nights), np.int64)
    at = positions(visit, known)
    value = np.append(np.array([nights[int(v)] for v in known], np.int64), 0)[at]
    local = np.floor(np.nan_to_num(mjd) + longitude / 360.0 - 0.5).astype(np.int64)
    # Estimated nights are numbers of their own, below any day_obs (yyyymmdd).
    return np.where(at >= 0, value, local), at < 0


def _n_distinct(owner: I64, value: I64, count: int) -> I64:
    pairs = np.unique(np.stack([owner, value], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=count)


def _scores(facts: SourceFacts, owner: I64, count: int, settings: ContextSettings) -> Columns:
    combined = combine_scores(facts.reliability, owner, count, settings.prevalence, settings.correlation)

    def median(values: F64) -> F64:
        known = np.isfinite(values)
        return group_median(values[known], owner[known], count)

    prior = np.log(settings.prevalence / (1.0 - settings.prevalence))
    with np.errstate(divide="ignore"):
        ratio = np.log(combined.median) - np.log1p(-combined.median) - prior
    return {
        "nScored": combined.n_scored,
        "nEffective": combined.n_effective,
        "combinedReliability": combined.probability,
        "reliabilityMax": combined.highest,
        "reliabilityMedian": combined.median,
        "oodMedian": median(facts.ood),
        "pBlendMedian": median(facts.p_blend),
        "logRatio": combined.log_ratio,
        "medianRatio": np.clip(np.nan_to_num(ratio), -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO),
        "glintFraction": group_mean(facts.glint, owner, count),
    }


def _light_curve(curves: LightCurves, sources: Sources) -> Columns:
    evidence = light_curve_evidence(curves)
    flux, err = sources.values["psfFlux"], sources.values["psfFluxErr"]
    with np.errstate(invalid="ignore"):
        significance = np.where(err > 0, flux / err, 0.0)
    return {
        "lightCurveSnr": evidence.snr,
        "chi2Constant": evidence.chi2_constant,
        "dofConstant": evidence.dof_constant,
        "chi2Transient": evidence.chi2_transient,
        "dofTransient": evidence.dof_transient,
        "peakMjdTai": evidence.peak,
        "riseTime": evidence.rise,
        "declineTime": evidence.decline,
        "lnTransient": evidence.transient,
        "lnVariable": evidence.variable,
        "lnConstant": evidence.constant,
        "lnOutliers": evidence.outliers,
        "nPositive": group_sum(significance > _SIGNIFICANT, sources.owner, curves.n_objects),
        "nNegative": group_sum(significance < -_SIGNIFICANT, sources.owner, curves.n_objects),
    }


def _motion(facts: SourceFacts, sources: Sources, count: int, settings: ContextSettings) -> Columns:
    v = sources.values
    errors = position_errors(v["snr"], settings.psf_fwhm)
    motion = measure_motion(
        sources.owner, count, (v["ra"], v["dec"]), (v["x"], v["y"]), v["midpointMjdTai"], errors
    )

    def known(values: F64) -> tuple[F64, I64, int]:
        finite = np.isfinite(values)
        return values[finite], sources.owner[finite], count

    return {
        "positionScatter": motion.scatter,
        "chi2Position": motion.chi2,
        "dofPosition": motion.dof,
        "motionRate": motion.rate,
        "motionSignificance": motion.significance,
        "pixelScatter": motion.pixel_scatter,
        "trailLengthMedian": group_median(*known(facts.trail_length)),
        "dipoleFraction": group_mean(*known(facts.dipole)),
        "extendedFraction": group_mean(*known(facts.extendedness)),
    }


def _context(ra: F64, dec: F64, inputs: ObjectInputs, settings: ContextSettings) -> Columns:
    galaxies = inputs.galaxies or Galaxies.none()
    hosts = find_hosts(ra, dec, galaxies, settings.host_reach, settings.host_radii)
    stars = find_stars(ra, dec, inputs.stars or Stars.none(), settings.star_reach)
    placed = np.isfinite(ra) & np.isfinite(dec)
    return {
        "hostObjectId": hosts.object_id,
        "hostOffset": hosts.offset,
        "hostOffsetRadii": hosts.offset_radii,
        "hostMag": hosts.magnitude,
        "hostless": (hosts.object_id == 0) & placed & (inputs.galaxies is not None),
        "starId": stars.star_id,
        "starOffset": stars.offset,
        "starMag": stars.magnitude,
    }
