"""Our network: convolutional and residual, for any noise and PSF, with heads for kind, number and maps."""

from __future__ import annotations

__all__ = ["BlendNet", "build"]

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from .base import (
    KINDS,
    MAX_COUNT,
    SURELY_ALONE,
    BlendNetwork,
    Outputs,
    Targets,
    compressed,
    kind_losses,
    peak_of,
)
from .options import BlendNetOptions

_CONDITIONS = 3
_EMBEDDING = 16
_COUNT_WEIGHT = 0.5
_MAP_WEIGHT = 0.3
_JACCARD_WEIGHT = 0.3
_SOURCE_LOGIT, _OVERLAP_LOGIT = -2.5, -5.0
_TYPICAL_PSF = 4.0
"""FWHM at which the network's input for it is 0, pixels."""


type _Mask = torch.Tensor | None


def _convolution(n_in: int, n_out: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, size, stride=stride, padding=(size - 1) // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out))


def _masks(valid: torch.Tensor) -> list[_Mask]:
    """Return where at three resolutions any pixel is valid, (N, 1, s, s) each; `None` for everywhere."""
    masks: list[_Mask] = [functional.max_pool2d(valid, factor, ceil_mode=True) for factor in (2, 4, 8)]
    assert masks[0] is not None
    return masks if bool((masks[0] == 0).any()) else [None] * 3


def _masked(maps: torch.Tensor, mask: _Mask) -> torch.Tensor:
    return maps if mask is None else maps * mask


class _Block(nn.Module):
    """Residual block (He et al. 2016, arXiv:1512.03385) whose inner maps are scaled and shifted (FiLM).

    By how much follows from the noise and the PSF (Perez et al. 2018, arXiv:1709.07871). Where no pixel is
    valid all maps are 0, as beyond their edges: how much of nothing there is around a stamp does not matter.
    """

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _convolution(n_in, n_out, stride)
        self.second = _convolution(n_out, n_out)
        self.steer = nn.Linear(_EMBEDDING, 2 * n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            conv = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(n_out))

    def forward(self, maps: torch.Tensor, embedding: torch.Tensor, mask: _Mask) -> torch.Tensor:
        scale, shift = self.steer(embedding)[:, :, None, None].chunk(2, dim=1)
        inner = torch.addcmul(shift, self.first(maps), 1 + scale)
        inner = _masked(torch.relu_(inner), mask)
        return _masked(torch.relu_(self.second(inner) + self.shortcut(maps)), mask)


class _Features(NamedTuple):
    """What the maps are made of: maps at half and a quarter of the resolution, and what the head sees."""

    half: torch.Tensor
    quarter: torch.Tensor
    hidden: torch.Tensor
    mask: _Mask

    def where(self, rows: torch.Tensor) -> _Features:
        """Return the features of some stamps."""
        mask = None if self.mask is None else self.mask[rows]
        return _Features(self.half[rows], self.quarter[rows], self.hidden[rows], mask)


class BlendNet(BlendNetwork):
    """Three resolutions, a head that knows the middle, and maps at full resolution.

    The first convolution has 6 x 6 pixels, so that each value at half the resolution has its own 2 x 2 and
    what is next to them. The head sees mean and maximum of the last maps over the valid pixels, and their
    values in the middle, where the source is that the question is about. The maps come from a quarter and
    half the resolution, and from what the head sees.

    Parameters
    ----------
    options : `~.options.BlendNetOptions`
        Size and dropout.
    """

    ignores_padding = True

    def __init__(self, options: BlendNetOptions) -> None:
        super().__init__()
        half, quarter, eighth = options.width, 2 * options.width, 3 * options.width
        self.embed = nn.Linear(_CONDITIONS, _EMBEDDING)
        self.stem = _convolution(4, half, 2, 6)
        self.fine = nn.ModuleList(_Block(half, half) for _ in range(options.fine))
        self.quarter = nn.ModuleList([_Block(half, quarter, 2)])
        self.quarter.extend(_Block(quarter, quarter) for _ in range(options.depth - 1))
        self.eighth = nn.ModuleList([_Block(quarter, eighth, 2)])
        self.eighth.extend(_Block(eighth, eighth) for _ in range(options.depth - 1))
        self.hidden = nn.Linear(3 * eighth + quarter + _EMBEDDING, options.hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.kinds = nn.Linear(options.hidden, len(KINDS))
        self.counts = nn.Linear(options.hidden, MAX_COUNT)
        self.up = nn.Conv2d(quarter, 4 * half, 1)
        self.context = nn.Linear(options.hidden, half)
        last = nn.Conv2d(half, 8, 1)
        self.decode = nn.Sequential(*_convolution(half, half), nn.ReLU(), last)
        # Maps start as empty as they are: else the first hundreds of updates go there (Lin et al. 2017,
        # arXiv:1708.02002, section 4.1).
        assert last.bias is not None
        nn.init.constant_(last.bias[:4], _SOURCE_LOGIT)
        nn.init.constant_(last.bias[4:], _OVERLAP_LOGIT)

    def forward(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None = None
    ) -> Outputs:
        """Return kinds, counts and maps; the maps are at the resolution of the stamps."""
        kinds, counts, features = self._heads(pixels, valid, psf_fwhm, middle)
        return Outputs(kinds, counts, self._maps(features, pixels.shape[-1]))

    def scored(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None = None
    ) -> Outputs:
        """Return the same, without maps of what is surely alone: a fifth of the work."""
        kinds, counts, features = self._heads(pixels, valid, psf_fwhm, middle)
        rows = (kinds.softmax(1)[:, 0] < SURELY_ALONE).nonzero()[:, 0]
        maps = self._maps(features.where(rows), pixels.shape[-1])
        return Outputs(kinds, counts, maps, map_rows=rows)

    def _heads(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None
    ) -> tuple[torch.Tensor, torch.Tensor, _Features]:
        size = pixels.shape[-1]
        embedding = torch.tanh(self.embed(_conditions(pixels, psf_fwhm)))
        padding = (0, -size % 4, 0, -size % 4)
        valid = functional.pad(valid, padding)
        masks = _masks(valid)
        half = self.stem(compressed(functional.pad(pixels, padding), valid))
        half = _masked(torch.relu_(half), masks[0])
        for block in self.fine:
            half = block(half, embedding, masks[0])
        quarter = half
        for block in self.quarter:
            quarter = block(quarter, embedding, masks[1])
        eighth = quarter
        for block in self.eighth:
            eighth = block(eighth, embedding, masks[2])
        middle = (size - 1) / 2 if middle is None else middle
        seen = [*_pooled(eighth, valid, middle / 8), _centre(quarter, middle / 4), embedding]
        hidden = torch.relu(self.hidden(torch.cat(seen, dim=1)))
        dropped = self.dropout(hidden)
        features = _Features(half, quarter, hidden, masks[0])
        return self.kinds(dropped).float(), self.counts(dropped).float(), features

    def _maps(self, features: _Features, size: int) -> torch.Tensor:
        up = functional.pixel_shuffle(self.up(features.quarter), 2) + features.half
        up = up + self.context(features.hidden)[:, :, None, None]
        maps = functional.pixel_shuffle(self.decode(_masked(torch.relu_(up), features.mask)), 2)
        return maps[..., :size, :size].float()

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """Return cross-entropies of kind, number and maps, added up."""
        assert outputs.counts is not None
        assert outputs.maps is not None
        loss = kind_losses(outputs.kinds, targets).mean()
        loss = loss + _COUNT_WEIGHT * functional.cross_entropy(outputs.counts, targets.count)
        each = functional.binary_cross_entropy_with_logits(outputs.maps, targets.maps, reduction="none")
        weight = targets.map_weight[:, None]
        # Sums over all pixels per pixel with a source: how much of a stamp is empty must not matter.
        sources = (targets.maps[:, :1] * weight).sum().clamp(min=1.0)
        loss = loss + _MAP_WEIGHT * (each * weight).sum() / sources
        return loss + _JACCARD_WEIGHT * _jaccard_losses(outputs.maps, targets).mean()


def _jaccard_losses(maps: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return one minus the intersection over union of each map, over the whole batch: (2,).

    Overlaps are a few pixels of a stamp, which a cross-entropy alone is slow to care for (Rahman & Wang 2016,
    doi:10.1007/978-3-319-50835-1_22).
    """
    weight = targets.map_weight[:, None]
    found, true = maps.sigmoid() * weight, targets.maps * weight
    both = (found * true).sum((0, 2, 3))
    return 1.0 - both / (found + true - found * true).sum((0, 2, 3)).clamp(min=1.0)


def _conditions(pixels: torch.Tensor, psf_fwhm: torch.Tensor) -> torch.Tensor:
    """Return the noise over the brightest pixel (log), the PSF (log), and whether that is known: (N, 3)."""
    known = torch.isfinite(psf_fwhm)
    psf = torch.where(known, psf_fwhm, _TYPICAL_PSF).clamp(min=0.1)
    noise = -torch.log(peak_of(pixels)[:, 0, 0, 0]) / 4.0
    return torch.stack([noise, 2.0 * torch.log(psf / _TYPICAL_PSF), known.float()], dim=1)


def _pooled(maps: torch.Tensor, valid: torch.Tensor, middle: float) -> list[torch.Tensor]:
    """Return mean and maximum over the valid part of maps of (N, C, s, s), and the middle, each (N, C)."""
    factor = math.ceil(valid.shape[-1] / maps.shape[-1])
    part = functional.avg_pool2d(valid, factor, ceil_mode=True)
    mean = (maps * part).sum((2, 3)) / part.sum((2, 3)).clamp(min=1.0)
    return [mean, (maps * (part > 0)).amax((2, 3)), _centre(maps, middle)]


def _centre(maps: torch.Tensor, middle: float) -> torch.Tensor:
    """Return the mean of the 2 x 2 values of maps about a place along both axes: (N, C)."""
    first = min(max(math.floor(middle), 0), maps.shape[-1] - 2)
    return maps[:, :, first : first + 2, first : first + 2].mean((2, 3))


def build(options: BlendNetOptions) -> BlendNetwork:
    """Make the network with fresh weights."""
    return BlendNet(options)
