"""Stamps per second of every blend method on the same cores in one run, with ratios to sep and VGG16.

    python benchmarks/blend_speed.py [--size 51] [--threads 1 2] [--stamps 512] [--rounds 5]

From stamps in the unit of their pixels to probabilities, preparation included. Ours is the shipped model,
which makes no map of what is surely alone. The other networks have fresh weights, which are as fast as
trained ones. All take turns in every round and the fastest call counts, so that a busy machine spoils none;
two threads need two cores that are idle. sep has no threads: as many processes as there are to be threads
share the stamps, started beforehand.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.pool import Pool

import numpy as np
import torch
from dia_vetting.blends.methods.learned import Learned
from dia_vetting.blends.methods.names import METHODS
from dia_vetting.blends.methods.sextractor import PUBLISHED, TUNED, SExtractor
from dia_vetting.blends.networks import build_network
from dia_vetting.blends.prediction import Calibration, predict
from dia_vetting.blends.preparation import prepare
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.shipped import open_model
from dia_vetting.blends.simulation import simulate
from dia_vetting.blends.stamps import BlendStamps
from threadpoolctl import threadpool_limits

SETTINGS = {"sextractor": PUBLISHED, "sextractor_tuned": TUNED}
REFERENCES = ("sextractor", "vgg16")
SEED = 20212


def make_stamps(count: int, size: int) -> BlendStamps:
    """Return stamps of farrens2021 at sigma 14, without its padding."""
    preset = load_preset("farrens2021").with_noise(14.0).model_copy(update={"size": size, "padding": 0})
    stamps, _ = simulate(preset, count, SEED)
    return stamps


def network_scorer(name: str) -> Callable[[BlendStamps], object]:
    """Return a function that scores with a network as the package does: ours as it is shipped."""
    if name == "ours":
        return Learned(open_model()).predict
    torch.manual_seed(0)
    network = build_network(METHODS[name].architecture, {}).baked().to(memory_format=torch.channels_last)
    return lambda stamps: predict([network], Calibration(), stamps.images.shape[1], prepare(stamps))


def sep_part(name: str, stamps: BlendStamps) -> int:
    with threadpool_limits(1):
        return len(SExtractor(SETTINGS[name]).predict(stamps))


def sep_scorer(name: str, pool: Pool, jobs: int) -> Callable[[BlendStamps], object]:
    """Return a function that scores with sep in several processes, or in this one."""
    if jobs == 1:
        return lambda stamps: sep_part(name, stamps)
    parts = [slice(k, None, jobs) for k in range(jobs)]
    return lambda stamps: pool.starmap(sep_part, [(name, stamps.where(part)) for part in parts])


def measure(stamps: BlendStamps, jobs: int, rounds: int, pool: Pool) -> dict[str, float]:
    """Return stamps per second of each method, of the best round."""
    scorers = {
        name: network_scorer(name) if entry.architecture else sep_scorer(name, pool, jobs)
        for name, entry in METHODS.items()
    }
    speeds = dict.fromkeys(scorers, 0.0)
    for _ in range(rounds):
        for name, score in scorers.items():
            start = time.perf_counter()
            score(stamps)
            speeds[name] = max(speeds[name], len(stamps) / (time.perf_counter() - start))
    return speeds


def report(speeds: dict[str, float]) -> None:
    for name, speed in speeds.items():
        ratios = ", ".join(f"{speed / speeds[other]:8.2f} x {other}" for other in REFERENCES)
        print(f"  {name:20s}{speed:9.0f} stamps/s, {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=51, help="side of the stamps, pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--stamps", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    stamps = make_stamps(args.stamps, args.size)
    with multiprocessing.get_context("spawn").Pool(max(args.threads)) as pool:
        pool.starmap(sep_part, [("sextractor", stamps.where(np.arange(8)))] * max(args.threads))
        for threads in args.threads:
            torch.set_num_threads(threads)
            print(f"\n{args.size} pixels, {threads} thread(s):")
            report(measure(stamps, threads, args.rounds, pool))


if __name__ == "__main__":
    main()
