"""What each treatment drops of a set of stamps."""

from __future__ import annotations

__all__ = ["flag_treatments"]

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..flags import unscored
from ..methods.learned import Learned
from ..methods.sextractor import PUBLISHED, SExtractor
from ..model_io import BlendModel
from ..preparation import prepare
from ..stamps import BlendStamps
from .rows import flags_of

_AT_ONCE = 2048


def flag_treatments(
    model: BlendModel, threshold: float
) -> Callable[[BlendStamps], Mapping[str, NDArray[np.bool_]]]:
    """Return what flags stamps by sep with the published settings, and by a model.

    Parameters
    ----------
    model : `~..model_io.BlendModel`
        Of any method that has a network.
    threshold : `float`
        Probability above which ours is a blend.

    Returns
    -------
    flagger : `~collections.abc.Callable`
        Gives, for N stamps, (N,) masks by treatment (see `.rows.flags_of`). What cannot be scored is not
        dropped.
    """
    learned, sextractor = Learned(model), SExtractor(PUBLISHED)

    def flag(stamps: BlendStamps) -> dict[str, NDArray[np.bool_]]:
        parts = []
        for start in range(0, len(stamps), _AT_ONCE):
            prepared = prepare(stamps.where(np.arange(start, min(start + _AT_ONCE, len(stamps)))))
            ours, theirs = learned.predict_prepared(prepared), sextractor.predict_prepared(prepared)
            p_blend = np.where(unscored(ours.flags), np.nan, ours.p_blend)
            parts.append(flags_of(p_blend, theirs.p_blend > 0.5, threshold))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return flag
