"""Maps over the pixels of detectors."""

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.injection.focal_plane import detector_cells, plot_focal_plane


def test_each_value_is_in_its_cell():
    rng = np.random.default_rng(0)
    place, row, column = (rng.integers(0, n, 4000) for n in (3, 4, 5))
    values = 100.0 * place + 10.0 * row + column
    cells = detector_cells(place, row, column, values, np.mean, (3, 4, 5))
    np.testing.assert_allclose(
        cells, np.add.outer(100.0 * np.arange(3), np.add.outer(10.0 * np.arange(4), np.arange(5)))
    )


def test_few_values_are_no_figure():
    zeros = np.zeros(6, np.int64)
    column = np.array([0, 0, 0, 0, 0, 1])
    cells = detector_cells(zeros, zeros, column, np.arange(6.0), np.median, (1, 1, 3))
    np.testing.assert_array_equal(cells, [[[2.0, np.nan, np.nan]]])


@pytest.mark.parametrize(("detectors", "count"), [(1, 3), (5, 4000)])
def test_panels_show_what_was_lost(detectors, count):
    """Everything in the left half of the last detector is lost: its cells there are 0, all others 1."""
    rng = np.random.default_rng(1)
    x, detector = rng.uniform(0, 2000, count), 10 + rng.integers(0, detectors, count)
    recovered = (x > 1000) | (detector < 10 + detectors - 1)
    flux = rng.uniform(100, 200, count)
    outcomes = Table({
        "detector": detector, "x": x, "y": rng.uniform(0, 4000, count), "recovered": recovered,
        "expected_snr": np.where(np.arange(count) % 2, 6.0, 20.0), "flux": flux,
        "psfFlux": np.where(recovered, 1.02 * flux, np.nan),
    })  # fmt: skip
    figure = plot_focal_plane(outcomes)
    fraction, residual = (
        [np.ma.filled(image.get_array(), np.nan) for image in axes.images] for axes in figure.axes[:2]
    )
    assert len(fraction) == len(residual) == detectors
    if count < 5:
        assert np.isnan(fraction[0]).all()
        return
    np.testing.assert_array_equal(np.stack(fraction[:-1]), 1.0)
    along = fraction[-1].shape[1]
    np.testing.assert_array_equal(fraction[-1][:, : along // 2], 0.0)
    assert np.nanmean(fraction[-1][:, -1]) == 1.0
    np.testing.assert_allclose(np.concatenate(residual[:-1]), 2.0)
    assert figure.axes[0].images[0].get_extent()[3] == pytest.approx(2.0, abs=0.01)
