"""How good a network is on its validation rows, with real sources among the unlabelled taken into account.

Nobody knows which of the unlabelled are artefacts. With a fraction pi of them real, and those scored like the
injected, the fraction of the unlabelled above a threshold t is

    U(t) = pi TPR(t) + (1 - pi) FPR(t),

with TPR that of the injected. At a false-positive rate f the threshold is therefore not the quantile of the
unlabelled at f, but at pi TPR(t) + (1 - pi) f. Taken at f, it would lie among the hidden ones as soon as
pi > f, and what was compared would be how well a network tells these from the injected: nothing worth having.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .prior import MIN_ROWS, estimate_prior

__all__ = ["LARGEST_PRIOR", "Figures", "figures", "threshold_at_true_fpr", "validation_prior"]

LARGEST_PRIOR = 0.5
"""Largest prior that training believes in: a network that has learnt little would make it 1."""

_LOGIT_RANGE = 10.0
"""Beyond this, a row's share in the loss no longer rises: one row must not decide."""


@dataclasses.dataclass(frozen=True, order=True)
class Figures:
    """What networks are compared by: the larger, the better.

    Parameters
    ----------
    tpr : `float`
        Fraction of the injected above the threshold.
    negative_loss : `float`
        Minus the validation loss, which decides between equals.
    """

    tpr: float
    negative_loss: float

    @property
    def loss(self) -> float:
        """The validation loss."""
        return -self.negative_loss


def validation_prior(logits: NDArray[np.float32], injected: NDArray[np.bool_]) -> tuple[float, float]:
    """Estimate the fraction of the unlabelled that are real, for use in training.

    Parameters
    ----------
    logits : `numpy.ndarray`, (N,), float32
        Of rows that are not trained on.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection.

    Returns
    -------
    prior : `float`
        At most `LARGEST_PRIOR`; 0 with too few rows to tell, fewer than `~.prior.MIN_ROWS` of a class.
    low : `float`
        The lower end of its interval.
    """
    if min(injected.sum(), (~injected).sum()) < MIN_ROWS:
        return 0.0, 0.0
    prior = estimate_prior(logits, injected, n_replicates=100)
    return min(float(prior.value), LARGEST_PRIOR), min(float(prior.low), LARGEST_PRIOR)


def threshold_at_true_fpr(
    scores: NDArray[np.float32], injected: NDArray[np.bool_], prior: float, rate: float
) -> float:
    """Return the lowest threshold at which the false-positive rate, corrected for hidden ones, is as asked.

    Parameters
    ----------
    scores : `numpy.ndarray`, (N,), float32
        Scores or logits, at least one of each class.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection.
    prior : `float`
        Fraction of real ones among the unlabelled, in [0, 1).
    rate : `float`
        Largest false-positive rate, in [0, 1).

    Returns
    -------
    threshold : `float`
        Exact in float32, to be used as ``score >= threshold``; right above the score of an unlabelled row.
    """
    real, unlabelled = np.sort(scores[injected]), np.sort(scores[~injected])
    candidates = np.nextafter(np.unique(unlabelled), np.float32(np.inf))
    above = 1 - np.searchsorted(unlabelled, candidates) / len(unlabelled)
    tpr = 1 - np.searchsorted(real, candidates) / len(real)
    allowed = above - prior * tpr <= (1 - prior) * rate + 1e-9
    return float(candidates[np.argmax(allowed)])


def figures(logits: NDArray[np.float32], injected: NDArray[np.bool_], prior: float, rate: float) -> Figures:
    """Return the figures of a network on its validation rows.

    How many of N unlabelled rows are hidden is only known to its scatter, ``sqrt(pi (1 - pi) / N)``, and the
    corrected rate to no less: networks are compared at twice that where ``rate`` is less.

    The loss is the cross-entropy with both classes weighing the same, that of the artefacts being the
    unlabelled's minus the hidden ones' share (Kiryo et al. 2017, arXiv:1703.00593, equation 2).

    Parameters
    ----------
    logits : `numpy.ndarray`, (N,), float32
        At least one of each class.
    injected : `numpy.ndarray`, (N,), bool
        Whether a row is an injection.
    prior : `float`
        Fraction of real ones among the unlabelled, in [0, 1).
    rate : `float`
        False-positive rate at which networks are compared, in [0, 1), if there are rows enough.

    Returns
    -------
    figures : `Figures`
        To be compared with those of other networks at the same prior only.
    """
    scatter = np.sqrt(prior * (1 - prior) / (~injected).sum())
    threshold = threshold_at_true_fpr(logits, injected, prior, max(rate, 2 * scatter))
    tpr = float(np.mean(logits[injected] >= threshold))
    z = np.clip(logits.astype(float), -_LOGIT_RANGE, _LOGIT_RANGE)
    as_real, as_artefact = np.logaddexp(0, -z), np.logaddexp(0, z)
    hidden = prior * as_artefact[injected].mean()
    loss = 0.5 * as_real[injected].mean() + 0.5 * (as_artefact[~injected].mean() - hidden) / (1 - prior)
    return Figures(tpr, -float(loss))
