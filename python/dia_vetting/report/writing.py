"""The page itself: one HTML file that asks nobody for anything."""

from __future__ import annotations

__all__ = ["PAGE_VERSION", "render_page"]

import dataclasses
import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from numpy.typing import NDArray

from ..confirmation.flags import MISSING, VerdictFlag
from ..confirmation.schemas import DIA_OBJECT_VERDICT
from .figures import MODELS, confusion_of_verdicts, curve_series, plain, summary_of_model
from .joining import PageTables
from .notes import page_notes
from .objects import VERDICT_PREFIX
from .packing import PackedTable, encode, pack_table
from .sprites import SpriteSheets
from .tables import PageLimits, RunTables

PAGE_VERSION = 1
"""Version of the page and of the label files that it saves."""

_SCRIPTS = (
    "data.js",
    "colours.js",
    "stamps.js",
    "scatter.js",
    "charts.js",
    "overview.js",
    "labels.js",
    "candidates.js",
    "panel.js",
    "gallery.js",
    "app.js",
)
_STYLES = ("base.css", "parts.css")
_HEAD = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:\">"
)


def render_page(
    run: RunTables, page: PageTables, sheets: SpriteSheets | None, limits: PageLimits, model: str = ""
) -> str:
    """Write the page.

    Parameters
    ----------
    run : `~.tables.RunTables`
        For the figures, and what is missing.
    page : `~.joining.PageTables`
        What the page shows.
    sheets : `~.sprites.SpriteSheets` or `None`
        Stamps of the sources that have any.
    limits : `~.tables.PageLimits`
        What it was made with.
    model : `str`, optional
        Prefix of the datasets of the model whose scores are shown.

    Returns
    -------
    text : `str`
        HTML with everything in it; the same for the same input.
    """
    tables = _tables(page, sheets)
    notes = page_notes(run, page, limits, sheets is not None)
    meta = _meta(run, page, sheets, model) | {"notes": [dataclasses.asdict(note) for note in notes]}
    meta["tables"] = {name: table.header for name, table in tables.items()}
    data = {f"table-{name}": table.payload for name, table in tables.items()}
    if sheets is not None:
        data |= {f"sheet-{i}": encode(sheet) for i, sheet in enumerate(sheets.sheets)}
    meta["id"] = _digest(meta, data)
    return "\n".join(_parts(meta, data)) + "\n"


def _parts(meta: Mapping[str, Any], data: Mapping[str, str]) -> Iterator[str]:
    title = html.escape(f"{meta['instrument']} {meta['collection']}")
    body = _file("page.html").replace("{{title}}", title)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield _HEAD
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>"
    yield '<link rel="icon" href="data:,">'
    yield "<style>\n" + "\n".join(map(_file, _STYLES)) + "</style>\n</head>"
    yield body
    yield f'<script type="application/json" id="meta">{_json(meta)}</script>'
    for name, payload in data.items():
        yield f'<script type="text/plain" id="{name}">{payload}</script>'
    yield "<script>\n" + "\n".join(map(_file, _SCRIPTS)) + "</script>\n</body>\n</html>"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """Return JSON that does not end the script element that it stands in."""
    text = json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _digest(meta: Mapping[str, Any], data: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(_json(meta).encode(), digest_size=8)
    for payload in data.values():
        digest.update(payload.encode())
    return digest.hexdigest()


def _tables(page: PageTables, sheets: SpriteSheets | None) -> dict[str, PackedTable]:
    columns = {"visits": page.visits, "objects": page.objects, "sources": page.sources, "forced": page.forced}
    packed = {name: pack_table(of_table) for name, of_table in columns.items()}
    if sheets is not None:
        own: dict[str, NDArray[Any]] = {"id": sheets.ids, "reach": sheets.reach, "mask_row": sheets.mask_row}
        packed["stamps"] = pack_table(own)
        packed["masks"] = pack_table({"bits": sheets.masks})
    return packed


def _meta(run: RunTables, page: PageTables, sheets: SpriteSheets | None, model: str) -> dict[str, Any]:
    layout = None
    if sheets is not None:
        names = ("size", "tile", "columns", "rows")
        layout = {name: getattr(sheets, name) for name in names} | {"sheets": len(sheets.sheets)}
    verdict = page.objects.get(f"{VERDICT_PREFIX}verdict")
    return {
        "version": PAGE_VERSION,
        "instrument": run.instrument,
        "collection": run.collection,
        "repo": run.repo,
        "model": model,
        "scoreModel": [str(run.scores[name][0]) for name in ("model", "version")],
        "totals": page.totals,
        "missing": list(run.missing),
        "galleries": {title: rows.tolist() for title, rows in page.galleries.items()},
        "layout": layout,
        "models": {
            prefix: {"title": MODELS.get(prefix, prefix), **summary_of_model(metrics)}
            for prefix, metrics in run.metrics.items()
        },
        "curves": curve_series(run.curves),
        "injection": None if run.injection is None else _injection(run.injection),
        "verdictConfusion": None
        if verdict is None
        else confusion_of_verdicts(page.objects["truth"], verdict),
        "verdictFlags": [
            {"name": str(bit.name), "bit": int(bit).bit_length() - 1, "missing": bool(bit & MISSING)}
            for bit in VerdictFlag
        ],
        "verdictColumns": {
            column.name: {"unit": column.unit, "about": column.description}
            for column in DIA_OBJECT_VERDICT.columns
        },
    }


def _injection(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the overview says of injections: how many, and how many were recovered."""
    names = ("n", "completeness", "completeness_snr8", "snr50")
    return {
        sample: {name: metrics[sample][name] for name in names if name in metrics[sample]}
        for sample in ("all", "blank")
        if sample in metrics
    }
