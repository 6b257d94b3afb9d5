"""What the trainer asks of a strategy: the loss of each network, given what all networks say of a batch."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["Batch", "Exchange", "Strategy", "large_losses", "row_losses"]


@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch of N training rows, and what is known about all of them.

    Parameters
    ----------
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection; all others are unlabelled.
    weights : `torch.Tensor`, (N,), float32
        Weights with which both classes count the same; 1 on average over all rows.
    prior : `float`
        Estimated fraction of real ones among the unlabelled, in [0, 1).
    prior_low : `float`
        Lower end of its interval: what may be forgotten of the unlabelled. A hidden source that stays does
        little harm, an artefact that is forgotten is one of those that are hardest to tell.
    injected_fraction : `float`
        Fraction of injected rows among all training rows.
    age : `float`
        Part of the training, in [0, 1], that has passed since the warm-up.
    rng : `numpy.random.Generator`
        For what is random in a strategy.
    """

    injected: NDArray[np.bool_]
    weights: torch.Tensor
    prior: float
    prior_low: float
    injected_fraction: float
    age: float
    rng: np.random.Generator

    def ramp(self, length: float) -> float:
        """Return a factor that rises from 0 to 1 in a part of the training after the warm-up."""
        return min(self.age / length, 1.0) if length > 0 else 1.0


class Strategy(abc.ABC):
    """A way to deal with real sources among the unlabelled while training.

    Attributes
    ----------
    networks : `int`
        Networks that are trained side by side, on the same batches.
    """

    networks: int = 1

    @abc.abstractmethod
    def losses(self, logits: Sequence[torch.Tensor], batch: Batch) -> list[torch.Tensor]:
        """Return what each network is to minimise.

        Parameters
        ----------
        logits : `~collections.abc.Sequence` of `torch.Tensor`, (N,)
            Of each network, for the same rows.
        batch : `Batch`
            The rows.

        Returns
        -------
        losses : `list` of `torch.Tensor`, ()
            One per network.
        """


class Exchange(Strategy):
    """Two networks, each of which trains on the rows that the other one trusts."""

    networks = 2

    @abc.abstractmethod
    def forgotten(self, network: int, losses: NDArray[np.float32], batch: Batch) -> NDArray[np.bool_]:
        """Return the rows that a network is not to train on.

        Parameters
        ----------
        network : `int`
            The network that is trained, 0 or 1.
        losses : `numpy.ndarray`, (N,), float32
            Cross-entropy of each row, unweighted, by the other network.
        batch : `Batch`
            The rows.

        Returns
        -------
        forgotten : `numpy.ndarray`, (N,), bool
            True for rows to leave out.
        """

    def losses(self, logits: Sequence[torch.Tensor], batch: Batch) -> list[torch.Tensor]:
        """Return the weighted mean cross-entropy over the rows that the other network trusts."""
        each = [row_losses(values, batch.injected) for values in logits]
        known = [losses.detach().cpu().numpy() for losses in each]
        results = []
        for network, losses in enumerate(each):
            kept = torch.from_numpy(~self.forgotten(network, known[1 - network], batch)).to(losses.device)
            results.append((losses * batch.weights * kept).mean())
        return results


def row_losses(logits: torch.Tensor, injected: NDArray[np.bool_]) -> torch.Tensor:
    """Return the binary cross-entropy of each row, (N,)."""
    target = torch.from_numpy(injected).to(logits)
    return binary_cross_entropy_with_logits(logits, target, reduction="none")


def large_losses(
    losses: NDArray[np.float32], among: NDArray[np.bool_], rate: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return the rows of largest loss.

    Parameters
    ----------
    losses : `numpy.ndarray`, (N,), float32
        Loss of each row.
    among : `numpy.ndarray`, (N,), bool
        Rows to choose from.
    rate : `float`
        Fraction of them to choose. Their number is rounded at random, so that the rate holds on average
        however small a batch is.
    rng : `numpy.random.Generator`
        Rounds.

    Returns
    -------
    chosen : `numpy.ndarray`, (N,), bool
        The rows.
    """
    rows = np.flatnonzero(among)
    count = int(np.floor(min(rate, 1.0) * len(rows) + rng.random()))
    chosen = np.zeros(len(losses), dtype=bool)
    chosen[rows[np.argsort(-losses[rows], kind="stable")[:count]]] = True
    return chosen
