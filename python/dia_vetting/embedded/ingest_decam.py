"""Writing real DECam exposures into a butler repository of the same kind as the simulated survey's."""

from __future__ import annotations

__all__ = ["EXPOSURE_CALIBRATION", "IngestSummary", "ingest_decam"]

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astro_metadata_translator import ObservationInfo, makeObservationInfo
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack
from astropy.time import Time
from lsst.daf.butler import Butler
from lsst.images import Box, VisitImage

from ..errors import BadInputError
from ..images import detector_projection, make_visit_image
from ..planes import Planes
from ..progress import progress
from ..tables import Column, TableSchema
from .camera import make_detector
from .decam import DecamFileError, DecamImage, find_triples, read_triple
from .decam_calibration import NoZeroPointError, ZeroPoint, calibrate
from .instruments import DECam
from .psf_fitting import PsfFit, PsfFitConfig, PsfKind, fit_psf
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
from .tract_geometry import TractGeometry

_LOG = logging.getLogger(__name__)

_PIXEL_SCALE = 0.2626
_AB_NANOJANSKY = 31.4

EXPOSURE_CALIBRATION = TableSchema(
    "exposure_calibration",
    (
        Column("visit", "i8", "EXPNUM"),
        Column("detector", "i8", "CCDNUM"),
        Column("band", "U", "Band"),
        Column("role", "U", "science or template"),
        Column("zeroPoint", "f8", "AB magnitude of 1 ADU in the whole exposure", "mag"),
        Column("zeroPointSource", "U", "header, common stars, or header and common stars"),
        Column("zeroPointStars", "i8", "Stars in common with other exposures of the band"),
        Column("zeroPointErr", "f8", "Its error relative to these exposures; NaN without stars", "mag"),
        Column("zeroPointOffset", "f8", "It minus that in the header; NaN without one", "mag"),
        Column("psfModel", "U", "pixels, moffat or default (no star)"),
        Column("psfStars", "i8", "Stars of the PSF"),
        Column("psfFwhm", "f8", "Width of the PSF", "pix"),
        Column("noise", "f8", "Noise of a PSF flux on blank sky", "nJy"),
        Column("pipeline", "U", "Version of the Community Pipeline"),
        Column("file", "U", "Name of the image file"),
    ),
)


@dataclasses.dataclass
class IngestSummary:
    """What was ingested, and what could not be.

    Parameters
    ----------
    run, chain
        Collections.
    calibration
        One row per image, of `EXPOSURE_CALIBRATION`.
    made
        Number of images that this call wrote; the others were there.
    errors
        What was wrong with the files that were left out.
    """

    run: str
    chain: str
    calibration: Table
    made: int
    errors: list[BadInputError]


@dataclasses.dataclass(frozen=True)
class _Calibrated:
    """An image with its PSF and zero point; fluxes of ``planes`` in nJy."""

    image: DecamImage
    fit: PsfFit
    zero_point: ZeroPoint
    planes: Planes
    noise: float

    @property
    def visit(self) -> int:
        return self.image.visit


def ingest_decam(
    folder: str | Path, root: str | Path, templates: int = 1, template_visits: Sequence[int] = ()
) -> IngestSummary:
    """Read the DECam exposures of a folder into a repository.

    Parameters
    ----------
    folder
        Holds ``ooi``, ``ood`` and ``oow`` files.
    root
        Folder of the repository; made if it is absent.
    templates
        Visits of each band that become ``template_visit_image``: of those that cover the most sky (within
        10 %), the ones with the least noise. All others are science. What the repository has keeps its role.
    template_visits
        Visits that become templates whatever their noise; in their bands ``templates`` does not count.

    Returns
    -------
    summary
        Bad files are left out and listed in it.

    Raises
    ------
    BadInputError
        If there is no folder, no FITS file in it, no usable exposure at all, or a visit of
        ``template_visits`` is not there or is science in the repository already.
    """
    triples, errors = find_triples(Path(folder))
    problems: list[BadInputError] = list(errors)
    measured: list[tuple[DecamImage, PsfFit]] = []
    with progress(len(triples), "reading exposures") as advance:
        for triple in triples:
            try:
                measured += [(image, _fit(image)) for image in read_triple(triple)]
            except DecamFileError as error:
                problems.append(error)
            advance()
    calibrated = []
    for (image, fit), zero_point in zip(measured, calibrate(measured), strict=True):
        if isinstance(zero_point, NoZeroPointError):
            problems.append(zero_point)
        else:
            calibrated.append(_calibrated(image, fit, zero_point))
    if not calibrated:
        found = f"{len(problems)} unusable ones, the first: {problems[0] if problems else None}"
        raise BadInputError(str(folder), "at least one usable DECam exposure", found)
    return _write(root, calibrated, templates, template_visits, problems)


def _fit(image: DecamImage) -> PsfFit:
    fit = fit_psf(image.planes, PsfFitConfig(default_fwhm=image.fwhm or 4.0))
    if fit.kind is not PsfKind.PIXELS:
        _LOG.warning(
            "%s: %d stars only, so the PSF is %s.",
            image.source,
            fit.n_stars,
            "a constant Moffat profile"
            if fit.kind is PsfKind.MOFFAT
            else "a round one of the header's width",
        )
    return fit


def _calibrated(image: DecamImage, fit: PsfFit, zero_point: ZeroPoint) -> _Calibrated:
    scale = np.float32(10.0 ** (-0.4 * (zero_point.magnitude - _AB_NANOJANSKY)))
    planes = Planes(image.planes.image * scale, image.planes.variance * scale**2, image.planes.mask)
    ny, nx = planes.shape
    area = float(fit.psf.effective_area(nx / 2, ny / 2)[0])
    noise = float(np.sqrt(np.nanmedian(planes.variance) * area))
    return _Calibrated(image, fit, zero_point, planes, noise)


def _write(
    root: str | Path,
    images: list[_Calibrated],
    templates: int,
    template_visits: Sequence[int],
    problems: list[BadInputError],
) -> IngestSummary:
    butler = open_repository(root)
    run, name = "DECam/exposures", "DECam/defaults"
    chain(butler, name, [run])
    register_visits(butler, DECam(), _observed(images))
    register_tract(butler, _kept_geometry(butler, run) or _geometry(images), run)
    roles = _roles(butler, run, images, templates, template_visits)
    made, rows = 0, []
    for item in images:
        data_id = {"instrument": "DECam", "visit": item.visit, "detector": item.image.detector}
        dataset_type = "template_visit_image" if roles[item.visit] == "template" else "visit_image"
        rows.append(_row(item, roles[item.visit]))
        put_once(butler, rows[-1].copy(), "exposure_calibration", run, data_id)
        if missing(butler, dataset_type, run, data_id):
            made += put_once(butler, _visit_image(item), dataset_type, run, data_id)
        _report(item, roles[item.visit])
    return IngestSummary(run, name, vstack(rows), made, problems)


def _report(item: _Calibrated, role: str) -> None:
    zero_point = item.zero_point
    _LOG.info(
        "visit %d, detector %d, %s, %s: zero point %.3f from %s (%d stars), PSF %s (%d stars), FWHM %.2f px",
        item.visit,
        item.image.detector,
        item.image.band,
        role,
        zero_point.magnitude,
        zero_point.source,
        zero_point.n_stars,
        item.fit.kind,
        item.fit.n_stars,
        item.fit.fwhm,
    )


def _roles(
    butler: Butler, run: str, images: list[_Calibrated], templates: int, template_visits: Sequence[int]
) -> dict[int, str]:
    """Return science or template by visit."""
    roles: dict[int, str] = {}
    for role, dataset_type in (("science", "visit_image"), ("template", "template_visit_image")):
        found = butler.query_datasets(dataset_type, collections=run, explain=False)
        roles |= {int(ref.dataId["visit"]): role for ref in found}
    area: dict[int, int] = {}
    noise: dict[int, list[float]] = {}
    band: dict[int, str] = {}
    for item in images:
        area[item.visit] = area.get(item.visit, 0) + item.planes.image.size
        noise.setdefault(item.visit, []).append(item.noise)
        band[item.visit] = item.image.band
    for visit in template_visits:
        if visit not in band or roles.get(visit) == "science":
            instead = f"{roles[visit]} already" if visit in roles else f"usable visits {sorted(band)}"
            raise BadInputError(
                "template visits", f"a usable exposure of visit {visit}, not science", instead
            )
    for name in sorted(set(band.values())):
        visits = [visit for visit in band if band[visit] == name]
        wide = [v for v in visits if area[v] >= 0.9 * max(area[v] for v in visits)]
        order = sorted(wide, key=lambda v: (float(np.median(noise[v])), v))
        have = [v for v in visits if roles.get(v) == "template"]
        named = [v for v in visits if v in template_visits]
        least_noise = [v for v in order if v not in roles][: max(templates - len(have), 0)]
        chosen = {*have, *(named or least_noise)}
        if chosen == set(visits):
            _LOG.warning("All exposures of band %s are templates: there is none to subtract from.", name)
        roles |= {v: roles.get(v, "template" if v in chosen else "science") for v in visits}
    return roles


def _corners(image: DecamImage) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    ny, nx = image.planes.shape
    x, y = [-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5]
    ra, dec = image.wcs.all_pix2world(x, y, 0)
    return ra, dec


def _rotation(image: DecamImage) -> float:
    """Return the angle of +y from north towards east, deg."""
    ny, nx = image.planes.shape
    ra, dec = image.wcs.all_pix2world([nx / 2, nx / 2], [ny / 2, ny / 2 + 1], 0)
    places = SkyCoord(ra, dec, unit="deg")
    return float(places[0].position_angle(places[1]).deg)


def _observed(images: list[_Calibrated]) -> list[ObservedVisit]:
    by_visit: dict[int, list[DecamImage]] = {}
    for item in images:
        by_visit.setdefault(item.visit, []).append(item.image)
    return [
        ObservedVisit(
            visit=visit,
            physical_filter=parts[0].physical_filter,
            mjd_begin=parts[0].mjd_begin,
            mjd_end=parts[0].mjd_end,
            exposure_time=parts[0].exposure_time,
            ra=parts[0].ra,
            dec=parts[0].dec,
            rotation=_rotation(parts[0]),
            airmass=parts[0].airmass,
            target=parts[0].target,
            program=parts[0].program,
            reason="science",
            simulated=False,
            regions={part.detector: _corners(part) for part in parts},
        )
        for visit, parts in sorted(by_visit.items())
    ]


def _kept_geometry(butler: Butler, run: str) -> TractGeometry | None:
    """Return the tract of an earlier call, which later images share."""
    for ref in butler.query_datasets("tract_geometry", collections=run, explain=False):
        return TractGeometry.from_dict(butler.get(ref))
    return None


def _geometry(images: list[_Calibrated]) -> TractGeometry:
    """Return the smallest tract that holds all images, with a margin, in patches of at most 1500 pixels."""
    corners = [_corners(item.image) for item in images]
    every_ra, every_dec = (np.concatenate([c[axis] for c in corners]) for axis in (0, 1))
    places = SkyCoord(every_ra, every_dec, unit="deg")
    middle = places.cartesian.mean()
    ra = float(np.degrees(np.arctan2(middle.y, middle.x)).value) % 360.0
    dec = float(np.degrees(np.arctan2(middle.z, np.hypot(middle.x, middle.y))).value)
    east, north = SkyCoord(ra, dec, unit="deg").spherical_offsets_to(places)
    reach = [2 * float(np.abs(side.arcsec).max()) / _PIXEL_SCALE + 40 for side in (north, east)]
    ny, nx = (int(np.ceil(side)) for side in reach)
    patch = -(-max(nx, ny) // -(-max(nx, ny) // 1500))
    return TractGeometry("embedded_decam_v1", 0, ra, dec, _PIXEL_SCALE, (ny, nx), patch, 50)


def _row(item: _Calibrated, role: str) -> Table:
    zero_point = item.zero_point
    values: Mapping[str, Any] = {
        "visit": item.visit,
        "detector": item.image.detector,
        "band": item.image.band,
        "role": role,
        "zeroPoint": zero_point.magnitude,
        "zeroPointSource": str(zero_point.source),
        "zeroPointStars": zero_point.n_stars,
        "zeroPointErr": zero_point.error,
        "zeroPointOffset": zero_point.offset,
        "psfModel": str(item.fit.kind),
        "psfStars": item.fit.n_stars,
        "psfFwhm": item.fit.fwhm,
        "noise": item.noise,
        "pipeline": item.image.version,
        "file": Path(item.image.source).name,
    }
    return EXPOSURE_CALIBRATION.build({name: [value] for name, value in values.items()})


def _visit_image(item: _Calibrated) -> VisitImage:
    image = item.image
    bbox = Box.from_shape(item.planes.shape)
    scale = 10.0 ** (-0.4 * (item.zero_point.magnitude - _AB_NANOJANSKY))
    return make_visit_image(
        item.planes,
        sky_projection=detector_projection(image.wcs, "DECam", image.visit, image.detector, bbox),
        psf=item.fit.psf,
        detector=make_detector(
            "DECam",
            image.detector,
            DECam.detectors[image.detector],
            bbox,
            visit=image.visit,
            pixel_size=0.015,
            pixel_scale=_PIXEL_SCALE,
        ),
        obs_info=_observation(image),
        band=image.band,
        flux_per_electron=scale / image.gain,
        metadata={
            "PSF_MODEL": str(item.fit.kind),
            "PSF_STARS": item.fit.n_stars,
            "PSF_FWHM": item.fit.fwhm,
            "PSF_RESIDUAL": item.fit.residual,
            "ZERO_POINT": item.zero_point.magnitude,
            "ZERO_POINT_SOURCE": str(item.zero_point.source),
            "PLVER": image.version,
        },
    )


def _observation(image: DecamImage) -> ObservationInfo:
    return makeObservationInfo(
        telescope="CTIO 4.0-m telescope",
        instrument="DECam",
        exposure_id=image.visit,
        visit_id=image.visit,
        observation_id=str(image.visit),
        exposure_group=str(image.visit),
        physical_filter=image.physical_filter,
        datetime_begin=Time(image.mjd_begin, format="mjd", scale="tai"),
        datetime_end=Time(image.mjd_end, format="mjd", scale="tai"),
        exposure_time=image.exposure_time * u.s,
        boresight_airmass=image.airmass,
        tracking_radec=SkyCoord(image.ra, image.dec, unit="deg"),
        detector_num=image.detector,
        detector_unique_name=DECam.detectors[image.detector],
        object=image.target,
        observing_day=day_obs(image.mjd_begin),
        observation_type="science",
        science_program=image.program,
        has_simulated_content=False,
        can_see_sky=True,
    )
