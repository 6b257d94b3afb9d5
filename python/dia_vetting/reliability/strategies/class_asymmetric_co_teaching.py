"""Co-teaching with a forget rate of its own for each class.

As `~.co_teaching` (Han et al. 2018, arXiv:1804.06872), but rows are sorted within their class. An injected
label is right by construction, so none of them is forgotten unless asked for; of the unlabelled, the fraction
that is surely real by the estimated prior is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Batch, Exchange, large_losses
from .options import ClassAsymmetricCoTeachingOptions

__all__ = ["ClassAsymmetricCoTeaching", "build"]


class ClassAsymmetricCoTeaching(Exchange):
    """A forget rate for the unlabelled and one for the injected.

    Parameters
    ----------
    options : `ClassAsymmetricCoTeachingOptions`
        Rates and ramp.
    """

    def __init__(self, options: ClassAsymmetricCoTeachingOptions) -> None:
        self.options = options

    def forgotten(self, network: int, losses: NDArray[np.float32], batch: Batch) -> NDArray[np.bool_]:
        """Return the rows of largest loss of each class."""
        options, ramp = self.options, batch.ramp(self.options.ramp)
        unlabelled = batch.prior_low if options.forget_unlabelled is None else options.forget_unlabelled
        return large_losses(losses, ~batch.injected, unlabelled * ramp, batch.rng) | large_losses(
            losses, batch.injected, options.forget_injected * ramp, batch.rng
        )


def build(options: ClassAsymmetricCoTeachingOptions) -> ClassAsymmetricCoTeaching:
    """Make the strategy."""
    return ClassAsymmetricCoTeaching(options)
