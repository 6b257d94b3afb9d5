"""The visits of a survey: when, where to, in which band and under which sky."""

from __future__ import annotations

__all__ = ["PsfKind", "Visit", "electrons_per_njy", "list_visits", "sky_electrons", "sky_noise"]

import dataclasses
import datetime
import math
from typing import Literal

import numpy as np

from ...seeding import generator
from .config import Band, SurveyConfig

type PsfKind = Literal["nominal", "elongated", "donut"]

FIRST_SCIENCE_VISIT = 1001
FIRST_TEMPLATE_VISIT = 101


@dataclasses.dataclass(frozen=True)
class Visit:
    """One visit of the whole focal plane.

    Parameters
    ----------
    visit
        Id; templates from 101, science visits from 1001.
    is_template
        Whether it belongs to the template epoch.
    band
        Band, which is also the name of the physical filter.
    ra, dec
        Boresight, ICRS, deg.
    rotation
        Angle from north to the detector's +y axis, towards east, deg.
    mjd_begin, mjd_end
        MJD, TAI.
    exposure_time
        Seconds.
    airmass
        At the middle of the exposure.
    parallactic_angle
        Angle from north to the zenith, towards east, deg.
    seeing
        FWHM of the atmospheric PSF at the field centre, arcsec.
    sky_magnitude
        AB mag / arcsec^2.
    extinction
        Grey extinction by cloud, mag; calibrated away in the image.
    calibration_error
        Error of the image's zero point (true minus used), mag.
    psf_kind
        What is special about the PSF.
    """

    visit: int
    is_template: bool
    band: Band
    ra: float
    dec: float
    rotation: float
    mjd_begin: float
    mjd_end: float
    exposure_time: float
    airmass: float
    parallactic_angle: float
    seeing: float
    sky_magnitude: float
    extinction: float
    calibration_error: float
    psf_kind: PsfKind

    @property
    def mjd(self) -> float:
        """Middle of the exposure, MJD (TAI)."""
        return 0.5 * (self.mjd_begin + self.mjd_end)

    @property
    def day_obs(self) -> int:
        """Observing day as YYYYMMDD, of the MJD (TAI) minus 12 h."""
        day = datetime.date(1858, 11, 17) + datetime.timedelta(days=math.floor(self.mjd_begin - 0.5))
        return day.year * 10_000 + day.month * 100 + day.day


def electrons_per_njy(config: SurveyConfig, visit: Visit, *, true: bool = False) -> float:
    """Return how many electrons a flux of 1 nJy gives in a visit.

    Parameters
    ----------
    config, visit
        What and when.
    true
        What really happened, including the error of the calibration; the image's own idea by default.
    """
    magnitude = config.camera.zero_points[visit.band] - visit.extinction
    error = visit.calibration_error if true else 0.0
    return float(visit.exposure_time * 10.0 ** (0.4 * (magnitude + error - 31.4)))


def sky_electrons(config: SurveyConfig, visit: Visit) -> float:
    """Return the mean sky level of a visit, electron per pixel."""
    magnitude = config.camera.zero_points[visit.band] - visit.sky_magnitude
    return float(visit.exposure_time * config.camera.pixel_scale**2 * 10.0 ** (0.4 * magnitude))


def sky_noise(config: SurveyConfig, visit: Visit) -> float:
    """Return the rms of a blank pixel, electron."""
    return math.sqrt(sky_electrons(config, visit) + config.camera.read_noise**2)


def _psf_kinds(config: SurveyConfig, seed: int, count: int) -> list[PsfKind]:
    """Deal the special PSFs out: the ceiling of each fraction, to science visits drawn at random."""
    n_elongated = math.ceil(config.psf.elongated_fraction * count)
    n_donut = math.ceil(config.psf.donut_fraction * count)
    kinds: list[PsfKind] = ["elongated"] * n_elongated
    kinds += ["donut"] * n_donut
    kinds += ["nominal"] * max(count - len(kinds), 0)
    order = generator(seed, config.instrument, "psf kind").permutation(len(kinds))[:count]
    return [kinds[i] for i in order]


def _times(
    config: SurveyConfig, seed: int, purpose: str, start: float, span: float, count: int
) -> list[float]:
    """Spread the visits over nights, at hours of the night that differ; increasing."""
    rng = generator(seed, config.instrument, "times", purpose)
    night = np.floor(start + span * np.arange(count) / max(count, 1))
    seconds = config.observing.exposure_time + 20.0
    hours = rng.uniform(0.0, 0.25, count)
    times = np.sort(night + 0.05 + hours)
    gaps = np.maximum.accumulate(times - np.arange(count) * seconds / 86_400.0)
    return [float(t) for t in gaps + np.arange(count) * seconds / 86_400.0]


def _visit(
    config: SurveyConfig, seed: int, number: int, band: Band, begin: float, template: bool, kind: PsfKind
) -> Visit:
    rng = generator(seed, config.instrument, "visit", number)
    site = config.observing
    reach = site.template_dither if template else site.dither
    dither = rng.uniform(-reach, reach, 2) / 3600.0
    low, high = site.template_seeing if template else site.seeing
    airmass = float(site.airmass[0] + (site.airmass[1] - site.airmass[0]) * rng.beta(1.2, 2.0))
    return Visit(
        visit=number,
        is_template=template,
        band=band,
        ra=float((config.sky.ra + dither[0] / math.cos(math.radians(config.sky.dec))) % 360.0),
        dec=float(config.sky.dec + dither[1]),
        rotation=float(rng.uniform(-site.rotation, site.rotation)),
        mjd_begin=begin,
        mjd_end=begin + site.exposure_time / 86_400.0,
        exposure_time=site.exposure_time,
        airmass=airmass,
        parallactic_angle=float(rng.uniform(-180.0, 180.0)),
        seeing=float(low + (high - low) * rng.beta(1.6, 2.2)),
        sky_magnitude=site.sky_brightness[band] - float(rng.uniform(0.0, site.sky_scatter)),
        extinction=float(rng.uniform(*site.extinction)),
        calibration_error=float(rng.normal(0.0, config.noise.calibration)),
        psf_kind=kind,
    )


def list_visits(config: SurveyConfig, seed: int) -> list[Visit]:
    """List all visits of a survey.

    Parameters
    ----------
    config : `SurveyConfig`
        The survey.
    seed : `int`
        Its seed.

    Returns
    -------
    visits : `list` [`Visit`]
        Template visits first (``is_template``), then science visits, each in order of time; the bands take
        turns. Template visits never have a tracking error or a donut, as a template is selected for seeing.
    """
    bands = config.size.bands
    site = config.observing
    n_template, n_science = config.size.template_visits * len(bands), config.size.science_visits
    start = site.first_mjd - site.template_lead
    template_times = _times(config, seed, "template", start, site.template_span, n_template)
    science_times = _times(config, seed, "science", site.first_mjd, site.science_span, n_science)
    kinds = _psf_kinds(config, seed, n_science)
    visits = [
        _visit(config, seed, FIRST_TEMPLATE_VISIT + i, bands[i % len(bands)], time, True, "nominal")
        for i, time in enumerate(template_times)
    ]
    visits += [
        _visit(config, seed, FIRST_SCIENCE_VISIT + i, bands[i % len(bands)], time, False, kinds[i])
        for i, time in enumerate(science_times)
    ]
    return visits
