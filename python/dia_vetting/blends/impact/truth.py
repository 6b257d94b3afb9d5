"""What is true of the static sources of a simulated survey: flux, and how blended each is."""

from __future__ import annotations

__all__ = ["TrueSources", "gaussian_blendedness", "nearest_companion", "true_sources"]

import dataclasses

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ...embedded.schemas import SIM_TRUTH_OBJECT
from ...embedded.survey.scene import band_magnitude, njy
from ...reliability.matching import Pairs, find_pairs, nearest

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_HALF_LIGHT = float(np.sqrt(2.0 * np.log(2.0)))
"""Half-light radius of a round Gaussian over its sigma."""


@dataclasses.dataclass(frozen=True)
class TrueSources:
    """N static sources.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,), float64
        ICRS, degrees.
    flux : `numpy.ndarray`, (N,), float64
        In the band, nJy.
    snr : `numpy.ndarray`, (N,), float64
        Expected of a matched filter: ``flux / psfFluxErr`` times the root of the PSF's area
        over the source's.
    blendedness : `numpy.ndarray`, (N,), float64
        See `gaussian_blendedness`.
    companion : `numpy.ndarray`, (N,), int64
        Index of the nearest other source that is bright enough; -1 if there is none.
    separation : `numpy.ndarray`, (N,), float64
        Distance to it, arcsec; NaN if there is none.
    flux_ratio : `numpy.ndarray`, (N,), float64
        The fainter over the brighter flux of the two; NaN if there is none.
    """

    ra: F64
    dec: F64
    flux: F64
    snr: F64
    blendedness: F64
    companion: I64
    separation: F64
    flux_ratio: F64

    def __len__(self) -> int:
        return len(self.ra)

    @property
    def magnitude(self) -> F64:
        """AB magnitudes, (N,)."""
        return np.asarray(31.4 - 2.5 * np.log10(self.flux))

    def where(self, keep: NDArray[np.bool_]) -> TrueSources:
        """Return some of the sources; those of the companions that are left out are -1 from then on."""
        index = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)
        parts = {f.name: getattr(self, f.name)[keep] for f in dataclasses.fields(self)}
        return TrueSources(**parts | {"companion": index[parts["companion"]]})


def true_sources(
    table: Table,
    band: str,
    psf_sigma: float,
    flux_err: float,
    radius: float = 6.0,
    least_companion: float = 0.1,
    source: str = "sim_truth_object",
) -> TrueSources:
    """Return the static sources of a simulation as one band shows them.

    Parameters
    ----------
    table : `astropy.table.Table`
        `~dia_vetting.embedded.schemas.SIM_TRUTH_OBJECT`.
    band : `str`
        Band of the fluxes.
    psf_sigma : `float`
        Sigma of the PSF as if it were Gaussian, arcsec.
    flux_err : `float`
        Error of a PSF flux on blank sky, nJy.
    radius : `float`, optional
        Neighbours are looked for within it, arcsec.
    least_companion : `float`, optional
        A companion has at least this fraction of the flux of the source itself.
    source : `str`, optional
        Name of the table, for messages.

    Returns
    -------
    sources : `TrueSources`
        One per row, in their order.

    Raises
    ------
    TableSchemaError
        If the table lacks a column, or it has another unit.
    """
    SIM_TRUTH_OBJECT.check(table, source)
    ra, dec, mag, colour, half = (
        np.asarray(table[name], np.float64) for name in ("ra", "dec", "mag", "color", "half_light_radius")
    )
    flux = njy(band_magnitude(mag, colour, band))
    variance = psf_sigma**2 + (half / _HALF_LIGHT) ** 2
    pairs = find_pairs((ra, dec), (ra, dec), radius)
    pairs = pairs.where(pairs.first != pairs.second)
    companion, separation = nearest_companion(pairs, flux, least_companion)
    ratio = np.where(companion >= 0, flux[companion] / flux, np.nan)
    snr = flux / flux_err * psf_sigma / np.sqrt(variance)
    blended = gaussian_blendedness(pairs, flux, variance)
    return TrueSources(ra, dec, flux, snr, blended, companion, separation, np.minimum(ratio, 1.0 / ratio))


def gaussian_blendedness(pairs: Pairs, flux: F64, variance: F64) -> F64:
    """Return how much light of others there is in each source, as if all were round Gaussians.

    ``1 - sum(f0^2) / sum(f0 f)``, as in `~dia_vetting.blends.segmentation.blendedness`, with
    ``sum(f0 fk) = F0 Fk exp(-d^2 / 2 s) / (2 pi s)``, where s is the sum of the variances of both.

    Parameters
    ----------
    pairs : `~dia_vetting.reliability.matching.Pairs`
        All pairs of different sources, each in both orders.
    flux : `numpy.ndarray`, (N,), float64
        Fluxes.
    variance : `numpy.ndarray`, (N,), float64
        Variances of the Gaussians along an axis, arcsec^2.
    """
    both = variance[pairs.first] + variance[pairs.second]
    overlap = flux[pairs.second] * np.exp(-0.5 * pairs.distance**2 / both) / both
    others = np.bincount(pairs.first, overlap, len(flux))
    own = flux / (2.0 * variance)
    return np.asarray(others / (own + others))


def nearest_companion(pairs: Pairs, flux: F64, least: float) -> tuple[I64, F64]:
    """Return the nearest other source with at least a fraction of the flux, -1 if none, and its distance."""
    bright = pairs.where(flux[pairs.second] >= least * flux[pairs.first])
    pair = nearest(bright.first, len(flux))
    there = pair >= 0
    companion = np.where(there, np.append(bright.second, -1)[pair], -1)
    return companion, np.where(there, np.append(bright.distance, np.nan)[pair], np.nan)
