"""Scoring speed of every architecture on the same cores in one run, with ratios to ResNet50 and `rubin_cnn`.

    python benchmarks/scoring.py [--size 30] [--threads 1 2] [--ensemble 4] [--bfloat16] [--compile]

As shipped: baked networks in 32-bit floating point, scored by `predict_logits`, from float16 inputs to
logits; what is tried beside that is asked for (compiling needs a C++ compiler). Everything takes turns in
every round and the fastest call counts, so that a busy machine spoils none; two threads need two cores that
are idle. Then the way from cutouts to logits, with one thread as a quantum has: normalisation by itself, with
one network, with an ensemble; the fastest call, and what as many processes as there are cores reach together
in some seconds. Reading files is not part of anything.
"""

import argparse
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from astropy.table import Table
from dia_vetting.reliability.inputs import CHANNELS, METADATA, NetworkInputs, network_inputs
from dia_vetting.reliability.networks import ARCHITECTURES, build_network
from dia_vetting.reliability.networks.base import TripletNetwork
from dia_vetting.reliability.schemas import DIA_SOURCE_CUTOUT
from dia_vetting.reliability.scoring import predict_logits

ROUNDS = 10
ROWS = 128
SECONDS = 5.0
OURS = "dihedral_resnet"
REFERENCES = ("resnet50", "rubin_cnn")

type Score = Callable[[NetworkInputs], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=30, help="side of the stamps, pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch threads")
    parser.add_argument("--ensemble", type=int, default=4, help="networks of the ensemble")
    parser.add_argument("--bfloat16", action="store_true", help="try 16-bit floating point too")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too")
    args = parser.parse_args()
    scorers = make_scorers(args.ensemble, args.bfloat16, args.compile)
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(f"\nFrom inputs to logits, {args.size} px, {threads} thread(s):")
        report(measure(scorers, args.size))
    torch.set_num_threads(1)
    print(f"\nFrom cutouts to logits, {args.size} px, {OURS}, one thread in each process:")
    end_to_end(args.size, args.ensemble)


def make_network(name: str) -> TripletNetwork:
    """Return a network as `load_networks` does, with fresh weights."""
    torch.manual_seed(0)
    return build_network(name, {}, len(CHANNELS)).baked().to(memory_format=torch.channels_last)


def make_scorers(ensemble: int, bfloat16: bool, compiled: bool) -> dict[str, Score]:
    """Return functions that score inputs, by what they are."""
    scorers: dict[str, Score] = {}
    for name in ARCHITECTURES:
        network = make_network(name)
        scorers[name] = with_networks([network])
        if bfloat16:
            scorers[f"{name}, bfloat16"] = in_bfloat16(network)
        if compiled:
            scorers[f"{name}, compiled"] = with_networks([network], torch.compile(network))
    scorers[f"{OURS}, ensemble of {ensemble}"] = with_networks([make_network(OURS)] * ensemble)
    return scorers


def with_networks(networks: Sequence[TripletNetwork], compiled: Callable | None = None) -> Score:
    """Return a function that scores with each network as the package does."""
    if compiled is not None:
        networks[0].forward = compiled  # what predict_logits calls
    return lambda inputs: predict_logits(networks, inputs)


def in_bfloat16(network: TripletNetwork) -> Score:
    """Return a function that scores in 16-bit floating point."""

    def score(inputs: NetworkInputs) -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return predict_logits([network], inputs)

    return score


def measure(scorers: dict[str, Score], size: int) -> dict[str, float]:
    """Return triplets per second of each, the best of some rounds."""
    rng = np.random.default_rng(0)
    stamps = rng.normal(size=(ROWS, len(CHANNELS), size, size)).astype(np.float16)
    inputs = NetworkInputs(stamps, rng.normal(size=(ROWS, len(METADATA))).astype(np.float32))
    speeds = dict.fromkeys(scorers, 0.0)
    for _, (name, score) in itertools.product(range(ROUNDS), scorers.items()):
        score(inputs)
        speeds[name] = max(
            speeds[name], *(ROWS / seconds(lambda score=score: score(inputs)) for _ in range(3))
        )
    return speeds


def seconds(action: Callable[[], object]) -> float:
    """Return the wall-clock time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def report(speeds: dict[str, float]) -> None:
    for name, speed in speeds.items():
        ratios = ", ".join(f"{speed / speeds[other]:6.2f} x {other}" for other in REFERENCES)
        print(f"  {name:32s}{speed:9.0f} triplets/s, {ratios}")


def end_to_end(size: int, ensemble: int) -> None:
    """Print triplets per second from cutouts to logits, in one process and in as many as there are cores."""
    cores = os.cpu_count() or 1
    for title, networks in (("inputs only", 0), ("one network", 1), (f"ensemble of {ensemble}", ensemble)):
        alone, _ = from_cutouts(size, networks)
        with multiprocessing.get_context("spawn").Pool(cores) as pool:
            together = sum(r for _, r in pool.starmap(from_cutouts, [(size, networks)] * cores, chunksize=1))
        print(f"  {title:20s}{alone:9.0f} in one process, {together:9.0f} in {cores} at once")


def from_cutouts(size: int, networks: int) -> tuple[float, float]:
    """Return triplets per second of one process with one thread: of its fastest call, and of all calls."""
    torch.set_num_threads(1)
    cutouts, members = make_cutouts(size), [make_network(OURS)] * networks
    times: list[float] = []
    while sum(times) < SECONDS:
        times.append(seconds(lambda: predict_logits(members, network_inputs(cutouts))))
    times = times[1:]
    return len(cutouts) / min(times), len(cutouts) * len(times) / sum(times)


def make_cutouts(size: int) -> Table:
    """Return a table with what `network_inputs` reads, all noise."""
    rng = np.random.default_rng(0)
    planes = {name: rng.normal(size=(ROWS, size, size)) for name in ("science", "template", "difference")}
    values = {
        **planes,
        "variance": np.ones((ROWS, size, size)),
        "mask": np.zeros((ROWS, size, size), dtype=np.uint32),
        "psf_fwhm": np.full(ROWS, 4.0),
        "snr": np.full(ROWS, 10.0),
        "band": np.full(ROWS, "r"),
    }
    others = {
        column.name: np.zeros(ROWS) for column in DIA_SOURCE_CUTOUT.columns if column.name not in values
    }
    return DIA_SOURCE_CUTOUT.build(values | others)


if __name__ == "__main__":
    main()
