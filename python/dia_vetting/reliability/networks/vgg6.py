"""VGG6, the network of braai (Duev et al. 2019, arXiv:1907.11259): ZTF's real/bogus classifier.

As published (``models/d6_m7.architecture.json`` of github.com/dmitryduev/braai): two pairs of 3 x 3
convolutions without padding, pooling and dropout after each pair, one hidden layer of 256. Different here:
the number of input channels, and the last pooling, which makes 6 x 6 cells of any stamp where the published
one makes them of 63 pixels in steps of four.
"""

from __future__ import annotations

import torch
from torch import nn

from .base import TripletNetwork
from .options import Vgg6Options

__all__ = ["Vgg6", "build"]

_GRID = 6
"""Side of the feature map that the hidden layer sees."""


class Vgg6(TripletNetwork):
    """Four 3 x 3 convolutions and two fully connected layers.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `Vgg6Options`
        Dropout.
    """

    def __init__(self, n_channels: int, options: Vgg6Options) -> None:
        super().__init__(256, options.dropout)
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, 16, kernel_size=3),
            nn.ReLU(),
            nn.Conv2d(16, 16, kernel_size=3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(options.pool_dropout),
            nn.Conv2d(16, 32, kernel_size=3),
            nn.ReLU(),
            nn.Conv2d(32, 32, kernel_size=3),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(_GRID),
            nn.Dropout(options.pool_dropout),
            nn.Flatten(),
            nn.Linear(32 * _GRID**2, 256),
            nn.ReLU(),
        )

    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer; the metadata are ignored."""
        features: torch.Tensor = self.layers(stamps)
        return features


def build(n_channels: int, options: Vgg6Options) -> TripletNetwork:
    """Make the network with fresh weights."""
    return Vgg6(n_channels, options)
