"""Objects with what was said of their blending, from the tables ``object`` and ``object_blend``."""

from __future__ import annotations

__all__ = ["CatalogObjects", "blank_flux_err", "pixel_scale", "psf_sigma", "read_objects"]

import dataclasses
from collections.abc import Sequence

import astropy.units as u
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ...injection.object_table import read_column, read_flag, read_id
from ...reliability.matching import unit_vectors
from ...tables import stack_tables
from ..flags import unscored
from ..schemas import OBJECT_BLEND
from .rows import flags_of

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class CatalogObjects:
    """N primary objects.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,), float64
        ICRS, degrees.
    flux, flux_err : `numpy.ndarray`, (N,), float64
        Kron flux in the band, or the PSF flux where that is flagged or not positive, nJy.
    snr : `numpy.ndarray`, (N,), float64
        PSF flux over its error.
    is_kron : `numpy.ndarray`, (N,), bool
        Whether ``flux`` is the Kron flux.
    dropped : `dict` [`str`, `numpy.ndarray`]
        By treatment, which objects it drops, (N,), bool.
    scored : `numpy.ndarray`, (N,), bool
        Whether ``object_blend`` has a score of the object in the band. One without is dropped by none.
    """

    ra: F64
    dec: F64
    flux: F64
    flux_err: F64
    snr: F64
    is_kron: Bool
    dropped: dict[str, Bool]
    scored: Bool

    def __len__(self) -> int:
        return len(self.ra)

    @property
    def magnitude(self) -> F64:
        """AB magnitudes, (N,); NaN where the flux is not positive."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.flux > 0, 31.4 - 2.5 * np.log10(self.flux), np.nan)

    def where(self, keep: Bool) -> CatalogObjects:
        """Return some of the objects, in their order."""
        parts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        dropped = {name: flags[keep] for name, flags in self.dropped.items()}
        return CatalogObjects(**{n: v[keep] for n, v in parts.items() if n != "dropped"}, dropped=dropped)


def read_objects(
    objects: Table, blends: Sequence[Table], band: str, threshold: float, source: str = "object"
) -> CatalogObjects:
    """Return the primary objects of a tract.

    Parameters
    ----------
    objects : `astropy.table.Table`
        ``objectId``, ``coord_ra``, ``coord_dec``, ``detect_isPrimary``, and of the band ``psfFlux``,
        ``psfFluxErr``, ``kronFlux``, ``kronFluxErr``, ``kronFlux_flag``.
    blends : `~collections.abc.Sequence` of `astropy.table.Table`
        `~..schemas.OBJECT_BLEND` of the patches. Other bands are left out.
    band : `str`
        Band of fluxes and flags.
    threshold : `float`
        Probability above which ours is a blend.
    source : `str`, optional
        Name of the object table, for messages.

    Raises
    ------
    TableSchemaError
        If a table lacks a column, or it has another unit.
    """
    primary = read_flag(objects, "detect_isPrimary", source, missing=False)

    def get(name: str, unit: u.UnitBase = u.nJy) -> F64:
        return read_column(objects, name, unit, source)[primary]

    psf, psf_err = get(f"{band}_psfFlux"), get(f"{band}_psfFluxErr")
    kron, kron_err = get(f"{band}_kronFlux"), get(f"{band}_kronFluxErr")
    good = ~read_flag(objects, f"{band}_kronFlux_flag", source, missing=True)[primary] & (kron > 0)
    p_blend, theirs = _answers(read_id(objects, "objectId", source)[primary], blends, band)
    return CatalogObjects(
        ra=get("coord_ra", u.deg),
        dec=get("coord_dec", u.deg),
        flux=np.where(good, kron, psf),
        flux_err=np.where(good, kron_err, psf_err),
        snr=psf / psf_err,
        is_kron=good,
        dropped=flags_of(p_blend, theirs, threshold),
        scored=np.isfinite(p_blend),
    )


def _answers(ids: NDArray[np.int64], blends: Sequence[Table], band: str) -> tuple[F64, Bool]:
    """Return the probability of a blend and SExtractor's answer of each object; NaN and false if unknown."""
    tables = [OBJECT_BLEND.check(table) for table in blends]
    rows = stack_tables([table[np.asarray(table["band"]) == band] for table in tables], OBJECT_BLEND)
    known, first = np.unique(np.asarray(rows["objectId"], np.int64), return_index=True)
    place = np.searchsorted(known, ids)
    found = np.append(known, 0)[place] == ids
    row = np.append(first, 0)[np.where(found, place, len(first))]
    p_blend, theirs = np.full(len(ids), np.nan), np.zeros(len(ids), bool)
    if len(rows):
        good = found & ~unscored(np.asarray(rows["flags"])[row])
        p_blend = np.where(good, np.asarray(rows["p_blend"], np.float64)[row], np.nan)
        theirs = good & np.asarray(rows["sextractor_blend"], bool)[row]
    return p_blend, theirs


def pixel_scale(objects: Table, source: str = "object") -> float:
    """Return the pixel scale that positions on the sky and in the tract show, arcsec.

    The median of the ratio of distances from the object in the middle of the table's positions.
    """
    x, y = (read_column(objects, name, u.pix, source) for name in "xy")
    sky = unit_vectors(*(read_column(objects, name, u.deg, source) for name in ("coord_ra", "coord_dec")))
    good = np.flatnonzero(np.isfinite(sky).all(axis=1) & np.isfinite(x) & np.isfinite(y))
    x, y, sky = x[good], y[good], sky[good]
    middle = int(np.argmin(np.hypot(x - np.median(x), y - np.median(y))))
    pixels = np.hypot(x - x[middle], y - y[middle])
    angle = 2.0 * np.arcsin(0.5 * np.linalg.norm(sky - sky[middle], axis=1))
    apart = pixels > 0
    return float(np.median(angle[apart] / pixels[apart]) * 180.0 * 3600.0 / np.pi)


def psf_sigma(objects: Table, band: str, source: str = "object") -> float:
    """Return the median sigma of the PSF in a band, arcsec, from its second moments in pixels."""
    xx, yy = (read_column(objects, f"{band}_{name}", u.pix**2, source) for name in ("ixxPSF", "iyyPSF"))
    return float(np.nanmedian(np.sqrt(0.5 * (xx + yy)))) * pixel_scale(objects, source)


def blank_flux_err(objects: Table, band: str, source: str = "object") -> float:
    """Return the error of a PSF flux on blank sky, nJy: the first decile, since light adds to it."""
    return float(np.nanquantile(read_column(objects, f"{band}_psfFluxErr", u.nJy, source), 0.1))
