"""Number density, and the angular correlation function, by treatment.

Errors come from whole sky cells drawn with replacement, each with all the pairs that its own members begin
(the marked point bootstrap; Loh 2008, ApJ 681, 726): pairs across cells are neither lost nor made.
"""

from __future__ import annotations

__all__ = ["clustering_rows", "poisson_interval"]

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import chi2

from ...reliability.matching import unit_vectors
from ...seeding import generator
from ...skycells import sky_cell
from .coverage import Coverage
from .resampling import Figure, Resampling
from .rows import EDGES, Bin, impact_rows

type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]
type Sky = tuple[F64, F64]

_ARCSEC = np.pi / 180.0 / 3600.0


def clustering_rows(
    samples: Mapping[str, Sky],
    coverage: Coverage,
    nside: int,
    resampling: Resampling,
    randoms: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return number densities and correlation functions.

    Parameters
    ----------
    samples : `~collections.abc.Mapping` [`str`, `tuple`]
        (ra, dec), degrees, by treatment; all on covered sky.
    coverage : `Coverage`
        The sky they are on.
    nside : `int`
        Resolution of the groups.
    resampling : `Resampling`
        The groups, which are cells.
    randoms : `int`
        Random positions for each object of the largest sample.
    seed : `int`
        Their seed.

    Returns
    -------
    rows : `list` of `dict`
        ``number_density``, arcmin^-2, and ``two_point`` by angle: the estimator of Landy & Szalay (1993, ApJ
        412, 64), ``(DD - 2 DR + RR) / RR``, each count over the number of pairs there are. Its ``n`` is the
        number of pairs; it is NaN where fewer than ten are expected.
    """
    every = Bin("", np.nan, np.nan, np.zeros(0, bool))
    area = resampling.sums(resampling.groups(coverage.coarse(nside)), np.ones(len(coverage.cells)))[:, 0]
    area = area * coverage.cell_area
    grouped = {name: _Grouped.of(sky, coverage, nside, resampling) for name, sky in samples.items()}
    values = {name: _density(one, area, resampling) for name, one in grouped.items()}
    rows = impact_rows("number_density", every, values, "arcmin-2")
    most = max((len(one.vectors) for one in grouped.values()), default=0)
    sky = coverage.random_positions(max(randoms * most, 1), generator(seed, "blending impact randoms"))
    random = _Grouped.of(sky, coverage, nside, resampling)
    both = random.pairs(random)
    found = {name: _two_point(one, random, both, resampling) for name, one in grouped.items()}
    edges = EDGES["angle"]
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        chosen = Bin("angle", low, high, every.rows)
        rows += impact_rows("two_point", chosen, {name: of[k] for name, of in found.items()})
    return rows


@dataclasses.dataclass(frozen=True)
class _Grouped:
    """Positions (N, 3), unit vectors, and the group (N,) of G that each is in."""

    vectors: F64
    group: I64
    n_groups: int

    @classmethod
    def of(cls, sky: Sky, coverage: Coverage, nside: int, resampling: Resampling) -> _Grouped:
        cells = sky_cell(*sky, coverage.nside) // (coverage.nside // nside) ** 2
        return cls(unit_vectors(*sky), resampling.groups(cells), len(resampling.keys))

    def counts(self) -> F64:
        return np.bincount(self.group, minlength=self.n_groups).astype(np.float64)

    def pairs(self, other: _Grouped) -> F64:
        """Return the pairs of members of each group with all of another sample by angle, (G, K)."""
        chords = 2.0 * np.sin(0.5 * np.array(EDGES["angle"]) * _ARCSEC)
        found = np.zeros((self.n_groups, len(chords) - 1))
        if not len(self.vectors) or not len(other.vectors):
            return found
        tree = cKDTree(other.vectors)
        for one in np.unique(self.group):
            within = cKDTree(self.vectors[self.group == one]).count_neighbors(tree, chords)
            found[one] = np.diff(np.asarray(within, np.float64))
        return found


def _density(one: _Grouped, area: F64, resampling: Resampling) -> Figure:
    count = len(one.vectors)
    figure = resampling.of_sums(np.stack([one.counts(), area], axis=1), lambda s: s[:, 0] / s[:, 1], count)
    low, high = (float(end) / float(area.sum()) for end in poisson_interval(count))
    return dataclasses.replace(figure, bounds=(low, high))


def _two_point(one: _Grouped, random: _Grouped, rr: F64, resampling: Resampling) -> list[Figure]:
    n, r = float(len(one.vectors)), float(len(random.vectors))
    dd, dr = one.pairs(one), one.pairs(random)
    figures = []
    for k in range(dd.shape[1]):
        sums = np.stack([dd[:, k], dr[:, k], rr[:, k], one.counts(), random.counts()], axis=1)
        expected = 0.5 * n * (n - 1.0) * rr[:, k].sum() / max(r * (r - 1.0), 1.0)
        figure = resampling.of_sums(sums, lambda s: _landy_szalay(s, n, r), int(expected))
        pairs = 0.5 * dd[:, k].sum()
        low, high = (
            float(end) / expected - 1.0 if expected else np.nan for end in poisson_interval(int(pairs))
        )
        figures.append(dataclasses.replace(figure, n=int(pairs), bounds=(low, high)))
    return figures


def _landy_szalay(sums: F64, n: float, r: float) -> F64:
    dd, dr, rr, members, random_members = sums.T
    rr = rr / (random_members * (r - 1.0))
    return np.asarray((dd / (members * (n - 1.0)) - 2.0 * dr / (members * r) + rr) / rr)


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of the mean of a Poisson variable (Garwood 1936, Biometrika 28, 437).

    Parameters
    ----------
    count : `int`
        What was counted.
    level : `float`, optional
        Coverage.
    """
    tail = 0.5 * (1.0 - level)
    low = 0.5 * chi2.ppf(tail, 2 * count) if count else 0.0
    return float(low), float(0.5 * chi2.ppf(1.0 - tail, 2 * count + 2))
