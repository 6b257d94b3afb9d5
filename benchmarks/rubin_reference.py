"""Our subtraction and detection beside Rubin's, on the same images, with the same definitions.

Run as ``python benchmarks/rubin_reference.py FOLDER``, FOLDER being the ``rubin_reference`` data, whose
README defines every figure. The truth serves the comparison only; the engine never sees it.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits
from dia_vetting.embedded.detection import DetectionConfig
from dia_vetting.embedded.measurement import detect_and_measure
from dia_vetting.embedded.photometry import forced_psf_flux
from dia_vetting.embedded.subtraction import SubtractionConfig, subtract
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes, blank_sky
from dia_vetting.psf import PolynomialPsf
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

type F64 = NDArray[np.float64]
type Columns = dict[str, NDArray[np.generic]]

PAIRS = (0, 1, 2, 6)
BINS = {"5-7": (5.0, 7.0), "7-10": (7.0, 10.0), ">=10": (10.0, np.inf)}
CLASSES = ("saturated", "bright star", "star", "galaxy", "bad column", "other")
FORBIDDEN = ("saturated", "bad", "cr", "interpolated", "suspect")
PIXEL = 0.2


@dataclasses.dataclass
class PairResult:
    """What one pipeline made of one pair: its DIA sources and what the truth says of them."""

    sources: Columns
    match: NDArray[np.int64]  # [n_injections]: row of `sources`, -1 if not found
    kind: NDArray[np.str_]  # [n_sources]
    forced: F64  # [n_injections]
    forced_err: F64
    blank_pull: F64  # [600]
    pixel_pull: float
    cpu: tuple[float, float] = (np.nan, np.nan)


def read_columns(path: Path) -> Columns:
    table = pq.read_table(path)
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def of_pair(columns: Columns, pair: int) -> Columns:
    keep = columns["pair"] == pair
    return {name: values[keep] for name, values in columns.items()}


def read_exposure(path: Path) -> tuple[Planes, PolynomialPsf]:
    with fits.open(path) as hdus:
        raw, header = hdus["MASK"].data, hdus["MASK"].header
        mask = np.zeros(raw.shape, np.uint32)
        for key, bit in header.items():
            if key.startswith("MP_"):
                mask[(raw >> bit) & 1 == 1] |= np.uint32(MaskBit[key[3:]])
        nodes = hdus["PSF_POS"].data
        psf = PolynomialPsf.from_nodes(nodes["x"], nodes["y"], hdus["PSF"].data, 2)
        return Planes(hdus["IMAGE"].data, hdus["VARIANCE"].data, mask), psf


def read_difference(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with fits.open(path) as hdus:
        return hdus["IMAGE"].data.astype(np.float32), hdus["VARIANCE"].data.astype(np.float32)


def match_nearest(x: F64, y: F64, true_x: F64, true_y: F64, radius: float = 3.0) -> NDArray[np.int64]:
    """One-to-one matches, nearest first: for each truth the row of (x, y), or -1."""
    result = np.full(len(true_x), -1)
    near = cKDTree(np.column_stack([true_x, true_y])).query_ball_point(np.column_stack([x, y]), radius)
    candidates = sorted(
        (float(np.hypot(x[i] - true_x[j], y[i] - true_y[j])), i, j) for i, js in enumerate(near) for j in js
    )
    taken: set[int] = set()
    for _, i, j in candidates:
        if result[j] < 0 and i not in taken:
            result[j] = i
            taken.add(i)
    return result


def within(x: F64, y: F64, cx: F64, cy: F64, radius: F64 | float) -> NDArray[np.bool_]:
    """Whether each (x, y) lies within the radius of any centre."""
    if not len(cx) or not len(x):
        return np.zeros(len(x), bool)
    return np.asarray((np.hypot(x[:, None] - cx, y[:, None] - cy) <= radius).any(axis=1))


def in_boxes(x: F64, y: F64, rays: Columns, margin: float = 3.0) -> NDArray[np.bool_]:
    inside = (
        (x[:, None] >= rays["xmin"] - margin) & (x[:, None] <= rays["xmax"] + margin)
        & (y[:, None] >= rays["ymin"] - margin) & (y[:, None] <= rays["ymax"] + margin)
    )  # fmt: skip
    return np.asarray(inside.any(axis=1))


def classify(x: F64, y: F64, truth: dict[str, Columns], bad: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Where each source lies, by the definitions of the README."""
    stars, galaxies, rays = truth["stars"], truth["galaxies"], truth["cosmic_rays"]
    masked = rays["masked"].astype(bool)
    sx, sy, mag = stars["x_sci"], stars["y_sci"], stars["mag"]
    rows, columns = np.clip(np.rint(y).astype(int), 0, 999), np.clip(np.rint(x).astype(int), 0, 999)
    cut = {True: {k: v[masked] for k, v in rays.items()}, False: {k: v[~masked] for k, v in rays.items()}}
    tests = [
        ("injected", within(x, y, truth["injections"]["x"], truth["injections"]["y"], 3.0)),
        ("CR masked", in_boxes(x, y, cut[True])),
        ("CR unmasked", in_boxes(x, y, cut[False])),
        ("saturated", within(x, y, sx[mag < 15.3], sy[mag < 15.3], 40.0)),
        ("bright star", within(x, y, sx[mag < 18], sy[mag < 18], 8.0)),
        ("star", within(x, y, sx, sy, 5.0)),
        ("galaxy", within(x, y, galaxies["x_sci"], galaxies["y_sci"], 1.5 * galaxies["hlr"] / PIXEL)),
        ("bad column", ndimage.maximum_filter(bad, 7)[rows, columns]),
    ]
    return np.select([t for _, t in tests], [n for n, _ in tests], "other")


def blank_pixels(science: Planes, template: Planes, truth: dict[str, Columns]) -> NDArray[np.bool_]:
    """Pixels without any source of the template, injection, cosmic ray or mask, 20 pixels from the edges."""
    blank = blank_sky(template, 3.0, 6) & ~ndimage.maximum_filter(science.unusable(), 31)
    occupied = np.zeros(blank.shape, bool)
    for name in ("injections", "cosmic_rays"):
        rows, columns = (np.rint(truth[name][axis]).astype(int) for axis in ("y", "x"))
        occupied[np.clip(rows, 0, blank.shape[0] - 1), np.clip(columns, 0, blank.shape[1] - 1)] = True
    blank &= ~ndimage.maximum_filter(occupied, 41)
    blank[:20], blank[-20:], blank[:, :20], blank[:, -20:] = False, False, False, False
    return blank


def truth_of(folder: Path, pair: int) -> dict[str, Columns]:
    names = ("injections", "cosmic_rays", "stars", "galaxies")
    return {name: of_pair(read_columns(folder / "truth" / f"{name}.parquet"), pair) for name in names}


def run_ours(
    folder: Path,
    pair: int,
    subtraction: SubtractionConfig | None = None,
    detection: DetectionConfig | None = None,
) -> PairResult:
    science, science_psf = read_exposure(folder / "pairs" / f"pair{pair}_science.fits.gz")
    template, template_psf = read_exposure(folder / "pairs" / f"pair{pair}_template.fits.gz")
    truth = truth_of(folder, pair)
    start = time.process_time()
    result = subtract(science, template, science_psf, template_psf, subtraction)
    middle = time.process_time()
    found = detect_and_measure(
        result.difference, result.psf, result.static,
        {"science": (science, science_psf), "template": (template, template_psf)}, detection,
    ).table  # fmt: skip
    stop = time.process_time()
    sources = {name: np.asarray(found[name]) for name in found.colnames}
    x, y = sources["x"], sources["y"]
    clean = ~(sources["isNegative"] | sources["isDipole"] | sources["centroid_flag"])
    sources["clean"] = clean & ~np.any([sources[f"pixelFlags_{name}"] for name in FORBIDDEN], axis=0)
    inj = truth["injections"]
    forced = forced_psf_flux(result.difference, result.psf, inj["x"], inj["y"])
    blank = of_pair(read_columns(folder / "rubin_diffim" / "blank_sky_photometry.parquet"), pair)
    sky = forced_psf_flux(result.difference, result.psf, blank["x"], blank["y"])
    free = blank_pixels(science, template, truth)
    pull = result.difference.image[free] / np.sqrt(result.difference.variance[free])
    return PairResult(
        sources, match_nearest(x, y, inj["x"], inj["y"]),
        classify(x, y, truth, science.has(MaskBit.BAD)), forced.flux, forced.err,
        sky.flux / sky.err, float(np.std(pull)), (middle - start, stop - middle),
    )  # fmt: skip


def run_rubin(folder: Path, pair: int) -> PairResult:
    shipped = folder / "rubin_diffim"
    truth = truth_of(folder, pair)
    science, _ = read_exposure(folder / "pairs" / f"pair{pair}_science.fits.gz")
    template, _ = read_exposure(folder / "pairs" / f"pair{pair}_template.fits.gz")
    sources = of_pair(read_columns(shipped / "dia_sources.parquet"), pair)
    results = of_pair(read_columns(shipped / "injection_results.parquet"), pair)
    blank = of_pair(read_columns(shipped / "blank_sky_photometry.parquet"), pair)
    image, variance = read_difference(shipped / f"pair{pair}_difference.fits.gz")
    free = blank_pixels(science, template, truth)
    inj = truth["injections"]
    return PairResult(
        sources, match_nearest(sources["x"], sources["y"], inj["x"], inj["y"]),
        classify(sources["x"], sources["y"], truth, science.has(MaskBit.BAD)),
        results["forced"], results["forced_err"], blank["flux"] / blank["flux_err"],
        float(np.nanstd(image[free] / np.sqrt(variance[free]))),
    )  # fmt: skip


def interval(statistic: object, *samples: F64, count: int = 2000) -> tuple[float, float, float]:
    """Value and 95 % bootstrap interval of a statistic of paired samples."""
    random = np.random.default_rng(1)
    n = len(samples[0])
    draws = [statistic(*(s[pick] for s in samples))  # type: ignore[operator]
             for pick in random.integers(0, n, (count, n))]  # fmt: skip
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(statistic(*samples)), float(low), float(high)  # type: ignore[operator]


def weighted_bias(flux: F64, true: F64, err: F64) -> float:
    """Inverse-variance weighted mean of flux / true - 1."""
    weight = (true / err) ** 2
    return float(np.sum(weight * (flux / true - 1.0)) / np.sum(weight))


def recovered(
    results: dict[int, PairResult], truth: dict[int, Columns], pairs: tuple[int, ...]
) -> tuple[F64, F64, F64]:
    """(flux, true flux, error) of the recovered injections with SNR >= 10."""
    flux, true, err = [], [], []
    for pair in pairs:
        result, inj = results[pair], truth[pair]
        pick = (inj["snr"] >= 10) & (result.match >= 0)
        rows = result.match[pick]
        flux.append(result.sources["psfFlux"][rows])
        err.append(result.sources["psfFluxErr"][rows])
        true.append(inj["flux"][pick])
    return (
        np.concatenate(flux).astype(float),
        np.concatenate(true).astype(float),
        np.concatenate(err).astype(float),
    )


def std(values: F64) -> float:
    return float(np.std(values[np.isfinite(values)]))


def pull_of(results: dict[int, PairResult], truth: dict[int, Columns], pairs: tuple[int, ...]) -> F64:
    flux, true, err = recovered(results, truth, pairs)
    return (flux - true) / err


def forced_pull(results: dict[int, PairResult], truth: dict[int, Columns], pairs: tuple[int, ...]) -> F64:
    parts = [
        ((results[p].forced - truth[p]["flux"]) / results[p].forced_err)[truth[p]["snr"] >= 10] for p in pairs
    ]
    return np.concatenate(parts).astype(float)


def summarise(results: dict[int, PairResult], truth: dict[int, Columns]) -> dict[str, str]:
    """Every figure of the comparison as text."""
    pairs = tuple(results)
    rows: dict[str, str] = {}
    for name, (low, high) in BINS.items():
        inside = {p: (truth[p]["snr"] >= low) & (truth[p]["snr"] < high) for p in pairs}
        found = sum(int((results[p].match[inside[p]] >= 0).sum()) for p in pairs)
        rows[f"completeness {name}"] = f"{found}/{sum(int(v.sum()) for v in inside.values())}"
    count = {p: len(results[p].kind) for p in pairs}
    rows["DIA sources per image"] = f"{np.mean(list(count.values())):.1f}"
    bogus = {p: np.isin(results[p].kind, CLASSES) for p in pairs}
    rows["bogus per image"] = f"{np.mean([b.sum() for b in bogus.values()]):.2f}"
    for name in CLASSES:
        rows[f"  {name}"] = f"{np.mean([np.sum(results[p].kind == name) for p in pairs]):.2f}"
    strong = [np.sum(bogus[p] & (np.abs(results[p].sources["snr"].astype(float)) >= 5)) for p in pairs]
    rows["bogus with |SNR| >= 5"] = f"{np.mean(strong):.2f}"
    rows["bogus clean"] = (
        f"{np.mean([np.sum(bogus[p] & results[p].sources['clean'].astype(bool)) for p in pairs]):.2f}"
    )
    for label, group in (("0-2", tuple(p for p in pairs if p < 6)), ("6", tuple(p for p in pairs if p >= 6))):
        if group:
            value, low, high = interval(weighted_bias, *recovered(results, truth, group))
            rows[f"flux bias %, pairs {label}"] = f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
            value, low, high = interval(std, pull_of(results, truth, group))
            rows[f"pull std recovered, pairs {label}"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    value, low, high = interval(weighted_bias, *recovered(results, truth, pairs))
    rows["flux bias %, pooled"] = f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    value, low, high = interval(std, pull_of(results, truth, pairs))
    rows["pull std recovered, pooled"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    value, low, high = interval(std, forced_pull(results, truth, pairs))
    rows["pull std forced at truth"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    rows["blank pixel pull"] = f"{np.mean([results[p].pixel_pull for p in pairs]):.3f}"
    rows["blank PSF-flux pull"] = f"{np.mean([std(results[p].blank_pull) for p in pairs]):.3f}"
    for name in ("CR unmasked", "CR masked"):
        rows[f"{name} detections per image"] = (
            f"{np.mean([np.sum(results[p].kind == name) for p in pairs]):.2f}"
        )
    rows["CPU s subtract / detect+measure"] = " / ".join(
        f"{np.median([results[p].cpu[k] for p in pairs]):.2f}" for k in (0, 1)
    )
    return rows


def paired_counts(
    ours: dict[int, PairResult], rubin: dict[int, PairResult], truth: dict[int, Columns]
) -> None:
    print(f"\n{'SNR':6s} {'both':>6s} {'ours':>6s} {'theirs':>7s} {'neither':>8s}")
    for name, (low, high) in BINS.items():
        inside = {p: (truth[p]["snr"] >= low) & (truth[p]["snr"] < high) for p in ours}
        a = np.concatenate([ours[p].match[inside[p]] >= 0 for p in ours])
        b = np.concatenate([rubin[p].match[inside[p]] >= 0 for p in ours])
        print(f"{name:6s} {(a & b).sum():6d} {(a & ~b).sum():6d} {(~a & b).sum():7d} {(~a & ~b).sum():8d}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the rubin_reference folder")
    parser.add_argument("--pairs", type=int, nargs="+", default=PAIRS)
    arguments = parser.parse_args()
    folder, pairs = arguments.folder, tuple(arguments.pairs)
    truth = {p: truth_of(folder, p)["injections"] for p in pairs}
    ours = {p: run_ours(folder, p) for p in pairs}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rubin = {p: run_rubin(folder, p) for p in pairs}
    left, right = summarise(ours, truth), summarise(rubin, truth)
    right["CPU s subtract / detect+measure"] = "1.3 / 4.1 (README, another machine)"
    print(f"{'':36s} {'ours':>26s} {'Rubin w.2026.05':>26s}")
    for name, value in left.items():
        print(f"{name:36s} {value:>26s} {right[name]:>26s}")
    print(f"{'peak resident MB':36s} {peak:26.0f} {'about 600 (README)':>26s}")
    paired_counts(ours, rubin, truth)


if __name__ == "__main__":
    main()
