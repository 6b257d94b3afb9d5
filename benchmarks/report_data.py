"""A synthetic run for the report page: tables as a butler gives them, and stamps that fit the sources."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from astropy.table import Table
from dia_vetting.blends.schemas import DIA_SOURCE_BLEND
from dia_vetting.confirmation.flags import VerdictFlag
from dia_vetting.confirmation.schemas import DIA_OBJECT_VERDICT, VERDICTS
from dia_vetting.embedded.source_schemas import DIA_OBJECT_FORCED_SOURCE
from dia_vetting.reliability.evaluation import EvaluationSettings, evaluate
from dia_vetting.reliability.schemas import (
    DIA_SOURCE_CUTOUT,
    DIA_SOURCE_LABEL,
    DIA_SOURCE_VETTING,
    RELIABILITY_EMBEDDING,
    RELIABILITY_TRUTH,
)
from dia_vetting.report.tables import RunTables
from dia_vetting.tables import TableSchema

__all__ = ["SyntheticRun"]

_KINDS = ("injected", "hidden", "variable", "moving", "artefact")
_OF_KIND = (0.12, 0.03, 0.08, 0.02, 0.75)
_CAUSES = ("cosmic_ray", "bright_star", "galaxy", "noise", "ghost")
_VERDICT = {
    "injected": "confirmed",
    "hidden": "candidate",
    "variable": "variable",
    "moving": "moving",
    "artefact": "artefact",
}
_BANDS = ("g", "r", "i")
_BLOCK = 2048


class SyntheticRun:
    """Objects of five kinds, detected in some of the visits.

    Parameters
    ----------
    n_sources : `int`
        DIA sources, about ten to an object.
    n_visits : `int`
        Visits, over 120 days.
    size : `int`
        Side of the stamps.
    seed : `int`
        Seed.
    """

    def __init__(self, n_sources: int, n_visits: int = 40, size: int = 30, seed: int = 0) -> None:
        self.n, self.size, self.seed = n_sources, size, seed
        rng = np.random.default_rng(seed)
        self.n_objects = max(n_sources // 10, 2)
        self.object_kind = rng.choice(_KINDS, self.n_objects, p=_OF_KIND)
        self.object_id = np.sort(rng.integers(2**62, 2**63 - 1, self.n_objects))
        self.object_ra, self.object_dec = (
            150 + rng.uniform(0, 0.5, self.n_objects),
            rng.uniform(-0.3, 0.3, self.n_objects),
        )
        owner = np.concatenate(
            [np.arange(self.n_objects), rng.integers(0, self.n_objects, n_sources - self.n_objects)]
        )
        self.owner = np.sort(owner)
        self.visit_mjd = np.sort(61000 + rng.uniform(0, 120, n_visits))
        self.visit_id = 1001 + np.arange(n_visits)
        self.visit_band = np.array(_BANDS)[np.arange(n_visits) % 3]
        # Within an object every visit at most once, as long as there are enough.
        start = np.searchsorted(self.owner, np.arange(self.n_objects))
        step = np.arange(n_sources) - start[self.owner]
        self.visit = (rng.integers(0, n_visits, self.n_objects)[self.owner] + step * 7) % n_visits
        self.kind = self.object_kind[self.owner]
        self.id = rng.permutation(n_sources) + 2**61
        self.rng = rng
        self.light = self._light()
        real = self.kind != "artefact"
        steady = 120 * (5 + rng.exponential(12, n_sources)) * np.where(rng.random(n_sources) < 0.1, -1, 1)
        seen = self.light[self.owner, self.visit] + rng.normal(0, 120, n_sources)
        self.flux = np.where(real & (self.kind != "moving"), seen, steady)
        self.snr = np.maximum(np.abs(self.flux) / 120, 5.0)
        self.score = 1 / (1 + np.exp(-np.where(real, 3.0, -3.5) + rng.normal(0, 1.4, n_sources)))
        self.score[rng.random(n_sources) < 0.01] = np.nan

    def run(self, verdicts: bool = True, embedding: bool = True, metrics: bool = True) -> RunTables:
        """Return the tables; some of them may be left out, as in a collection that lacks them."""
        common = self._common()
        truth = self._truth(common)
        figures, curves = ({}, None)
        if metrics:
            settings = EvaluationSettings({"fixed": 0.5}, replicates=100, score_prevalence=0.03)
            found, curves = evaluate(truth, settings)
            figures = {"": found}
        visits = Table(
            {"visit": self.visit_id, "mjd": self.visit_mjd, "day_obs": self._days(), "band": self.visit_band}
        )
        return RunTables(
            "Synthetic",
            "u/synthetic/run",
            "REPO",
            self._scores(common),
            visits,
            measurements=Table(
                {"diaSourceId": self.id, "psfFlux": self.flux, "psfFluxErr": np.full(self.n, 120.0)}
                | {"valid_fraction": np.ones(self.n)}
            ),
            labels=_filled(DIA_SOURCE_LABEL, common | {"state": truth["state"]}),
            blends=_filled(DIA_SOURCE_BLEND, common | {"p_blend": self.rng.beta(0.5, 2.0, self.n)}),
            truth=truth,
            embedding=self._embedding() if embedding else None,
            associations=Table({"diaSourceId": self.id, "diaObjectId": self.object_id[self.owner]}),
            objects=Table({"diaObjectId": self.object_id, "ra": self.object_ra, "dec": self.object_dec}),
            forced=self._forced(),
            verdicts=self._verdicts() if verdicts else None,
            curves=curves,
            metrics=figures,
            missing=("dia_object_verdict",) * (not verdicts) + ("reliability_embedding",) * (not embedding),
        )

    def cutouts(self) -> Iterator[Table]:
        """Yield stamps: a point on a galaxy for real sources, and for artefacts what they are."""
        grid = np.arange(self.size) - (self.size - 1) / 2
        y, x = grid[:, None], grid[None, :]
        for start in range(0, self.n, _BLOCK):
            rows = slice(start, min(start + _BLOCK, self.n))
            n = rows.stop - rows.start
            rng = np.random.default_rng([self.seed, start])
            centre = rng.uniform(-0.5, 0.5, (2, n, 1, 1))
            point = np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 1.8**2)
            along = rng.uniform(0, np.pi, (n, 1, 1))
            cross = (x * np.sin(along) - y * np.cos(along)) ** 2 / 0.3 + (
                (x * np.cos(along) + y * np.sin(along)) / 5
            ) ** 2
            ray = np.exp(-0.5 * cross)
            real = (self.kind[rows] != "artefact")[:, None, None]
            source = (
                np.where(real, point, ray) * (self.snr[rows] / 3 * np.sign(self.flux[rows]))[:, None, None]
            )
            radius = rng.uniform(2, 5, (n, 1, 1))
            host = np.exp(
                -np.hypot(x - rng.normal(0, 2, (n, 1, 1)), y - rng.normal(0, 2, (n, 1, 1))) / radius
            )
            template = 12 * host + rng.normal(0, 0.5, (n, self.size, self.size))
            difference = source + rng.normal(0, 1, (n, self.size, self.size))
            science = template + difference
            science[::25, :6] = np.nan  # at the edge of a detector
            planes = {"science": 10 * science, "template": 10 * template, "difference": 10 * difference}
            planes |= {"variance": np.full(science.shape, 100.0), "mask": np.zeros(science.shape, np.uint32)}
            yield _filled(DIA_SOURCE_CUTOUT, {"diaSourceId": self.id[rows]} | planes)

    def _common(self) -> dict[str, np.ndarray]:
        scatter = self.rng.normal(0, 0.1 / 3600, (2, self.n))
        return {
            "diaSourceId": self.id,
            "visit": self.visit_id[self.visit],
            "detector": np.zeros(self.n, int),
            "band": self.visit_band[self.visit],
            "ra": self.object_ra[self.owner] + scatter[0],
            "dec": self.object_dec[self.owner] + scatter[1],
            "snr": self.snr,
        }

    def _days(self) -> np.ndarray:
        return 20251201 + np.floor(self.visit_mjd - 61000.5).astype(int)

    def _scores(self, common: dict[str, np.ndarray]) -> Table:
        own = {
            "reliability": self.score,
            "reliability_err": np.full(self.n, 0.03),
            "ood": self.rng.random(self.n),
        }
        own |= {"model": np.full(self.n, "reliability_model"), "version": np.full(self.n, "abc1234")}
        own |= {"reason": np.where(np.isnan(self.score), "too few valid pixels", "")}
        return _filled(DIA_SOURCE_VETTING, common | own)

    def _truth(self, common: dict[str, np.ndarray]) -> Table:
        artefact = self.kind == "artefact"
        own = {
            "state": np.where(self.kind == "injected", "injected", "unlabelled"),
            "truth_class": self.kind,
            "cause": np.where(artefact, np.array(_CAUSES)[self.owner % len(_CAUSES)], ""),
            "reliability": self.score,
            "psfFlux": self.flux,
            "valid_fraction": np.ones(self.n),
        }
        return _filled(RELIABILITY_TRUTH, common | own)

    def _embedding(self) -> Table:
        kinds = {kind: i for i, kind in enumerate(_KINDS)}
        cause = np.where(self.kind == "artefact", self.owner % len(_CAUSES), 0)
        angle = 2 * np.pi * (np.array([kinds[k] for k in self.kind]) * 0.14 + cause * 0.13)
        centre = 6 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        position = centre + self.rng.normal(0, 1.3, (self.n, 2))
        shift = self.rng.integers(1, self.n, (self.n, 8))
        neighbours = self.id[(np.arange(self.n)[:, None] + shift) % self.n]
        own = {"umap_x": position[:, 0], "umap_y": position[:, 1], "neighbours": neighbours}
        own |= {"neighbour_distances": np.sort(self.rng.random((self.n, 8)), axis=1)}
        own |= {"fitted": np.ones(self.n, bool), "trained": self.rng.random(self.n) < 0.7}
        own |= {"diaSourceId": self.id, "reason": np.full(self.n, "")}
        return _filled(RELIABILITY_EMBEDDING, own)

    def _light(self) -> np.ndarray:
        """Return the flux of each object in each visit, (objects, visits)."""
        t = self.visit_mjd[None, :]
        peak = 61000 + self.rng.uniform(10, 110, (self.n_objects, 1))
        height = self.rng.uniform(500, 6000, (self.n_objects, 1))
        rise = np.where(t < peak, np.exp(-0.5 * ((t - peak) / 7) ** 2), np.exp(-(t - peak) / 30))
        wave = np.sin(2 * np.pi * t / self.rng.uniform(3, 60, (self.n_objects, 1)))
        kind = self.object_kind[:, None]
        return height * np.select(
            [np.isin(kind, ("injected", "hidden")), kind == "variable"], [rise, wave], 0.0
        )

    def _forced(self) -> Table:
        light = self.light
        m, v = light.shape
        error = np.full(m * v, 120.0)
        own = {
            "diaObjectId": np.repeat(self.object_id, v),
            "visit": np.tile(self.visit_id, m),
            "band": np.tile(self.visit_band, m),
            "midpointMjdTai": np.tile(self.visit_mjd, m),
            "psfDiffFlux": light.ravel() + error * self.rng.normal(size=m * v),
            "psfDiffFluxErr": error,
        }
        return _filled(DIA_OBJECT_FORCED_SOURCE, own)

    def _verdicts(self) -> Table:
        right = self.rng.random(self.n_objects) < 0.95
        verdict = np.where(
            right, [_VERDICT[kind] for kind in self.object_kind], self.rng.choice(VERDICTS, self.n_objects)
        )
        shape = np.where(verdict == "confirmed", int(VerdictFlag.TRANSIENT_SHAPE | VerdictFlag.RELIABLE), 0)
        shape = np.where(verdict == "artefact", int(VerdictFlag.UNRELIABLE | VerdictFlag.SAME_PIXEL), shape)
        spread = self.rng.uniform(-0.1, 0.1, self.n_objects)
        own = {
            "diaObjectId": self.object_id,
            "ra": self.object_ra,
            "dec": self.object_dec,
            "verdict": verdict,
            "probability": np.clip(self.rng.beta(9, 1, self.n_objects), 0, 1),
            "p_transient": np.where(np.isin(verdict, ("confirmed", "candidate")), 0.9, 0.1) + spread,
            "flags": shape | int(VerdictFlag.NO_STAR_CATALOG),
            "hostObjectId": self.rng.integers(2**60, 2**61, self.n_objects),
            "hostOffset": self.rng.exponential(0.6, self.n_objects),
            "hostOffsetRadii": self.rng.exponential(0.8, self.n_objects),
            "hostMag": self.rng.uniform(18, 24, self.n_objects),
        }
        return _filled(DIA_OBJECT_VERDICT, own)


def _filled(schema: TableSchema, values: dict[str, np.ndarray]) -> Table:
    """Return a table in a schema; what is not given is NaN, 0 or empty."""
    n = len(next(iter(values.values())))
    size = next((np.shape(v)[-1] for v in values.values() if np.ndim(v) == 3), 1)
    empty = {}
    for column in schema.columns:
        kind = np.dtype(column.dtype).kind
        value = {"f": np.nan, "U": "", "b": False}.get(kind, 0)
        shape = tuple(size if extent < 0 else extent for extent in column.shape)
        empty[column.name] = np.full((n, *shape), value)
    return schema.build(empty | {name: v for name, v in values.items() if name in schema.names()})
