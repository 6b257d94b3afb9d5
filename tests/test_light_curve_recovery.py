"""Light curves as injected and as measured: joins by id, and closed forms of the fits."""

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.embedded.source_schemas import DIA_OBJECT_FORCED_SOURCE
from dia_vetting.injection.light_curve_metrics import injection_objects, light_curve_metrics
from dia_vetting.injection.light_curve_plots import plot_light_curve_fits, plot_light_curves
from dia_vetting.injection.light_curve_recovery import (
    ALL_BANDS,
    associate_transients,
    fit_light_curves,
    light_curve_points,
)
from dia_vetting.injection.schemas import INJECTION_LIGHT_CURVE, TRANSIENT_TRUTH

BIG = 2**62
"""Ids use 63 bits: no float holds them."""


def labels(rows):
    columns = ("diaSourceId", "injection_id", "state", "visit", "detector")
    return Table(rows=rows, names=columns, dtype=("i8", "i8", "U16", "i8", "i8"))


def sources(pairs):
    return Table(rows=pairs, names=("diaSourceId", "diaObjectId"), dtype=("i8", "i8"))


def injected(rows):
    names = ("injection_id", "visit", "detector", "flux", "injection_flag")
    return Table(rows=rows, names=names, dtype=("i8", "i8", "i8", "f8", "i8"))


def forced(rows):
    """Rows of object, visit, band, flux, error, bad."""
    owner, visit, band, flux, error, bad = zip(*rows, strict=True)
    zero = np.zeros(len(rows))
    return DIA_OBJECT_FORCED_SOURCE.build(
        {
            "diaObjectId": owner,
            "visit": visit,
            "detector": zero,
            "band": band,
            "midpointMjdTai": 61000.0 - np.asarray(visit, float),  # later visits first
            "ra": zero,
            "dec": zero,
            "psfDiffFlux": flux,
            "psfDiffFluxErr": 0.8 * np.asarray(error),
            "staticFluxErr": 0.6 * np.asarray(error),
            "pixelFlags_bad": bad,
        }
    )


def test_the_object_with_most_sources_is_the_transients():
    table = labels(
        [
            (1, BIG + 1, "injected", 1, 0),
            (2, BIG + 1, "injected", 2, 0),
            (3, BIG + 1, "injected", 3, 0),
            (4, BIG + 2, "injected", 1, 0),
            (5, BIG + 2, "injected", 2, 0),
            (6, BIG + 3, "masked", 1, 0),
            (7, BIG + 9, "injected", 1, 0),
        ]
    )
    owners = sources([(7, 70), (5, 50), (4, 40), (3, 10), (2, 20), (1, 20), (6, 60)])
    found = associate_transients(np.array([BIG + 3, BIG + 2, BIG + 1]), table, owners)
    assert found.injection_id.tolist() == [BIG + 1, BIG + 2, BIG + 3]
    assert found.dia_object.tolist() == [20, 40, 0]  # of two objects with one source each, the lower id
    assert found.n_objects.tolist() == [2, 2, 0]
    assert found.n_detections.tolist() == [3, 2, 0]


def points_of_two():
    table = labels([(1, 11, "injected", 1, 0), (2, 11, "injected", 2, 0), (3, 12, "injected", 1, 0)])
    owners = sources([(1, 7), (2, 7), (3, 8)])
    association = associate_transients(np.array([11, 12, 13]), table, owners)
    catalog = injected([(11, 1, 0, 100.0, 0), (11, 2, 0, 50.0, 0), (11, 3, 0, 25.0, 4), (12, 1, 0, -40.0, 0)])
    fluxes = forced(
        [
            (7, 1, "r", 110.0, 10.0, False),
            (7, 2, "r", 60.0, 10.0, False),
            (7, 3, "g", 5.0, 5.0, False),
            (7, 4, "g", 900.0, 5.0, True),
            (8, 1, "r", -44.0, 4.0, False),
            (9, 1, "r", 1.0, 1.0, False),
        ]
    )
    return association, light_curve_points(association, catalog, table, fluxes)


def test_points_are_those_of_the_objects_with_the_light_that_was_really_injected():
    _, points = points_of_two()
    assert points["injection_id"].tolist() == [11, 11, 11, 11, 12]
    assert points["visit"].tolist() == [4, 3, 2, 1, 1]  # by time
    # No row is no light, and so is one that could not be injected.
    assert points["flux"].tolist() == [0.0, 0.0, 50.0, 100.0, -40.0]
    assert points["detected"].tolist() == [False, False, True, True, True]
    assert points["used"].tolist() == [False, True, True, True, True]


def test_a_table_without_static_errors_has_none():
    association, points = points_of_two()
    table = forced([(7, 1, "r", 110.0, 10.0, False)])
    table.remove_column("staticFluxErr")
    catalog, known = injected([(11, 1, 0, 100.0, 0)]), labels([(1, 11, "injected", 1, 0)])
    bare = light_curve_points(association, catalog, known, table)
    assert bare["staticFluxErr"].tolist() == [0.0]
    assert points["staticFluxErr"][-1] == pytest.approx(2.4)


def test_chi2_is_about_the_injected_fluxes():
    fits = fit_light_curves(points_of_two()[1])
    row = {(r["injection_id"], r["band"]): r for r in fits}
    assert sorted(row) == [(11, ALL_BANDS), (11, "g"), (11, "r"), (12, ALL_BANDS), (12, "r")]
    r = row[11, "r"]
    assert (r["n_points"], r["n_detections"], r["n_outliers"], r["peak_flux"]) == (2, 2, 0, 100.0)
    assert r["chi2"] == pytest.approx(2.0)
    assert r["chi2_noise"] == pytest.approx(2.0 / 0.64)
    assert (r["amplitude"], r["zero_level"]) == (pytest.approx(1.0), pytest.approx(10.0))
    assert row[11, "r"]["n_degrees"] == 0
    g = row[11, "g"]  # no light at all: a chi2, but no amplitude
    assert g["chi2"] == pytest.approx(1.0)
    assert np.isnan([g["amplitude"], g["amplitude_err"], g["chi2_shape"]]).all()
    assert row[11, ALL_BANDS]["chi2"] == pytest.approx(3.0)
    assert row[11, ALL_BANDS]["n_points"] == 3


@pytest.mark.parametrize("bands", [("g",), ("r",), ("g", "r")])
def test_fits_are_those_of_least_squares(bands):
    points = survey(n=1)
    wild = 4
    points["psfDiffFlux"][wild] = points["flux"][wild] + 6 * points["psfDiffFluxErr"][wild]
    points["psfDiffFluxErr"][::3] *= 2.0
    name = bands[0] if len(bands) == 1 else ALL_BANDS
    fits = fit_light_curves(points)
    found = fits[fits["band"] == name][0]
    keep = np.isin(points["band"], bands) & (np.arange(len(points)) != wild)
    rows, error = points[keep], np.asarray(points["psfDiffFluxErr"])[keep]
    design = np.column_stack([rows["flux"], *(rows["band"] == band for band in bands)]) / error[:, None]
    data = rows["psfDiffFlux"] / error
    solution, (residual,), rank, _ = np.linalg.lstsq(design, data)
    assert found["amplitude"] == pytest.approx(solution[0])
    assert found["amplitude_err"] == pytest.approx(np.sqrt(np.linalg.inv(design.T @ design)[0, 0]))
    assert found["chi2_shape"] == pytest.approx(residual)
    assert found["n_degrees"] == len(rows) - rank
    assert found["n_outliers"] == int(points["band"][wild] in bands)
    if len(bands) == 1:
        assert found["zero_level"] == pytest.approx(solution[1])
    else:
        assert np.isnan(found["zero_level"])


def survey(seed=3, n=400, visits=30, stretch=1.0):
    """Light curves in g and r with normal errors, ``stretch`` times too large."""
    rng = np.random.default_rng(seed)
    time = np.arange(visits, dtype=float)
    ids = np.repeat(np.arange(n), visits)
    peak = np.repeat(10 ** rng.uniform(2.5, 4.0, n), visits)
    flux = peak * np.exp(-0.5 * ((np.tile(time, n) - visits / 2) / 6.0) ** 2)
    error = np.full(n * visits, 100.0)
    measured = flux + stretch * rng.normal(0.0, error)
    return INJECTION_LIGHT_CURVE.build(
        {
            "injection_id": ids,
            "diaObjectId": ids + 1000,
            "visit": np.tile(np.arange(visits), n),
            "detector": np.zeros(n * visits),
            "band": np.where(np.tile(np.arange(visits), n) % 2, "g", "r"),
            "midpointMjdTai": np.tile(time, n),
            "flux": flux,
            "psfDiffFlux": measured,
            "psfDiffFluxErr": error,
            "staticFluxErr": np.zeros(n * visits),
            "detected": measured > 5 * error,
            "used": np.ones(n * visits, bool),
        }
    )


def metrics_of(points, n):
    truth = {c.name: np.zeros(n) for c in TRANSIENT_TRUTH.columns if c.dtype != "U"}
    truth |= {c.name: np.full(n, "supernova") for c in TRANSIENT_TRUTH.columns if c.dtype == "U"}
    table = TRANSIENT_TRUTH.build(truth | {"injection_id": np.arange(n)})
    seen = points[np.asarray(points["detected"], bool)]
    keys = np.arange(len(seen))
    known = labels(
        [(k, row["injection_id"], "injected", row["visit"], 0) for k, row in zip(keys, seen, strict=True)]
    )
    association = associate_transients(
        np.arange(n), known, sources(list(zip(keys, seen["diaObjectId"], strict=True)))
    )
    objects = injection_objects(table, np.full(n, 30), association)
    fits = fit_light_curves(points)
    return light_curve_metrics(objects, fits, 2, seed=1)["supernova"], fits


def test_normal_errors_give_unit_chi2_and_no_bias():
    figures, _ = metrics_of(survey(), 400)
    for name, reach in (("chi2_per_point", 0.04), ("chi2_shape_per_degree", 0.04)):
        assert figures[name]["value"] == pytest.approx(1.0, abs=reach)
        assert figures[name]["low"] < figures[name]["value"] < figures[name]["high"]
    for band in "gr":
        bias = figures["bands"][band]["amplitude_bias"]
        assert bias["low"] < 0.0 < bias["high"]
        assert abs(bias["value"]) < 0.003
        assert figures["bands"][band]["amplitude_pull_width"]["value"] == pytest.approx(1.0, abs=0.15)
    assert list(figures["colors"]) == ["g-r"]
    assert figures["colors"]["g-r"]["color_bias"]["value"] == pytest.approx(0.0, abs=0.02)
    assert figures["split"]["value"] == 0.0
    assert figures["detected_1"]["value"] > figures["detected_5"]["value"] > 0.3


def test_errors_that_are_too_small_show():
    figures, _ = metrics_of(survey(stretch=1.3), 400)
    assert figures["chi2_per_point"]["value"] == pytest.approx(1.69, abs=0.1)
    assert figures["chi2_shape_per_degree"]["value"] == pytest.approx(1.69, abs=0.1)
    assert 0.0 < figures["outliers"]["value"] < 0.001
    assert figures["colors"]["g-r"]["color_pull_width"]["value"] == pytest.approx(1.3, abs=0.25)


def test_too_few_have_no_figures():
    figures, _ = metrics_of(survey(n=2), 2)
    assert figures["n"] == 2
    assert figures["chi2_per_point"] is None
    assert figures["bands"]["g"]["amplitude_bias"] is None


def test_the_worst_and_best_are_drawn():
    points = survey(n=20)
    wrong = np.asarray(points["injection_id"]) == 7
    points["psfDiffFlux"][wrong] += 1000.0
    points["detected"][wrong] = True
    fits = metrics_of(points, 20)[1]
    figure = plot_light_curves(points, fits, 2)
    worst = figure.axes[6].get_title()
    assert worst.startswith("worst")
    assert worst.endswith("\n7")
    assert len(plot_light_curve_fits(fits, 2).axes) == 3
    empty = points[:0]
    assert len(plot_light_curves(empty, fit_light_curves(empty), 2).axes) == 12
