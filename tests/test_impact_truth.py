"""How blended true sources are."""

from __future__ import annotations

import numpy as np
import pytest
from dia_vetting.errors import TableSchemaError
from impact_samples import ERROR, FWHM, truth_of, truth_table


def test_blendedness_is_that_of_gaussian_images() -> None:
    """Against pixels that are summed."""
    east, mag, half = np.array([0.0, 0.9, 2.0]), np.array([22.0, 22.7, 21.5]), 0.4
    truth = truth_of(truth_table(east, 0.3 * east, mag, half))
    sigma = np.hypot(FWHM / 2.3548, half / np.sqrt(2 * np.log(2)))
    y, x = np.mgrid[-8:8:0.05, -8:8:0.05]
    light = [
        flux * np.exp(-0.5 * ((x - e) ** 2 + (y - 0.3 * e) ** 2) / sigma**2) / sigma**2
        for flux, e in zip(truth.flux, east, strict=True)
    ]
    for k in range(3):
        expected = 1 - np.sum(light[k] ** 2) / np.sum(light[k] * sum(light))
        assert truth.blendedness[k] == pytest.approx(expected, abs=2e-4)
    assert truth.snr[0] == pytest.approx(truth.flux[0] / ERROR * FWHM / 2.3548 / sigma)


def test_companions_are_the_nearest_that_are_bright_enough() -> None:
    east, mag = np.array([0.0, 1.0, 2.0, 30.0]), np.array([20.0, 24.0, 21.0, 20.0])
    truth = truth_of(truth_table(east, 0 * east, mag))
    assert truth.companion.tolist() == [2, 0, 0, -1]
    np.testing.assert_allclose(truth.separation[:3], [2.0, 1.0, 2.0], rtol=1e-5)
    np.testing.assert_allclose(truth.flux_ratio[:3], 10 ** (-0.4 * np.array([1.0, 4.0, 1.0])), rtol=1e-6)
    assert np.isnan(truth.separation[3])
    assert truth.blendedness[3] == 0
    left = truth.where(np.array([True, True, False, True]))
    assert left.companion.tolist() == [-1, 0, -1]


def test_fluxes_are_those_of_the_band() -> None:
    table = truth_table(np.zeros(1), np.zeros(1), np.array([20.0]))
    assert truth_of(table).magnitude[0] == pytest.approx(20.0)
    assert truth_of(table, "g").magnitude[0] == pytest.approx(20.7)


def test_bad_tables_are_named() -> None:
    table = truth_table(np.zeros(1), np.zeros(1), np.array([20.0]))
    table.remove_column("color")
    with pytest.raises(TableSchemaError, match=r"sim_truth_object.*'color'"):
        truth_of(table)
