"""The stamp simulator: its speed beside a plain loop of GalSim, sep's accuracy on its stamps, and pictures.

    python benchmarks/blend_simulation.py [--stamps 10000] [--galsim 300] [--accuracy 4000] [--sheets FOLDER]

Speed is of one core. The plain loop draws as many sources of the same population with GalSim's profiles, one
by one, and adds noise; it draws ``--galsim`` of the stamps and is scaled to all.

sep has the settings of Farrens et al. (2022) on the preset farrens2021: threshold 1.5, 32 levels, contrast
0.005, the rms of its own background. As in the published code, a blend is two detections or more, or one that
is flagged as merged, and a stamp without a detection is wrong. Published are also answers that match the true
positions within 2 pixels; the last column has them for blends: both sources found.

``--sheets`` writes a contact sheet of each preset.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import galsim
import matplotlib.pyplot as plt
import numpy as np
import sep
from dia_vetting.blends.layout import KINDS
from dia_vetting.blends.population import BULGE_INDICES, draw_sources
from dia_vetting.blends.presets import Preset, available_presets, load_preset
from dia_vetting.blends.simulation import simulate
from dia_vetting.blends.stamps import BlendStamps, BlendTruth
from dia_vetting.blends.transforms import psf_profile
from dia_vetting.seeding import generator
from PIL import Image
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

PUBLISHED = {5.0: 0.944, 14.0: 0.945, 26.0: 0.880, 40.0: 0.670}
SEED = 20211


def speed(preset: Preset, count: int, galsim_count: int) -> None:
    """Print the seconds for ``count`` stamps, and the ratio to a plain loop of GalSim."""
    simulate(preset, 1, SEED)  # makes the tables
    start = time.perf_counter()
    _, truth = simulate(preset, count, SEED)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    galsim_loop(preset, truth.where(slice(galsim_count)))
    theirs = (time.perf_counter() - start) * count / galsim_count
    sources = truth.n_sources.mean()
    print(
        f"{preset.name:12s} {count} stamps of {preset.side} px, {sources:.2f} sources each: {ours:6.1f} s;"
        f" plain GalSim {theirs:6.1f} s; ratio {theirs / ours:.1f}"
    )


def galsim_loop(preset: Preset, truth: BlendTruth) -> None:
    """Draw stamps with as many sources at the same places, the plain way."""
    rng = generator("benchmark", preset.name)
    sources = draw_sources(preset.population, len(truth), rng)
    noise = galsim.GaussianNoise(galsim.BaseDeviate(1), sigma=preset.noise.sigma[0])
    unit = psf_profile(preset.psf).withGSParams(galsim.GSParams())
    middle = 0.5 * (preset.side - 1)
    for k in range(len(truth)):
        psf = unit.dilate(rng.uniform(*preset.psf.fwhm)).shear(g1=0.01, g2=0.01)
        stamp = galsim.Image(preset.side, preset.side, scale=preset.pixel_scale, dtype=np.float32)
        for j in range(truth.n_sources[k]):
            profile = psf
            if not sources.star[k, j]:
                share, shear = sources.bulge_fraction[k, j], sources.shear[k, j]
                index = BULGE_INDICES[sources.bulge_index[k, j]]
                bulge = galsim.Sersic(index, half_light_radius=sources.bulge_radius[k, j], flux=share)
                disc = galsim.Exponential(half_light_radius=sources.radius[k, j], flux=1.0 - share)
                profile = galsim.Convolve((bulge + disc).shear(g1=shear.real, g2=shear.imag), psf)
            offset = (truth.x[k, j] - middle, truth.y[k, j] - middle)
            alone = (profile * truth.flux[k, j]).drawImage(image=stamp.copy(), offset=offset)
            stamp += alone
        stamp.addNoise(noise)


def sep_answers(stamps: BlendStamps, truth: BlendTruth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return whether sep calls each stamp a blend, detects anything, has all sources within 2 pixels."""
    blend, found, matched = np.zeros((3, len(stamps)), bool)
    for k, image in enumerate(stamps.images):
        rms = sep.Background(image).globalrms
        objects = sep.extract(image, 1.5, err=rms, deblend_nthresh=32, deblend_cont=0.005)
        found[k] = len(objects) > 0
        blend[k] = len(objects) > 1 or bool((objects["flag"] & sep.OBJ_MERGED).any())
        true = np.stack([truth.x[k], truth.y[k]], axis=1)[: truth.n_sources[k]]
        seen = np.stack([objects["x"], objects["y"]], axis=1)
        matched[k] = len(seen) >= len(true) and (cdist(true, seen).min(axis=1) < 2.0).all()
    return blend, found, matched


def accuracy(count: int) -> None:
    """Print sep's accuracy on farrens2021 at the published noise levels."""
    print(
        "sep on farrens2021: sigma, accuracy, published; of blends, singles, pairs closer than 10 px; matched"
    )
    for sigma, published in PUBLISHED.items():
        stamps, truth = simulate(load_preset("farrens2021").with_noise(sigma), count, SEED + 1)
        blend, found, matched = sep_answers(stamps, truth)
        is_blend = truth.kind == "blend"
        right = found & (blend == is_blend)
        parts = [right[rows].mean() for rows in (is_blend, ~is_blend, truth.separation < 10.0)]
        text = " ".join(f"{part:.3f}" for part in (*parts, matched[is_blend].mean()))
        error = 1.96 * right.std() / np.sqrt(count)
        print(f"{sigma:5.0f} {right.mean():.3f} +- {error:.3f} {published:.3f}; {text}", flush=True)


def sheet(preset: Preset, folder: Path, columns: int = 9) -> None:
    """Write a contact sheet: a row of each kind, and the pixels of each source."""
    kinds = [kind for kind in KINDS if preset.kinds.fractions.get(kind, 0.0) > 0.0]
    stamps, truth = simulate(preset, 200, SEED + 2)
    size = (columns * 0.9, 0.95 * len(kinds))
    figure, axes = plt.subplots(len(kinds), columns, figsize=size, layout="constrained")
    for row, kind in zip(axes, kinds, strict=True):
        for axis, k in zip(row, np.flatnonzero(truth.kind == kind)[:columns], strict=True):
            scaled = np.arcsinh(stamps.images[k] / stamps.noise_sigma[k] / 2.0)
            axis.imshow(scaled, cmap="gray", vmin=-1.0, vmax=4.0, origin="lower")
            for bit in range(truth.n_sources[k]):
                colour = f"C{bit}"
                axis.contour(truth.segmentation[k] >> bit & 1, [0.5], colors=colour, linewidths=0.5)
                axis.plot(truth.x[k, bit], truth.y[k, bit], "+", color=colour, ms=3, mew=0.5)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(kind, fontsize=7)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    plt.close(figure)
    small = Image.open(drawn).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
    small.save(folder / f"blends_{preset.name}.png", optimize=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stamps", type=int, default=10_000)
    parser.add_argument("--galsim", type=int, default=300)
    parser.add_argument("--accuracy", type=int, default=4000)
    parser.add_argument("--sheets", type=Path)
    options = parser.parse_args()
    presets = [load_preset(name) for name in available_presets()]
    with threadpool_limits(1):
        for preset in presets if options.stamps else []:
            speed(preset, options.stamps, options.galsim)
        if options.accuracy:
            accuracy(options.accuracy)
    for preset in presets if options.sheets else []:
        sheet(preset, options.sheets)


if __name__ == "__main__":
    main()
