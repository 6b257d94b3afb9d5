"""What real sources hidden among the unlabelled do to training: every strategy, at several fractions of them.

    python benchmarks/reliability_contamination.py SET --train lsst_101 --test lsst_901 --out DIR

Injections of the training fields are hidden among the unlabelled until they make up a given fraction of
these (those that the simulation hid already count); the networks are then compared on another field by its
truth. ``--like faint`` hides faint injections only: the estimated prior assumes that hidden ones score
like the injected, and there they do not.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from dia_vetting.reliability.ablation import ablation_figure, ablation_table
from dia_vetting.reliability.inputs import unscorable_reasons
from dia_vetting.reliability.prior import estimate_prior
from dia_vetting.reliability.scoring import predict_logits
from dia_vetting.seeding import generator
from reliability_data import Rows, load
from reliability_fit import doubted, figures, fit, split_rows, training_settings

STRATEGIES = {
    "plain": 1,
    "deep_ensemble": 2,
    "co_teaching": 2,
    "class_asymmetric_co_teaching": 2,
    "asymmetric_co_teaching": 2,
    "stochastic_co_teaching": 2,
    "nnpu": 1,
}
"""Networks of each."""


def hide(rows: Rows, fraction: float, faint: bool, seed: int) -> tuple[Rows, np.ndarray]:
    """Return rows and labels in which real ones make up a fraction of the unlabelled.

    For a fraction below that of the simulation's own, real ones are left out of the unlabelled.
    """
    rng, injected, real = generator(seed, "hide", fraction), rows.injected.copy(), rows.real
    artefacts = int((~injected & ~real).sum())
    wanted = round(fraction / (1 - fraction) * artefacts)
    own = np.flatnonzero(~injected & real)
    own = rng.permutation(own)
    keep = np.ones(len(rows), dtype=bool)
    keep[own[wanted:]] = False
    candidates = np.flatnonzero(injected)
    if faint:
        candidates = candidates[rows.columns["snr"][candidates] < np.median(rows.columns["snr"][candidates])]
    injected[rng.permutation(candidates)[: max(wanted - len(own), 0)]] = False
    return rows[keep], injected[keep]


def top_of_the_unlabelled(logits: np.ndarray, injected: np.ndarray, real: np.ndarray) -> float:
    """Return how many of the N hidden ones are among the 2 N unlabelled with the highest scores."""
    hidden = real[~injected]
    count = int(hidden.sum())
    best = np.argsort(-logits[~injected], kind="stable")[: 2 * count]
    return float(hidden[best].sum() / count) if count else float("nan")


def run(rows: Rows, test: Rows, fraction: float, strategy: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train with a strategy and return its figures."""
    labelled, injected = hide(rows, fraction, args.like == "faint", args.seed)
    split = split_rows(labelled, args.seed)
    settings = training_settings(args.seed, args.epochs, args.threads, strategy)
    trained = fit(labelled, args.architecture, settings, STRATEGIES[strategy], injected, split=split)
    logits = predict_logits(trained.networks, test.inputs).mean(axis=0)
    bright = test.columns["snr"] >= 6
    lowered, test = doubted(logits, test, trained.calibration)[bright], test[bright]
    clean = figures(lowered, test, test.transient, 0.0)
    alone = figures(logits[bright], test, test.transient, 0.0)
    # The same fraction is hidden in the other field, to see what a campaign would see of its unlabelled.
    held, known = hide(test, fraction, args.like == "faint", args.seed)
    logits = predict_logits(trained.networks, held.inputs).mean(axis=0)
    prior = estimate_prior(logits, known, held.columns["cell"])
    return {
        "true_fraction": float((held.real & ~known).sum() / (~known).sum()),
        "prior": prior.summary(),
        "auc": clean["auc"],
        "fnr_at_fpr_0.0015": clean["fnr_at_fpr_0.0015"],
        "fnr_at_fpr_0.01": clean["fnr_at_fpr_0.01"],
        "stamps_alone_fnr_at_fpr_0.0015": alone["fnr_at_fpr_0.0015"],
        "hidden_in_top_2n": top_of_the_unlabelled(logits, known, held.real),
        "n_hidden": int((held.real & ~known).sum()),
        "seconds": trained.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fractions", default="0,0.05,0.15,0.25")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--like", choices=("injected", "faint"), default="injected")
    parser.add_argument("--rows", type=int, default=9000, help="largest number of training rows")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--architecture", default="dihedral_resnet")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rows, test = (load(args.set, names.split(",")) for names in (args.train, args.test))
    rows, test = (
        r[(unscorable_reasons(r.inputs, 0.2) == "") & (r.columns["snr"] >= 5)] for r in (rows, test)
    )
    drawn = np.sort(generator(args.seed, "rows").permutation(len(rows))[: args.rows])
    rows = rows[drawn]
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"contamination_{args.like}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for fraction in map(float, args.fractions.split(",")):
        for strategy in args.strategies.split(","):
            key = f"{strategy} {fraction:g}"
            if key not in results:
                results[key] = run(rows, test, fraction, strategy, args)
                path.write_text(json.dumps(results, indent=1))  # can be resumed
                print(key, json.dumps(results[key]), flush=True)
    headings = {
        "true_fraction": "true fraction",
        "prior": "estimated",
        "auc": "AUC",
        "fnr_at_fpr_0.0015": "FNR at FPR 0.15 %",
        "fnr_at_fpr_0.01": "FNR at FPR 1 %",
        "hidden_in_top_2n": "hidden in top 2N",
        "seconds": "training, s",
    }
    print(ablation_table(results, headings, best={"auc": "highest"}))
    panels = {name: headings[name] for name in ("prior", "fnr_at_fpr_0.0015", "fnr_at_fpr_0.01")}
    ablation_figure(results, panels, f"Hidden like {args.like}").savefig(
        args.out / f"contamination_{args.like}.png", dpi=120
    )


if __name__ == "__main__":
    main()
