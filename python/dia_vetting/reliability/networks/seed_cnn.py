"""The seed network: two convolutions and two fully connected layers, with dropout."""

from __future__ import annotations

import torch
from torch import nn

from .base import TripletNetwork
from .options import SeedCnnOptions

__all__ = ["SeedCnn", "build"]

_GRID = 7
"""Side of the feature map that the fully connected layers see, whatever the size of the stamp."""


class SeedCnn(TripletNetwork):
    """Two 3 x 3 convolutions with pooling, then two fully connected layers.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `SeedCnnOptions`
        Widths and dropout.
    """

    def __init__(self, n_channels: int, options: SeedCnnOptions) -> None:
        super().__init__(options.hidden, options.dropout)
        width = options.width
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(_GRID),
            nn.Flatten(),
            nn.Linear(2 * width * _GRID**2, options.hidden),
            nn.ReLU(),
        )

    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer; the metadata are ignored."""
        features: torch.Tensor = self.layers(stamps)
        return features


def build(n_channels: int, options: SeedCnnOptions) -> TripletNetwork:
    """Make the network with fresh weights."""
    return SeedCnn(n_channels, options)
