"""Rows of flashes: what a tumbling satellite leaves, told from transients by where its neighbours are.

In a stamp a flash looks like a transient. But a satellite that turns steadily, on a path that is straight
over an arcminute, flashes at equal distances along a line. Whether some sources of an image are such a trail,
or are in line by chance, is decided "a contrario" (Desolneux, Moisan & Morel 2000, Int. J. Comput. Vis. 40,
7): by the number of rows as long and as straight that sources scattered at random would make. Rubin's
pipelines call the flag ``glint_trail``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["FARTHEST", "TRAIL_RATE", "centroid_error", "chance_in_image", "chance_trails", "doubt_trails"]

type F64 = NDArray[np.float64]
type F32 = NDArray[np.float32]
type I64 = NDArray[np.int64]
type Bool = NDArray[np.bool_]

FARTHEST = 30.0
"""Largest distance of two flashes in a row, arcsec."""

TRAIL_RATE = 0.1
"""Trails of glints that are expected in the image of a detector."""

_NEAREST = 2.0  # FWHM between two flashes
_DOUBTED = 0.1  # odds are lowered by this factor at least, or not at all
_LEVELS = 3.0  # standard deviations that a flash may be off its place; 1, 2 or 3 are tried
_UNSTEADY = 0.0025  # of a distance, by which satellites and the distortion of the camera change it
_MAX_STEPS = (1, 2)  # to the next flash: one may be too faint
_MAX_FLASHES = 12


class _Growth(NamedTuple):
    """The next flash of each of C rows."""

    added: I64  # its source; -1 for none
    last: F64  # its place in the row, counted from 0
    sigma: F64  # error of its distance from where it should be
    level: F64  # that distance over its error, rounded up


def centroid_error(fwhm: F64, snr: F64) -> F64:
    """Return the error of a centroid along one axis.

    Parameters
    ----------
    fwhm : `numpy.ndarray`, (N,), float64
        Full width at half maximum of the PSF, in any unit of length.
    snr : `numpy.ndarray`, (N,), float64
        Signal-to-noise ratio of the sources, positive.

    Returns
    -------
    error : `numpy.ndarray`, (N,), float64
        Standard deviation, in that unit: 0.6 FWHM / SNR, which is the bound of a Gaussian PSF against the sky
        (King 1983, PASP 95, 163, eq. 7: sqrt(2) sigma / SNR), and 3 % of the FWHM for all else.
    """
    return np.asarray(np.hypot(0.6 * fwhm / snr, 0.03 * fwhm))


def doubt_trails(reliability: F32, chance: F64, rate: float = TRAIL_RATE) -> tuple[F32, Bool]:
    """Lower the reliability of what is in a trail.

    Parameters
    ----------
    reliability : `numpy.ndarray`, (N,), float32
        Probabilities of being real, from the stamps alone; NaN for what has none.
    chance : `numpy.ndarray`, (N,), float64
        From `chance_in_image`.
    rate : `float`, optional
        Trails of glints that are expected in an image.

    Returns
    -------
    reliability : `numpy.ndarray`, (N,), float32
        By Bayes' rule: a row of real sources is expected ``chance`` times, one of glints ``rate`` times, so
        the odds of being real fall by the factor ``chance / rate``. One of more than 0.1 is not applied.
    glint_trail : `numpy.ndarray`, (N,), bool
        Whether it was.
    """
    factor = chance / rate
    trail = (factor <= _DOUBTED) & np.isfinite(reliability)
    real = reliability * np.where(trail, factor, 1.0)
    return np.where(trail, real / (1.0 - reliability + real), reliability).astype(np.float32), trail


def chance_in_image(cutouts: Table, candidate: Bool, farthest: float = FARTHEST) -> F64:
    """Return for each source of an image how many trails like the one that it is in would be there by chance.

    Parameters
    ----------
    cutouts : `astropy.table.Table`
        N rows of `~.schemas.DIA_SOURCE_CUTOUT`, all of one visit and detector.
    candidate : `numpy.ndarray`, (N,), bool
        Sources that look real in their stamps; others cannot be part of a trail.
    farthest : `float`, optional
        Largest distance of two flashes in a row, arcsec.

    Returns
    -------
    expected : `numpy.ndarray`, (N,), float64
        As `chance_trails` has it, for positive and negative sources on their own; infinite for all others.
    """
    expected = np.full(len(cutouts), np.inf)
    columns = {name: np.asarray(cutouts[name], float) for name in ("snr", "psfFlux", "psf_fwhm")}
    position, scale = _pixel_positions(cutouts)
    known = np.isfinite(position).all(axis=1)
    if known.sum() < 3:
        return expected
    area = float(np.prod(np.ptp(position[known], axis=0)))
    usable = candidate & known & (columns["snr"] > 0) & (columns["psf_fwhm"] > 0)
    for sign in (1.0, -1.0):
        rows = np.flatnonzero(usable & (np.sign(columns["psfFlux"]) == sign))
        if len(rows) < 3 or not area > 0:
            continue
        fwhm = columns["psf_fwhm"][rows]
        expected[rows] = chance_trails(
            position[rows],
            centroid_error(fwhm, columns["snr"][rows]),
            _NEAREST * float(np.median(fwhm)),
            farthest / scale,
            area,
        )
    return expected


def _pixel_positions(cutouts: Table) -> tuple[F64, float]:
    """Return positions (N, 2) in pixels but for the distortion of the camera, and arcsec per pixel.

    ``x0`` and ``y0`` are whole pixels; sky positions are not. So the former are fitted by an affine function
    of the latter, and its values are taken.
    """
    from astropy.coordinates import SkyCoord  # slow to import; only scoring needs it

    ra, dec, x0, y0 = (np.asarray(cutouts[name], float) for name in ("ra", "dec", "x0", "y0"))
    known = np.isfinite(ra) & np.isfinite(dec)
    position = np.full((len(ra), 2), np.nan)
    if known.sum() < 3:
        return position, np.nan
    sky = SkyCoord(ra[known], dec[known], unit="deg")
    east, north = (offset.arcsec for offset in sky[0].spherical_offsets_to(sky))
    design = np.stack([east, north, np.ones_like(east)], axis=1)
    fit, *_ = np.linalg.lstsq(design, np.stack([x0, y0], axis=1)[known])
    position[known] = design @ fit
    determinant = abs(np.linalg.det(fit[:2]))
    return position, float(determinant**-0.5) if determinant > 0 else np.nan


def chance_trails(position: F64, error: F64, nearest: float, farthest: float, area: float) -> F64:
    """Return how many trails like that which each source is in would be in the image by chance.

    Parameters
    ----------
    position : `numpy.ndarray`, (N, 2), float64
        Positions on a plane.
    error : `numpy.ndarray`, (N,), float64
        Their errors along one axis, in the same unit.
    nearest, farthest : `float`
        Least and largest distance of two flashes in a row.
    area : `float`
        Area that the sources are scattered over.

    Returns
    -------
    expected : `numpy.ndarray`, (N,), float64
        Expected number of rows of as many sources that lie as well in line, at equal distances, among N
        sources scattered over the area; infinite for a source that is in no row of three or more.
    """
    expected = np.full(len(position), np.inf)
    if len(position) < 3:
        return expected
    tree = cKDTree(position)
    pairs = np.asarray(tree.query_pairs(farthest, output_type="ndarray"), dtype=np.int64)
    apart = np.linalg.norm(position[pairs[:, 0]] - position[pairs[:, 1]], axis=1) >= nearest
    pairs = pairs[apart]
    tests = np.log(max(len(pairs), 1) * _LEVELS)
    density = np.log(2.0 * np.pi * len(position) / area)  # two places are tried for each further source
    chains = np.concatenate([pairs, pairs[:, ::-1]])
    last, chance, level = np.ones(len(chains)), np.full(len(chains), tests), np.ones(len(chains))
    for size in range(3, _MAX_FLASHES + 1):
        grown = _grow(tree, position, error, chains, last)
        going = grown.added >= 0
        if not going.any():
            break
        chains = np.column_stack([chains[going], grown.added[going]])
        last, level = grown.last[going], np.maximum(level[going], grown.level[going])
        chance = chance[going] + density + 2.0 * np.log(grown.sigma[going])
        trails = chance + 2.0 * (size - 2) * np.log(level)
        for column in chains.T:
            np.minimum.at(expected, column, np.exp(trails))
    return expected


def _grow(tree: cKDTree, position: F64, error: F64, chains: I64, last: F64) -> _Growth:
    """Look for the next flash of rows (C, n) of sources, whose last one is at place ``last`` of the row."""
    first, end = chains[:, 0], chains[:, -1]
    step = (position[end] - position[first]) / last[:, None]
    count = len(chains)
    result = _Growth(np.full(count, -1), last.copy(), np.ones(count), np.ones(count))
    for more in _MAX_STEPS:
        open_ = np.flatnonzero(result.added < 0)
        ratio = more / last[open_]
        distance, near = tree.query(position[end[open_]] + more * step[open_])
        own = np.hypot(error[end[open_]] * (1.0 + ratio), error[first[open_]] * ratio)
        far = more * np.linalg.norm(step[open_], axis=1)
        sigma = np.sqrt(own**2 + error[near] ** 2 + (_UNSTEADY * far) ** 2)
        found = (distance <= _LEVELS * sigma) & ~(chains[open_] == near[:, None]).any(axis=1)
        rows = open_[found]
        result.added[rows], result.last[rows] = near[found], last[rows] + more
        result.sigma[rows] = sigma[found]
        result.level[rows] = np.clip(np.ceil(distance[found] / sigma[found]), 1.0, _LEVELS)
    return result
