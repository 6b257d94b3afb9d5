"""Where the detectors look: the WCS written into an image, and where things really fall.

The written WCS is TAN-SIP of order 3. The true positions differ from it by a smooth random field, an offset
of the visit, and refraction that depends on colour.
"""

from __future__ import annotations

__all__ = ["TrueWcs", "detector_center", "offset_sky", "sky_extent", "true_wcs", "written_wcs"]

import dataclasses
import math
from typing import Any

import numpy as np
from astropy.wcs import WCS, Sip
from numpy.typing import ArrayLike, NDArray

from ...seeding import generator
from .config import SurveyConfig
from .visits import Visit

type F64 = NDArray[np.float64]

_SIP_ORDER = 3
_REFERENCE_COLOR = 1.0


def detector_center(config: SurveyConfig, detector: int) -> tuple[float, float]:
    """Return the centre of a detector in the focal plane, pixel, relative to the boresight."""
    size, gap = config.size, config.camera.gap
    column, row = detector % size.columns, detector // size.columns
    x = (column - 0.5 * (size.columns - 1)) * (size.detector_width + gap)
    y = (row - 0.5 * (size.rows - 1)) * (size.detector_height + gap)
    return x, y


def sky_extent(config: SurveyConfig) -> tuple[float, float]:
    """Return the full width and height of the sky that any visit can see, with the margin, arcsec."""
    size, camera = config.size, config.camera
    width = size.columns * size.detector_width + (size.columns - 1) * camera.gap
    height = size.rows * size.detector_height + (size.rows - 1) * camera.gap
    turn = math.sin(math.radians(config.observing.rotation))
    dither = max(config.observing.dither, config.observing.template_dither)
    extra = 2.0 * (dither + config.sky.margin)
    scale = camera.pixel_scale
    return (width + turn * height) * scale + extra, (height + turn * width) * scale + extra


def offset_sky(ra: float, dec: float, east: ArrayLike, north: ArrayLike) -> tuple[F64, F64]:
    """Deproject gnomonic offsets.

    Parameters
    ----------
    ra, dec
        Tangent point, deg.
    east, north
        Standard coordinates, arcsec, [N].

    Returns
    -------
    ra, dec
        deg, [N].
    """
    xi = np.radians(np.asarray(east, float) / 3600.0)
    eta = np.radians(np.asarray(north, float) / 3600.0)
    dec0 = math.radians(dec)
    depth = math.cos(dec0) - eta * math.sin(dec0)
    result_ra = (ra + np.degrees(np.arctan2(xi, depth))) % 360.0
    result_dec = np.degrees(np.arctan2(math.sin(dec0) + eta * math.cos(dec0), np.hypot(xi, depth)))
    return result_ra, result_dec


def _rotation(angle: float) -> F64:
    """Return the matrix from pixel offsets (x, y) to (east, north); x grows to the west at angle 0."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[-c, s], [s, c]])


def _distorted(p: F64, strength: float) -> F64:
    return p * (1.0 + strength * (p**2).sum(axis=-1, keepdims=True))


def _sip_terms(u: F64, v: F64) -> tuple[list[tuple[int, int]], F64]:
    powers = [(i, j) for i in range(_SIP_ORDER + 1) for j in range(_SIP_ORDER + 1 - i) if i + j >= 1]
    return powers, np.stack([u**i * v**j for i, j in powers], axis=1)


def written_wcs(config: SurveyConfig, visit: Visit, detector: int) -> WCS:
    """Return the WCS that the image of a detector carries.

    Parameters
    ----------
    config, visit, detector
        Which image.

    Returns
    -------
    wcs : `astropy.wcs.WCS`
        RA---TAN-SIP of order 3, reference pixel at the centre of the detector, ``array_shape`` set. Use
        origin 0 for 0-based pixels.
    """
    ny, nx = config.shape
    center = np.array(detector_center(config, detector))
    scale = config.camera.pixel_scale
    grid = np.linspace(-1.0, 1.0, 9)
    u, v = (a.ravel() for a in np.meshgrid(0.5 * nx * grid, 0.5 * ny * grid))
    strength = config.camera.distortion
    shifted = _distorted(center + np.stack([u, v], axis=1), strength) - _distorted(center[None], strength)
    powers, terms = _sip_terms(u, v)
    norm = np.abs(terms).max(axis=0)
    solution = np.linalg.lstsq(terms / norm, shifted, rcond=None)[0] / norm[:, None]
    linear = np.stack([solution[powers.index((1, 0))], solution[powers.index((0, 1))]], axis=1)
    nonlinear = np.linalg.solve(linear, solution.T)
    a, b = np.zeros((2, _SIP_ORDER + 1, _SIP_ORDER + 1))
    for k, (i, j) in enumerate(powers):
        if i + j >= 2:
            a[i, j], b[i, j] = nonlinear[:, k]
    east, north = _rotation(visit.rotation) @ _distorted(center[None], strength)[0] * scale
    ra, dec = offset_sky(visit.ra, visit.dec, east, north)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crval = [float(ra), float(dec)]
    wcs.wcs.crpix = [0.5 * (nx + 1), 0.5 * (ny + 1)]
    # Meridians converge: north at the detector is not parallel to north at the boresight.
    offset = (float(ra) - visit.ra + 180.0) % 360.0 - 180.0
    turn = visit.rotation + offset * math.sin(math.radians(0.5 * (visit.dec + float(dec))))
    wcs.wcs.cd = _rotation(turn) @ linear * scale / 3600.0
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.array_shape = (ny, nx)
    wcs.wcs.set()
    return wcs


@dataclasses.dataclass(frozen=True)
class TrueWcs:
    """Where things really fall.

    Parameters
    ----------
    written
        The WCS in the image.
    waves
        Wave vectors of the error field, radian / pixel, float64 [K, 2].
    phases
        Their phases, float64 [K].
    amplitudes
        Their displacements, pixel, float64 [K, 2].
    shift
        Displacement of the visit, pixel, float64 [2].
    refraction
        Displacement per mag of colour, pixel, float64 [2].
    """

    written: WCS
    waves: F64
    phases: F64
    amplitudes: F64
    shift: F64
    refraction: F64

    def displacement(self, x: ArrayLike, y: ArrayLike) -> tuple[F64, F64]:
        """Return true minus written positions (dx, dy), pixel, [N], for the reference colour."""
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        waves = np.sin(np.stack([x, y], axis=1) @ self.waves.T + self.phases) @ self.amplitudes
        return waves[:, 0] + self.shift[0], waves[:, 1] + self.shift[1]

    def sky_to_pixel(self, ra: ArrayLike, dec: ArrayLike, color: ArrayLike | None = None) -> tuple[F64, F64]:
        """Return where sources fall.

        Parameters
        ----------
        ra, dec
            ICRS, deg, [N]; within a degree of the detector.
        color
            g - i, mag, [N]; the reference colour, without differential refraction, by default.

        Returns
        -------
        x, y
            0-based pixel, [N].
        """
        ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
        if not ra.size:
            return np.empty(0), np.empty(0)
        x, y = self.written.all_world2pix(ra, dec, 0, tolerance=1e-6, quiet=True)
        dx, dy = self.displacement(x, y)
        blue = _REFERENCE_COLOR - np.asarray(_REFERENCE_COLOR if color is None else color, float)
        return x + dx + blue * self.refraction[0], y + dy + blue * self.refraction[1]

    def pixel_to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[F64, F64]:
        """Return the sky position (ra, dec; deg) whose light of the reference colour falls on a pixel."""
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        if not x.size:
            return np.empty(0), np.empty(0)
        x0, y0 = x, y
        for _ in range(4):
            dx, dy = self.displacement(x0, y0)
            x0, y0 = x - dx, y - dy
        ra, dec = self.written.all_pix2world(x0, y0, 0)
        return ra, dec

    @property
    def sky_to_pixel_matrix(self) -> F64:
        """Matrix from (east, north) in arcsec to (x, y) in pixels, at the detector's centre."""
        return np.asarray(np.linalg.inv(self.written.wcs.cd * 3600.0), np.float64)


def true_wcs(config: SurveyConfig, seed: int, visit: Visit, detector: int) -> TrueWcs:
    """Draw the astrometric errors of an image.

    Parameters
    ----------
    config, seed, visit, detector
        Which image of which survey.

    Returns
    -------
    wcs : `TrueWcs`
        The errors are the same whenever they are drawn.
    """
    written = written_wcs(config, visit, detector)
    matrix = np.linalg.inv(written.wcs.cd * 3600.0)
    settings = config.astrometry
    rng = generator(seed, config.instrument, "astrometry field", visit.visit, detector)
    count = 8
    wavelength = settings.field_scale * rng.uniform(1.0, 4.0, count)
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    waves = (2.0 * np.pi / wavelength)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    amplitudes: Any = rng.normal(0.0, 1.0, (count, 2))
    amplitudes *= settings.field_error * math.sqrt(2.0 / count)
    shift = generator(seed, config.instrument, "astrometry shift", visit.visit).normal(
        0.0, settings.visit_shift, 2
    )
    zenith = math.radians(visit.parallactic_angle)
    tangent = math.sqrt(max(visit.airmass**2 - 1.0, 0.0))
    size = settings.refraction[visit.band] * tangent
    towards_zenith = size * np.array([math.sin(zenith), math.cos(zenith)])
    return TrueWcs(
        written, waves, rng.uniform(0, 2 * np.pi, count), amplitudes, matrix @ shift, matrix @ towards_zenith
    )
