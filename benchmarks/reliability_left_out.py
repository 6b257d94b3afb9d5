"""Each camera left out of training in turn: the others' networks on it, and after fine-tuning.

    python benchmarks/reliability_left_out.py SET --train lsst_101,hsc_101,ztf_101,decam_101
        --test lsst_901,hsc_901,ztf_901,decam_901 --tune lsst_102,hsc_102,ztf_102,decam_102 --out DIR

For each camera, networks are trained on the training fields of the others, and their threshold is set
there. They are tried on the camera's test field as they are, and after fine-tuning with the injections of
the camera's own fields (``--tune``); the last rows say what fine-tuning costs on the test fields of the
cameras that came before. No test field may be a training field of any of these.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from dia_vetting.reliability.ablation import ablation_figure, ablation_table
from dia_vetting.reliability.inputs import unscorable_reasons
from dia_vetting.reliability.scoring import predict_logits
from dia_vetting.seeding import generator
from reliability_data import Rows, load
from reliability_fit import Fit, doubted, figures, fit, training_settings
from train_shipped import training_rows

PREVALENCE = 0.03
POINT = "tpr_0.95"
MIN_SNR = 6.0


def camera(field: str) -> str:
    """Return the preset of a field."""
    return field.split("_")[0]


def scorable(rows: Rows) -> Rows:
    """Return the rows that can be scored."""
    return rows[unscorable_reasons(rows.inputs, 0.2) == ""]


def limited(rows: Rows, count: int, seed: int) -> Rows:
    """Draw no more than so many rows."""
    return rows[np.sort(generator(seed, "rows").permutation(len(rows))[:count])]


def evaluate(trained: Fit, test: Rows, threshold: float) -> dict[str, Any]:
    """Return figures of real sources and of transients alone, at SNR >= 6."""
    logits = doubted(predict_logits(trained.networks, test.inputs).mean(axis=0), test, trained.calibration)
    bright = test.columns["snr"] >= MIN_SNR
    logits, test = logits[bright], test[bright]
    real = figures(logits, test, test.real, threshold, PREVALENCE)
    return real | {"transient": figures(logits, test, test.transient, threshold, PREVALENCE)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--tune", required=True)
    parser.add_argument("--cameras", default="lsst,hsc,decam,ztf")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=30000, help="largest number of training rows")
    parser.add_argument("--tune-rows", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--tune-epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--architecture", default="dihedral_resnet")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    fields = {name: getattr(args, name).split(",") for name in ("train", "test", "tune")}
    if set(fields["test"]) & {*fields["train"], *fields["tune"]}:
        parser.error("A test field must not be trained or tuned on.")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "left_out.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    settings = training_settings(args.seed, args.epochs, args.threads)
    tuning = dataclasses.replace(settings, epochs=args.tune_epochs, learning_rate=1e-3, anchor=1.0)
    tests = {camera(f): scorable(load(args.set, [f])) for f in fields["test"]}
    for left in args.cameras.split(","):
        if left in results or left not in tests:
            continue
        others = [f for f in fields["train"] if camera(f) != left]
        rows = limited(training_rows(args.set, others, 0.3, args.seed), args.rows, args.seed)
        before = fit(rows, args.architecture, settings)
        result: dict[str, Any] = {"trained_on": others, "seconds": before.seconds}
        result["as_it_is"] = evaluate(before, tests[left], before.thresholds[POINT])
        known = [name for name in tests if name != left and any(camera(f) == name for f in others)]
        result["others_before"] = {n: evaluate(before, tests[n], before.thresholds[POINT]) for n in known}
        own = [f for f in fields["tune"] if camera(f) == left]
        if own:
            mine = limited(scorable(load(args.set, own)), args.tune_rows, args.seed)
            after = fit(mine, args.architecture, tuning, initial=before.weights)
            result |= {"tuned_on": own, "tuned_rows": len(mine), "tuned_injected": int(mine.injected.sum())}
            result["fine_tuned"] = evaluate(after, tests[left], after.thresholds[POINT])
            result["others_after"] = {n: evaluate(after, tests[n], after.thresholds[POINT]) for n in known}
        results[left] = result
        path.write_text(json.dumps(results, indent=1))  # can be resumed
    report(results, args.out)


def report(results: dict[str, Any], out: Path) -> None:
    """Print and draw the table."""
    rows = {}
    stages = {"as_it_is": "as it is", "fine_tuned": "fine-tuned"}
    for left, result in results.items():
        for stage, name in stages.items():
            if stage in result:
                rows[f"{left}, {name}"] = result[stage]
                rows[f"{left}, {name}, transients"] = result[stage]["transient"]
        for stage in ("others_before", "others_after"):
            for other, found in result.get(stage, {}).items():
                rows[f"{left} left out: {other} {stage.split('_')[1]} tuning"] = found
    headings = {
        "n_positive": "positives",
        "auc": "AUC",
        "completeness": "completeness",
        "purity_at_prevalence_0.03": "purity at prevalence 3 %",
        "fnr_at_fpr_0.01": "FNR at FPR 1 %",
    }
    print(ablation_table(rows, headings))
    panels = {name: headings[name] for name in ("completeness", "purity_at_prevalence_0.03")}
    ablation_figure(rows, panels, "Each camera left out of training").savefig(out / "left_out.png", dpi=120)


if __name__ == "__main__":
    main()
