"""Work on several cores at once, each with one thread of torch."""

from __future__ import annotations

__all__ = ["in_threads"]

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor


def in_threads[T, R](work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """Do something to parts, as many at once as torch may have threads.

    Each is done by a single thread of torch, so that results do not depend on how many there are; numpy and
    torch let go of the interpreter while they compute. On a graphics card one part is done after another.

    Parameters
    ----------
    work : `~collections.abc.Callable`
        What is done; it must not change what is shared.
    parts : `~collections.abc.Sequence`
        What it is done to.

    Returns
    -------
    results : `list`
        In the order of the parts.
    """
    import torch

    threads = 1 if torch.cuda.is_available() else min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        return [work(part) for part in parts]
    with _one_torch_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Let threads that start in here have one thread of torch each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
