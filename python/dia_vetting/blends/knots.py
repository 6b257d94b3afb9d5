"""Knots of light in discs: star-forming regions and pieces of spiral arms, which are no sources apart."""

from __future__ import annotations

__all__ = ["MAX_KNOTS", "Knots", "draw_knots"]

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .presets import PopulationModel

type F64 = NDArray[np.float64]

MAX_KNOTS = 12
"""Largest number of knots in a galaxy."""

_RADII = (0.3, 2.2)  # range of their distance from the centre, half-light radii of the disc
_SIZES = (0.03, 0.25)  # range of their rms size, half-light radii of the disc
_ARMED = 0.5  # fraction of the galaxies with knots along two arms, the others have them anywhere
_PITCH = (10.0, 40.0)  # range of the pitch angle of arms, degree
_ARM_WIDTH = 0.25  # rms of the angle from the arm, radian


@dataclasses.dataclass(frozen=True)
class Knots:
    """Knots of the sources of N stamps, M columns, K knots each.

    Parameters
    ----------
    share : `numpy.ndarray`, (N, M, K), float64
        Fraction of the disc's light; 0 where there is no knot.
    dx, dy : `numpy.ndarray`, (N, M, K), float64
        Distance from the centre of the round disc, before it is sheared, half-light radii of the disc.
    size : `numpy.ndarray`, (N, M), float64
        Rms of a Gaussian along each axis, half-light radii of the disc.
    """

    share: F64
    dx: F64
    dy: F64
    size: F64

    def __getitem__(self, index: slice) -> Knots:
        return Knots(self.share[index], self.dx[index], self.dy[index], self.size[index])


def draw_knots(model: PopulationModel, star: NDArray[np.bool_], rng: np.random.Generator) -> Knots | None:
    """Draw the knots of sources.

    Their distances follow the light of an exponential disc within limits; half of the galaxies have them
    along two logarithmic spirals. Number, light and sizes are chosen here, wide enough for what real galaxies
    show.

    Parameters
    ----------
    model : `PopulationModel`
        Population.
    star : `numpy.ndarray`, (N, M), bool
        Sources that have none.
    rng : `numpy.random.Generator`
        Source of the random numbers.

    Returns
    -------
    knots : `Knots` or `None`
        `None` if no galaxy of the population has any.
    """
    if model.knotty_fraction == 0.0:
        return None
    shape = (*star.shape, MAX_KNOTS)
    number = rng.integers(1, MAX_KNOTS + 1, star.shape)
    number[star | (rng.random(star.shape) >= model.knotty_fraction)] = 0
    weight = np.where(np.arange(MAX_KNOTS) < number[..., None], rng.exponential(size=shape), 0.0)
    total = rng.uniform(*model.knot_light, star.shape)
    share = total[..., None] * weight / np.maximum(weight.sum(axis=2, keepdims=True), 1e-9)
    distance = _distances(shape, rng)
    angle = np.where((rng.random(star.shape) < _ARMED)[..., None], *_angles(distance, rng))
    return Knots(share, distance * np.cos(angle), distance * np.sin(angle), rng.uniform(*_SIZES, star.shape))


def _distances(shape: tuple[int, ...], rng: np.random.Generator) -> F64:
    """Return distances that follow an exponential disc, whose scale is its half-light radius over 1.678."""
    grid = np.linspace(*_RADII, 200)
    light = np.cumsum(grid * np.exp(-1.678 * grid))
    return np.asarray(np.interp(rng.random(shape), (light - light[0]) / (light[-1] - light[0]), grid))


def _angles(distance: F64, rng: np.random.Generator) -> tuple[F64, F64]:
    """Return angles along two arms, and anywhere."""
    galaxy = distance.shape[:-1]
    pitch = np.deg2rad(rng.uniform(*_PITCH, galaxy)) * rng.choice([-1.0, 1.0], galaxy)
    arm = np.log(distance) / np.tan(pitch)[..., None] + np.pi * rng.integers(2, size=distance.shape)
    return arm + _ARM_WIDTH * rng.normal(size=distance.shape), 2.0 * np.pi * rng.random(distance.shape)
