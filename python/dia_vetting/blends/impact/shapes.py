"""Shapes of the central sources of stamps, by REGAUSS."""

from __future__ import annotations

__all__ = ["measure_ellipticities"]

import numpy as np
from numpy.typing import NDArray

from ...bad_input import BadInputError
from ...extras import optional_import
from ..stamps import BlendStamps

_LARGEST = 2.0
"""Distortions from here on are failures of the correction. Noise takes those of real ellipses beyond 1."""

_LEAST_RESOLUTION = 0.3
"""One minus the size of the PSF over that of the source, squared; below, the PSF is most of what is seen."""


def measure_ellipticities(stamps: BlendStamps, psfs: NDArray[np.float32]) -> NDArray[np.complex128]:
    """Measure the source in the middle of each stamp.

    By GalSim's ``hsm.EstimateShear`` with ``REGAUSS`` (re-Gaussianisation; Hirata & Seljak 2003, MNRAS 343,
    459): adaptive moments alone are still diluted and turned by the PSF, which another size of the galaxy
    would change, so that a response to shear of them means nothing. It looks for the source from the middle
    of the stamp on, and nothing is deblended or masked: neighbours pull on the moments as far as the adaptive
    weight reaches.

    Parameters
    ----------
    stamps : `~..stamps.BlendStamps`
        N stamps of one band.
    psfs : `numpy.ndarray`, (N, T, T), float32
        PSF of each, response of the pixel included.

    Returns
    -------
    e : `numpy.ndarray`, (N,), complex128
        Distortion ``e1 + i e2``, corrected for the PSF; NaN where the moments or the correction fail, the
        resolution factor is below 0.3, or ``|e| >= 2``: the cuts of the HSC survey (Mandelbaum et al. 2018,
        PASJ 70, S25).

    Raises
    ------
    BadInputError
        If there are not as many PSFs as stamps.
    """
    if len(stamps) != len(psfs):
        raise BadInputError("stamps", f"{len(stamps)} PSFs", str(len(psfs)))
    galsim = optional_import("galsim", "embedded")
    e = np.full(len(stamps), complex(np.nan, np.nan))
    for k in range(len(stamps)):
        found = galsim.hsm.EstimateShear(
            galsim.Image(stamps.images[k]),
            galsim.Image(psfs[k]),
            sky_var=float(stamps.noise_sigma[k]) ** 2,
            shear_est="REGAUSS",
            strict=False,
        )
        good = found.moments_status == 0 and found.correction_status == 0
        if good and found.resolution_factor >= _LEAST_RESOLUTION:
            e[k] = complex(found.corrected_e1, found.corrected_e2)
    e[~(np.abs(e) < _LARGEST)] = complex(np.nan, np.nan)
    return e
