"""ResNet50 (He et al. 2016, arXiv:1512.03385, table 1), the published baseline: 25 times more costly or so.

As published but for the number of input channels and the single output. On stamps of 30 pixels the last
stage works on one pixel, as it does wherever this network is used for stamps of that size.
"""

from __future__ import annotations

import torch
from torch import nn

from .base import TripletNetwork
from .options import ResNet50Options

__all__ = ["ResNet50", "build"]

_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Width, number of blocks and stride of each stage."""
_EXPANSION = 4


class _Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions; the stride sits on the 3 x 3 one."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = _EXPANSION * width
        self.residual = nn.Sequential(
            nn.Conv2d(n_in, width, kernel_size=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, n_out, kernel_size=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.residual(features) + self.shortcut(features))


class ResNet50(TripletNetwork):
    """Stem, four stages of bottleneck blocks, global mean, one linear layer.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `ResNet50Options`
        Dropout before the output.
    """

    def __init__(self, n_channels: int, options: ResNet50Options) -> None:
        super().__init__(_EXPANSION * _STAGES[-1][0], options.dropout)
        layers: list[nn.Module] = [
            nn.Conv2d(n_channels, 64, kernel_size=7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        ]
        n_in = 64
        for width, depth, stride in _STAGES:
            for index in range(depth):
                layers.append(_Bottleneck(n_in, width, stride if index == 0 else 1))
                n_in = _EXPANSION * width
        self.layers = nn.Sequential(*layers)

    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return the mean of the last map; the metadata are ignored."""
        maps: torch.Tensor = self.layers(stamps)
        return maps.mean((2, 3))


def build(n_channels: int, options: ResNet50Options) -> TripletNetwork:
    """Make the network with fresh weights."""
    return ResNet50(n_channels, options)
