"""Small angles on the sky: tangent planes, the tract's pixel frame on them, and ellipses from second moments.

Everything is exact on the sphere (gnomonic projection; Calabretta & Greisen 2002, A&A 395, 1077, section
5.1.3). Offsets are (east, north) on the plane that touches the sphere at a reference position; position
angles run from north through east.
"""

from __future__ import annotations

__all__ = [
    "ARCSEC_PER_RADIAN",
    "Ellipses",
    "PixelFrame",
    "TangentFitError",
    "deproject",
    "fit_pixel_frame",
    "moments_on_sky",
    "project",
]

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInputError

type F64 = NDArray[np.float64]

ARCSEC_PER_RADIAN = float(np.rad2deg(1.0) * 3600.0)


class TangentFitError(BadInputError):
    """Pixel and sky positions of a table that do not belong to one plane."""


@dataclasses.dataclass(frozen=True)
class Ellipses:
    """Ellipses on the sky.

    Parameters
    ----------
    a, b : `numpy.ndarray`, (N,), float64
        Semi-axes, arcsec: root of the eigenvalues of the second moments. NaN where those are not positive.
    pa : `numpy.ndarray`, (N,), float64
        Position angle of the major axis, degrees east of north, in [0, 180).
    """

    a: F64
    b: F64
    pa: F64

    @classmethod
    def from_moments(cls, east: F64, north: F64, cross: F64) -> Ellipses:
        """Diagonalise second moments.

        Parameters
        ----------
        east, north, cross : `numpy.ndarray`, (N,), float64
            Moments along east, along north and mixed, arcsec^2.

        Returns
        -------
        ellipses : `Ellipses`
            Semi-axes squared are trace/2 +- hypot((north - east)/2, cross).
        """
        half_trace, difference = 0.5 * (east + north), 0.5 * (north - east)
        radius = np.hypot(difference, cross)
        with np.errstate(invalid="ignore"):
            good = (half_trace - radius) > 0
        a, b = np.full(half_trace.shape, np.nan), np.full(half_trace.shape, np.nan)
        a[good] = np.sqrt(half_trace[good] + radius[good])
        b[good] = np.sqrt(half_trace[good] - radius[good])
        pa = np.rad2deg(0.5 * np.arctan2(cross, difference)) % 180.0
        return cls(a, b, np.where(good, pa, np.nan))

    def points(self, radius: ArrayLike, phase: ArrayLike) -> tuple[F64, F64]:
        """Return points on concentric, similar ellipses, as offsets (east, north) in arcsec.

        Parameters
        ----------
        radius : array_like, (N,)
            Scale of the ellipse: 1 is the ellipse itself.
        phase : array_like, (N,)
            Angle on the circle that is stretched into the ellipse, radians from the major axis. It is not
            the polar angle of the point, except on the axes.
        """
        radius, phase, pa = np.asarray(radius, float), np.asarray(phase, float), np.deg2rad(self.pa)
        major, minor = self.a * radius * np.cos(phase), self.b * radius * np.sin(phase)
        return major * np.sin(pa) + minor * np.cos(pa), major * np.cos(pa) - minor * np.sin(pa)


def _vectors(ra: ArrayLike, dec: ArrayLike) -> tuple[F64, F64, F64]:
    """Return unit vectors to positions (degrees), to their east and to their north, each [N, 3]."""
    lon, lat = (
        np.atleast_1d(np.deg2rad(np.asarray(ra, float))),
        np.atleast_1d(np.deg2rad(np.asarray(dec, float))),
    )
    cos_lon, sin_lon, cos_lat, sin_lat = np.cos(lon), np.sin(lon), np.cos(lat), np.sin(lat)
    centre = np.stack([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat], axis=-1)
    east = np.stack([-sin_lon, cos_lon, np.zeros_like(lon)], axis=-1)
    north = np.stack([-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat], axis=-1)
    return centre, east, north


def project(ra: ArrayLike, dec: ArrayLike, ra0: ArrayLike, dec0: ArrayLike) -> tuple[F64, F64]:
    """Project positions onto tangent planes.

    Parameters
    ----------
    ra, dec : array_like, (N,)
        ICRS positions, degrees.
    ra0, dec0 : array_like, (N,) or scalar
        Where the planes touch the sphere, degrees.

    Returns
    -------
    east, north : `numpy.ndarray`, (N,), float64
        Offsets, arcsec; NaN on the far half of the sky.
    """
    target, _, _ = _vectors(ra, dec)
    centre, east, north = _vectors(ra0, dec0)
    depth = np.sum(target * centre, axis=-1)
    depth = np.where(depth > 0, depth, np.nan)
    scale = ARCSEC_PER_RADIAN / depth
    return np.sum(target * east, axis=-1) * scale, np.sum(target * north, axis=-1) * scale


def deproject(east: ArrayLike, north: ArrayLike, ra0: ArrayLike, dec0: ArrayLike) -> tuple[F64, F64]:
    """Return the positions that offsets on tangent planes point to; the inverse of `project`.

    Parameters
    ----------
    east, north : array_like, (N,)
        Offsets, arcsec.
    ra0, dec0 : array_like, (N,) or scalar
        Where the planes touch the sphere, degrees.

    Returns
    -------
    ra, dec : `numpy.ndarray`, (N,), float64
        Degrees, right ascension in [0, 360).
    """
    centre, to_east, to_north = _vectors(ra0, dec0)
    xi = np.atleast_1d(np.asarray(east, float))[:, None] / ARCSEC_PER_RADIAN
    eta = np.atleast_1d(np.asarray(north, float))[:, None] / ARCSEC_PER_RADIAN
    vector = centre + xi * to_east + eta * to_north
    ra = np.rad2deg(np.arctan2(vector[:, 1], vector[:, 0])) % 360.0
    return ra, np.rad2deg(np.arctan2(vector[:, 2], np.hypot(vector[:, 0], vector[:, 1])))


def _local_frame(ra: ArrayLike, dec: ArrayLike, ra0: float, dec0: float) -> F64:
    """Return d(plane offsets at (ra0, dec0)) / d(sky offsets at each position), [N, 2, 2]."""
    target, *local = _vectors(ra, dec)
    centre, *axes = _vectors(ra0, dec0)
    depth = target @ centre[0]
    frame = np.empty((len(target), 2, 2))
    for i, axis in enumerate(axes):
        offset = (target @ axis[0]) / depth
        for j, step in enumerate(local):
            frame[:, i, j] = (step @ axis[0] - offset * (step @ centre[0])) / depth
    return frame


@dataclasses.dataclass(frozen=True)
class PixelFrame:
    """A tract's pixel frame on the plane that touches the sky at (ra0, dec0).

    Parameters
    ----------
    ra0, dec0 : `float`
        Where the plane touches, degrees.
    matrix : `numpy.ndarray`, (2, 2), float64
        d(east, north) / d(x, y), arcsec per pixel.
    """

    ra0: float
    dec0: float
    matrix: F64

    @property
    def pixel_scale(self) -> float:
        """Root of the pixel area, arcsec."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


def fit_pixel_frame(
    x: F64, y: F64, ra: F64, dec: F64, source: str = "object", tolerance: float = 1.0
) -> PixelFrame:
    """Find scale, orientation and parity of a tract's pixels from objects whose both positions are known.

    Parameters
    ----------
    x, y : `numpy.ndarray`, (N,), float64
        Positions in the tract's pixel frame; rows that are not finite are left out.
    ra, dec : `numpy.ndarray`, (N,), float64
        The same positions on the sky, degrees.
    source : `str`, optional
        Name of the table, for the message.
    tolerance : `float`, optional
        Largest median residual of the fit, arcsec.

    Returns
    -------
    frame : `PixelFrame`
        Linear least squares on the plane that touches the sky amid the objects.

    Raises
    ------
    TangentFitError
        If there are fewer than three positions, they lie on a line, or the fit is poor.
    """
    good = np.isfinite(x) & np.isfinite(y) & np.isfinite(ra) & np.isfinite(dec)
    if good.sum() < 3:
        raise TangentFitError(source, "3 objects with pixel and sky positions", f"{good.sum()}")
    x, y, ra, dec = x[good], y[good], ra[good], dec[good]
    middle = _vectors(ra, dec)[0].mean(axis=0)
    ra0 = float(np.rad2deg(np.arctan2(middle[1], middle[0])))
    dec0 = float(np.rad2deg(np.arctan2(middle[2], np.hypot(middle[0], middle[1]))))
    plane = np.stack(project(ra, dec, ra0, dec0), axis=1)
    design = np.stack([x - x.mean(), y - y.mean(), np.ones_like(x)], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(design, plane, rcond=1e-10)
    if rank < 3:
        raise TangentFitError(source, "objects that do not lie on one line", f"{len(x)} that do")
    residual = float(np.median(np.hypot(*(plane - design @ solution).T)))
    if not residual <= tolerance:
        raise TangentFitError(
            source,
            f"pixel positions of one tract that follow the sky positions to {tolerance} arcsec",
            f"a median residual of {residual:.3g} arcsec",
        )
    return PixelFrame(ra0, dec0, np.asarray(solution[:2].T, np.float64))


def moments_on_sky(xx: F64, yy: F64, xy: F64, ra: F64, dec: F64, frame: PixelFrame) -> tuple[F64, F64, F64]:
    """Turn second moments in the tract's pixel frame into moments along east and north at each object.

    Parameters
    ----------
    xx, yy, xy : `numpy.ndarray`, (N,), float64
        Moments, pixel^2.
    ra, dec : `numpy.ndarray`, (N,), float64
        Positions, degrees: north turns across a tract.
    frame : `PixelFrame`
        The tract's pixel frame.

    Returns
    -------
    east, north, cross : `numpy.ndarray`, (N,), float64
        Moments, arcsec^2: J M J^T with J = d(east, north at the object) / d(x, y).
    """
    jacobian = np.linalg.inv(_local_frame(ra, dec, frame.ra0, frame.dec0)) @ frame.matrix
    moments = np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-2)
    sky = jacobian @ moments @ np.swapaxes(jacobian, 1, 2)
    return sky[:, 0, 0], sky[:, 1, 1], sky[:, 0, 1]
