"""The seed network: two convolutions and two fully connected layers, with dropout."""

from __future__ import annotations

import torch
from torch import nn

from .options import SeedCnnOptions

__all__ = ["SeedCnn", "build"]

_GRID = 7
"""Side of the feature map that the fully connected layers see, whatever the size of the stamp."""


class SeedCnn(nn.Module):
    """Two 3 x 3 convolutions with pooling, then two fully connected layers.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `SeedCnnOptions`
        Widths and dropout.
    """

    def __init__(self, n_channels: int, options: SeedCnnOptions) -> None:
        super().__init__()
        width = options.width
        self.features = nn.Sequential(
            nn.Conv2d(n_channels, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(_GRID),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2 * width * _GRID**2, options.hidden),
            nn.ReLU(),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden, 1),
        )

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        """Return one logit per stamp.

        Parameters
        ----------
        stamps : `torch.Tensor`, (N, C, S, S), float32
            Network inputs; any S >= 21.

        Returns
        -------
        logits : `torch.Tensor`, (N,)
            Larger is more like an injection.
        """
        logits: torch.Tensor = self.classifier(self.features(stamps))
        return logits.squeeze(1)


def build(n_channels: int, options: SeedCnnOptions) -> nn.Module:
    """Make the network with fresh weights."""
    return SeedCnn(n_channels, options)
