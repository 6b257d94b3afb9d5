"""What a page does not show: datasets that are not there, and what was left out for want of room."""

from __future__ import annotations

import dataclasses

from .joining import PageTables
from .tables import PageLimits, RunTables

__all__ = ["Note", "page_notes"]

_WITHOUT = {
    "dia_source_cutout": "no stamps, and no fluxes of the sources",
    "dia_source_label": "sources are not told by label",
    "dia_source_blend": "it is not known which sources are on blends",
    "reliability_truth": "there is no truth to compare with, as for real data",
    "reliability_embedding": "there is no map and no nearest neighbours: run the subset embed",
    "dia_source": "sources are not associated: each stands for itself",
    "dia_object": "objects have the position of their first source",
    "dia_object_forced_source": "light curves have detections only",
    "dia_object_verdict": "there are no verdicts, hosts and reasons: objects are ranked by their best score",
    "reliability_curve": "there are no curves",
}


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that is to be known when looking at a page.

    Parameters
    ----------
    kind : `str`
        ``missing`` or ``sample``.
    text : `str`
        A sentence.
    """

    kind: str
    text: str


def page_notes(run: RunTables, page: PageTables, limits: PageLimits, has_stamps: bool) -> list[Note]:
    """Say what a page lacks.

    Parameters
    ----------
    run : `~.tables.RunTables`
        What there was.
    page : `~.joining.PageTables`
        What is shown.
    limits : `~.tables.PageLimits`
        What it was made with.
    has_stamps : `bool`
        Whether there is any stamp.

    Returns
    -------
    notes : `list` [`Note`]
        Samples first.
    """
    totals, notes = page.totals, []
    if totals["sources_shown"] < totals["sources"]:
        shown, total = totals["sources_shown"], totals["sources"]
        notes.append(
            f"{shown:,} of {total:,} sources are shown: whole objects, drawn at random (seed {limits.seed}). "
            "Headline figures and curves are of all of them."
        )
    if has_stamps and totals["stamps_shown"] < totals["sources_shown"]:
        notes.append(
            f"{totals['stamps_shown']:,} of the sources shown have stamps: those of the galleries and of the "
            f"objects with the best scores, and others drawn at random (seed {limits.seed})."
        )
    if totals["forced_shown"] < totals["forced"]:
        shown, total = totals["forced_shown"], totals["forced"]
        notes.append(
            f"{shown:,} of {total:,} points of forced photometry are shown: those of the objects with the "
            "best scores."
        )
    lacking = [Note("missing", _missing(name)) for name in run.missing]
    return [Note("sample", text) for text in notes] + lacking


def _missing(name: str) -> str:
    known = next((text for end, text in _WITHOUT.items() if name.endswith(end)), "")
    return f"No {name} in the collection{f': {known}' if known else ''}."
