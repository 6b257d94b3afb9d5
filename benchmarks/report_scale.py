"""How long a report page takes to write and to open, and how large it is, for synthetic runs.

    python benchmarks/report_scale.py --sources 20000 200000 --out FOLDER

Prints a line per size: seconds to join the tables, to draw the stamps, to write the page; MB; seconds until
the page can be used in headless Chromium (none where there is no Chromium); each as a ratio of the first size
too. Reading from a butler is not part of it. Times are of one process on a machine that should be idle.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from dia_vetting.report.joining import join_run
from dia_vetting.report.make_report import sheets_of
from dia_vetting.report.tables import PageLimits
from dia_vetting.report.writing import render_page
from report_data import SyntheticRun

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import browser

_NAMES = ("join s", "stamps s", "write s", "MB", "open s", "memory GB")


def measure(n: int, out: Path) -> dict[str, float]:
    """Return seconds, size and memory of a page of n sources."""
    synthetic = SyntheticRun(n)
    run, limits = synthetic.run(), PageLimits()
    start = time.perf_counter()
    page = join_run(run, limits)
    joined = time.perf_counter()
    # What making the synthetic pixels takes is not the page's.
    making = time.perf_counter()
    for _ in synthetic.cutouts():
        pass
    making = time.perf_counter() - making
    drawing = time.perf_counter()
    sheets = sheets_of(page, synthetic.cutouts())
    drawn = time.perf_counter()
    text = render_page(run, page, sheets, limits)
    path = out / f"report_{n}.html"
    path.write_text(text, encoding="utf-8")
    written = time.perf_counter()
    return {
        "join s": joined - start,
        "stamps s": max(drawn - drawing - making, 0.0),
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
