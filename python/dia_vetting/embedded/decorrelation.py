"""Whitening of the difference (Reiss & Lupton 2016, DMTN-021; Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27).

With S the image that stays, R the one that is convolved by K, kappa the sum of K, the difference
S - K*R has the noise power V_S + |K|^2 V_R. Convolved by

    phi = sqrt((V_S + kappa^2 V_R) / (V_S + |K|^2 V_R))

it is white with the variance V_S + kappa^2 V_R. The same phi belongs into the PSF of the difference.
"""

from __future__ import annotations

__all__ = ["psf_noise_gain", "whitening_kernels"]

import numpy as np
from numpy.typing import NDArray

type F64 = NDArray[np.float64]


def _crop(image: F64, size: int) -> F64:
    cut = (image.shape[1] - size) // 2
    return image[:, cut : cut + size, cut : cut + size] if cut > 0 else image


def whitening_kernels(
    kernels: F64, kept_variance: F64, convolved_variance: F64, size: int, limit: float = 20.0
) -> tuple[F64, F64]:
    """Return phi and phi * K at nodes.

    Parameters
    ----------
    kernels
        Matching kernels K, float64 [N, k, k], k odd.
    kept_variance, convolved_variance
        Sky variance of the image that is not convolved and of the one that is, nJy^2, float64 [N].
    size
        Odd side of the results.
    limit
        Largest amplification of any frequency.

    Returns
    -------
    phi, phi_k
        float64 [N, size, size]; phi has unit sum and phi_k that of K.
    """
    grid = 2 * max(size, kernels.shape[1]) + 1
    pad = (grid - kernels.shape[1]) // 2
    centred = np.pad(kernels, ((0, 0), (pad, pad), (pad, pad)))
    transform = np.fft.fft2(np.fft.ifftshift(centred, axes=(1, 2)))
    kappa = transform[:, 0, 0].real
    kept, convolved = kept_variance[:, None, None], convolved_variance[:, None, None]
    total = kept + kappa[:, None, None] ** 2 * convolved
    phi = np.sqrt(total / np.maximum(kept + np.abs(transform) ** 2 * convolved, total / limit**2))
    white = _crop(np.fft.fftshift(np.fft.ifft2(phi).real, axes=(1, 2)), size)
    both = _crop(np.fft.fftshift(np.fft.ifft2(phi * transform).real, axes=(1, 2)), size)
    white = white / white.sum(axis=(1, 2), keepdims=True)
    both = both * (kappa / both.sum(axis=(1, 2)))[:, None, None]
    return white, both


def psf_noise_gain(kernels: F64, profiles: F64, psf_kernels: F64) -> F64:
    """Return how much of an image's white noise a PSF flux of the difference sees.

    That is the mean of |Phi|^2, Phi being the kernel the image was convolved by, over the power of the
    difference's PSF. For the whitened pair of kernels the gains add up to the white level, as the sums
    of their squares do; on a compact source only the gains are right.

    Parameters
    ----------
    kernels
        Kernels of the image, float64 [N, K, K].
    profiles
        PSF of the science image, float64 [N, S, S].
    psf_kernels
        Kernels that turn it into the PSF of the difference, float64 [N, K, K].

    Returns
    -------
    gain
        float64 [N].
    """
    grid = (kernels.shape[1] + profiles.shape[1],) * 2
    power = np.abs(np.fft.rfft2(profiles, grid) * np.fft.rfft2(psf_kernels, grid)) ** 2
    gain = np.abs(np.fft.rfft2(kernels, grid)) ** 2
    return np.asarray((power * gain).sum(axis=(1, 2)) / power.sum(axis=(1, 2)), np.float64)
