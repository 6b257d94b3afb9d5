"""Stamps around bright sources from which the matching kernel is solved."""

from __future__ import annotations

__all__ = ["Candidates", "select_candidates"]

import dataclasses

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from ..planes import Planes, robust_sigma

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Positions of kernel candidates, brightest first within each cell of the image.

    Parameters
    ----------
    x, y
        Nearest pixel to the peak, int64 [N].
    snr
        Signal-to-noise ratio in the noisier of the two images, float64 [N].
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    snr: F64

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: NDArray[np.bool_]) -> Candidates:
        """Return the candidates for which ``keep`` holds."""
        return Candidates(self.x[keep], self.y[keep], self.snr[keep])


def _detect(image: F32, variance: F32, bad: NDArray[np.bool_], threshold: float) -> NDArray[np.void]:
    data = np.ascontiguousarray(image)
    background = sep.Background(data, mask=bad, bw=128, bh=128)
    sep.set_extract_pixstack(max(300_000, data.size // 4))
    return np.asarray(
        sep.extract(
            data - background.back(dtype=np.float32), threshold, err=np.sqrt(variance), mask=bad,
            minarea=5, clean=False, deblend_nthresh=16, deblend_cont=0.005,
        )
    )  # fmt: skip


def _brightest_per_cell(x: F64, y: F64, snr: F64, cell: float, count: int) -> NDArray[np.int64]:
    key = (y // cell).astype(np.int64) * 100_000 + (x // cell).astype(np.int64)
    order = np.lexsort((-snr, key))
    sorted_key = key[order]
    starts = np.flatnonzero(np.r_[True, sorted_key[1:] != sorted_key[:-1]])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return np.asarray(order[rank < count])


def select_candidates(
    science: Planes,
    template: Planes,
    bad: NDArray[np.bool_],
    half_width: int,
    min_snr: float,
    cell: int,
    per_cell: int,
) -> Candidates:
    """Select bright, unmasked sources of the template, evenly over the image.

    Sources are sought in the template alone, so that transients of the science image away from any
    constant source never become candidates.

    Parameters
    ----------
    science, template
        Interpolated planes on one grid.
    bad
        Pixels to avoid, bool [ny, nx].
    half_width
        Distance to stay away from the edges and, for the central part, from ``bad``, pixels.
    min_snr
        Smallest signal-to-noise ratio in the combined noise.
    cell, per_cell
        At most ``per_cell`` candidates in each square of ``cell`` pixels.

    Returns
    -------
    candidates
        Possibly empty.
    """
    found = _detect(template.image, template.variance, bad, 10.0)
    noise = float(np.sqrt(np.median(science.variance[~bad]) + np.median(template.variance[~bad])))
    snr = found["flux"] / (noise * np.sqrt(np.maximum(found["npix"], 1)) + np.sqrt(np.abs(found["flux"])))
    x, y = np.rint(found["x"]).astype(np.int64), np.rint(found["y"]).astype(np.int64)
    ny, nx = science.shape
    inside = (x >= half_width) & (x < nx - half_width) & (y >= half_width) & (y < ny - half_width)
    near = ndimage.maximum_filter(bad, size=2 * (half_width // 2) + 1)
    good = inside & (snr >= min_snr) & np.isfinite(snr)
    good[good] &= ~near[y[good], x[good]]
    x, y, snr = x[good], y[good], snr[good]
    pick = _brightest_per_cell(x.astype(float), y.astype(float), snr, float(cell), per_cell)
    return Candidates(x[pick], y[pick], np.asarray(snr[pick], np.float64))


def clip_high(values: F64, keep: NDArray[np.bool_], n_sigma: float) -> NDArray[np.bool_]:
    """Return ``keep`` without the values that lie ``n_sigma`` robust deviations above the median."""
    logarithm = np.log(np.maximum(values, 1e-30))
    centre = np.median(logarithm[keep])
    width = max(robust_sigma(logarithm[keep]), 0.05)
    return np.asarray(keep & (logarithm < centre + n_sigma * width))
