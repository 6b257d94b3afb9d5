"""Efficiency fits on injections whose efficiency is known."""

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.injection.campaign_efficiency import fit_campaign, hold_out_campaign
from dia_vetting.injection.efficiency import Injections, LogisticFit, MagnitudeModel, fit_logistic
from dia_vetting.injection.efficiency_fits import efficiency_table, fit_efficiency
from dia_vetting.injection.holdout import holdout
from dia_vetting.injection.logistic import logistic_cost
from dia_vetting.injection.product_model import ProductModel, product_efficiency
from dia_vetting.injection.schemas import INJECTION_EFFICIENCY

TRUE = LogisticFit(23.4, 0.25, 0.95)
PRODUCT = ProductModel({"g": 5.0, "r": 5.5}, host=0.02, gradient=0.05, width=0.15, ceiling=0.95)


def outcomes(count: int = 8000, seed: int = 1, model=None, south: float = 0.0) -> Table:
    """Return injections over half a degree, half of them on hosts, ten on each.

    The efficiency is that of `TRUE`, in the southern half of the sky as if they were so much fainter; or that
    of a model.
    """
    rng = np.random.default_rng(seed)
    mag, ra, dec = (
        rng.uniform(20, 26, count),
        rng.uniform(359.7, 360.3, count) % 360,
        rng.uniform(-0.3, 0.3, count),
    )
    host = np.where(np.arange(count) % 2, np.arange(count) // 20 + 1, 0)
    hosted = host != 0
    first = np.unique(host, return_index=True)[1][np.unique(host, return_inverse=True)[1]]
    ra, dec = np.where(hosted, ra[first], ra), np.where(hosted, dec[first], dec)
    table = Table(
        {
            "injection_id": np.arange(count),
            "mag": mag,
            "expected_snr": 5.0 * 10 ** (-0.4 * (mag - 23.4)),
            "host_id": host,
            "host_surface_brightness": np.where(hosted, rng.uniform(20, 27, count), np.nan),
            "separation": np.where(hosted, rng.uniform(0, 3, count), np.nan),
            "ra": ra,
            "dec": dec,
            "band": np.where(np.arange(count) < count // 2, "g", "r"),
            "recovered": np.zeros(count, bool),
            "blank": ~hosted,
        }
    )
    efficiency = TRUE(mag + south * (dec < 0)) if model is None else model(Injections.of(table))
    table["recovered"] = rng.random(count) < efficiency
    return table


def parameters(table: Table, sample: str, model: str) -> dict[tuple[str, str], dict[str, float]]:
    rows = table[(table["sample"] == sample) & (table["model"] == model)]
    return {
        (row["band"], row["parameter"]): {n: row[n] for n in ("value", "low", "high", "n")} for row in rows
    }


@pytest.fixture(scope="module")
def fitted() -> Table:
    return efficiency_table(fit_campaign(outcomes(), 2))


def test_fit_finds_the_truth_and_its_interval_holds_it(fitted):
    INJECTION_EFFICIENCY.check(fitted)
    found = parameters(fitted, "all", "magnitude")
    assert {band for band, _ in found} == {"g", "r"}
    for (_, name), figure in found.items():
        assert figure["n"] == 4000
        assert figure["low"] < figure["value"] < figure["high"]
        assert abs(figure["value"] - getattr(TRUE, name)) < 2.0 * (figure["high"] - figure["low"])
        assert name != "m50" or figure["value"] == pytest.approx(23.4, abs=0.08)
    assert parameters(fitted, "blank", "magnitude")["g", "m50"]["n"] == 2000
    assert not parameters(fitted, "blank", "product")


def test_gradient_is_that_of_the_cost():
    rng = np.random.default_rng(3)
    x, at = rng.uniform(-26, -20, 500), np.array([-23.0, 0.3, -1.0, 1.5])
    trials = rng.integers(1, 5, 500)
    design = np.stack([np.ones(500), rng.uniform(-1, 2, 500)], axis=1)
    data = x, lambda coefficients: (design @ coefficients, design), rng.binomial(trials, 0.5), trials
    value, gradient = logistic_cost(at, *data)
    for k in range(4):
        step = np.eye(4)[k] * 1e-6
        assert gradient[k] == pytest.approx(
            (logistic_cost(at + step, *data)[0] - value) / 1e-6, rel=1e-3, abs=1e-6
        )


def test_weights_are_copies():
    table = outcomes(400)
    mag, recovered = np.asarray(table["mag"]), np.asarray(table["recovered"])
    weights = np.random.default_rng(0).integers(0, 3, 400)
    rows = np.repeat(np.arange(400), weights)
    copied, weighted = fit_logistic(mag[rows], recovered[rows]), fit_logistic(mag, recovered, weights * 1.0)
    assert weighted.m50 == pytest.approx(copied.m50, abs=1e-3)
    assert weighted.width == pytest.approx(copied.width, rel=1e-2)


def test_product_model_finds_the_truth():
    table = efficiency_table(fit_campaign(outcomes(24_000, 5, PRODUCT), 1))
    found = parameters(table, "all", "product")
    assert found["all", "width"]["n"] == 2 * found["g", "snr50"]["n"] == 24_000
    for key, true in PRODUCT.parameters().items():
        error = (found[key]["high"] - found[key]["low"]) / 3.92
        assert abs(found[key]["value"] - true) < 4.0 * error, key
        assert error < 0.1 * true, key


def test_subtraction_that_leaves_nothing_is_at_the_edge_and_does_not_stay_there():
    """Where hosts do no harm the noise they leave is 0; a search that starts at 0 finds it all the same."""
    clean = ProductModel({"g": 5.0, "r": 5.5}, 0.0, 0.0, 0.15, 0.95)
    found = ProductModel.fit(Injections.of(outcomes(8000, 2, clean)))
    assert found.host < 0.006
    assert found.gradient < 0.01
    rows = Injections.of(outcomes(8000, 5, PRODUCT))
    again = ProductModel.fit(rows, None, clean)
    assert (
        again.gradient
        == pytest.approx(ProductModel.fit(rows).gradient, rel=1e-2)
        == pytest.approx(0.05, rel=0.2)
    )


def test_table_evaluates_to_the_model():
    rows = Injections.of(outcomes(4000, 3, PRODUCT))
    fitted = fit_efficiency(ProductModel.fit, rows, np.random.default_rng(1))
    table = efficiency_table({("all", "product"): fitted})
    band, snr = np.array(["g", "r", "r", "z"]), np.array([5.0, 6.0, 20.0, 9.0])
    brightness, separation = np.array([np.nan, 22.0, 20.0, 22.0]), np.array([np.nan, 0.0, 2.0, 1.0])
    found = product_efficiency(table, band, np.full(4, 23.0), snr, brightness, separation)
    model = fitted.model
    assert ProductModel.from_table(table) == model
    # The noise is flux / snr; to it comes what the host leaves behind, in quadrature.
    flux = 10 ** (0.4 * (31.4 - 23.0))
    light = np.array([0.0, *(10 ** (0.4 * (31.4 - brightness[1:])))])
    noise = np.sqrt(
        (flux / snr) ** 2 + (light * model.host) ** 2 + (light * [0, 0, 2, 1] * model.gradient) ** 2
    )
    half = np.array([model.snr50["g"], model.snr50["r"], model.snr50["r"], np.nan])
    expected = model.ceiling / (1 + (flux / noise / half) ** (-1 / model.width))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isnan(found[3])


def test_hosts_that_are_not_known_are_left_out_and_no_host_says_nothing_of_hosts():
    table = outcomes(3000, 7, PRODUCT)
    table["host_surface_brightness"] = np.nan
    fits = fit_campaign(table, 1)
    found = parameters(efficiency_table(fits), "all", "product")
    assert found["all", "width"]["n"] == 1500
    assert np.isnan([found["all", name]["value"] for name in ("host", "gradient")]).all()
    assert found["g", "snr50"]["value"] == pytest.approx(5.0, rel=0.1)
    hosted = Injections.of(table).hosted
    assert np.isfinite(fits["all", "product"].model(Injections.of(table))[~hosted]).all()


def test_half_of_the_sky_predicts_the_other():
    figures = hold_out_campaign(outcomes(40_000, 1, PRODUCT), 4)
    for band in figures["product"].values():
        assert abs(band["m50_difference"]) < 0.05
        assert band["n_bins"] >= 10
        assert band["largest_pull"] < 3.5
        assert band["largest_pull_cells"] <= band["largest_pull"]
        assert band["n_over_3_cells"] <= band["n_over_3"] <= 1
    assert set(figures["product"]) == set(figures["magnitude"]) == {"g", "r"}


def test_a_difference_between_hosts_is_seen_by_the_binomial_variance_only():
    """Every host has an efficiency of its own: the counts scatter more than binomially, and cells know."""
    rng = np.random.default_rng(2)
    table = outcomes(40_000)
    table = table[table["host_id"] != 0]
    table["band"] = "r"
    host = np.asarray(table["host_id"])
    table["mag"] = rng.uniform(20, 26, 2001)[host]  # of one magnitude in all ten visits
    table["recovered"] = rng.random(20_000) < TRUE(table["mag"] + rng.normal(0, 2.5, 2001)[host])
    rows = Injections.of(table)
    pulls = np.array([
        [figures[name] for name in ("largest_pull", "largest_pull_cells")]
        for figures in (holdout(MagnitudeModel.fit, rows, rows.mag / 0.5, s, "m")["r"] for s in range(4))
    ])  # fmt: skip
    assert pulls[:, 0].mean() > 1.3 * pulls[:, 1].mean()


def test_hosts_are_in_one_cell():
    """Two hosts whose injections lie on both sides of a border."""
    table = outcomes(40)[:6]
    table["host_id"] = [1, 1, 1, 2, 2, 0]
    table["separation"] = [300.0, 1.0, 200.0, np.nan, np.nan, np.nan]
    table["ra"], table["dec"] = [10.0, 10.1, 10.2, 20.0, 20.1, 10.0], 0.0
    cells = Injections.of(table).cell
    alone = table.copy()
    alone["host_id"] = 0
    positions = Injections.of(alone).cell
    assert len(set(positions)) == 5
    assert cells.tolist() == [positions[1]] * 3 + [positions[3]] * 2 + [positions[5]]


def test_a_difference_between_places_is_seen():
    """Where the south is shallower the curve of both is wider than that of either."""
    mixed, alone = (
        MagnitudeModel.fit(Injections.of(outcomes(20_000, south=south))).bands["g"] for south in (1.5, 0.0)
    )
    assert mixed.width > 1.5 * alone.width


def test_nothing_to_fit():
    mag = np.linspace(20, 25, 50)
    assert fit_logistic(mag, np.ones(50, bool)) is None
    table = outcomes(100)
    table["recovered"] = False
    fits = fit_campaign(table, 1)
    assert set(fits.values()) == {None}
    assert len(efficiency_table(fits)) == 0
    assert hold_out_campaign(table, 1) == {"magnitude": {}, "product": {}}
