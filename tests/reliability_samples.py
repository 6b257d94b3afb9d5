"""Synthetic cutouts and labels that the tests of networks, training and scoring share."""

from __future__ import annotations

import functools

import numpy as np
from astropy.table import Table
from dia_vetting.masks import MaskBit
from dia_vetting.reliability.schemas import DIA_SOURCE_CUTOUT, DIA_SOURCE_LABEL
from dia_vetting.reliability.train_reliability import TrainReliabilityConfig, TrainReliabilityTask
from dia_vetting.reliability.training_rows import LabelledCutouts

NOISE = 10.0
"""Standard deviation of the difference, nJy."""


def _gaussian(size, x, y, sigma):
    grid = np.arange(size)
    gx = np.exp(-0.5 * ((grid - x[:, None]) / sigma) ** 2)
    gy = np.exp(-0.5 * ((grid - y[:, None]) / sigma) ** 2)
    stamp = gy[:, :, None] * gx[:, None, :]
    return stamp / stamp.sum(axis=(1, 2), keepdims=True)


def make_cutouts(n, size=30, seed=0, injected_fraction=0.4, ra0=150.0, span=0.1):
    """Return cutouts, labels and which rows are injected.

    Injected ones are Gaussian points on hosts; the others are in thirds cosmic rays, dipoles and noise.
    """
    rng = np.random.default_rng(seed)
    injected = rng.random(n) < injected_fraction
    centre = (size - 1) / 2
    x, y = centre + rng.uniform(-0.5, 0.5, (2, n))
    snr = rng.uniform(6, 40, n)
    sigma = 1.7
    flux = snr * NOISE * 2 * np.sqrt(np.pi) * sigma
    hosts = _gaussian(size, x + rng.normal(0, 2, n), y + rng.normal(0, 2, n), 4.0)
    hosts *= (flux * rng.uniform(0.5, 5, n))[:, None, None]
    source = _gaussian(size, x, y, sigma) * flux[:, None, None]
    kind = rng.integers(3, size=n)
    rays = np.zeros((n, size, size))
    rows = np.arange(n)
    steps = rng.integers(-1, 2, (2, n))
    for step in range(3):
        column, row = np.round(x).astype(int) + step * steps[0], np.round(y).astype(int) + step * steps[1]
        rays[rows, row, column] += flux / 4
    shift = rng.normal(0, 0.4, (2, n))
    dipole = _gaussian(size, x + shift[0], y + shift[1], sigma) - _gaussian(size, x, y, sigma)
    bogus = np.where((kind == 0)[:, None, None], rays, 0.0)
    bogus = np.where((kind == 1)[:, None, None], dipole * 5 * flux[:, None, None], bogus)
    difference = np.where(injected[:, None, None], source, bogus) + rng.normal(0, NOISE, (n, size, size))
    template = hosts + rng.normal(0, NOISE / 3, (n, size, size))
    position = ra0 + rng.uniform(0, span, n), rng.uniform(-span / 2, span / 2, n)
    visit = rng.integers(1, 4, n)
    common = {
        "diaSourceId": rng.permutation(n) + 1_000_000 * (seed + 1),
        "visit": visit,
        "detector": np.zeros(n, dtype=int),
        "band": np.full(n, "r"),
        "ra": position[0],
        "dec": position[1],
        "snr": snr,
    }
    cutouts = DIA_SOURCE_CUTOUT.build(
        common
        | {
            "diaObjectId": np.zeros(n, dtype=int),
            "psfFlux": flux,
            "psfFluxErr": flux / snr,
            "science": difference + template + 500.0,
            "template": template + 300.0,
            "difference": difference,
            "variance": np.full((n, size, size), NOISE**2),
            "mask": np.full((n, size, size), MaskBit.DETECTED, dtype=np.uint32),
            "psf_fwhm": np.full(n, 4.0),
            "x0": np.zeros(n, dtype=int),
            "y0": np.zeros(n, dtype=int),
            "valid_fraction": np.ones(n),
        }
    )
    labels = DIA_SOURCE_LABEL.build(
        common
        | {
            "state": np.where(injected, "injected", "unlabelled"),
            "injection_id": np.where(injected, np.arange(1, n + 1), 0),
            "nearest_injection_id": np.zeros(n, dtype=int),
            "match_distance": np.full(n, np.nan),
            "flux_ratio": np.full(n, np.nan),
        }
    )
    return cutouts, labels, injected


def by_visit(table: Table):
    """Return the rows of each visit, by visit."""
    return {int(visit): table[table["visit"] == visit] for visit in np.unique(table["visit"])}


def lazily(cutouts: Table, labels: Table):
    """Return what `TrainReliabilityTask.run` takes: one entry per visit."""
    stamps, states = by_visit(cutouts), by_visit(labels)
    return [
        LabelledCutouts(
            f"visit {visit}", functools.partial(states.get, visit), functools.partial(stamps.get, visit)
        )
        for visit in states
    ]


def trained_task(**changes):
    """Return a training task that is done in seconds: the default strategy, three folds of two networks."""
    config = TrainReliabilityConfig()
    short = {"architecture": "seed_cnn", "epochs": 3, "minUpdates": 40, "folds": 3, "minExamples": 20}
    for name, value in (short | changes).items():
        setattr(config, name, value)
    config.validate()
    return TrainReliabilityTask(config=config)


@functools.cache
def trained():
    """Return cutouts, labels and what a short training on them returns."""
    cutouts, labels, _ = make_cutouts(700, size=21)
    return cutouts, labels, trained_task().run(lazily(cutouts, labels), "Synthetic")
