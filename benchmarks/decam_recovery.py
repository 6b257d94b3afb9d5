"""Injections on real DECam exposures: what is recovered, how well it is measured, and real cosmic rays.

    python benchmarks/decam_recovery.py FOLDER MODEL.parquet --out DIR [--seeds 8] [--template-visit VISIT]

FOLDER holds Community Pipeline files (see doc/decam.md), MODEL.parquet a model that
`dia-vetting export-model` wrote; the field is too small to train on. Exposures and model go to DIR/repo; then
stock `pipetask run` runs pipelines/Embedded/decam.yaml once per seed (collections u/decam/seed<N>), and once
more on the same images without their cosmic-ray masks (u/decam/unmasked): cosmic rays that the masks hold are
interpolated over, so that they can be seen among the DIA sources only there. A second call does what is
missing. The picture DIR/decam_transient.png shows an injection on the brightest host (see decam_picture.py).

Intervals are 95 %: Wilson's for fractions, else from a bootstrap over groups. A group is a visit and a host,
or for host-less injections a visit and a seed: the pixels under a host have the same noise in every seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table, hstack, vstack
from decam_picture import draw_transient
from dia_vetting.embedded.ingest_decam import ingest_decam
from dia_vetting.image_making import replace_planes
from dia_vetting.images import local_psf, planes_from_image
from dia_vetting.injection.injection_curve import measured
from dia_vetting.injection.recovery import (
    Measured,
    completeness,
    fifty_percent,
    flux_bias,
    median_offset,
    pull_std,
)
from dia_vetting.masks import MaskBit
from dia_vetting.model_transfer import import_model
from dia_vetting.reliability.bootstrap import percentile_interval
from dia_vetting.seeding import generator
from lsst.daf.butler import Butler, CollectionType, DatasetRef
from numpy.typing import NDArray
from scipy import ndimage

type F64 = NDArray[np.float64]

INPUTS = ["DECam/defaults", "DECam/model"]
UNMASKED = "DECam/unmasked"
PIPELINE = Path(__file__).parents[1] / "pipelines" / "Embedded" / "decam.yaml"
SNR_EDGES = (0.0, 3.0, 5.0, 7.0, 10.0, 20.0, 50.0, np.inf)
REPLICATES = 1000
SHARP = 1.5
"""A source whose brightest pixel holds more than this times what a star's does is no source on the sky."""
NEAR = 3.0
"""Largest distance of a DIA source to a pixel of a cosmic ray, and between sources that are one, pixels."""


@dataclasses.dataclass(frozen=True)
class Campaign:
    """What was found, a row each.

    Parameters
    ----------
    outcomes
        Injections: ``injection_outcome``, with ``seed`` and of the DIA source, NaN if missed, ``x``, ``y``,
        ``reliability``, ``staticFluxErr``.
    sources
        DIA sources: ``dia_source_detector`` with ``seed``, ``state``, ``reliability``, ``sharpness``.
    """

    outcomes: Table
    sources: Table


def prepare(folder: Path, model: Path, out: Path, template_visits: list[int]) -> Path:
    """Fill DIR/repo with exposures, their copies without cosmic-ray masks, and the model."""
    repo = out / "repo"
    summary = ingest_decam(folder, repo, template_visits=template_visits)
    print(f"{len(summary.calibration)} images, {len(summary.errors)} files or exposures left out.")
    with Butler.from_config(str(repo), writeable=True) as butler:
        if "DECam/model" not in butler.collections.query("*"):
            card = import_model(model, str(repo), "DECam/model", "DECam")
            print(f"Model {card.architecture} {card.version}, trained on {card.instrument}.")
        butler.collections.register(UNMASKED, CollectionType.RUN)
        for ref in butler.query_datasets("visit_image", collections="DECam/exposures"):
            put_unmasked(butler, ref)
    return repo


def put_unmasked(butler: Butler, ref: DatasetRef) -> None:
    """Write a copy of a visit image whose cosmic rays are not marked."""
    if butler.find_dataset("visit_image", ref.dataId, collections=UNMASKED) is None:
        image = butler.get(ref)
        planes = planes_from_image(image)
        seen = dataclasses.replace(planes, mask=planes.mask & ~np.uint32(MaskBit.CR))
        butler.put(replace_planes(image, seen), "visit_image", ref.dataId, run=UNMASKED)


def run_pipeline(repo: Path, collection: str, inputs: list[str], seed: int, jobs: int) -> None:
    """Run the DECam pipeline with stock pipetask; nothing is done twice."""
    command = [
        "pipetask", "--long-log", "--log-level", "ERROR=WARNING", "run", "-b", repo, "-i", ",".join(inputs),
        "-o", collection, "-p", PIPELINE, "-d", "instrument = 'DECam'", "-c", f"makeTransients:seed={seed}",
        "-c", f"injectTransients:seed={seed}", "-j", jobs, "--register-dataset-types",
    ]  # fmt: skip
    with Butler.from_config(str(repo)) as butler:
        if collection in butler.collections.query("*"):
            finished = {"injection_metrics", "reliability_metrics", "dia_object_forced_source"}
            found = butler.query_all_datasets(collection, name=sorted(finished), find_first=False)
            if {ref.datasetType.name for ref in found} == finished:
                return
            command += ["--extend-run", "--skip-existing", "--clobber-outputs"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    print(f"pipetask run -o {collection}", flush=True)
    subprocess.run([str(word) for word in command], check=True, env=os.environ | {"PATH": path})


def images_of(butler: Butler, dataset_type: str) -> Iterator[tuple[DatasetRef, Any]]:
    """Yield the references and contents of all datasets of a type, in order of their visits."""
    found = butler.query_datasets(dataset_type, explain=False)
    for ref in sorted(found, key=lambda ref: (ref.dataId["visit"], ref.dataId["detector"])):
        yield ref, butler.get(ref)


def sharpness(image: Any, sources: Table, name: str) -> F64:
    """Return the brightest of the 5 x 5 pixels at sources, over what a star of their flux has there, [N].

    Flux and image are those of the science image or the template; NaN where the flux has SNR below 10.
    """
    if not len(sources):
        return np.empty(0)
    x, y, flux, error = (np.asarray(sources[c], float) for c in ("x", "y", f"{name}Flux", f"{name}FluxErr"))
    planes, psf = planes_from_image(image), local_psf(image)
    top = ndimage.maximum_filter(np.nan_to_num(planes.image), size=5)
    rows = np.clip(np.rint(y).astype(int), 0, top.shape[0] - 1)
    columns = np.clip(np.rint(x).astype(int), 0, top.shape[1] - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = top[rows, columns] / (flux * psf.kernel_images(x, y).max(axis=(1, 2)))
        return np.where(flux > 10 * error, ratio, np.nan)


def read_sources(butler: Butler, seed: int) -> Table:
    """Return all DIA sources of a collection with labels, scores and sharpness."""
    tables = []
    for ref, sources in images_of(butler, "dia_source_detector"):
        if not len(sources):
            continue  # neither labels nor scores were made
        science = sharpness(butler.get("injected_visit_image", ref.dataId), sources, "science")
        template = sharpness(butler.get("template_detector", ref.dataId), sources, "template")
        label, vetting = (butler.get(name, ref.dataId) for name in ("dia_source_label", "dia_source_vetting"))
        extra = Table({
            "seed": np.full(len(sources), seed),
            "state": np.asarray(label["state"]).astype("U12"),
            "reliability": np.asarray(vetting["reliability"], float),
            "sharpness": np.where(sources["isNegative"], template, science),
        })  # fmt: skip
        tables.append(hstack([sources, extra], metadata_conflicts="silent"))
    return vstack(tables, metadata_conflicts="silent")


def read_seed(repo: Path, seed: int) -> Campaign:
    """Return the injections and the DIA sources of a seed."""
    collections = [f"u/decam/seed{seed}", *INPUTS]
    with Butler.from_config(str(repo), collections=collections, instrument="DECam") as butler:
        outcomes, sources = butler.get("injection_outcome"), read_sources(butler, seed)
    row = {key: index for index, key in enumerate(sources["diaSourceId"].tolist())}
    found = np.array([row.get(key, -1) for key in outcomes["diaSourceId"].tolist()], int)
    for name in ("x", "y", "reliability", "staticFluxErr"):
        outcomes[name] = np.where(found >= 0, np.asarray(sources[name], float)[found], np.nan)
    outcomes["seed"] = seed
    return Campaign(outcomes, sources)


def gather(repo: Path, seeds: range) -> Campaign:
    """Return what all seeds gave."""
    parts = [read_seed(repo, seed) for seed in seeds]
    stacked = {
        field.name: vstack([getattr(part, field.name) for part in parts], metadata_conflicts="silent")
        for field in dataclasses.fields(Campaign)
    }
    return Campaign(**stacked)


def group_keys(outcomes: Table) -> NDArray[np.int64]:
    """Return the bootstrap group of each injection (see the module's text), [N]."""
    host = np.asarray(outcomes["host_id"])
    within = np.where(host == 0, -np.asarray(outcomes["seed"]) - 1, host)
    keys = np.stack([np.asarray(outcomes["visit"]), within])
    return np.unique(keys, axis=1, return_inverse=True)[1].ravel()


def interval(outcomes: Table, figure: Callable[[Measured], F64], purpose: str) -> str:
    """Return a figure of the recovered injections with its interval, as text."""
    found = outcomes[np.asarray(outcomes["recovered"], bool)]
    sample, groups = measured(found), group_keys(found)
    if len(sample) < 5:
        return f"not measured ({len(sample)})"
    members = [np.flatnonzero(groups == key) for key in np.unique(groups)]
    rng = generator("decam recovery", purpose)
    draws = rng.integers(0, len(members), (REPLICATES, len(members)))
    values = [figure(sample.where(np.concatenate([members[k] for k in draw]))) for draw in draws]
    low, high = percentile_interval(np.array(values))
    return f"{figure(sample):+.4g} [{low:+.4g}, {high:+.4g}] ({len(sample)})"


def pull_mean(sample: Measured) -> F64:
    """Return the mean of (f - F) / s."""
    return np.asarray(np.mean((sample.flux - sample.truth) / sample.error, axis=-1))


def bias_percent(sample: Measured) -> F64:
    """Return the weighted relative bias of the flux, %."""
    return np.asarray(100.0 * flux_bias(sample))


def fraction(part: Table) -> str:
    """Return the recovered fraction of injections, as text."""
    hit = np.asarray(part["recovered"], bool)
    found = completeness(hit)
    return f"{hit.sum():4d} / {len(hit):4d} = {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def report_recovery(outcomes: Table) -> None:
    """Print how many injections were recovered."""
    snr, clean = np.asarray(outcomes["expected_snr"], float), np.asarray(outcomes["clean"], bool)
    hosted, edges = np.asarray(outcomes["host_id"]) != 0, itertools.pairwise(SNR_EDGES)
    rows = {"all": np.ones(len(snr), bool), "clean": clean, "clean, on a host": clean & hosted}
    rows |= {"clean, host-less": clean & ~hosted, "clean, expected SNR >= 8": clean & (snr >= 8)}
    rows |= {f"clean, {low:g} <= SNR < {high:g}": clean & (snr >= low) & (snr < high) for low, high in edges}
    visits, seeds = (len(np.unique(outcomes[name])) for name in ("visit", "seed"))
    print(f"\n{len(outcomes)} injections on the images ({visits} visits, {seeds} seeds). Recovered:")
    for name, keep in rows.items():
        print(f"  {name:28s}{fraction(outcomes[keep])}")
    half = fifty_percent(snr[clean], np.asarray(outcomes["recovered"], bool)[clean], generator("decam snr50"))
    print(f"  SNR of 50 % (clean): {half.value:.2f} [{half.low:.2f}, {half.high:.2f}]")
    missed = outcomes[~np.asarray(outcomes["recovered"], bool)]
    why = np.where(missed["clean"], np.asarray(missed["reason"]).astype("U40"), "masked or edge")
    counts = zip(*np.unique(why, return_counts=True), strict=True)
    print("  missed:", ", ".join(f"{name} {count}" for name, count in counts))
    print("  missed, clean, expected SNR >= 8:")
    bright = missed[np.asarray(missed["clean"], bool) & (np.asarray(missed["expected_snr"], float) >= 8)]
    for row in bright:
        where = f"seed {row['seed']} visit {row['visit']} host {row['host_id']}"
        print(f"    {where}: SNR {row['expected_snr']:.1f}, {row['reason']}")


def with_static(outcomes: Table) -> Table:
    """Return a copy whose ``psfFluxErr`` has the error of the subtracted constant sky in it."""
    copy = outcomes.copy()
    copy["psfFluxErr"] = np.hypot(outcomes["psfFluxErr"], outcomes["staticFluxErr"])
    return copy


def report_photometry(outcomes: Table) -> None:
    """Print bias, pulls and offsets of the recovered injections."""
    snr, hosted = np.asarray(outcomes["expected_snr"], float), np.asarray(outcomes["host_id"]) != 0
    samples = {"all": snr > 0, "SNR >= 10": snr >= 10, "SNR >= 50": snr >= 50}
    samples |= {"SNR >= 10, on a host": (snr >= 10) & hosted, "SNR >= 10, host-less": (snr >= 10) & ~hosted}
    on_sky = np.asarray(outcomes["staticFluxErr"], float) < 0.2 * np.asarray(outcomes["psfFluxErr"], float)
    samples["SNR >= 10, on nothing bright"] = (snr >= 10) & on_sky
    samples |= {f"SNR >= 10, {b}": (snr >= 10) & (outcomes["band"] == b) for b in np.unique(outcomes["band"])}
    figures = {"flux bias %": bias_percent, "pull mean": pull_mean, "pull std": pull_std}
    print("\nPhotometry and astrometry of recovered injections: value [95 % interval] (number)")
    for sample, keep in samples.items():
        part, static = outcomes[keep], with_static(outcomes[keep])
        print(f"  {sample}")
        for name, figure in figures.items():
            print(f"    {name:22s}{interval(part, figure, f'{sample} {name}')}")
        print(f"    {'pull std with static':22s}{interval(static, pull_std, f'{sample} pull std')}")
        print(f"    {'median offset, arcsec':22s}{interval(part, median_offset, f'{sample} offset')}")


def report_scores(sources: Table) -> None:
    """Print the scores of injected and other DIA sources."""
    score, state = np.asarray(sources["reliability"], float), np.asarray(sources["state"])
    print("\nScores by label: number, quartiles, fraction above 0.5")
    for name in np.unique(state):
        part = score[state == name]
        quartiles = " ".join(f"{q:.3f}" for q in np.quantile(part, (0.25, 0.5, 0.75)))
        print(f"  {name:12s}{len(part):5d}   {quartiles}   {(part > 0.5).mean():.3f}")


def merged(sources: Table) -> Table:
    """Return one row per place and visit of sources that recur from seed to seed."""
    rows, left = [], np.ones(len(sources), bool)
    x, y, visit = (np.asarray(sources[name], float) for name in ("x", "y", "visit"))
    while left.any():
        first = np.flatnonzero(left)[np.argmax(np.asarray(sources["snr"])[left])]
        near = left & (visit == visit[first]) & (np.hypot(x - x[first], y - y[first]) < NEAR)
        left &= ~near
        part, best = sources[near], sources[first]
        score = np.asarray(part["reliability"], float)
        sign = -1 if best["isNegative"] else 1
        rows.append((
            best["visit"], best["band"], x[first], y[first], len(np.unique(part["seed"])),
            sign * float(np.median(part["snr"])), float(np.median(part["sharpness"])),
            float(np.median(score)), float(score.min()), float(score.max()),
        ))  # fmt: skip
    names = ["visit", "band", "x", "y", "seeds", "snr", "sharpness", "score", "score_min", "score_max"]
    table = Table(rows=rows, names=names) if rows else Table({name: [] for name in names})
    for name in names[2:]:
        if name != "seeds":
            table[name].format = ".3f" if "score" in name else ".1f"
    return table[np.argsort(-np.abs(np.asarray(table["snr"], float)), kind="stable")]


def report_others(sources: Table) -> None:
    """Print the DIA sources that nobody injected, unmasked cosmic rays first."""
    other = sources[sources["state"] == "unlabelled"]
    table = merged(other)
    sharp = np.asarray(table["sharpness"], float) > SHARP
    print(f"\nUnlabelled DIA sources sharper than {SHARP:g} x the PSF, not marked in any mask: cosmic rays")
    print("(snr < 0: in the template). sharpness: brightest pixel over that of a star of the flux there.")
    print("\n".join(table[sharp].pformat(max_lines=-1, max_width=-1)))
    print("\nOther unlabelled DIA sources with |SNR| > 7: variable stars, residuals of bright stars")
    strong = ~sharp & (np.abs(np.asarray(table["snr"], float)) > 7)
    print("\n".join(table[strong].pformat(max_lines=-1, max_width=-1)))
    weak = table[~sharp & ~strong]
    high = int((np.asarray(weak["score"], float) > 0.5).sum())
    print(f"... and {len(weak)} places with |SNR| <= 7, {high} of them with a median score above 0.5.")


def report_cosmic_rays(repo: Path, sources: Table) -> None:
    """Print what becomes of the cosmic rays in the masks, with and without these masks."""
    masked = int(np.asarray(sources["pixelFlags_cr"], bool).sum())
    print(f"\nDIA sources in all seeds whose footprint touches a cosmic-ray mask: {masked} of {len(sources)}")
    collections = ["u/decam/unmasked", UNMASKED, *INPUTS]
    with Butler.from_config(str(repo), collections=collections, instrument="DECam") as butler:
        found = read_sources(butler, 0)
        rays = {
            int(ref.dataId["visit"]): planes_from_image(image).has(MaskBit.CR)
            for ref, image in images_of_run(butler, "visit_image", "DECam/exposures")
        }
    groups = {visit: ndimage.label(mask, np.ones((3, 3)))[1] for visit, mask in rays.items()}
    print("Cosmic rays in the masks (groups of pixels) by visit:", groups)
    near = [
        ndimage.distance_transform_edt(~rays[row["visit"]])[round(row["y"]), round(row["x"])] <= NEAR
        if rays[row["visit"]].any()
        else False
        for row in found
    ]
    listed = found[np.array(near, bool) & (found["state"] != "injected")]
    table = merged(listed)
    print(f"Without the masks, {len(table)} DIA sources within {NEAR:g} pixels of them:")
    print("\n".join(table["visit", "band", "x", "y", "snr", "sharpness", "score"].pformat(max_lines=-1)))
    score = np.asarray(table["score"], float)
    print(f"Median score {np.median(score):.3f}, {(score > 0.5).sum()} of {len(score)} above 0.5.")


def images_of_run(butler: Butler, dataset_type: str, run: str) -> Iterator[tuple[DatasetRef, Any]]:
    """Yield the references and contents of the datasets of a type in one run."""
    for ref in butler.query_datasets(dataset_type, collections=run):
        yield ref, butler.get(ref)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="Community Pipeline files.")
    parser.add_argument("model", type=Path, help="Parquet file of `dia-vetting export-model`.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the repository and the picture.")
    parser.add_argument("--seeds", type=int, default=8, help="Injection campaigns.")
    parser.add_argument(
        "--template-visit", type=int, action="append", default=[], help="See dia-vetting ingest-decam."
    )
    parser.add_argument("--jobs", type=int, default=1, help="Processes of pipetask.")
    options = parser.parse_args()
    repo = prepare(options.folder, options.model, options.out, options.template_visit)
    seeds = range(1, options.seeds + 1)
    for seed in seeds:
        run_pipeline(repo, f"u/decam/seed{seed}", INPUTS, seed, options.jobs)
    run_pipeline(repo, "u/decam/unmasked", [UNMASKED, *INPUTS], 0, options.jobs)
    campaign = gather(repo, seeds)
    draw_transient(repo, INPUTS, campaign.outcomes, campaign.sources, options.out / "decam_transient.png")
    report_recovery(campaign.outcomes)
    report_photometry(campaign.outcomes)
    report_scores(campaign.sources)
    report_others(campaign.sources)
    report_cosmic_rays(repo, campaign.sources)


if __name__ == "__main__":
    main()
