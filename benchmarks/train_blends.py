"""Train a blend model on simulated stamps, on a graphics card where there is one, and write it as Parquet.

    python benchmarks/train_blends.py MODEL.parquet --preset farrens2021=100000 --preset great3=100000

simulates. After the number there can be ``,knots=0.5`` (fraction of galaxies with knots), ``,fwhm=0.6-1.4``
(other PSFs, arcsec) and ``,galaxies=CATALOG.fits`` (real galaxies), and a preset can be named more than once.

    python benchmarks/train_blends.py SHARDS --simulate-only --preset lsst=100000 --seed 1000 --jobs 2
    python benchmarks/train_blends.py MODEL.parquet --shards SHARDS

keeps the stamps in a folder of .npz files and trains from those, on another machine if need be. The second
command needs torch, numpy, scipy, pyarrow and pydantic beside the folder ``python`` on PYTHONPATH, and none
of Rubin's packages.
"""

import argparse
import dataclasses
import json
import logging
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from dia_vetting.blends.augmentation import Augmentation
from dia_vetting.blends.flags import unscored
from dia_vetting.blends.methods.names import METHODS
from dia_vetting.blends.model_io import from_table, to_table
from dia_vetting.blends.preparation import prepare
from dia_vetting.blends.stamps import BlendStamps, BlendTruth
from dia_vetting.blends.training import TrainingSettings, train_blends
from dia_vetting.blends.training_rows import TrainingRows, training_rows
from dia_vetting.blends.weight_files import read_weights

SHARD = 20_000
"""Stamps per file."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Stamps of one preset, their truth, and whether a companion anywhere makes a blend there."""

    preset: str
    seed: int
    any_companion: bool
    stamps: BlendStamps
    truth: BlendTruth


def simulated(wanted: str, seed: int, jobs: int) -> Part:
    """Simulate what one ``--preset`` asks for: NAME=COUNT and options."""
    from dia_vetting.blends.presets import load_preset
    from dia_vetting.blends.simulation import simulate

    pairs = [one.split("=") for one in wanted.split(",")]
    (name, count), options = pairs[0], dict(pairs[1:])
    if unknown := set(options) - {"knots", "fwhm", "galaxies"}:
        raise SystemExit(f"--preset {wanted}: knots, fwhm or galaxies are expected, not {sorted(unknown)}")
    preset = load_preset(name)
    if "knots" in options:
        preset = preset.with_structure(float(options["knots"]))
    if "fwhm" in options:
        low, high = options["fwhm"].split("-")
        preset = preset.with_seeing((float(low), float(high)))
    stamps, truth = simulate(preset, int(count), seed, jobs, galaxies=options.get("galaxies"))
    return Part(name, seed, preset.layout.offset is not None, stamps, truth)


def write_shards(folder: Path, part: Part, which: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, start in enumerate(range(0, len(part.stamps), SHARD)):
        rows = slice(start, start + SHARD)
        stamps, truth = part.stamps.where(rows), part.truth.where(rows)
        arrays = {f.name: getattr(stamps, f.name) for f in dataclasses.fields(stamps)}
        arrays |= {f"truth_{f.name}": getattr(truth, f.name) for f in dataclasses.fields(truth)}
        notes = {"preset": part.preset, "seed": part.seed, "any_companion": part.any_companion}
        path = folder / f"{which}_{part.preset}_{index:04d}.npz"
        np.savez(path, notes=json.dumps(notes), **arrays)


def read_shard(path: Path, limit: int | None = None) -> Part:
    with np.load(path, allow_pickle=False) as file:
        notes = json.loads(str(file["notes"]))
        stamps = BlendStamps(**{f.name: file[f.name][:limit] for f in dataclasses.fields(BlendStamps)})
        truth = BlendTruth(
            **{f.name: file[f"truth_{f.name}"][:limit] for f in dataclasses.fields(BlendTruth)}
        )
    return Part(notes["preset"], notes["seed"], notes["any_companion"], stamps, truth)


def usable(part: Part) -> Part:
    """Leave out what no method scores: a few stamps of real galaxies have no light in the middle."""
    bad = unscored(prepare(part.stamps).flags)
    if not bad.any():
        return part
    print(f"{part.preset}: {np.count_nonzero(bad)} of {len(bad)} stamps cannot be scored and are left out")
    return dataclasses.replace(part, stamps=part.stamps.where(~bad), truth=part.truth.where(~bad))


def gathered(parts: list[Part], size: int | None) -> tuple[TrainingRows, dict[str, tuple[int, int]]]:
    """Return the rows of all parts at one size, and the notes for the card."""
    size = size or max(part.stamps.images.shape[-1] for part in parts)
    names = sorted({part.preset for part in parts})
    rows, presets = [], {}
    for part in map(usable, parts):
        if presets.get(part.preset, (0, part.seed))[1] != part.seed:
            raise SystemExit(f"{part.preset}: the card has one seed for each preset, the stamps have two.")
        made = training_rows(part.stamps, part.truth, size, part.any_companion)
        # Groups of one preset keep together across its parts; those of others never collide with them.
        rows.append(dataclasses.replace(made, group=made.group * len(names) + names.index(part.preset)))
        presets[part.preset] = (presets.get(part.preset, (0, 0))[0] + len(made), part.seed)
    return TrainingRows.joined(rows), presets


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--preset",
        action="append",
        default=[],
        help="NAME=COUNT and options, see above",
    )
    parser.add_argument("--shards", type=Path, nargs="+", help="folders of .npz files to train from")
    parser.add_argument("--leave-out", action="append", default=[], help="preset that is not read from these")
    parser.add_argument("--limit", type=int, help="stamps that are read of each file, at most")
    parser.add_argument("--simulate-only", action="store_true", help="write .npz files into OUT")
    parser.add_argument("--method", default="ours", choices=[n for n, m in METHODS.items() if m.architecture])
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the architecture")
    parser.add_argument("--initial", type=Path, help="ImageNet weights for vgg16, .safetensors or .npz")
    parser.add_argument("--parent", type=Path, help="model to start from, of the same method and options")
    parser.add_argument("--parent-share", type=float, default=0.0, help="of its weights in the mean of both")
    parser.add_argument("--size", type=int, help="side to train with; the largest of the stamps by default")
    parser.add_argument("--seed", type=int, default=1000, help="of the simulation")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=TrainingSettings.epochs)
    parser.add_argument("--batch-size", type=int, default=TrainingSettings.batch_size)
    parser.add_argument("--learning-rate", type=float, default=TrainingSettings.learning_rate)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--noise", type=float, default=Augmentation.noise, help="probability of added noise")
    parser.add_argument("--training-seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.simulate_only:
        for index, wanted in enumerate(args.preset):
            write_shards(args.out, simulated(wanted, args.seed, args.jobs), index)
        return
    start = time.perf_counter()
    parts = [simulated(wanted, args.seed, args.jobs) for wanted in args.preset]
    for path in sorted(path for folder in args.shards or [] for path in folder.glob("*.npz")):
        if (part := read_shard(path, args.limit)).preset not in args.leave_out:
            parts.append(part)
    if not parts:
        parser.error("no stamps: give --preset or --shards")
    rows, presets = gathered(parts, args.size)
    del parts
    print(f"{len(rows)} stamps of {rows.size} pixels after {time.perf_counter() - start:.0f} s: {presets}")
    settings = TrainingSettings(
        seed=args.training_seed,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        members=args.members,
        parent_share=args.parent_share,
        augmentation=Augmentation(noise=args.noise),
    )
    pairs = [one.split("=") for one in args.option]
    options = {name: float(value) if "." in value else int(value) for name, value in pairs}
    initial = read_weights(args.initial) if args.initial else None
    parent = from_table(pq.read_table(args.parent), str(args.parent)) if args.parent else None
    model = train_blends(args.method, rows, presets, settings, options, initial, parent)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(to_table(model), args.out)
    print(f"{args.out}: version {model.card.version} after {time.perf_counter() - start:.0f} s")
    for name, (value, low, high) in model.card.metrics.items():
        print(f"  {name:28s} {value:.4f} [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    main()
