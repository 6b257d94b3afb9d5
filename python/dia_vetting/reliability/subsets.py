"""Figures of parts of a sample: bins of signal-to-noise ratio, signs of the flux, invalid pixels, kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .bootstrap import grouped_rate
from .metrics import SNR_EDGES, Sample
from .paired import paired_rates
from .stated_prevalence import purity_at_prevalence_estimate

__all__ = ["PAIRS", "SNR_SUBSETS", "SUBSETS", "pair_figures", "subset_figures", "subset_masks"]

type Bool = NDArray[np.bool_]
type F64 = NDArray[np.float64]

SNR_SUBSETS = {
    "snr_5_to_6": (5.0, 6.0),
    "snr_6_to_8": (6.0, 8.0),
    "snr_8_to_15": (8.0, 15.0),
    "snr_above_15": (15.0, np.inf),
}
"""Lower end (inclusive) and upper end of each bin of the signal-to-noise ratio."""

SUBSETS = {
    "snr_5_to_6": "5 <= SNR < 6",
    "snr_6_to_8": "6 <= SNR < 8",
    "snr_8_to_15": "8 <= SNR < 15",
    "snr_above_15": "SNR >= 15",
    "positive_flux": "psfFlux > 0",
    "negative_flux": "psfFlux < 0",
    "whole_stamp": "every pixel of the stamp is valid",
    "invalid_pixels": "some pixels of the stamp are not valid: at the edge of the chip, or without data",
    "appearing": "positives that were injected, or are hidden, where the template has nothing",
    "varying": "positives that were injected into template and visit, or are variable by the truth",
}
"""What each subset is."""

COMPLETENESS_ONLY = ("appearing", "varying")
"""Subsets that are kinds of positives: they have no purity and no false-positive rate."""

PAIRS = {"negative_flux": "positive_flux", "invalid_pixels": "whole_stamp", "varying": "appearing"}
"""Subsets that are compared with another one, source for source alike."""


def subset_masks(rows: Table) -> dict[str, Bool]:
    """Tell which rows are in which subset.

    Parameters
    ----------
    rows : `astropy.table.Table`
        N rows with ``snr``, ``psfFlux`` and ``valid_fraction``; NaN where unknown, and then in no subset.
        Where there are ``injection_kind`` or ``truth_class``, they are used.

    Returns
    -------
    masks : `dict` [`str`, `numpy.ndarray`]
        By the names of `SUBSETS`, bool (N,).
    """
    snr, flux, valid = (np.asarray(rows[name], np.float64) for name in ("snr", "psfFlux", "valid_fraction"))
    masks = {name: (snr >= low) & (snr < high) for name, (low, high) in SNR_SUBSETS.items()}
    masks |= {"positive_flux": flux > 0, "negative_flux": flux < 0}
    masks |= {"whole_stamp": valid >= 1, "invalid_pixels": valid < 1}
    kind, truth = (
        np.asarray(rows[name], str) if name in rows.colnames else np.full(len(rows), "")
        for name in ("injection_kind", "truth_class")
    )
    appearing, varying = (
        (kind == "appearing") | (truth == "hidden"),
        (kind == "varying") | (truth == "variable"),
    )
    return masks | {"appearing": appearing, "varying": varying}


def subset_figures(
    sample: Sample,
    masks: Mapping[str, Bool],
    thresholds: Mapping[str, float],
    weights: NDArray[np.float32],
    prevalence: float,
) -> dict[str, Any]:
    """Return completeness, purity and false-positive rate of each subset at fixed thresholds.

    Parameters
    ----------
    sample : `~.metrics.Sample`
        N rows in G groups.
    masks : `~collections.abc.Mapping` [`str`, `numpy.ndarray`]
        Subsets, bool (N,).
    thresholds : `~collections.abc.Mapping` [`str`, `float`]
        Lowest score that is called positive, by name.
    weights : `numpy.ndarray`, (B, G), float32
        From `~.metrics.Sample.weights`.
    prevalence : `float`
        Fraction of positives of the purity at a stated prevalence.

    Returns
    -------
    figures : `dict`
        By subset: ``n_positive``, ``n_negative``, and ``at_threshold`` by name; completeness alone for
        `COMPLETENESS_ONLY`.
    """
    membership = np.stack(list(masks.values()), axis=1)
    positives, negatives = (_count(sample, membership, of) for of in (sample.positive, ~sample.positive))
    figures: dict[str, Any] = {
        name: {"n_positive": int(n_positive), "n_negative": int(n_negative), "at_threshold": {}}
        for name, n_positive, n_negative in zip(
            masks, positives.sum(axis=0), negatives.sum(axis=0), strict=True
        )
    }
    for threshold, score in thresholds.items():
        called = sample.score >= score
        hits, false = (_count(sample, membership, called & of) for of in (sample.positive, ~sample.positive))
        rates = {
            "sensitivity": grouped_rate(hits, positives, weights),
            "precision": grouped_rate(hits, hits + false, weights),
            "false_positive_rate": grouped_rate(false, negatives, weights),
            f"purity_at_prevalence_{prevalence:g}": purity_at_prevalence_estimate(
                hits, positives, false, negatives, weights, prevalence
            ),
        }
        for index, name in enumerate(masks):
            figures[name]["at_threshold"][threshold] = {
                rate: estimate.at(index).summary()
                for rate, estimate in rates.items()
                if rate == "sensitivity" or name not in COMPLETENESS_ONLY
            }
    return figures


def pair_figures(
    sample: Sample,
    masks: Mapping[str, Bool],
    thresholds: Mapping[str, float],
    weights: NDArray[np.float32],
) -> dict[str, Any]:
    """Compare completeness and false-positive rate of each subset of `PAIRS` with those of its counterpart.

    Parameters
    ----------
    sample, masks, thresholds, weights
        As for `subset_figures`.

    Returns
    -------
    figures : `dict`
        By subset: ``compared_with``, and by threshold ``completeness`` and ``false_positive_rate``, each with
        the fields of `~.paired.PairedRates`; strata are the bins of `~.metrics.SNR_EDGES`.
    """
    strata = sample.snr[:, None] >= np.asarray(SNR_EDGES[1:-1])
    strata = np.arange(len(SNR_EDGES) - 1) == strata.sum(axis=1)[:, None]
    figures: dict[str, Any] = {}
    for name, counterpart in PAIRS.items():
        rates = {"completeness": sample.positive}
        if name not in COMPLETENESS_ONLY:
            rates["false_positive_rate"] = ~sample.positive
        sides = [strata & masks[side][:, None] for side in (name, counterpart)]
        figures[name] = {"compared_with": counterpart}
        for threshold, score in thresholds.items():
            called = sample.score >= score
            figures[name][threshold] = {
                rate: _paired(sample, sides, called, of, weights) for rate, of in rates.items()
            }
    return figures


def _paired(
    sample: Sample, sides: list[Bool], called: Bool, of: Bool, weights: NDArray[np.float32]
) -> dict[str, Any]:
    hits, rest_hits = (_count(sample, side, called & of) for side in sides)
    trials, rest_trials = (_count(sample, side, of) for side in sides)
    rates = paired_rates((hits, rest_hits), (trials, rest_trials), weights)
    return {
        "n_part": int(trials.sum()),
        "n_rest": int(rest_trials.sum()),
        "part": rates.part.summary(),
        "rest": rates.rest.summary(),
        "difference": rates.difference.summary(),
        "rest_alike_in_snr": rates.rest_alike.summary(),
        "difference_alike_in_snr": rates.difference_alike.summary(),
    }


def _count(sample: Sample, membership: Bool, rows: Bool) -> F64:
    """Count rows by group and column of the membership, (G, K) of (N, K)."""
    index, n_groups = sample.group_index()
    columns = [
        np.bincount(index[rows & member], minlength=n_groups) for member in np.ascontiguousarray(membership.T)
    ]
    return np.stack(columns, axis=1).astype(np.float64)
