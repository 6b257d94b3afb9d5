"""Stochastic co-teaching (de Vos et al. 2023, arXiv:2205.14116, doi:10.1038/s41598-023-43864-7).

A network trains on the rows to whose label the other one gives a probability above a threshold that is drawn
anew for each row, from a Beta distribution: no forget rate is needed, and no row is left out for ever. The
thresholds rise from 0 after a delay, and are clipped to [0.01, 0.99]; alpha 32 and beta 2 to 4 are theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Batch, Exchange
from .options import StochasticCoTeachingOptions

__all__ = ["StochasticCoTeaching", "build"]

_CLIP = (0.01, 0.99)


class StochasticCoTeaching(Exchange):
    """Random thresholds on the probability of the label.

    Parameters
    ----------
    options : `StochasticCoTeachingOptions`
        Shape of the distribution and ramp.
    """

    def __init__(self, options: StochasticCoTeachingOptions) -> None:
        self.options = options

    def forgotten(self, network: int, losses: NDArray[np.float32], batch: Batch) -> NDArray[np.bool_]:
        """Return the rows whose label is less probable, exp(-loss), than their threshold."""
        ramp = batch.ramp(self.options.ramp)
        threshold = ramp * batch.rng.beta(self.options.alpha, self.options.beta, len(losses))
        return np.asarray(np.exp(-losses) <= (np.clip(threshold, *_CLIP) if ramp > 0 else 0.0))


def build(options: StochasticCoTeachingOptions) -> StochasticCoTeaching:
    """Make the strategy."""
    return StochasticCoTeaching(options)
