"""Options of each architecture, without torch: a task's configuration is checked before that is loaded."""

from __future__ import annotations

import dataclasses

__all__ = [
    "DihedralResNetOptions",
    "NetworkOptions",
    "ResNet50Options",
    "SeedCnnOptions",
    "SmallResNetOptions",
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
        if not (isinstance(self.dropout, int | float) and 0 <= self.dropout < 1):
            raise ValueError(f"dropout must be a number in [0, 1), not {self.dropout!r}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            smallest, largest = field.metadata.get("range", (1, _LARGEST))
            if isinstance(field.default, int) and not (
                isinstance(value, int) and smallest <= value <= largest
            ):
                raise ValueError(
                    f"{field.name} must be an integer from {smallest} to {largest}, not {value!r}"
                )


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
    stem: int = 2
    width: int = 4
    depth: int = dataclasses.field(default=0, metadata={"range": (0, 16)})
    hidden: int = 32
    psf_width: int = _switch(1)
    snr: int = _switch(0)
    band: int = _switch(0)
