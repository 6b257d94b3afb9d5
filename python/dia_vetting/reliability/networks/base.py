"""What every network has in common: triplets and metadata in, one logit out, and a plain form for scoring."""

from __future__ import annotations

import abc
import copy
import itertools
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ...model_table import TensorError

__all__ = ["Bakeable", "TripletNetwork", "bake", "load_weights"]


class Bakeable(nn.Module, abc.ABC):
    """A layer that becomes plainer, and faster, once its weights no longer change."""

    @abc.abstractmethod
    def baked(self) -> nn.Module:
        """Return a layer that does the same in evaluation mode."""


class TripletNetwork(nn.Module, abc.ABC):
    """A network that gives one logit per triplet: a linear function of its features.

    Parameters
    ----------
    n_features : `int`
        Features of the last hidden layer.
    dropout : `float`
        Fraction of the features dropped before the output while training.
    """

    def __init__(self, n_features: int, dropout: float) -> None:
        super().__init__()
        self.n_features = n_features
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(n_features, 1)

    @abc.abstractmethod
    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer.

        Parameters
        ----------
        stamps : `torch.Tensor`, (N, C, S, S), float32
            Network inputs as [n, channel, y, x]; any S from 21 to 101.
        metadata : `torch.Tensor`, (N, 3), float32
            Columns of `~..inputs.METADATA`, 0 where unknown; published baselines ignore them.

        Returns
        -------
        features : `torch.Tensor`, (N, F), float32
            What the logit is a linear function of.
        """

    def forward(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return one logit per stamp.

        Parameters
        ----------
        stamps : `torch.Tensor`, (N, C, S, S), float32
            Network inputs as [n, channel, y, x]; any S from 21 to 101.
        metadata : `torch.Tensor`, (N, 3), float32
            Columns of `~..inputs.METADATA`, 0 where unknown.

        Returns
        -------
        logits : `torch.Tensor`, (N,), float32
            Larger is more like an injection.
        """
        logits: torch.Tensor = self.output(self.dropout(self.features(stamps, metadata)))
        return logits.squeeze(1)

    def baked(self) -> Self:
        """Return a copy for scoring: in evaluation mode, batch normalisation folded into the convolutions.

        Returns
        -------
        network : `TripletNetwork`
            Gives the same logits and features to rounding, in less time. It cannot be trained, and its
            parameters are not those of the architecture.
        """
        network = copy.deepcopy(self).eval().requires_grad_(False)
        bake(network)
        return network


def bake(module: nn.Module) -> None:
    """Fold batch normalisation into convolutions and bake the layers inside a module, in place.

    Parameters
    ----------
    module : `torch.nn.Module`
        In evaluation mode. A normalisation is folded where it follows a convolution in a
        `~torch.nn.Sequential`.
    """
    if isinstance(module, nn.Sequential):
        for first, second in itertools.pairwise(list(module._modules)):
            conv, norm = module._modules[first], module._modules[second]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[first] = fuse_conv_bn_eval(conv, norm)
                module._modules[second] = nn.Identity()
    for name, child in module.named_children():
        if isinstance(child, Bakeable):
            setattr(module, name, child.baked())
        else:
            bake(child)


def load_weights(network: nn.Module, weights: Mapping[str, NDArray[Any]], source: str) -> None:
    """Put the weights of a model into a network, in place.

    Parameters
    ----------
    network : `torch.nn.Module`
        Of the architecture that the model says.
    weights : `~collections.abc.Mapping`
        Parameters and buffers by name.
    source : `str`
        Where they come from, for messages.

    Raises
    ------
    TensorError
        If there are others than those of the network, or they have other shapes.
    """
    wanted = network.state_dict()
    if wanted.keys() != weights.keys():
        missing, unknown = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
        raise TensorError(source, "the tensors of its architecture", f"missing {missing}, unknown {unknown}")
    for name, tensor in wanted.items():
        if tuple(tensor.shape) != weights[name].shape:
            raise TensorError(source, f"{name!r} of shape {tuple(tensor.shape)}", str(weights[name].shape))
    network.load_state_dict({name: torch.from_numpy(np.array(weights[name])) for name in wanted})
