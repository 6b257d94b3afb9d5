"""Methods by name, with one interface: stamps in, one answer per stamp out."""

from __future__ import annotations

__all__ = ["METHODS", "BlendMethod", "get_method"]

from typing import TYPE_CHECKING, Protocol

from ...bad_input import BadInputError
from .names import METHODS, method_entry

if TYPE_CHECKING:
    from ..model_io import BlendModel
    from ..prediction import BlendPrediction
    from ..stamps import BlendStamps


class BlendMethod(Protocol):
    """A way to tell which sources are blends."""

    def predict(self, stamps: BlendStamps) -> BlendPrediction:
        """Return one answer per stamp, in their order; no content of the pixels is an error.

        Parameters
        ----------
        stamps : `~..stamps.BlendStamps`
            Sky-subtracted stamps of one band.
        """
        ...


def get_method(name: str, model: BlendModel | None = None) -> BlendMethod:
    """Return a method, ready to predict.

    Parameters
    ----------
    name : `str`
        A key of `METHODS`.
    model : `~..model_io.BlendModel`, optional
        The trained networks, which all but SExtractor need.

    Returns
    -------
    method : `BlendMethod`
        Its networks are loaded once.

    Raises
    ------
    UnknownMethodError
        If there is no such method; the message lists those there are.
    BadInputError
        If the model is missing, or of another method.
    """
    entry = method_entry(name)
    if not entry.architecture:
        from .sextractor import PUBLISHED, TUNED, SExtractor

        return SExtractor(PUBLISHED if name == "sextractor" else TUNED)
    if model is None or model.card.method != name:
        found = "none" if model is None else f"one of {model.card.method!r}"
        raise BadInputError(f"method {name}", "a model of this method", found)
    from .learned import Learned

    return Learned(model)
