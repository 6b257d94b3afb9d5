"""RBTN, the encoder of TransiNet with a classifier on top (Sedaghat & Mahabal 2018, arXiv:1710.01422).

TransiNet is the encoder and decoder that Rubin's real/bogus package, meas_transiNet, is named after. Encoder
as in ``model/models.py`` of github.com/NimSed/TransiNet0-pytorch (ten convolutions, six of them with stride
2, batch normalisation, leaky ReLU), classifier as in ``models/TN_rbclassifier.py`` of
github.com/taceroc/ML-reliability, whose encoder is twice as wide as the default here (``width`` 128: four
times the cost). Different here: the number of input channels, the mean over the last map, which has more
than one pixel for stamps above 64 pixels, and no decoder.
"""

from __future__ import annotations

import torch
from torch import nn

from .base import TripletNetwork
from .options import RbtnOptions

__all__ = ["Rbtn", "build"]

_ENCODER = (
    *((1, 7, 2), (2, 5, 2), (4, 5, 2), (4, 3, 1), (8, 3, 2)),
    *((8, 3, 1), (8, 3, 2), (8, 3, 1), (16, 3, 2), (16, 3, 1)),
)
"""Channels in units of the width, kernel size and stride of each convolution."""
_N_FEATURES = 32


class Rbtn(TripletNetwork):
    """Ten convolutions and five fully connected layers.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `RbtnOptions`
        Width, normalisation and dropout; the latter is that between fully connected layers.
    """

    def __init__(self, n_channels: int, options: RbtnOptions) -> None:
        super().__init__(_N_FEATURES, dropout=0.0)
        width = options.width
        layers: list[nn.Module] = []
        n_in = n_channels
        for factor, kernel_size, stride in _ENCODER:
            n_out = factor * width
            padding = kernel_size // 2
            layers.append(nn.Conv2d(n_in, n_out, kernel_size, stride, padding, bias=not options.batch_norm))
            layers += [nn.BatchNorm2d(n_out)] * options.batch_norm + [nn.LeakyReLU(0.1)]
            n_in = n_out
        self.encoder = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(16 * width, 8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, 4 * width),
            nn.ReLU(),
            nn.Dropout(options.dropout),
            nn.Linear(4 * width, 2 * width),
            nn.ReLU(),
            nn.Dropout(options.dropout),
            nn.Linear(2 * width, _N_FEATURES),
            nn.ReLU(),
        )
        for module in self.encoder:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)

    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer; the metadata are ignored."""
        features: torch.Tensor = self.classifier(self.encoder(stamps).mean((2, 3)))
        return features


def build(n_channels: int, options: RbtnOptions) -> TripletNetwork:
    """Make the network with fresh weights."""
    return Rbtn(n_channels, options)
