"""Settings, results and failures of the image differencing."""

from __future__ import annotations

__all__ = [
    "NoKernelCandidatesError",
    "NoOverlapError",
    "NoUsablePixelsError",
    "StaticSky",
    "Subtraction",
    "SubtractionConfig",
    "SubtractionError",
]

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..planes import Planes
from ..psf import PolynomialPsf
from .kernel_basis import KernelBasis

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]


class SubtractionError(Exception):
    """A subtraction that the data make impossible.

    Parameters
    ----------
    message
        What went wrong.
    **metadata
        Numbers that explain it.
    """

    def __init__(self, message: str, **metadata: str | int | float | bool) -> None:
        super().__init__(message)
        self.metadata = dict(metadata)


class NoUsablePixelsError(SubtractionError):
    """One of the images has no usable pixel at all."""


class NoOverlapError(SubtractionError):
    """No pixel is usable in both images."""


class NoKernelCandidatesError(SubtractionError):
    """Too few sources to solve for the matching kernel."""


@dataclasses.dataclass(frozen=True)
class SubtractionConfig:
    """Settings of `subtract`; lengths in pixels.

    Parameters
    ----------
    basis
        Kernel basis.
    mode
        Which image to convolve; "auto" takes the one with the smaller FWHM.
    kernel_order, scale_order
        Spatial order of the kernel's shape and of its sum.
    background_order
        Spatial order of the sky difference.
    stamp_half_width
        Half-width of the stamps of the candidates.
    min_candidate_snr
        Smallest signal-to-noise ratio of a candidate.
    candidate_cell, candidates_per_cell
        At most so many candidates in each square of this side.
    min_candidates
        Fewer raise `NoKernelCandidatesError`.
    nodes
        Nodes per axis at which the whitening is computed.
    kernel_size
        Odd side of the whitened kernels.
    psf_size
        Odd side of the stamps of the difference's PSF.
    scale_variance
        Raise the variance until PSF fluxes of blank sky scatter by their errors.
    psf_snr
        Weights of the PSF models in the kernel solution, ascending: the signal-to-noise ratio of one star
        at each node. The largest with which the candidates agree is taken.
    model_jitter, model_fraction
        Model error (pixels, flux fraction) in the weights of the kernel solution.
    """

    basis: KernelBasis = dataclasses.field(default_factory=KernelBasis)
    mode: Literal["auto", "convolve_template", "convolve_science"] = "auto"
    kernel_order: int = 2
    scale_order: int = 0
    background_order: int = 2
    stamp_half_width: int = 10
    min_candidate_snr: float = 15.0
    candidate_cell: int = 125
    candidates_per_cell: int = 8
    min_candidates: int = 5
    nodes: int = 5
    kernel_size: int = 41
    psf_size: int = 61
    scale_variance: bool = True
    psf_snr: tuple[float, ...] = (20.0, 100.0, 500.0)
    model_jitter: float = 0.03
    model_fraction: float = 0.01


@dataclasses.dataclass(frozen=True)
class StaticSky:
    """The constant sky as it was subtracted: what errors of the model are proportional to.

    Parameters
    ----------
    image
        Matched template in the frame and noise of the difference, float32 [ny, nx], nJy.
    x, y
        Positions of bright constant sources, pixels, [N].
    """

    image: F32
    x: NDArray[np.int64]
    y: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Subtraction:
    """What `subtract` returns.

    Parameters
    ----------
    difference
        Image, variance and mask of the difference.
    psf
        PSF of the difference.
    convolved
        The image that was convolved.
    kernel_x, kernel_y
        Nodes of the kernel, pixels, [M].
    kernel
        Matching kernel at the nodes, before the whitening, float64 [M, K, K].
    background
        Subtracted sky difference, float32 [ny, nx], nJy.
    static
        The subtracted constant sky.
    diagnostics
        Numbers on how it went.
    """

    difference: Planes
    psf: PolynomialPsf
    convolved: Literal["template", "science"]
    kernel_x: F64
    kernel_y: F64
    kernel: F64
    background: F32
    static: StaticSky
    diagnostics: dict[str, float | int | str]
