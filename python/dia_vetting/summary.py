"""What a run is worth, in a page of text, and its plots in a folder: the end of ``bin/demo``."""

from __future__ import annotations

__all__ = ["copy_plots", "summarize"]

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler, DatasetNotFoundError, MissingDatasetTypeError

from .errors import BadInputError

_COMPARISONS = {
    "injected_vs_unlabelled": "injected / unlabelled (labels only)",
    "real_vs_artefact": "real / artefact (truth)",
    "transient_vs_artefact": "transient / artefact (truth)",
    "uninjected_real_vs_artefact": "real, not injected / artefact (truth)",
}
_MODELS = {
    "": "The model trained here, out of fold",
    "seed_cnn_": "The seed CNN trained here, out of fold",
    "shipped_": "The model that comes with the package",
}
"""What is said of each model, by the prefix of its datasets."""
_QUERIES = """\
from lsst.daf.butler import Butler
butler = Butler("{repo}", collections="{collection}", instrument="{instrument}")

# 1. The DIA sources of one detector, and their scores, row by row.
sources = butler.get("dia_source_detector", visit={visit}, detector={detector})
scores = butler.get("dia_source_vetting", visit={visit}, detector={detector})
print(sources["ra", "dec", "psfFlux"][scores["reliability"] > 0.5])

# 2. Every injection that no DIA source recovered, with the reason.
for ref in butler.query_datasets("missed_injection"):
    print(ref.dataId["visit"], butler.get(ref)["injection_id", "flux", "reason"])

# 3. The pixels around a source, in nJy, without reading the images again.
cutouts = butler.get("dia_source_cutout", visit={visit}, detector={detector})
print(cutouts["difference"][0])"""


def summarize(repo: str, collection: str, instrument: str) -> str:
    """Describe the results of a run: collection, headline figures with intervals, example queries.

    Parameters
    ----------
    repo : `str`
        Butler repository.
    collection : `str`
        Output collection of the run.
    instrument : `str`
        Instrument.

    Returns
    -------
    text : `str`
        Lines of plain text.

    Raises
    ------
    BadInputError
        If the collection holds no result of the pipeline for the instrument.
    """
    with Butler.from_config(repo, collections=collection, instrument=instrument) as butler:
        metrics = _get(butler, "reliability_metrics")
        scored = next(iter(butler.query_datasets("dia_source_vetting", limit=1, explain=False)), None)
        if metrics is None or scored is None:
            raise BadInputError(f"{repo}, {collection}", f"reliability_metrics of {instrument}", "none")
        lines = [f"Collection {collection} in {repo}", "", *_counts(metrics["counts"]), ""]
        for prefix, name in _MODELS.items():
            found = _get(butler, f"{prefix}reliability_metrics")
            if found is not None:
                lines += [f"{name}, 95 % intervals over sky groups", *_reliability(found), ""]
        injection = _get(butler, "injection_metrics")
        if injection is not None:
            lines += ["Injections", *_injection(injection), ""]
        place = {"visit": scored.dataId["visit"], "detector": scored.dataId["detector"]}
        queries = _QUERIES.format(repo=repo, collection=collection, instrument=instrument, **place)
        lines += ["Three queries to go on with", *(f"    {line}".rstrip() for line in queries.splitlines())]
    return "\n".join(lines)


def copy_plots(repo: str, collection: str, instrument: str, folder: Path) -> list[Path]:
    """Copy the plots of a run into a folder; `Plot` datasets are write-only, so their files are copied.

    Parameters
    ----------
    repo, collection, instrument : `str`
        As for `summarize`.
    folder : `pathlib.Path`
        Is made if it is absent.

    Returns
    -------
    paths : `list` [`pathlib.Path`]
        One per plot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with Butler.from_config(repo, collections=collection, instrument=instrument) as butler:
        for dataset_type in butler.registry.queryDatasetTypes("*_plot"):
            for ref in butler.query_datasets(dataset_type.name, explain=False):
                path = folder / f"{dataset_type.name}.png"
                with butler.getURI(ref).as_local() as local:
                    shutil.copyfile(local.ospath, path)
                paths.append(path)
    return sorted(paths)


def _get(butler: Butler, name: str) -> Any:
    try:
        return butler.get(name)
    except (DatasetNotFoundError, MissingDatasetTypeError):
        return None


def _counts(counts: Mapping[str, Any]) -> Iterator[str]:
    yield f"{counts['sources']} DIA sources, {counts['scored']} scored, in {counts['sky_cells']} sky cells"
    for name, title in (("state", "by label"), ("truth_class", "by truth"), ("cause", "artefacts by cause")):
        if name in counts:
            parts = sorted(counts[name].items(), key=lambda item: -item[1])
            yield f"  {title}: " + ", ".join(f"{number} {key}" for key, number in parts)


def _reliability(metrics: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {'':40s}{'AUC':>22s}{'completeness':>22s}{'purity':>22s}   (SNR >= 6, score >= 0.5)"
    for name, title in _COMPARISONS.items():
        found = metrics["headline"].get(name)
        if found:
            keys = ("auc", "completeness_snr6_fixed", "purity_snr6_fixed")
            yield f"  {title:40s}" + "".join(f"{_interval(found[key]):>22s}" for key in keys)


def _injection(metrics: Mapping[str, Any]) -> Iterator[str]:
    for sample, title in (("all", "all on the images"), ("blank", "on blank sky")):
        found = metrics[sample]
        yield f"  {title}: {found['n']}, recovered {_interval(found['completeness'])}"
        yield f"    recovered at SNR >= 8 {_interval(found['completeness_snr8'])}"
        yield f"    SNR of 50 % detection {_interval(found['snr50'])}"
        for snr in ("snr_10", "snr_50"):
            if snr in found:
                yield f"    SNR >= {snr[4:]}: flux bias {_interval(found[snr]['flux_bias'])}"
                yield f"             pull, standard deviation {_interval(found[snr]['pull_std'])}"
                yield f"             pull, robust width {_interval(found[snr]['pull_width'])}"
                yield f"             median offset {_interval(found[snr]['offset_median'])} arcsec"


def _interval(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (_number(estimate[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if estimate["value"] is not None else "too few"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"
