"""Least-squares solution of a spatially varying matching kernel (Alard & Lupton 1998; Alard 2000)."""

from __future__ import annotations

__all__ = ["KernelSolution", "Stamps", "cut_stamps", "psf_stamps", "solve_kernel"]

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ..planes import Planes, cutouts
from ..psf import Box, PolynomialPsf, chebyshev_terms, n_chebyshev_terms
from .kernel_basis import KernelBasis
from .kernel_candidates import Candidates, clip_high

type F32 = NDArray[np.float32]
type F64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Stamps:
    """Everything the solution needs of the candidates.

    Parameters
    ----------
    design
        float32 [N, n_basis + 1, P]: the convolved stamps and a constant.
    target
        float32 [N, P], nJy.
    variance
        float32 [N, P], nJy^2: smoothed noise of ``target``. Infinite where a pixel must not be used.
    convolved_variance
        float32 [N, P], nJy^2: smoothed noise of the image that is convolved, before the convolution.
    terms
        float64 [N, n_terms]: Chebyshev terms of the positions.
    """

    design: F32
    target: F32
    variance: F32
    convolved_variance: F32
    terms: F64


@dataclasses.dataclass(frozen=True)
class KernelSolution:
    """A solved kernel and background.

    Parameters
    ----------
    coefficients
        float64 [n_basis + 1, n_terms]; the last row is the background, nJy.
    used
        bool [N]: the candidates that survived the rejection.
    residuals
        float32 [N, P], nJy.
    chi2
        Reduced chi-square of every candidate, float64 [N].
    """

    coefficients: F64
    used: NDArray[np.bool_]
    residuals: F32
    chi2: F64


def _smooth(stamps: F32, sigma: float) -> F32:
    """Gaussian average over square stamps [N, S, S], normalised at the edges."""
    u = np.arange(stamps.shape[1])
    matrix = np.exp(-0.5 * ((u[:, None] - u[None, :]) / sigma) ** 2)
    matrix = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.asarray(matrix @ stamps @ matrix.T, np.float32)


def cut_stamps(
    convolved: Planes, target: Planes, unusable: NDArray[np.bool_], candidates: Candidates,
    basis: KernelBasis, half_width: int, order: int, box: Box,
) -> Stamps:  # fmt: skip
    """Cut and convolve the stamps of the candidates.

    Parameters
    ----------
    convolved, target
        The image that the kernel convolves and the one it is matched to, interpolated.
    unusable
        Pixels of weight zero, bool [ny, nx].
    candidates
        Positions.
    basis
        Kernel basis.
    half_width
        Half-width of the stamps in which the residual is minimised, pixels.
    order, box
        Of the spatial polynomials.

    Returns
    -------
    stamps
        See `Stamps`.
    """
    side, wide = 2 * half_width + 1, 2 * (half_width + basis.half_width) + 1
    x0, y0 = candidates.x - half_width, candidates.y - half_width
    margin = basis.half_width
    raw = cutouts(convolved.image, x0 - margin, y0 - margin, wide, 0.0)
    count = len(candidates)
    design = np.ones((count, basis.size + 1, side * side), np.float32)
    design[:, :-1] = basis.convolve_stamps(raw).reshape(count, basis.size, -1)
    # Noise planes made from the noisy pixels correlate with them and would bias the fit: smooth them.
    near = _smooth(cutouts(target.variance, x0, y0, side, 1.0), 2.0)
    far = _smooth(cutouts(convolved.variance, x0, y0, side, 1.0), 2.0)
    variance = near.reshape(count, -1)
    bad = cutouts(unusable, x0, y0, side, 1).reshape(count, -1).astype(bool)
    variance[bad] = np.inf
    return Stamps(
        design,
        cutouts(target.image, x0, y0, side, 0.0).reshape(count, -1),
        variance,
        far.reshape(count, -1),
        chebyshev_terms(candidates.x, candidates.y, order, box),
    )


def psf_stamps(
    convolved: PolynomialPsf, target: PolynomialPsf, x: F64, y: F64, snr: float,
    basis: KernelBasis, half_width: int, order: int, box: Box,
) -> Stamps:  # fmt: skip
    """Make noise-free stars out of the PSF models, which settle what the candidates leave open.

    Parameters
    ----------
    convolved, target
        PSFs of the image that is convolved and of the other.
    x, y
        Positions of the stars, pixels, float64 [M].
    snr
        Signal-to-noise ratio that each counts as.
    basis, half_width, order, box
        As in `cut_stamps`.

    Returns
    -------
    stamps
        Stamps of unit stars without background.
    """
    side, wide = 2 * half_width + 1, 2 * (half_width + basis.half_width) + 1
    count = len(x)
    design = np.zeros((count, basis.size + 1, side * side), np.float32)
    images = _resized(convolved.kernel_images(x, y), wide)
    design[:, :-1] = basis.convolve_stamps(images).reshape(count, basis.size, -1)
    stars = _resized(target.kernel_images(x, y), side).reshape(count, -1)
    level = (stars**2).sum(axis=1, keepdims=True) / snr**2
    # The shape alone: sum_{k>0} a_k B_k * P = a_0 (P_target - B_0 * P). The kernel sum a_0 is left to the
    # candidates, and put in by `solve_kernel`.
    stars -= design[:, 0]
    design[:, 0] = 0.0
    variance = np.broadcast_to(level, stars.shape).astype(np.float32)
    terms = chebyshev_terms(x, y, order, box)
    return Stamps(design, stars, variance, np.zeros_like(stars), terms)


def _resized(stamps: F64, side: int) -> F32:
    """Crop or zero-pad centred odd stamps [N, S, S] to another odd side."""
    cut = (stamps.shape[1] - side) // 2
    if cut >= 0:
        stop = stamps.shape[1] - cut
        return stamps[:, cut:stop, cut:stop].astype(np.float32)
    return np.pad(stamps, ((0, 0), (-cut, -cut), (-cut, -cut))).astype(np.float32)


def _free(n_basis: int, order: int, scale_order: int, background_order: int) -> NDArray[np.bool_]:
    """Which coefficients [n_basis + 1, n_terms] are free."""
    free = np.ones((n_basis + 1, n_chebyshev_terms(order)), bool)
    free[0, n_chebyshev_terms(min(scale_order, order)) :] = False
    free[-1, n_chebyshev_terms(min(background_order, order)) :] = False
    return free


def _normal_equations(stamps: Stamps, weight: F32, overlap: F64) -> tuple[F64, F64]:
    """Per-stamp Gram matrices [N, B, B] and right sides [N, B].

    The noise of the convolved image adds sum(w V) (B_k . B_l) to the expectation of each Gram element
    (errors in variables: Fuller 1987, ch. 1). That pulls the kernel sum low, so it is taken out for
    B_0; among the other, zero-sum functions it stays: there it damps what the noise leaves undetermined.
    """
    weighted = stamps.design * weight[:, None, :]
    gram = (weighted @ stamps.design.transpose(0, 2, 1)).astype(np.float64)
    noise = np.einsum("np,np->n", weight, stamps.convolved_variance, dtype=np.float64)
    gram[:, 0, :-1] -= noise[:, None] * overlap[0]
    gram[:, 1:-1, 0] -= noise[:, None] * overlap[0, 1:]
    right = np.einsum("nbp,np->nb", weighted, stamps.target).astype(np.float64)
    return gram, right


def _solve(gram: F64, right: F64, terms: F64, free: NDArray[np.bool_]) -> F64:
    n_basis, n_terms = free.shape
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), -1)
    blocks = (products.T @ gram.reshape(len(gram), -1)).reshape(n_terms, n_terms, n_basis, n_basis)
    matrix = blocks.transpose(2, 0, 3, 1).reshape(n_basis * n_terms, -1)
    vector = (right.T @ terms).ravel()
    pick = free.ravel()
    matrix, vector = matrix[np.ix_(pick, pick)], vector[pick]
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale[:, None] * scale[None, :]
    values, vectors = linalg.eigh(scaled)
    keep = values > 1e-9 * values[-1]
    solution = vectors[:, keep] @ ((vectors[:, keep].T @ (vector * scale)) / values[keep])
    coefficients = np.zeros(free.size)
    coefficients[pick] = solution * scale
    return coefficients.reshape(free.shape)


def _total_variance(
    stamps: Stamps, gain: float, model: F32, side: int, jitter: float, fraction: float
) -> F32:
    """Noise plus (jitter |grad m|)^2 + (fraction m)^2 for unmodelled shifts and PSF differences.

    ``gain`` is the sum of the squared kernel: the noise that is left of the convolved image.
    """
    image = model.reshape(-1, side, side)
    gy, gx = np.asarray(np.gradient(image, axis=1)), np.asarray(np.gradient(image, axis=2))
    extra = jitter**2 * (gx**2 + gy**2) + fraction**2 * image**2
    noise = stamps.variance + np.float32(gain) * stamps.convolved_variance
    return np.asarray(noise + extra.reshape(model.shape), np.float32)


def _point_excess(residuals: F32, variance: F32, side: int, sigma: float) -> F64:
    """Largest significance of a point-like residual in each stamp, float64 [N]."""
    u = np.arange(side)
    matrix = np.exp(-0.5 * ((u[:, None] - u[None, :]) / sigma) ** 2)
    weight = (1.0 / variance).reshape(-1, side, side)
    score = matrix @ (residuals.reshape(-1, side, side) * weight) @ matrix.T
    noise = (matrix**2) @ weight @ (matrix**2).T
    return np.asarray(np.max(np.abs(score) / np.sqrt(np.maximum(noise, 1e-30)), axis=(1, 2)), np.float64)


def _psf_matched(stamps: Stamps, prior: Stamps, free: NDArray[np.bool_], overlap: F64) -> F32:
    """Stamps convolved by the unit-sum kernel that matches the PSF models, float32 [N, P]."""
    gram, right = _normal_equations(prior, (1 / prior.variance).astype(np.float32), overlap)
    coefficients = _solve(gram, right, prior.terms, free)
    coefficients[0, 0] = 1.0
    local = (stamps.terms @ coefficients.T).astype(np.float32)
    return np.asarray(np.einsum("nb,nbp->np", local, stamps.design), np.float32)


def _flux_ratios(stamps: Stamps, matched: F32, side: int, radius: float) -> tuple[F64, F64]:
    """Ratio of the fluxes of each candidate in an aperture, target over matched, and its error, [N]."""
    u = np.arange(side) - side // 2
    inside = (u[:, None] ** 2 + u[None, :] ** 2 <= radius**2).ravel()
    border = (np.abs(u)[:, None] == side // 2) | (np.abs(u)[None, :] == side // 2)
    area, rim = int(inside.sum()), int(border.sum())

    def flux(values: F32) -> F64:
        sky = np.median(values[:, border.ravel()], axis=1)
        return np.asarray(values[:, inside].sum(axis=1) - area * sky, np.float64)

    before, after = flux(matched), flux(stamps.target)
    # Variance of the sum, and of the median of the rim (pi / 2 of that of a mean) times the area.
    usable = np.where(np.isfinite(stamps.variance), stamps.variance, 0.0)
    noise = np.median(usable + stamps.convolved_variance, axis=1) * (area + np.pi / 2 * area**2 / rim)
    before = np.maximum(before, 1e-30)
    return after / before, np.sqrt(noise) / before


def _agreeing(ratio: F64, error: F64, tolerance: float, n_sigma: float) -> NDArray[np.bool_]:
    """Candidates whose flux changes by the same factor as that of most others: constant sources, [N].

    Where candidates are few, a transient on a galaxy, a variable star or a cosmic ray of the template would
    pull the kernel sum so far that no candidate fits any more, and none stands out. All, if fewer than two
    agree.
    """
    middle = np.median(ratio)
    agree = np.abs(ratio - middle) <= tolerance * abs(middle) + n_sigma * error
    return np.asarray(agree if np.count_nonzero(agree) >= min(2, len(agree)) else np.ones(len(ratio), bool))


def solve_kernel(
    stamps: Stamps, prior: Stamps, basis: KernelBasis, order: int, scale_order: int, background_order: int,
    psf_sigma: float, gain: float, jitter: float = 0.03, fraction: float = 0.01, clip: float = 3.0,
    iterations: int = 5,
) -> KernelSolution:  # fmt: skip
    """Solve for the kernel, rejecting candidates that do not fit.

    Parameters
    ----------
    stamps
        From `cut_stamps`.
    prior
        From `psf_stamps`; never rejected.
    basis
        Kernel basis.
    order, scale_order, background_order
        Spatial orders of the kernel's shape, of its sum and of the background.
    psf_sigma
        Gaussian width of the PSF, pixels, for the search of transients in the residual stamps.
    gain
        First guess of the sum of the squared kernel.
    jitter, fraction
        Model error (pixels, and fraction of the flux) that keeps a few bright stars from deciding alone.
    clip
        Rejection threshold, (robust) standard deviations.
    iterations
        Number of solutions.

    Returns
    -------
    solution
        See `KernelSolution`.
    """
    side = int(np.sqrt(stamps.target.shape[1]))
    free = _free(basis.size, order, scale_order, background_order)
    images = basis.images().reshape(basis.size, -1)
    overlap = images @ images.T
    matched = _psf_matched(stamps, prior, free, overlap)
    ratio, error = _flux_ratios(stamps, matched, side, 3.5 * psf_sigma)
    constant = _agreeing(ratio, error, 0.05, clip)
    keep = constant
    kernel_sum = float(np.clip(np.median(ratio[constant]), 0.05, 20.0))
    model = stamps.design[:, 0] * np.float32(kernel_sum)
    variance = _total_variance(stamps, gain, model, side, jitter, fraction)
    prior_gram, prior_right = _normal_equations(prior, (1 / prior.variance).astype(np.float32), overlap)
    for _ in range(iterations):
        gram, right = _normal_equations(stamps, (1.0 / variance).astype(np.float32), overlap)
        coefficients = _solve(
            np.concatenate([gram[keep], prior_gram]),
            np.concatenate([right[keep], kernel_sum * prior_right]),
            np.concatenate([stamps.terms[keep], prior.terms]),
            free,
        )
        kernel_sum = float(coefficients[0, 0])
        local = (stamps.terms @ coefficients.T).astype(np.float32)
        model = np.einsum("nb,nbp->np", local, stamps.design)
        residuals = stamps.target - model
        gain = float(((coefficients[:-1, 0] @ images) ** 2).sum())
        variance = _total_variance(stamps, gain, model - local[:, -1:], side, jitter, fraction)
        weight = np.where(np.isfinite(variance), 1.0 / variance, 0.0)
        chi2 = (residuals**2 * weight).sum(axis=1) / np.maximum((weight > 0).sum(axis=1), 1)
        keep = clip_high(chi2.astype(np.float64), constant, clip)
        excess = _point_excess(residuals, variance, side, psf_sigma)
        limit = max(4.5, float(np.median(excess[constant])) * 2.0)
        keep &= clip_high(excess, constant, clip) & (excess < limit)
        if not keep.any():
            keep = constant
    return KernelSolution(coefficients, keep, residuals, np.asarray(chi2, np.float64))
