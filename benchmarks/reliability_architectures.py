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
from dia_vetting.reliability.training import TrainingSettings
from reliability_data import load
from reliability_fit import figures, fit
from reliability_left_out import limited, scorable

LEARNING_RATES = {"resnet50": 1e-3, "vgg6": 1e-3, "rbtn": 1e-3, "rubin_cnn": 2e-3}
"""Peaks of the schedule where the default does not suit: larger networks diverge or stand still with it."""


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
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rows = limited(scorable(load(args.set, args.train.split(","))), args.rows, args.seed)
    large = limited(scorable(load(args.set, args.train.split(","), size=51)), args.rows, args.seed)
    tests = {size: scorable(load(args.set, args.test.split(","), size=size), 6.0) for size in (30, 51)}
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "architectures.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(args.threads)
    for name in args.architectures.split(","):
        if name in results:
            continue
        size = 51 if name == "rubin_cnn" else 30
        settings = TrainingSettings(
            seed=args.seed,
            epochs=args.epochs,
            batch_size=128,
            learning_rate=LEARNING_RATES.get(name, 4e-3),
            selection_fpr=0.01,
            threads=args.threads,
        )
        trained = fit(large if size == 51 else rows, name, settings)
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
