"""Packages that only some uses need: imported when they are, with a message that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from .bad_input import BadInputError

__all__ = ["MissingPackageError", "optional_import"]


class MissingPackageError(BadInputError):
    """A package of one of the optional extras is not installed."""


def optional_import(name: str, extra: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    name : `str`
        Name of the module.
    extra : `str`
        The extra of this package that brings it, as in ``pip install dia_vetting[extra]``.

    Returns
    -------
    module : `types.ModuleType`
        The module.

    Raises
    ------
    MissingPackageError
        If it, or something that it imports, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        wanted = f"the package {error.name or name} (pip install 'dia_vetting[{extra}]')"
        raise MissingPackageError("Python environment", wanted, "none") from error
