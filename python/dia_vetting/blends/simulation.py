"""Simulated stamps of single, blended and separated sources, with their truth."""

from __future__ import annotations

__all__ = ["BLOCK", "simulate", "simulate_psfs"]

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..bad_input import BadInputError
from ..seeding import generator
from .drawing import effective_fwhm
from .knots import draw_knots
from .layout import Layout, draw_layout, observed_radius
from .lensing import sheared_layout, sheared_sources
from .light import Light, ParametricLight, PsfDraw, RealLight
from .noise import draw_noise
from .population import Sources, draw_sources
from .presets import BandModel, Preset
from .real_galaxies import RealGalaxies
from .segmentation import blendedness, central_snr, nearest_pair, segmentation
from .stamps import BlendStamps, BlendTruth

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

BLOCK = 256
"""Stamps whose random numbers are drawn together; a stamp depends on the seed and on its index alone."""

_REFERENCE = BandModel(colour=0.0, colour_scale=0.0, noise=1.0, psf=1.0)


def simulate(
    preset: Preset,
    count: int,
    seed: int,
    jobs: int = 1,
    *,
    bands: Sequence[str] | None = None,
    galaxies: str | pathlib.Path | None = None,
    shear: complex = 0.0,
    companions: bool = True,
) -> tuple[BlendStamps, BlendTruth]:
    """Simulate stamps.

    Parameters
    ----------
    preset : `Preset`
        See `.presets.load_preset`.
    count : `int`
        Number of stamps.
    seed : `int`
        Seed. The same seed gives the same bytes, whatever ``jobs``, and the first stamps are the same
        whatever ``count``.
    jobs : `int`, optional
        Processes.
    bands : `~collections.abc.Sequence` [`str`], optional
        Bands, each the reference band or one of ``preset.bands``. The truth is that of the reference band.
    galaxies : `str` or `pathlib.Path`, optional
        RealGalaxy catalog of GalSim, whose galaxies then replace the parametric ones, scaled to the same
        magnitudes.
    shear : `complex`, optional
        Reduced shear ``g1 + i g2`` of the whole scene about the middle of the stamp: of the galaxies and of
        all positions (see `.lensing`). PSF and noise stay, and without shear the bytes do.
    companions : `bool`, optional
        Whether companions are drawn. Without them the same central sources are alone, in the same noise.

    Returns
    -------
    stamps : `BlendStamps`
        Images of shape (N, S, S), or (N, B, S, S) where bands were asked for.
    truth : `BlendTruth`
        What is in them.

    Raises
    ------
    BadInputError
        If a band is unknown, the catalog cannot be read, the shear is not below 1, or galaxies of a catalog
        are to be sheared.
    """
    _check_shear(shear, galaxies)
    models = None if bands is None else [_band(preset, band) for band in bands]
    task = functools.partial(_block, preset, seed, _Options(models, galaxies, complex(shear), companions))
    todo = [(start // BLOCK, min(BLOCK, count - start)) for start in range(0, count, BLOCK)]
    if not todo:
        raise BadInputError("blend simulation, count", "at least 1 stamp", str(count))
    if jobs <= 1:
        return _gathered(map(task, todo))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return _gathered(pool.map(task, todo))


def simulate_psfs(preset: Preset, count: int, seed: int) -> F32:
    """Return the PSFs of the stamps that `simulate` makes with the same arguments.

    Parameters
    ----------
    preset, count, seed
        As for `simulate`.

    Returns
    -------
    images : `numpy.ndarray`, (N, S, S), float32
        A point source of unit flux in the middle of a stamp without padding, response of the pixel included.
    """
    starts = range(0, count, BLOCK)
    return np.concatenate([_psf_images(preset, seed, s // BLOCK, min(BLOCK, count - s)) for s in starts])


def _psf_images(preset: Preset, seed: int, block: int, count: int) -> F32:
    psf = _psfs(preset, generator("blends", preset.name, seed, block, "psf"))[:count]
    sources = draw_sources(preset.population, count, generator("unused"))
    stars = dataclasses.replace(sources, star=np.ones_like(sources.star))
    middle = np.full((count, 1), 0.5 * (preset.size - 1))
    with threadpool_limits(1):
        return ParametricLight(preset).draw(stars, np.ones((count, 1)), middle, middle, psf)[:, 0]


@dataclasses.dataclass(frozen=True)
class _Options:
    bands: list[BandModel] | None
    galaxies: str | pathlib.Path | None
    shear: complex
    companions: bool


def _check_shear(shear: complex, galaxies: str | pathlib.Path | None) -> None:
    if not abs(shear) < 1.0:
        raise BadInputError("blend simulation, shear", "a reduced shear below 1", str(shear))
    if shear and galaxies:
        raise BadInputError("blend simulation, shear", "parametric galaxies", f"those of {galaxies}")


def _band(preset: Preset, name: str) -> BandModel:
    models = {preset.band: _REFERENCE, **preset.bands} if preset.band else preset.bands
    if name not in models:
        known = ", ".join(models) or "no bands"
        raise BadInputError(f"blend preset {preset.name!r}, bands", f"of {known}", repr(name))
    return models[name]


def _gathered(parts: Iterable[tuple[BlendStamps, BlendTruth]]) -> tuple[BlendStamps, BlendTruth]:
    stamps, truths = zip(*parts, strict=True)
    return BlendStamps.joined(stamps), BlendTruth.joined(truths)


def _block(
    preset: Preset,
    seed: int,
    options: _Options,
    todo: tuple[int, int],
) -> tuple[BlendStamps, BlendTruth]:
    """Simulate one block: the numbers of all its stamps are drawn, and the first ``todo[1]`` are made."""
    (block, count), bands, galaxies = todo, options.bands, options.galaxies
    rng = functools.partial(generator, "blends", preset.name, seed, block)
    light_of: Light = RealLight(preset, _catalog(galaxies)) if galaxies else ParametricLight(preset)
    drawn = draw_sources(preset.population, BLOCK, rng("sources"))
    # A stream of their own: smooth and knotty galaxies are otherwise the same.
    drawn = dataclasses.replace(drawn, knots=draw_knots(preset.population, drawn.star, rng("knots")))
    sources, galaxy = light_of.assigned(drawn, rng("galaxies"))
    psf, sigma = _psfs(preset, rng("psf")), _sigmas(preset, rng("sigma"))
    radius = observed_radius(sources.radius / preset.pixel_scale, psf.fwhm[:, None])
    layout = draw_layout(preset, np.minimum(radius, preset.widest), rng("layout"))
    if options.shear:
        sources = sheared_sources(sources, options.shear)
        layout = sheared_layout(layout, preset.centre, options.shear)
    if not options.companions:
        layout = layout.without_companions()
    made = slice(0, count)
    sources, layout, psf, sigma = sources[made], layout[made], psf[made], sigma[made]
    flux = 10.0 ** (-0.4 * (sources.magnitude - preset.zero_point))
    flux = np.where(np.isnan(layout.x), np.nan, flux)

    def light(band: BandModel) -> F32:
        x, y = layout.x - preset.padding, layout.y - preset.padding
        own = light_of.draw(sources, _flux_in(band, sources, flux), x, y, psf.scaled(band.psf))
        return np.pad(own, ((0, 0), (0, 0), *2 * [(preset.padding, preset.padding)]))

    with threadpool_limits(1):
        reference = light(_REFERENCE)
        seen = [light(band).sum(axis=1) for band in bands or []] or [reference.sum(axis=1)]
    stamps = _observed(preset, seen, bands or [_REFERENCE], sigma, psf.fwhm, rng("noise"))
    group = galaxy[made] if galaxies else block * BLOCK + np.arange(count)
    truth = _truth(layout, flux, reference, sigma.astype(np.float32), group)
    return (stamps if bands else _without_bands(stamps)), truth


@functools.lru_cache(1)
def _catalog(path: str | pathlib.Path) -> RealGalaxies:
    return RealGalaxies(path)


def _psfs(preset: Preset, rng: np.random.Generator) -> PsfDraw:
    fwhm = rng.uniform(*preset.psf.fwhm, BLOCK) / preset.pixel_scale
    shear = preset.psf.ellipticity * rng.normal(size=(BLOCK, 2)).view(np.complex128)[:, 0]
    return PsfDraw(fwhm, shear, preset.psf.fwhm[0] / preset.pixel_scale)


def _sigmas(preset: Preset, rng: np.random.Generator) -> F64:
    low, high = preset.noise.sigma
    return np.asarray(low * (high / low) ** rng.random(BLOCK))


def _flux_in(band: BandModel, sources: Sources, flux: F64) -> F64:
    colour = band.colour + band.colour_scale * sources.colour
    return np.asarray(flux * 10.0 ** (-0.4 * colour))


def _observed(
    preset: Preset, light: list[F32], bands: list[BandModel], sigma: F64, fwhm: F64, rng: np.random.Generator
) -> BlendStamps:
    """Return the stamps with their noise, with an axis of bands."""
    rms = np.stack([sigma * band.noise for band in bands], axis=1).astype(np.float32)
    width = np.stack([effective_fwhm(preset.psf, fwhm * band.psf) for band in bands], axis=1)
    images = np.stack(light, axis=1)
    for k, image in enumerate(images):  # one after another: a stamp does not depend on how many there are
        image += rms[k, :, None, None] * draw_noise(image.shape, preset.noise.correlation, rng)
    return BlendStamps(images, rms, width)


def _without_bands(stamps: BlendStamps) -> BlendStamps:
    return BlendStamps(stamps.images[:, 0], stamps.noise_sigma[:, 0], stamps.psf_fwhm[:, 0])


def _truth(layout: Layout, flux: F64, light: F32, sigma: F32, group: NDArray[np.int64]) -> BlendTruth:
    separation, ratio = nearest_pair(layout.x, layout.y, flux)
    return BlendTruth(
        kind=layout.kind,
        n_sources=layout.n_sources,
        x=layout.x,
        y=layout.y,
        flux=flux,
        segmentation=segmentation(light, sigma),
        blendedness=blendedness(light),
        separation=separation,
        flux_ratio=ratio,
        snr=central_snr(light, sigma),
        group=group.astype(np.int64),
    )
