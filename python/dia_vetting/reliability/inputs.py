"""What a network sees: cutouts in units of the local noise, with validity and a few numbers beside them.

The pixels on disk stay raw; this is the one place where they are normalised, for training and for scoring
alike. Nothing but pixels, PSF width, signal-to-noise ratio and band enters: no position, no visit, and never
a plane that says where a source was injected.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..errors import BadInputError
from ..masks import INJECTION_BITS, MaskBit
from .schemas import DIA_SOURCE_CUTOUT

__all__ = [
    "CHANNELS",
    "CUTOUT_COLUMNS",
    "LAYOUT",
    "METADATA",
    "SIZES",
    "InjectionLeakError",
    "NetworkInputs",
    "StampSizeError",
    "concatenate_inputs",
    "network_inputs",
    "unscorable_reasons",
]

type F16 = NDArray[np.float16]
type F32 = NDArray[np.float32]
type Bool = NDArray[np.bool_]

CHANNELS = ("science", "template", "difference", "valid", "flagged")
"""Channels of the network input, in order."""

METADATA = ("psf_fwhm", "snr", "band")
"""Numbers beside the stamps, in order; an architecture's options say which of them it looks at."""

LAYOUT = "asinh-sigma-2"
"""Name of this layout and normalisation; a model works only with the one that it was trained with."""

SIZES = (21, 101)
"""Smallest and largest side of a stamp that networks take, pixels."""

_PLANES = ("science", "template", "difference", "variance", "mask")

CUTOUT_COLUMNS = (*_PLANES, *METADATA)
"""Columns of a cutout table that inputs are made of."""

_WAVELENGTH = {"u": 0.37, "g": 0.48, "r": 0.62, "i": 0.75, "z": 0.87, "y": 0.97}
"""Effective wavelength of a band, micron, rounded: LSST's, which those of other cameras are near."""

_BORDER = 3
"""Width in pixels of the stamp border that background and noise are taken from."""

_CHUNK = 512
"""Rows normalised at a time, which bounds the memory of the temporaries."""

_FLAGGED = (
    MaskBit.BAD
    | MaskBit.SAT
    | MaskBit.CR
    | MaskBit.INTRP
    | MaskBit.SUSPECT
    | MaskBit.STREAK
    | MaskBit.CROSSTALK
    | MaskBit.SAT_TEMPLATE
    | MaskBit.BAD_TEMPLATE
)
_NO_DATA = MaskBit.NO_DATA | MaskBit.NO_DATA_TEMPLATE


class InjectionLeakError(BadInputError):
    """Cutouts whose mask says where sources were injected: a network would learn the answer."""


class StampSizeError(BadInputError):
    """Stamps too small or too large for the networks."""


@dataclasses.dataclass(frozen=True)
class NetworkInputs:
    """Network inputs of N sources.

    Parameters
    ----------
    stamps : `numpy.ndarray`, (N, 5, S, S), float16
        As [n, channel, y, x] in the order of `CHANNELS`. Half precision (1 part in 2048 of the noise) halves
        the memory of a training set and is undone per micro-batch.
    metadata : `numpy.ndarray`, (N, 3), float32
        In the order of `METADATA`: ``log2(psf_fwhm / 4 pixels)``, ``log10(snr / 10)``,
        ``(wavelength / micron - 0.65) / 0.2``; 0 where that is not known.

    Raises
    ------
    ValueError
        If the two differ in length.
    """

    stamps: F16
    metadata: F32

    def __post_init__(self) -> None:
        if len(self.stamps) != len(self.metadata):
            raise ValueError(f"{len(self.stamps)} stamps and {len(self.metadata)} rows of metadata.")

    def __len__(self) -> int:
        return len(self.stamps)

    def __getitem__(self, rows: Any) -> NetworkInputs:
        """Return some of the rows: a slice, indices or bool (N,)."""
        return NetworkInputs(self.stamps[rows], self.metadata[rows])

    @property
    def size(self) -> int:
        """Side of the stamps, pixels."""
        return int(self.stamps.shape[-1])


def concatenate_inputs(parts: list[NetworkInputs]) -> NetworkInputs:
    """Put inputs of one stamp size together, in order; at least one."""
    return NetworkInputs(
        np.concatenate([part.stamps for part in parts]), np.concatenate([part.metadata for part in parts])
    )


def network_inputs(
    cutouts: Table, size: int | None = None, source: str = "dia_source_cutout"
) -> NetworkInputs:
    """Make network inputs of cutouts.

    Science and template are ``asinh((pixel - background) / noise)``, with the median of the stamp's border as
    background and the square root of the median variance there as noise; the difference is
    ``asinh(pixel / sqrt(variance))``. ``valid`` is 1 where all three were measured and 0 elsewhere, where the
    others are 0 as well; ``flagged`` is 1 where a mask plane speaks of a defect.

    Parameters
    ----------
    cutouts : `astropy.table.Table`
        Rows of `~.schemas.DIA_SOURCE_CUTOUT`; the columns `CUTOUT_COLUMNS` are enough.
    size : `int`, optional
        Side of the stamps wanted; larger ones are cropped about their centre, smaller ones padded with
        pixels that are not valid. Where it differs from the side found by an odd number, the stamps get one
        pixel more than wanted, so that the source stays within half a pixel of their centre. As they are by
        default.
    source : `str`, optional
        Where the table comes from, for messages.

    Returns
    -------
    inputs : `NetworkInputs`
        Rows as in ``cutouts``.

    Raises
    ------
    InjectionLeakError
        If the mask has an injection plane.
    StampSizeError
        If the stamps are smaller or larger than `SIZES`.
    TableSchemaError
        If a column is missing or of another kind or unit.
    """
    DIA_SOURCE_CUTOUT.check(cutouts, source, CUTOUT_COLUMNS)
    stamps = {name: np.asarray(cutouts[name]) for name in _PLANES}
    found = stamps["science"].shape[-1] if len(cutouts) else (size or SIZES[0])
    for side in (found, size or found):
        if not SIZES[0] <= side <= SIZES[1]:
            raise StampSizeError(source, f"stamps of {SIZES[0]} to {SIZES[1]} pixels", f"{side} pixels")
    if len(cutouts) and np.any(np.bitwise_or.reduce(stamps["mask"], axis=None) & np.uint32(INJECTION_BITS)):
        raise InjectionLeakError(source, "a mask without injection planes", "INJECTED or INJECTED_CORE set")
    side = found if size is None else size + (size - found) % 2
    inputs = np.zeros((len(cutouts), len(CHANNELS), side, side), dtype=np.float16)
    into, of = _overlap(found, side)
    for start in range(0, len(cutouts), _CHUNK):
        rows = slice(start, start + _CHUNK)
        chunk = {name: plane[rows, of, of] for name, plane in stamps.items()}
        inputs[rows, :, into, into] = _normalise(**chunk)
    return NetworkInputs(inputs, _metadata(cutouts))


def _metadata(cutouts: Table) -> F32:
    """Return the numbers beside the stamps, (N, 3) float32."""
    fwhm, snr = (np.asarray(cutouts[name], dtype=float) for name in ("psf_fwhm", "snr"))
    bands, of_row = np.unique(np.asarray(cutouts["band"], dtype=str), return_inverse=True)
    wavelength = np.array([_WAVELENGTH.get(band, np.nan) for band in bands.tolist()], dtype=float)[of_row]
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = [np.log2(fwhm / 4.0), np.log10(np.abs(snr) / 10.0), (wavelength - 0.65) / 0.2]
    values = np.stack(columns, axis=1)
    return np.where(np.isfinite(values), np.clip(values, -4.0, 4.0), 0.0).astype(np.float32)


def unscorable_reasons(inputs: NetworkInputs, minimum: float) -> NDArray[np.str_]:
    """Say which stamps hold too little to be scored.

    Parameters
    ----------
    inputs : `NetworkInputs`
        N rows.
    minimum : `float`
        Smallest fraction of valid pixels.

    Returns
    -------
    reasons : `numpy.ndarray`, (N,), str
        "too few valid pixels", "no valid pixel at the centre" (the 5 x 5 or 6 x 6 central ones), or empty.
    """
    valid = inputs.stamps[:, CHANNELS.index("valid")] > 0
    size = valid.shape[-1]
    centre = slice((size - 1) // 2 - 2, size // 2 + 3)
    few = valid.mean(axis=(1, 2)) < minimum
    blind = ~valid[:, centre, centre].any(axis=(1, 2))
    return np.where(few, "too few valid pixels", np.where(blind, "no valid pixel at the centre", ""))


def _overlap(found: int, wanted: int) -> tuple[slice, slice]:
    """Return where in the wanted stamp the pixels go, and which of those found they are."""
    crop, pad = max(found - wanted, 0) // 2, max(wanted - found, 0) // 2
    common = min(found, wanted)
    return slice(pad, pad + common), slice(crop, crop + common)


def _normalise(science: F32, template: F32, difference: F32, variance: F32, mask: NDArray[np.uint32]) -> F16:
    """Return float16 [n, 5, S, S] of stamps [n, S, S]."""
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(science) & np.isfinite(template) & np.isfinite(difference)
        valid &= np.isfinite(variance) & (variance > 0) & ((mask & np.uint32(_NO_DATA)) == 0)
    sigma = np.sqrt(np.where(valid, variance, np.float32(1)))
    noise = _border_median(sigma, valid, default=1.0)
    output = np.zeros((len(science), len(CHANNELS), *science.shape[1:]), dtype=np.float16)
    for channel, plane in enumerate((science, template)):
        excess = np.where(valid, plane, np.float32(0)) - _border_median(plane, valid, default=0.0)
        output[:, channel] = np.where(valid, np.arcsinh(excess / noise), 0)
    output[:, 2] = np.where(valid, np.arcsinh(np.where(valid, difference, 0) / sigma), 0)
    output[:, 3] = valid
    output[:, 4] = (mask & np.uint32(_FLAGGED)) != 0
    return output


def _border_median(plane: F32, valid: Bool, default: float) -> F32:
    """Return the median over the valid border pixels, else over all valid ones, as [n, 1, 1]."""
    inner = slice(_BORDER, -_BORDER)
    border = np.ones(plane.shape[1:], dtype=bool)
    border[inner, inner] = False
    medians = _median(plane[:, border], valid[:, border])
    missing = np.isnan(medians)
    if missing.any():
        shape = (int(missing.sum()), -1)
        medians[missing] = _median(plane[missing].reshape(shape), valid[missing].reshape(shape))
    return np.where(np.isnan(medians), np.float32(default), medians)[:, None, None]


def _median(values: F32, valid: Bool) -> F32:
    """Return the median over the valid values of each row, NaN where there is none."""
    ordered = np.sort(np.where(valid, values, np.float32(np.inf)), axis=1)
    count = valid.sum(axis=1)
    last = np.maximum(count - 1, 0)
    rows = np.arange(len(values))
    middle = 0.5 * (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2])
    return np.where(count > 0, middle, np.nan).astype(np.float32)
