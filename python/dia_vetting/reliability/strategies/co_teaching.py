"""Co-teaching (Han et al. 2018, arXiv:1804.06872).

Networks learn what is general before they learn exceptions by heart, so rows of large loss are likely to have
the wrong label. Each network hands its rows of small loss to the other, which has made other mistakes; the
fraction that is forgotten rises as R(T) = 1 - min(T / T_k * tau, tau) in their algorithm 1. The rows of both
classes are sorted together, as published: where injected labels are always right, that forgets good ones too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Batch, Exchange, large_losses
from .options import CoTeachingOptions

__all__ = ["CoTeaching", "build"]


class CoTeaching(Exchange):
    """One forget rate for all rows.

    Parameters
    ----------
    options : `CoTeachingOptions`
        Rate and ramp.
    """

    def __init__(self, options: CoTeachingOptions) -> None:
        self.options = options

    def forgotten(self, network: int, losses: NDArray[np.float32], batch: Batch) -> NDArray[np.bool_]:
        """Return the rows of largest loss of either class."""
        rate = self.options.forget_rate
        if rate is None:
            rate = batch.prior_low * (1 - batch.injected_fraction)
        everything = np.ones(len(losses), dtype=bool)
        return large_losses(losses, everything, rate * batch.ramp(self.options.ramp), batch.rng)


def build(options: CoTeachingOptions) -> CoTeaching:
    """Make the strategy."""
    return CoTeaching(options)
