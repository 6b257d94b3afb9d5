"""Alerts as rows of a cutout table, so that the same code scores them as any DIA source."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from ..cutouts import PlacedPlanes, Triplets, cut_triplets
from ..masks import MaskBit
from ..planes import Planes
from ..reliability.extract_cutouts import cutout_meta
from ..reliability.schemas import DIA_SOURCE_CUTOUT
from .packets import Alert, Triplet

__all__ = ["alert_cutouts"]


def alert_cutouts(alerts: Sequence[Alert], size: int) -> Table:
    """Bring alerts to one stamp size, each source where the package's convention puts it.

    Parameters
    ----------
    alerts : sequence of `Alert`
        At least one.
    size : `int`
        Side S of the stamps: larger cutouts are cropped, smaller ones are surrounded by NaN and NO_DATA.

    Returns
    -------
    cutouts : `astropy.table.Table`
        In `~dia_vetting.reliability.schemas.DIA_SOURCE_CUTOUT`'s schema, a row per alert. ``diaSourceId`` is
        ZTF's ``candid`` for its alerts. One without cutouts has NaN and NO_DATA everywhere; a position that
        is not on the sky becomes NaN.
    """
    stamps = [_cut(alert.triplet, size) for alert in alerts]
    planes = ("science", "template", "difference", "variance", "mask", "valid_fraction")
    values = {name: np.concatenate([getattr(stamp, name) for stamp in stamps]) for name in planes}
    positions = [_on_sky(alert.ra, alert.dec) for alert in alerts]
    object_ids = [int(a.object_id) if a.stream == "rubin" and a.object_id else 0 for a in alerts]
    values |= {
        "diaSourceId": np.array([a.dia_source_id or a.candid for a in alerts], np.int64),
        "diaObjectId": np.array(object_ids, np.int64),
        "visit": np.array([a.visit for a in alerts], np.int64),
        "detector": np.array([a.detector for a in alerts], np.int64),
        "band": np.array([a.band for a in alerts], np.str_),
        "ra": np.array([ra for ra, _ in positions]),
        "dec": np.array([dec for _, dec in positions]),
        "psfFlux": np.array([a.flux for a in alerts]),
        "snr": np.array([a.snr for a in alerts]),
        "psfFluxErr": np.array([a.flux_err for a in alerts]),
        "psf_fwhm": np.array([a.psf_fwhm for a in alerts]),
        "x0": np.concatenate([stamp.x_first for stamp in stamps]),
        "y0": np.concatenate([stamp.y_first for stamp in stamps]),
    }
    return DIA_SOURCE_CUTOUT.build(values, cutout_meta(size))


def _cut(triplet: Triplet | None, size: int) -> Triplets:
    """Return the stamps of one alert."""
    if triplet is None:
        nothing = np.full((1, 1), np.nan, np.float32)
        empty = PlacedPlanes(Planes(nothing, nothing, np.full((1, 1), MaskBit.NO_DATA, np.uint32)))
        return cut_triplets(empty, empty, empty, [0.0], [0.0], size)
    return cut_triplets(triplet.science, triplet.template, triplet.difference, [triplet.x], [triplet.y], size)


def _on_sky(ra: float, dec: float) -> tuple[float, float]:
    if abs(ra) <= 720.0 and abs(dec) <= 90.0:
        return ra % 360.0, dec
    return math.nan, math.nan
