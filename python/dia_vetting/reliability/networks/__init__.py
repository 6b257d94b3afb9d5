"""Architectures by name: their options are checked here, and torch is loaded only when one is built."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...bad_input import BadInputError
from .options import (
    DihedralResNetOptions,
    NetworkOptions,
    RbtnOptions,
    ResNet50Options,
    RubinCnnOptions,
    SeedCnnOptions,
    SmallResNetOptions,
    Vgg6Options,
)

if TYPE_CHECKING:
    from .base import TripletNetwork

__all__ = [
    "ARCHITECTURES",
    "NetworkOptions",
    "UnknownArchitectureError",
    "UnknownOptionError",
    "build_network",
    "check_options",
]

ARCHITECTURES: dict[str, type[NetworkOptions]] = {
    "dihedral_resnet": DihedralResNetOptions,
    "seed_cnn": SeedCnnOptions,
    "small_resnet": SmallResNetOptions,
    "rubin_cnn": RubinCnnOptions,
    "vgg6": Vgg6Options,
    "resnet50": ResNet50Options,
    "rbtn": RbtnOptions,
}
"""Options class by architecture; the module of the same name here has its ``build(n_channels, options)``."""


class UnknownArchitectureError(BadInputError):
    """No architecture has this name."""


class UnknownOptionError(BadInputError):
    """The architecture has no such option, or the option not this value."""


def check_options(
    name: str,
    options: Mapping[str, Any],
    source: str = "architecture",
    architectures: Mapping[str, type[NetworkOptions]] = ARCHITECTURES,
) -> NetworkOptions:
    """Check an architecture's name and options.

    Parameters
    ----------
    name : `str`
        A key of `ARCHITECTURES`.
    options : `~collections.abc.Mapping`
        Values by option name; what is left out has its default.
    source : `str`, optional
        Where these come from, for the message.
    architectures : `~collections.abc.Mapping`, optional
        Those that there are.

    Returns
    -------
    options : `NetworkOptions`
        All options of that architecture.

    Raises
    ------
    UnknownArchitectureError
        If there is no such architecture; the message lists those there are.
    UnknownOptionError
        If there is no such option, or its value is out of range; the message lists those there are.
    """
    if name not in architectures:
        raise UnknownArchitectureError(source, f"one of {', '.join(architectures)}", repr(name))
    known = [field.name for field in dataclasses.fields(architectures[name])]
    for option in options:
        if option not in known:
            raise UnknownOptionError(f"{source} {name}", f"options {', '.join(known)}", repr(option))
    try:
        return architectures[name](**options)
    except (TypeError, ValueError) as error:
        raise UnknownOptionError(f"{source} {name}", "options within their ranges", str(error)) from None


def build_network(name: str, options: Mapping[str, Any], n_channels: int) -> TripletNetwork:
    """Make a network with fresh weights, drawn from torch's generator.

    Parameters
    ----------
    name : `str`
        A key of `ARCHITECTURES`.
    options : `~collections.abc.Mapping`
        As for `check_options`.
    n_channels : `int`
        Channels of the input.

    Returns
    -------
    network : `~.base.TripletNetwork`
        Maps stamps (N, C, S, S) and metadata (N, 3), float32, to N logits.

    Raises
    ------
    UnknownArchitectureError, UnknownOptionError
        As for `check_options`.
    """
    checked = check_options(name, options)
    module = importlib.import_module(f".{name}", __name__)
    network: TripletNetwork = module.build(n_channels, checked)
    return network
