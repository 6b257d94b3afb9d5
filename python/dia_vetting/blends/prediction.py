"""What methods say of stamps, and how networks are asked: in small batches, one answer per stamp."""

from __future__ import annotations

__all__ = [
    "BlendMaps",
    "BlendPrediction",
    "Calibration",
    "RawOutputs",
    "predict",
    "predict_maps",
    "raw_outputs",
]

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from .flags import BlendFlag, unscored
from .preparation import PreparedStamps, framed

if TYPE_CHECKING:
    import torch

    from .networks.base import BlendNetwork

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]
type I64 = NDArray[np.int64]

_MICRO_BATCH = {"cpu": 64, "cuda": 2048}
"""Stamps of 51 pixels per forward pass: on a CPU, the maps of many more leave the cache."""


@dataclasses.dataclass(frozen=True)
class BlendPrediction:
    """What a method says of N stamps, in their order.

    Rows with a bit of `.flags.UNSCORED` are NaN throughout.

    Parameters
    ----------
    p_blend : `numpy.ndarray`, (N,), float64
        Probability that the source in the middle is blended with another; 0 or 1 from methods that only
        decide.
    p_companion : `numpy.ndarray`, (N,), float64
        Probability that there is another source in the stamp, blended or not. The same as ``p_blend`` from
        methods that do not tell.
    n_sources : `numpy.ndarray`, (N,), float64
        Most probable number of sources in the stamp, 4 for 4 or more; NaN from methods that do not count.
    overlap_area : `numpy.ndarray`, (N,), float64
        Pixels in which two or more sources are above the threshold of the segmentation; NaN from methods that
        do not tell.
    flags : `numpy.ndarray`, (N,), int64
        Bits of `.flags.BlendFlag`.
    """

    p_blend: F64
    p_companion: F64
    n_sources: F64
    overlap_area: F64
    flags: I64

    def __len__(self) -> int:
        return len(self.flags)

    @classmethod
    def unknown(cls, flags: I64) -> BlendPrediction:
        """Return rows without scores, to be filled."""
        nan = np.full((4, len(flags)), np.nan)
        return cls(nan[0], nan[1], nan[2], nan[3], flags.copy())

    @staticmethod
    def joined(parts: Sequence[BlendPrediction]) -> BlendPrediction:
        """Return the rows of all parts, one part after another."""
        names = [field.name for field in dataclasses.fields(BlendPrediction)]
        return BlendPrediction(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How logits of kinds become probabilities, and what is said of numbers and overlaps.

    Parameters
    ----------
    scale : `float`
        Factor of all logits: the inverse of the temperature (Guo et al. 2017, arXiv:1706.04599).
    offset : `float`
        What is then added to all but the first.
    count_weights : `tuple` [`float`, `float`, `float`, `float`]
        The number of sources is that of the largest product of probability and weight.
    overlap_threshold : `float`
        Probability from which a pixel counts as an overlap.
    """

    scale: float = 1.0
    offset: float = 0.0
    count_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    overlap_threshold: float = 0.5

    def log_probabilities(self, kinds: NDArray[np.floating]) -> F64:
        """Return log probabilities of kinds, (N, K) float64, from logits (N, K)."""
        logits = self.scale * np.asarray(kinds, np.float64)
        logits[:, 1:] += self.offset
        return np.asarray(log_softmax(logits, axis=1))

    def numbers(self, counts: NDArray[np.floating]) -> F64:
        """Return numbers of sources, (N,) float64, from probabilities (N, 4); NaN where these are."""
        known = np.isfinite(counts).all(axis=1)
        best = np.nan_to_num(counts * np.array(self.count_weights)).argmax(axis=1)
        return np.where(known, 1.0 + best, np.nan)


@dataclasses.dataclass(frozen=True)
class BlendMaps:
    """Probabilities per pixel of N stamps.

    Parameters
    ----------
    source, overlap : `numpy.ndarray`, (N, S, S), float32
        That at least one source, and at least two, are above the threshold of the segmentation.
    threshold : `float`
        Probability from which a pixel counts as an overlap.
    """

    source: F32
    overlap: F32
    threshold: float = 0.5


@dataclasses.dataclass(frozen=True)
class RawOutputs:
    """Mean outputs of the networks of a model.

    Parameters
    ----------
    kinds : `numpy.ndarray`, (N, K), float32
        Logits.
    counts : `numpy.ndarray`, (N, 4), float32
        Probabilities; NaN where the networks do not count.
    overlap_area : `numpy.ndarray`, (N,), float32
        Pixels; NaN where the networks make no maps.
    """

    kinds: F32
    counts: F32
    overlap_area: F32


def predict(
    networks: Sequence[BlendNetwork], calibration: Calibration, size: int, prepared: PreparedStamps
) -> BlendPrediction:
    """Ask networks about stamps.

    Parameters
    ----------
    networks : `~collections.abc.Sequence` of `~.networks.base.BlendNetwork`
        Their logits are averaged.
    calibration : `Calibration`
        Of that average.
    size : `int`
        Side that the networks were trained with, pixels; larger stamps are cropped, smaller ones padded.
    prepared : `~.preparation.PreparedStamps`
        N stamps.

    Returns
    -------
    prediction : `BlendPrediction`
        One row per stamp.
    """
    frame, _ = _framed(networks, size, prepared)
    answer = BlendPrediction.unknown(frame.flags)
    rows = np.flatnonzero(~unscored(frame.flags))
    raw = raw_outputs(networks, frame.where(rows), calibration.overlap_threshold, (size - 1) / 2)
    good = np.isfinite(raw.kinds).all(axis=1)
    answer.flags[rows[~good]] |= int(BlendFlag.NO_ANSWER)
    rows, kinds = rows[good], raw.kinds[good]
    log_p = calibration.log_probabilities(kinds)
    answer.p_blend[rows] = np.exp(log_p[:, 1])
    answer.p_companion[rows] = np.exp(logsumexp(log_p[:, 1:], axis=1))
    answer.n_sources[rows] = calibration.numbers(raw.counts[good])
    answer.overlap_area[rows] = raw.overlap_area[good]
    return answer


def _framed(
    networks: Sequence[BlendNetwork], size: int, prepared: PreparedStamps
) -> tuple[PreparedStamps, int]:
    """Return stamps at the size of the networks, without what these ignore, and where they begin."""
    return framed(prepared, size, all(network.ignores_padding for network in networks))


def raw_outputs(
    networks: Sequence[BlendNetwork],
    prepared: PreparedStamps,
    overlap_threshold: float = 0.5,
    middle: float | None = None,
) -> RawOutputs:
    """Return the mean outputs of networks.

    Parameters
    ----------
    networks : `~collections.abc.Sequence` of `~.networks.base.BlendNetwork`
        One or more, in evaluation mode, on one device.
    prepared : `~.preparation.PreparedStamps`
        N stamps, of the size of the networks.
    overlap_threshold : `float`, optional
        Probability from which a pixel counts as an overlap.
    middle : `float`, optional
        As for `~.networks.base.BlendNetwork.forward`.
    """
    import torch

    count = len(prepared)
    kinds: list[F32] = []
    counts = np.full((count, 4), np.nan, np.float32)
    area = np.full(count, np.nan, np.float32)
    # Maps of several networks are averaged, so that all of them are needed.
    asked = [networks[0].scored] if len(networks) == 1 else networks
    for rows, inputs in _batches(networks, prepared):
        outputs = [ask(*inputs, middle) for ask in asked]
        kinds.append(torch.stack([one.kinds for one in outputs]).mean(0).cpu().numpy())
        # Probabilities are averaged: the largest one counts.
        numbers = [one.counts.softmax(1) for one in outputs if one.counts is not None]
        if len(numbers) == len(outputs):
            counts[rows] = torch.stack(numbers).mean(0).cpu().numpy()
        maps = [one.maps[:, 1].sigmoid() for one in outputs if one.maps is not None]
        if len(maps) == len(outputs):
            overlap = torch.stack(maps).mean(0) > overlap_threshold
            area[rows] = _areas(overlap, inputs[1][:, 0], outputs[0].map_rows)
    empty = np.zeros((0, 2), np.float32)
    return RawOutputs(np.concatenate(kinds) if kinds else empty, counts, area)


def _areas(overlap: torch.Tensor, valid: torch.Tensor, rows: torch.Tensor | None) -> F32:
    """Return the number of valid pixels in each map, 0 where there is no map."""
    if rows is None:
        areas = (overlap & (valid > 0)).sum((1, 2))
    else:
        areas = valid.new_zeros(len(valid), dtype=overlap.sum().dtype)
        areas[rows] = (overlap & (valid[rows] > 0)).sum((1, 2))
    return np.asarray(areas.cpu().numpy(), np.float32)


def predict_maps(
    networks: Sequence[BlendNetwork], calibration: Calibration, size: int, prepared: PreparedStamps
) -> BlendMaps:
    """Return where networks see sources and overlaps.

    Parameters
    ----------
    networks, calibration, size, prepared
        As for `predict`; the networks must make maps.

    Returns
    -------
    maps : `BlendMaps`
        At the size of the stamps; NaN where a stamp has no score, and outside of what the networks look at.
    """
    side, middle = prepared.pixels.shape[1], (size - 1) / 2
    frame, offset = _framed(networks, size, prepared)
    size = frame.pixels.shape[1]
    maps = np.full((len(frame), 2, size, size), np.nan, np.float32)
    rows = np.flatnonzero(~unscored(frame.flags))
    for part, inputs in _batches(networks, frame.where(rows)):
        logits = [network(*inputs, middle).maps for network in networks]
        mean = sum(one.sigmoid() for one in logits if one is not None) / len(logits)
        maps[rows[part]] = mean.cpu().numpy()
    if side == size:
        return BlendMaps(maps[:, 0], maps[:, 1], calibration.overlap_threshold)
    whole = np.full((len(frame), 2, side, side), np.nan, np.float32)
    old = slice(max(-offset, 0), max(-offset, 0) + min(side, size))
    new = slice(max(offset, 0), max(offset, 0) + min(side, size))
    whole[:, :, old, old] = maps[:, :, new, new]
    return BlendMaps(whole[:, 0], whole[:, 1], calibration.overlap_threshold)


def _batches(
    networks: Sequence[BlendNetwork], prepared: PreparedStamps
) -> Iterator[tuple[slice, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
    """Yield rows and inputs of each forward pass, on the device of the networks."""
    import torch

    device = next(iter(networks[0].state_dict().values())).device
    side = prepared.pixels.shape[1]
    step = max(_MICRO_BATCH[device.type] * 51**2 // max(side, 1) ** 2, 8)
    cudnn = torch.backends.cudnn
    with torch.inference_mode(), cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for start in range(0, len(prepared), step):
            rows = slice(start, start + step)
            pixels = torch.from_numpy(prepared.pixels[rows]).to(device)[:, None]
            valid = torch.from_numpy(prepared.valid[rows]).to(device, torch.float32)[:, None]
            yield rows, (pixels, valid, torch.from_numpy(prepared.psf_fwhm[rows]).to(device))
