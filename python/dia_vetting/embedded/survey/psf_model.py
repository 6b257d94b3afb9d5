"""The true point spread function as a transfer function: atmosphere, optics, guiding, diffusion and pixel.

The optics are geometric (the light of a point of the pupil lands where the slope of the wavefront sends it),
which holds where seeing is far above the diffraction limit; out-of-focus images are then the pupil itself, a
donut.
"""

from __future__ import annotations

__all__ = ["POLYNOMIAL_ORDER", "VisitPsf", "frequencies", "visit_psf"]

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, special

from ...psf import chebyshev_terms
from ...seeding import generator
from .config import SurveyConfig
from .geometry import detector_center
from .visits import Visit

type F64 = NDArray[np.float64]
type C128 = NDArray[np.complex128]

POLYNOMIAL_ORDER = 3
_NODES = 5
_KOLMOGOROV_FWHM = (
    0.9758634299  # of the seeing disc, in units of lambda / r0 (e.g. Racine 1996, PASP 108, 699)
)


@functools.cache
def _pupil(obscuration: float) -> F64:
    """Return points that fill the annular pupil of outer radius 1 evenly, float64 [M, 2]."""
    rings, spokes = 12, 36
    area = (np.arange(rings) + 0.5) / rings
    radius = np.sqrt(obscuration**2 + area * (1.0 - obscuration**2))
    angle = 2.0 * np.pi * (np.arange(spokes)[None, :] + 0.5 * (np.arange(rings)[:, None] % 2)) / spokes
    points = np.stack([radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)], axis=-1)
    return points.reshape(-1, 2)


def _kolmogorov(k: F64, fwhm: float) -> F64:
    """Transfer function exp(-3.44 (lambda k / 2 pi r0)^(5/3)) of the long exposure (Fried 1966)."""
    return np.asarray(np.exp(-3.44 * (k * fwhm / (2.0 * np.pi * _KOLMOGOROV_FWHM)) ** (5.0 / 3.0)))


@functools.cache
def _moffat_table(beta: float) -> tuple[F64, F64]:
    k = np.concatenate([[0.0], np.geomspace(1e-4, 60.0, 2000)])
    with np.errstate(invalid="ignore"):
        value = (
            2.0 ** (2.0 - beta) / special.gamma(beta - 1.0) * k ** (beta - 1.0) * special.kv(beta - 1.0, k)
        )
    value[0] = 1.0
    return k, value


def _moffat(k: F64, fwhm: float, beta: float) -> F64:
    """Transfer function of a Moffat profile (a Matern covariance)."""
    alpha = 0.5 * fwhm / math.sqrt(2.0 ** (1.0 / beta) - 1.0)
    table = _moffat_table(beta)
    return np.asarray(np.interp(k * alpha, table[0], table[1], right=0.0))


def frequencies(size: int, oversampling: int) -> tuple[F64, F64]:
    """Return the wave numbers (ky [n, 1], kx [1, n / 2 + 1]) of a stamp, radian per pixel.

    Parameters
    ----------
    size
        Side of the stamp, pixel.
    oversampling
        Samples per pixel along each axis; n = size * oversampling.
    """
    n = size * oversampling
    ky = 2.0 * np.pi * oversampling * fft.fftfreq(n)
    kx = 2.0 * np.pi * oversampling * fft.rfftfreq(n)
    return ky[:, None], kx[None, :]


@dataclasses.dataclass(frozen=True)
class _Terms:
    """A quantity over the focal plane: constant, slope along x and y, and curvature."""

    constant: float
    slope_x: float = 0.0
    slope_y: float = 0.0
    curvature: float = 0.0

    def at(self, x: F64, y: F64) -> F64:
        radial = self.curvature * (x**2 + y**2)
        return np.asarray(self.constant + self.slope_x * x + self.slope_y * y + radial)


@dataclasses.dataclass(frozen=True)
class VisitPsf:
    """The PSF of one image, at any position of it.

    Parameters
    ----------
    fwhm
        Of the atmosphere, pixel.
    e1, e2
        Ellipticity of the atmosphere, (a^2 - b^2) / (a^2 + b^2) along x and the diagonal.
    defocus
        Outer radius of the defocused pupil, pixel.
    coma_x, coma_y
        Coma, pixel.
    tracking
        Length of the trail along x and y, pixel.
    profile, beta
        Seeing disc.
    obscuration
        Of the pupil.
    diffusion
        Rms, pixel.
    center, radius
        Of the detector in the focal plane, and of the focal plane, pixel.
    shape
        (ny, nx) of the detector.
    """

    fwhm: _Terms
    e1: _Terms
    e2: _Terms
    defocus: _Terms
    coma_x: _Terms
    coma_y: _Terms
    tracking: tuple[float, float]
    profile: str
    beta: float
    obscuration: float
    diffusion: float
    center: tuple[float, float]
    radius: float
    shape: tuple[int, int]

    @property
    def oversampling(self) -> int:
        """Samples per pixel that the PSF needs."""
        return 1 if self.fwhm.constant > 3.0 else 2

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x_min, x_max, y_min, y_max) of the detector, pixel."""
        return 0.0, self.shape[1] - 1.0, 0.0, self.shape[0] - 1.0

    def _field(self, x: F64, y: F64) -> tuple[F64, F64]:
        ny, nx = self.shape
        u = (x - 0.5 * (nx - 1) + self.center[0]) / self.radius
        return u, (y - 0.5 * (ny - 1) + self.center[1]) / self.radius

    def _spot(self, u: float, v: float, size: int) -> C128:
        """Transform of the spot diagram at one place, complex [n, n / 2 + 1]."""
        pupil = _pupil(self.obscuration)
        place = np.array([u]), np.array([v])
        coma = np.array([self.coma_x.at(*place)[0], self.coma_y.at(*place)[0]])
        rho2 = (pupil**2).sum(axis=1, keepdims=True)
        slope = self.defocus.at(*place)[0] * pupil + rho2 * coma + 2.0 * pupil * (pupil @ coma)[:, None]
        slope -= slope.mean(axis=0)
        n = size * self.oversampling
        position = slope * self.oversampling
        first = np.floor(position).astype(int)
        part = position - first
        image = np.zeros((n, n))
        for dy in (0, 1):
            for dx in (0, 1):
                weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
                np.add.at(image, ((first[:, 1] + dy) % n, (first[:, 0] + dx) % n), weight)
        return np.asarray(fft.rfft2(image / len(pupil)))

    def transfer(self, x: ArrayLike, y: ArrayLike, size: int) -> C128:
        """Return the transfer function at positions.

        Parameters
        ----------
        x, y
            Pixel, [N].
        size
            Side of the stamp that it is for, pixel, even.

        Returns
        -------
        transfer
            complex [N, n, n / 2 + 1], n = size * oversampling, 1 at zero frequency.
        """
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        u, v = self._field(x, y)
        ky, kx = frequencies(size, self.oversampling)
        common = np.exp(-0.5 * self.diffusion**2 * (kx**2 + ky**2)) * np.sinc(kx / (2 * np.pi))
        common = common * np.sinc(ky / (2 * np.pi))
        common = common * np.sinc((kx * self.tracking[0] + ky * self.tracking[1]) / (2 * np.pi))
        fwhm, e1, e2 = self.fwhm.at(u, v), self.e1.at(u, v), self.e2.at(u, v)
        result = np.empty((len(x), *common.shape), np.complex128)
        for i in range(len(x)):
            norm = math.sqrt(max(1.0 - e1[i] ** 2 - e2[i] ** 2, 0.05))
            k2 = ((1 + e1[i]) * kx**2 + (1 - e1[i]) * ky**2 + 2 * e2[i] * kx * ky) / norm
            k = np.sqrt(np.maximum(k2, 0.0))
            disc = _kolmogorov(k, fwhm[i]) if self.profile == "kolmogorov" else _moffat(k, fwhm[i], self.beta)
            result[i] = common * disc * self._spot(u[i], v[i], size)
        return result

    def nodes(self) -> tuple[F64, F64]:
        """Return the positions (x, y) at which the PSF is tabulated, pixel, [25]."""
        ny, nx = self.shape
        grid = np.linspace(0.0, 1.0, _NODES)
        x, y = np.meshgrid(grid * (nx - 1), grid * (ny - 1))
        return x.ravel(), y.ravel()

    def components(self, size: int) -> C128:
        """Return the transfer function as polynomials of position, complex [n_terms, n, n / 2 + 1]."""
        x, y = self.nodes()
        terms = chebyshev_terms(x, y, POLYNOMIAL_ORDER, self.box)
        nodes = self.transfer(x, y, size)
        return np.asarray(np.tensordot(np.linalg.pinv(terms), nodes, axes=1))

    def stamps(self, x: ArrayLike, y: ArrayLike, size: int) -> F64:
        """Return centred, pixel-integrated images of the PSF.

        Parameters
        ----------
        x, y
            Positions, pixel, [N].
        size
            Odd side S of the stamps, pixel.

        Returns
        -------
        stamps
            float64 [N, S, S], centre at S // 2; the sum is that of the PSF within the stamp.
        """
        full = 2 * (size // 2 + 24)
        n = full * self.oversampling
        images = fft.irfft2(self.transfer(x, y, full), (n, n)) * self.oversampling**2
        images = images[:, :: self.oversampling, :: self.oversampling]
        half = size // 2
        return np.asarray(np.roll(images, (half, half), axis=(1, 2))[:, :size, :size])


def _random_terms(rng: np.random.Generator, rms: float, constant: float) -> _Terms:
    """Draw a smooth quantity whose constant and slopes share an rms of ``rms`` about ``constant``."""
    values = rng.normal(0.0, rms / math.sqrt(2.0), 4)
    return _Terms(constant + float(values[0]), float(values[1]), float(values[2]), float(values[3]))


def visit_psf(config: SurveyConfig, seed: int, visit: Visit, detector: int) -> VisitPsf:
    """Draw the PSF of a visit and look at it through one detector.

    Parameters
    ----------
    config, seed, visit, detector
        Which image of which survey; all detectors of a visit share one optical state.

    Returns
    -------
    psf : `VisitPsf`
        The true PSF.
    """
    rng = generator(seed, config.instrument, "psf", visit.visit)
    settings, scale = config.psf, config.camera.pixel_scale
    size = config.size
    fwhm = visit.seeing / scale
    half_width = 0.5 * (size.columns * size.detector_width + (size.columns - 1) * config.camera.gap)
    half_height = 0.5 * (size.rows * size.detector_height + (size.rows - 1) * config.camera.gap)
    to_outer = 1.0 / math.sqrt(0.5 * (1.0 + settings.obscuration**2))
    defocus = _random_terms(rng, settings.defocus * to_outer / scale, 0.0)
    variation = float(rng.normal(0.0, settings.fwhm_variation))
    e1, e2 = (_random_terms(rng, 2.0 * settings.ellipticity, 0.0) for _ in range(2))
    coma = [float(value) for value in rng.normal(0.0, settings.coma / scale, 4)]
    angle, length, radius = (
        rng.uniform(0.0, np.pi),
        rng.uniform(*settings.tracking),
        rng.uniform(*settings.donut_radius),
    )
    trail = length * fwhm if visit.psf_kind == "elongated" else 0.0
    if visit.psf_kind == "donut":
        defocus = dataclasses.replace(defocus, constant=radius * fwhm)
    return VisitPsf(
        fwhm=_Terms(fwhm, curvature=variation * fwhm),
        e1=e1,
        e2=e2,
        defocus=defocus,
        coma_x=_Terms(0.3 * coma[0], slope_x=coma[1]),
        coma_y=_Terms(0.3 * coma[2], slope_y=coma[1]),
        tracking=(float(trail * math.cos(angle)), float(trail * math.sin(angle))),
        profile=settings.profile,
        beta=settings.moffat_beta,
        obscuration=settings.obscuration,
        diffusion=config.camera.diffusion,
        center=detector_center(config, detector),
        radius=math.hypot(half_width, half_height),
        shape=config.shape,
    )
