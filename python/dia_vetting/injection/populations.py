"""Physical populations: transients that have one position and one light curve over all visits and bands.

`CoherentPopulation` is whatever has light curves, `StaticPopulation` is drawn anew for every visit, and
`MovingPopulation` crosses the field. Those with light curves are drawn from the hosts and the
region of the tract alone: a run with more visits has the same transients, with more epochs, where their
times do not follow from the visits (see doc/injection.md). The others are drawn visit by visit.
"""

from __future__ import annotations

__all__ = ["CoherentPopulation", "CurveMaker", "MovingPopulation", "StaticPopulation"]

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.typing import NDArray

from ..magnitudes import ab_flux, ab_magnitude
from ..seeding import generator, hash63_array
from ..tables import stack_tables
from .brightness import Brightness
from .light_curves.base import LightCurves
from .population_control import far_enough
from .schemas import TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH
from .sites import Selection, draw_sites, hostless_sites
from .sky_regions import inside_any, poisson_positions
from .transients import Field, Population, Visit, json_rows, magnitudes_of, only

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]

type CurveMaker = Callable[[Table, Mapping[str, F64], np.random.Generator, tuple[object, ...]], LightCurves]
"""Makes the light curves of sites from their hosts' magnitudes by band, a generator and seed keys."""

_FAINTEST = 30.0
"""AB magnitude beyond which an epoch gets no row: far below the noise of a visit. Such epochs are counted."""

_SAME_NIGHT = 0.5
"""Days between visits of one night at most."""


@dataclasses.dataclass(frozen=True)
class StaticPopulation:
    """Drawn anew for every visit: no light curves, nothing in the template.

    Parameters
    ----------
    selection : `~dia_vetting.injection.sites.Selection`
        How many and where, in each visit.
    brightness : `~dia_vetting.injection.brightness.Brightness`
        How bright.
    """

    selection: Selection
    brightness: Brightness
    name: str = dataclasses.field(default="static", init=False)

    def draw(
        self, hosts: Table, visits: Sequence[Visit], field: Field, templates: Sequence[Visit] = ()
    ) -> Population:
        """Draw the transients of a tract in all its visits (see `PopulationModel.draw`)."""
        hosts = _by_id(hosts)
        parts, left_out = [], dict[str, int]()
        for visit in sorted(visits, key=lambda visit: visit.visit):
            keys = field.keys(self.name, visit.visit)
            rng = generator("sites", *keys)
            sites, counts = draw_sites(hosts, self.selection, visit.regions, field.region, rng)
            host_mag = _host_magnitudes(hosts, sites, visit.band)
            mag = self.brightness.magnitudes(
                host_mag, np.asarray(sites["redshift"]), visit.depth, generator("brightness", *keys)
            )
            good = np.isfinite(mag)
            counts["no_magnitude"] = int(np.sum(~good))
            rows = _truth_rows(sites, self.name, keys) | {"mag": mag, "host_mag": host_mag}
            rows |= {
                "parameters": json_rows({"mag": mag}, len(sites)),
                "kind": np.full(len(sites), "appearing"),
            }
            parts.append(_only_rows(_visit_rows(rows, visit), good))
            counts["bad_host"] -= left_out.get("bad_host", 0)  # the same hosts in each visit
            _add(left_out, counts)
        return Population(
            stack_tables(
                [TRANSIENT_TRUTH.build(only(p, TRANSIENT_TRUTH.names())) for p in parts], TRANSIENT_TRUTH
            ),
            stack_tables(
                [TRANSIENT_EPOCH.build(only(p, TRANSIENT_EPOCH.names())) for p in parts], TRANSIENT_EPOCH
            ),
            TRANSIENT_TEMPLATE_EPOCH.empty(),
            _hosts_in_visits(hosts, visits),
            left_out,
        )


@dataclasses.dataclass(frozen=True)
class CoherentPopulation:
    """One position and one light curve for each transient, sampled at every visit that covers it.

    The template of a visit holds the mean flux over the template exposures of its band that cover the place.

    Parameters
    ----------
    selection : `~dia_vetting.injection.sites.Selection`
        How many and where, in the tract.
    curves : `CurveMaker`
        Makes the light curves.
    name : `str`
        Name of the population: part of the ids.
    """

    selection: Selection
    curves: CurveMaker
    name: str

    def draw(
        self, hosts: Table, visits: Sequence[Visit], field: Field, templates: Sequence[Visit] = ()
    ) -> Population:
        """Draw the transients of a tract and sample them (see `PopulationModel.draw`).

        Parameters
        ----------
        hosts, visits, field
            As there.
        templates : `~collections.abc.Sequence` of `Visit`, optional
            Exposures of the templates; without any, nothing is in the templates.

        Returns
        -------
        population : `Population`
            ``left_out`` counts what `draw_sites` rejects, ``no_light_curve`` (a flux that is not finite, say
            for want of a redshift), ``outside`` (no visit covers it) and ``faint_epochs``.
        """
        hosts, keys = _by_id(hosts), field.keys(self.name, 0)
        sites, left_out = draw_sites(
            hosts, self.selection, [field.region], field.region, generator("sites", *keys)
        )
        visits = sorted(visits, key=lambda visit: visit.visit)
        bands = sorted({visit.band for visit in [*visits, *templates]})
        magnitudes = {band: _host_magnitudes(hosts, sites, band) for band in bands}
        curves = self.curves(sites, magnitudes, generator("light curves", *keys), keys)
        flux, template = sample(curves, sites, visits), template_flux(curves, sites, visits, templates)
        covered = coverage(sites, visits)
        known = np.isfinite(flux).all(axis=1) & np.isfinite(template).all(axis=1)
        here = known & covered.any(axis=1)
        left_out |= {"no_light_curve": int(np.sum(~known)), "outside": int(np.sum(known & ~here))}
        least = ab_flux(_FAINTEST)
        shown, below = here[:, None] & covered & (flux > least), here[:, None] & covered & (template > least)
        left_out["faint_epochs"] = int(np.sum(here[:, None] & covered & ~shown))
        rows = _truth_rows(sites, self.name, keys)
        rows["parameters"] = json_rows(dict(curves.parameters), len(sites))
        rows["kind"] = np.where(below.any(axis=1), "varying", "appearing")
        truth = TRANSIENT_TRUTH.build(only(_only_rows(rows, here), TRANSIENT_TRUTH.names()))
        return Population(
            truth,
            _epochs(rows, magnitudes, visits, flux, shown),
            _epochs(rows, magnitudes, visits, template, below),
            _hosts_in_visits(hosts, visits),
            left_out,
        )


@dataclasses.dataclass(frozen=True)
class MovingPopulation:
    """Solar-System-like objects: straight great circles at constant rate, trailed during the exposure.

    Each object is drawn uniformly over the first visit of a night that sees it, and is in the other visits of
    that night where its path leads there. Its magnitude is the same in all bands.

    Parameters
    ----------
    density : `float`
        Expected number per square degree of a visit.
    magnitude : `tuple` [`float`, `float`]
        Range of the AB magnitude, uniform.
    median_rate : `float`
        Median of the log-normal rate of motion, arcsec / s; the main belt near opposition has 0.01.
    rate_scatter : `float`
        Standard deviation of its natural logarithm.
    min_separation : `float`
        Least distance between two in the visit that they are drawn in, arcsec.
    """

    density: float
    magnitude: tuple[float, float]
    median_rate: float = 0.01
    rate_scatter: float = 0.5
    min_separation: float = 3.0
    name: str = dataclasses.field(default="moving", init=False)

    def draw(
        self, hosts: Table, visits: Sequence[Visit], field: Field, templates: Sequence[Visit] = ()
    ) -> Population:
        """Draw the moving objects of a tract in all its visits (see `PopulationModel.draw`)."""
        ordered = sorted(visits, key=lambda visit: (visit.mjd, visit.visit))
        truth, epochs, left_out = [], [], dict[str, int]()
        for number, visit in enumerate(ordered):
            rows, counts = self._born_in(visit, ordered[:number], field)
            _add(left_out, counts)
            truth.append(TRANSIENT_TRUTH.build(only(rows, TRANSIENT_TRUTH.names())))
            for other in ordered[number:]:
                if abs(other.mjd - visit.mjd) < _SAME_NIGHT or other is visit:
                    seen = _moved(rows, visit, other)
                    inside = inside_any(other.regions, seen["ra"], seen["dec"])
                    epochs.append(
                        TRANSIENT_EPOCH.build(only(_only_rows(seen, inside), TRANSIENT_EPOCH.names()))
                    )
        return Population(
            stack_tables(truth, TRANSIENT_TRUTH),
            stack_tables(epochs, TRANSIENT_EPOCH),
            TRANSIENT_TEMPLATE_EPOCH.empty(),
            0,
            left_out,
        )

    def _born_in(
        self, visit: Visit, earlier: Sequence[Visit], field: Field
    ) -> tuple[dict[str, Any], dict[str, int]]:
        keys = field.keys(self.name, visit.visit)
        rng = generator("moving", *keys)
        ra, dec = poisson_positions(self.density, visit.regions, field.region, rng)
        count, nowhere = len(ra), np.empty(0)
        rate = self.median_rate * np.exp(self.rate_scatter * rng.standard_normal(count))
        angle, mag = rng.uniform(0.0, 360.0, count), rng.uniform(*self.magnitude, count)
        keep, counts = far_enough(ra, dec, self.min_separation, nowhere, nowhere, 0.0)
        sites, rate, angle, mag = hostless_sites(ra, dec)[keep], rate[keep], angle[keep], mag[keep]
        rows = _truth_rows(sites, self.name, keys) | {"mag": mag, "kind": np.full(len(sites), "moving")}
        rows["parameters"] = json_rows({"rate": rate, "angle": angle, "mag": mag}, len(sites))
        rows |= {"rate": rate, "angle": angle}
        new = np.ones(len(sites), bool)
        for other in earlier:
            if visit.mjd - other.mjd < _SAME_NIGHT:
                there = _moved(rows, visit, other)
                new &= ~inside_any(other.regions, there["ra"], there["dec"])
        counts["seen_earlier"] = int(np.sum(~new))
        return _only_rows(rows, new), counts


def sample(curves: LightCurves, sites: Table, visits: Sequence[Visit]) -> F64:
    """Return the flux, nJy, of N transients in V visits, (N, V)."""
    if not len(sites) or not visits:
        return np.zeros((len(sites), len(visits)))
    return curves.flux(np.array([visit.mjd for visit in visits]), [visit.band for visit in visits])


def coverage(sites: Table, visits: Sequence[Visit]) -> Bool:
    """Tell which visits cover which transients, bool (N, V)."""
    covered = np.zeros((len(sites), len(visits)), bool)
    for column, visit in enumerate(visits):
        covered[:, column] = inside_any(visit.regions, sites["ra"], sites["dec"])
    return covered


def template_flux(
    curves: LightCurves, sites: Table, visits: Sequence[Visit], templates: Sequence[Visit]
) -> F64:
    """Return the mean flux, nJy, over the template exposures of each visit's band that cover a place, (N, V).

    All exposures weigh the same; where none covers the place the template has no light.
    """
    result = np.zeros((len(sites), len(visits)))
    for band in {visit.band for visit in visits}:
        exposures = [visit for visit in templates if visit.band == band]
        covered = coverage(sites, exposures)
        total = np.where(covered, sample(curves, sites, exposures), 0.0).sum(axis=1)
        columns = [column for column, visit in enumerate(visits) if visit.band == band]
        result[:, columns] = (total / np.maximum(covered.sum(axis=1), 1))[:, None]
    return result


def _hosts_in_visits(hosts: Table, visits: Sequence[Visit]) -> int:
    """Return the number of (host, visit) pairs."""
    places = hosts["host_ra"], hosts["host_dec"]
    return sum(int(np.sum(inside_any(visit.regions, *places))) for visit in visits)


def _by_id(hosts: Table) -> Table:
    return hosts[np.argsort(np.asarray(hosts["host_id"]), kind="stable")]


def _host_magnitudes(hosts: Table, sites: Table, band: str) -> F64:
    """Return the magnitude in a band of each site's host; NaN for host-less."""
    row = np.asarray(sites["row"], np.int64)
    result = np.full(len(sites), np.nan)
    hosted = row >= 0
    result[hosted] = magnitudes_of(hosts[row[hosted]], band)
    return result


def _truth_rows(sites: Table, name: str, keys: tuple[object, ...]) -> dict[str, Any]:
    """Return the columns that truth and epochs have of a site."""
    count = len(sites)
    rows: dict[str, Any] = {
        column: np.asarray(sites[column]) for column in TRANSIENT_TRUTH.names() if column in sites.colnames
    }
    index = np.asarray(sites["index"], np.int64)
    rows["injection_id"] = hash63_array(int(index.max(initial=-1)) + 1, *keys)[index]
    rows |= {"model": np.full(count, name), "source_type": np.full(count, "Star")}
    return rows


def _visit_rows(rows: dict[str, Any], visit: Visit) -> dict[str, Any]:
    count = len(rows["ra"])
    return rows | {
        "visit": np.full(count, visit.visit),
        "band": np.full(count, visit.band),
        "midpointMjdTai": np.full(count, visit.mjd),
        "trail_length": np.zeros(count),
        "trail_angle": np.zeros(count),
    }


def _epochs(
    rows: dict[str, Any], host_mag: Mapping[str, F64], visits: Sequence[Visit], flux: F64, shown: Bool
) -> Table:
    """Return a row for each transient and visit that is shown."""
    tables = []
    for column, visit in enumerate(visits):
        there = shown[:, column]
        values = _visit_rows(rows, visit) | {
            "mag": ab_magnitude(flux[:, column]),
            "host_mag": host_mag[visit.band],
        }
        tables.append(TRANSIENT_EPOCH.build(only(_only_rows(values, there), TRANSIENT_EPOCH.names())))
    return stack_tables(tables, TRANSIENT_EPOCH)


def _moved(rows: dict[str, Any], start: Visit, visit: Visit) -> dict[str, Any]:
    """Return the rows at the time of another visit; the path is a great circle through the first position."""
    seconds = 0.0 if visit is start else (visit.mjd - start.mjd) * 86_400.0
    place = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    moved = place.directional_offset_by(rows["angle"] * u.deg, rows["rate"] * seconds * u.arcsec)
    angle = (moved.position_angle(place).deg + (180.0 if seconds > 0 else 0.0)) % 360.0
    values = _visit_rows(rows, visit)
    values |= {"ra": moved.ra.deg, "dec": moved.dec.deg, "host_mag": np.full(len(rows["ra"]), np.nan)}
    values["trail_length"] = rows["rate"] * visit.exposure_time
    values["trail_angle"] = rows["angle"] if seconds == 0.0 else angle
    return values


def _only_rows(rows: Mapping[str, Any], keep: Bool) -> dict[str, Any]:
    return {name: values[keep] for name, values in rows.items()}


def _add(total: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        total[name] = total.get(name, 0) + count
