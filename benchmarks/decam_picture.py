"""The picture of `decam_recovery.py`: template, science image and difference around the brightest host."""

from __future__ import annotations

__all__ = ["draw_transient"]

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Row, Table
from dia_vetting.images import origin, planes_from_image, sky_to_pixel
from dia_vetting.injection.host_geometry import project
from dia_vetting.planes import robust_sigma
from lsst.daf.butler import Butler
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

HALF_WIDTH = 40
PIXEL_SCALE = 0.2626
MIN_SNR = 30.0
SKY_TICKS = (-500, 0, 500, 1000, 2000, 5000, 10000, 20000)
COLOURS = {"injected": "#009E73", "unlabelled": "#E69F00", "ambiguous": "#CC79A7", "masked": "#999999"}
LABELS = {"injected": "injected", "unlabelled": "not injected"}


def draw_transient(repo: Path, inputs: list[str], outcomes: Table, sources: Table, path: Path) -> None:
    """Draw the recovered injection that stands out best from the brightest host.

    Of the recovered injections of expected SNR 30 or more on the brightest host, it is the one farthest from
    the host's centre.

    Parameters
    ----------
    repo, inputs
        Repository and input collections.
    outcomes, sources
        Of `decam_recovery.Campaign`.
    path
        PNG to write.
    """
    chosen, host = choose(repo, inputs, outcomes)
    collections = [f"u/decam/seed{chosen['seed']}", *inputs]
    data_id = {name: int(chosen[name]) for name in ("visit", "detector")}
    with Butler.from_config(str(repo), collections=collections, instrument="DECam") as butler:
        names = ("template_detector", "injected_visit_image", "difference_image")
        images = [butler.get(name, data_id) for name in names]
    x, y = (float(v[0]) for v in sky_to_pixel(images[0], host["host_ra"], host["host_dec"]))
    same = np.logical_and.reduce([np.asarray(sources[n]) == chosen[n] for n in ("seed", "visit", "detector")])
    picture(images, (x, y), sources[same], chosen, host).savefig(path, dpi=110)
    print(f"Picture {path}: seed {chosen['seed']}, visit {chosen['visit']}, {chosen['band']}.")


def choose(repo: Path, inputs: list[str], outcomes: Table) -> tuple[Row, dict[str, float]]:
    """Return the injection to show, and the brightest host."""
    seed = int(outcomes["seed"][0])
    with Butler.from_config(str(repo), collections=[f"u/decam/seed{seed}", *inputs]) as butler:
        hosts = butler.get("host_galaxy", skymap="embedded_decam_v1", tract=0)
    for index in np.argsort(np.asarray(hosts["host_mag"])):
        host = {name: hosts[name][index] for name in ("host_id", "host_ra", "host_dec", "host_mag")}
        mine = outcomes[np.asarray(outcomes["recovered"], bool) & (outcomes["host_id"] == host["host_id"])]
        mine = mine[np.asarray(mine["expected_snr"], float) >= MIN_SNR]
        if len(mine):
            distance = np.hypot(*project(mine["ra"], mine["dec"], host["host_ra"], host["host_dec"]))
            return mine[int(np.argmax(distance))], host
    raise SystemExit(f"No host has a recovered injection of SNR {MIN_SNR:g}: more seeds are needed.")


def picture(
    images: list[Any], centre: tuple[float, float], sources: Table, chosen: Row, host: dict[str, float]
) -> Figure:
    """Return the figure of template, science image and difference, stretched alike."""
    stamps = [stamp(image, centre) for image in images]
    sigma = robust_sigma(stamps[2])
    top = float(np.nanquantile(stamps[:2], 0.9998))
    sky = AsinhNorm(linear_width=3 * sigma, vmin=-3 * sigma, vmax=max(top, 20 * sigma))
    norms = [sky, sky, Normalize(-8 * sigma, 8 * sigma)]
    figure = Figure(figsize=(12.4, 5.0), layout="constrained")
    axes = figure.subplots(1, 3)
    titles = ("Template", "Science image with the injection", "Difference")
    for axis, pixels, norm, title, colours in zip(
        axes, stamps, norms, titles, ("gray", "gray", "RdBu_r"), strict=True
    ):
        reach = HALF_WIDTH + 0.5
        extent = (centre[0] - reach, centre[0] + reach, centre[1] - reach, centre[1] + reach)
        axis.imshow(pixels, origin="lower", extent=extent, norm=norm, cmap=colours, interpolation="nearest")
        axis.set_title(title, fontsize=12)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set(xlim=extent[:2], ylim=extent[2:])
    for pair, label, norm, colours in (
        (axes[:2], "nJy per pixel (asinh)", sky, "gray"),
        (axes[2:], "nJy per pixel (-8 to 8 sigma of the sky)", norms[2], "RdBu_r"),
    ):
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(pair), orientation="horizontal",
                              fraction=0.05, pad=0.03, aspect=35 if len(pair) > 1 else 17)  # fmt: skip
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=8)
        bar.ax.minorticks_off()
        if norm is sky:
            bar.set_ticks([value for value in SKY_TICKS if sky.vmin <= value <= sky.vmax])
            bar.ax.set_xticklabels([f"{value:g}" for value in bar.get_ticks()])
    scale_bar(axes[0], centre)
    mark(axes[1], chosen, None, "white")
    for row in sources:
        if max(abs(row["x"] - centre[0]), abs(row["y"] - centre[1])) < HALF_WIDTH - 3:
            mark(axes[2], row, row["state"], COLOURS[str(row["state"])])
    figure.suptitle(
        f"DECam {chosen['band']}, visit {chosen['visit']}: transient of "
        f"{31.4 - 2.5 * np.log10(chosen['flux']):.1f} mag injected (SNR {chosen['snr']:.0f}) "
        f"on a galaxy of {host['host_mag']:.1f} mag in z",
        fontsize=13,
    )
    return figure


def stamp(image: Any, centre: tuple[float, float]) -> NDArray[np.float32]:
    """Return the pixels around a position, NaN outside the image, [2 h + 1, 2 h + 1]."""
    pixels = np.pad(planes_from_image(image).image, HALF_WIDTH, constant_values=np.nan)
    column, row = (round(at - first) for at, first in zip(centre, origin(image), strict=True))
    return pixels[row : row + 2 * HALF_WIDTH + 1, column : column + 2 * HALF_WIDTH + 1]


def scale_bar(axis: Axes, centre: tuple[float, float]) -> None:
    """Draw five arcseconds."""
    left, low = centre[0] - HALF_WIDTH + 5, centre[1] - HALF_WIDTH + 6
    axis.plot([left, left + 5 / PIXEL_SCALE], [low, low], color="white", lw=2.5)
    axis.text(left + 2.5 / PIXEL_SCALE, low + 2, '5"', color="white", ha="center", va="bottom", fontsize=11)


def mark(axis: Axes, row: Row, state: str | None, colour: str) -> None:
    """Draw a circle around a source, with its label and score."""
    axis.add_patch(Circle((row["x"], row["y"]), 7, fill=False, color=colour, lw=1.8))
    if state is not None:
        text = f"{LABELS.get(state, state)}\nscore {row['reliability']:.3f}"
        axis.annotate(text, (row["x"], row["y"]), (0, 26), textcoords="offset points", color=colour,
                      ha="center", va="bottom", fontsize=10, fontweight="bold")  # fmt: skip
