"""Plain training: every unlabelled row counts as an artefact.

With the hidden ones distributed like the injected, this orders sources just as clean labels would: the
chance of being injected rises with that of being real (Elkan & Noto 2008, doi:10.1145/1401890.1401920). What
it costs is variance, and the memory of a network that has learnt hidden sources by heart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .base import Batch, Strategy, row_losses
from .options import PlainOptions

__all__ = ["Plain", "build"]


class Plain(Strategy):
    """Weighted binary cross-entropy, injected against unlabelled."""

    def losses(self, logits: Sequence[torch.Tensor], batch: Batch) -> list[torch.Tensor]:
        """Return the weighted mean cross-entropy of each network, however many there are."""
        return [(row_losses(values, batch.injected) * batch.weights).mean() for values in logits]


def build(options: PlainOptions) -> Plain:
    """Make the strategy."""
    return Plain()
