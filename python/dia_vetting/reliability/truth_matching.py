"""What each DIA source of a simulation really is: a class of truth, and for artefacts the cause.

Only evaluate* tasks may use this: no label, training or score may depend on it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .matching import find_pairs, flux_consistent, nearest

__all__ = [
    "REAL",
    "TRANSIENT",
    "Truth",
    "TruthClasses",
    "TruthCriteria",
    "classify_sources",
    "defect_causes",
    "flag_causes",
    "match_true_sources",
    "static_causes",
]

type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]
type Strings = NDArray[np.str_]

REAL = ("injected", "hidden", "variable", "moving")
"""Classes of truth that are astrophysical."""

TRANSIENT = ("injected", "hidden")
"""Classes of truth that are transients."""

_SIGNIFICANT = 5.0
_TEMPLATE_FLAGS = ("nodata_template", "bad_template", "saturated_template")
_PIXEL_FLAGS = ("saturated", "interpolated", "bad", "cr", "nodata", "streak")


@dataclasses.dataclass(frozen=True)
class TruthCriteria:
    """When a DIA source is put down to a true source, a defect or a static object.

    Parameters
    ----------
    radius : `float`
        Largest distance to a true source, pixel; half the length of its trail is added.
    n_sigma, fraction : `float`
        See `.matching.flux_consistent`. Loose: it need not be the best measurement to be real.
    box_margin : `float`
        Pixels by which the box of a defect is grown.
    strong_peak : `float`
        A defect with pixels above this many sigma of the sky explains a source before static objects do.
    bright_star_mag : `float`
        Stars brighter than this leave residuals far from their centre, AB mag.
    bright_star_radius, star_radius, galaxy_radius : `float`
        Reach of static objects, arcsec; that of a galaxy is at least twice its half-light radius.
    """

    radius: float = 2.5
    n_sigma: float = 5.0
    fraction: float = 0.5
    box_margin: float = 2.0
    strong_peak: float = 3.0
    bright_star_mag: float = 18.0
    bright_star_radius: float = 6.0
    star_radius: float = 1.5
    galaxy_radius: float = 1.5


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a simulation knows about one image.

    Parameters
    ----------
    sources : `astropy.table.Table`
        `~dia_vetting.embedded.schemas.SIM_TRUTH_SOURCE`.
    artefacts : `astropy.table.Table`
        `~dia_vetting.embedded.schemas.SIM_TRUTH_ARTEFACT`.
    objects : `astropy.table.Table`
        `~dia_vetting.embedded.schemas.SIM_TRUTH_OBJECT`, of the tract or of any part that holds the image.
    """

    sources: Table
    artefacts: Table
    objects: Table


@dataclasses.dataclass(frozen=True)
class TruthClasses:
    """Truth of N DIA sources.

    Parameters
    ----------
    truth_class : `numpy.ndarray`, (N,), str
        One of `REAL`, artefact, or ambiguous: beside an injection, and nothing else explains it.
    cause : `numpy.ndarray`, (N,), str
        Cause of an artefact: that of the simulated defect, or bright_star, star, galaxy, template_defect,
        edge, masked_pixels, noise. Empty for others.
    truth_id : `numpy.ndarray`, (N,), int64
        injection_id or truth_id of a real source; 0 for others.
    """

    truth_class: Strings
    cause: Strings
    truth_id: I64


def classify_sources(
    sources: Table, labels: Table, truth: Truth, criteria: TruthCriteria | None = None
) -> TruthClasses:
    """Tell what each DIA source is.

    The first that applies: a matched injection; a hidden, variable or moving source at the place with a
    flux of the sign and size; a strong defect; ambiguous (near an injection); a static object; a weak
    defect; pixel flags; noise.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N rows of `dia_source_detector`: ``ra``, ``dec``, ``x``, ``y``, ``psfFlux``, ``psfFluxErr`` and
        whatever ``pixelFlags_*`` there are.
    labels : `astropy.table.Table`
        Their rows of `dia_source_label`, in the same order, which say what was matched to an injection.
    truth : `Truth`
        What the simulation knows.
    criteria : `TruthCriteria`, optional
        Limits.

    Returns
    -------
    classes : `TruthClasses`
        One per row.
    """
    criteria = criteria or TruthCriteria()
    injection, near = (
        np.asarray(labels[name], dtype=np.int64) for name in ("injection_id", "nearest_injection_id")
    )
    injected = injection != 0
    real = match_true_sources(sources, truth.sources, criteria)
    kinds = np.append(np.asarray(truth.sources["kind"], dtype=str), "")[real]
    strong, weak = defect_causes(sources, truth.artefacts, criteria)
    ambiguous = (near != 0) & (strong == "")
    truth_class = np.select([injected, real >= 0, ambiguous], ["injected", kinds, "ambiguous"], "artefact")
    static = static_causes(sources, truth.objects, criteria)
    candidates = [strong, static, weak, flag_causes(sources)]
    cause = np.select([c != "" for c in candidates], candidates, "noise")
    truth_id = np.append(np.asarray(truth.sources["truth_id"], dtype=np.int64), 0)[real]
    ids = np.where(injected, injection, truth_id)
    return TruthClasses(truth_class, np.where(truth_class == "artefact", cause, ""), ids)


def _pixels(table: Table) -> NDArray[np.float64]:
    return np.stack([np.asarray(table[axis], dtype=float) for axis in "xy"], axis=-1)


def match_true_sources(sources: Table, truth: Table, criteria: TruthCriteria) -> I64:
    """Find the nearest true source of consistent flux for each DIA source.

    Several DIA sources may share one: pieces of a trail are real, each of them. The flux of a piece of a
    trail may be any part of the whole.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N DIA sources.
    truth : `astropy.table.Table`
        `~dia_vetting.embedded.schemas.SIM_TRUTH_SOURCE`.
    criteria : `TruthCriteria`
        Limits.

    Returns
    -------
    index : `numpy.ndarray`, (N,), int64
        Row of ``truth``; -1 if none.
    """
    result = np.full(len(sources), -1, dtype=np.int64)
    if not len(sources) or not len(truth):
        return result
    trail = np.asarray(truth["trail_length"], dtype=float)
    reach = criteria.radius + 0.5 * trail
    here = np.isfinite(_pixels(sources)).all(axis=1)
    position = np.where(here[:, None], _pixels(sources), -1e9)
    found = cKDTree(position).sparse_distance_matrix(
        cKDTree(_pixels(truth)), float(reach.max()), output_type="ndarray"
    )
    order = np.lexsort((found["j"], found["i"], found["v"]))
    one, two, distance = (found[name][order] for name in "ijv")
    flux, error = (np.asarray(sources[c], dtype=float)[one] for c in ("psfFlux", "psfFluxErr"))
    true_flux = np.asarray(truth["flux"], dtype=float)[two]
    agree = flux_consistent(flux, error, true_flux, criteria.n_sigma, criteria.fraction)
    piece = (trail[two] > criteria.radius) & (flux * true_flux > 0) & (np.abs(flux) < np.abs(true_flux))
    good = (distance <= reach[two]) & (agree | piece)
    pair = nearest(one[good], len(sources))
    return np.where(pair >= 0, np.append(two[good], -1)[pair], -1)


def defect_causes(sources: Table, artefacts: Table, criteria: TruthCriteria) -> tuple[Strings, Strings]:
    """Find the cause of the highest defect whose box holds each source, strong and weak ones apart.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N DIA sources.
    artefacts : `astropy.table.Table`
        `~dia_vetting.embedded.schemas.SIM_TRUTH_ARTEFACT`.
    criteria : `TruthCriteria`
        Limits.

    Returns
    -------
    strong, weak : `numpy.ndarray`, (N,), str
        Empty where there is none.
    """
    if not len(artefacts):
        return np.full(len(sources), ""), np.full(len(sources), "")
    x, y = _pixels(sources).T[:, :, None]
    low_x, high_x, low_y, high_y = (
        np.asarray(artefacts[name], dtype=float) for name in ("x_min", "x_max", "y_min", "y_max")
    )
    margin = criteria.box_margin
    inside = (x >= low_x - margin) & (x <= high_x + margin) & (y >= low_y - margin) & (y <= high_y + margin)
    peak = np.nan_to_num(np.asarray(artefacts["peak"], dtype=float))
    best = np.where(inside, peak, -1.0).argmax(axis=1)
    cause = np.where(inside.any(axis=1), np.asarray(artefacts["cause"], dtype=str)[best], "")
    strong = peak[best] >= criteria.strong_peak
    return np.where(strong, cause, ""), np.where(strong, "", cause)


def static_causes(sources: Table, objects: Table, criteria: TruthCriteria) -> Strings:
    """Tell which sources are within reach of a static object.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N DIA sources.
    objects : `astropy.table.Table`
        `~dia_vetting.embedded.schemas.SIM_TRUTH_OBJECT`.
    criteria : `TruthCriteria`
        Limits.

    Returns
    -------
    causes : `numpy.ndarray`, (N,), str
        bright_star, star or galaxy, the first that applies; empty for others.
    """
    if not len(objects):
        return np.full(len(sources), "", dtype="U11")
    star = np.asarray(objects["kind"]) == "star"
    bright = star & (np.asarray(objects["mag"], dtype=float) < criteria.bright_star_mag)
    reach = np.select(
        [bright, star],
        [criteria.bright_star_radius, criteria.star_radius],
        np.maximum(criteria.galaxy_radius, 2.0 * np.asarray(objects["half_light_radius"], dtype=float)),
    )
    sky = [(table["ra"], table["dec"]) for table in (sources, objects)]
    pairs = find_pairs(sky[0], sky[1], float(reach.max()))
    pairs = pairs.where(pairs.distance <= reach[pairs.second])

    def beside(objects_of_kind: Bool) -> Bool:
        return np.isin(np.arange(len(sources)), pairs.first[objects_of_kind[pairs.second]])

    return np.select([beside(bright), beside(star), beside(~star)], ["bright_star", "star", "galaxy"], "")


def flag_causes(sources: Table) -> Strings:
    """Tell what pixel flags and template flux say of sources that nothing else explains.

    A negative source where the template has a significant flux and the truth no object is a defect of the
    template: an unmasked cosmic ray in one of its exposures, for example.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N DIA sources; columns that they do not have say nothing.

    Returns
    -------
    causes : `numpy.ndarray`, (N,), str
        template_defect, edge or masked_pixels, the first that applies; empty for others.
    """

    def flagged(*names: str) -> Bool:
        columns = [f"pixelFlags_{name}" for name in names if f"pixelFlags_{name}" in sources.colnames]
        values = [np.asarray(sources[column], dtype=bool) for column in columns]
        return np.logical_or.reduce(values) if values else np.zeros(len(sources), dtype=bool)

    template = flagged(*_TEMPLATE_FLAGS) | _excess_in_template(sources)
    causes = ["template_defect", "edge", "masked_pixels"]
    return np.select([template, flagged("edge"), flagged(*_PIXEL_FLAGS)], causes, "")


def _excess_in_template(sources: Table) -> Bool:
    if "templateFlux" not in sources.colnames or "templateFluxErr" not in sources.colnames:
        return np.zeros(len(sources), dtype=bool)
    flux, error = (np.asarray(sources[name], dtype=float) for name in ("templateFlux", "templateFluxErr"))
    with np.errstate(invalid="ignore"):
        return np.asarray((np.asarray(sources["psfFlux"], dtype=float) < 0) & (flux > _SIGNIFICANT * error))
