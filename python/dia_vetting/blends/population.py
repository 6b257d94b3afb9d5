"""What the sources of a stamp are like: stars, and galaxies of a bulge and a disc."""

from __future__ import annotations

__all__ = ["BULGE_INDICES", "Sources", "draw_sources"]

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from .knots import Knots
from .presets import PopulationModel
from .stamps import MAX_SOURCES

type F64 = NDArray[np.float64]

BULGE_INDICES = (2.0, 2.5, 3.0, 3.5, 4.0)
"""Sersic indices of bulges; discs have 1."""

_SHEAR_LIMIT = 0.6  # largest reduced shear of a galaxy; an axis ratio of 1 to 4


@dataclasses.dataclass(frozen=True)
class Sources:
    """Sources of N stamps, M columns; the first column is the central source.

    Parameters
    ----------
    star : `numpy.ndarray`, (N, M), bool
        Whether it is a point.
    magnitude : `numpy.ndarray`, (N, M), float64
        AB, in the reference band.
    radius : `numpy.ndarray`, (N, M), float64
        Half-light radius of the disc, arcsec; 0 for stars.
    bulge_fraction : `numpy.ndarray`, (N, M), float64
        Fraction of the light in the bulge.
    bulge_radius : `numpy.ndarray`, (N, M), float64
        Half-light radius of the bulge, arcsec.
    bulge_index : `numpy.ndarray`, (N, M), int64
        Position of its Sersic index in `BULGE_INDICES`.
    shear : `numpy.ndarray`, (N, M), complex128
        Reduced shear of bulge and disc, ``g1 + i g2``.
    colour : `numpy.ndarray`, (N, M), float64
        Common colour, in standard deviations from the mean.
    galaxy : `numpy.ndarray`, (N, M), int64
        Position in a catalog of real galaxies; -1 for parametric ones.
    knots : `.knots.Knots`, optional
        Knots of light in the discs, whose light is part of theirs; without, discs are smooth.
    """

    star: NDArray[np.bool_]
    magnitude: F64
    radius: F64
    bulge_fraction: F64
    bulge_radius: F64
    bulge_index: NDArray[np.int64]
    shear: NDArray[np.complex128]
    colour: F64
    galaxy: NDArray[np.int64]
    knots: Knots | None = None

    def __getitem__(self, index: slice) -> Sources:
        names = [f.name for f in dataclasses.fields(self) if f.name != "knots"]
        knots = None if self.knots is None else self.knots[index]
        return Sources(**{name: getattr(self, name)[index] for name in names}, knots=knots)


def draw_sources(model: PopulationModel, count: int, rng: np.random.Generator) -> Sources:
    """Draw the sources of stamps.

    Parameters
    ----------
    model : `PopulationModel`
        Population.
    count : `int`
        Number of stamps.
    rng : `numpy.random.Generator`
        Source of the random numbers.

    Returns
    -------
    sources : `Sources`
        `MAX_SOURCES` columns, whatever number a stamp is to have.
    """
    shape = (count, MAX_SOURCES)
    star = rng.random(shape) < model.star_fraction
    magnitude = _magnitudes(model, shape, rng)
    radius = np.where(star, 0.0, _radii(model, magnitude, rng))
    return Sources(
        star=star,
        magnitude=magnitude,
        radius=radius,
        bulge_fraction=rng.beta(0.8, 2.0, shape),  # mean 0.29, a quarter below 0.07
        bulge_radius=radius * rng.uniform(*model.bulge_size, shape),
        bulge_index=rng.integers(len(BULGE_INDICES), size=shape),
        shear=np.where(star, 0.0, _shears(model.ellipticity, shape, rng)),
        colour=rng.normal(size=shape),
        galaxy=np.full(shape, -1),
    )


def _magnitudes(model: PopulationModel, shape: tuple[int, int], rng: np.random.Generator) -> F64:
    """Return magnitudes of number counts that rise exponentially; a companion is within the contrast."""
    bright, faint = model.magnitude
    uniform = rng.random(shape)
    central = _from_counts(uniform[:, :1], bright, np.full((len(uniform), 1), faint), model.slope)
    companions = _from_counts(
        uniform[:, 1:], bright, np.minimum(faint, central + model.contrast), model.slope
    )
    return np.concatenate([central, companions], axis=1)


def _from_counts(uniform: F64, bright: float, faint: F64, slope: float) -> F64:
    span = 10.0 ** (slope * (faint - bright)) - 1.0
    return np.asarray(bright + np.log10(1.0 + uniform * span) / slope)


def _radii(model: PopulationModel, magnitude: F64, rng: np.random.Generator) -> F64:
    """Return log-normal radii, truncated at the limits."""
    centre = np.log10(model.size) + model.size_slope * (magnitude - 22.0)
    low, high = (ndtr((np.log10(limit) - centre) / model.size_scatter) for limit in model.size_range)
    deviate = ndtri(low + (high - low) * rng.random(magnitude.shape))
    return np.asarray(10.0 ** (centre + model.size_scatter * deviate))


def _shears(rms: float, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    """Return shears whose components are normal, their size truncated: a Rayleigh distribution."""
    tail = 1.0 - np.exp(-0.5 * (_SHEAR_LIMIT / rms) ** 2)
    size = rms * np.sqrt(-2.0 * np.log1p(-tail * rng.random(shape)))
    return np.asarray(size * np.exp(2j * np.pi * rng.random(shape)))
