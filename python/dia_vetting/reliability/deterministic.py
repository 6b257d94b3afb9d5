"""Torch so that the same seed gives the same bytes, for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

__all__ = ["best_device", "deterministic_torch"]


def best_device() -> torch.device:
    """Return the graphics card where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def deterministic_torch(seed: int, threads: int = 0) -> Iterator[None]:
    """Give torch a seed, a number of threads and deterministic algorithms, and what it had back afterwards.

    Parameters
    ----------
    seed : `int`
        Seed of torch's generators.
    threads : `int`, optional
        Torch threads; 0 leaves the number as it is.
    """
    # `use_deterministic_algorithms` says the same, but imports torch's compiler: seconds for every quantum.
    mode, before = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    # Read by cuBLAS when a context is made; without it, its sums are not deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # On a graphics card some layers have no deterministic form: better a warning than no network.
        torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.set_num_threads(before)
