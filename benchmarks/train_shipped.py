"""Train a model that ships with the package, on fields of the large training set.

    python benchmarks/train_shipped.py SET --fields lsst_101,lsst_102,hsc_101,decam_101 --name NAME --out FILE

SET is the folder that `training_set.py` filled. Stamps of half the resolution (each 2 x 2 pixels added up)
are added to the training rows, so that networks also know cameras that sample the PSF more coarsely than
any of these.
"""

import argparse
import dataclasses
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from dia_vetting.reliability.cross_fitting import FoldSettings, ModelNotes, TrainingSet, cross_fit
from dia_vetting.reliability.inputs import unscorable_reasons
from dia_vetting.reliability.model_dataset import to_table
from dia_vetting.reliability.networks import check_options
from dia_vetting.reliability.training import TrainingSettings
from dia_vetting.seeding import generator
from reliability_data import Rows, load, stack

PREVALENCE = 0.03
MIN_VALID = 0.2


def training_rows(folder: Path, fields: list[str], binned: float, seed: int) -> Rows:
    """Read the fields, and a part of their rows once more at half the resolution."""
    parts = []
    for field in fields:
        whole = load(folder, [field])
        coarse = load(folder, [field], binned=True)
        drawn = generator(seed, "binned", field).random(len(coarse)) < binned
        parts += [whole, coarse[drawn & (coarse.columns["psf_fwhm"] > 1.3)]]
    rows = stack(parts)
    return rows[unscorable_reasons(rows.inputs, MIN_VALID) == ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--fields", required=True, help="comma-separated")
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument(
        "--binned", type=float, default=0.3, help="part of the rows that is added at half resolution"
    )
    parser.add_argument("--architecture", default="dihedral_resnet")
    parser.add_argument("--strategy", default="plain")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rows = training_rows(args.set, args.fields.split(","), args.binned, args.seed)
    counts = {"injected": int(rows.injected.sum()), "unlabelled": int((~rows.injected).sum())}
    counts |= {"injected_used": counts["injected"], "unlabelled_used": counts["unlabelled"]}
    logging.info("%d rows: %s", len(rows), counts)
    settings = TrainingSettings(
        seed=args.seed,
        epochs=args.epochs,
        batch_size=128,
        learning_rate=4e-3,
        selection_fpr=0.01,
        strategy=args.strategy,
        threads=args.threads,
    )
    data = TrainingSet(
        rows.inputs, rows.injected, rows.columns["cell"], None, {"injection": rows.columns["injection_id"]}
    )
    result = cross_fit(
        data,
        args.architecture,
        dataclasses.asdict(check_options(args.architecture, {})),
        settings,
        FoldSettings(n_folds=args.folds, members=args.members, validation_fraction=0.1),
        ModelNotes(
            "+".join(sorted({f.split("_")[0] for f in args.fields.split(",")})),
            MIN_VALID,
            counts,
            PREVALENCE,
            args.name,
        ),
    )
    # The sky that it was trained on was simulated: no sky of a user is in a fold of it.
    model = dataclasses.replace(result.model, trained_cells=np.zeros(0, np.int64)).sealed()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(to_table(model), args.out, compression="zstd")
    logging.info(
        "%s %s: %s, prior %s, %d bytes",
        args.name,
        model.card.version,
        model.card.metrics,
        model.card.prior,
        args.out.stat().st_size,
    )
    np.savez(
        args.out.with_suffix(".oof.npz"),
        logits=result.logits,
        reliability=result.reliability,
        **{
            name: rows.columns[name]
            for name in ("cell", "injection_id", "state", "truth_class", "cause", "snr", "psfFlux")
        },
    )


if __name__ == "__main__":
    main()
