"""Stamps of one source each, their truth where they are simulated, and reading them from a file."""

from __future__ import annotations

__all__ = ["MAX_SIZE", "MAX_SOURCES", "MIN_SIZE", "BlendStamps", "BlendTruth", "read_stamps"]

import dataclasses
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..bad_input import BadInputError

MAX_SOURCES = 5
"""Largest number of sources in a stamp."""

MIN_SIZE, MAX_SIZE = 25, 128
"""Smallest and largest side of a stamp that the methods take, pixel."""


@dataclasses.dataclass(frozen=True)
class BlendStamps:
    """Square stamps, each about one source.

    Parameters
    ----------
    images : `numpy.ndarray`, (N, S, S) or (N, B, S, S), float32
        Pixels, last axis x, in any unit. The axis of bands is there only where bands were asked for.
    noise_sigma : `numpy.ndarray`, (N,) or (N, B), float32
        Rms of a blank pixel, in the same unit; NaN where it is not known.
    psf_fwhm : `numpy.ndarray`, (N,) or (N, B), float32
        FWHM of the PSF with the response of the pixel in it, pixels; NaN where it is not known.
    """

    images: NDArray[np.float32]
    noise_sigma: NDArray[np.float32]
    psf_fwhm: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def where(self, keep: ArrayLike) -> BlendStamps:
        """Return the stamps of a mask, a slice or an index array, in that order."""
        return _taken(self, keep)

    @staticmethod
    def joined(parts: Sequence[BlendStamps]) -> BlendStamps:
        """Return the stamps of all parts, one part after another."""
        return _joined(parts)


@dataclasses.dataclass(frozen=True)
class BlendTruth:
    """What is in simulated stamps, one row per stamp, one column per source; the first source is the central.

    Parameters
    ----------
    kind : `numpy.ndarray`, (N,), ``U9``
        ``single``, ``blend`` or ``separated``.
    n_sources : `numpy.ndarray`, (N,), int64
        Number of sources, 1 to 5.
    x, y : `numpy.ndarray`, (N, 5), float64
        Positions in pixels, 0 at the middle of the first pixel; NaN beyond ``n_sources``.
    flux : `numpy.ndarray`, (N, 5), float64
        Total fluxes in the unit of the pixels; NaN beyond ``n_sources``.
    segmentation : `numpy.ndarray`, (N, S, S), uint8
        Bit ``k`` is set where source ``k`` alone, without noise and convolved with the PSF, is above
        `.segmentation.SEGMENTATION_THRESHOLD` times the noise.
    blendedness : `numpy.ndarray`, (N,), float64
        ``1 - sum(f0^2) / sum(f0 f)`` over the pixels, of the light ``f0`` of the central source and of all
        ``f``: one minus the purity of Sanchez et al. (2021, JCAP 07, 043). 0 for a single source.
    separation : `numpy.ndarray`, (N,), float64
        From the central source to the nearest other, pixels; NaN for single sources.
    flux_ratio : `numpy.ndarray`, (N,), float64
        Flux of the fainter over that of the brighter of this pair; NaN for single sources.
    snr : `numpy.ndarray`, (N,), float64
        Of the central source: ``sqrt(sum(f0^2)) / noise_sigma`` (a matched filter in white noise).
    group : `numpy.ndarray`, (N,), int64
        What to resample or split by: the index of the stamp, or of the central galaxy of a catalog.
    """

    kind: NDArray[np.str_]
    n_sources: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    segmentation: NDArray[np.uint8]
    blendedness: NDArray[np.float64]
    separation: NDArray[np.float64]
    flux_ratio: NDArray[np.float64]
    snr: NDArray[np.float64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    def where(self, keep: ArrayLike) -> BlendTruth:
        """Return the rows of a mask, a slice or an index array, in that order."""
        return _taken(self, keep)

    @staticmethod
    def joined(parts: Sequence[BlendTruth]) -> BlendTruth:
        """Return the rows of all parts, one part after another."""
        return _joined(parts)


def read_stamps(path: str | pathlib.Path) -> BlendStamps:
    """Read stamps from a file.

    Parameters
    ----------
    path : `str` or `pathlib.Path`
        ``.npz`` with the key ``images`` and optionally ``noise_sigma`` and ``psf_fwhm`` (one number per stamp
        or one for all), ``.npy``, or FITS, whose first HDU with an image is taken.

    Returns
    -------
    stamps : `BlendStamps`
        In the order of the file. What the file does not say about noise and PSF is NaN. A side S that the
        methods do not take is for their flags to say (`.flags.BlendFlag.SIZE`).

    Raises
    ------
    BadInputError
        If the file cannot be read or an array has another shape or type; the message names file and key.
    """
    path = pathlib.Path(path)
    arrays = _arrays(path)
    images = _numbers(path, "images", arrays)
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise BadInputError(f"{path}, key 'images'", "shape (N, S, S)", str(images.shape))
    return BlendStamps(
        images, *(_per_stamp(path, key, arrays, len(images)) for key in ("noise_sigma", "psf_fwhm"))
    )


def _arrays(path: pathlib.Path) -> dict[str, Any]:
    try:
        match path.suffix:
            case ".npz":
                with np.load(path, allow_pickle=False) as file:
                    arrays = {key: file[key] for key in file.files}
            case ".npy":
                arrays = {"images": np.load(path, allow_pickle=False)}
            case _:
                arrays = {"images": _fits_cube(path)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInputError(str(path), ".npz, .npy or FITS with stamps", str(error)) from error
    if arrays.get("images") is None:
        raise BadInputError(f"{path}, key 'images'", "an array of stamps", f"keys {sorted(arrays)}")
    return arrays


def _fits_cube(path: pathlib.Path) -> Any:
    import astropy.io.fits

    with astropy.io.fits.open(path) as hdus:
        return next((hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None), None)


def _numbers(path: pathlib.Path, key: str, arrays: dict[str, Any]) -> NDArray[np.float32]:
    array = np.asarray(arrays[key])
    if array.dtype.kind not in "fiu":
        raise BadInputError(f"{path}, key {key!r}", "real numbers", str(array.dtype))
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, which the methods flag
        return array.astype(np.float32)


def _per_stamp(path: pathlib.Path, key: str, arrays: dict[str, Any], count: int) -> NDArray[np.float32]:
    if key not in arrays:
        return np.full(count, np.nan, np.float32)
    values = _numbers(path, key, arrays)
    if values.shape not in {(), (1,), (count,)}:
        raise BadInputError(f"{path}, key {key!r}", f"one number, or shape ({count},)", str(values.shape))
    return np.broadcast_to(values, (count,)).copy()


def _taken[T: (BlendStamps, BlendTruth)](rows: T, keep: ArrayLike) -> T:
    index: Any = keep if isinstance(keep, slice) else np.asarray(keep)
    return type(rows)(**{f.name: getattr(rows, f.name)[index] for f in dataclasses.fields(rows)})


def _joined[T: (BlendStamps, BlendTruth)](parts: Sequence[T]) -> T:
    names = [field.name for field in dataclasses.fields(parts[0])]
    return type(parts[0])(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})
