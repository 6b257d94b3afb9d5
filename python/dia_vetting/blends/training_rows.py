"""Training rows: prepared stamps and their truth, as tensors on one device."""

from __future__ import annotations

__all__ = ["Batch", "TrainingRows", "TrainingTensors", "training_rows"]

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from ..bad_input import BadInputError
from .flags import unscored
from .networks.base import KINDS, MAX_COUNT, Targets
from .preparation import PreparedStamps, framed, prepare
from .stamps import BlendStamps, BlendTruth

type Bool = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """Stamps of one size and their truth.

    Parameters
    ----------
    prepared : `~.preparation.PreparedStamps`
        N stamps, of which none is unscored.
    kind : `numpy.ndarray`, (N,), int64
        Index into `~.networks.base.KINDS`.
    any_companion : `numpy.ndarray`, (N,), bool
        Where ``blend`` only says that there is a companion somewhere in the stamp.
    count : `numpy.ndarray`, (N,), int64
        Number of sources.
    maps : `numpy.ndarray`, (N, S, S), uint8
        Number of sources above the threshold in each pixel: 0, 1, or 2 for two and more.
    reach : `numpy.ndarray`, (N, 4), float32
        Smallest and largest x, smallest and largest y of the sources, pixels.
    group : `numpy.ndarray`, (N,), int64
        What is on one side of a split together.
    """

    prepared: PreparedStamps
    kind: NDArray[np.int64]
    any_companion: Bool
    count: NDArray[np.int64]
    maps: NDArray[np.uint8]
    reach: NDArray[np.float32]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def size(self) -> int:
        """Side of the stamps, pixels."""
        return int(self.maps.shape[1])

    def where(self, keep: NDArray[np.int64] | Bool) -> TrainingRows:
        """Return the rows of a mask or an index array, in that order."""
        arrays = [getattr(self, field.name)[keep] for field in dataclasses.fields(self)[1:]]
        return TrainingRows(self.prepared.where(keep), *arrays)

    @staticmethod
    def joined(parts: list[TrainingRows]) -> TrainingRows:
        """Return the rows of all parts, which have one size, one part after another."""
        names = [field.name for field in dataclasses.fields(PreparedStamps)]
        stamps = [np.concatenate([getattr(part.prepared, name) for part in parts]) for name in names]
        names = [field.name for field in dataclasses.fields(TrainingRows)[1:]]
        return TrainingRows(
            PreparedStamps(*stamps),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in names),
        )


def training_rows(
    stamps: BlendStamps, truth: BlendTruth, size: int | None = None, any_companion: bool = False
) -> TrainingRows:
    """Make training rows of simulated stamps.

    Parameters
    ----------
    stamps : `~.stamps.BlendStamps`
        N stamps of side S, with noise and PSF.
    truth : `~.stamps.BlendTruth`
        Their truth.
    size : `int`, optional
        Side to crop or pad them to, pixels; S by default.
    any_companion : `bool`, optional
        Whether the simulation calls a stamp a blend wherever the companion is in it, as the published recipe
        of Farrens et al. (2022) does.

    Returns
    -------
    rows : `TrainingRows`
        One row per stamp.

    Raises
    ------
    BadInputError
        If the numbers of rows differ, or a stamp cannot be used.
    """
    if len(stamps) != len(truth):
        raise BadInputError("training stamps", f"{len(stamps)} rows of truth", str(len(truth)))
    prepared = prepare(stamps)
    if (bad := np.flatnonzero(unscored(prepared.flags))).size:
        found = f"{bad.size} stamps with flags, the first is {bad[0]} with {prepared.flags[bad[0]]}"
        raise BadInputError("training stamps", "stamps that can all be used", found)
    prepared, offset = framed(prepared, size or prepared.pixels.shape[1])
    kind = np.array([KINDS.index(str(name)) for name in truth.kind], np.int64)
    loose = np.full(len(truth), any_companion)
    sources = np.minimum(np.bitwise_count(truth.segmentation), 2).astype(np.uint8)
    reach = [edge(axis, axis=1) + offset for axis in (truth.x, truth.y) for edge in (np.nanmin, np.nanmax)]
    return TrainingRows(
        prepared,
        kind,
        loose,
        truth.n_sources.astype(np.int64),
        _framed_maps(sources, prepared.pixels.shape[1], offset),
        np.stack(reach, axis=1).astype(np.float32),
        truth.group.astype(np.int64),
    )


def _framed_maps(sources: NDArray[np.uint8], size: int, offset: int) -> NDArray[np.uint8]:
    """Crop or pad maps as `~.preparation.framed` does with stamps."""
    side = sources.shape[1]
    maps = np.zeros((len(sources), size, size), np.uint8)
    old = slice(max(-offset, 0), max(-offset, 0) + min(side, size))
    new = slice(max(offset, 0), max(offset, 0) + min(side, size))
    maps[:, new, new] = sources[:, old, old]
    return maps


class TrainingTensors:
    """Training rows on a device, of which batches are taken.

    Parameters
    ----------
    rows : `TrainingRows`
        N rows.
    device : `torch.device`
        Where the networks are.
    """

    def __init__(self, rows: TrainingRows, device: torch.device) -> None:
        def there(values: NDArray[np.generic]) -> torch.Tensor:
            return torch.from_numpy(values).to(device)

        self.device = device
        self.pixels, self.valid = there(rows.prepared.pixels), there(rows.prepared.valid)
        self.psf_fwhm, self.kind = there(rows.prepared.psf_fwhm), there(rows.kind)
        self.any_companion = there(rows.any_companion)
        self.count = there(np.minimum(rows.count, MAX_COUNT) - 1)
        self.maps, self.reach = there(rows.maps), there(rows.reach)

    def __len__(self) -> int:
        return len(self.kind)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return some rows as they are."""
        index = torch.from_numpy(rows).to(self.device)
        pixels, valid = self.pixels[index][:, None], self.valid[index][:, None].float()
        sources = self.maps[index]
        maps = torch.stack([sources > 0, sources > 1], dim=1).float()
        targets = Targets(self.kind[index], self.any_companion[index], self.count[index], maps, valid[:, 0])
        return Batch(pixels, valid, self.psf_fwhm[index], self.reach[index], targets)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Inputs and targets of one step.

    Parameters
    ----------
    pixels, valid : `torch.Tensor`, (N, 1, S, S), float32
        Inputs of `~.networks.base.BlendNetwork.forward`.
    psf_fwhm : `torch.Tensor`, (N,), float32
        Pixels.
    reach : `torch.Tensor`, (N, 4), float32
        As in `TrainingRows`.
    targets : `~.networks.base.Targets`
        Truth.
    """

    pixels: torch.Tensor
    valid: torch.Tensor
    psf_fwhm: torch.Tensor
    reach: torch.Tensor
    targets: Targets

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what networks take."""
        return self.pixels, self.valid, self.psf_fwhm
