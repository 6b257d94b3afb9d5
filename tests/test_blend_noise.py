"""Noise of simulated stamps."""

from __future__ import annotations

import numpy as np
import pytest
from dia_vetting.blends.noise import draw_noise, kernel_wing
from dia_vetting.seeding import generator


@pytest.mark.parametrize("correlation", [0.0, 0.15, 0.5])
def test_rms_and_correlation(correlation: float) -> None:
    noise = draw_noise((300, 65, 65), correlation, generator("noise")).astype(np.float64)
    assert noise.std() == pytest.approx(1.0, rel=0.01)
    assert noise.mean() == pytest.approx(0.0, abs=0.01)
    wing = kernel_wing(correlation)
    along = {1: correlation, 2: wing**2 / (1 + 2 * wing**2), 3: 0.0}
    for lag, expected in along.items():
        assert np.mean(noise[:, lag:] * noise[:, :-lag]) == pytest.approx(expected, abs=0.01)
        assert np.mean(noise[:, :, lag:] * noise[:, :, :-lag]) == pytest.approx(expected, abs=0.01)
    diagonal = np.mean(noise[:, 1:, 1:] * noise[:, :-1, :-1])
    assert diagonal == pytest.approx(correlation**2, abs=0.01)


def test_edges_have_the_same_rms() -> None:
    noise = draw_noise((4000, 25, 25), 0.4, generator("edges"))
    assert noise[:, 0].std() == pytest.approx(1.0, rel=0.01)
    assert noise[:, :, -1].std() == pytest.approx(1.0, rel=0.01)


def test_bands_are_independent() -> None:
    noise = draw_noise((2, 300, 300), 0.3, generator("bands"))
    assert np.mean(noise[0] * noise[1]) == pytest.approx(0.0, abs=0.02)
