"""What every network has in common: stamps in units of the noise in, kinds, counts and maps out."""

from __future__ import annotations

__all__ = [
    "KINDS",
    "MAX_COUNT",
    "SURELY_ALONE",
    "BlendNetwork",
    "Outputs",
    "Targets",
    "compressed",
    "kind_losses",
    "peak_of",
]

import abc
import copy
import dataclasses
from collections.abc import Iterable
from typing import NamedTuple, Self

import torch
from torch import nn
from torch.nn import functional

from ...reliability.networks.base import bake

KINDS = ("single", "blend", "separated")
"""Meaning of the columns of `Outputs.kinds`; a network of two columns takes separated sources for single."""

MAX_COUNT = 4
"""Numbers of sources that are told apart: 1, 2, 3, and 4 or more."""

SURELY_ALONE = 0.9
"""Probability of a single source from which no map need be made when stamps are scored: the rest is the most
that a pixel can have for an overlap, below any threshold."""


class Outputs(NamedTuple):
    """What a network says of N stamps.

    Parameters
    ----------
    kinds : `torch.Tensor`, (N, 2) or (N, 3), float32
        Logits of `KINDS`.
    counts : `torch.Tensor`, (N, 4), float32, or `None`
        Logits of 1, 2, 3, 4 or more sources.
    maps : `torch.Tensor`, (N, 2, S, S), float32, or `None`
        Logits of "a source is above the threshold here" and "two or more are".
    embedding : `torch.Tensor`, (N, D), float32, or `None`
        Points of the space that kinds are told from.
    map_rows : `torch.Tensor`, (M,), int64, or `None`
        Stamps that the maps are of, (M, 2, S, S) then; `None` for all. In the others nothing overlaps.
    """

    kinds: torch.Tensor
    counts: torch.Tensor | None = None
    maps: torch.Tensor | None = None
    embedding: torch.Tensor | None = None
    map_rows: torch.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Targets:
    """The truth about N stamps.

    Parameters
    ----------
    kind : `torch.Tensor`, (N,), int64
        Index into `KINDS`.
    any_companion : `torch.Tensor`, (N,), bool
        Where ``blend`` only says that there is a companion somewhere in the stamp.
    count : `torch.Tensor`, (N,), int64
        Number of sources minus 1, at most 3.
    maps : `torch.Tensor`, (N, 2, S, S), float32
        0 and 1.
    map_weight : `torch.Tensor`, (N, S, S), float32
        0 where the maps are not to be learnt from.
    """

    kind: torch.Tensor
    any_companion: torch.Tensor
    count: torch.Tensor
    maps: torch.Tensor
    map_weight: torch.Tensor


class BlendNetwork(nn.Module, abc.ABC):
    """A network of one of the methods."""

    fits_offset = False
    """Whether calibration moves the zero of the blend logit, which training gives no meaning then."""

    ignores_padding = False
    """Whether pixels that are not valid beyond a stamp change nothing, so that they can be left out."""

    @abc.abstractmethod
    def forward(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None = None
    ) -> Outputs:
        """Return what the network says.

        Parameters
        ----------
        pixels : `torch.Tensor`, (N, 1, S, S), float32
            Stamps over the rms of a blank pixel, [n, 0, y, x]; 0 where they are not valid.
        valid : `torch.Tensor`, (N, 1, S, S), float32
            1 where a pixel is valid, else 0.
        psf_fwhm : `torch.Tensor`, (N,), float32
            Pixels; NaN where it is not known.
        middle : `float`, optional
            Where the middle of the stamps is along both axes, pixels from the first one, if it is not that of
            what is given. For networks that ignore padding.
        """

    def scored(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None = None
    ) -> Outputs:
        """Return what the network says where only the area of overlaps is asked of the maps.

        The arguments are those of `forward`. Maps may be left out of stamps with a probability of a single
        source above `SURELY_ALONE`.
        """
        outputs: Outputs = self(pixels, valid, psf_fwhm, middle)
        return outputs

    @abc.abstractmethod
    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """Return the mean loss of a batch, a scalar; the outputs are of `forward`."""

    def start(self, batches: Iterable[tuple[Outputs, Targets]]) -> None:
        """Set before training what is not learnt; ``batches`` are of the training rows as they are."""

    def finish(self, batches: Iterable[tuple[Outputs, Targets]]) -> None:
        """Set after training what follows from the weights; ``batches`` are of the training rows."""

    def baked(self) -> Self:
        """Return a copy for scoring: in evaluation mode, batch normalisation folded into the convolutions."""
        network = copy.deepcopy(self).eval().requires_grad_(False)
        bake(network)
        return network


def peak_of(pixels: torch.Tensor) -> torch.Tensor:
    """Return the brightest pixel of each stamp, at least 1: (N, 1, 1, 1) from (N, 1, S, S)."""
    return pixels.amax((1, 2, 3), keepdim=True).clamp(min=1.0)


def compressed(pixels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return what networks see of stamps.

    An inverse hyperbolic sine is linear below its scale and logarithmic above (Lupton et al. 1999,
    doi:10.1086/301004). That of the noise itself shows what is faint, that of 30 times the noise what is
    bright, and pixels over the brightest one the shape of what is brightest.

    Parameters
    ----------
    pixels, valid : `torch.Tensor`, (N, 1, S, S), float32
        As for `BlendNetwork.forward`.

    Returns
    -------
    channels : `torch.Tensor`, (N, 4, S, S), float32
        The two scales, the shape, and which pixels are valid.
    """
    faint, bright = _asinh(pixels) / 3.0, _asinh(pixels / 30.0)
    return torch.cat([faint, bright, pixels / peak_of(pixels), valid], dim=1)


def _asinh(values: torch.Tensor) -> torch.Tensor:
    """Return the inverse hyperbolic sine; on a CPU torch's own takes six times as long."""
    size = values.abs()
    return torch.log(size + torch.sqrt(size.square() + 1.0)).copysign(values)


def kind_losses(kinds: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Return the cross-entropy of each stamp's kind.

    Where a companion may be anywhere, the probabilities of a blend and of separated sources are added up.

    Parameters
    ----------
    kinds : `torch.Tensor`, (N, 2) or (N, 3), float32
        Logits of `KINDS`.
    targets : `Targets`
        Of the same stamps.

    Returns
    -------
    losses : `torch.Tensor`, (N,), float32
        Natural logarithms.
    """
    log_p = functional.log_softmax(kinds.float(), dim=1)
    if kinds.shape[1] == 2:
        return -log_p.gather(1, (targets.kind == 1).long()[:, None])[:, 0]
    exact = log_p.gather(1, targets.kind[:, None])[:, 0]
    companion = torch.logsumexp(log_p[:, 1:], dim=1)
    loose = targets.any_companion & (targets.kind > 0)
    return -torch.where(loose, companion, exact)
