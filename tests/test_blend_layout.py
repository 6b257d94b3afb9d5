"""Kinds and positions of simulated stamps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from dia_vetting.blends.layout import KINDS, Layout, draw_layout, observed_radius
from dia_vetting.blends.presets import Preset, load_preset
from dia_vetting.seeding import generator

COUNT = 12_000


def drawn(preset: Preset) -> tuple[Layout, np.ndarray]:
    radius = generator("radius").uniform(2.0, preset.widest, (COUNT, 5))
    return draw_layout(preset, radius, generator("layout")), radius


def offsets(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    return layout.x[:, 1:] - layout.x[:, :1], layout.y[:, 1:] - layout.y[:, :1]


def test_fractions() -> None:
    layout, _ = drawn(load_preset("great3"))
    for kind in KINDS:
        assert (layout.kind == kind).mean() == pytest.approx(1 / 3, abs=0.02)
    blends = layout.n_sources[layout.kind == "blend"]
    for number, fraction in zip(range(2, 6), load_preset("great3").kinds.sources, strict=True):
        assert (blends == number).mean() == pytest.approx(fraction, abs=0.025)
    assert (layout.n_sources[layout.kind == "single"] == 1).all()
    assert (layout.n_sources[layout.kind == "separated"] == 2).all()


def test_nan_beyond_the_number_of_sources() -> None:
    layout, _ = drawn(load_preset("lsst"))
    absent = np.arange(5) >= layout.n_sources[:, None]
    np.testing.assert_array_equal(np.isnan(layout.x), absent)
    np.testing.assert_array_equal(np.isnan(layout.y), absent)


def test_central_sources_are_within_half_a_pixel() -> None:
    preset = load_preset("farrens2021")
    layout, _ = drawn(preset)
    for axis in (layout.x, layout.y):
        assert np.abs(axis[:, 0] - 32.0).max() <= 0.5
        assert scipy.stats.kstest(axis[:, 0] - 31.5, "uniform").pvalue > 1e-3


def test_published_offsets_are_uniform_in_the_square() -> None:
    layout, _ = drawn(load_preset("farrens2021"))
    blend = layout.kind == "blend"
    assert blend.mean() == pytest.approx(0.5, abs=0.015)
    for offset in offsets(layout):
        assert scipy.stats.kstest(offset[blend, 0], "uniform", (-25.0, 49.0)).pvalue > 1e-3


def test_distances_of_blends_and_of_separated_sources() -> None:
    preset = load_preset("cfis")
    layout, radius = drawn(preset)
    unit = radius[:, :1] + radius[:, 1:]
    distance = np.hypot(*offsets(layout))
    blend, apart = layout.kind == "blend", layout.kind == "separated"
    low, high = preset.layout.blend
    scaled = (distance / unit)[blend, 0]
    assert scipy.stats.kstest(scaled, "uniform", (low, high - low)).pvalue > 1e-3
    share = distance[apart, 0] - preset.layout.separated * unit[apart, 0]
    room = preset.reach - preset.layout.separated * unit[apart, 0]
    assert (room >= 0.0).all()
    assert scipy.stats.kstest(share / room, "uniform").pvalue > 1e-3


def test_all_are_inside_the_stamp() -> None:
    for name in ("cfis", "euclid", "great3", "lsst"):
        preset = load_preset(name)
        layout, _ = drawn(preset)
        for axis in (layout.x, layout.y):
            assert np.nanmin(axis) >= preset.layout.margin - 1e-9
            assert np.nanmax(axis) <= preset.side - 1 - preset.layout.margin + 1e-9


def test_observed_radius() -> None:
    assert observed_radius(0.0, 4.0) == 2.0
    assert observed_radius(3.0, 8.0) == 5.0
