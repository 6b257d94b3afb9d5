"""The synthetic run of the benchmarks as a page, made once per session."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

from dia_vetting.report.joining import PageTables, join_run
from dia_vetting.report.make_report import sheets_of
from dia_vetting.report.sprites import SpriteSheets
from dia_vetting.report.tables import PageLimits, RunTables
from dia_vetting.report.writing import render_page

_BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@functools.cache
def synthetic(n: int = 600, seed: int = 3) -> Any:
    """Return a `benchmarks/report_data.py` run."""
    if _BENCHMARKS not in sys.path:
        sys.path.append(_BENCHMARKS)
    return importlib.import_module("report_data").SyntheticRun(n, n_visits=12, seed=seed)


@functools.cache
def synthetic_tables(**without: bool) -> RunTables:
    run: RunTables = synthetic().run(**without)
    return run


@functools.cache
def synthetic_page() -> tuple[RunTables, PageTables, SpriteSheets]:
    run = synthetic_tables()
    page = join_run(run, PageLimits())
    sheets = sheets_of(page, synthetic().cutouts())
    assert sheets is not None
    return run, page, sheets


@functools.cache
def page_text() -> str:
    run, page, sheets = synthetic_page()
    return render_page(run, page, sheets, PageLimits())
