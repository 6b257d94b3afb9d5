"""What each class of supernova looks like in its rest frame: tables of numbers, each with its source."""

from __future__ import annotations

__all__ = ["CLASSES", "IA", "RATES", "SupernovaClass"]

import dataclasses

type Knots = tuple[tuple[float, float], ...]


@dataclasses.dataclass(frozen=True)
class SupernovaClass:
    """One class.

    Parameters
    ----------
    magnitude, scatter : `float`
        Mean and standard deviation of the absolute B magnitude at maximum, Vega, H0 = 70 km/s/Mpc, before the
        extinction of the host; within 0.1 mag of AB in this band.
    rise : `float`
        Days from explosion to maximum.
    decline : `tuple`
        (days after maximum, magnitudes below it) in the reference band; interpolated smoothly, and
        extended at the last slope.
    temperature : `tuple`
        (days after maximum, kelvin) of the black body that gives the colours.
    reference : `float`
        Wavelength of the reference band, nm: B 440, V 550, R 650.
    """

    magnitude: float
    scatter: float
    rise: float
    decline: Knots
    temperature: Knots
    reference: float


IA = {
    # Scolnic & Kessler (2016, ApJL 822, L35), G10: peak of the stretch x1 and its widths below and above.
    "x1": (0.973, 1.472, 0.222),
    # The same for the colour c.
    "c": (-0.054, 0.043, 0.101),
    # Slopes of the standardisation, alpha and beta, as they simulate.
    "alpha": (0.14,),
    "beta": (3.1,),
    # Intrinsic scatter, mag: chosen here.
    "scatter": (0.10,),
}

# Peak magnitudes of core collapse: Richardson et al. (2014, AJ 147, 118), table 1 (bias-corrected); that of
# II-P was compared with the abstract, the others were not. Ia: of SALT2 at x1 = c = 0.
# Rise of Ia: Firth et al. (2015, MNRAS 446, 3895), 18.98 days for a fireball. Decline of Ia: 1.09 mag in 15
# days at x1 = 0 (Guy et al. 2007, A&A 466, 11, section 5.4); the rest of its table, and all rises and
# temperatures of core collapse, are chosen here.
# II-P in V: 84 days from explosion to the end of the plateau, -1.27 mag / 100 days on it and 1.47 on the
# tail (Anderson et al. 2014, ApJ 786, 67, means of OPTd, s2, s3). Ib, Ic, IIb in R: about 0.7 mag in 15
# days, within the range of Drout et al. (2011, ApJ 741, 97). II-L and IIn: chosen here.
_STRIPPED: Knots = ((0, 0), (5, 0.10), (10, 0.36), (15, 0.70), (25, 1.35), (40, 1.95), (60, 2.35), (100, 3.1))
_STRIPPED_HEAT: Knots = ((-15, 10500), (0, 8000), (15, 5500), (30, 5000), (60, 5000))
CLASSES = {
    "Ia": SupernovaClass(
        -19.36, 0.10, 18.98,
        ((0, 0), (5, 0.13), (10, 0.51), (15, 1.09), (20, 1.70), (25, 2.25), (30, 2.62), (40, 2.97), (60, 3.3),
         (100, 3.9)),
        ((-15, 12500), (-5, 12500), (0, 11000), (10, 8300), (20, 6000), (30, 4900), (45, 5200), (80, 6000)),
        440.0,
    ),
    "II-P": SupernovaClass(
        -16.75, 0.98, 7.0,
        ((0, 0), (10, 0.15), (40, 0.55), (72, 0.95), (80, 1.2), (90, 2.2), (100, 2.7), (110, 2.9),
         (210, 4.37)),
        ((-7, 20000), (0, 13000), (10, 9500), (25, 7000), (45, 6000), (80, 5500), (120, 5000)),
        550.0,
    ),
    "II-L": SupernovaClass(
        -17.98, 0.86, 9.0,
        ((0, 0), (10, 0.2), (30, 0.9), (60, 2.0), (80, 2.8), (100, 3.5), (200, 5.0)),
        ((-9, 20000), (0, 13000), (15, 9000), (30, 7000), (60, 6000), (100, 5500)),
        550.0,
    ),
    "IIn": SupernovaClass(
        -18.53, 1.36, 20.0,
        ((0, 0), (15, 0.15), (40, 0.7), (80, 1.5), (150, 2.8), (250, 4.5)),
        ((-20, 18000), (0, 13000), (40, 9000), (100, 7000)),
        550.0,
    ),
    "IIb": SupernovaClass(-16.99, 0.92, 18.0, _STRIPPED, _STRIPPED_HEAT, 650.0),
    "Ib": SupernovaClass(-17.45, 1.12, 18.0, _STRIPPED, _STRIPPED_HEAT, 650.0),
    "Ic": SupernovaClass(-17.66, 1.18, 15.0, _STRIPPED, _STRIPPED_HEAT, 650.0),
}  # fmt: skip

RATES = {
    # Ia are 24 % of all in a volume (Li et al. 2011, MNRAS 412, 1441); the others' shares of core collapse
    # are from Smith et al. (2011, MNRAS 412, 1522), their peculiar Ibc (4 %) left out.
    "Ia": 0.24,
    "II-P": 0.76 * 0.482,
    "Ic": 0.76 * 0.149,
    "IIb": 0.76 * 0.106,
    "IIn": 0.76 * 0.088,
    "Ib": 0.76 * 0.071,
    "II-L": 0.76 * 0.064,
}
"""Relative numbers in a volume."""
