"""Options of each architecture, without torch: a task's configuration is checked before that is loaded."""

from __future__ import annotations

import dataclasses

__all__ = ["NetworkOptions", "ResNet50Options", "SeedCnnOptions", "SmallResNetOptions"]


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
            if isinstance(field.default, int) and not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{field.name} must be a positive integer, not {value!r}")


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
