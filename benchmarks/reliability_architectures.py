"""Every architecture trained and scored on the same rows: accuracy, size, speed, training time, in one table.

python benchmarks/reliability_architectures.py SET --train lsst_101 --test lsst_901 --out DIR
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dia_vetting.reliability.ablation import ablation_figure, ablation_table
from dia_vetting.reliability.networks import ARCHITECTURES
from dia_vetting.reliability.scoring import predict_logits
from reliability_data import load
from reliability_fit import figures, fit, training_settings
from reliability_left_out import limited, scorable

LEARNING_RATES = {"resnet50": 1e-3, "vgg6": 1e-3, "rbtn": 1e-3, "rubin_cnn": 2e-3}
"""Peaks of the schedule where the default does not suit: larger networks diverge or stand still with it."""

PIXELS = {"rubin_cnn": 51}
"""Side of the stamps of an architecture that was made for others than 30 pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=9000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES))
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE, of all architectures")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    options = {name: int(value) for name, _, value in (option.partition("=") for option in args.option)}
    names = args.architectures.split(",")
    sizes = {PIXELS.get(name, 30) for name in names}
    train, test = args.train.split(","), args.test.split(",")
    rows = {size: limited(scorable(load(args.set, train, size=size)), args.rows, args.seed) for size in sizes}
    tests = {size: scorable(load(args.set, test, size=size), 6.0) for size in sizes}
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "architectures.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(args.threads)
    for name in names:
        if name in results:
            continue
        size = PIXELS.get(name, 30)
        settings = training_settings(
            args.seed, args.epochs, args.threads, learning_rate=LEARNING_RATES.get(name, 5e-3)
        )
        trained = fit(rows[size], name, settings, options=options)
        start = time.process_time()
        logits = predict_logits(trained.networks, tests[size].inputs)[0]
        seconds = time.process_time() - start
        found = figures(logits, tests[size], tests[size].transient, trained.thresholds["tpr_0.95"])
        parameters = sum(int(np.prod(w.shape)) for n, w in trained.weights[0].items() if "running_" not in n)
        results[name] = found | {
            "parameters": parameters,
            "per_second": int(len(logits) / seconds),
            "training_seconds": round(trained.seconds),
            "pixels": size,
        }
        path.write_text(json.dumps(results, indent=1))  # can be resumed
        print(name, json.dumps(results[name]), flush=True)
    headings = {
        "auc": "AUC",
        "fnr_at_fpr_0.01": "FNR at FPR 1 %",
        "fnr_at_fpr_0.001": "FNR at FPR 0.1 %",
        "pixels": "pixels",
        "parameters": "parameters",
        "per_second": "triplets per CPU second",
        "training_seconds": "training, s",
    }
    print(ablation_table(results, headings, best={"auc": "highest", "fnr_at_fpr_0.01": "lowest"}))
    panels = {name: headings[name] for name in ("auc", "fnr_at_fpr_0.01", "fnr_at_fpr_0.001")}
    ablation_figure(results, panels, "Architectures").savefig(args.out / "architectures.png", dpi=120)


if __name__ == "__main__":
    main()
