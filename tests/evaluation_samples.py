"""A small synthetic survey with labels, scores, cutouts and truth, for the tests of the evaluation."""

import numpy as np
from dia_vetting.embedded.schemas import SIM_TRUTH_ARTEFACT, SIM_TRUTH_OBJECT, SIM_TRUTH_SOURCE
from dia_vetting.injection.schemas import TRANSIENT_TRUTH
from dia_vetting.reliability.evaluation_rows import DetectorInputs
from dia_vetting.reliability.schemas import (
    DIA_SOURCE_CUTOUT,
    DIA_SOURCE_LABEL,
    DIA_SOURCE_REQUIRED,
    DIA_SOURCE_VETTING,
)
from dia_vetting.reliability.truth_matching import Truth

SIZE = 30
SCALE = 0.2 / 3600


def make_detector(visit, n=300, seed=0, known=True):
    """One detector: a fifth injected, a few hidden, the rest cosmic rays and noise, mostly told apart."""
    rng = np.random.default_rng([seed, visit])
    kind = rng.choice(["injected", "hidden", "cosmic_ray", "noise"], n, p=[0.2, 0.05, 0.4, 0.35])
    real, snr = np.isin(kind, ["injected", "hidden"]), 5 + rng.exponential(8, n)
    # On a grid, so that nothing is near anything else by chance.
    x, y = 40.0 * (np.arange(n) % 25) + 20, 40.0 * (np.arange(n) // 25) + 20
    common = {
        "diaSourceId": rng.permutation(n) + 1000 * visit,
        "visit": np.full(n, visit),
        "detector": np.full(n, 3),
        "band": np.full(n, "r"),
        "ra": 150 + x * SCALE,
        "dec": y * SCALE,
        "snr": snr,
    }
    injection = np.where(kind == "injected", injection_ids(visit, n), 0)
    state = np.where(kind == "injected", "injected", "unlabelled")
    state[rng.random(n) < 0.05] = "masked"
    sign = np.where(rng.random(n) < 0.2, -1, 1)
    flux = {"psfFlux": sign * snr * 10, "psfFluxErr": np.full(n, 10.0)}
    labels = DIA_SOURCE_LABEL.build(
        common
        | {"state": state, "injection_id": injection, "nearest_injection_id": injection}
        | {"match_distance": np.full(n, np.nan), "flux_ratio": np.full(n, np.nan)}
    )
    # A fifth of the negative ones that are real are taken for artefacts.
    lost = np.where(real & (sign < 0) & (rng.random(n) < 0.2), 6.0, 0.0)
    score = 1 / (1 + np.exp(-np.where(real, 3.0, -3.0) + lost - rng.normal(0, 1.5, n)))
    score[:4] = np.nan
    scores = DIA_SOURCE_VETTING.build(
        common
        | {
            "reliability": score,
            "reliability_err": score,
            "ood": score,
            "fold": np.zeros(n, int),
            "glint_trail": kind == "noise",
        }
        | {"model": np.full(n, "own"), "version": np.full(n, "abc1234")}
        | {"reason": np.where(np.isfinite(score), "", "edge")}
    )[rng.permutation(n)]
    dia_sources = DIA_SOURCE_REQUIRED.build(common | flux | {"x": x, "y": y})[rng.permutation(n)]
    truth = make_truth(kind, x, y, flux["psfFlux"]) if known else None

    order, valid = rng.permutation(n), np.where(x < 50, 0.6, 1.0)

    def cutouts(columns=None):
        table = make_cutouts(common | flux | {"valid_fraction": valid}, order)
        return table if columns is None else table[list(columns)]

    return DetectorInputs(visit, 3, labels, scores, cutouts, dia_sources if known else None, truth)


def injection_ids(visit, n=300):
    return 1000 * visit + np.arange(n) + 1


def make_transients(visit, n=300):
    """The injections of a detector: every tenth without a host, every fourth varying."""
    rng = np.random.default_rng([7, visit])
    hosted = np.arange(n) % 10 > 0
    shape = {"host_a": 0.8, "host_b": 0.5, "host_pa": 30.0, "host_mag": rng.uniform(19, 24, n)}
    offsets = dict(zip(("delta_ra", "delta_dec"), rng.normal(0, 0.7, (2, n)), strict=True))
    sky = {name: np.zeros(n) for name in ("ra", "dec", "host_ra", "host_dec")}
    return TRANSIENT_TRUTH.build(
        {name: np.where(hosted, values, np.nan) for name, values in (shape | offsets).items()}
        | {"injection_id": injection_ids(visit, n), "host_id": hosted.astype(int), **sky}
        | {"kind": np.where(np.arange(n) % 4 == 0, "varying", "appearing")}
        | {"model": np.full(n, "test"), "parameters": np.full(n, "{}")}
    )


def make_truth(kind, x, y, flux):
    hidden, ray = kind == "hidden", kind == "cosmic_ray"
    n, m = int(hidden.sum()), int(ray.sum())
    sources = SIM_TRUTH_SOURCE.build(
        {"truth_id": np.arange(n) + 1, "kind": np.full(n, "hidden"), "ra": np.zeros(n), "dec": np.zeros(n)}
        | {"x": x[hidden] + 0.3, "y": y[hidden], "flux": flux[hidden], "trail_length": np.zeros(n)}
    )
    box = {"x_min": x[ray] - 2, "x_max": x[ray] + 2, "y_min": y[ray] - 2, "y_max": y[ray] + 2}
    artefacts = SIM_TRUTH_ARTEFACT.build(
        {"artefact_id": np.arange(m), "cause": np.full(m, "cosmic_ray"), "x": x[ray], "y": y[ray]}
        | {"flux": np.ones(m), "peak": np.full(m, 20.0), "masked": np.zeros(m, bool), **box}
    )
    return Truth(sources, artefacts, SIM_TRUTH_OBJECT.empty())


def make_cutouts(columns, order):
    n = len(order)
    planes = {name: np.zeros((n, SIZE, SIZE)) for name in ("science", "template", "difference", "mask")}
    planes["science"][:, :5] = np.nan
    planes["difference"] += np.asarray(columns["psfFlux"])[:, None, None]
    rest = {name: np.zeros(n) for name in ("diaObjectId", "psf_fwhm", "x0", "y0")}
    return DIA_SOURCE_CUTOUT.build(columns | planes | rest | {"variance": np.ones((n, SIZE, SIZE))})[order]
