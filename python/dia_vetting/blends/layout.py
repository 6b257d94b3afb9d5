"""Where the sources of a stamp are: kind, number and positions."""

from __future__ import annotations

__all__ = ["KINDS", "Layout", "draw_layout", "observed_radius"]

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .presets import Kind, Preset
from .stamps import MAX_SOURCES

type F64 = NDArray[np.float64]

KINDS: tuple[Kind, ...] = ("single", "blend", "separated")
"""Kinds of stamps."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Kind, number of sources and positions of N stamps.

    Parameters
    ----------
    kind : `numpy.ndarray`, (N,), ``U9``
        One of `KINDS`.
    n_sources : `numpy.ndarray`, (N,), int64
        Number of sources.
    x, y : `numpy.ndarray`, (N, 5), float64
        Positions, 0 at the middle of the first pixel, pixel; NaN beyond ``n_sources``.
    """

    kind: NDArray[np.str_]
    n_sources: NDArray[np.int64]
    x: F64
    y: F64

    def __getitem__(self, index: slice) -> Layout:
        return Layout(self.kind[index], self.n_sources[index], self.x[index], self.y[index])

    def without_companions(self) -> Layout:
        """Return the central sources alone, each a ``single``."""
        x, y = (np.where(np.arange(MAX_SOURCES) == 0, axis, np.nan) for axis in (self.x, self.y))
        return Layout(np.full_like(self.kind, "single"), np.ones_like(self.n_sources), x, y)


def observed_radius(radius: ArrayLike, fwhm: ArrayLike) -> F64:
    """Return the half-light radius of sources after the PSF, as if both were Gaussian.

    Parameters
    ----------
    radius : array-like
        Half-light radius before the PSF; 0 for a star.
    fwhm : array-like
        FWHM of the PSF, in the same unit. The half-light radius of a Gaussian is half its FWHM.
    """
    return np.hypot(radius, 0.5 * np.asarray(fwhm, np.float64))


def draw_layout(preset: Preset, radius: F64, rng: np.random.Generator) -> Layout:
    """Draw kinds and positions.

    The central source is within half a pixel of the middle of the stamp along each axis. Companions are
    placed about it, in a direction that is uniform and without regard to one another.

    Parameters
    ----------
    preset : `Preset`
        Fractions and distances.
    radius : `numpy.ndarray`, (N, 5), float64
        Observed half-light radii of the sources (see `observed_radius`), pixel.
    rng : `numpy.random.Generator`
        Source of the random numbers.

    Returns
    -------
    layout : `Layout`
        One row per stamp.
    """
    count = len(radius)
    fractions = tuple(preset.kinds.fractions.get(kind, 0.0) for kind in KINDS)
    kind = np.array(KINDS)[_choices(fractions, count, rng)]
    blended = 2 + _choices(preset.kinds.sources, count, rng)
    n_sources = np.where(kind == "blend", blended, np.where(kind == "separated", 2, 1)).astype(np.int64)
    centre = preset.centre + rng.uniform(-0.5, 0.5, (2, count, 1))
    place = _in_square if preset.layout.offset else _in_rings
    offset = place(preset, radius, kind == "separated", rng)
    x, y = centre + np.concatenate([np.zeros((2, count, 1)), offset], axis=2)
    present = np.arange(MAX_SOURCES) < n_sources[:, None]
    return Layout(kind, n_sources, *(np.where(present, axis, np.nan) for axis in (x, y)))


def _choices(fractions: tuple[float, ...], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return indices with these probabilities, from one random number each."""
    edges = np.cumsum(fractions)[:-1]
    return np.searchsorted(edges, rng.random(count), side="right").astype(np.int64)


def _in_square(preset: Preset, radius: F64, separated: NDArray[np.bool_], rng: np.random.Generator) -> F64:
    """Return offsets of companions, (2, N, 4), that are uniform in a square."""
    assert preset.layout.offset is not None
    return rng.uniform(*preset.layout.offset, (2, len(radius), MAX_SOURCES - 1))


def _in_rings(preset: Preset, radius: F64, separated: NDArray[np.bool_], rng: np.random.Generator) -> F64:
    """Return offsets of companions, (2, N, 4), whose distance is uniform between two limits."""
    model = preset.layout
    unit = radius[:, :1] + radius[:, 1:]
    low = np.where(separated[:, None], model.separated, model.blend[0]) * unit
    high = np.where(separated[:, None], preset.reach, np.minimum(model.blend[1] * unit, preset.reach))
    distance = low + (high - low) * rng.random(unit.shape)
    angle = 2.0 * np.pi * rng.random(unit.shape)
    return np.asarray(distance * np.stack([np.cos(angle), np.sin(angle)]))
