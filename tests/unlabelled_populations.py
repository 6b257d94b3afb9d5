"""Logits of injected and unlabelled rows, with real sources hidden among the unlabelled."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri


class Population(NamedTuple):
    """N logits, which rows are injected, and which are real."""

    logit: np.ndarray
    injected: np.ndarray
    real: np.ndarray


def population(kind, auc, hidden, n_unlabelled, n_injected, seed):
    """Simulate rows of a classifier of about this AUC.

    ``gauss``: logits are normal in both classes, and those of a calibrated network. ``skewed``: real ones
    have a long tail to low logits. ``hard``: 3 % of the artefacts look half real. ``saturated``: the noisy
    logits of a network that learnt P(injected) with balanced classes, which has a ceiling at -log(hidden).
    ``brighter``: half of the injected score far higher than what hides, since they are brighter.
    """
    rng = np.random.default_rng([seed, n_unlabelled, n_injected])
    n_hidden = rng.binomial(n_unlabelled, hidden)
    n_real, n_artefacts = n_injected + n_hidden, n_unlabelled - n_hidden
    d = np.sqrt(2) * ndtri(auc)
    positive, negative = rng.normal(d, 1, n_real), rng.normal(0, 1, n_artefacts)
    if kind == "skewed":
        positive = 1.25 * d + 1.0 - rng.gamma(2.0, 0.9, n_real)
    if kind == "hard":
        positive += 0.1 * d
        half = rng.random(n_artefacts) < 0.03
        negative[half] += 0.55 * d
    if kind == "brighter":
        positive[:n_injected:2] += rng.gamma(2.0, 1.0, len(positive[:n_injected:2]))
    t = np.concatenate([positive, negative])
    z = d * t - 0.5 * d**2
    if kind == "saturated":
        z = z - np.log(hidden * np.exp(z) + 1 - hidden) + rng.normal(0, 0.25, len(z))
    row = np.arange(len(z))
    return Population(z, row < n_injected, row < n_real)
