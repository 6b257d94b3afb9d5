"""Changes to training stamps that leave the label as it is: what other cameras, edges and alerts would show.

Only what can happen to a stamp on its way from the sky to a network is done here. Fluxes, noise and PSF stay
as they are: they are what tells sources from artefacts.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .inputs import CHANNELS

__all__ = ["Augmentation", "augment", "hide", "rearrange"]

_FLAGGED = CHANNELS.index("flagged")
_PROTECTED = 1.5
"""Half side of the central square that is never hidden, pixels: 3 x 3, or 4 x 4 in a stamp of even side."""
_NEAREST_EDGE = 2.5
"""Smallest distance of an edge from the centre, pixels: beyond the corners of the protected square."""
_LARGEST_HOLE = 0.45
"""Largest side of a hole in units of the stamp's: 20 % of its pixels."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How often a training stamp is changed, and how; 0 turns a change off.

    Parameters
    ----------
    dihedral : `float`
        Probability of a turn by quarters and a mirror image, any of the eight alike. The sky knows no up
        (Dieleman et al. 2015, arXiv:1503.07077).
    unflagged : `float`
        Probability that the ``flagged`` channel is emptied: alert packets have no mask planes.
    edge : `float`
        Probability that all beyond a straight line past the centre is lost, as at the edge of a detector
        (along the pixels) or of a template (at any angle), each in one case of two.
    hole : `float`
        Probability that a block of pixels or up to three whole columns are lost, at most 20 % of the stamp:
        saturated cores, bad columns, the NaN columns of real alerts. The central pixels always stay.
    shift : `float`
        Probability of a shift by up to one pixel along either axis: stamps are cut out at the rounded
        position of a centroid that has an error. What comes in from outside is not valid.
    blind : `float`
        Probability, for each number beside the stamp on its own, that it is unknown: not every stream gives
        a PSF or a band.

    Raises
    ------
    ValueError
        If a probability is not in [0, 1].
    """

    dihedral: float = 1.0
    unflagged: float = 0.3
    edge: float = 0.1
    hole: float = 0.1
    shift: float = 0.2
    blind: float = 0.2

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float) and 0 <= value <= 1):
                raise ValueError(f"{field.name} must be a probability, not {value!r}")


def augment(
    stamps: torch.Tensor, metadata: torch.Tensor, settings: Augmentation, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change a batch of training stamps at random.

    Parameters
    ----------
    stamps : `torch.Tensor`, (N, 5, S, S), float32
        Network inputs as [n, channel, y, x] in the order of `~.inputs.CHANNELS`; left as they are.
    metadata : `torch.Tensor`, (N, M), float32
        Numbers beside the stamps; left as they are.
    settings : `Augmentation`
        What is done and how often.
    rng : `numpy.random.Generator`
        What decides.

    Returns
    -------
    stamps, metadata : `torch.Tensor`
        Changed copies, on the same device.
    """
    count, size = len(stamps), stamps.shape[-1]
    elements = np.where(rng.random(count) < settings.dihedral, rng.integers(8, size=count), 0)
    moved = rng.random((count, 1)) < settings.shift
    stamps = rearrange(stamps, elements, np.where(moved, rng.integers(-1, 2, (count, 2)), 0))
    hidden = np.zeros((count, size, size), dtype=bool)
    cut = np.flatnonzero(rng.random(count) < settings.edge)
    hidden[cut] |= _beyond_edges(len(cut), size, rng)
    holed = np.flatnonzero(rng.random(count) < settings.hole)
    hidden[holed] |= _holes(len(holed), size, rng)
    stamps = hide(stamps, hidden)
    unflagged = np.flatnonzero(rng.random(count) < settings.unflagged)
    stamps[torch.from_numpy(unflagged).to(stamps.device), _FLAGGED] = 0
    known = torch.from_numpy(rng.random(tuple(metadata.shape)) >= settings.blind)
    return stamps, metadata * known.to(metadata.device)


def rearrange(
    stamps: torch.Tensor, elements: NDArray[np.integer], steps: NDArray[np.integer]
) -> torch.Tensor:
    """Turn, mirror and shift each stamp by its own amount; what comes in from outside is 0: not valid.

    Parameters
    ----------
    stamps : `torch.Tensor`, (N, C, S, S)
        Network inputs.
    elements : `numpy.ndarray`, (N,), int
        Element of the symmetry group of the square. 0 to 3: quarter turns; 4 to 7: the same after a mirror
        along x.
    steps : `numpy.ndarray`, (N, 2), int
        Shift of -1, 0 or 1 pixel along y and x, after the turn; positive ones move the image to larger
        coordinates.

    Returns
    -------
    stamps : `torch.Tensor`, (N, C, S, S)
        A copy.
    """
    count, channels, size, _ = stamps.shape
    pixel = _sources(size)[elements, steps[:, 0] + 1, steps[:, 1] + 1]
    pixel = pixel.to(stamps.device).reshape(count, 1, size**2).expand(-1, channels, -1)
    moved = torch.gather(stamps.reshape(count, channels, size**2), 2, pixel).reshape(stamps.shape)
    for axis in (0, 1):
        for step, border in ((1, 0), (-1, size - 1)):
            rows = torch.from_numpy(np.flatnonzero(steps[:, axis] == step)).to(stamps.device)
            moved[(rows, slice(None)) + (slice(None),) * axis + (border,)] = 0
    return moved


@functools.lru_cache(maxsize=4)
def _sources(size: int) -> torch.Tensor:
    """Return the flat index of the source of each pixel, (8, 3, 3, S, S), by element and steps + 1."""
    index = np.arange(size**2).reshape(size, size)
    turned = np.stack(
        [np.rot90(np.fliplr(index) if element >= 4 else index, element % 4) for element in range(8)]
    )
    padded = np.pad(turned, ((0, 0), (1, 1), (1, 1)), mode="edge")
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::-1, ::-1]
    return torch.from_numpy(np.ascontiguousarray(windows))


def hide(stamps: torch.Tensor, hidden: NDArray[np.bool_]) -> torch.Tensor:
    """Make pixels invalid: 0 in every channel, but for the central ones.

    Parameters
    ----------
    stamps : `torch.Tensor`, (N, C, S, S)
        Network inputs; changed in place.
    hidden : `numpy.ndarray`, (N, S, S), bool
        Pixels to hide.

    Returns
    -------
    stamps : `torch.Tensor`, (N, C, S, S)
        The same tensor.
    """
    rows = np.flatnonzero(hidden.any(axis=(1, 2)))
    if len(rows):
        grid = np.abs(_grid(hidden.shape[-1])) <= _PROTECTED
        kept = torch.from_numpy(~hidden[rows] | (grid[:, None] & grid)).to(stamps.device)
        index = torch.from_numpy(rows).to(stamps.device)
        stamps[index] = stamps[index] * kept[:, None]
    return stamps


def _grid(size: int) -> NDArray[np.float64]:
    """Return the coordinate of each pixel along an axis, from the centre of the stamp."""
    return np.arange(size, dtype=np.float64) - (size - 1) / 2


def _beyond_edges(count: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return, for each of some stamps, the pixels beyond a random line, (n, S, S)."""
    quarter = rng.integers(4, size=count)
    angle = 0.5 * np.pi * np.where(rng.random(count) < 0.5, quarter, 4 * rng.random(count))
    distance = rng.uniform(_NEAREST_EDGE, size / 2, count)
    along_y = np.sin(angle)[:, None, None] * _grid(size)[:, None]
    along_x = np.cos(angle)[:, None, None] * _grid(size)
    return np.asarray(along_y + along_x > distance[:, None, None])


def _holes(count: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return, for each of some stamps, the pixels of a random block or of up to three columns, (n, S, S)."""
    side = rng.integers(2, int(_LARGEST_HOLE * size) + 1, (count, 2))
    columns = rng.random(count) < 0.5
    side[columns, 0] = size
    side[columns, 1] = rng.integers(1, 4, count)[columns]
    first = np.floor(rng.random((count, 2)) * (size - side + 1)).astype(int)
    pixel = np.arange(size)
    inside = (pixel >= first[:, :, None]) & (pixel < (first + side)[:, :, None])
    return np.asarray(inside[:, 0, :, None] & inside[:, 1, None, :])
