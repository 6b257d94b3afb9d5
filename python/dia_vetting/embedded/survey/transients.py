"""What varies in the sky by itself: hidden transients, variable stars and galaxy cores, moving objects."""

from __future__ import annotations

__all__ = ["MovingObjects", "Transients", "Variability", "draw_moving", "draw_transients", "draw_variability"]

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...seeding import generator, hash63_array
from .config import SurveyConfig
from .geometry import TrueWcs, offset_sky, sky_extent
from .visits import Visit

if TYPE_CHECKING:
    from .scene import Scene

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Transients:
    """Transients that nobody injected; arrays of length N.

    Parameters
    ----------
    truth_id
        Ids, int64.
    host
        Index of the host in the scene; -1 for none.
    ra, dec
        ICRS, deg.
    magnitude, color
        r at peak, and g - i, mag.
    peak
        Time of the peak, MJD.
    rise, decline
        Rise time and e-folding time of the decline, day.
    """

    truth_id: I64
    host: I64
    ra: F64
    dec: F64
    magnitude: F64
    color: F64
    peak: F64
    rise: F64
    decline: F64

    def __len__(self) -> int:
        return len(self.ra)

    @classmethod
    def none(cls) -> Transients:
        """Return no transients."""
        index, value = np.zeros(0, np.int64), np.zeros(0)
        return cls(index, index, value, value, value, value, value, value, value)

    def brightness(self, mjd: float) -> F64:
        """Return the flux over that at the peak: (1 + t / rise)^2 before it, exp(-t / decline) after."""
        phase = mjd - self.peak
        before = np.clip(1.0 + phase / self.rise, 0.0, 1.0) ** 2
        after = np.exp(-np.maximum(phase, 0.0) / self.decline)
        return np.where(phase < 0, before, np.where(after > 0.003, after, 0.0))


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float], count: int) -> F64:
    low, high = np.log(limits)
    return np.exp(rng.uniform(low, high, count))


def _offsets(rng: np.random.Generator, scene: Scene, host: I64) -> tuple[F64, F64]:
    """Draw offsets (east, north; arcsec) that follow the light of the disc or bulge of the hosts."""
    n = len(host)
    in_bulge = rng.random(n) < 0.5 * scene.bulge_fraction[host]
    major = np.where(in_bulge, scene.bulge_radius[host], scene.disc_radius[host])
    ratio = np.where(in_bulge, scene.bulge_axis_ratio[host], scene.disc_axis_ratio[host])
    distance = rng.gamma(2.0, major / 1.678, n)  # light of an exponential disc within r is a gamma law
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    along, across = distance * np.cos(angle), distance * ratio * np.sin(angle)
    pa = scene.position_angle[host]
    return along * np.sin(pa) + across * np.cos(pa), along * np.cos(pa) - across * np.sin(pa)


def draw_transients(config: SurveyConfig, seed: int, scene: Scene, megapixels: float) -> Transients:
    """Draw the hidden transients.

    Parameters
    ----------
    config, seed
        The survey.
    scene
        Its static sky.
    megapixels
        Area of the scene.

    Returns
    -------
    transients
        Peak magnitudes grow in number as 10^(0.3 m) towards the faint limit; hosts are drawn by the square
        root of their flux.
    """
    settings = config.transients
    rng = generator(seed, config.instrument, "hidden")
    n = int(rng.poisson(settings.hidden * megapixels))
    galaxies = np.arange(scene.n_stars, len(scene))
    hosted = (rng.random(n) < settings.hosted_fraction) & (galaxies.size > 0)
    host = np.full(n, -1, np.int64)
    if galaxies.size:
        weight = 10.0 ** (-0.2 * (scene.magnitude[galaxies] - scene.magnitude[galaxies].min()))
        drawn = rng.choice(galaxies, n, p=weight / weight.sum())
        host[hosted] = drawn[hosted]
    width, height = sky_extent(config)
    ra, dec = offset_sky(
        config.sky.ra, config.sky.dec, width * rng.uniform(-0.5, 0.5, n), height * rng.uniform(-0.5, 0.5, n)
    )
    at = np.flatnonzero(hosted)
    east, north = _offsets(rng, scene, host[at])
    dec[at] = scene.dec[host[at]] + north / 3600.0
    ra[at] = scene.ra[host[at]] + east / 3600.0 / np.cos(np.radians(dec[at]))
    rise, decline = (_log_uniform(rng, r, n) for r in (settings.rise, settings.decline))
    site = config.observing
    begin = site.first_mjd + rng.uniform(-0.4, 1.0, n) * site.science_span
    earlier = site.first_mjd - site.template_lead + rng.uniform(0.0, 1.0, n) * site.template_span
    bright, faint = settings.magnitude
    steps = rng.uniform(10.0 ** (0.3 * (bright - faint)), 1.0, n)
    return Transients(
        truth_id=hash63_array(n, seed, config.instrument, "hidden"),
        host=host,
        ra=ra,
        dec=dec,
        magnitude=faint + np.log10(steps) / 0.3,
        color=rng.normal(0.2, 0.4, n),
        peak=np.where(rng.random(n) < settings.template_fraction, earlier, begin),
        rise=rise,
        decline=decline,
    )


@dataclasses.dataclass(frozen=True)
class Variability:
    """Objects of the scene that vary; arrays of length N.

    Parameters
    ----------
    truth_id
        Ids, those of the objects, int64.
    index
        Of the object in the scene, int64.
    fraction
        Of the object's flux, how much varies (all of a star, the core of a galaxy).
    amplitude
        Half-amplitude, mag.
    period
        Time scale, day.
    phase
        Phases of the three harmonics, radian, [N, 3].
    """

    truth_id: I64
    index: I64
    fraction: F64
    amplitude: F64
    period: F64
    phase: F64

    def change(self, mjd: float) -> F64:
        """Return the flux at a time minus the mean flux, over the mean flux of the whole object."""
        turn = 2.0 * np.pi * mjd / self.period
        wave = np.sin(turn + self.phase[:, 0]) + 0.5 * np.sin(2.0 * turn + self.phase[:, 1])
        wave = wave + 0.4 * np.sin(0.37 * turn + self.phase[:, 2])
        return np.asarray(self.fraction * (10.0 ** (-0.4 * self.amplitude * wave / 1.4) - 1.0))


def draw_variability(
    config: SurveyConfig, seed: int, n_stars: int, magnitude: F64, truth_id: I64
) -> Variability:
    """Draw which objects vary.

    Parameters
    ----------
    config, seed
        The survey.
    n_stars
        The first so many objects are stars.
    magnitude, truth_id
        Of all objects, [N].

    Returns
    -------
    variability
        Stars as a whole, with a strongly skewed distribution of amplitudes; a fifth of the light of galaxies.
    """
    rng = generator(seed, config.instrument, "variables")
    n = len(magnitude)
    settings = config.transients
    star = np.arange(n) < n_stars
    share = np.where(star, settings.variable_star_fraction, settings.variable_galaxy_fraction)
    index = np.flatnonzero(rng.random(n) < share)
    low, high = np.log(settings.amplitude)
    return Variability(
        truth_id=truth_id[index],
        index=index,
        fraction=np.where(star[index], 1.0, 0.2),
        amplitude=np.exp(low + (high - low) * rng.beta(1.0, 1.5, len(index))),
        period=_log_uniform(rng, settings.period, len(index)),
        phase=rng.uniform(0.0, 2.0 * np.pi, (len(index), 3)),
    )


@dataclasses.dataclass(frozen=True)
class MovingObjects:
    """Solar-system objects in one image; arrays of length N.

    Parameters
    ----------
    truth_id
        Ids, int64; an object is seen in one image only.
    ra, dec
        At the middle of the exposure, ICRS, deg.
    magnitude, color
        r, and g - i, mag.
    trail
        Vector of the motion during the exposure, pixel, [N, 2].
    """

    truth_id: I64
    ra: F64
    dec: F64
    magnitude: F64
    color: F64
    trail: F64


def draw_moving(config: SurveyConfig, seed: int, visit: Visit, detector: int, wcs: TrueWcs) -> MovingObjects:
    """Draw the moving objects of one image.

    Parameters
    ----------
    config, seed, visit, detector
        Which image of which survey.
    wcs
        Of the image.

    Returns
    -------
    objects
        Their rates scatter log-normally about the configured median; some are ten times as fast.
    """
    settings = config.transients
    rng = generator(seed, config.instrument, "moving", visit.visit, detector)
    n = int(rng.poisson(settings.moving * config.megapixels))
    ny, nx = config.shape
    ra, dec = wcs.pixel_to_sky(rng.uniform(0, nx - 1, n), rng.uniform(0, ny - 1, n))
    rate = settings.moving_rate * np.exp(rng.normal(0.0, 0.3, n))
    rate = np.where(rng.random(n) < settings.fast_fraction, 10.0 * rate, rate)
    length = rate * visit.exposure_time / config.camera.pixel_scale
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    bright, faint = settings.magnitude
    steps = rng.uniform(10.0 ** (0.3 * (bright - faint)), 1.0, n)
    return MovingObjects(
        truth_id=hash63_array(n, seed, config.instrument, "moving", visit.visit, detector),
        ra=ra,
        dec=dec,
        magnitude=faint + np.log10(steps) / 0.3,
        color=rng.normal(0.9, 0.2, n),
        trail=np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1),
    )
