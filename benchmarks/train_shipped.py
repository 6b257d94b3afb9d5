"""Train a model that ships with the package, on fields of the large training set.

    python benchmarks/train_shipped.py SET --fields lsst_101,lsst_102,hsc_101,decam_101 --name NAME --out FILE

SET is the folder that `training_set.py` filled. Stamps of half the resolution (each 2 x 2 pixels added up)
are added to the training rows, so that networks also know cameras that sample the PSF more coarsely than
any of these. The networks of each fold are kept in OUT's folder as they are done: a run that was stopped goes
on from there, and ``--only-fold`` lets folds be trained side by side, by processes of their own.
"""

import argparse
import dataclasses
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from dia_vetting.reliability import cross_fitting
from dia_vetting.reliability.cross_fitting import FoldSettings, ModelNotes, TrainingSet
from dia_vetting.reliability.folds import Split
from dia_vetting.reliability.inputs import unscorable_reasons
from dia_vetting.reliability.model_dataset import to_table
from dia_vetting.reliability.networks import check_options
from dia_vetting.reliability.training import TrainedNetwork
from dia_vetting.seeding import generator
from dia_vetting.skycells import sky_cell
from reliability_data import Rows, load, stack
from reliability_fit import training_settings

PREVALENCE = 0.03
MIN_VALID = 0.2
NSIDE = 2048
BUFFER = 6.0
"""Arcsec between the parts of a split: the reach of what two cutouts share of a template."""


def training_rows(folder: Path, fields: list[str], binned: float, seed: int) -> Rows:
    """Read the fields, and part of their rows again at half the resolution where raw cutouts are at hand."""
    parts = []
    for field in fields:
        whole = load(folder, [field])
        if not (folder / f"{field}.npz").exists():
            parts.append(whole)
            continue
        coarse = load(folder, [field], binned=True)
        drawn = generator(seed, "binned", field).random(len(coarse)) < binned
        parts += [whole, coarse[drawn & (coarse.columns["psf_fwhm"] > 1.3)]]
    rows = stack(parts)
    return rows[unscorable_reasons(rows.inputs, MIN_VALID) == ""]


def keep_folds(folder: Path, only: int | None) -> None:
    """Let `cross_fit` read the networks of folds that are done, and keep those of the others."""
    train = cross_fitting.train_networks

    def kept(inputs: Any, injected: Any, split: Split, *rest: Any) -> list[TrainedNetwork]:
        path = folder / f"fold_{split.fold}.pickle"
        if not path.exists():
            if only not in (None, split.fold):
                return []
            networks = train(inputs, injected, split, *rest)
            beside = path.with_suffix(".part")
            beside.write_bytes(pickle.dumps(networks))
            beside.rename(path)
            if only is not None:
                raise SystemExit(0)
        found: list[TrainedNetwork] = pickle.loads(path.read_bytes())
        return found

    cross_fitting.train_networks = kept  # type: ignore[assignment]


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
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the architecture")
    parser.add_argument("--only-fold", type=int, help="train this fold and stop")
    parser.add_argument("--strategy", default="plain")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rows = training_rows(args.set, args.fields.split(","), args.binned, args.seed)
    counts = {"injected": int(rows.injected.sum()), "unlabelled": int((~rows.injected).sum())}
    counts |= {"injected_used": counts["injected"], "unlabelled_used": counts["unlabelled"]}
    logging.info("%d rows: %s", len(rows), counts)
    settings = training_settings(args.seed, args.epochs, args.threads, args.strategy)
    ra, dec = rows.columns["ra"], rows.columns["dec"]
    data = TrainingSet(
        rows.inputs,
        rows.injected,
        sky_cell(ra, dec, NSIDE),
        (ra, dec),
        {"injection": rows.columns["injection_id"]},
    )
    options = {name: int(value) for name, _, value in (option.partition("=") for option in args.option)}
    folder = args.out.with_suffix(".folds")
    folder.mkdir(parents=True, exist_ok=True)
    keep_folds(folder, args.only_fold)
    result = cross_fitting.cross_fit(
        data,
        args.architecture,
        dataclasses.asdict(check_options(args.architecture, options)),
        settings,
        FoldSettings(NSIDE, args.folds, 0.1, members=args.members, buffer_arcsec=BUFFER),
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
            for name in (
                "cell",
                "injection_id",
                "state",
                "truth_class",
                "cause",
                "snr",
                "psfFlux",
                "psf_fwhm",
                "field",
            )
        },
    )


if __name__ == "__main__":
    main()
