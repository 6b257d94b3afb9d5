"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

__all__ = ["progress"]

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 20.0


@contextlib.contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[], None]]:
    """Show how far a loop is.

    Parameters
    ----------
    total : `int`
        Number of steps; nothing is shown for none.
    what : `str`
        What is being done.

    Yields
    ------
    advance : `~collections.abc.Callable`
        To be called after each step.
    """
    if total and sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=what) as bar:
            yield lambda: bar.update(1)
        return
    yield _Lines(total, what).advance


class _Lines:
    def __init__(self, total: int, what: str) -> None:
        self._total, self._what, self._done, self._last = total, what, 0, time.monotonic()

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._done == self._total or now - self._last > _SECONDS_BETWEEN_LINES:
            self._last = now
            _LOG.info("%s: %d of %d", self._what, self._done, self._total)
