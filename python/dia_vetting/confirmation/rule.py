"""The rule of the verdict: log-odds of the classes, added up from named terms.

The log-odds of a class over *artefact* are a sum of weights times features (multinomial logistic regression);
the features of a term and its weights give the column of that term, so that whoever reads a verdict sees what
it was made of. The weights were fitted to a simulated survey (`verdict_rule.json` says which).
"""

from __future__ import annotations

__all__ = ["RuleError", "VerdictRule", "fit_rule", "load_rule"]

import dataclasses
import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ..errors import BadInputError
from .features import FEATURES
from .schemas import CLASSES, term_column

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_FILE = "verdict_rule.json"
_NAMES = [name for term in FEATURES.values() for name in term]


class RuleError(BadInputError):
    """A file that holds no rule for these features."""


@dataclasses.dataclass(frozen=True)
class VerdictRule:
    """Weights of the log-odds.

    Parameters
    ----------
    weights : `numpy.ndarray`, (C - 1, F), float64
        Of each class but artefact and each feature, in the order of `~.features.FEATURES`.
    notes : `dict`
        What they were fitted to.
    """

    weights: F64
    notes: dict[str, Any]

    @property
    def version(self) -> str:
        """Hash of the weights, 7 characters."""
        return hashlib.blake2b(np.ascontiguousarray(self.weights).tobytes(), digest_size=8).hexdigest()[:7]

    def terms(self, features: F64, shift: Mapping[str, float] | None = None) -> dict[str, F64]:
        """Return the terms of the log-odds.

        Parameters
        ----------
        features : `numpy.ndarray`, (N, F), float64
            From `~.features.feature_matrix`.
        shift : `~collections.abc.Mapping`, optional
            What is added to the term ``prior`` of a class: a sky on which it is more or less frequent.

        Returns
        -------
        terms : `dict` [`str`, `numpy.ndarray`], (N,), float64
            By the names of their columns.
        """
        result, first = {}, 0
        for term, names in FEATURES.items():
            part = slice(first, first := first + len(names))
            for row, name in enumerate(CLASSES[:-1]):
                added = (shift or {}).get(name, 0.0) if term == "prior" else 0.0
                result[term_column(term, name)] = features[:, part] @ self.weights[row, part] + added
        return result

    def probabilities(self, terms: Mapping[str, F64]) -> F64:
        """Return the probability of each class, (N, C), float64, of the terms of N objects."""
        odds = [np.sum([terms[term_column(t, name)] for t in FEATURES], axis=0) for name in CLASSES[:-1]]
        return np.asarray(softmax(np.stack([*odds, np.zeros_like(odds[0])], axis=1), axis=1))

    def to_json(self) -> str:
        """Return the rule as JSON, weights by class and feature."""
        weights = {
            name: dict(zip(_NAMES, (round(float(w), 4) for w in row), strict=True))
            for name, row in zip(CLASSES[:-1], self.weights, strict=True)
        }
        return json.dumps({"notes": self.notes, "weights": weights}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> VerdictRule:
        """Read what `to_json` wrote; `RuleError` if it is something else."""
        try:
            content = json.loads(text)
            rows = [[float(content["weights"][c][name]) for name in _NAMES] for c in CLASSES[:-1]]
            return cls(np.array(rows), dict(content["notes"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RuleError(source, "weights of every class and feature", repr(error)) from error


def load_rule() -> VerdictRule:
    """Return the rule that comes with the package."""
    text = (importlib.resources.files(__package__) / _FILE).read_text(encoding="utf-8")
    return VerdictRule.from_json(text, _FILE)


def fit_rule(
    features: F64, classes: I64, weights: F64, notes: dict[str, Any], ridge: float = 1.0
) -> VerdictRule:
    """Fit the weights by maximum likelihood with a ridge.

    Parameters
    ----------
    features : `numpy.ndarray`, (N, F), float64
        From `~.features.feature_matrix`.
    classes : `numpy.ndarray`, (N,), int64
        Index of each object's class in `~.schemas.CLASSES`.
    weights : `numpy.ndarray`, (N,), float64
        How many objects each counts as.
    notes : `dict`
        What the objects are, to be kept.
    ridge : `float`, optional
        Penalty on the squared weights of standardised features, but for the first.

    Returns
    -------
    rule : `VerdictRule`
        The unique best weights: the penalised likelihood is concave.
    """
    n_classes, n_features = len(CLASSES), features.shape[1]
    scale = np.where(features.std(axis=0) > 0, features.std(axis=0), 1.0)
    x = features / scale
    penalised = np.ones(n_features)
    penalised[0] = 0.0
    target = np.eye(n_classes)[classes]

    def loss(flat: F64) -> tuple[float, F64]:
        beta = flat.reshape(n_classes - 1, n_features)
        logits = np.column_stack([x @ beta.T, np.zeros(len(x))])
        log_p = log_softmax(logits, axis=1)
        value = -np.sum(weights * log_p[np.arange(len(x)), classes]) + 0.5 * ridge * np.sum(
            penalised * beta**2
        )
        slope = ((np.exp(log_p) - target) * weights[:, None])[:, :-1].T @ x + ridge * penalised * beta
        return float(value), slope.ravel()

    start = np.zeros((n_classes - 1) * n_features)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-12})
    fitted = np.round(best.x.reshape(n_classes - 1, n_features) / scale, 4)
    return VerdictRule(fitted, notes)
