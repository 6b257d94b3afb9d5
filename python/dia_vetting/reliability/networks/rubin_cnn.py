"""Rubin's own network (Acero-Cuellar et al. 2026, DMTN-337): what gives alerts their ``reliability``.

As published: three 5 x 5 convolutions of 16, 32 and 64 filters, each followed by pooling and dropout, one
hidden layer of 32, stamps of 51 pixels; no padding, as in ``models/tatiana_model.py`` of
github.com/taceroc/ML-reliability. Different here: the number of input channels, and that stamps of other
sizes are cropped or padded to 51 pixels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .base import TripletNetwork
from .options import RubinCnnOptions

__all__ = ["RubinCnn", "build"]

_SIZE = 51
"""Side of the stamps that the fully connected layers are made for, pixels."""


def _to_size(stamps: torch.Tensor, size: int) -> torch.Tensor:
    """Crop stamps about their centre, or pad them with zeros, which mean invalid pixels."""
    missing = size - stamps.shape[-1]
    before, after = missing // 2, missing - missing // 2
    return functional.pad(stamps, (before, after, before, after))


class RubinCnn(TripletNetwork):
    """Three 5 x 5 convolutions with pooling, then two fully connected layers.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `RubinCnnOptions`
        Dropout, here that after each pooling.
    """

    def __init__(self, n_channels: int, options: RubinCnnOptions) -> None:
        super().__init__(32, dropout=0.0)
        layers: list[nn.Module] = []
        for n_in, n_out in ((n_channels, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(n_in, n_out, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2)]
            layers += [nn.Dropout(options.dropout)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 2 * 2, 32), nn.ReLU())

    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer; the metadata are ignored."""
        features: torch.Tensor = self.layers(_to_size(stamps, _SIZE))
        return features


def build(n_channels: int, options: RubinCnnOptions) -> TripletNetwork:
    """Make the network with fresh weights."""
    return RubinCnn(n_channels, options)
