"""Simulate one field of the large training set, run the pipeline on it by pipetask, and keep its cutouts.

    python benchmarks/training_set.py OUT --preset lsst --seed 101 --vary
    python benchmarks/training_set.py OUT --preset lsst --seed 901

Each call makes a survey in a repository of its own, runs `pipelines/Embedded/vetting.yaml` up to the
labels with stock pipetask, and writes OUT/<preset>_<seed>.npz: cutouts of 51 pixels, labels, and the
truth, which only evaluations read. ``--vary`` draws a camera about the preset's (sampling, PSF, noise,
rates of defects), so that a network that is trained on such fields does not learn one camera by heart, and
lets stars vary by injection; test fields are the preset itself, where only those stars vary that vary by
themselves.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.table import Table
from dia_vetting.embedded.make_survey import make_survey
from dia_vetting.embedded.survey import load_config
from dia_vetting.reliability.truth_matching import Truth, classify_sources
from dia_vetting.seeding import generator
from lsst.daf.butler import Butler

PIPELINE = Path(__file__).parents[1] / "pipelines" / "Embedded" / "vetting.yaml"
TASKS = (
    "buildTemplate,detectObjects,selectHosts,makeTransients,injectTransients,warpTemplate,injectTemplates,"
    "combineInjections,subtractImages,detectDiaSources,extractCutouts,labelDiaSources"
)
COLLECTION = "u/training/set"
STAMP = 51
STAR_FRACTION = 0.25
FAINTEST = 4.5
"""Magnitudes from a host to its faintest transient in a training field, so that many are near the limit."""
PLANES = ("science", "template", "difference", "variance")
NUMBERS = ("diaSourceId", "visit", "detector", "ra", "dec", "snr", "psfFlux", "psfFluxErr", "psf_fwhm")


def varied(preset: str, seed: int) -> dict[str, Any]:
    """Return overrides of a preset: another camera of its kind, drawn from the seed."""
    base, rng = load_config(preset), generator(seed, "training set", preset)
    scale = float(base.camera.pixel_scale * 2 ** rng.uniform(-0.3, 0.6))
    if base.camera.pixel_scale > 0.6:  # undersampled already
        scale = float(base.camera.pixel_scale * 2 ** rng.uniform(-0.6, 0.1))

    def factor(spread: float = 0.4) -> float:
        return float(np.exp(spread * rng.standard_normal()))

    seeing = float(np.exp(rng.uniform(np.log(0.85), np.log(1.9))))  # real nights are often bad ones
    defects = ("muon", "worm", "spot", "streak", "glint", "hot_pixel", "hot_column", "ghost", "crosstalk")
    return {
        "camera": {
            "pixel_scale": scale,
            "read_noise": base.camera.read_noise * factor(0.3),
            "thickness": base.camera.thickness * factor(0.3),
            "diffusion": float(rng.uniform(0.2, 0.4)),
        },
        "observing": {
            "seeing": [s * seeing for s in base.observing.seeing],
            "template_seeing": [s * seeing for s in base.observing.template_seeing],
            "exposure_time": base.observing.exposure_time * factor(0.3),
        },
        "psf": {
            "profile": str(rng.choice(["kolmogorov", "moffat"])),
            "moffat_beta": float(rng.uniform(2.5, 4.5)),
            "obscuration": float(rng.uniform(0.3, 0.65)),
            "coma": base.psf.coma * factor(),
            "defocus": base.psf.defocus * factor(),
            "ellipticity": base.psf.ellipticity * factor(),
        },
        "noise": {"correlation": float(rng.uniform(0.0, 0.04))},
        "astrometry": {"field_error": base.astrometry.field_error * factor(0.3)},
        "sky": {
            "ra": float(rng.uniform(0, 360)),
            "dec": float(rng.uniform(-40, 40)),
            "star_density": base.sky.star_density * factor(),
        },
        "size": {"template_visits": int(rng.integers(3, 6))},
        "defects": {name: getattr(base.defects, name) * factor(0.5) for name in defects}
        | {
            "cosmic_ray_masked": float(rng.uniform(0.3, 0.9)),
            "hot_pixel_masked": float(rng.uniform(0.2, 0.8)),
            "crosstalk_masked": float(rng.uniform(0.1, 0.6)),
            "template_factor": float(rng.uniform(0.2, 0.6)),
        },
    }


def run_pipeline(repo: Path, instrument: str, bands: list[str], bright: float, more: Sequence[str]) -> None:
    """Run the tasks up to the labels, with ``more`` settings than those of every field."""
    settings = (
        f"extractCutouts:stampSize={STAMP}",
        f"selectHosts:bands={bands}",
        f"selectHosts:minMag={bright}",
        "makeTransients:hostFraction=0.9",
        "makeTransients:hostlessFraction=0.5",
        "selectHosts:withStars=True",
        *more,
    )
    command = [
        str(Path(sys.executable).with_name("pipetask")),
        "--log-level",
        "ERROR",
        "run",
        "-b",
        str(repo),
    ]
    command += ["-i", f"{instrument}/defaults", "-o", COLLECTION, "-p", f"{PIPELINE}#{TASKS}"]
    command += [
        "-d",
        f"instrument = '{instrument}'",
        "--register-dataset-types",
        "--no-raise-on-partial-outputs",
    ]
    command += [part for setting in settings for part in ("-c", setting)]
    camera = PIPELINE.parents[2] / "config" / instrument
    for override in sorted(camera.glob("*.py")):
        if override.stem in TASKS.split(","):
            command += ["-C", f"{override.stem}:{override}"]
    subprocess.run(command, check=True)


def collect(repo: Path, instrument: str) -> dict[str, Any]:
    """Return the columns of all detectors: cutouts, labels, truth."""
    parts: list[dict[str, Any]] = []
    with Butler.from_config(str(repo), collections=[COLLECTION, f"{instrument}/defaults"]) as butler:
        objects = Table(butler.get(next(iter(butler.query_datasets("sim_truth_object")))))
        for ref in sorted(
            butler.query_datasets("dia_source_label"), key=lambda ref: tuple(ref.dataId.required.items())
        ):
            labels, cutouts, sources = (
                butler.get(name, ref.dataId)
                for name in ("dia_source_label", "dia_source_cutout", "dia_source_detector")
            )
            truth = Truth(
                *(butler.get(f"sim_truth_{name}", ref.dataId) for name in ("source", "artefact")), objects
            )
            classes = classify_sources(sources, labels, truth)
            part = {name: np.asarray(cutouts[name]) for name in (*NUMBERS, *PLANES)}
            part["mask"] = np.asarray(cutouts["mask"]).astype(np.uint16)
            part |= {name: np.asarray(labels[name]).astype("U12") for name in ("state", "band")}
            part["injection_id"] = np.asarray(labels["injection_id"])
            part |= {"truth_class": classes.truth_class.astype("U12"), "cause": classes.cause.astype("U16")}
            part["truth_id"] = classes.truth_id
            for name in ("templateFlux", "scienceFlux", "x", "y"):
                part[name] = (
                    np.asarray(sources[name]) if name in sources.colnames else np.full(len(sources), np.nan)
                )
            parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", default="lsst")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", default="demo")
    parser.add_argument("--vary", action="store_true", help="draw a camera about the preset")
    parser.add_argument("--visits", type=int, help="science visits, if not those of the size")
    args = parser.parse_args()
    target = args.out / f"{args.preset}_{args.seed}.npz"
    if target.exists():
        print(f"{target} is there already.")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{args.preset}_{args.seed}_", dir=args.out))
    try:
        overrides = varied(args.preset, args.seed) if args.vary else {"size": {}}
        if args.visits:
            overrides["size"]["science_visits"] = args.visits
        config = load_config(args.preset, size=args.size, overrides=overrides)
        (args.out / f"{args.preset}_{args.seed}.yaml").write_text(
            yaml.safe_dump(config.model_dump(mode="json"))
        )
        repo = folder / "repo"
        make_survey(repo, config, args.seed)
        training = (f"makeTransients:starFraction={STAR_FRACTION}", f"makeTransients:maxMagOffset={FAINTEST}")
        bright = config.sky.brightest_galaxy + 1.0
        run_pipeline(repo, config.instrument, list(config.size.bands), bright, training if args.vary else ())
        columns = collect(repo, config.instrument)
        np.savez(folder / target.name, **columns)
        (folder / target.name).rename(target)
        classes, counts = np.unique(columns["truth_class"], return_counts=True)
        print(target.name, dict(zip(classes.tolist(), counts.tolist(), strict=True)), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
