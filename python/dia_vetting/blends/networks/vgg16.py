"""VGG16 as in BlendHunter: 13 convolutions, which may come trained on ImageNet, and three dense layers."""

from __future__ import annotations

__all__ = ["Vgg16", "build", "load_convolutions"]

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ...model_table import TensorError
from .base import BlendNetwork, Outputs, Targets, kind_losses
from .options import Vgg16Options

_LAYERS = (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0)
"""Channels of each convolution over those of the first, 0 for a maximum over 2 x 2 pixels; configuration D of
Simonyan & Zisserman (2015, arXiv:1409.1556)."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of ImageNet, which the common weights were trained with."""

_LEAST_SIDE = 32
"""Side of which the last maps have one pixel; smaller stamps are padded."""


class Vgg16(BlendNetwork):
    """The published method (Farrens et al. 2022, A&A 657, A98).

    Pixels are brought to [0, 1] between the stamp's faintest and brightest one and repeated in three colours.
    The dense layers have 256 (linear), 1024 (ReLU) and one feature, as in the published code. There, stamps
    of 51 pixels leave one pixel of the last maps; larger ones are averaged to one here.

    Parameters
    ----------
    options : `~.options.Vgg16Options`
        Size, dropout, and how much is trained.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, options: Vgg16Options) -> None:
        super().__init__()
        self.features = _convolutions(options.width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        top = [nn.Linear(8 * options.width, 256), nn.Dropout(options.dropout)]
        self.top = nn.Sequential(*top, nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1))
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)
        layers = [layer for layer in self.features if isinstance(layer, nn.Conv2d)]
        for layer in layers[: len(layers) - options.trainable]:
            layer.requires_grad_(False)

    def forward(
        self, pixels: torch.Tensor, valid: torch.Tensor, psf_fwhm: torch.Tensor, middle: float | None = None
    ) -> Outputs:
        """Return kinds of two columns; the PSF is ignored."""
        low, high = pixels.amin((1, 2, 3), keepdim=True), pixels.amax((1, 2, 3), keepdim=True)
        scaled = (pixels - low) / (high - low).clamp(min=1e-6)
        padding = max(_LEAST_SIDE - pixels.shape[-1], 0)
        maps = self.features(functional.pad((scaled - self.mean) / self.std, (0, padding, 0, padding)))
        blend = self.top(self.pool(maps).flatten(1)).float()
        return Outputs(torch.cat([torch.zeros_like(blend), blend], dim=1))

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """Return the binary cross-entropy."""
        return kind_losses(outputs.kinds, targets).mean()


def _convolutions(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    n_in = 3
    for factor in _LAYERS:
        if factor:
            conv = nn.Conv2d(n_in, factor * width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            layers += [conv, nn.ReLU()]
            n_in = factor * width
        else:
            layers.append(nn.MaxPool2d(2, ceil_mode=False))
    return nn.Sequential(*layers)


def load_convolutions(network: BlendNetwork, weights: Mapping[str, NDArray[Any]], source: str) -> None:
    """Put given weights into the convolutions, in place.

    Parameters
    ----------
    network : `BlendNetwork`
        A `Vgg16`.
    weights : `~collections.abc.Mapping`
        Arrays by name, as torchvision calls them: ``features.0.weight``, ``features.0.bias`` and so on.
        Others, of dense layers, are ignored.
    source : `str`
        Where they come from, for messages.

    Raises
    ------
    TensorError
        If one is missing or has another shape.
    """
    assert isinstance(network, Vgg16)
    for name, tensor in network.features.state_dict().items():
        key = f"features.{name}"
        if key not in weights:
            raise TensorError(source, f"an array {key!r}", f"{sorted(weights)[:5]} ...")
        if weights[key].shape != tuple(tensor.shape):
            raise TensorError(source, f"{key!r} of shape {tuple(tensor.shape)}", str(weights[key].shape))
        tensor.copy_(torch.as_tensor(weights[key]))


def build(options: Vgg16Options) -> BlendNetwork:
    """Make the network with fresh weights."""
    return Vgg16(options)
