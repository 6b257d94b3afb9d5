"""Moments, trails and dipoles of difference-image sources, for all sources at once."""

from __future__ import annotations

__all__ = ["Dipoles", "Moments", "Trails", "fit_dipoles", "measure_moments", "trails_from_moments"]

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..psf import PolynomialPsf

type F64 = NDArray[np.float64]


class Moments(NamedTuple):
    """Second moments (xx, yy, xy), pixel^2, and whether they are usable; each [N]."""

    xx: F64
    yy: F64
    xy: F64
    good: NDArray[np.bool_]


class Trails(NamedTuple):
    """Length (pixels) and angle (degrees from x to y) of a uniform trail, float64 [N]."""

    length: F64
    angle: F64


class Dipoles(NamedTuple):
    """Result of a two-lobe fit; fluxes in nJy, length in pixels, angle in degrees, each [N]."""

    is_dipole: NDArray[np.bool_]
    flux_difference: F64
    mean_flux: F64
    length: F64
    angle: F64


def _deweighted(xx: F64, yy: F64, xy: F64, weight: float) -> Moments:
    """Take a Gaussian weight of variance ``weight`` out: (M^-1 - 1 / weight)^-1, exact for Gaussians."""
    det = xx * yy - xy**2
    with np.errstate(invalid="ignore", divide="ignore"):
        ixx, iyy, ixy = yy / det - 1.0 / weight, xx / det - 1.0 / weight, -xy / det
        det = ixx * iyy - ixy**2
        good = (det > 0) & (ixx > 0) & np.isfinite(det)
        out = [np.where(good, v / np.where(good, det, 1.0), np.nan) for v in (iyy, ixx, -ixy)]
    return Moments(out[0], out[1], out[2], good)


def measure_moments(stamps: F64, dx: F64, dy: F64, sigma: float) -> Moments:
    """Measure the second moments of sources about their centroids.

    Moments under a Gaussian of width ``sigma``, from which the weight is then taken out, which is exact
    for elliptical Gaussians (Bernstein & Jarvis 2002, AJ 123, 583, section 3).

    Parameters
    ----------
    stamps
        Images with positive flux, float64 [N, S, S], S odd; NaN counts as zero.
    dx, dy
        Centroid relative to the centre of the stamp, pixels, [N].
    sigma
        Width of the weight, pixels.

    Returns
    -------
    moments
        NaN where noise makes them negative.
    """
    stamps = np.nan_to_num(stamps)
    u = np.arange(stamps.shape[1]) - stamps.shape[1] // 2
    ux, uy = u[None, :] - dx[:, None], u[None, :] - dy[:, None]
    wx, wy = np.exp(-0.5 * (ux / sigma) ** 2), np.exp(-0.5 * (uy / sigma) ** 2)

    def moment(px: int, py: int) -> F64:
        rows = (stamps @ (wx * ux**px)[:, :, None])[:, :, 0]
        return np.asarray((rows * wy * uy**py).sum(axis=1))

    total = moment(0, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.where(total > 0, total, np.nan)
        mx, my = moment(1, 0) / total, moment(0, 1) / total
        xx, yy, xy = (
            moment(2, 0) / total - mx**2,
            moment(0, 2) / total - my**2,
            moment(1, 1) / total - mx * my,
        )
    return _deweighted(xx, yy, xy, sigma**2)


def trails_from_moments(moments: Moments, psf: Moments) -> Trails:
    """Return the trail whose second moment, L^2 / 12, is the excess over the PSF along the major axis."""
    xx, yy, xy = moments.xx - psf.xx, moments.yy - psf.yy, moments.xy - psf.xy
    root = np.hypot(0.5 * (xx - yy), xy)
    major = 0.5 * (xx + yy) + root
    angle = 0.5 * np.degrees(np.arctan2(2.0 * xy, xx - yy))
    return Trails(np.sqrt(12.0 * np.maximum(major, 0.0)), np.where(np.isfinite(major), angle, np.nan))


def fit_dipoles(
    data: F64, variance: F64, psf: PolynomialPsf, x: F64, y: F64, balance: float = 0.65, lobe_snr: float = 3.5
) -> Dipoles:
    """Fit a positive and a negative point source to every stamp.

    The axis is that of the antisymmetric part of the stamp, and the lobes sit where the matched filter
    of an unresolved dipole has its extrema, sqrt(2) PSF widths from the centre (for a Gaussian PSF). Their
    fluxes follow from a linear fit.

    Parameters
    ----------
    data, variance
        Difference stamps centred on the nearest pixel of (x, y), float64 [N, S, S], nJy and nJy^2.
    psf
        PSF of the difference.
    x, y
        Centres, pixels, [N].
    balance
        Largest share of one lobe in the sum of both for a dipole.
    lobe_snr
        Smallest signal-to-noise ratio of both lobes.

    Returns
    -------
    dipoles
        See `Dipoles`.
    """
    if not len(x):
        empty = np.zeros(0)
        return Dipoles(np.zeros(0, bool), empty, empty, empty, empty)
    size = data.shape[1]
    data, variance = np.nan_to_num(data), np.nan_to_num(variance)
    width = float(np.median(psf.fwhm(x[:1], y[:1]))) / 2.355
    u = np.arange(size) - size // 2
    window = np.exp(-0.25 * (u[:, None] ** 2 + u[None, :] ** 2) / width**2)
    moment_x = (data * window) @ u
    angle = np.arctan2(((data * window).sum(axis=2) @ u), moment_x.sum(axis=1))
    offset = np.sqrt(2.0) * width
    sx, sy = offset * np.cos(angle), offset * np.sin(angle)
    fx, fy = np.rint(x), np.rint(y)
    half, full = size // 2, psf.size // 2

    def placed(px: F64, py: F64) -> F64:
        stamps, x0, y0 = psf.stellar_images(px, py)
        rows = (fy - half - y0).astype(int)[:, None] + np.arange(size)
        columns = (fx - half - x0).astype(int)[:, None] + np.arange(size)
        inside = ((rows >= 0) & (rows <= 2 * full))[:, :, None] & ((columns >= 0) & (columns <= 2 * full))[
            :, None
        ]
        n = np.arange(len(stamps))[:, None, None]
        clipped = stamps[n, np.clip(rows, 0, 2 * full)[:, :, None], np.clip(columns, 0, 2 * full)[:, None, :]]
        return np.where(inside, clipped, 0.0)

    design = np.stack([placed(x + sx, y + sy), placed(x - sx, y - sy)], axis=-1).reshape(len(x), -1, 2)
    inverse = np.linalg.inv(design.transpose(0, 2, 1) @ design)
    flux = (inverse @ (design.transpose(0, 2, 1) @ data.reshape(len(x), -1, 1)))[:, :, 0]
    meat = design.transpose(0, 2, 1) @ (design * variance.reshape(len(x), -1, 1))
    err = np.sqrt(np.diagonal(inverse @ meat @ inverse, axis1=1, axis2=2))
    plus, minus = flux[:, 0], -flux[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.maximum(plus, minus) / (np.abs(plus) + np.abs(minus))
        strong = (plus > lobe_snr * err[:, 0]) & (minus > lobe_snr * err[:, 1])
    return Dipoles(
        np.asarray(strong & (share < balance)),
        plus - minus,
        0.5 * (plus + minus),
        np.full(len(x), 2.0 * offset),
        np.degrees(angle),
    )
