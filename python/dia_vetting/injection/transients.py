"""Drawing transients: which hosts get one in which visit, where on them, how bright.

A population model turns hosts and visits into the rows of ``transient_truth`` and ``transient_epoch``.
`SeedPopulation` is the simple recipe; a physical one (rates, light curves, redshifts) is another class with
the same method `PopulationModel.draw`.
"""

from __future__ import annotations

__all__ = [
    "Field",
    "Population",
    "PopulationModel",
    "SeedPopulation",
    "Visit",
    "json_rows",
    "magnitudes_of",
    "only",
    "usable_hosts",
]

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from astropy.table import Table
from lsst.sphgeom import Region
from numpy.typing import NDArray

from ..seeding import generator, hash63_array
from ..tables import stack_tables
from .host_geometry import Ellipses, deproject
from .schemas import TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH
from .sky_regions import inside_any, uniform_positions

type F64 = NDArray[np.float64]

_VARIATION = 1.5
"""Largest change of a varying transient between template and visit, mag."""

_HOST_NUMBERS = ("host_ra", "host_dec", "host_a", "host_b", "host_pa")

_STAR_CHANGE = (0.0, 4.0)
"""Magnitude of the light that a varying star gains or loses, minus the star's: from all of it to 2.5 %."""


@dataclasses.dataclass(frozen=True)
class Visit:
    """One visit, as the dimension records describe it.

    Parameters
    ----------
    visit : `int`
        Its id.
    band : `str`
        Band.
    regions : `tuple` of `lsst.sphgeom.Region`
        Regions of its detectors.
    mjd : `float`, optional
        Middle of the exposure, MJD (TAI).
    exposure_time : `float`, optional
        Seconds.
    depth : `float`, optional
        AB magnitude of a point source at SNR 5 on its images.
    """

    visit: int
    band: str
    regions: tuple[Region, ...]
    mjd: float = np.nan
    exposure_time: float = np.nan
    depth: float = np.nan


@dataclasses.dataclass(frozen=True)
class Field:
    """Where and under which name a population is drawn; with the seed it decides every draw and id.

    Parameters
    ----------
    seed : `int`
        Seed of the campaign.
    instrument, skymap : `str`
        Names.
    tract : `int`
        Tract.
    region : `lsst.sphgeom.Region`
        Region of the tract.
    """

    seed: int
    instrument: str
    skymap: str
    tract: int
    region: Region

    def keys(self, population: str, visit: int) -> tuple[object, ...]:
        """Return what names the draws of a population in one visit."""
        return self.seed, self.instrument, self.skymap, self.tract, population, visit


@dataclasses.dataclass(frozen=True)
class Population:
    """Transients.

    Parameters
    ----------
    truth : `astropy.table.Table`
        One row per transient, `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`.
    epochs : `astropy.table.Table`
        One row per transient and visit, `~dia_vetting.injection.schemas.TRANSIENT_EPOCH`.
    template_epochs : `astropy.table.Table`
        The same for the light in the template of the visit.
    hosts_in_visits : `int`
        Number of (host, visit) pairs that could have had a transient.
    left_out : `dict` [`str`, `int`], optional
        How many that were drawn are not in the tables, by reason.
    """

    truth: Table
    epochs: Table
    template_epochs: Table
    hosts_in_visits: int
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)


class PopulationModel(Protocol):
    """What draws a population."""

    @property
    def name(self) -> str:
        """Name of the population: part of the ids."""
        ...

    def draw(
        self, hosts: Table, visits: Sequence[Visit], field: Field, templates: Sequence[Visit] = ()
    ) -> Population:
        """Draw the transients of a tract in all its visits.

        Parameters
        ----------
        hosts : `astropy.table.Table`
            In `~dia_vetting.injection.schemas.HOST_GALAXY`; columns ``host_mag_<band>`` where known.
        visits : `~collections.abc.Sequence` of `Visit`
            In any order: it must not matter.
        field : `Field`
            Names, seed and region.
        templates : `~collections.abc.Sequence` of `Visit`, optional
            Exposures of the templates, for models with light curves.

        Returns
        -------
        population : `Population`
            Truth and epochs.
        """
        ...


@dataclasses.dataclass(frozen=True)
class SeedPopulation:
    """The recipe that the first campaigns used: every visit on its own, no light curves.

    In each visit each host has a transient with probability ``fraction``. Its position is

    ``d (cos t, (b / a) sin t)`` along the major and minor axis, with ``d ~ N(0, a)`` and ``t ~ U(0, 2 pi)``,

    a point of the host's own ellipse at phase t, scaled by the normal variate d / a. So every ellipse similar
    to the host's is equally likely in phase, d / a is the elliptical radius (half-normal), and along either
    axis the scale is that semi-axis. This is more concentrated than a two-dimensional Gaussian of the same
    axes, whose elliptical radius is Rayleigh-distributed; it is the recipe as it was given. Magnitudes are
    uniform in ``[m_host + mag_offset[0], m_host + mag_offset[1])``, with the host's magnitude in the visit's
    band. Host-less ones are uniform over the visit's detectors inside the tract, with the magnitude of a
    transient on a random host of the visit, and make up ``hostless_fraction`` of the total on average.

    Three additions to that recipe, off by default: a transient may have *faded*, so that it is in the
    template instead of the visit and the difference is negative, or be *varying*, so that it is in both, in
    the template brighter or fainter by up to `_VARIATION` mag; and stars among the hosts may vary: light that
    is fainter than the star by a magnitude uniform in `_STAR_CHANGE` is added at its very position, to the
    visit or, with equal chance, to the template. They are drawn apart: the rest stays as it was.

    Parameters
    ----------
    fraction : `float`
        Probability that a host has a transient in a visit.
    hostless_fraction : `float`
        Expected fraction of host-less ones in the total.
    mag_offset : `tuple` [`float`, `float`]
        Range of the magnitude relative to the host's.
    faded_fraction, varying_fraction : `float`
        Fractions of the transients that have faded and that vary.
    star_fraction : `float`
        Probability that a star varies in a visit. Hosts of ``host_extendedness`` below 0.5 are stars; they
        have no other transients.
    """

    fraction: float = 0.03
    hostless_fraction: float = 0.05
    mag_offset: tuple[float, float] = (-1.0, 3.0)
    faded_fraction: float = 0.0
    varying_fraction: float = 0.0
    star_fraction: float = 0.0
    name: str = dataclasses.field(default="seed", init=False)

    def draw(
        self, hosts: Table, visits: Sequence[Visit], field: Field, templates: Sequence[Visit] = ()
    ) -> Population:
        """Draw the transients of a tract in all its visits (see `PopulationModel.draw`)."""
        hosts = hosts[np.argsort(np.asarray(hosts["host_id"]), kind="stable")]
        usable = usable_hosts(hosts)
        bad_hosts, hosts = int(np.sum(~usable)), hosts[usable]
        truth, epochs, template_epochs, in_visits = [], [], [], 0
        for visit in sorted(visits, key=lambda visit: visit.visit):
            seen = hosts[inside_any(visit.regions, hosts["host_ra"], hosts["host_dec"])]
            in_visits += len(seen)
            rows = self._draw_visit(seen, visit, field)
            truth.append(TRANSIENT_TRUTH.build(only(rows, TRANSIENT_TRUTH.names())))
            table = TRANSIENT_EPOCH.build(only(rows, TRANSIENT_EPOCH.names()))
            epochs.append(table[rows["kind"] != "faded"])
            in_template = only(rows | {"mag": rows["template_mag"]}, TRANSIENT_EPOCH.names())
            template_epochs.append(TRANSIENT_TEMPLATE_EPOCH.build(in_template)[rows["kind"] != "appearing"])
        return Population(
            stack_tables(truth, TRANSIENT_TRUTH),
            stack_tables(epochs, TRANSIENT_EPOCH),
            stack_tables(template_epochs, TRANSIENT_TEMPLATE_EPOCH),
            in_visits,
            {"bad_host": bad_hosts},
        )

    def _draw_visit(self, hosts: Table, visit: Visit, field: Field) -> dict[str, Any]:
        keys = field.keys(self.name, visit.visit)
        rng = generator("transients", *keys)
        point_like = np.asarray(hosts["host_extendedness"], float) < 0.5
        stars, hosts = hosts[point_like], hosts[~point_like]
        host_mag = magnitudes_of(hosts, visit.band)
        drawn = np.flatnonzero((rng.random(len(hosts)) < self.fraction) & np.isfinite(host_mag))
        hosted = self._hosted(hosts[drawn], host_mag[drawn], rng)
        hostless = self._hostless(len(drawn), host_mag[np.isfinite(host_mag)], visit, field, rng)
        varying = self._stars(stars, magnitudes_of(stars, visit.band), generator("transient stars", *keys))
        rows: dict[str, Any] = {
            name: np.concatenate([values, hostless[name], varying[name]]) for name, values in hosted.items()
        }
        count = len(rows["ra"])
        rows["injection_id"] = hash63_array(count, *keys)
        rows["visit"] = np.full(count, visit.visit)
        rows["band"] = np.full(count, visit.band)
        rows["source_type"] = np.full(count, "Star")
        rows["midpointMjdTai"] = np.full(count, visit.mjd)
        rows |= {"trail_length": np.zeros(count), "trail_angle": np.zeros(count)}
        rows["model"] = np.full(count, self.name)
        on_star = np.arange(count) >= count - len(varying["ra"])
        self._draw_template(rows, on_star, generator("transient kinds", *keys))
        return rows

    def _draw_template(
        self, rows: dict[str, Any], on_star: NDArray[np.bool_], rng: np.random.Generator
    ) -> None:
        """Decide which transients the template has, and how bright they are there."""
        chance, count = rng.random(len(rows["ra"])), len(rows["ra"])
        faded = chance < np.where(on_star, 0.5, self.faded_fraction)
        varying = ~on_star & ~faded & (chance < self.faded_fraction + self.varying_fraction)
        change = rng.uniform(-_VARIATION, _VARIATION, count)
        rows["kind"] = np.select([faded, varying], ["faded", "varying"], "appearing")
        rows["template_mag"] = np.where(varying, rows["mag"] + change, rows["mag"])

    def _hosted(self, hosts: Table, host_mag: F64, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        count = len(hosts)
        radius, phase = rng.standard_normal(count), rng.uniform(0.0, 2.0 * np.pi, count)
        return self._on_hosts(hosts, host_mag, radius, phase, rng.uniform(*self.mag_offset, count))

    def _stars(self, stars: Table, star_mag: F64, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        drawn = np.flatnonzero((rng.random(len(stars)) < self.star_fraction) & np.isfinite(star_mag))
        centre = np.zeros(len(drawn))
        change = rng.uniform(*_STAR_CHANGE, len(drawn))
        return self._on_hosts(stars[drawn], star_mag[drawn], centre, centre, change)

    @staticmethod
    def _on_hosts(
        hosts: Table, host_mag: F64, radius: F64, phase: F64, delta_mag: F64
    ) -> dict[str, NDArray[Any]]:
        """Return the columns of transients at a point of their hosts' ellipses, one of each host."""
        count = len(hosts)
        shape = {name: np.asarray(hosts[name], float) for name in ("host_a", "host_b", "host_pa")}
        east, north = Ellipses(*shape.values()).points(radius, phase)
        host_ra, host_dec = np.asarray(hosts["host_ra"], float), np.asarray(hosts["host_dec"], float)
        ra, dec = deproject(east, north, host_ra, host_dec)
        return {
            "host_id": np.asarray(hosts["host_id"], np.int64),
            "ra": ra,
            "dec": dec,
            "host_ra": host_ra,
            "host_dec": host_dec,
            **shape,
            "host_mag": host_mag,
            "delta_ra": east,
            "delta_dec": north,
            "mag": host_mag + delta_mag,
            "parameters": json_rows({"radius": radius, "phase": phase, "delta_mag": delta_mag}, count),
        }

    def _hostless(
        self, n_hosted: int, host_mag: F64, visit: Visit, field: Field, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        expected = n_hosted * self.hostless_fraction / (1.0 - self.hostless_fraction)
        wanted = int(np.floor(expected + rng.random()))  # stochastic rounding keeps the mean
        ra, dec = uniform_positions(wanted, visit.regions, field.region, rng)
        count = len(ra)
        unknown = np.full(count, np.nan)
        like = rng.choice(host_mag, count) if count else unknown
        mag = like + rng.uniform(*self.mag_offset, count)
        nan_columns = ("host_ra", "host_dec", "host_a", "host_b", "host_pa", "host_mag")
        return {
            "host_id": np.zeros(count, np.int64),
            "ra": ra,
            "dec": dec,
            **dict.fromkeys(nan_columns, unknown),
            "delta_ra": unknown,
            "delta_dec": unknown,
            "mag": mag,
            "parameters": json_rows({}, count),
        }


def magnitudes_of(hosts: Table, band: str) -> F64:
    """Return the hosts' AB magnitudes (N,) in a band, in the reference band where that is not known."""
    reference = np.asarray(hosts["host_mag"], float)
    if f"host_mag_{band}" not in hosts.colnames:
        return reference
    found = np.asarray(hosts[f"host_mag_{band}"], float)
    return np.where(np.isfinite(found), found, reference)


def json_rows(columns: Mapping[str, NDArray[Any]], count: int) -> NDArray[np.str_]:
    """Return a JSON object for each of ``count`` rows; numbers are rounded to six decimals, NaN is null."""
    rounded = {name: [_json_value(value) for value in values.tolist()] for name, values in columns.items()}
    rows = [json.dumps({name: values[i] for name, values in rounded.items()}) for i in range(count)]
    return np.array(rows, dtype=str)


def _json_value(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 6) if np.isfinite(value) else None


def usable_hosts(hosts: Table) -> NDArray[np.bool_]:
    """Tell which hosts, (N,), have a finite position and a shape: positive, finite axes and an angle."""
    columns = {name: np.asarray(hosts[name], float) for name in _HOST_NUMBERS}
    good = np.all([np.isfinite(values) for values in columns.values()], axis=0)
    return np.asarray(good & (columns["host_a"] > 0) & (columns["host_b"] > 0))


def only(rows: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the entries of these names."""
    return {name: rows[name] for name in names}
