"""Whether the out-of-distribution score sees what training never saw: kinds of artefact, and a camera.

    python benchmarks/reliability_outliers.py SET --train lsst_101 --test lsst_901 --camera decam_101
        --out DIR

Networks are trained on a field without the artefacts of some causes (the truth says which; only this
benchmark may ask it). The score is that of each method of `outliers.py`; the AUROC is the chance that a
withheld source is stranger than one of a kind that was trained on, both of a field that training never
saw.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from dia_vetting.reliability.curves import summarise_curves
from dia_vetting.reliability.metrics import Sample
from dia_vetting.reliability.outliers import METHODS, fit_outliers
from dia_vetting.reliability.scoring import predict_features
from dia_vetting.reliability.training import TrainingSettings
from dia_vetting.seeding import generator
from numpy.typing import NDArray
from reliability_data import load
from reliability_fit import REPLICAS, fit, split_rows
from reliability_left_out import limited, scorable


def auroc(
    strange: NDArray[np.floating], withheld: NDArray[np.bool_], cells: NDArray[np.int64]
) -> dict[str, float]:
    """Return the AUROC of withheld sources against others, with its interval over sky cells."""
    sample = Sample(strange.astype(float), withheld, cells, np.full(len(cells), np.nan))
    return summarise_curves(sample, sample.weights(REPLICAS, generator(0, "outliers"))).auc.summary()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--camera", required=True, help="fields of a camera that is not in --train")
    parser.add_argument("--withhold", default="streak,hot_column")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=7000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--architecture", default="dihedral_resnet")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    withheld = args.withhold.split(",")
    rows = scorable(load(args.set, args.train.split(",")))
    rows = limited(rows[~np.isin(rows.columns["cause"], withheld)], args.rows, args.seed)
    test = scorable(load(args.set, args.test.split(",")))
    camera = limited(scorable(load(args.set, args.camera.split(","))), 5000, args.seed)
    settings = TrainingSettings(
        seed=args.seed,
        epochs=args.epochs,
        batch_size=128,
        learning_rate=4e-3,
        selection_fpr=0.01,
        threads=args.threads,
    )
    split = split_rows(rows, args.seed)
    trained = fit(rows, args.architecture, settings, split=split)
    held = rows[split.validation]
    features = {
        name: predict_features(trained.networks, part.inputs)[1][0]
        for name, part in (("held", held), ("test", test), ("camera", camera))
    }
    known = ~np.isin(test.columns["cause"], withheld)
    result: dict[str, Any] = {"withheld": withheld, "n_rows": len(rows)}
    for method in METHODS:
        model = fit_outliers(features["held"], held.injected, method=method)
        strange = {name: model.score(values) for name, values in features.items()}
        found: dict[str, Any] = {"median_of_known": float(np.median(strange["test"][known]))}
        for cause in withheld:
            mine = test.columns["cause"] == cause
            keep = known | mine
            found[cause] = auroc(strange["test"][keep], mine[keep], test.columns["cell"][keep])
        both = np.concatenate([strange["test"][known], strange["camera"]])
        other = np.arange(len(both)) >= known.sum()
        cells = np.concatenate([test.columns["cell"][known], camera.columns["cell"]])
        found["camera"] = auroc(both, other, cells)
        result[method] = found
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "outliers.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
