"""Multiplicative and additive bias of shear that blending causes, by treatment, from simulated stamps.

The same scenes are made with a shear g and with -g, along both components, in the same noise: shapes and
noise cancel in the difference. The same central galaxies alone are the reference, so that the method's own
response, its noise bias and the shapes of the galaxies that a treatment leaves are in neither m nor c.
"""

from __future__ import annotations

__all__ = ["MIN_SCENES", "ShearSample", "galaxies_only", "shear_rows", "shear_sample"]

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bad_input import BadInputError
from ..presets import Preset
from ..simulation import simulate, simulate_psfs
from ..stamps import BlendStamps, BlendTruth
from .resampling import Figure, Resampling
from .rows import TREATMENTS, Bin, bins, impact_rows
from .shapes import measure_ellipticities

type F64 = NDArray[np.float64]
type Bool = NDArray[np.bool_]
type Flagger = Callable[[BlendStamps], Mapping[str, Bool]]

MIN_SCENES = 100
"""Biases of fewer scenes are NaN: shapes have long tails."""

_SIGNS = ((1.0, 0), (-1.0, 0), (1.0, 1), (-1.0, 1))
"""Sign and component of the shears."""


@dataclasses.dataclass(frozen=True)
class ShearSample:
    """N scenes, each with four shears: (+g, 0), (-g, 0), (0, +g), (0, -g).

    Parameters
    ----------
    shear : `float`
        Size g of the shear.
    blended, alone : `numpy.ndarray`, (N, 4), float64
        Component of the distortion that the shear is along, of the whole scene and of its central galaxy
        alone; NaN where either was not measured.
    dropped : `dict` [`str`, `numpy.ndarray`]
        By treatment, (N, 4), bool: what it drops, by its own answer about each image.
    quantities : `dict` [`str`, `numpy.ndarray`]
        Truth without shear to bin by, (N,).
    """

    shear: float
    blended: F64
    alone: F64
    dropped: dict[str, Bool]
    quantities: dict[str, F64]

    def __len__(self) -> int:
        return len(self.blended)

    @classmethod
    def joined(cls, parts: Sequence[ShearSample]) -> ShearSample:
        """Return the scenes of all parts, which have one shear, one part after another."""
        if len({part.shear for part in parts}) != 1:
            raise BadInputError("shear samples", "one shear", str(sorted({part.shear for part in parts})))

        def stacked(name: str, key: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name)[key] for part in parts])

        return cls(
            parts[0].shear,
            np.concatenate([part.blended for part in parts]),
            np.concatenate([part.alone for part in parts]),
            {key: stacked("dropped", key) for key in parts[0].dropped},
            {key: stacked("quantities", key) for key in parts[0].quantities},
        )


def galaxies_only(preset: Preset) -> Preset:
    """Return a preset without stars, which no shear changes."""
    population = preset.population.model_copy(update={"star_fraction": 0.0})
    return preset.model_copy(update={"population": population})


def shear_sample(
    preset: Preset, count: int, seed: int, shear: float, flagger: Flagger, jobs: int = 1
) -> ShearSample:
    """Simulate scenes and measure them.

    Parameters
    ----------
    preset : `~..presets.Preset`
        What is simulated; all sources are galaxies.
    count, seed
        Number of scenes, and seed.
    shear : `float`
        Size g.
    flagger : `~collections.abc.Callable`
        Gives, for stamps, which of them each treatment drops (see `.rows.flags_of`).
    jobs : `int`, optional
        Processes that simulate.

    Raises
    ------
    BadInputError
        If there is no stamp, or the shear is not below 1.
    """
    preset = galaxies_only(preset)
    psfs = simulate_psfs(preset, count, seed)
    truth = simulate(preset, count, seed, jobs)[1]
    blended, alone = np.full((2, count, len(_SIGNS)), np.nan)
    dropped = {name: np.zeros((count, len(_SIGNS)), bool) for name in TREATMENTS}
    for k, (sign, component) in enumerate(_SIGNS):
        applied = sign * shear * (1.0, 1.0j)[component]
        for target, companions in ((blended, True), (alone, False)):
            stamps = simulate(preset, count, seed, jobs, shear=applied, companions=companions)[0]
            rows = (truth.n_sources > 1) | companions
            e = measure_ellipticities(stamps.where(rows), psfs[rows])
            target[rows, k] = (e.real, e.imag)[component]
            if companions:
                for name, flags in flagger(stamps).items():
                    dropped[name][:, k] = flags
    single = truth.n_sources == 1  # the same pixels in both
    alone[single] = blended[single]
    both = np.isfinite(blended) & np.isfinite(alone)
    blended, alone = (np.where(both, values, np.nan) for values in (blended, alone))
    return ShearSample(shear, blended, alone, dropped, _quantities(preset, truth))


def _quantities(preset: Preset, truth: BlendTruth) -> dict[str, F64]:
    return {
        "blendedness": truth.blendedness,
        "separation": truth.separation * preset.pixel_scale,
        "snr": truth.snr,
        "flux_ratio": truth.flux_ratio,
    }


def shear_rows(sample: ShearSample, resampling: Resampling) -> list[dict[str, Any]]:
    """Return the biases of shear.

    Parameters
    ----------
    sample : `ShearSample`
        N scenes.
    resampling : `Resampling`
        Whose keys are 0 to N - 1.

    Returns
    -------
    rows : `list` of `dict`
        ``shear_m1``, ``shear_m2``: response of the scenes that are left over that of their central galaxies
        alone, minus 1. The response is half the difference of the mean distortions with g and -g, over g;
        that a treatment drops other scenes with g than with -g is in the former. ``shear_c1``, ``shear_c2``:
        mean of both signs, minus that of the same alone, over the response alone. ``shear_left``: fraction of
        the scenes that are left, ``shear_measured``: of those, with a shape; both of the image with g along
        the first component. Scenes in which a shape is missing for one of the signs, with companions or
        without, are in none of the biases.
    """
    group = np.arange(len(sample))
    rows = []
    for chosen in bins(len(sample), sample.quantities):
        for component in (0, 1):
            values = {n: _bias(sample, n, component, chosen, resampling) for n in TREATMENTS}
            for j, kind in enumerate("mc"):
                figures = {n: both[j] for n, both in values.items()}
                rows += impact_rows(f"shear_{kind}{component + 1}", chosen, figures)
        left = {n: chosen.rows & ~sample.dropped[n][:, 0] for n in TREATMENTS}
        values_left = {n: resampling.rate(group, left[n], chosen.rows) for n in TREATMENTS}
        rows += impact_rows("shear_left", chosen, values_left)
        measured = np.isfinite(sample.blended[:, 0])
        rows += impact_rows(
            "shear_measured", chosen, {n: resampling.rate(group, measured, left[n]) for n in TREATMENTS}
        )
    return rows


def _bias(
    sample: ShearSample, treatment: str, component: int, chosen: Bin, resampling: Resampling
) -> tuple[Figure, Figure]:
    """Return m and c of one component."""
    pair = slice(2 * component, 2 * component + 2)
    blended, alone = np.nan_to_num(sample.blended[:, pair]), np.nan_to_num(sample.alone[:, pair])
    there = np.isfinite(sample.blended[:, pair]).all(axis=1) & chosen.rows
    kept = there[:, None] & ~sample.dropped[treatment][:, pair]
    share = kept.mean(axis=1, keepdims=True)  # how much of the reference a scene is
    sums = np.concatenate([kept, kept * blended, share, share * alone], axis=1, dtype=np.float64)
    n = int(np.count_nonzero(share))
    return (
        resampling.of_sums(sums, _m, n, MIN_SCENES),
        resampling.of_sums(sums, lambda s: _c(s, sample.shear), n, MIN_SCENES),
    )


def _means(sums: F64) -> tuple[F64, F64]:
    """Return mean distortions (B, 2), with g and -g, of the scenes and of the galaxies alone."""
    return sums[:, 2:4] / sums[:, 0:2], sums[:, 5:7] / sums[:, 4:5]


def _m(sums: F64) -> F64:
    scene, alone = _means(sums)
    return np.asarray((scene[:, 0] - scene[:, 1]) / (alone[:, 0] - alone[:, 1]) - 1.0)


def _c(sums: F64, shear: float) -> F64:
    scene, alone = _means(sums)
    response = (alone[:, 0] - alone[:, 1]) / (2.0 * shear)
    return np.asarray(0.5 * (scene.sum(axis=1) - alone.sum(axis=1)) / response)
