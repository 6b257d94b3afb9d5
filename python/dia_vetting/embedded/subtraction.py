"""Alard-Lupton image differencing: spatially varying, whitened, with the PSF that goes with it.

difference = science - template, positive where the science image is brighter, in the photometric scale
of the science image, whichever of the two images is convolved.
"""

from __future__ import annotations

__all__ = [
    "NoKernelCandidatesError",
    "NoOverlapError",
    "NoUsablePixelsError",
    "StaticSky",
    "Subtraction",
    "SubtractionConfig",
    "SubtractionError",
    "subtract",
]

import dataclasses
import functools
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..masks import MaskBit
from ..planes import Planes
from ..psf import Box, PolynomialPsf, n_chebyshev_terms
from .decorrelation import psf_noise_gain, whitening_kernels
from .difference_planes import combine_masks, excess_variance, fit_background
from .kernel_candidates import Candidates, select_candidates
from .kernel_fit import KernelSolution, Stamps, cut_stamps, psf_stamps, solve_kernel
from .spatial import FourierImage, SpatialKernel, core_radius
from .subtraction_types import (
    NoKernelCandidatesError,
    NoOverlapError,
    NoUsablePixelsError,
    StaticSky,
    Subtraction,
    SubtractionConfig,
    SubtractionError,
)

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]


def _check(science: Planes, template: Planes) -> NDArray[np.bool_]:
    """Return the pixels that are unusable in either image, or raise."""
    if science.shape != template.shape:
        raise ValueError(f"Science {science.shape} and template {template.shape} differ in shape.")
    bad_science, bad_template = science.unusable(), template.unusable()
    for name, bad in (("science", bad_science), ("template", bad_template)):
        if bad.all():
            raise NoUsablePixelsError(f"The {name} image has no usable pixel.", image=name)
    bad = bad_science | bad_template
    if bad.all():
        raise NoOverlapError(
            "No pixel is usable in both images.",
            science=int((~bad_science).sum()), template=int((~bad_template).sum()),
        )  # fmt: skip
    return np.asarray(bad)


def _grid(shape: tuple[int, int], nodes: int) -> tuple[F64, F64]:
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, nodes), np.linspace(0, shape[0] - 1, nodes))
    return x.ravel(), y.ravel()


def _box(shape: tuple[int, int]) -> Box:
    return 0.0, float(shape[1] - 1), 0.0, float(shape[0] - 1)


def _affordable_order(order: int, count: int) -> int:
    """Lower the spatial order until there are five candidates for each of its terms."""
    while order > 0 and count < 5 * n_chebyshev_terms(order):
        order -= 1
    return order


def _sky_level(variance: F32, bad: NDArray[np.bool_], x: F64, y: F64, nodes: int) -> F64:
    """Median variance of good pixels around each node, nJy^2."""
    ny, nx = variance.shape
    half_x, half_y = max(nx // (2 * nodes), 8), max(ny // (2 * nodes), 8)
    level = float(np.median(variance[~bad][::5]))
    result = np.full(len(x), level)
    for k, (xk, yk) in enumerate(zip(x.astype(int), y.astype(int), strict=True)):
        block = np.s_[max(yk - half_y, 0) : yk + half_y + 1 : 3, max(xk - half_x, 0) : xk + half_x + 1 : 3]
        good = ~bad[block]
        if good.any():
            result[k] = np.median(variance[block][good])
    return result


@dataclasses.dataclass(frozen=True)
class _Whitened:
    """Kernels that make the difference: D = science_kernel * S - template_kernel * T."""

    matching: F64
    science: SpatialKernel
    template: SpatialKernel
    x: F64
    y: F64
    kappa: float

    @functools.cached_property
    def at_science(self) -> F64:
        return self.science.at(self.x, self.y)

    @functools.cached_property
    def at_template(self) -> F64:
        return self.template.at(self.x, self.y)


def _whiten(
    solution: KernelSolution, config: SubtractionConfig, order: int, box: Box,
    planes: dict[str, Planes], bad: NDArray[np.bool_], convolved: str,
) -> _Whitened:  # fmt: skip
    shape = bad.shape[0], bad.shape[1]
    x, y = _grid(shape, config.nodes)
    images = config.basis.images()
    coefficients = np.tensordot(solution.coefficients[:-1].T, images, axes=1)
    matching = SpatialKernel.from_coefficients(coefficients, order, box, 1e-9).at(x, y)
    kappa = float(matching.sum(axis=(1, 2)).mean())
    kept = "science" if convolved == "template" else "template"
    levels = {k: _sky_level(planes[k].variance, bad, x, y, config.nodes) for k in planes}
    phi, phi_k = whitening_kernels(matching, levels[kept], levels[convolved], config.kernel_size)
    if convolved == "science":
        sums = matching.sum(axis=(1, 2))[:, None, None]
        phi, phi_k = phi_k / sums, phi / sums
    at_science, at_template = (SpatialKernel.from_nodes(x, y, k, 3, box) for k in (phi, phi_k))
    return _Whitened(matching, at_science, at_template, x, y, kappa)


def _variance(
    planes: dict[str, Planes], psf: PolynomialPsf, kernels: _Whitened, box: Box, config: SubtractionConfig
) -> F32:
    """Variance of the difference as PSF fluxes see it, float32 [ny, nx], nJy^2.

    Where the sky dominates, the noise is white and this is the variance of a pixel. On a source the
    noise is not white: each image's share is what it has on the scale of the PSF, see `psf_noise_gain`.
    """
    total = np.zeros(planes["science"].shape, np.float32)
    profiles = psf.kernel_images(kernels.x, kernels.y)
    for name, stamps in (("science", kernels.at_science), ("template", kernels.at_template)):
        gain = psf_noise_gain(stamps, profiles, kernels.at_science)
        squared = stamps**2
        squared *= (gain / squared.sum(axis=(1, 2)))[:, None, None]
        kernel = SpatialKernel.from_nodes(kernels.x, kernels.y, squared, 2, box, 3e-3)
        total += kernel.convolve(FourierImage(planes[name].variance, config.kernel_size // 2))
    floor = np.float32(0.05 * np.median(total[::7, ::7]))
    return np.maximum(total, floor)


def subtract(
    science: Planes,
    template: Planes,
    science_psf: PolynomialPsf,
    template_psf: PolynomialPsf,
    config: SubtractionConfig | None = None,
) -> Subtraction:
    """Subtract a template from a science image on the same pixel grid.

    Parameters
    ----------
    science, template
        Images in nJy. Neither needs to be sky subtracted, both need unusable pixels flagged or NaN.
    science_psf, template_psf
        Their PSFs.
    config
        Settings.

    Returns
    -------
    subtraction
        See `Subtraction`. The noise of the difference is white where the sky dominates.

    Raises
    ------
    NoUsablePixelsError, NoOverlapError, NoKernelCandidatesError
        If the data make a subtraction impossible; all are `SubtractionError`.
    ValueError
        If the shapes differ.
    """
    config = config or SubtractionConfig()
    bad = _check(science, template)
    planes = {"science": science.interpolated(), "template": template.interpolated()}
    convolved = _choose(science_psf, template_psf, science.shape, config.mode)
    box = _box(science.shape)
    candidates = _candidates(planes, bad, config)
    order = _affordable_order(config.kernel_order, len(candidates))
    target = "science" if convolved == "template" else "template"
    stamps = cut_stamps(
        planes[convolved], planes[target], bad, candidates, config.basis, config.stamp_half_width, order, box
    )
    centre = science.shape[1] / 2, science.shape[0] / 2
    widest = max(float(psf.fwhm(*centre)[0]) for psf in (science_psf, template_psf))
    psfs = {"science": science_psf, "template": template_psf}
    x, y = _grid(science.shape, config.nodes)
    models = psf_stamps(
        psfs[convolved], psfs[target], x, y, 1.0, config.basis, config.stamp_half_width, order, box
    )
    gain = _noise_gain(psfs[convolved], psfs[target], *centre)
    solution, psf_snr = _solve_kernel(stamps, models, order, widest / 2.355, gain, config)
    kernels = _whiten(solution, config, order, box, planes, bad, convolved)
    return _assemble(planes, science_psf, config, convolved, candidates, solution, kernels, bad, psf_snr)


def _solve_kernel(
    stamps: Stamps, models: Stamps, order: int, psf_sigma: float, gain: float, config: SubtractionConfig
) -> tuple[KernelSolution, float]:
    """Solve with the largest weight of the PSF models that the candidates agree with: (solution, weight).

    A true constraint raises the chi-square of the candidates by no more than the number of coefficients
    it fixes; wrong PSF models raise it by more (likelihood-ratio test).
    """
    chosen, weight, limit = None, 0.0, 0.0
    for snr in sorted(config.psf_snr):
        prior = dataclasses.replace(models, variance=models.variance / np.float32(snr**2))
        solution = solve_kernel(
            stamps, prior, config.basis, order, config.scale_order, min(config.background_order, 1),
            psf_sigma, gain, config.model_jitter, config.model_fraction,
        )  # fmt: skip
        if chosen is None:
            used, limit = solution.used, float(np.count_nonzero(solution.coefficients))
            least = solution.chi2[used].sum()
        elif (solution.chi2[used].sum() - least) * stamps.target.shape[1] > limit:
            break
        chosen, weight = solution, snr
    if chosen is None:
        raise ValueError("SubtractionConfig.psf_snr is empty.")
    return chosen, weight


def _noise_gain(convolved: PolynomialPsf, target: PolynomialPsf, x: float, y: float) -> float:
    """Sum of the square of the Gaussian that turns one effective PSF area into the other."""
    excess = float(target.effective_area(x, y)[0] - convolved.effective_area(x, y)[0])
    return 1.0 / (1.0 + max(excess, 0.0))


def _choose(
    science_psf: PolynomialPsf, template_psf: PolynomialPsf, shape: tuple[int, int], mode: str
) -> Literal["template", "science"]:
    if mode == "convolve_template":
        return "template"
    if mode == "convolve_science":
        return "science"
    x, y = _grid(shape, 3)
    sharper = np.median(science_psf.fwhm(x, y)) < np.median(template_psf.fwhm(x, y))
    return "science" if sharper else "template"


def _candidates(planes: dict[str, Planes], bad: NDArray[np.bool_], config: SubtractionConfig) -> Candidates:
    reach = config.stamp_half_width + config.basis.half_width
    candidates = select_candidates(
        planes["science"], planes["template"], bad, reach,
        config.min_candidate_snr, config.candidate_cell, config.candidates_per_cell,
    )  # fmt: skip
    if len(candidates) < config.min_candidates:
        raise NoKernelCandidatesError(
            f"{len(candidates)} kernel candidates, {config.min_candidates} are needed.",
            candidates=len(candidates), needed=config.min_candidates,
        )  # fmt: skip
    return candidates


def _assemble(
    planes: dict[str, Planes], science_psf: PolynomialPsf, config: SubtractionConfig,
    convolved: Literal["template", "science"], candidates: Candidates, solution: KernelSolution,
    kernels: _Whitened, bad: NDArray[np.bool_], psf_snr: float,
) -> Subtraction:  # fmt: skip
    shape = planes["science"].shape
    box, margin = _box(shape), config.kernel_size // 2
    parts = {}
    for name, kernel in (("science", kernels.science), ("template", kernels.template)):
        parts[name] = kernel.convolve(FourierImage(planes[name].image, margin))
    image = parts["science"]
    image -= parts["template"]
    variance = _variance(planes, science_psf, kernels, box, config)
    middle = len(kernels.x) // 2
    reach = {
        "science": core_radius(kernels.at_science[middle], 0.02),
        "template": core_radius(kernels.at_template[middle], 0.02),
    }
    edge = max(core_radius(k[middle], 1e-3) for k in (kernels.at_science, kernels.at_template))
    mask = combine_masks(planes["science"].mask, planes["template"].mask, reach, edge)
    empty = (mask & np.uint32(MaskBit.NO_DATA | MaskBit.NO_DATA_TEMPLATE)) != 0
    avoid = bad | ndimage.binary_dilation(empty, iterations=margin) if empty.any() else bad
    background = fit_background(image, variance, avoid, config.background_order)
    image -= background
    psf = science_psf.convolved_with(kernels.x, kernels.y, kernels.at_science, config.psf_size)
    excess = excess_variance(image, variance, avoid, psf) if config.scale_variance else 0.0
    variance += np.float32(excess)
    image[empty] = np.nan
    variance[empty] = np.nan
    used = candidates.where(solution.used)
    return Subtraction(
        difference=Planes(image, variance, mask),
        psf=psf,
        convolved=convolved,
        kernel_x=kernels.x,
        kernel_y=kernels.y,
        kernel=kernels.matching,
        background=background,
        static=StaticSky(parts["template"], used.x, used.y),
        diagnostics={
            "convolved": convolved,
            "n_candidates": len(candidates),
            "n_used": int(solution.used.sum()),
            "kernel_sum": kernels.kappa,
            "excess_variance": excess,
            "chi2_median": float(np.median(solution.chi2[solution.used])),
            "edge_width": edge,
            "psf_snr": psf_snr,
        },
    )
