"""What became of each injection: expected signal-to-noise ratio, and the DIA source that recovered it."""

from __future__ import annotations

__all__ = ["Difference", "expected_snr", "injection_outcomes", "mark_blank"]

import dataclasses

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..magnitudes import ab_magnitude
from ..masks import UNUSABLE_BITS, MaskBit
from ..planes import Planes, cutouts
from ..psf import PolynomialPsf
from ..reliability.matching import unit_vectors
from .host_columns import host_columns
from .host_geometry import project
from .schemas import INJECTION_OUTCOME

type F64 = NDArray[np.float64]

_UNCLEAN_BITS = UNUSABLE_BITS | (
    MaskBit.INTRP
    | MaskBit.EDGE
    | MaskBit.STREAK
    | MaskBit.SAT_TEMPLATE
    | MaskBit.BAD_TEMPLATE
    | MaskBit.NO_DATA_TEMPLATE
)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference image as it is needed here.

    Parameters
    ----------
    planes : `~dia_vetting.planes.Planes`
        Pixels.
    psf : `~dia_vetting.psf.PolynomialPsf`
        In the frame of the array.
    x0, y0 : `int`
        Parent-frame position of the first pixel.
    """

    planes: Planes
    psf: PolynomialPsf
    x0: int
    y0: int


def expected_snr(difference: Difference, x: F64, y: F64, flux: F64, gain: F64) -> F64:
    """Return the signal-to-noise ratio that point sources should have on a difference image.

    The error of a PSF flux with equal weights is ``sqrt(sum P^2 V) / sum P^2``. The photon noise of the
    source itself, flux P / gain, is taken out of V: what is left says how hard it is to detect.

    Parameters
    ----------
    difference : `Difference`
        Image with the sources in it.
    x, y : `numpy.ndarray`, (N,), float64
        Parent-frame positions.
    flux : `numpy.ndarray`, (N,), float64
        True fluxes, nJy, of either sign.
    gain : `numpy.ndarray`, (N,), float64
        Electrons per nJy; infinite if the variance does not hold the sources' noise.

    Returns
    -------
    snr : `numpy.ndarray`, (N,), float64
        NaN where no pixel of the stamp has a variance.
    """
    if not len(x):
        return np.empty(0)
    unit, x_first, y_first = difference.psf.stellar_images(x - difference.x0, y - difference.y0)
    variance = cutouts(difference.planes.variance, x_first, y_first, unit.shape[1]).astype(np.float64)
    good = np.isfinite(variance) & (variance > 0)
    flux = np.abs(flux)  # that of a faded source is negative, and its photons are in the template
    own = flux[:, None, None] * np.maximum(unit, 0.0) / gain[:, None, None]
    # Own noise can exceed the plane where that was smoothed; a tenth of the plane is surely sky.
    background = np.maximum(variance - own, 0.1 * variance)
    power = np.where(good, unit**2, 0.0)
    total = power.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(np.where(good, power * background, 0.0).sum(axis=(1, 2))) / total
        return np.where(total > 0, flux / error, np.nan)


def injection_outcomes(
    injected: Table,
    labels: Table,
    dia_sources: Table,
    missed: Table,
    transients: Table,
    difference: Difference,
    visit: int,
    detector: int,
) -> Table:
    """Follow the injections of one detector image to the DIA sources.

    Parameters
    ----------
    injected : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTED_CATALOG`. Rows that were not injected, or whose centre is
        off the image, are left out.
    labels, dia_sources, missed : `astropy.table.Table`
        In the schemas of ``dia_source_label``, ``dia_source_detector`` and ``missed_injection``.
    transients : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`, for the hosts; those that are not in it have
        hosts of which nothing but the magnitude is known.
    difference : `Difference`
        The image.
    visit, detector : `int`
        Which one.

    Returns
    -------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`; ``blank`` is not known yet.
    """
    x, y = (np.asarray(injected[name], float) for name in "xy")
    rows = injected[(np.asarray(injected["injection_flag"]) == 0) & _on_image(difference, x, y)]
    x, y, flux = (np.asarray(rows[name], float) for name in ("x", "y", "flux"))
    gain = np.asarray(rows["gain"], float) if "gain" in rows.colnames else np.full(len(rows), np.inf)
    found = _sources_by_injection(np.asarray(rows["injection_id"]), labels, dia_sources)
    have = found >= 0
    sources = dia_sources[found[have]]
    ra, dec = np.asarray(rows["ra"], float), np.asarray(rows["dec"], float)
    offsets = np.full((2, len(rows)), np.nan)
    if have.any():
        offsets[:, have] = project(sources["ra"], sources["dec"], ra[have], dec[have])
    names = ("snr", "psfFlux", "psfFluxErr", "staticFluxErr")
    values = {name: np.full(len(rows), np.nan) for name in names}
    for name, column in values.items():
        if name in sources.colnames:
            column[have] = np.asarray(sources[name], float)
    source_id = np.zeros(len(rows), np.int64)
    source_id[have] = np.asarray(sources["diaSourceId"])
    return INJECTION_OUTCOME.build(
        {
            **{name: rows[name] for name in ("injection_id", "band", "ra", "dec", "host_id")},
            **{"x": x, "y": y, "flux": flux, "mag": ab_magnitude(np.abs(flux))},
            **host_columns(rows, transients),
            **values,
            "visit": np.full(len(rows), visit),
            "detector": np.full(len(rows), detector),
            "expected_snr": expected_snr(difference, x, y, flux, gain),
            "clean": _clean(difference, x, y),
            "blank": np.zeros(len(rows), bool),
            "recovered": have,
            "reason": _reasons(np.asarray(rows["injection_id"]), missed, have),
            "diaSourceId": source_id,
            "offset_east": offsets[0],
            "offset_north": offsets[1],
        }
    )


def _on_image(difference: Difference, x: F64, y: F64) -> NDArray[np.bool_]:
    ny, nx = difference.planes.shape
    inside = (x >= difference.x0 - 0.5) & (x < difference.x0 + nx - 0.5)
    return np.asarray(inside & (y >= difference.y0 - 0.5) & (y < difference.y0 + ny - 0.5))


def _sources_by_injection(ids: NDArray[np.int64], labels: Table, dia_sources: Table) -> NDArray[np.int64]:
    """Return the row in ``dia_sources`` of each injection's DIA source; -1 if it has none."""
    mine = labels[np.asarray(labels["state"]).astype(str) == "injected"]
    row_of_source = {int(key): row for row, key in enumerate(dia_sources["diaSourceId"])}
    source = {
        int(injection): row_of_source[int(key)]
        for injection, key in zip(mine["injection_id"], mine["diaSourceId"], strict=True)
    }
    return np.array([source.get(int(key), -1) for key in ids], dtype=np.int64)


def _reasons(ids: NDArray[np.int64], missed: Table, recovered: NDArray[np.bool_]) -> NDArray[np.str_]:
    why = dict(zip(np.asarray(missed["injection_id"]).tolist(), missed["reason"], strict=True))
    reasons = [
        "" if ok else str(why.get(key, "undetected")) for key, ok in zip(ids.tolist(), recovered, strict=True)
    ]
    return np.array(reasons, dtype=str)


def _clean(difference: Difference, x: F64, y: F64) -> NDArray[np.bool_]:
    x_first = np.rint(x).astype(np.int64) - difference.x0 - 1
    y_first = np.rint(y).astype(np.int64) - difference.y0 - 1
    core = cutouts(difference.planes.mask, x_first, y_first, 3, fill=int(MaskBit.NO_DATA))
    return np.asarray((core & np.uint32(_UNCLEAN_BITS)).max(axis=(1, 2), initial=0) == 0)


def mark_blank(outcomes: Table, object_ra: F64, object_dec: F64, radius: float) -> Table:
    """Fill in which injections are on blank sky.

    Parameters
    ----------
    outcomes : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`; changed in place.
    object_ra, object_dec : `numpy.ndarray`, (M,), float64
        Positions of all known static objects, degrees; may be empty.
    radius : `float`
        An injection with an object, or another injection of its visit, closer than this is not on blank sky,
        arcsec.

    Returns
    -------
    outcomes : `astropy.table.Table`
        The same table.
    """
    ra, dec = np.asarray(outcomes["ra"], float), np.asarray(outcomes["dec"], float)
    blank = np.asarray(outcomes["clean"], bool) & (np.asarray(outcomes["host_id"]) == 0)
    chord = 2.0 * np.sin(0.5 * np.deg2rad(radius / 3600.0))
    points = unit_vectors(ra, dec)
    if len(object_ra) and len(ra):
        blank &= cKDTree(unit_vectors(object_ra, object_dec)).query(points)[0] > chord
    for visit in np.unique(np.asarray(outcomes["visit"])):
        rows = np.flatnonzero(np.asarray(outcomes["visit"]) == visit)
        if len(rows) > 1:
            blank[rows] &= cKDTree(points[rows]).query(points[rows], k=2)[0][:, 1] > chord
    outcomes["blank"] = blank
    return outcomes
