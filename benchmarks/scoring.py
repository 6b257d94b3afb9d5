"""Scoring speed of each architecture on the same cores, each at its best settings, and the ratio to ResNet50.

    python benchmarks/scoring.py [--size 30] [--threads 1] [--compile]

Every architecture is tried with several micro-batches, memory layouts and precisions (and compiled, if asked
for: that needs a C++ compiler). All settings take turns in every round and the best round counts, so that a
busy machine slows all alike; one thread is what a quantum has, and cores are filled by quanta. Reading files
is not part of it. The setting that the package itself uses is marked with a star.
"""

import argparse
import contextlib
import itertools
import time
from collections.abc import Callable

import numpy as np
import torch
from dia_vetting.reliability.inputs import CHANNELS
from dia_vetting.reliability.networks import ARCHITECTURES, build_network
from dia_vetting.reliability.scoring import MICRO_BATCH, fold_batch_norms
from torch import nn

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
EAGER = tuple(itertools.product(["eager"], ["float32", "bfloat16"], LAYOUTS, [64, 128, 256, 512]))
COMPILED = tuple(itertools.product(["compiled"], ["float32", "bfloat16"], ["channels_last"], [64, 128, 256]))
OURS = ("eager", "float32", "channels_last", MICRO_BATCH)
ROUNDS = 3
SECONDS = 0.1

type Score = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=30, help="side of the stamps, pixels")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scorers = make_scorers(EAGER + COMPILED * args.compile)
    speeds = dict.fromkeys(scorers, 0.0)
    for _ in range(ROUNDS):
        for key, score in scorers.items():
            speeds[key] = max(speeds[key], throughput(score, args.size, key[-1]))
    for (name, mode, precision, layout, batch), speed in speeds.items():
        star = " *" if (mode, precision, layout, batch) == OURS else ""
        print(f"{name:14s}{mode:10s}{precision:10s}{layout:15s}{batch:5d}{speed:9.0f} triplets/s{star}")
    report(speeds, args.size, args.threads)


def report(speeds: dict[tuple, float], size: int, threads: int) -> None:
    """Print the best and the package's own setting of each architecture, and the ratios to ResNet50."""
    best = {name: max(v for key, v in speeds.items() if key[0] == name) for name in ARCHITECTURES}
    ours = {name: speeds[name, *OURS] for name in ARCHITECTURES}
    for title, figures in (("Best settings", best), ("Settings of the package", ours)):
        print(f"\n{title}, {size} px, {threads} thread(s):")
        for name, speed in figures.items():
            print(
                f"  {name:14s}{speed:9.0f} triplets/s, {speed / best['resnet50']:5.1f} x ResNet50 at its best"
            )


def make_scorers(settings: tuple[tuple, ...]) -> dict[tuple, Score]:
    """Return a function from float16 inputs of one micro-batch to scores, by architecture and setting."""
    scorers = {}
    for name, (layout, memory_format) in itertools.product(ARCHITECTURES, LAYOUTS.items()):
        torch.manual_seed(0)
        network = build_network(name, {}, len(CHANNELS)).eval()
        fold_batch_norms(network)
        network = network.to(memory_format=memory_format)
        forwards = {"eager": network, "compiled": torch.compile(network)}
        for mode, precision, of, batch in settings:
            if of == layout:
                scorers[name, mode, precision, of, batch] = scorer(forwards[mode], precision, memory_format)
    return scorers


def scorer(forward: nn.Module, precision: str, memory_format: torch.memory_format) -> Score:
    """Return a function from float16 inputs to scores."""

    def score(inputs: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(inputs).to(torch.float32, memory_format=memory_format)
        low = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with torch.inference_mode(), low:
            logits = forward(batch)
        return torch.sigmoid(logits.float()).numpy()

    return score


def throughput(score: Score, size: int, batch: int) -> float:
    """Return triplets per second over a short while, after a first call that does not count."""
    inputs = np.random.default_rng(0).normal(size=(batch, len(CHANNELS), size, size)).astype(np.float16)
    score(inputs)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        score(inputs)
        count += 1
    return count * batch / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
