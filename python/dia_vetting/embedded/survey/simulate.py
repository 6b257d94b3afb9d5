"""Images of the simulated survey, with everything that is true about them.

Typical use::

    config = load_config("lsst", size="demo")
    scene = simulate_scene(config, seed)          # scene.truth_table(): sim_truth_object
    for visit in list_visits(config, seed):
        for detector in config.detectors:
            image = simulate_visit(config, seed, scene, visit, detector)

Every draw belongs to (seed, purpose, visit, detector): the same call gives the same bytes in any order.
"""

from __future__ import annotations

__all__ = ["SimulatedImage", "simulate_scene", "simulate_visit"]

import dataclasses
import functools
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from ...planes import Planes
from ..schemas import SIM_TRUTH_PSF, SIM_TRUTH_SOURCE
from .artefacts import ImageContext, artefact_table
from .config import SurveyConfig
from .exposure import calibrated, expose
from .geometry import TrueWcs, true_wcs
from .psf_model import VisitPsf, visit_psf
from .render import SourceList, draw_sources
from .scene import Scene, angle_on_image, band_magnitude, njy, simulate_scene
from .transients import draw_moving
from .visits import Visit, electrons_per_njy, list_visits, sky_electrons, sky_noise

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]

STAMP_LIMIT = 0.03
"""Surface brightness at which stamps of sources end, in units of the sky noise."""


@dataclasses.dataclass(frozen=True)
class SimulatedImage:
    """One detector of one visit.

    Parameters
    ----------
    visit
        When and where; all that ObservationInfo needs.
    detector
        Id of the detector.
    planes
        Image and variance (float32, nJy, sky subtracted; NaN where NO_DATA) and mask (`MaskBit`).
    wcs
        The WCS to write: RA---TAN-SIP, ``array_shape`` set; origin 0 for 0-based pixels.
    true_wcs
        Where things really fall. Truth only.
    psf
        The true PSF. Truth only.
    gain
        Electrons per nJy, as the image's calibration has it.
    sky_level
        Mean sky that was subtracted, nJy per pixel.
    truth_source, truth_artefact, truth_psf
        Tables of the schemas `SIM_TRUTH_SOURCE`, `SIM_TRUTH_ARTEFACT`, `SIM_TRUTH_PSF`.
    """

    visit: Visit
    detector: int
    planes: Planes
    wcs: WCS
    true_wcs: TrueWcs
    psf: VisitPsf
    gain: float
    sky_level: float
    truth_source: Table
    truth_artefact: Table
    truth_psf: Table


@dataclasses.dataclass(frozen=True)
class _Changing:
    """Point sources of one image that change, with fluxes in nJy; arrays of length N."""

    truth_id: NDArray[np.int64]
    kind: NDArray[np.str_]
    ra: F64
    dec: F64
    x: F64
    y: F64
    flux: F64
    template_flux: F64
    trail: F64


@functools.lru_cache(maxsize=8)
def _template_wcs(config_json: str, seed: int, band: str) -> list[tuple[Visit, tuple[TrueWcs, ...]]]:
    config = SurveyConfig.model_validate_json(config_json)
    visits = [v for v in list_visits(config, seed) if v.is_template and v.band == band]
    return [(v, tuple(true_wcs(config, seed, v, d) for d in config.detectors)) for v in visits]


def _template_mean(config: SurveyConfig, seed: int, band: str, ra: F64, dec: F64, at: Any) -> F64:
    """Average ``at(mjd)`` [N] over the template visits that cover each position; 0 where none does."""
    ny, nx = config.shape
    total, count = np.zeros(len(ra)), np.zeros(len(ra))
    for visit, detectors in _template_wcs(config.model_dump_json(), seed, band):
        covered = np.zeros(len(ra), bool)
        for wcs in detectors:
            x, y = wcs.sky_to_pixel(ra, dec)
            covered |= (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
        total += np.where(covered, at(visit.mjd), 0.0)
        count += covered
    return np.asarray(total / np.maximum(count, 1.0))


def _hidden(config: SurveyConfig, seed: int, scene: Scene, visit: Visit, wcs: TrueWcs) -> _Changing:
    transients = scene.transients
    peak = njy(band_magnitude(transients.magnitude, transients.color, visit.band))
    x, y = wcs.sky_to_pixel(transients.ra, transients.dec, transients.color)
    template = _template_mean(
        config, seed, visit.band, transients.ra, transients.dec, lambda mjd: peak * transients.brightness(mjd)
    )
    n = len(transients)
    flux = peak * transients.brightness(visit.mjd)
    kind = np.full(n, "hidden")
    return _Changing(
        transients.truth_id, kind, transients.ra, transients.dec, x, y, flux, template, np.zeros((n, 2))
    )


def _variables(
    config: SurveyConfig,
    seed: int,
    scene: Scene,
    visit: Visit,
    place: tuple[F64, F64],
    pixel: tuple[F64, F64],
) -> _Changing:
    """Return the variable objects; the flux is the part that changes, relative to the mean."""
    variability = scene.variability
    index = variability.index
    mean = scene.flux(visit.band)[index]
    ra, dec = place[0][index], place[1][index]
    template = _template_mean(config, seed, visit.band, ra, dec, lambda mjd: mean * variability.change(mjd))
    n = len(index)
    return _Changing(
        variability.truth_id,
        np.full(n, "variable"),
        ra,
        dec,
        pixel[0][index],
        pixel[1][index],
        mean * variability.change(visit.mjd),
        template,
        np.zeros((n, 2)),
    )


def _moving(config: SurveyConfig, seed: int, visit: Visit, detector: int, wcs: TrueWcs) -> _Changing:
    objects = draw_moving(config, seed, visit, detector, wcs)
    x, y = wcs.sky_to_pixel(objects.ra, objects.dec, objects.color)
    flux = njy(band_magnitude(objects.magnitude, objects.color, visit.band))
    n = len(objects.ra)
    kind = np.full(n, "moving")
    return _Changing(objects.truth_id, kind, objects.ra, objects.dec, x, y, flux, np.zeros(n), objects.trail)


def _static_sources(
    scene: Scene, band: str, wcs: TrueWcs, x: F64, y: F64, scale: float, per_njy: float
) -> SourceList:
    n = len(scene)
    return SourceList(
        x=x,
        y=y,
        flux=scene.flux(band) * per_njy,
        bulge_fraction=scene.bulge_fraction,
        disc_radius=scene.disc_radius / scale,
        bulge_radius=scene.bulge_radius / scale,
        disc_axis_ratio=scene.disc_axis_ratio,
        bulge_axis_ratio=scene.bulge_axis_ratio,
        angle=angle_on_image(scene.position_angle, wcs.sky_to_pixel_matrix),
        trail_x=np.zeros(n),
        trail_y=np.zeros(n),
    )


def _truth_source(groups: list[_Changing], shape: tuple[int, int]) -> Table:
    """Stack the groups; keep what lies on the image and differs from the template at all."""
    stacked = {
        field.name: np.concatenate([getattr(g, field.name) for g in groups])
        for field in dataclasses.fields(_Changing)
    }
    difference = stacked["flux"] - stacked["template_flux"]
    x, y = stacked["x"], stacked["y"]
    keep = (x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5) & (difference != 0)
    columns = {name: stacked[name][keep] for name in ("truth_id", "kind", "ra", "dec", "x", "y")}
    length = np.hypot(*stacked["trail"].T)[keep]
    return SIM_TRUTH_SOURCE.build({**columns, "flux": difference[keep], "trail_length": length})


def _truth_psf(psf: VisitPsf) -> Table:
    x, y = psf.nodes()
    side = 2 * int(np.clip(np.ceil(4.0 * psf.fwhm.constant), 12, 32)) + 1
    return SIM_TRUTH_PSF.build({"x": x, "y": y, "stamp": psf.stamps(x, y, side)})


def _points(group: _Changing, per_njy: float) -> SourceList:
    return SourceList.points(group.x, group.y, group.flux * per_njy, *group.trail.T)


def _joined(lists: list[SourceList]) -> SourceList:
    names = [field.name for field in dataclasses.fields(SourceList)]
    return SourceList(*(np.concatenate([getattr(part, name) for part in lists]) for name in names))


def _bright(static: SourceList, n_stars: int, config: SurveyConfig, psf: VisitPsf) -> SourceList:
    """Return the stars near the image whose peak would reach half the full well."""
    stars = static[np.arange(n_stars)]
    ny, nx = config.shape
    peak = stars.flux * 0.8 / psf.fwhm.constant**2
    near = (np.abs(stars.x - 0.5 * nx) < 0.5 * nx + 200) & (np.abs(stars.y - 0.5 * ny) < 0.5 * ny + 200)
    return stars[near & (peak > 0.5 * config.camera.full_well)]


def simulate_visit(
    config: SurveyConfig, seed: int, scene: Scene, visit: Visit, detector: int
) -> SimulatedImage:
    """Simulate one detector of one visit.

    Parameters
    ----------
    config : `SurveyConfig`
        The survey.
    seed : `int`
        Its seed.
    scene : `Scene`
        From `simulate_scene` with the same arguments.
    visit : `Visit`
        One of `list_visits` with the same arguments.
    detector : `int`
        One of ``config.detectors``.

    Returns
    -------
    image : `SimulatedImage`
        Pixels and truth.
    """
    wcs = true_wcs(config, seed, visit, detector)
    psf = visit_psf(config, seed, visit, detector)
    per_njy = electrons_per_njy(config, visit, true=True)
    gain = electrons_per_njy(config, visit)
    noise, sky = sky_noise(config, visit), sky_electrons(config, visit)
    place = scene.position(visit.mjd)
    x, y = wcs.sky_to_pixel(*place, scene.color)
    groups = [
        _hidden(config, seed, scene, visit, wcs),
        _variables(config, seed, scene, visit, place, (x, y)),
        _moving(config, seed, visit, detector, wcs),
    ]
    static = _static_sources(scene, visit.band, wcs, x, y, config.camera.pixel_scale, per_njy)
    sources = _joined([static, *(_points(group, per_njy) for group in groups)])
    light = draw_sources(sources, psf, STAMP_LIMIT * noise)
    context = ImageContext(config, seed, visit, detector, noise, psf)
    bright = _bright(static, scene.n_stars, config, psf)
    electrons, mask, patches = expose(context, light, bright)
    image, variance = calibrated(context, electrons, mask)
    return SimulatedImage(
        visit=visit,
        detector=detector,
        planes=Planes(image, variance, mask),
        wcs=wcs.written,
        true_wcs=wcs,
        psf=psf,
        gain=gain,
        sky_level=sky / gain,
        truth_source=_truth_source(groups, config.shape),
        truth_artefact=artefact_table(patches, noise, gain),
        truth_psf=_truth_psf(psf),
    )
