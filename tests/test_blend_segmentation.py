"""Truth that is measured on the light of each source."""

from __future__ import annotations

import numpy as np
import pytest
from dia_vetting.blends.segmentation import (
    SEGMENTATION_THRESHOLD,
    blendedness,
    central_snr,
    nearest_pair,
    segmentation,
)


def test_bits() -> None:
    light = np.zeros((2, 5, 25, 25), np.float32)
    light[0, 0, 3, 4] = 2.0
    light[0, 4, 3, 4] = 2.0
    light[0, 1, 3, 4] = SEGMENTATION_THRESHOLD  # at the threshold is not above it
    light[1, 2, 24, 0] = 3.1
    bits = segmentation(light, np.array([1.0, 2.0], np.float32))
    assert bits.dtype == np.uint8
    assert bits[0, 3, 4] == 0b10001
    assert bits[1, 24, 0] == 0b00100
    assert np.count_nonzero(bits) == 2


def test_blendedness() -> None:
    light = np.zeros((3, 2, 25, 25), np.float32)
    light[:, 0, 10:12, 10:12] = 5.0
    light[1, 1] = light[1, 0]  # as bright, at the same place: half of the light is another's
    light[2, 1, 0, 0] = 5.0  # elsewhere
    np.testing.assert_allclose(blendedness(light), [0.0, 0.5, 0.0], atol=1e-12)


def test_snr() -> None:
    light = np.zeros((1, 2, 25, 25), np.float32)
    light[0, 0, 0, :4] = 3.0
    light[0, 1] = 100.0
    assert central_snr(light, np.array([2.0], np.float32))[0] == pytest.approx(3.0)


def test_nearest_pair() -> None:
    nan = np.nan
    x = np.array([[0.0, 3.0, 1.0], [0.0, nan, nan], [5.0, 5.0, nan]])
    y = np.array([[0.0, 4.0, 0.0], [0.0, nan, nan], [5.0, 3.0, nan]])
    flux = np.array([[4.0, 4.0, 1.0], [1.0, nan, nan], [2.0, 8.0, nan]])
    separation, ratio = nearest_pair(x, y, flux)
    np.testing.assert_allclose(separation, [1.0, nan, 2.0])
    np.testing.assert_allclose(ratio, [0.25, nan, 0.25])
