"""Stamps of Gaussian sources with their truth, made in milliseconds, and a small model trained on them."""

import functools

import numpy as np
from dia_vetting.blends.model_io import BlendModel
from dia_vetting.blends.stamps import MAX_SOURCES, BlendStamps, BlendTruth
from dia_vetting.blends.training import TrainingSettings, train_blends
from dia_vetting.blends.training_rows import training_rows

KINDS = np.array(["single", "blend", "separated"])
PSF = 3.5
SIGMA = 2.0
THRESHOLD = 1.5


def make_stamps(
    count: int, seed: int = 0, size: int = 33, snr: float = 40.0
) -> tuple[BlendStamps, BlendTruth]:
    """Return stamps of all three kinds in turn; peaks are `snr` times the noise, up to a factor of 1.5."""
    rng = np.random.default_rng(seed)
    kind = KINDS[np.arange(count) % 3]
    n_sources = np.where(kind == "single", 1, 2)
    middle = (size - 1) / 2
    distance = np.where(kind == "blend", rng.uniform(4.0, 6.0, count), rng.uniform(11.0, middle - 4, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    x, y, flux = (np.full((count, MAX_SOURCES), np.nan) for _ in range(3))
    x[:, 0], y[:, 0] = middle + rng.uniform(-0.5, 0.5, (2, count))
    two = n_sources == 2
    x[two, 1] = (x[:, 0] + distance * np.cos(angle))[two]
    y[two, 1] = (y[:, 0] + distance * np.sin(angle))[two]
    peak = SIGMA * snr * rng.uniform(1 / 1.5, 1.5, (count, MAX_SOURCES))
    light = np.nan_to_num(peak[:, :, None, None] * _gaussians(x, y, size))
    flux[:, 0] = light[:, 0].sum(axis=(1, 2))
    flux[two, 1] = light[two, 1].sum(axis=(1, 2))
    noise = rng.normal(0, SIGMA, (count, size, size))
    images = (light.sum(axis=1) + noise).astype(np.float32)
    above = light > THRESHOLD * SIGMA
    segmentation = np.packbits(above, axis=1, bitorder="little")[:, 0]
    separation = np.where(two, distance, np.nan)
    truth = BlendTruth(
        kind=kind,
        n_sources=n_sources.astype(np.int64),
        x=x,
        y=y,
        flux=flux,
        segmentation=segmentation,
        blendedness=np.zeros(count),
        separation=separation,
        flux_ratio=np.where(two, 1.0, np.nan),
        snr=np.full(count, snr),
        group=np.arange(count),
    )
    full = np.full(count, 1.0, np.float32)
    return BlendStamps(images, SIGMA * full, PSF * full), truth


def _gaussians(x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    sigma = PSF / 2.3548
    place = np.arange(size)
    along_x = np.exp(-0.5 * ((place - x[..., None]) / sigma) ** 2)
    along_y = np.exp(-0.5 * ((place - y[..., None]) / sigma) ** 2)
    return along_y[..., :, None] * along_x[..., None, :]


QUICK = TrainingSettings(epochs=2, batch_size=30, threads=1)


@functools.cache
def small_model(method: str = "ours") -> BlendModel:
    """Return a model that has hardly been trained."""
    stamps, truth = make_stamps(90)
    options = {"ours": {"width": 4, "depth": 1}, "vgg16": {"width": 4}}.get(method, {"width": 4})
    return train_blends(method, training_rows(stamps, truth), {"gaussians": (90, 0)}, QUICK, options)
