"""What widens the pulls of injections on blank sky: artefacts that no mask knows, and neighbours.

    python benchmarks/injection_pulls.py REPO COLLECTION [--instrument SimLSST]

REPO is a simulated survey and COLLECTION a run of the pipeline to evaluateInjection. The truth of the
simulation tells both.
"""

from __future__ import annotations

import argparse

import numpy as np
from astropy.table import Table
from dia_vetting.injection.injection_curve import measured
from dia_vetting.injection.recovery import flux_bias, pull_std, pull_width, with_interval
from dia_vetting.seeding import generator
from lsst.daf.butler import Butler
from numpy.typing import NDArray
from scipy.spatial import cKDTree

type F64 = NDArray[np.float64]

SNR_RANGES = ((10.0, np.inf), (50.0, np.inf), (10.0, 100.0), (100.0, np.inf))
"""Ranges of expected signal-to-noise ratio; above 100 the errors of the matched PSF show."""


REACH, FAR = 15.0, 40.0
"""Pixels to the next artefact or changing source, and to the next injection."""


def distances(outcomes: Table, butler: Butler) -> tuple[F64, F64]:
    """Return the distance of each injection to anything in the truth and to the next injection, pixels."""
    to_truth, to_injection = np.full(len(outcomes), np.inf), np.full(len(outcomes), np.inf)
    for visit, detector in {(int(row["visit"]), int(row["detector"])) for row in outcomes}:
        rows = np.flatnonzero((outcomes["visit"] == visit) & (outcomes["detector"] == detector))
        data_id = {"visit": visit, "detector": detector}
        catalog = butler.get("injected_difference_catalog", data_id)
        place = {row["injection_id"]: (row["x"], row["y"]) for row in catalog}
        points = np.array([place[key] for key in outcomes["injection_id"][rows]])
        tables = [butler.get(name, data_id) for name in ("sim_truth_artefact", "sim_truth_source")]
        truth = np.concatenate([np.stack([table["x"], table["y"]], axis=1) for table in tables])
        to_truth[rows] = cKDTree(truth).query(points)[0]
        if len(catalog) > 1:
            every = cKDTree(np.stack([catalog["x"], catalog["y"]], axis=1))
            to_injection[rows] = every.query(points, k=2)[0][:, 1]
    return to_truth, to_injection


def main() -> None:
    """Print bias and pulls of blank sky as it is, and of what is really alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repo")
    parser.add_argument("collection")
    parser.add_argument("--instrument", default="SimLSST")
    parser.add_argument("--outcomes", default="injection_outcome", help="Dataset type of the outcomes.")
    options = parser.parse_args()
    truth_run = f"{options.instrument}/truth"
    butler = Butler.from_config(
        options.repo, collections=[options.collection, truth_run], instrument=options.instrument
    )
    outcomes = butler.get(options.outcomes)
    outcomes = outcomes[np.asarray(outcomes["blank"], bool) & np.asarray(outcomes["recovered"], bool)]
    to_truth, to_injection = distances(outcomes, butler)
    samples = {
        "blank, as the masks know": np.ones(len(outcomes), bool),
        f"and nothing of the truth within {REACH:.0f} px": to_truth > REACH,
        f"and no injection within {FAR:.0f} px": to_injection > FAR,
        "both": (to_truth > REACH) & (to_injection > FAR),
    }
    snr = np.asarray(outcomes["expected_snr"], float)
    for low, high in SNR_RANGES:
        print(f"expected SNR {low:g} to {high:g}")
        for name, keep in samples.items():
            sample = measured(outcomes[keep & (snr >= low) & (snr < high)])
            figures = [
                with_interval(sample, figure, generator("pulls", name, low)).summary()
                for figure in (flux_bias, pull_std, pull_width)
            ]
            text = "  ".join(f"{f['value']:8.4f} [{f['low']:.4f}, {f['high']:.4f}]" for f in figures)
            print(f"  {name:45s} {len(sample):5d}  bias, std, robust: {text}")


if __name__ == "__main__":
    main()
