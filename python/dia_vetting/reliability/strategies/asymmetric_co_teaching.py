"""Asymmetric co-teaching (Yang et al. 2020, arXiv:1912.01349): one pure and one diverse network.

Two networks that see the same rows come to agree, and then no longer correct each other. Theirs have roles:
the collaborator trains on rows as pure as possible, those inliers to which the main network gives a small
loss; the main network trains on rows as diverse as possible, all inliers and those outliers to which the
collaborator gives a small loss. Their inliers and outliers come from clustering. Here the pure network leaves
out the ``purity`` times ``forget_rate`` unlabelled rows to which the main one gives the largest loss, and the
main network only the ``forget_rate`` worst by the pure one's. Injected rows are always inliers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Batch, Exchange, large_losses
from .options import AsymmetricCoTeachingOptions

__all__ = ["AsymmetricCoTeaching", "build"]

_PURE = 1
"""Index of the collaborator; 0 is the main network."""


class AsymmetricCoTeaching(Exchange):
    """Two forget rates for the unlabelled, one per network.

    Parameters
    ----------
    options : `AsymmetricCoTeachingOptions`
        Rate, purity and ramp.
    """

    def __init__(self, options: AsymmetricCoTeachingOptions) -> None:
        self.options = options

    def forgotten(self, network: int, losses: NDArray[np.float32], batch: Batch) -> NDArray[np.bool_]:
        """Return the unlabelled rows of largest loss: few for the main network, more for the pure one."""
        rate = batch.prior_low if self.options.forget_rate is None else self.options.forget_rate
        if network == _PURE:
            rate *= self.options.purity
        return large_losses(losses, ~batch.injected, rate * batch.ramp(self.options.ramp), batch.rng)


def build(options: AsymmetricCoTeachingOptions) -> AsymmetricCoTeaching:
    """Make the strategy."""
    return AsymmetricCoTeaching(options)
