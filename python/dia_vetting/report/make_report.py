"""From a butler repository to a page."""

from __future__ import annotations

__all__ = ["ReportSummary", "make_report", "sheets_of"]

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.table import Table
from lsst.daf.butler import Butler

from .gathering import gather_run, read_cutouts
from .joining import PageTables, join_run
from .sprites import SpriteSheets, compress_stamps, make_sheets
from .tables import PageLimits
from .writing import render_page


@dataclasses.dataclass(frozen=True)
class ReportSummary:
    """What was written.

    Parameters
    ----------
    path : `pathlib.Path`
        The file.
    size : `int`
        Bytes.
    totals : `dict` [`str`, `int`]
        As in `~.joining.PageTables`.
    missing : `tuple` [`str`]
        Dataset types that were not there.
    """

    path: Path
    size: int
    totals: dict[str, int]
    missing: tuple[str, ...]


def make_report(
    repo: str,
    collection: str,
    instrument: str,
    output: Path,
    limits: PageLimits | None = None,
    model: str = "",
) -> ReportSummary:
    """Write the page of a run.

    Parameters
    ----------
    repo, collection, instrument : `str`
        Where the run is.
    output : `pathlib.Path`
        HTML file to write.
    limits : `~.tables.PageLimits`, optional
        How much goes onto it.
    model : `str`, optional
        Prefix of the datasets of the model whose scores are shown.

    Returns
    -------
    summary : `ReportSummary`
        What was written, and what was not there.

    Raises
    ------
    BadInputError
        If there are no scores in the collection.
    """
    limits = limits or PageLimits()
    with Butler.from_config(repo, collections=collection, instrument=instrument) as butler:
        run = gather_run(butler, repo, collection, instrument, model)
        page = join_run(run, limits)
        sheets = sheets_of(page, read_cutouts(butler, _detectors(page)))
    text = render_page(run, page, sheets, limits, model)
    output.write_text(text, encoding="utf-8")
    return ReportSummary(output, len(text.encode()), page.totals, run.missing)


def sheets_of(page: PageTables, cutouts: Iterable[Table]) -> SpriteSheets | None:
    """Draw the stamps of a page.

    Parameters
    ----------
    page : `~.joining.PageTables`
        Which sources get one.
    cutouts : `~collections.abc.Iterable` of `astropy.table.Table`
        Columns that stamps are made of; further rows are passed over.

    Returns
    -------
    sheets : `~.sprites.SpriteSheets` or `None`
        `None` where no stamp was wanted or found.
    """
    wanted = (table[np.isin(np.asarray(table["diaSourceId"]), page.stamps)] for table in cutouts)
    return make_sheets((compress_stamps(table) for table in wanted if len(table)), page.stamps)


def _detectors(page: PageTables) -> set[tuple[int, int]]:
    rows = np.isin(page.sources["id"], page.stamps)
    visit = page.visits["visit"][page.sources["visit"][rows]]
    return set(zip(visit.tolist(), page.sources["detector"][rows].tolist(), strict=True))
