"""Changes to training stamps that leave the label as it is."""

from __future__ import annotations

__all__ = ["Augmentation", "augment"]

import dataclasses
import math

import torch

from .networks.base import peak_of
from .training_rows import Batch

_CLEARANCE = 3.0
"""Pixels that stay around the outermost sources of a stamp whose edges are lost."""
_FAINTEST_PEAK = 5.0
"""No noise is added that would bring the brightest pixel below this, in units of the noise."""
_LEAST_NOISE = 0.2


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How often a training stamp is changed, and how; 0 turns a change off.

    Parameters
    ----------
    dihedral : `bool`
        Whether stamps are turned by quarters and mirrored, any of the eight ways alike.
    noise : `float`
        Probability that white noise is added, from 0.2 times to `most_noise` times that of the stamp,
        log-uniform. In units of the noise this is the same as fainter fluxes. Maps are not learnt from such a
        stamp, since their threshold goes with the noise.
    most_noise : `float`
        The largest noise added, over that of the stamp.
    edge : `float`
        Probability, for each side on its own, that a strip is lost, which has no source in it: smaller stamps
        and the edges of images.
    blind : `float`
        Probability that the PSF is unknown.
    psf_error : `float`
        Rms error of the logarithm of the PSF's width.
    """

    dihedral: bool = True
    noise: float = 0.3
    most_noise: float = 3.0
    edge: float = 0.1
    blind: float = 0.1
    psf_error: float = 0.03


def augment(batch: Batch, settings: Augmentation, generator: torch.Generator) -> Batch:
    """Change a batch at random.

    Parameters
    ----------
    batch : `~.training_rows.Batch`
        N rows.
    settings : `Augmentation`
        What is done.
    generator : `torch.Generator`
        Source of randomness, on the device of the batch.

    Returns
    -------
    batch : `~.training_rows.Batch`
        As many rows.
    """
    if settings.edge:
        batch = _lose_edges(batch, settings.edge, generator)
    if settings.noise:
        batch = _add_noise(batch, settings, generator)
    if settings.dihedral:
        batch = _turn(batch, generator)
    return dataclasses.replace(batch, psf_fwhm=_unsure(batch.psf_fwhm, settings, generator))


def _uniform(shape: tuple[int, ...], like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, device=like.device)


def _lose_edges(batch: Batch, probability: float, generator: torch.Generator) -> Batch:
    """Make strips beyond the outermost sources invalid."""
    count, size = len(batch.pixels), batch.pixels.shape[-1]
    # The stamp's own middle stays, too.
    low = batch.reach[:, [0, 2]].clamp(max=size / 2) - _CLEARANCE
    high = batch.reach[:, [1, 3]].clamp(min=size / 2) + _CLEARANCE
    room = torch.stack([low, size - 1 - high], dim=1).clamp(min=0.0)  # (N, side, axis)
    lost = room * _uniform((count, 2, 2), room, generator)
    lost = lost * (_uniform((count, 2, 2), room, generator) < probability)
    place = torch.arange(size, device=room.device)
    keep = (place >= lost[:, 0, :, None].round()) & (place <= size - 1 - lost[:, 1, :, None].round())
    inside = (keep[:, 1, :, None] & keep[:, 0, None, :]).float()[:, None]
    targets = dataclasses.replace(batch.targets, map_weight=batch.targets.map_weight * inside[:, 0])
    return dataclasses.replace(
        batch, pixels=batch.pixels * inside, valid=batch.valid * inside, targets=targets
    )


def _add_noise(batch: Batch, settings: Augmentation, generator: torch.Generator) -> Batch:
    """Add noise to some stamps; pixels stay in units of the noise."""
    count = len(batch.pixels)
    span = math.log(settings.most_noise / _LEAST_NOISE)
    ratio = _LEAST_NOISE * torch.exp(span * _uniform((count, 1, 1, 1), batch.pixels, generator))
    allowed = (peak_of(batch.pixels) / _FAINTEST_PEAK).square() - 1.0
    ratio = torch.minimum(ratio, allowed.clamp(min=0.0).sqrt())
    chosen = _uniform((count, 1, 1, 1), batch.pixels, generator) < settings.noise
    ratio = torch.where(chosen, ratio, 0.0)
    noise = torch.randn(batch.pixels.shape, generator=generator, device=batch.pixels.device)
    pixels = (batch.pixels + ratio * noise * batch.valid) / torch.sqrt(1.0 + ratio.square())
    weight = batch.targets.map_weight * (ratio == 0)[:, 0]
    targets = dataclasses.replace(batch.targets, map_weight=weight)
    return dataclasses.replace(batch, pixels=pixels, targets=targets)


def _turn(batch: Batch, generator: torch.Generator) -> Batch:
    """Turn and mirror stamps and maps alike."""
    count = len(batch.pixels)
    targets = batch.targets
    stack = torch.cat([batch.pixels, batch.valid, targets.map_weight[:, None], targets.maps], dim=1)
    flips = _uniform((3, count, 1, 1, 1), batch.pixels, generator) < 0.5
    stack = torch.where(flips[0], stack.flip(-1), stack)
    stack = torch.where(flips[1], stack.flip(-2), stack)
    stack = torch.where(flips[2], stack.transpose(-1, -2), stack)
    targets = dataclasses.replace(targets, map_weight=stack[:, 2], maps=stack[:, 3:])
    # What the sources reach is not needed any more, and would have to be turned.
    return dataclasses.replace(batch, pixels=stack[:, :1], valid=stack[:, 1:2], targets=targets)


def _unsure(psf_fwhm: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    shape = tuple(psf_fwhm.shape)
    error = torch.randn(shape, generator=generator, device=psf_fwhm.device) * settings.psf_error
    blind = _uniform(shape, psf_fwhm, generator) < settings.blind
    return torch.where(blind, torch.nan, psf_fwhm * torch.exp(error))
