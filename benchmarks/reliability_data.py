"""The fields that `training_set.py` made, as network inputs with labels and truth."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from dia_vetting.reliability.inputs import NetworkInputs, concatenate_inputs, network_inputs
from dia_vetting.reliability.truth_matching import REAL, TRANSIENT
from dia_vetting.seeding import hash63
from dia_vetting.skycells import sky_cell
from numpy.typing import NDArray

UNITS = {"science": "nJy", "template": "nJy", "difference": "nJy", "variance": "nJy2", "psf_fwhm": "pix"}
KEPT = (
    "diaSourceId",
    "visit",
    "detector",
    "x",
    "y",
    "ra",
    "dec",
    "snr",
    "psfFlux",
    "psfFluxErr",
    "psf_fwhm",
    "state",
    "injection_id",
    "truth_class",
    "cause",
)
NSIDE = 4096


@dataclasses.dataclass(frozen=True)
class Rows:
    """N rows that are labelled injected or unlabelled and can be scored, from any number of fields.

    ``inputs`` has their stamps; ``columns`` what else is known, by name, each (N,): those of KEPT, ``field``,
    and ``cell``, which differs between fields even where their skies overlap.
    """

    inputs: NetworkInputs
    columns: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: Any) -> "Rows":
        return Rows(self.inputs[rows], {name: values[rows] for name, values in self.columns.items()})

    @property
    def injected(self) -> NDArray[np.bool_]:
        """Whether each row is labelled injected."""
        return np.asarray(self.columns["state"] == "injected")

    @property
    def artefact(self) -> NDArray[np.bool_]:
        """Whether each row is an artefact, by the truth."""
        return np.asarray(self.columns["truth_class"] == "artefact")

    @property
    def real(self) -> NDArray[np.bool_]:
        """Whether each row is astrophysical, by the truth."""
        return np.isin(self.columns["truth_class"], REAL)

    @property
    def transient(self) -> NDArray[np.bool_]:
        """Whether each row is a transient, by the truth."""
        return np.isin(self.columns["truth_class"], TRANSIENT)

    @property
    def negative_flux(self) -> NDArray[np.bool_]:
        """Whether the template is brighter at each row."""
        return np.asarray(self.columns["psfFlux"] < 0)


def stack(parts: Sequence[Rows]) -> Rows:
    """Put rows together."""
    names = parts[0].columns
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
    return Rows(concatenate_inputs([part.inputs for part in parts]), columns)


def load(folder: Path, fields: Sequence[str], size: int = 30, binned: bool = False) -> Rows:
    """Read fields (``lsst_101``, ...) as stamps of a size, or at half the resolution.

    What was made of a field once is kept beside it and read again the next time.
    """
    return stack([_kept(folder / f"{field}.npz", size, binned) for field in fields])


def _kept(path: Path, size: int, binned: bool) -> Rows:
    target = path.with_name("prepared") / f"{path.stem}_{'binned' if binned else size}.npz"
    if not target.exists():
        rows = _load(path, size, binned)
        target.parent.mkdir(exist_ok=True)
        beside = target.with_suffix(f".{os.getpid()}.npz")
        np.savez(beside, stamps=rows.inputs.stamps, metadata=rows.inputs.metadata, **rows.columns)
        beside.rename(target)
        return rows
    with np.load(target) as file:
        columns = {name: file[name] for name in file.files}
    return Rows(NetworkInputs(columns.pop("stamps"), columns.pop("metadata")), columns)


def _load(path: Path, size: int, binned: bool) -> Rows:
    with np.load(path) as file:
        raw = {name: file[name] for name in file.files}
    usable = np.isin(raw["state"], ("injected", "unlabelled")) & np.isfinite(raw["ra"])
    raw = {name: values[usable] for name, values in raw.items()}
    stamps = {name: raw[name] for name in ("science", "template", "difference", "variance", "mask")}
    if binned:
        stamps = _binned(stamps)
        raw["psf_fwhm"] = np.hypot(raw["psf_fwhm"] / 2, 0.6)  # the larger pixel widens the PSF
    elif size % 2 == 0:
        stamps = _even(stamps, size, raw["x"], raw["y"])
    table = Table({**stamps, "psf_fwhm": raw["psf_fwhm"], "snr": raw["snr"], "band": raw["band"]})
    table["mask"] = table["mask"].astype(np.uint32)
    for name, unit in UNITS.items():
        table[name].unit = unit
    inputs = network_inputs(table, size=size, source=path.name)
    cells = sky_cell(raw["ra"], raw["dec"], NSIDE)
    columns = {name: raw[name] for name in KEPT}
    columns["psf_fwhm"] = raw["psf_fwhm"]
    columns["field"] = np.full(len(inputs), path.stem)
    columns["cell"] = cells ^ (hash63(path.stem) >> 8)  # never equal between fields
    columns["sky_cell"] = cells
    return Rows(inputs, columns)


def _even(
    stamps: dict[str, NDArray[Any]], size: int, x: NDArray[Any], y: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Cut stamps of an even size out of those of 51 pixels, exactly as `extractCutouts` would have."""
    side = stamps["mask"].shape[-1]
    first = [np.ceil(c - size / 2).astype(int) - np.ceil(c - side / 2).astype(int) for c in (y, x)]
    rows = np.arange(len(x))[:, None, None]
    pixel_y = first[0][:, None, None] + np.arange(size)[:, None]
    pixel_x = first[1][:, None, None] + np.arange(size)
    return {name: plane[rows, pixel_y, pixel_x] for name, plane in stamps.items()}


def _binned(stamps: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Add up each 2 x 2 pixels: what a camera of half the resolution would have seen, 24 x 24."""

    def blocks(plane: NDArray[Any]) -> NDArray[Any]:
        return plane[:, 1:49, 1:49].reshape(len(plane), 24, 2, 24, 2)

    result = {name: blocks(plane).sum(axis=(2, 4)) for name, plane in stamps.items() if name != "mask"}
    result["mask"] = np.bitwise_or.reduce(np.bitwise_or.reduce(blocks(stamps["mask"]), axis=4), axis=2)
    return result
