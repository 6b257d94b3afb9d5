"""The methods there are, without what they import."""

from __future__ import annotations

__all__ = ["METHODS", "MethodEntry", "UnknownMethodError", "method_entry"]

import dataclasses

from ...bad_input import BadInputError


class UnknownMethodError(BadInputError):
    """No method has this name, or it has no network to train; the message lists those there are."""


@dataclasses.dataclass(frozen=True)
class MethodEntry:
    """A method.

    Parameters
    ----------
    description : `str`
        What it does, in one line.
    architecture : `str`
        Its network, of `~..networks.ARCHITECTURES`; empty where it has none.
    """

    description: str
    architecture: str = ""


METHODS = {
    "ours": MethodEntry("a network that tells kind, number and overlap at any noise and PSF", "blend_net"),
    "vgg16": MethodEntry("VGG16 on stamps between 0 and 1 (Farrens et al. 2022)", "vgg16"),
    "one_class": MethodEntry("distance from single sources, deep SVDD (Ruff et al. 2018)", "one_class"),
    "siamese": MethodEntry("nearest prototype after contrastive training (Hadsell et al. 2006)", "siamese"),
    "sextractor": MethodEntry("sep with the settings of Farrens et al. (2022)"),
    "sextractor_tuned": MethodEntry("sep with settings that deblend more"),
}
"""Methods by name."""


def method_entry(name: str, trained: bool = False) -> MethodEntry:
    """Return a method by its name.

    Parameters
    ----------
    name : `str`
        A key of `METHODS`.
    trained : `bool`, optional
        Whether it must have a network.

    Raises
    ------
    UnknownMethodError
        If there is no such method; the message lists those there are.
    """
    known = [key for key, entry in METHODS.items() if entry.architecture or not trained]
    if name not in known:
        raise UnknownMethodError("method", f"one of {', '.join(known)}", repr(name))
    return METHODS[name]
