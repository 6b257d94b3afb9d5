"""Choosing host galaxies among measured objects."""

from __future__ import annotations

__all__ = ["HostCuts", "MeasuredObjects", "host_ellipses", "pixel_scale", "select"]

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..magnitudes import ab_magnitude
from .host_geometry import Ellipses, fit_pixel_frame, moments_on_sky

type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class MeasuredObjects:
    """What the choice of hosts needs of an object table; one row per object.

    Parameters
    ----------
    ra, dec : `numpy.ndarray`, (N,), float64
        ICRS position, degrees.
    x, y : `numpy.ndarray`, (N,), float64
        Position in the tract's pixel frame.
    xx, yy, xy : `numpy.ndarray`, (N,), float64
        Second moments; pixel^2 of the tract, or arcsec^2 along the same axes.
    moments_in_arcsec : `bool`
        Which of the two.
    extendedness : `numpy.ndarray`, (N,), float64
        1 for galaxies, 0 for stars, or in between.
    flux, flux_err : `numpy.ndarray`, (N,), float64
        Flux and its uncertainty in the reference band, nJy.
    passes : `dict` [`str`, `numpy.ndarray`]
        By reason of rejection, where the object's flags allow it, bool (N,).
    """

    ra: F64
    dec: F64
    x: F64
    y: F64
    xx: F64
    yy: F64
    xy: F64
    moments_in_arcsec: bool
    extendedness: F64
    flux: F64
    flux_err: F64
    passes: Mapping[str, NDArray[np.bool_]]

    def magnitude(self) -> F64:
        """Return AB magnitudes, (N,); NaN where the flux is not positive."""
        return ab_magnitude(self.flux)


@dataclasses.dataclass(frozen=True)
class HostCuts:
    """What makes an object a host.

    Parameters
    ----------
    min_extendedness : `float`
        Least extendedness.
    min_snr : `float`
        Least signal-to-noise ratio of the flux.
    mag_range : `tuple` [`float`, `float`]
        AB magnitudes, inclusive.
    size_range : `tuple` [`float`, `float`]
        Semi-major axes, arcsec, inclusive.
    min_axis_ratio : `float`
        Least b / a.
    """

    min_extendedness: float
    min_snr: float
    mag_range: tuple[float, float]
    size_range: tuple[float, float]
    min_axis_ratio: float


def host_ellipses(objects: MeasuredObjects, source: str = "object") -> Ellipses:
    """Return the shapes of objects on the sky.

    Parameters
    ----------
    objects : `MeasuredObjects`
        Scale, orientation and parity of the pixels come from their own two positions.
    source : `str`, optional
        Name of the table, for the message.

    Returns
    -------
    ellipses : `Ellipses`
        From the moments as they are: the PSF is in them.

    Raises
    ------
    TangentFitError
        If pixel and sky positions do not belong together.
    """
    frame = fit_pixel_frame(objects.x, objects.y, objects.ra, objects.dec, source)
    factor = frame.pixel_scale**-2 if objects.moments_in_arcsec else 1.0
    moments = (objects.xx * factor, objects.yy * factor, objects.xy * factor)
    return Ellipses.from_moments(*moments_on_sky(*moments, objects.ra, objects.dec, frame))


def pixel_scale(objects: MeasuredObjects, source: str = "object") -> float:
    """Return the scale of the tract's pixels, arcsec; see `host_ellipses`."""
    return float(fit_pixel_frame(objects.x, objects.y, objects.ra, objects.dec, source).pixel_scale)


def select(
    objects: MeasuredObjects, ellipses: Ellipses, cuts: HostCuts
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Choose hosts.

    Parameters
    ----------
    objects : `MeasuredObjects`
        Candidates.
    ellipses : `Ellipses`
        Their shapes, from `host_ellipses`.
    cuts : `HostCuts`
        What a host must be.

    Returns
    -------
    chosen : `numpy.ndarray`, (N,), bool
        True for hosts.
    rejected : `dict` [`str`, `int`]
        How many objects each reason rejected first, in the order in which they were tried; with the
        chosen ones they add up to N.
    """
    chosen = np.ones(len(objects.ra), dtype=bool)
    rejected: dict[str, int] = {}
    for reason, passes in _tests(objects, ellipses, cuts).items():
        rejected[reason] = int(np.count_nonzero(chosen & ~passes))
        chosen &= passes
    return chosen, rejected


def _tests(objects: MeasuredObjects, ellipses: Ellipses, cuts: HostCuts) -> dict[str, NDArray[np.bool_]]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            **objects.passes,
            "position": np.isfinite(objects.ra) & np.isfinite(objects.dec),
            "extendedness": objects.extendedness >= cuts.min_extendedness,
            "snr": objects.flux / objects.flux_err >= cuts.min_snr,
            "magnitude": _within(objects.magnitude(), cuts.mag_range),
            "shape": np.isfinite(ellipses.a) & np.isfinite(ellipses.b),
            "size": _within(ellipses.a, cuts.size_range),
            "axis_ratio": ellipses.b / ellipses.a >= cuts.min_axis_ratio,
        }


def _within(values: F64, limits: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= limits[0]) & (values <= limits[1])
