"""Siamese: pairs of a kind are brought together, others apart, and the nearest mean decides."""

from __future__ import annotations

__all__ = ["Siamese", "build"]

from collections.abc import Iterable

import torch

from .base import BlendNetwork, Outputs, Targets
from .encoder import Encoder, distances
from .options import EncoderOptions

_MARGIN = 1.0


class Siamese(BlendNetwork):
    """Contrastive loss over pairs (Hadsell et al. 2006, doi:10.1109/CVPR.2006.100), nearest prototype.

    Parameters
    ----------
    options : `~.options.EncoderOptions`
        Size.
    """

    fits_offset = True
    prototypes: torch.Tensor

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        self.encoder = Encoder(options)
        self.register_buffer("prototypes", torch.zeros(2, options.dimensions))

    def forward(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None = None
    ) -> Outputs:
        """Return kinds of two columns and the points; the PSF is ignored."""
        points = self.encoder(pixels, valid)
        kinds = torch.stack([-distances(points, prototype) for prototype in self.prototypes], dim=1)
        return Outputs(kinds, embedding=points)

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """Return the mean contrastive loss of each row and the one half a batch further on."""
        points = outputs.embedding
        assert points is not None
        blend = targets.kind == 1
        other = len(points) // 2
        gap = distances(points, points.roll(other, 0))
        apart = torch.relu(_MARGIN - torch.sqrt(gap + 1e-8)).square()
        return torch.where(blend == blend.roll(other, 0), gap, apart).mean()

    def finish(self, batches: Iterable[tuple[Outputs, Targets]]) -> None:
        """Take the means of the points of either kind for the prototypes."""
        sums, counts = torch.zeros_like(self.prototypes), self.prototypes.new_zeros(2)
        for outputs, targets in batches:
            assert outputs.embedding is not None
            for kind in range(2):
                rows = (targets.kind == 1) == bool(kind)
                sums[kind] += outputs.embedding[rows].sum(0)
                counts[kind] += rows.sum()
        self.prototypes.copy_(sums / counts.clamp(min=1)[:, None])


def build(options: EncoderOptions) -> BlendNetwork:
    """Make the network with fresh weights."""
    return Siamese(options)
