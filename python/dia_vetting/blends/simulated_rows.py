"""Training rows from the simulator, of one preset or of several."""

from __future__ import annotations

__all__ = ["simulated_rows"]

import dataclasses
from collections.abc import Mapping

from ..progress import progress
from .presets import load_preset
from .simulation import simulate
from .training_rows import TrainingRows, training_rows


def simulated_rows(counts: Mapping[str, int], seed: int) -> TrainingRows:
    """Simulate stamps and make training rows of them.

    Parameters
    ----------
    counts : `~collections.abc.Mapping` [`str`, `int`]
        Number of stamps by name of the preset; one or more.
    seed : `int`
        Seed of the simulation. The rows do not depend on the order of the presets.

    Returns
    -------
    rows : `~.training_rows.TrainingRows`
        One preset after another, at the side of the largest; the others are padded. No group is of two
        presets.

    Raises
    ------
    BadInputError
        If there is no such preset, or a number of stamps is not positive.
    """
    presets = [load_preset(name) for name in sorted(counts)]
    size = max(preset.side for preset in presets)
    parts = []
    with progress(len(presets), "simulating stamps, presets") as advance:
        for index, preset in enumerate(presets):
            stamps, truth = simulate(preset, counts[preset.name], seed)
            rows = training_rows(stamps, truth, size, any_companion=preset.layout.offset is not None)
            parts.append(dataclasses.replace(rows, group=rows.group * len(presets) + index))
            advance()
    return TrainingRows.joined(parts)
