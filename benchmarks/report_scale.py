"""How long a report page takes to write and to open, and how large it is, for synthetic runs.

    python benchmarks/report_scale.py --sources 20000 200000 --out FOLDER

Prints a line per size: CPU seconds to join the tables, to draw the stamps, to write the page; MB; seconds of
the clock until the page can be used in headless Chromium (NaN where there is none), for which the machine
should be idle; each as a ratio of the first size too. Reading from a butler is not part of it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from astropy.table import Table
from dia_vetting.report.joining import join_run
from dia_vetting.report.make_report import sheets_of
from dia_vetting.report.tables import PageLimits
from dia_vetting.report.writing import render_page
from report_data import SyntheticRun

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import browser

_NAMES = ("join s", "stamps s", "write s", "MB", "open s", "memory GB")


class Timed:
    """An iterator that counts the CPU seconds that its elements take to make: those are not the page's."""

    def __init__(self, elements: Iterator[Table]) -> None:
        self.elements, self.seconds = elements, 0.0

    def __iter__(self) -> Iterator[Table]:
        return self

    def __next__(self) -> Table:
        start = time.process_time()
        try:
            return next(self.elements)
        finally:
            self.seconds += time.process_time() - start


def measure(n: int, out: Path) -> dict[str, float]:
    """Return seconds, size and memory of a page of n sources."""
    synthetic = SyntheticRun(n)
    run, limits = synthetic.run(), PageLimits()
    start = time.process_time()
    page = join_run(run, limits)
    joined = time.process_time()
    cutouts = Timed(synthetic.cutouts())
    sheets = sheets_of(page, cutouts)
    drawn = time.process_time()
    text = render_page(run, page, sheets, limits)
    path = out / f"report_{n}.html"
    path.write_text(text, encoding="utf-8")
    written = time.process_time()
    return {
        "join s": joined - start,
        "stamps s": drawn - joined - cutouts.seconds,
        "write s": written - drawn,
        "MB": path.stat().st_size / 1e6,
        "open s": opening(path, out),
        "memory GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def opening(path: Path, out: Path) -> float:
    """Return the seconds until a page can be used: the median of three, each in a new tab of one browser."""
    if not (browser.CHROMIUM and browser.DRIVER):
        return float("nan")
    times = []
    with browser.chromium(out) as driver:
        for _ in range(3):
            driver.get("about:blank")
            times.append(browser.open_page(driver, path))
    return sorted(times)[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--out", type=Path, required=True, help="Folder for the pages.")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("  ".join(f"{name:>16s}" for name in ("sources", *_NAMES)))
    first: dict[str, float] = {}
    for n in arguments.sources:
        found = measure(n, arguments.out)
        first = first or found
        cells = [f"{found[name]:8.2f} ({found[name] / first[name]:4.1f}x)" for name in _NAMES]
        print("  ".join(f"{cell:>16s}" for cell in (str(n), *cells)), flush=True)


if __name__ == "__main__":
    main()
