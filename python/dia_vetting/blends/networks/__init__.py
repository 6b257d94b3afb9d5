"""Architectures by name: their options are checked here, and torch is loaded only when one is built."""

from __future__ import annotations

__all__ = ["ARCHITECTURES", "build_network", "check_options"]

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...reliability.networks import check_options as _check_options
from ...reliability.networks.options import NetworkOptions
from .options import BlendNetOptions, EncoderOptions, Vgg16Options

if TYPE_CHECKING:
    from .base import BlendNetwork

ARCHITECTURES: dict[str, type[NetworkOptions]] = {
    "blend_net": BlendNetOptions,
    "vgg16": Vgg16Options,
    "one_class": EncoderOptions,
    "siamese": EncoderOptions,
}
"""Options class by architecture; the module of the same name here has its ``build(options)``."""


def check_options(name: str, options: Mapping[str, Any], source: str = "architecture") -> NetworkOptions:
    """Check an architecture's name and options, as `dia_vetting.reliability.networks.check_options` does."""
    return _check_options(name, options, source, ARCHITECTURES)


def build_network(name: str, options: Mapping[str, Any]) -> BlendNetwork:
    """Make a network with fresh weights, drawn from torch's generator.

    Parameters
    ----------
    name : `str`
        A key of `ARCHITECTURES`.
    options : `~collections.abc.Mapping`
        Its options; what is left out has its default.

    Returns
    -------
    network : `~.base.BlendNetwork`
        Maps stamps and PSFs to `~.base.Outputs`.

    Raises
    ------
    UnknownArchitectureError, UnknownOptionError
        If the name or an option is not known, or out of its range.
    """
    checked = check_options(name, options)
    network: BlendNetwork = importlib.import_module(f".{name}", __name__).build(checked)
    return network
