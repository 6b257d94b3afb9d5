"""A small residual network: a strided stem, two residual blocks, and a head that knows the centre."""

from __future__ import annotations

import torch
from torch import nn

from .base import TripletNetwork
from .options import SmallResNetOptions

__all__ = ["SmallResNet", "build"]


class _Block(nn.Module):
    """Residual block (He et al. 2016, arXiv:1512.03385) that halves the size of the map."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(n_in, n_out, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(n_in, n_out, kernel_size=1, stride=2, bias=False), nn.BatchNorm2d(n_out)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.residual(features) + self.shortcut(features))


class SmallResNet(TripletNetwork):
    """Stem, two residual blocks, mean and centre of the last map, one linear layer.

    The mean over the map says what is in the stamp, the features at its centre say whether it is there
    that the source lies; averaging alone would forget where things are.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `SmallResNetOptions`
        Width and dropout.
    """

    def __init__(self, n_channels: int, options: SmallResNetOptions) -> None:
        width = options.width
        super().__init__(4 * width, options.dropout)
        self.stem = nn.Sequential(
            nn.Conv2d(n_channels, width, kernel_size=5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(_Block(width, width), _Block(width, 2 * width))

    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return mean and centre of the last map; the metadata are ignored."""
        maps = self.blocks(self.stem(stamps))
        size = maps.shape[-1]
        centre = slice((size - 1) // 2, size // 2 + 1)
        return torch.cat([maps.mean((2, 3)), maps[:, :, centre, centre].mean((2, 3))], dim=1)


def build(n_channels: int, options: SmallResNetOptions) -> TripletNetwork:
    """Make the network with fresh weights."""
    return SmallResNet(n_channels, options)
