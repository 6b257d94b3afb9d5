"""Options of each strategy, without torch: a task's configuration is checked before that is loaded."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

__all__ = [
    "AsymmetricCoTeachingOptions",
    "ClassAsymmetricCoTeachingOptions",
    "CoTeachingOptions",
    "DeepEnsembleOptions",
    "NnpuOptions",
    "PlainOptions",
    "StochasticCoTeachingOptions",
    "StrategyOptions",
]


@dataclasses.dataclass(frozen=True)
class StrategyOptions:
    """Options of any strategy.

    Attributes
    ----------
    min_members : `int`
        Least number of networks per fold that the strategy makes sense with.
    """

    min_members: ClassVar[int] = 1

    def _check(self, low: float, high: float, *names: str, optional: bool = False) -> None:
        """Fail with `ValueError` if one of these is no number from ``low`` to ``high``."""
        for name in names:
            value = getattr(self, name)
            if optional and value is None:
                continue
            if not (isinstance(value, int | float) and low <= value <= high):
                raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


@dataclasses.dataclass(frozen=True)
class PlainOptions(StrategyOptions):
    """Plain training: the unlabelled count as artefacts. It has no options."""


@dataclasses.dataclass(frozen=True)
class DeepEnsembleOptions(StrategyOptions):
    """Several networks that differ by their seed alone, each trained plainly. It has no options."""

    min_members: ClassVar[int] = 2


@dataclasses.dataclass(frozen=True)
class CoTeachingOptions(StrategyOptions):
    """Two networks hand each other the rows of small loss, of both classes alike.

    Parameters
    ----------
    forget_rate : `float`, optional
        Fraction of all rows that are forgotten; estimated by default: the lower end of the prior times the
        fraction of unlabelled rows.
    ramp : `float`
        Part of the training, after the warm-up, in which the rate rises from 0.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    forget_rate: float | None = None
    ramp: float = 0.2

    def __post_init__(self) -> None:
        self._check(0.0, 0.9, "forget_rate", optional=True)
        self._check(0.0, 1.0, "ramp")


@dataclasses.dataclass(frozen=True)
class ClassAsymmetricCoTeachingOptions(StrategyOptions):
    """Co-teaching with a forget rate for each class; by default no injected row is ever forgotten.

    Parameters
    ----------
    forget_unlabelled : `float`, optional
        Fraction of the unlabelled rows that are forgotten; the lower end of the estimated prior by default.
    forget_injected : `float`
        Fraction of the injected rows that are forgotten.
    ramp : `float`
        Part of the training, after the warm-up, in which the rates rise from 0.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    forget_unlabelled: float | None = None
    forget_injected: float = 0.0
    ramp: float = 0.2

    def __post_init__(self) -> None:
        self._check(0.0, 0.9, "forget_unlabelled", optional=True)
        self._check(0.0, 0.9, "forget_injected")
        self._check(0.0, 1.0, "ramp")


@dataclasses.dataclass(frozen=True)
class AsymmetricCoTeachingOptions(StrategyOptions):
    """Co-teaching of two roles: one network gets the purest rows, the other the most diverse ones.

    Parameters
    ----------
    forget_rate : `float`, optional
        Fraction of the unlabelled rows that the diverse network forgets; the lower end of the estimated prior
        by default.
    purity : `float`
        The pure network forgets this many times as many.
    ramp : `float`
        Part of the training, after the warm-up, in which the rate rises from 0.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    forget_rate: float | None = None
    purity: float = 2.0
    ramp: float = 0.2

    def __post_init__(self) -> None:
        self._check(0.0, 0.9, "forget_rate", optional=True)
        self._check(1.0, 10.0, "purity")
        self._check(0.0, 1.0, "ramp")


@dataclasses.dataclass(frozen=True)
class StochasticCoTeachingOptions(StrategyOptions):
    """Co-teaching with a random threshold on the probability of the label: no forget rate is needed.

    Parameters
    ----------
    alpha, beta : `float`
        Shape of the Beta distribution that thresholds are drawn from.
    ramp : `float`
        Part of the training, after the warm-up, in which the thresholds rise from 0.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    alpha: float = 32.0
    beta: float = 4.0
    ramp: float = 0.2

    def __post_init__(self) -> None:
        self._check(1e-3, 1e6, "alpha", "beta")
        self._check(0.0, 1.0, "ramp")


@dataclasses.dataclass(frozen=True)
class NnpuOptions(StrategyOptions):
    """Non-negative positive-unlabelled risk: what the hidden ones add to the unlabelled is taken away.

    Parameters
    ----------
    beta : `float`
        How far below zero the risk of the negatives may fall before it is driven back.
    gamma : `float`
        Strength with which it is driven back.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    beta: float = 0.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        self._check(0.0, 1.0, "beta", "gamma")
