"""One class: single sources are brought close to a point, and what is far from it is no single source."""

from __future__ import annotations

__all__ = ["OneClass", "build"]

from collections.abc import Iterable

import torch

from .base import BlendNetwork, Outputs, Targets
from .encoder import Encoder, distances
from .options import EncoderOptions

_LEAST = 1e-6


class OneClass(BlendNetwork):
    """One-class deep SVDD (Ruff et al. 2018, PMLR 80, 4393).

    It learns from single sources alone. The logarithm of the squared distance becomes a probability by
    calibration, which does need blends.

    Parameters
    ----------
    options : `~.options.EncoderOptions`
        Size.
    """

    fits_offset = True
    centre: torch.Tensor

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        self.encoder = Encoder(options)
        self.register_buffer("centre", torch.zeros(options.dimensions))

    def forward(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None = None
    ) -> Outputs:
        """Return kinds of two columns and the points; the PSF is ignored."""
        points = self.encoder(pixels, valid)
        blend = torch.log(distances(points, self.centre) + _LEAST)
        return Outputs(torch.stack([torch.zeros_like(blend), blend], dim=1), embedding=points)

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """Return the mean squared distance of the single sources."""
        assert outputs.embedding is not None
        single = targets.kind == 0
        total = (distances(outputs.embedding, self.centre) * single).sum()
        return total / single.sum().clamp(min=1)

    def start(self, batches: Iterable[tuple[Outputs, Targets]]) -> None:
        """Take the mean of the single sources before training for the point; no coordinate may be near 0."""
        points = [_of(outputs)[targets.kind == 0] for outputs, targets in batches]
        centre = torch.cat(points).mean(0)
        near = centre.abs() < 0.1
        self.centre.copy_(torch.where(near, torch.where(centre < 0, -0.1, 0.1), centre))


def _of(outputs: Outputs) -> torch.Tensor:
    assert outputs.embedding is not None
    return outputs.embedding


def build(options: EncoderOptions) -> BlendNetwork:
    """Make the network with fresh weights."""
    return OneClass(options)
