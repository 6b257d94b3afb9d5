"""A small network that maps stamps to points of a space, for methods that go by distances there."""

from __future__ import annotations

__all__ = ["Encoder", "distances"]

import torch
from torch import nn

from .base import compressed
from .options import EncoderOptions


class Encoder(nn.Module):
    """Four convolutions that halve the maps, their mean, one linear layer.

    There are no biases: with them, a network that is to bring all stamps to one point could ignore the stamps
    (Ruff et al. 2018, PMLR 80, 4393).

    Parameters
    ----------
    options : `~.options.EncoderOptions`
        Size.
    """

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 4
        for n_out in (options.width * 2**level for level in range(4)):
            layers.append(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(n_out, affine=False), nn.LeakyReLU(0.1)]
            n_in = n_out
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(n_in, options.dimensions, bias=False)

    def forward(self, pixels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return a point of each stamp, (N, D)."""
        points: torch.Tensor = self.output(self.layers(compressed(pixels, valid)).mean((2, 3)))
        return points.float()


def distances(points: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Return squared distances from a point, (N,)."""
    return (points - centre).square().sum(1)
