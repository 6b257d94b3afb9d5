"""Estimators of the fraction of real ones among the unlabelled, and calibrations, on simulated logits.

    python benchmarks/unlabelled_statistics.py [--seeds 8]

The five kinds of logits are those of the tests; AUC 0.98, 0.99, 0.999; 5,000, 20,000 and 50,000 unlabelled
with 1,000, 3,000 and 10,000 injected; 0, 5, 15 and 25 % hidden. An error of 1 is what is tolerated: a fifth
of the truth or 0.01, whichever is more.
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from dia_vetting.reliability.calibration import expected_calibration_error, fit_calibration
from dia_vetting.reliability.prior import estimate_prior
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from unlabelled_populations import population

KINDS = ("gauss", "skewed", "hard", "saturated", "brighter")
SIZES = ((5_000, 1_000), (20_000, 3_000), (50_000, 10_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, default=8, help="populations of each kind, AUC, size and fraction"
    )
    args = parser.parse_args()
    compare_priors(args.seeds)
    compare_calibrations(args.seeds)


def compare_priors(n_seeds):
    for title, kinds in (("hidden like the injected", KINDS[:-1]), ("injected brighter", KINDS[-1:])):
        print(f"\nprior, {title}")
        compare_priors_of(kinds, n_seeds)


def compare_priors_of(kinds, n_seeds):
    errors = {name: [] for name in ESTIMATORS}
    cases = itertools.product(kinds, (0.98, 0.99, 0.999), SIZES, (0.0, 0.05, 0.15, 0.25), range(n_seeds))
    for number, (kind, auc, (n_unlabelled, n_injected), hidden, _) in enumerate(cases):
        rows = population(kind, auc, hidden, n_unlabelled, n_injected, 1_000 + number)
        truth = rows.real[~rows.injected].mean()
        for name, estimate in ESTIMATORS.items():
            error = (estimate(rows.logit, rows.injected) - truth) / max(0.2 * truth, 0.01)
            errors[name].append(error)
    print(f"{'estimator':30s} {'rms':>6s} {'mean':>6s} {'> 1':>6s} {'worst':>6s}")
    for name, values in errors.items():
        size = np.abs(values)
        figures = np.sqrt(np.mean(size**2)), np.mean(values), np.mean(size > 1), size.max()
        print(f"{name:30s}" + "".join(f" {figure:6.3f}" for figure in figures))


def compare_calibrations(n_seeds):
    errors = {}
    for number, (kind, auc, hidden) in enumerate(
        itertools.product(KINDS[:-1], (0.98, 0.995), (0.0, 0.05, 0.25))
    ):
        new = population(kind, auc, hidden, 200_000, 100_000, 99)
        for n_unlabelled, n_injected in ((1_000, 200), *SIZES[::2]):
            for seed in range(max(n_seeds // 2, 1)):
                rows = population(kind, auc, hidden, n_unlabelled, n_injected, 1_000 * number + seed)
                for name, ratio in log_ratios(rows, new).items():
                    for prevalence in (0.05, 0.5):
                        error = prevalence_error(ratio, new.real, prevalence)
                        errors.setdefault((name, n_unlabelled, prevalence), []).append(error)
    print(f"\n{'calibration':30s} unlabelled prevalence  mean error  worst")
    for (name, n_unlabelled, prevalence), values in errors.items():
        print(f"{name:30s} {n_unlabelled:10d} {prevalence:10.2f} {np.mean(values):11.4f} {max(values):6.3f}")


def log_ratios(rows, new):
    prior = float(estimate_prior(rows.logit, rows.injected, n_replicates=2).value)
    fits = {"piecewise, prior": prior, "piecewise, no prior": 0.0}
    ratios = {
        name: fit_calibration(rows.logit, rows.injected, value).log_likelihood_ratio(new.logit)
        for name, value in fits.items()
    }
    ratios["isotonic, prior"] = isotonic_ratio(rows, prior, new.logit)
    return ratios


def isotonic_ratio(rows, prior, logit):
    """Invert P(injected) as isotonic regression has it."""
    order = np.argsort(rows.logit, kind="stable")
    steps = isotonic_regression(rows.injected[order].astype(float)).x
    p = np.clip(np.interp(logit, rows.logit[order], steps), 1e-6, 1 - 1e-6)
    n_injected, n_unlabelled = rows.injected.sum(), (~rows.injected).sum()
    odds = p / (1 - p) * n_unlabelled / n_injected
    ratio = np.where(odds * prior < 1, odds * (1 - prior) / np.maximum(1 - odds * prior, 1e-9), 1e9)
    return np.log((ratio + 1 / n_injected) / (1 + ratio / (n_unlabelled * (1 - prior))))


def prevalence_error(log_ratio, real, prevalence):
    """Return the expected calibration error of rows of either class that are drawn to a prevalence."""
    n_real = int(min(real.sum(), prevalence / (1 - prevalence) * (~real).sum()))
    n_artefacts = int(n_real * (1 - prevalence) / prevalence)
    chosen = np.concatenate([np.flatnonzero(real)[:n_real], np.flatnonzero(~real)[:n_artefacts]])
    p = expit(log_ratio[chosen] + np.log(prevalence / (1 - prevalence)))
    return expected_calibration_error(p, real[chosen])


def ours(logit, injected):
    return float(estimate_prior(logit, injected, n_replicates=2).value)


def best_bin_as_published(logit, injected):
    """Garg et al. 2021, with their constants: delta 0.1, gamma 0.01."""
    real, other = np.sort(logit[injected]), np.sort(logit[~injected])
    cuts = np.unique(real[:: max(len(real) // 400, 1)])
    q_p = 1 - np.searchsorted(real, cuts) / len(real)
    q_u = 1 - np.searchsorted(other, cuts) / len(other)
    width = np.sqrt(np.log(40) / 2 / len(other)) + np.sqrt(np.log(40) / 2 / len(real))
    best = np.argmin((q_u + 1.01 * width) / q_p)
    return q_u[best] / q_p[best]


def slope_at(tpr):
    def estimate(logit, injected):
        cut = np.quantile(logit[injected], 1 - tpr)
        return np.mean(logit[~injected] >= cut) / np.mean(logit[injected] >= cut)

    return estimate


def elkan_noto(logit, injected):
    """Elkan & Noto 2008: P(injected | real) is the mean of P(injected | z) over the injected."""
    order = np.argsort(logit, kind="stable")
    p = isotonic_regression(injected[order].astype(float)).x
    share = p[injected[order]].mean()
    return injected.sum() * (1 / share - 1) / (~injected).sum()


def logistic_with_ceiling(logit, injected):
    """Ward et al. 2009: the prior is fitted too, and the log likelihood ratio is a straight line."""
    z = (logit - logit.mean()) / logit.std()
    n_injected, n_unlabelled = injected.sum(), (~injected).sum()

    def loss(parameters):
        a, log_b, log_odds = parameters
        ratio, prior = a + np.exp(log_b) * z, expit(log_odds)
        other = np.log(n_unlabelled) + np.logaddexp(np.log(prior) + ratio, np.log1p(-prior))
        mine = np.log(n_injected) + ratio
        return np.mean(np.logaddexp(mine, other) - np.where(injected, mine, other))

    starts = ([0.0, 1.0, start] for start in (-4.0, -1.5))
    bounds = [(-20, 20), (-3, 4), (-12, 6)]
    fits = [minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    return expit(min(fits, key=lambda fit: fit.fun).x[2])


ESTIMATORS = {
    "ours": ours,
    "best bin, as published": best_bin_as_published,
    "slope at TPR 0.25": slope_at(0.25),
    "slope at TPR 0.5": slope_at(0.5),
    "Elkan & Noto": elkan_noto,
    "logistic with ceiling": logistic_with_ceiling,
}

if __name__ == "__main__":
    main()
