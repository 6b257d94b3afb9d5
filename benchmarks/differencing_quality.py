"""How good difference imaging is on the simulated survey: blank-sky injections, by engines alone.

    python benchmarks/differencing_quality.py [--preset lsst] [--images 12] [--per-image 250] [--seed 7]

Visit images are simulated with all their defects, PSFs are fitted to the stars, template exposures are
warped and coadded as the pipeline does, and point sources are put on blank sky: half of them with the
fitted PSF (as injectTransients does), half with the true one (as a real transient would have; with the
fitted one alone, an error of the PSF model would cancel). Prints, with 95 % intervals from a bootstrap over
images: the blank-sky pull of pixels and PSF fluxes, the SNR of 50 % detection, position offsets, flux bias
and pull of what was recovered, and DIA sources by cause.
"""

import argparse
import collections
import dataclasses

import numpy as np
from astropy.table import Table, vstack
from dia_vetting.embedded.measurement import detect_and_measure
from dia_vetting.embedded.photometry import forced_psf_flux
from dia_vetting.embedded.psf_fitting import fit_psf
from dia_vetting.embedded.subtraction import Subtraction, subtract
from dia_vetting.embedded.survey import list_visits, load_config, simulate_scene, simulate_visit
from dia_vetting.embedded.warping import coadd, warp
from dia_vetting.injection.drawing import draw_sources, polynomial_stamps
from dia_vetting.masks import UNUSABLE_BITS
from dia_vetting.planes import Planes, blank_sky, cutouts
from dia_vetting.psf import PolynomialPsf
from dia_vetting.seeding import generator
from scipy.optimize import minimize

MATCH = 3.0
"""Largest distance of a detection to its injection, pixels."""


@dataclasses.dataclass(frozen=True)
class ImageResult:
    """What one image gave: a row per injection, pulls on blank sky, and counts of causes."""

    injections: Table
    pixel_pull: float
    flux_pull: np.ndarray
    causes: collections.Counter


def template_on(image, exposures) -> Planes:
    """Warp the template exposures to the pixel grid of a visit image by the WCS that the images claim."""

    def pixel_map(exposure):
        def back(x, y):
            ra, dec = image.wcs.all_pix2world(x, y, 0)
            return exposure.wcs.all_world2pix(ra, dec, 0, quiet=True)

        return back

    return coadd([warp(e.planes, pixel_map(e), image.planes.shape) for e in exposures])


def blank_positions(
    planes: list[Planes], rng: np.random.Generator, count: int, margin: int = 30
) -> np.ndarray:
    """Draw positions, [count, 2] as (x, y), where no image has a source or a masked pixel."""
    free = np.logical_and.reduce([blank_sky(p, grow=6) for p in planes])
    free[:margin], free[-margin:], free[:, :margin], free[:, -margin:] = False, False, False, False
    rows, columns = np.nonzero(free)
    pick, taken = [], np.zeros(free.shape, bool)
    for k in rng.permutation(len(rows)):
        r, c = rows[k], columns[k]
        if not taken[r, c]:
            taken[max(r - 25, 0) : r + 26, max(c - 25, 0) : c + 26] = True
            pick.append((c, r))
        if len(pick) == count:
            break
    return np.array(pick, float).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (len(pick), 2))


def inject(image, fitted: PolynomialPsf, template: Planes, rng, count: int) -> tuple[Planes, Table]:
    """Put sources of SNR 2 to 120 (log-uniform) on blank sky, by turns with the fitted and the true PSF."""
    position = blank_positions([image.planes, template], rng, count)
    x, y = position.T
    noise = np.median(image.planes.variance[blank_sky(image.planes)]) + np.nanmedian(template.variance)
    sigma = np.sqrt(noise * fitted.effective_area(x, y))
    flux = sigma * 10 ** rng.uniform(np.log10(2), np.log10(120), len(x))
    truth = true_psf(image)
    planes, is_true = image.planes, np.arange(len(x)) % 2 == 1
    for psf, use in ((fitted, ~is_true), (truth, is_true)):
        rngs = [rng] * int(use.sum())
        drawing = draw_sources(planes, polynomial_stamps(psf), x[use], y[use], flux[use], image.gain, rngs)
        planes = drawing.planes
    return planes, Table({"x": x, "y": y, "flux": flux, "snr": flux / sigma, "true_psf": is_true})


def true_psf(image) -> PolynomialPsf:
    """Return the true PSF as a polynomial through its nodes."""
    nodes, (ny, nx) = image.truth_psf, image.planes.shape
    box = (0.0, nx - 1.0, 0.0, ny - 1.0)
    return PolynomialPsf.from_nodes(
        np.asarray(nodes["x"]), np.asarray(nodes["y"]), np.asarray(nodes["stamp"], float), 3, box
    )


def blank_pulls(result: Subtraction, rng, near: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the pull width of blank pixels, and the pulls of forced fluxes away from injections."""
    difference = result.difference
    free = blank_sky(difference)
    rows, columns = np.nonzero(free)
    far = np.ones(len(rows), bool)
    for cx, cy in near:
        far &= (np.abs(columns - cx) > 20) | (np.abs(rows - cy) > 20)
    rows, columns = rows[far], columns[far]
    pixel = (difference.image / np.sqrt(difference.variance))[rows, columns]
    pick = rng.choice(len(rows), 400, replace=False)
    x, y = columns[pick].astype(float), rows[pick].astype(float)
    forced = forced_psf_flux(difference, result.psf, x, y)
    clear = ~(cutouts(difference.mask, x.astype(int) - 8, y.astype(int) - 8, 17, 0) & int(UNUSABLE_BITS)).any(
        (1, 2)
    )
    return float(np.std(pixel)), (forced.flux / forced.err)[clear & np.isfinite(forced.err)]


def causes_of(table: Table, injected: Table, image) -> collections.Counter:
    """Count DIA sources by what is there: an injection, a real source, or an artefact's cause."""
    count: collections.Counter = collections.Counter()
    artefacts, real = image.truth_artefact, image.truth_source
    for x, y in zip(table["x"], table["y"], strict=True):
        if len(injected) and np.hypot(injected["x"] - x, injected["y"] - y).min() < MATCH:
            count["injected"] += 1
        elif len(real) and (np.hypot(real["x"] - x, real["y"] - y) - real["trail_length"] / 2).min() < MATCH:
            nearest = np.hypot(real["x"] - x, real["y"] - y).argmin()
            count[str(real["kind"][nearest])] += 1
        else:
            inside = (
                (artefacts["x_min"] - 3 <= x)
                & (x <= artefacts["x_max"] + 3)
                & (artefacts["y_min"] - 3 <= y)
                & (y <= artefacts["y_max"] + 3)
            )
            count[str(artefacts["cause"][inside][0]) if inside.any() else "other"] += 1
    return count


def run_image(image, exposures, rng, count: int) -> ImageResult:
    """Inject, subtract, detect and compare on one image."""
    template = template_on(image, exposures)
    fitted, template_psf = fit_psf(image.planes).psf, fit_psf(template).psf
    planes, injected = inject(image, fitted, template, rng, count)
    result = subtract(planes, template, fitted, template_psf)
    exposures_by_name = {"science": (planes, fitted), "template": (template, template_psf)}
    found = detect_and_measure(result.difference, result.psf, result.static, exposures_by_name).table
    forced = forced_psf_flux(result.difference, result.psf, injected["x"], injected["y"])
    # The SNR that counts is what the difference image offers for this flux.
    injected["snr"] = injected["flux"] / forced.err
    distance = np.hypot(injected["x"][:, None] - found["x"], injected["y"][:, None] - found["y"])
    nearest = distance.argmin(axis=1)
    injected["distance"] = distance[np.arange(len(injected)), nearest]
    injected["found"] = (injected["distance"] < MATCH) & (np.asarray(found["psfFlux"])[nearest] > 0)
    injected["measured"] = np.asarray(found["psfFlux"])[nearest]
    injected["err"] = np.asarray(found["psfFluxErr"])[nearest]
    injected["forced"], injected["forced_err"] = forced.flux, forced.err
    pixel, pulls = blank_pulls(result, rng, np.stack([injected["x"], injected["y"]], axis=1))
    return ImageResult(injected, pixel, pulls, causes_of(found, injected, image))


def half_detection(snr: np.ndarray, found: np.ndarray) -> float:
    """Return the SNR of 50 % detection, from a logistic fit."""
    keep = snr < 20

    def loss(p):
        z = (snr[keep] - p[0]) / abs(p[1])
        return np.sum(np.logaddexp(0, np.where(found[keep], -z, z)))

    return float(minimize(loss, [5.0, 0.7], method="Nelder-Mead").x[0])


def interval(results: list[ImageResult], statistic, rng, rounds: int = 400) -> str:
    """Return a statistic of images with its bootstrap interval over images."""
    value = statistic(results)
    draws = [
        statistic([results[k] for k in rng.integers(0, len(results), len(results))]) for _ in range(rounds)
    ]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return f"{value:8.4f}  [{low:.4f}, {high:.4f}]"


def report(results: list[ImageResult], pixel_scale: float, rng) -> None:
    """Print the figures."""

    def column(name, cut=None):
        def get(sample):
            table = vstack([r.injections for r in sample])
            return table if cut is None else table[cut(table)]

        return get

    def bright(which):
        return lambda t: t["found"] & (t["snr"] > 50) & (t["true_psf"] if which else ~t["true_psf"])

    print(f"{len(column('all')(results))} injections on {len(results)} images, 95 % intervals over images")
    print("blank-sky pull, pixels    ", interval(results, lambda s: np.mean([r.pixel_pull for r in s]), rng))
    print(
        "blank-sky pull, PSF flux  ",
        interval(results, lambda s: np.std(np.concatenate([r.flux_pull for r in s])), rng),
    )

    def half(sample):
        t = column("all")(sample)
        return half_detection(np.asarray(t["snr"]), np.asarray(t["found"]))

    print("SNR of 50 % detection     ", interval(results, half, rng, 60))

    def offset(sample):
        t = column("all", lambda t: t["found"] & (t["snr"] > 20))(sample)
        return np.median(t["distance"]) * pixel_scale

    print('median offset, SNR > 20, " ', interval(results, offset, rng))

    def all_offset(sample):
        t = column("all", lambda t: t["found"])(sample)
        return np.median(t["distance"]) * pixel_scale

    print('median offset, all, "     ', interval(results, all_offset, rng))
    for which, name in ((False, "fitted PSF"), (True, "true PSF  ")):

        def bias(sample, which=which):
            t = column("all", bright(which))(sample)
            w = (t["flux"] / t["err"]) ** 2
            return 100 * np.average(t["measured"] / t["flux"] - 1, weights=w)

        def pull(sample, which=which):
            t = column("all", lambda t: t["found"] & (t["snr"] > 8) & (t["true_psf"] == which))(sample)
            return np.std((t["measured"] - t["flux"]) / t["err"])

        def forced(sample, which=which):
            t = column("all", lambda t: t["true_psf"] == which)(sample)
            return np.nanstd((t["forced"] - t["flux"]) / t["forced_err"])

        print(f"flux bias %, SNR > 50, {name}", interval(results, bias, rng))
        print(f"pull recovered, SNR > 8, {name}", interval(results, pull, rng))
        print(f"pull forced at truth, {name}", interval(results, forced, rng))
    total: collections.Counter = sum((r.causes for r in results), collections.Counter())
    print("DIA sources per image by cause:", {k: round(v / len(results), 1) for k, v in total.most_common()})
    for result in results:
        count = sum(result.causes.values())
        print(
            f"  pixel pull {result.pixel_pull:.3f}  flux pull {result.flux_pull.std():.3f}  {count} sources"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="lsst")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--per-image", type=int, default=250)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    config = load_config(options.preset, size="demo")
    visits, scene = list_visits(config, options.seed), simulate_scene(config, options.seed)
    detector = next(iter(config.detectors))
    templates: dict[str, list] = {}
    results = []
    for visit in [v for v in visits if not v.is_template][: options.images]:
        if visit.band not in templates:
            chosen = [v for v in visits if v.is_template and v.band == visit.band]
            templates[visit.band] = [simulate_visit(config, options.seed, scene, v, detector) for v in chosen]
        image = simulate_visit(config, options.seed, scene, visit, detector)
        rng = generator(options.seed, "differencing_quality", visit.visit, detector)
        results.append(run_image(image, templates[visit.band], rng, options.per_image))
    report(results, config.camera.pixel_scale, generator(options.seed, "bootstrap"))


if __name__ == "__main__":
    main()
