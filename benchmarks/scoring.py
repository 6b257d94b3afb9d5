"""Scoring speed of each architecture on the same cores, each at its best settings, and the ratio to ResNet50.

    python benchmarks/scoring.py [--size 30] [--threads 2] [--compile]

Every architecture is tried with several micro-batches, memory layouts and precisions (and compiled, if asked
for: that needs a C++ compiler); the best of several rounds counts for each setting. Reading files is not
part of it. The settings that the package itself uses are marked with a star.
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

SETTINGS = tuple(
    itertools.product(
        ["eager"], ["float32", "bfloat16"], ["contiguous", "channels_last"], [32, 64, 128, 256, 512]
    )
)
COMPILED = tuple(itertools.product(["compiled"], ["float32", "bfloat16"], ["channels_last"], [64, 128, 256]))
OURS = ("eager", "float32", "channels_last", MICRO_BATCH)
ROUNDS = 5
SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=30, help="side of the stamps, pixels")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too")
    parser.add_argument(
        "--architectures", nargs="+", default=list(ARCHITECTURES), choices=list(ARCHITECTURES)
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    best = {name: measure(name, args.size, args.compile) for name in ARCHITECTURES}
    print(f"\nBest of each, {args.size} px, {args.threads} threads:")
    for name, speed in best.items():
        print(f"  {name:14s}{speed:9.0f} triplets/s, {speed / best['resnet50']:.1f} x ResNet50")


def measure(name: str, size: int, try_compile: bool) -> float:
    """Print the speed of an architecture at each setting and return the best."""
    speeds = []
    for setting in SETTINGS + COMPILED * try_compile:
        mode, precision, layout, batch = setting
        speeds.append(throughput(scorer(name, mode, precision, layout), size, batch))
        star = " *" if setting == OURS else ""
        print(f"{name:14s}{mode:10s}{precision:10s}{layout:15s}{batch:5d}{speeds[-1]:9.0f} triplets/s{star}")
    return max(speeds)


def scorer(name: str, mode: str, precision: str, layout: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from float16 inputs of one micro-batch to scores."""
    torch.manual_seed(0)
    network = build_network(name, {}, len(CHANNELS)).eval()
    fold_batch_norms(network)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    network = network.to(memory_format=memory_format)
    forward = torch.compile(network) if mode == "compiled" else network

    def score(inputs: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(inputs).to(torch.float32, memory_format=memory_format)
        low = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with torch.inference_mode(), low:
            logits = forward(batch)
        return torch.sigmoid(logits.float()).numpy()

    return score


def throughput(score: Callable[[np.ndarray], np.ndarray], size: int, batch: int) -> float:
    """Return triplets per second: the best round."""
    inputs = np.random.default_rng(0).normal(size=(batch, len(CHANNELS), size, size)).astype(np.float16)
    for _ in range(3):
        score(inputs)
    rates = []
    for _ in range(ROUNDS):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS / ROUNDS or not count:
            score(inputs)
            count += 1
        rates.append(count * batch / (time.perf_counter() - start))
    return max(rates)


if __name__ == "__main__":
    main()
