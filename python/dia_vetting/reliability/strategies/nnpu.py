"""Non-negative positive-unlabelled risk (Kiryo et al. 2017, arXiv:1703.00593).

The unlabelled are a mixture of real ones (the prior pi) and artefacts, so the risk of the artefacts is
(R_u^- - pi R_p^-) / (1 - pi), with R_u^- and R_p^- the mean loss of calling an unlabelled or an injected row
an artefact. A network that has learnt the unlabelled by heart makes it negative: then it is driven back up
(their algorithm 1). The loss is the sigmoid one, as theirs. Both classes weigh the same, as in every strategy
here, rather than pi to 1 - pi (Su et al. 2021, doi:10.24963/ijcai.2021/412).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .base import Batch, Strategy
from .options import NnpuOptions

__all__ = ["Nnpu", "build"]


class Nnpu(Strategy):
    """Risk of real ones plus the non-negative risk of artefacts.

    Parameters
    ----------
    options : `NnpuOptions`
        When and how strongly a negative risk is driven back.
    """

    def __init__(self, options: NnpuOptions) -> None:
        self.options = options

    def losses(self, logits: Sequence[torch.Tensor], batch: Batch) -> list[torch.Tensor]:
        """Return the risk of the one network."""
        return [self._risk(values, batch) for values in logits]

    def _risk(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        injected = torch.from_numpy(batch.injected).to(logits)
        as_artefact, as_real = torch.sigmoid(logits), torch.sigmoid(-logits)
        positive = (batch.weights * injected * as_real).mean()
        known = (batch.weights * injected * as_artefact).mean()
        unlabelled = (batch.weights * (1 - injected) * as_artefact).mean()
        negative = (unlabelled - batch.prior * known) / (1 - batch.prior)
        if float(negative.detach()) < -self.options.beta:
            return -self.options.gamma * negative
        return positive + negative


def build(options: NnpuOptions) -> Nnpu:
    """Make the strategy."""
    return Nnpu(options)
