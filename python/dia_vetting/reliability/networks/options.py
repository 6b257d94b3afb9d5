"""Options of each architecture, without torch: a task's configuration is checked before that is loaded."""

from __future__ import annotations

import dataclasses

__all__ = [
    "DihedralResNetOptions",
    "NetworkOptions",
    "RbtnOptions",
    "ResNet50Options",
    "RubinCnnOptions",
    "SeedCnnOptions",
    "SmallResNetOptions",
    "Vgg6Options",
]

_LARGEST = 4096
"""Largest value of a whole number: a width, a depth."""


@dataclasses.dataclass(frozen=True)
class NetworkOptions:
    """Options of any architecture.

    Parameters
    ----------
    dropout : `float`
        Fraction of features dropped before the output while training, in [0, 1).

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    dropout: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float):
                if not (isinstance(value, int | float) and 0 <= value < 1):
                    raise ValueError(f"{field.name} must be a number in [0, 1), not {value!r}")
                continue
            low, high = field.metadata.get("range", (1, _LARGEST))
            if not (isinstance(value, int) and low <= value <= high):
                raise ValueError(f"{field.name} must be a whole number from {low} to {high}, not {value!r}")


def _switch(default: int) -> int:
    """Return a field that is 1 or 0."""
    field: int = dataclasses.field(default=default, metadata={"range": (0, 1)})
    return field


@dataclasses.dataclass(frozen=True)
class SeedCnnOptions(NetworkOptions):
    """Options of the seed network.

    Parameters
    ----------
    dropout : `float`
        Fraction of hidden features dropped while training.
    width : `int`
        Channels of the first convolution; the second has twice as many.
    hidden : `int`
        Features of the first fully connected layer.
    """

    dropout: float = 0.4
    width: int = 16
    hidden: int = 64


@dataclasses.dataclass(frozen=True)
class SmallResNetOptions(NetworkOptions):
    """Options of the small residual network.

    Parameters
    ----------
    dropout : `float`
        Fraction of features dropped before the output while training.
    width : `int`
        Channels of the stem; 32 gives about 85,000 parameters.
    """

    dropout: float = 0.2
    width: int = 32


@dataclasses.dataclass(frozen=True)
class ResNet50Options(NetworkOptions):
    """Options of ResNet50, which has none of its own."""


@dataclasses.dataclass(frozen=True)
class Vgg6Options(NetworkOptions):
    """Options of braai's network.

    Parameters
    ----------
    dropout : `float`
        Fraction of hidden features dropped while training.
    pool_dropout : `float`
        The same of the maps after each pooling.
    """

    dropout: float = 0.5
    pool_dropout: float = 0.25


@dataclasses.dataclass(frozen=True)
class RubinCnnOptions(NetworkOptions):
    """Options of Rubin's own network.

    Parameters
    ----------
    dropout : `float`
        Fraction of the maps dropped after each pooling while training.
    """

    dropout: float = 0.4


@dataclasses.dataclass(frozen=True)
class RbtnOptions(NetworkOptions):
    """Options of the encoder of TransiNet.

    Parameters
    ----------
    dropout : `float`
        Fraction of features dropped between fully connected layers while training.
    width : `int`
        Channels of the first convolution; the last has sixteen times as many.
    batch_norm : `int`
        1 with batch normalisation, 0 without.
    """

    dropout: float = 0.2
    width: int = 64
    batch_norm: int = _switch(1)


@dataclasses.dataclass(frozen=True)
class DihedralResNetOptions(NetworkOptions):
    """Options of the network that is consistent under turns and reflections.

    Parameters
    ----------
    dropout : `float`
        Fraction of features dropped before the output while training.
    stem : `int`
        Fields of the first convolution, which sees all pixels; a field is eight channels.
    width : `int`
        Fields of the maps of half and a quarter of the size; those of an eighth have twice as many.
    depth : `int`
        Further blocks on the smallest maps.
    hidden : `int`
        Features of the last hidden layer.
    psf_width, snr, band : `int`
        1 where the network looks at that number beside the stamp, 0 where not.
    """

    dropout: float = 0.2
    stem: int = 1
    width: int = 4
    depth: int = dataclasses.field(default=1, metadata={"range": (0, 16)})
    hidden: int = 32
    psf_width: int = _switch(1)
    snr: int = _switch(0)
    band: int = _switch(0)
