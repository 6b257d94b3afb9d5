"""Train a blend model on simulated stamps, on a graphics card where there is one, and write it as Parquet.

    python benchmarks/train_blends.py MODEL.parquet --preset farrens2021=100000 --preset great3=100000

simulates, while

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
from dia_vetting.blends.methods.names import METHODS
from dia_vetting.blends.model_io import to_table
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


def simulated(preset_name: str, count: int, seed: int, jobs: int) -> Part:
    from dia_vetting.blends.presets import load_preset
    from dia_vetting.blends.simulation import simulate

    preset = load_preset(preset_name)
    stamps, truth = simulate(preset, count, seed, jobs)
    return Part(preset_name, seed, preset.layout.offset is not None, stamps, truth)


def write_shards(folder: Path, part: Part) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, start in enumerate(range(0, len(part.stamps), SHARD)):
        rows = slice(start, start + SHARD)
        stamps, truth = part.stamps.where(rows), part.truth.where(rows)
        arrays = {f.name: getattr(stamps, f.name) for f in dataclasses.fields(stamps)}
        arrays |= {f"truth_{f.name}": getattr(truth, f.name) for f in dataclasses.fields(truth)}
        notes = {"preset": part.preset, "seed": part.seed, "any_companion": part.any_companion}
        path = folder / f"{part.preset}_{part.seed}_{index:04d}.npz"
        np.savez_compressed(path, notes=json.dumps(notes), **arrays)


def read_shard(path: Path) -> Part:
    with np.load(path, allow_pickle=False) as file:
        notes = json.loads(str(file["notes"]))
        stamps = BlendStamps(**{f.name: file[f.name] for f in dataclasses.fields(BlendStamps)})
        truth = BlendTruth(**{f.name: file[f"truth_{f.name}"] for f in dataclasses.fields(BlendTruth)})
    return Part(notes["preset"], notes["seed"], notes["any_companion"], stamps, truth)


def gathered(parts: list[Part], size: int | None) -> tuple[TrainingRows, dict[str, tuple[int, int]]]:
    """Return the rows of all parts at one size, and the notes for the card."""
    size = size or max(part.stamps.images.shape[-1] for part in parts)
    names = sorted({part.preset for part in parts})
    rows, presets = [], {}
    for part in parts:
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
    parser.add_argument("--preset", action="append", default=[], help="NAME=COUNT, can be repeated")
    parser.add_argument("--shards", type=Path, help="folder of .npz files to train from")
    parser.add_argument("--simulate-only", action="store_true", help="write .npz files into OUT")
    parser.add_argument("--method", default="ours", choices=[n for n, m in METHODS.items() if m.architecture])
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the architecture")
    parser.add_argument("--initial", type=Path, help="ImageNet weights for vgg16, .safetensors or .npz")
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
    wanted = dict(one.split("=") for one in args.preset)
    if args.simulate_only:
        for name, count in wanted.items():
            write_shards(args.out, simulated(name, int(count), args.seed, args.jobs))
        return
    start = time.perf_counter()
    parts = [simulated(name, int(count), args.seed, args.jobs) for name, count in wanted.items()]
    if args.shards:
        parts += [read_shard(path) for path in sorted(args.shards.glob("*.npz"))]
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
        augmentation=Augmentation(noise=args.noise),
    )
    pairs = [one.split("=") for one in args.option]
    options = {name: float(value) if "." in value else int(value) for name, value in pairs}
    initial = read_weights(args.initial) if args.initial else None
    model = train_blends(args.method, rows, presets, settings, options, initial)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(to_table(model), args.out)
    print(f"{args.out}: version {model.card.version} after {time.perf_counter() - start:.0f} s")
    for name, (value, low, high) in model.card.metrics.items():
        print(f"  {name:28s} {value:.4f} [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    main()
