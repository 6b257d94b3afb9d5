"""Configuration of the populations of makeTransients, and what makes a model of it."""

from __future__ import annotations

__all__ = [
    "AgnConfig",
    "MovingConfig",
    "StaticConfig",
    "SupernovaConfig",
    "VariableConfig",
]

from collections.abc import Callable, Mapping

import numpy as np
from astropy.table import Table
from lsst.pex.config import ChoiceField, Config, DictField, Field, ListField, RangeField
from numpy.typing import NDArray

from .brightness import Brightness, FlatMagnitude, FlatSnr, HostOffset, LuminosityFunction
from .light_curves.base import LightCurves
from .light_curves.supernova_classes import RATES
from .placement import HostLight, Nuclear, Placement, SeedPlacement, UniformSeparation
from .populations import CoherentPopulation, MovingPopulation, StaticPopulation
from .sites import Selection

type F64 = NDArray[np.float64]
type Positions = tuple[F64, F64]

_PLACEMENTS = {
    "seed": "Half-normal elliptical radius of one semi-axis: the seed recipe.",
    "host_light": "Like the host's light: Sersic profile, or bulge and disc where both are measured.",
    "nuclear": "At the centre.",
    "uniform_separation": "Uniform in separation and position angle.",
}


class SiteConfig(Config):  # type: ignore[misc]
    """How many transients, where on their hosts, how far apart."""

    placement = ChoiceField[str](doc="Where on the host.", default="host_light", allowed=_PLACEMENTS)
    sersicIndex = RangeField[float](doc="Index of the profile of host_light.", default=1.0, min=0.3, max=6.2)
    psfFwhm = RangeField[float](
        doc="FWHM of the PSF that is in the hosts' moments, which host_light takes off, arcsec.",
        default=0.0,
        min=0.0,
    )
    maxSeparation = RangeField[float](
        doc="Largest separation of uniform_separation, arcsec.", default=3.0, min=0.0
    )
    nuclearScatter = RangeField[float](
        doc="Scatter of nuclear along each axis, arcsec.", default=0.0, min=0.0
    )
    hostFraction = RangeField[float](
        doc="Probability that a host has one.", default=0.03, min=0.0, max=1.0, inclusiveMax=True
    )
    hostDensity = RangeField[float](
        doc="Number of hosted ones per square degree; above 0 it replaces hostFraction.", default=0.0, min=0.0
    )
    hostlessDensity = RangeField[float](
        doc="Number of host-less ones per square degree.", default=0.0, min=0.0
    )
    minSeparation = RangeField[float](
        doc="Least distance between two, arcsec: keeps two fakes from sharing a PSF. 0 asks for none.",
        default=3.0,
        min=0.0,
    )
    avoidRadius = RangeField[float](
        doc="Least distance from sources to avoid (makeTransients:doAvoid), arcsec.", default=3.0, min=0.0
    )

    def placement_model(self) -> Placement:
        """Return the placement."""
        models: dict[str, Callable[[], Placement]] = {
            "seed": SeedPlacement,
            "host_light": lambda: HostLight(self.sersicIndex, self.psfFwhm),
            "nuclear": lambda: Nuclear(self.nuclearScatter),
            "uniform_separation": lambda: UniformSeparation(self.maxSeparation),
        }
        return models[self.placement]()

    def selection(self, avoid: Positions, on_stars: bool = False) -> Selection:
        """Return the selection; ``avoid`` are positions, degrees."""
        return Selection(
            placement=self.placement_model(),
            host_fraction=self.hostFraction,
            host_density=self.hostDensity,
            hostless_density=self.hostlessDensity,
            min_separation=self.minSeparation,
            avoid_ra=avoid[0],
            avoid_dec=avoid[1],
            avoid_radius=self.avoidRadius,
            on_stars=on_stars,
        )


class StaticConfig(SiteConfig):
    """Drawn anew in every visit."""

    brightness = ChoiceField[str](
        doc="How bright.",
        default="flat_mag",
        allowed={
            "host_offset": "Uniform about the host's magnitude, as in the seed recipe; not for host-less.",
            "flat_mag": "Uniform in magnitude.",
            "flat_snr": "Uniform in the SNR that the visit's depth makes one expect; reads the visit images.",
            "luminosity_function": "Gaussian in absolute magnitude at the host's redshift.",
        },
    )
    range = ListField[float](
        doc="Lower and upper end: of the magnitude offset, the magnitude or the SNR; of luminosity_function, "
        "mean and standard deviation of the absolute magnitude.",
        default=[20.0, 26.0],
        length=2,
    )

    def brightness_model(self) -> Brightness:
        """Return the law of the magnitudes."""
        models: dict[str, Callable[[float, float], Brightness]] = {
            "host_offset": HostOffset,
            "flat_mag": FlatMagnitude,
            "flat_snr": FlatSnr,
            "luminosity_function": LuminosityFunction,
        }
        return models[self.brightness](*self.range)

    def model(self, avoid: Positions) -> StaticPopulation:
        """Return the population."""
        return StaticPopulation(self.selection(avoid), self.brightness_model())


class SupernovaConfig(SiteConfig):
    """Supernovae with light curves."""

    kinds = DictField[str, float](
        doc="Fraction of each class; they are divided by their sum.",
        default=dict(RATES),
    )
    firstMjd = Field[float](
        doc="Earliest time of maximum, MJD (TAI); the first visit's by default.", default=None, optional=True
    )
    lastMjd = Field[float](
        doc="Latest time of maximum; the last visit's by default.", default=None, optional=True
    )
    minRedshift = RangeField[float](
        doc="Least redshift where the host table has none.", default=0.02, min=0.0, inclusiveMin=False
    )
    maxRedshift = RangeField[float](
        doc="Largest redshift where the host table has none: volumetric in between.", default=0.3, min=0.0
    )
    peakMagnitudes = ListField[float](
        doc="Range of the apparent magnitude at maximum, uniform; absolute magnitudes if empty.",
        default=[],
    )
    sncosmoSource = Field[str](
        doc="Name of a source of sncosmo, which has to be installed with its data, for the spectra; the "
        "parametric light curves if empty. Times, redshifts, magnitudes, x1 and c are drawn as for them.",
        default="",
    )
    sncosmoBandpasses = DictField[str, str](
        doc="sncosmo's name of the passband of each band.",
        default={band: f"lsst{band}" for band in "ugrizy"},
    )

    def model(self, avoid: Positions, mjds: tuple[float, float]) -> CoherentPopulation:
        """Return the population; ``mjds`` are the first and the last visit's."""
        from .light_curves.sncosmo_source import sncosmo_supernovae
        from .light_curves.supernova import draw_redshifts, draw_supernovae

        first = mjds[0] if self.firstMjd is None else self.firstMjd
        last = mjds[1] if self.lastMjd is None else self.lastMjd

        def curves(
            sites: Table, magnitudes: Mapping[str, F64], rng: np.random.Generator, keys: tuple[object, ...]
        ) -> LightCurves:
            count, known = len(sites), np.asarray(sites["redshift"], np.float64)
            drawn = draw_redshifts(count, self.minRedshift, self.maxRedshift, rng)
            peak = None
            if self.peakMagnitudes:
                low, high = self.peakMagnitudes
                peak = np.asarray(rng.uniform(float(low), float(high), count), np.float64)
            redshift = np.where(known > 0, known, drawn)
            parametric = draw_supernovae(count, redshift, first, last, rng, dict(self.kinds))
            if not self.sncosmoSource:
                return parametric if peak is None else parametric.with_peak_magnitudes(peak)
            spectral = sncosmo_supernovae(parametric, self.sncosmoSource, dict(self.sncosmoBandpasses))
            return spectral if peak is None else spectral.with_peak_magnitudes(peak, "r")

        return CoherentPopulation(self.selection(avoid), curves, "supernova")


class WalkConfig(SiteConfig):
    """Damped random walks: light on top of what is there, in visits and templates."""

    minMagOffset = Field[float](doc="Brightest mean magnitude, minus that of the host or star.", default=0.0)
    maxMagOffset = Field[float](doc="Faintest mean magnitude, minus that of the host or star.", default=3.0)
    minTau = Field[float](doc="Shortest damping time, day (log-uniform).", default=100.0)
    maxTau = Field[float](doc="Longest damping time, day.", default=1000.0)
    minSigma = Field[float](doc="Least standard deviation at 400 nm, mag (log-uniform).", default=0.1)
    maxSigma = Field[float](doc="Largest standard deviation, mag.", default=0.4)

    def walk(self, selection: Selection, name: str) -> CoherentPopulation:
        """Return a population of walks."""
        from .light_curves.damped_random_walk import DampedRandomWalks

        def curves(
            sites: Table, magnitudes: Mapping[str, F64], rng: np.random.Generator, keys: tuple[object, ...]
        ) -> LightCurves:
            count = len(sites)
            offset = rng.uniform(self.minMagOffset, self.maxMagOffset, count)
            tau = np.exp(rng.uniform(np.log(self.minTau), np.log(self.maxTau), count))
            sigma = np.exp(rng.uniform(np.log(self.minSigma), np.log(self.maxSigma), count))
            mean = {band: mag + offset for band, mag in magnitudes.items()}
            return DampedRandomWalks(mean, sigma, tau, keys)

        return CoherentPopulation(selection, curves, name)


class AgnConfig(WalkConfig):
    """Active nuclei."""

    def setDefaults(self) -> None:
        """At the centre."""
        super().setDefaults()
        self.placement = "nuclear"

    def model(self, avoid: Positions) -> CoherentPopulation:
        """Return the population."""
        return self.walk(self.selection(avoid), "agn")


class VariableConfig(WalkConfig):
    """Stars that vary; needs stars among the hosts (selectHosts:withStars)."""

    def setDefaults(self) -> None:
        """At the star, on shorter times."""
        super().setDefaults()
        self.placement = "nuclear"
        self.minTau, self.maxTau = 1.0, 100.0

    def model(self, avoid: Positions) -> CoherentPopulation:
        """Return the population."""
        return self.walk(self.selection(avoid, on_stars=True), "variable")


class MovingConfig(Config):  # type: ignore[misc]
    """Moving objects with trails."""

    density = RangeField[float](doc="Number per square degree of a visit.", default=200.0, min=0.0)
    minMag = Field[float](doc="Brightest magnitude.", default=19.0)
    maxMag = Field[float](doc="Faintest magnitude.", default=24.5)
    medianRate = RangeField[float](
        doc="Median rate of motion, arcsec / s.", default=0.01, min=0.0, inclusiveMin=False
    )
    rateScatter = RangeField[float](
        doc="Standard deviation of the logarithm of the rate.", default=0.5, min=0.0
    )
    minSeparation = RangeField[float](doc="Least distance between two, arcsec.", default=3.0, min=0.0)

    def model(self) -> MovingPopulation:
        """Return the population."""
        return MovingPopulation(
            self.density,
            (self.minMag, self.maxMag),
            self.medianRate,
            self.rateScatter,
            self.minSeparation,
        )
