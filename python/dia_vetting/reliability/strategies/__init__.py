"""Label-noise strategies by name: their options are checked here; torch is loaded only when one is built.

The labels are *injected*, which is always right, and *unlabelled*: mostly artefacts, some real.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import BadInputError
from .options import (
    AsymmetricCoTeachingOptions,
    ClassAsymmetricCoTeachingOptions,
    CoTeachingOptions,
    DeepEnsembleOptions,
    NnpuOptions,
    PlainOptions,
    StochasticCoTeachingOptions,
    StrategyOptions,
)

if TYPE_CHECKING:
    from .base import Strategy

__all__ = [
    "STRATEGIES",
    "StrategyOptionError",
    "StrategyOptions",
    "UnknownStrategyError",
    "build_strategy",
    "check_strategy",
]

STRATEGIES: dict[str, type[StrategyOptions]] = {
    "plain": PlainOptions,
    "deep_ensemble": DeepEnsembleOptions,
    "co_teaching": CoTeachingOptions,
    "class_asymmetric_co_teaching": ClassAsymmetricCoTeachingOptions,
    "asymmetric_co_teaching": AsymmetricCoTeachingOptions,
    "stochastic_co_teaching": StochasticCoTeachingOptions,
    "nnpu": NnpuOptions,
}
"""Options class by strategy; the module of the same name here has its ``build(options)``."""


class UnknownStrategyError(BadInputError):
    """No strategy has this name."""


class StrategyOptionError(BadInputError):
    """The strategy has no such option, or the option not this value, or it needs more networks."""


def check_strategy(
    name: str, options: Mapping[str, Any], members: int | None = None, source: str = "strategy"
) -> StrategyOptions:
    """Check a strategy's name and options.

    Parameters
    ----------
    name : `str`
        A key of `STRATEGIES`.
    options : `~collections.abc.Mapping`
        Values by option name; what is left out has its default.
    members : `int`, optional
        Networks per fold, if they are known.
    source : `str`, optional
        Where these come from, for the message.

    Returns
    -------
    options : `StrategyOptions`
        All options of that strategy.

    Raises
    ------
    UnknownStrategyError
        If there is no such strategy; the message lists those there are.
    StrategyOptionError
        If there is no such option, its value is out of range, or there are too few members.
    """
    if name not in STRATEGIES:
        raise UnknownStrategyError(source, f"one of {', '.join(STRATEGIES)}", repr(name))
    kind = STRATEGIES[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for option in options:
        if option not in known:
            wanted = f"options {', '.join(known)}" if known else "no options"
            raise StrategyOptionError(f"{source} {name}", wanted, repr(option))
    if members is not None and members < kind.min_members:
        raise StrategyOptionError(
            f"{source} {name}", f"at least {kind.min_members} members per fold", str(members)
        )
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise StrategyOptionError(f"{source} {name}", "options within their ranges", str(error)) from None


def build_strategy(name: str, options: Mapping[str, Any]) -> Strategy:
    """Make a strategy.

    Parameters
    ----------
    name : `str`
        A key of `STRATEGIES`.
    options : `~collections.abc.Mapping`
        As for `check_strategy`.

    Returns
    -------
    strategy : `~.base.Strategy`
        What the trainer asks for the losses of a batch.

    Raises
    ------
    UnknownStrategyError, StrategyOptionError
        As for `check_strategy`.
    """
    checked = check_strategy(name, options)
    strategy: Strategy = importlib.import_module(f".{name}", __name__).build(checked)
    return strategy
