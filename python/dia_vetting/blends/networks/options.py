"""Options of each architecture, without torch."""

from __future__ import annotations

__all__ = ["BlendNetOptions", "EncoderOptions", "Vgg16Options"]

import dataclasses

from ...reliability.networks.options import NetworkOptions


@dataclasses.dataclass(frozen=True)
class BlendNetOptions(NetworkOptions):
    """Options of our network.

    Parameters
    ----------
    dropout : `float`
        Fraction of the head's features dropped while training.
    width : `int`
        Channels at half the resolution; twice and three times as many follow at a quarter and an eighth.
    fine : `int`
        Residual blocks at half the resolution.
    depth : `int`
        Residual blocks at a quarter of the resolution, and as many at an eighth.
    hidden : `int`
        Features of the head.
    """

    dropout: float = 0.05
    width: int = 16
    fine: int = dataclasses.field(default=1, metadata={"range": (0, 8)})
    depth: int = 2
    hidden: int = 64


@dataclasses.dataclass(frozen=True)
class Vgg16Options(NetworkOptions):
    """Options of VGG16.

    Parameters
    ----------
    dropout : `float`
        Fraction of the first fully connected layer's features dropped while training.
    width : `int`
        Channels of the first convolutions: 64 in VGG16; smaller ones are for tests.
    trainable : `int`
        Convolutions that are trained, counted from the last: 13 for all, 0 for none.
    """

    dropout: float = 0.1
    width: int = 64
    trainable: int = dataclasses.field(default=13, metadata={"range": (0, 13)})


@dataclasses.dataclass(frozen=True)
class EncoderOptions(NetworkOptions):
    """Options of a network that maps stamps to points of a space.

    Parameters
    ----------
    dropout : `float`
        Not used here.
    width : `int`
        Channels of the first convolution; three more have twice as many each.
    dimensions : `int`
        Dimensions of the space.
    """

    width: int = 16
    dimensions: int = 32
