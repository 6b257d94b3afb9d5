"""Writing the simulated survey into a butler repository."""

from __future__ import annotations

__all__ = ["SurveySummary", "make_survey"]

import collections
import dataclasses
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astro_metadata_translator import ObservationInfo, makeObservationInfo
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time
from lsst.daf.butler import Butler
from lsst.images import Box, VisitImage
from threadpoolctl import threadpool_limits

from .. import __version__
from ..errors import BadInputError
from ..images import detector_projection, make_visit_image
from .camera import make_detector
from .instruments import EmbeddedInstrument, instrument_class
from .psf_fitting import PsfFit, PsfFitConfig, fit_psf
from .repository import (
    ObservedVisit,
    chain,
    day_obs,
    missing,
    open_repository,
    put_once,
    register_tract,
    register_visits,
)
from .survey import (
    Scene,
    SimulatedImage,
    SurveyConfig,
    Visit,
    list_visits,
    simulate_scene,
    simulate_visit,
)
from .survey.geometry import detector_center, sky_extent, written_wcs
from .tract_geometry import TractGeometry

_LOG = logging.getLogger(__name__)

_TRUTH = ("sim_truth_source", "sim_truth_artefact", "sim_truth_psf")


@dataclasses.dataclass
class SurveySummary:
    """What a survey holds.

    Parameters
    ----------
    instrument
        Name of the instrument.
    visit_run, truth_run, chain
        Collections: images, truth, and both.
    images
        Number of images by dataset type.
    made
        Number of images that this call made; the others were there.
    causes
        Number of artefacts by cause, and of these, how many the mask says.
    sources
        Number of appearances of what varies, by kind.
    """

    instrument: str
    visit_run: str
    truth_run: str
    chain: str
    images: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    made: int = 0
    causes: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    sources: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def table(self) -> Table:
        """Return the counts as a table: what, number, and how many of them the masks know."""
        rows = [(kind, number, "") for kind, number in sorted(self.sources.items())]
        rows += [(cause, total, str(known)) for cause, (total, known) in sorted(self.causes.items())]
        return Table(rows=rows or None, names=["what", "appearances", "masked"], dtype=["U32", "i8", "U8"])


def make_survey(root: str | Path, config: SurveyConfig, seed: int, jobs: int = 1) -> SurveySummary:
    """Write a simulated survey into a repository.

    Parameters
    ----------
    root
        Folder of the repository; made if it is absent.
    config
        The survey.
    seed
        Its seed. The same seed gives the same pixels, whatever ``jobs``.
    jobs
        Processes that simulate.

    Returns
    -------
    summary
        What the repository holds now. What was there is not made again.

    Raises
    ------
    BadInputError
        If the folder is no repository, or holds another survey of this instrument.
    """
    butler = open_repository(root)
    instrument = instrument_class(config.instrument)()
    summary = SurveySummary(
        instrument=instrument.name,
        visit_run=f"{instrument.name}/survey",
        truth_run=f"{instrument.name}/truth",
        chain=f"{instrument.name}/defaults",
    )
    chain(butler, summary.chain, [summary.visit_run, summary.truth_run])
    _check_same(butler, config, seed, summary)
    visits = list_visits(config, seed)
    _register(butler, instrument, config, visits, summary)
    scene = simulate_scene(config, seed)
    tract = _geometry(config)
    ids = {"skymap": tract.skymap, "tract": tract.tract}
    put_once(butler, scene.truth_table(), "sim_truth_object", summary.truth_run, ids)
    todo = [
        (visit, detector)
        for visit in visits
        for detector in config.detectors
        if missing(butler, _image_type(visit), summary.visit_run, _data_id(summary, visit, detector))
    ]
    for image, fit in _simulated(config, seed, scene, todo, jobs):
        _put(butler, config, image, fit, summary)
    _count(butler, config, visits, summary)
    return summary


def _image_type(visit: Visit) -> str:
    return "template_visit_image" if visit.is_template else "visit_image"


def _data_id(summary: SurveySummary, visit: Visit, detector: int) -> dict[str, Any]:
    return {"instrument": summary.instrument, "visit": visit.visit, "detector": detector}


def _check_same(butler: Butler, config: SurveyConfig, seed: int, summary: SurveySummary) -> None:
    """Keep the configuration, or see that it is the one that is kept."""
    ids = {"instrument": summary.instrument}
    instrument_class(summary.instrument)().register(butler.registry)
    wanted = {"seed": seed, "config": config.model_dump(mode="json")}
    if not put_once(butler, {**wanted, "version": __version__}, "survey_config", summary.visit_run, ids):
        found = butler.get("survey_config", ids, collections=summary.visit_run)
        if {key: found[key] for key in wanted} != wanted:
            raise BadInputError(
                f"survey of {summary.instrument} in this repository",
                f"the configuration and seed that it was begun with (seed {found['seed']})",
                f"another configuration, or seed {seed}",
            )


def _geometry(config: SurveyConfig) -> TractGeometry:
    """Return the tract: all the sky that any visit sees; patches of some 1200 pixels divide its side."""
    scale = config.camera.pixel_scale
    width, height = (int(np.ceil(extent / scale)) for extent in sky_extent(config))
    shorter = min(width, height)
    patch = -(-shorter // max(1, round(shorter / 1200)))
    return TractGeometry(
        skymap=f"embedded_{config.instrument.lower()}_v1",
        tract=0,
        ra=config.sky.ra,
        dec=config.sky.dec,
        pixel_scale=scale,
        shape=(height, width),
        patch_size=patch,
        border=50,
    )


def _register(
    butler: Butler,
    instrument: EmbeddedInstrument,
    config: SurveyConfig,
    visits: list[Visit],
    summary: SurveySummary,
) -> None:
    for detector in config.detectors:
        instrument.register_detector(butler.registry, detector, _detector_name(detector))
    register_visits(butler, instrument, [_observed(config, visit) for visit in visits])
    register_tract(butler, _geometry(config), summary.visit_run)


def _detector_name(detector: int) -> str:
    return f"D{detector:02d}"


def _observed(config: SurveyConfig, visit: Visit) -> ObservedVisit:
    ny, nx = config.shape
    x, y = [-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5]
    return ObservedVisit(
        visit=visit.visit,
        physical_filter=visit.band,
        mjd_begin=visit.mjd_begin,
        mjd_end=visit.mjd_end,
        exposure_time=visit.exposure_time,
        ra=visit.ra,
        dec=visit.dec,
        rotation=visit.rotation,
        airmass=visit.airmass,
        target="simulated field",
        program="template" if visit.is_template else "science",
        reason=f"{visit.psf_kind} PSF",
        simulated=True,
        regions={d: written_wcs(config, visit, d).all_pix2world(x, y, 0) for d in config.detectors},
    )


def _simulated(
    config: SurveyConfig, seed: int, scene: Scene, todo: list[tuple[Visit, int]], jobs: int
) -> Iterator[tuple[SimulatedImage, PsfFit]]:
    """Yield the images in the order of ``todo``; no more than a few wait in memory."""
    from ..progress import progress

    with progress(len(todo), "simulating images") as advance:
        if jobs <= 1:
            for visit, detector in todo:
                yield _simulate(config, seed, scene, visit, detector)
                advance()
            return
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            waiting: collections.deque[Future[tuple[SimulatedImage, PsfFit]]] = collections.deque()
            for visit, detector in todo:
                waiting.append(pool.submit(_simulate, config, seed, scene, visit, detector))
                if len(waiting) > jobs + 1:
                    yield waiting.popleft().result()
                    advance()
            while waiting:
                yield waiting.popleft().result()
                advance()


def _simulate(
    config: SurveyConfig, seed: int, scene: Scene, visit: Visit, detector: int
) -> tuple[SimulatedImage, PsfFit]:
    with threadpool_limits(1):
        image = simulate_visit(config, seed, scene, visit, detector)
        expected = visit.seeing / config.camera.pixel_scale
        return image, fit_psf(image.planes, PsfFitConfig(default_fwhm=expected))


def _put(
    butler: Butler, config: SurveyConfig, image: SimulatedImage, fit: PsfFit, summary: SurveySummary
) -> None:
    """Put an image and its truth; the image last, so that what has one is complete."""
    data_id = _data_id(summary, image.visit, image.detector)
    truth = (image.truth_source, image.truth_artefact, image.truth_psf)
    for name, table in zip(_TRUTH, truth, strict=True):
        put_once(butler, table, name, summary.truth_run, data_id)
    put_once(butler, _visit_image(config, image, fit), _image_type(image.visit), summary.visit_run, data_id)
    summary.made += 1
    _LOG.debug("%s: PSF %s from %d stars, FWHM %.2f px", data_id, fit.kind, fit.n_stars, fit.fwhm)
    if fit.kind != "pixels":
        _LOG.warning("%s: only %d stars, so the PSF is %s.", data_id, fit.n_stars, fit.kind)


def _visit_image(config: SurveyConfig, image: SimulatedImage, fit: PsfFit) -> VisitImage:
    visit, detector = image.visit, image.detector
    camera = config.camera
    bbox = Box.from_shape(config.shape)
    pitch = camera.pixel_pitch / 1000.0
    x, y = detector_center(config, detector)
    return make_visit_image(
        image.planes,
        sky_projection=detector_projection(image.wcs, config.instrument, visit.visit, detector, bbox),
        psf=fit.psf,
        detector=make_detector(
            config.instrument,
            detector,
            _detector_name(detector),
            bbox,
            visit=visit.visit,
            centre=(x * pitch, y * pitch),
            pixel_size=pitch,
            pixel_scale=camera.pixel_scale,
        ),
        obs_info=_observation(config, visit, detector),
        band=visit.band,
        flux_per_electron=1.0 / image.gain,
        metadata={
            "PSF_MODEL": str(fit.kind),
            "PSF_STARS": fit.n_stars,
            "PSF_FWHM": fit.fwhm,
            "PSF_RESIDUAL": fit.residual,
            "SKY_LEVEL": image.sky_level,
        },
    )


def _observation(config: SurveyConfig, visit: Visit, detector: int) -> ObservationInfo:
    return makeObservationInfo(
        telescope=f"{config.instrument} telescope",
        instrument=config.instrument,
        exposure_id=visit.visit,
        visit_id=visit.visit,
        observation_id=str(visit.visit),
        exposure_group=str(visit.visit),
        physical_filter=visit.band,
        datetime_begin=Time(visit.mjd_begin, format="mjd", scale="tai"),
        datetime_end=Time(visit.mjd_end, format="mjd", scale="tai"),
        exposure_time=visit.exposure_time * u.s,
        boresight_airmass=visit.airmass,
        tracking_radec=SkyCoord(visit.ra, visit.dec, unit="deg"),
        detector_num=detector,
        detector_unique_name=_detector_name(detector),
        observing_day=day_obs(visit.mjd_begin),
        observation_type="science",
        science_program="template" if visit.is_template else "science",
        has_simulated_content=True,
        can_see_sky=True,
    )


def _count(butler: Butler, config: SurveyConfig, visits: list[Visit], summary: SurveySummary) -> None:
    """Count what the truth tables in the repository hold."""
    for visit in visits:
        for detector in config.detectors:
            data_id = _data_id(summary, visit, detector)
            summary.images[_image_type(visit)] += 1
            artefacts = butler.get("sim_truth_artefact", data_id, collections=summary.truth_run)
            for cause, masked in zip(artefacts["cause"], artefacts["masked"], strict=True):
                entry = summary.causes.setdefault(str(cause), [0, 0])
                entry[0] += 1
                entry[1] += int(masked)
            sources = butler.get("sim_truth_source", data_id, collections=summary.truth_run)
            summary.sources.update(str(kind) for kind in sources["kind"])
