"""Methods that are networks."""

from __future__ import annotations

__all__ = ["Learned"]

import numpy as np

from ..flags import BlendFlag
from ..model_io import BlendModel, load_networks
from ..prediction import BlendMaps, BlendPrediction, predict, predict_maps
from ..preparation import PreparedStamps, prepare
from ..stamps import BlendStamps
from ..threads import in_threads

_PART = 128
"""Stamps that one thread asks about at a time."""

_PSF_MARGIN = 1.1
"""Factor by which a PSF may be narrower or wider than those that a model was trained with."""


class Learned:
    """The networks of a model.

    Parameters
    ----------
    model : `~..model_io.BlendModel`
        Of any method that has a network.
    source : `str`, optional
        Where it comes from, for messages.
    """

    def __init__(self, model: BlendModel, source: str = "blend_model") -> None:
        self.card = model.card
        self.networks = load_networks(model, source)

    def predict(self, stamps: BlendStamps) -> BlendPrediction:
        """Return one answer per stamp, in their order."""
        return self.predict_prepared(prepare(stamps))

    def predict_prepared(self, prepared: PreparedStamps) -> BlendPrediction:
        """Return one answer per stamp that was prepared, in their order, whatever the number of threads."""
        starts = range(0, max(len(prepared), 1), _PART)
        parts = in_threads(self._predict, [prepared.where(slice(start, start + _PART)) for start in starts])
        answer = BlendPrediction.joined(parts)
        low, high = self.card.psf_fwhm
        outside = (prepared.psf_fwhm < low / _PSF_MARGIN) | (prepared.psf_fwhm > high * _PSF_MARGIN)
        answer.flags[np.asarray(outside)] |= int(BlendFlag.PSF_UNTRAINED)
        return answer

    def _predict(self, prepared: PreparedStamps) -> BlendPrediction:
        return predict(self.networks, self.card.calibration, self.card.stamp_size, prepared)

    def predict_maps(self, stamps: BlendStamps) -> BlendMaps:
        """Return where sources are and overlap; only of networks that make maps."""
        return predict_maps(self.networks, self.card.calibration, self.card.stamp_size, prepare(stamps))
