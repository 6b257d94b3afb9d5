"""The same scenes behind a gravitational lens: one reduced shear of all galaxies, and of where they are."""

from __future__ import annotations

__all__ = ["sheared_layout", "sheared_sources"]

import dataclasses

import numpy as np

from .layout import Layout
from .population import Sources


def sheared_sources(sources: Sources, shear: complex) -> Sources:
    """Return galaxies behind a lens that shears and does not magnify.

    Parameters
    ----------
    sources : `Sources`
        N stamps.
    shear : `complex`
        Reduced shear ``g = g1 + i g2``, smaller than 1.

    Returns
    -------
    sources : `Sources`
        The same with shears ``(g + s) / (1 + conj(g) s)``: what a profile that is round before the shear s
        becomes (Bernstein & Jarvis 2002, AJ 123, 583, section 2.2). Areas and fluxes stay. Stars are points
        before and after.
    """
    own = sources.shear
    seen = (shear + own) / (1.0 + np.conj(shear) * own)
    return dataclasses.replace(sources, shear=np.where(sources.star, own, seen))


def sheared_layout(layout: Layout, centre: float, shear: complex) -> Layout:
    """Return positions behind the same lens, about the middle of the stamp.

    Parameters
    ----------
    layout : `Layout`
        N stamps.
    centre : `float`
        Middle of the stamp along each axis, pixel.
    shear : `complex`
        Reduced shear.

    Returns
    -------
    layout : `Layout`
        Offsets ``z = x + i y`` from the middle become ``(z + g conj(z)) / sqrt(1 - |g|^2)``.
    """
    offset = (layout.x - centre) + 1j * (layout.y - centre)
    moved = (offset + shear * np.conj(offset)) / np.sqrt(1.0 - abs(shear) ** 2)
    return dataclasses.replace(layout, x=centre + moved.real, y=centre + moved.imag)
