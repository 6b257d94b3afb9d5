"""The sky of a survey: stars, galaxies, and what varies among them, the same for all visits."""

from __future__ import annotations

__all__ = ["Scene", "angle_on_image", "band_magnitude", "njy", "simulate_scene"]

import dataclasses
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from ...seeding import generator, hash63_array
from ..schemas import SIM_TRUTH_OBJECT
from .config import SurveyConfig
from .geometry import offset_sky, sky_extent
from .transients import Transients, Variability, draw_transients, draw_variability

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_COLOR_TERM = {"u": 1.35, "g": 0.70, "r": 0.0, "i": -0.30, "z": -0.45, "y": -0.52}
"""Magnitude minus r, per mag of g - i: straight lines through the stellar locus."""

_EPOCH = 61_000.0
"""MJD to which the positions of stars with proper motion refer."""


def band_magnitude(magnitude: ArrayLike, color: ArrayLike, band: str) -> F64:
    """Return magnitudes in a band from those in r and g - i."""
    return np.asarray(magnitude, float) + _COLOR_TERM[band] * np.asarray(color, float)


def njy(magnitude: ArrayLike) -> F64:
    """Return the flux of AB magnitudes, nJy."""
    return np.asarray(10.0 ** (0.4 * (31.4 - np.asarray(magnitude, float))))


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything in the sky. The first ``n_stars`` objects are stars, the rest galaxies.

    Parameters
    ----------
    truth_id
        Ids, int64 [N].
    n_stars
        Number of stars.
    ra, dec
        ICRS at MJD 61000, deg, [N].
    magnitude, color
        r, and g - i, mag, [N].
    motion
        Proper motion to east and north, arcsec / yr, [N, 2]; 0 for galaxies.
    bulge_fraction, disc_radius, bulge_radius, disc_axis_ratio, bulge_axis_ratio
        Shapes; half-light radii along the major axis, arcsec, 0 for stars; [N].
    position_angle
        Of the major axis, from north to east, radian, [N].
    variability
        Which of the objects vary, and how.
    transients
        What nobody injected.
    """

    truth_id: I64
    n_stars: int
    ra: F64
    dec: F64
    magnitude: F64
    color: F64
    motion: F64
    bulge_fraction: F64
    disc_radius: F64
    bulge_radius: F64
    disc_axis_ratio: F64
    bulge_axis_ratio: F64
    position_angle: F64
    variability: Variability
    transients: Transients

    def __len__(self) -> int:
        return len(self.ra)

    def position(self, mjd: float) -> tuple[F64, F64]:
        """Return (ra, dec) of all objects at a time, deg."""
        years = (mjd - _EPOCH) / 365.25
        dec = self.dec + self.motion[:, 1] * years / 3600.0
        return self.ra + self.motion[:, 0] * years / 3600.0 / np.cos(np.radians(self.dec)), dec

    def flux(self, band: str) -> F64:
        """Return the mean flux of all objects in a band, nJy."""
        return njy(band_magnitude(self.magnitude, self.color, band))

    def truth_table(self) -> Table:
        """Return the static objects as ``sim_truth_object`` (schema `SIM_TRUTH_OBJECT`)."""
        kind = np.where(np.arange(len(self)) < self.n_stars, "star", "galaxy")
        light = self.bulge_fraction * self.bulge_radius + (1 - self.bulge_fraction) * self.disc_radius
        columns = {
            "truth_id": self.truth_id,
            "kind": kind,
            "ra": self.ra,
            "dec": self.dec,
            "mag": self.magnitude,
            "color": self.color,
            "half_light_radius": light,
        }
        return SIM_TRUTH_OBJECT.build(columns)


def _counts(
    rng: np.random.Generator,
    per_area: float,
    at: float,
    slope: float,
    bright: float,
    faint: float,
    area: float,
) -> F64:
    """Draw magnitudes from N(<m) = per_area * 10^(slope (m - at)), between two limits."""
    high, low = (per_area * 10.0 ** (slope * (m - at)) for m in (faint, bright))
    count = int(rng.poisson(max(high - low, 0.0) * area))
    cumulative = rng.uniform(low, high, count)
    return np.asarray(at + np.log10(cumulative / per_area) / slope)


def _galaxy_shapes(rng: np.random.Generator, magnitude: F64, red: NDArray[np.bool_]) -> dict[str, F64]:
    """Draw sizes that shrink with magnitude, inclined discs, and rounder bulges."""
    n = len(magnitude)
    size = 10.0 ** (-0.13 * (magnitude - 20.0) + 0.05 + rng.normal(0.0, 0.18, n))
    fraction = np.where(red, rng.beta(5.0, 1.2, n), np.where(rng.random(n) < 0.4, 0.0, rng.beta(1.2, 5.0, n)))
    cosine = rng.uniform(0.0, 1.0, n)
    return {
        "bulge_fraction": np.where(fraction < 0.03, 0.0, fraction),
        "disc_radius": size,
        "bulge_radius": np.where(red, size * 0.9, 0.35 * size),
        "disc_axis_ratio": np.sqrt(cosine**2 + (1.0 - cosine**2) * 0.15**2),
        "bulge_axis_ratio": rng.uniform(0.55, 1.0, n),
        "position_angle": rng.uniform(0.0, np.pi, n),
    }


def _stars(config: SurveyConfig, seed: int, area: float) -> tuple[F64, F64]:
    rng = generator(seed, config.instrument, "stars")
    sky = config.sky
    magnitude = _counts(rng, sky.star_density, 20.0, sky.star_slope, sky.brightest_star, sky.limit, area)
    dwarf = rng.random(len(magnitude)) < np.clip(0.25 + 0.06 * (magnitude - 18.0), 0.1, 0.7)
    color = np.where(dwarf, rng.normal(2.3, 0.35, len(magnitude)), rng.normal(0.7, 0.2, len(magnitude)))
    return magnitude, color


def simulate_scene(config: SurveyConfig, seed: int) -> Scene:
    """Draw the sky.

    Parameters
    ----------
    config : `SurveyConfig`
        The survey.
    seed : `int`
        Its seed.

    Returns
    -------
    scene : `Scene`
        The same for all visits; it covers every detector, pointing and rotation.
    """
    width, height = sky_extent(config)
    area = width * height / 3600.0
    star_magnitude, star_color = _stars(config, seed, area)
    rng = generator(seed, config.instrument, "galaxies")
    sky = config.sky
    magnitude = _counts(
        rng, sky.galaxy_density, 24.0, sky.galaxy_slope, sky.brightest_galaxy, sky.limit, area
    )
    red = rng.random(len(magnitude)) < 0.18
    color = np.where(red, rng.normal(1.9, 0.25, len(magnitude)), rng.normal(0.8, 0.3, len(magnitude)))
    shapes = _galaxy_shapes(rng, magnitude, red)
    n_stars, n = len(star_magnitude), len(star_magnitude) + len(magnitude)
    place = generator(seed, config.instrument, "positions")
    ra, dec = offset_sky(
        sky.ra, sky.dec, width * place.uniform(-0.5, 0.5, n), height * place.uniform(-0.5, 0.5, n)
    )
    motion = np.zeros((n, 2))
    motion[:n_stars] = generator(seed, config.instrument, "motion").normal(
        0.0, config.astrometry.proper_motion, (n_stars, 2)
    )
    columns: dict[str, Any] = {k: np.concatenate([np.zeros(n_stars), v]) for k, v in shapes.items()}
    for name in ("disc_axis_ratio", "bulge_axis_ratio"):
        columns[name][:n_stars] = 1.0
    truth_id = hash63_array(n, seed, config.instrument, "object")
    all_magnitude = np.concatenate([star_magnitude, magnitude])
    scene = Scene(
        truth_id=truth_id,
        n_stars=n_stars,
        ra=ra,
        dec=dec,
        magnitude=all_magnitude,
        color=np.concatenate([star_color, color]),
        motion=motion,
        variability=draw_variability(config, seed, n_stars, all_magnitude, truth_id),
        transients=Transients.none(),
        **columns,
    )
    megapixels = width * height / config.camera.pixel_scale**2 / 1e6
    return dataclasses.replace(scene, transients=draw_transients(config, seed, scene, megapixels))


def angle_on_image(position_angle: F64, matrix: F64) -> F64:
    """Turn position angles (north to east, radian) into angles from +x to +y.

    Parameters
    ----------
    position_angle
        radian, [N].
    matrix
        From (east, north) to (x, y), [2, 2].
    """
    direction = matrix @ np.stack([np.sin(position_angle), np.cos(position_angle)])
    return np.asarray(np.arctan2(direction[1], direction[0]))
