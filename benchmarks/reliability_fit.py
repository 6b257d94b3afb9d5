"""Training on fields of the training set, and honest figures on other fields."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from dia_vetting.reliability.bootstrap import Estimate
from dia_vetting.reliability.calibration import Calibration, fit_calibration
from dia_vetting.reliability.curves import summarise_curves
from dia_vetting.reliability.folds import Split
from dia_vetting.reliability.glint_trails import FARTHEST, chance_in_image, doubt_trails
from dia_vetting.reliability.metrics import Sample, threshold_rates
from dia_vetting.reliability.networks import build_network
from dia_vetting.reliability.networks.base import TripletNetwork
from dia_vetting.reliability.prior import estimate_prior
from dia_vetting.reliability.scoring import best_device, predict_logits
from dia_vetting.reliability.selection import threshold_at_true_fpr
from dia_vetting.reliability.stated_prevalence import purity_at_prevalence_estimate
from dia_vetting.reliability.training import TrainingSettings, train_networks
from dia_vetting.seeding import generator
from numpy.typing import NDArray
from reliability_data import Rows
from scipy.special import logit

REPLICAS = 400
SPACING = {"ztf": 160.0}
"""Distances of flashes that are no default, as in config/."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """Networks that were trained, and what follows from rows that they were not trained on."""

    networks: list[TripletNetwork]
    weights: list[Mapping[str, NDArray[Any]]]
    calibration: Calibration
    prior: Estimate
    thresholds: dict[str, float]
    seconds: float


def training_settings(
    seed: int, epochs: int, threads: int = 1, strategy: str = "plain", learning_rate: float = 5e-3
) -> TrainingSettings:
    """Return the settings that all benchmarks train with."""
    return TrainingSettings(
        seed=seed,
        epochs=epochs,
        batch_size=256,
        learning_rate=learning_rate,
        selection_fpr=0.01,
        strategy=strategy,
        threads=threads,
    )


def split_rows(rows: Rows, seed: int, fraction: float = 0.15) -> Split:
    """Set whole sky cells apart for validation."""
    cells = np.unique(rows.columns["cell"])
    chosen = generator(seed, "validation cells").permutation(cells)[: int(np.ceil(fraction * len(cells)))]
    validation = np.isin(rows.columns["cell"], chosen)
    empty = np.zeros(0, dtype=np.int64)
    return Split(0, np.flatnonzero(~validation), np.flatnonzero(validation), empty)


def fit(
    rows: Rows,
    architecture: str,
    settings: TrainingSettings,
    members: int = 1,
    injected: NDArray[np.bool_] | None = None,
    initial: Any = None,
    options: Mapping[str, Any] | None = None,
    split: Split | None = None,
) -> Fit:
    """Train on rows; ``injected`` replaces their labels, to hide some injections among the unlabelled."""
    labels = rows.injected if injected is None else injected
    split = split or split_rows(rows, settings.seed)
    start = time.perf_counter()
    options = options or {}
    trained = train_networks(
        rows.inputs,
        labels,
        split,
        architecture,
        options,
        settings,
        members,
        None if initial is None else initial,
    )
    seconds = time.perf_counter() - start
    networks = [loaded(architecture, options, one.weights, rows) for one in trained]
    held = rows[split.validation]
    logits, known = predict_logits(networks, held.inputs).mean(axis=0), labels[split.validation]
    prior = estimate_prior(logits, known, held.columns["cell"])
    rate = float(prior.value)
    thresholds = {f"fpr_{f:g}": threshold_at_true_fpr(logits, known, rate, f) for f in (0.0015, 0.01)}
    for t in (0.9, 0.95, 0.97):
        thresholds[f"tpr_{t:g}"] = float(np.quantile(logits[known], 1 - t))
    calibration = fit_calibration(logits, known, rate)
    return Fit(networks, [one.weights for one in trained], calibration, prior, thresholds, seconds)


def loaded(
    architecture: str, options: Mapping[str, Any], weights: Mapping[str, Any], rows: Rows
) -> TripletNetwork:
    """Return a network for scoring."""
    import torch

    network = build_network(architecture, options, rows.inputs.stamps.shape[1])
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return network.baked().to(best_device()).to(memory_format=torch.channels_last)


def doubted(logits: NDArray[np.floating], rows: Rows, calibration: Calibration) -> NDArray[np.float64]:
    """Lower the logits of flashes in a row, as scoreReliability lowers their reliability.

    ``rows`` are all sources of the images: a trail is looked for among all that look real.
    """
    ratio = calibration.log_likelihood_ratio(logits)
    columns = rows.columns
    corner = {f"{axis}0": np.ceil(columns[axis] - rows.inputs.size / 2) for axis in "xy"}
    names = ("ra", "dec", "snr", "psfFlux", "psf_fwhm")
    table = Table({name: columns[name] for name in names} | corner)
    images = np.unique(
        np.stack([np.unique(columns[c], return_inverse=True)[1] for c in ("field", "visit", "detector")]),
        axis=1,
        return_inverse=True,
    )[1]
    chance = np.full(len(rows), np.inf)
    for image in np.unique(images):
        own = np.flatnonzero(images == image)
        spacing = SPACING.get(columns["field"][own[0]].split("_")[0], FARTHEST)
        chance[own] = chance_in_image(table[own], ratio[own] >= 0, spacing)
    lowered, trail = doubt_trails(calibration.reliability(logits, 0.5), chance)
    grid = np.linspace(logits.min() - 1.0, logits.max(), 4000)
    result = np.asarray(logits, float).copy()
    result[trail] = np.interp(
        logit(lowered[trail].astype(float)), calibration.log_likelihood_ratio(grid), grid
    )
    return result


def figures(
    logits: NDArray[np.floating],
    rows: Rows,
    positive: NDArray[np.bool_],
    threshold: float,
    prevalence: float = 0.03,
    seed: int = 0,
    with_curves: bool = True,
) -> dict[str, Any]:
    """Return the figures of positives against artefacts by the truth, with 95 % intervals over sky cells.

    Those that belong to no threshold take long, and are left out if not ``with_curves``.
    """
    member = positive | rows.artefact
    sample = Sample(
        logits[member].astype(float),
        positive[member],
        rows.columns["cell"][member],
        rows.columns["snr"][member].astype(float),
    )
    weights = sample.weights(REPLICAS, generator(seed, "benchmark bootstrap"))
    index, n_groups = sample.group_index()

    def count(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(index[keep], minlength=n_groups).astype(float)[:, None]

    called = sample.score >= threshold
    purity = purity_at_prevalence_estimate(
        count(called & sample.positive),
        count(sample.positive),
        count(called & ~sample.positive),
        count(~sample.positive),
        weights,
        prevalence,
    )
    rates = threshold_rates(sample, threshold, weights)
    result: dict[str, Any] = {
        "n_positive": int(sample.positive.sum()),
        "n_negative": int((~sample.positive).sum()),
        "n_groups": n_groups,
        "completeness": rates["sensitivity"].summary(),
        "fpr": rates["false_positive_rate"].summary(),
        f"purity_at_prevalence_{prevalence:g}": _first(purity),
    }
    if not with_curves:
        return result
    points = (0.001, 0.0015, 0.01)
    curves = summarise_curves(sample, weights, points)
    result["auc"] = curves.auc.summary()
    for i, point in enumerate(points):
        tpr = curves.tpr_at_fpr
        result[f"fnr_at_fpr_{point:g}"] = {
            "value": float(1 - tpr.value[i]),
            "low": float(1 - tpr.high[i]),
            "high": float(1 - tpr.low[i]),
        }
    return result


def _first(estimate: Estimate) -> dict[str, float]:
    return {name: float(getattr(estimate, name)[0]) for name in ("value", "low", "high")}


def completeness_at_purity(
    logits: NDArray[np.floating], rows: Rows, weights: NDArray[np.float32], purity: float, prevalence: float
) -> NDArray[np.float64]:
    """Return the completeness of real sources at a purity, in each bootstrap replicate of the cells, (B,)."""
    member = rows.real | rows.artefact
    group = np.unique(rows.columns["cell"], return_inverse=True)[1][member]
    order = np.argsort(-logits[member], kind="stable")
    each = weights[:, group[order]].astype(float)
    real = rows.real[member][order]
    tp, fp = np.cumsum(each * real, axis=1), np.cumsum(each * ~real, axis=1)
    recall, false = tp / tp[:, -1:], fp / fp[:, -1:]
    pure = prevalence * recall * (1 - purity) >= purity * (1 - prevalence) * false
    return np.asarray(np.where(pure, recall, 0.0).max(axis=1))


def paired(
    ours: NDArray[np.floating],
    other: NDArray[np.floating],
    rows: Rows,
    others: Rows | None = None,
    purity: float = 0.95,
    prevalence: float = 0.03,
) -> dict[str, Any]:
    """Return the completeness of both at fixed purity, and the change, over the same cells.

    ``others`` are the rows of the second where they are not those of the first, from the same cells.
    """
    cells = np.unique(rows.columns["cell"])
    drawn = generator(0, "paired bootstrap").multinomial(
        len(cells), np.full(len(cells), 1 / len(cells)), size=300
    )
    weights = np.concatenate([np.ones((1, len(cells))), drawn]).astype(np.float32)
    first = completeness_at_purity(ours, rows, weights, purity, prevalence)
    where = rows if others is None else others
    at = np.searchsorted(cells, np.unique(where.columns["cell"]))
    second = completeness_at_purity(other, where, weights[:, at], purity, prevalence)
    result = {"n_real": int(where.real.sum()), "n_artefact": int(where.artefact.sum())}
    for name, values in (("before", first), ("after", second), ("change", second - first)):
        low, high = np.percentile(values[1:][np.isfinite(values[1:])], [2.5, 97.5])
        result[name] = {"value": float(values[0]), "low": float(low), "high": float(high)}
    return result
