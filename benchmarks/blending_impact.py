"""What blends do to shear: biases m and c of simulated scenes, with all of them, and without those flagged.

The same scenes are sheared by +g and -g along both components, measured by galsim.hsm (REGAUSS), with their
companions and without, and flagged by sep and by the shipped model. Prints tables, writes shear_<preset>.png
and blending_impact_shear.ecsv (columns of the dataset blending_impact) into --out.

    python benchmarks/blending_impact.py --preset lsst --count 20000 --seed 9100 --out DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from dia_vetting.bad_input import BadInputError
from dia_vetting.blends.impact.flagging import flag_treatments
from dia_vetting.blends.impact.plots import shear_figure
from dia_vetting.blends.impact.resampling import Resampling
from dia_vetting.blends.impact.rows import impact_table
from dia_vetting.blends.impact.shear import ShearSample, shear_rows, shear_sample
from dia_vetting.blends.model_io import BlendModel
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.shipped import DEFAULT_MODEL, open_model
from dia_vetting.progress import progress
from dia_vetting.reliability.plots_style import interval_text

PART = 2500
"""Scenes of one seed, which are in memory together."""


def check_seeds(model: BlendModel, seeds: list[int]) -> None:
    """Refuse seeds whose stamps the model was trained with."""
    if used := model.card.seeds & set(seeds):
        raise BadInputError("--seed", "none that the model was trained with", str(min(used)))


def sample(preset: str, count: int, seed: int, shear: float, model: BlendModel, jobs: int) -> ShearSample:
    flagger = flag_treatments(model, 0.5)
    sizes = [min(PART, count - start) for start in range(0, count, PART)]
    seeds = [seed + part for part in range(len(sizes))]
    check_seeds(model, seeds)
    parts = []
    with progress(len(sizes), f"{preset}, parts") as advance:
        for size, own in zip(sizes, seeds, strict=True):
            parts.append(shear_sample(load_preset(preset), size, own, shear, flagger, jobs))
            print(f"{preset}: seed {own}, {size} scenes done", flush=True)
            advance()
    return ShearSample.joined(parts)


def print_table(table: Table) -> None:
    for figure in dict.fromkeys(table["figure"]):
        rows = table[table["figure"] == figure]
        print(f"\n{figure}")
        for row in rows:
            place = f"{row['by']} {row['bin_low']:g} to {row['bin_high']:g}" if row["by"] else "all"
            value, change = (
                interval_text(dict(zip(("value", "low", "high"), (row[n] for n in names), strict=True)), 4)
                for names in (("value", "low", "high"), ("change", "change_low", "change_high"))
            )
            print(f"  {place:28s}{row['treatment']:12s}{row['n']:8d}  {value:34s}{change}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", action="append", required=True, help="can be repeated")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped model, or a file")
    parser.add_argument("--count", type=int, default=20_000, help="scenes of each preset")
    parser.add_argument("--seed", type=int, default=9100, help="and one more for every 2,500 scenes")
    parser.add_argument("--shear", type=float, default=0.02)
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model, tables = open_model(args.model), []
    for name in args.preset:
        scenes = sample(name, args.count, args.seed, args.shear, model, args.jobs)
        resampling = Resampling.of(np.arange(len(scenes)), 400, args.seed)
        rows = shear_rows(scenes, resampling)
        table = impact_table(rows)
        print(f"\n== {name}: {len(scenes)} scenes, shear {args.shear:g}, model {args.model}")
        print_table(table)
        title = f"{name}: bias of shear by blending, {len(scenes):,} scenes, 95 % intervals"
        shear_figure(table, title).savefig(args.out / f"shear_{name}.png")
        table["preset"] = name
        tables.append(table)
    vstack(tables, metadata_conflicts="silent").write(args.out / "blending_impact_shear.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
