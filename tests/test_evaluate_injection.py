"""Completeness, photometry and astrometry of injections: from detector images to tables."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.images import make_difference_image, pixel_to_sky, planes_from_image
from dia_vetting.injection.drawing import draw_sources, polynomial_stamps
from dia_vetting.injection.evaluate_injection import EvaluateInjectionConfig, EvaluateInjectionTask
from dia_vetting.injection.injection_curve import injection_curve
from dia_vetting.injection.injection_metrics import injection_metrics
from dia_vetting.injection.outcomes import Difference, expected_snr, mark_blank
from dia_vetting.injection.schemas import (
    INJECTED_CATALOG,
    INJECTION_CURVE,
    INJECTION_EFFICIENCY,
    INJECTION_OUTCOME,
    TRANSIENT_TRUTH,
)
from dia_vetting.magnitudes import ab_magnitude
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from dia_vetting.reliability.schemas import DIA_SOURCE_LABEL, DIA_SOURCE_REQUIRED, MISSED_INJECTION
from injection_images import moffat_psf, noisy_planes, visit_image
from lsst.pipe.base import NoWorkFound

SHAPE, GAIN, SKY = (300, 320), 1.5, 200.0
RNG = np.random.default_rng


def outcomes(count: int, seed: int = 0, **change) -> Table:
    rng = RNG(seed)
    flux = np.exp(rng.uniform(np.log(200), np.log(20000), count))
    values = {
        "injection_id": np.arange(1, count + 1),
        "visit": rng.integers(0, 5, count),
        "detector": np.zeros(count),
        "band": np.full(count, "r"),
        "ra": rng.uniform(10, 11, count),
        "dec": rng.uniform(-1, 0, count),
        "x": rng.uniform(0, 1000, count),
        "y": rng.uniform(0, 1000, count),
        "host_id": np.zeros(count),
        "host_mag": np.full(count, np.nan),
        "separation": np.full(count, np.nan),
        "host_surface_brightness": np.full(count, np.nan),
        "flux": flux,
        "mag": ab_magnitude(flux),
        "expected_snr": flux / 100.0,
        "clean": np.ones(count, bool),
        "blank": np.ones(count, bool),
        "recovered": np.ones(count, bool),
        "reason": np.full(count, ""),
        "diaSourceId": np.arange(count),
        "snr": flux / 100.0,
        "psfFlux": flux + rng.normal(0, 100, count),
        "psfFluxErr": np.full(count, 100.0),
        "staticFluxErr": np.full(count, 50.0),
        "offset_east": rng.normal(0, 0.02, count),
        "offset_north": rng.normal(0, 0.02, count),
    }
    return INJECTION_OUTCOME.build(values | change)


def test_expected_snr_is_that_of_repeated_measurements():
    """The scatter of equal-weight PSF fluxes over noise realisations; the source is in the variance."""
    psf = moffat_psf(SHAPE)
    x, y, flux = np.array([150.3]), np.array([120.7]), np.array([300.0])
    unit, x_first, y_first = psf.stellar_images(x, y)
    rows = slice(y_first[0], y_first[0] + 31), slice(x_first[0], x_first[0] + 31)
    fluxes = []
    for seed in range(300):
        noise = noisy_planes(SHAPE, GAIN, seed, SKY).image[rows]
        fluxes.append((noise * unit[0]).sum() / (unit[0] ** 2).sum())
    planes = noisy_planes(SHAPE, GAIN, 1, SKY)
    drawn = draw_sources(planes, polynomial_stamps(psf), x, y, flux, GAIN, [RNG(1)]).planes
    found = expected_snr(Difference(drawn, psf, 0, 0), x, y, flux, np.full(len(x), GAIN))
    assert found[0] == pytest.approx(300.0 / np.std(fluxes), rel=0.12)
    exact = 300.0 / np.sqrt(SKY / GAIN**2 / (unit[0] ** 2).sum())
    assert found[0] == pytest.approx(exact, rel=0.02)
    assert expected_snr(Difference(drawn, psf, 0, 0), x, y, flux, np.full(len(x), np.inf))[0] < 0.99 * exact
    shifted = expected_snr(Difference(drawn, psf, 1000, 500), x + 1000, y + 500, flux, np.full(len(x), GAIN))
    np.testing.assert_allclose(found, shifted, rtol=1e-12)


def test_faded_sources_are_as_hard_to_detect_as_others():
    """Their flux is negative, the signal-to-noise ratio that is expected of them is not."""
    planes, psf = noisy_planes(SHAPE, GAIN, 1, SKY), moffat_psf(SHAPE)
    x, y, flux = np.array([150.3, 90.0]), np.array([120.7, 200.2]), np.array([3000.0, 500.0])
    drawn = draw_sources(planes, polynomial_stamps(psf), x, y, flux, GAIN, None).planes
    positive = Difference(drawn, psf, 0, 0)
    negative = dataclasses.replace(
        positive, planes=Planes(2 * planes.image - drawn.image, drawn.variance, drawn.mask)
    )
    gain = np.full(2, GAIN)
    expected = expected_snr(positive, x, y, flux, gain)
    np.testing.assert_array_equal(expected_snr(negative, x, y, -flux, gain), expected)
    assert (expected > 5).all()


def test_blank_sky_keeps_away_from_hosts_objects_masks_and_others():
    table = outcomes(6, visit=[1, 1, 1, 1, 2, 1], ra=[10.0] * 6, dec=[0.0, 0.1, 0.2, 0.3, 0.3, 0.30001])
    table["host_id"][0], table["clean"][1] = 5, False
    blank = mark_blank(table, np.array([10.0]), np.array([0.2 + 2.0 / 3600]), 3.0)["blank"]
    assert blank.tolist() == [False, False, False, False, True, False]
    assert mark_blank(table, np.empty(0), np.empty(0), 0.01)["blank"].tolist() == [
        False, False, True, True, True, True,
    ]  # fmt: skip


def rows_of(curve: Table, **key: str) -> Table:
    keep = np.ones(len(curve), bool)
    for name, value in key.items():
        keep &= np.asarray(curve[name]) == value
    return curve[keep]


def test_curve_counts_every_injection_once():
    table = outcomes(
        2000, recovered=RNG(1).random(2000) < 0.7, band=np.where(np.arange(2000) < 600, "g", "r")
    )
    table["blank"][:500] = False
    curve = injection_curve(table, 0)
    INJECTION_CURVE.check(curve)
    for variable in ("snr", "mag"):
        counts = {
            (sample, band): rows_of(curve, sample=sample, band=band, variable=variable)["n_injected"].sum()
            for sample in ("all", "blank")
            for band in ("all", "g", "r")
        }
        expected = {("all", "all"): 2000, ("all", "g"): 600, ("all", "r"): 1400}
        assert counts == expected | {("blank", "all"): 1500, ("blank", "g"): 100, ("blank", "r"): 1400}
    whole = rows_of(curve, sample="all", band="all", variable="snr")
    assert whole["n_recovered"].sum() == table["recovered"].sum()
    filled = whole[whole["n_injected"] > 0]
    assert (filled["completeness_low"] <= filled["completeness"]).all()
    assert ((filled["median"] >= filled["low"]) & (filled["median"] < filled["high"])).all()
    np.testing.assert_array_equal(injection_curve(table, 0)["flux_bias_low"], curve["flux_bias_low"])


def test_curve_over_hosts_has_the_hosted_ones_and_photometry_of_bright_ones():
    table = outcomes(1000, recovered=RNG(2).random(1000) < 0.7)
    hosted = np.arange(1000) < 400
    table["host_id"][hosted], table["blank"][hosted] = 7, False
    table["host_surface_brightness"][hosted] = RNG(3).uniform(20, 27, 400)
    table["separation"][hosted] = RNG(4).uniform(0, 3, 400)
    bright = hosted & np.asarray(table["recovered"]) & (np.asarray(table["expected_snr"]) >= 10)
    table["psfFlux"][bright] *= 1.5
    curve = injection_curve(table, 0)
    for variable in ("host_surface_brightness", "separation"):
        rows = rows_of(curve, variable=variable, band="all")
        assert set(rows["sample"]) == {"all"}
        assert rows["n_injected"].sum() == 400
        assert rows["n_measured"].sum() == bright.sum()
        full = rows[rows["n_measured"] >= 5]
        assert len(full) > 3
        assert (np.abs(full["flux_bias"] - 0.5) < 0.2).all()
        assert (full["pull_static"] < full["pull_std"]).all()
        assert (full["pull_width_low"] <= full["pull_width_high"]).all()


def test_metrics_of_nothing_recovered_are_none():
    table = outcomes(20, recovered=np.zeros(20, bool), reason=np.full(20, "undetected"))
    metrics = injection_metrics(table, 0)
    assert metrics["missed"] == {"undetected": 20}
    assert metrics["all"]["completeness"]["value"] == 0.0
    assert metrics["all"]["snr_10"]["flux_bias"]["value"] is None


def injected_catalog(image, x, y, flux, flag=0) -> Table:
    ra, dec = pixel_to_sky(image, x, y)
    count = len(x)
    values = {
        "injection_id": np.arange(101, 101 + count), "visit": np.full(count, 42), "band": np.full(count, "r"),
        "ra": ra, "dec": dec, "mag": 31.4 - 2.5 * np.log10(flux), "source_type": np.full(count, "Star"),
        "host_id": np.zeros(count), "host_mag": np.full(count, np.nan),
        "midpointMjdTai": np.full(count, 6e4), "trail_length": np.zeros(count),
        "trail_angle": np.zeros(count),
        "injection_flag": np.broadcast_to(flag, count), "injection_draw_size": np.full(count, 31),
        "x": x, "y": y, "flux": flux, "injected_flux": flux,
    }  # fmt: skip
    return INJECTED_CATALOG.build(values | {"gain": np.full(len(values["x"]), GAIN)})


@pytest.fixture(scope="module")
def campaign():
    """A difference image with 6 injections: 3 recovered, 1 missed, 1 not injected, 1 off the image."""
    planes = noisy_planes(SHAPE, GAIN, 5, SKY)
    planes.mask[200:210, 100:110] |= np.uint32(MaskBit.SAT)
    image = visit_image(planes, start=(50, 20))
    x = np.array([60.0, 125.0, 200.4, 250.0, 300.0, 10.0])
    y = np.array([90.0, 255.0, 120.2, 300.0, 320.0, 100.0])
    flux = np.array([5e3, 2e3, 1e3, 50.0, 1e3, 1e4])
    injected = injected_catalog(image, x, y, flux, np.array([0, 0, 0, 0, 1, 0]))
    stamps = polynomial_stamps(moffat_psf(SHAPE))
    drawn = draw_sources(planes, stamps, x[:4] - 20, y[:4] - 50, flux[:4], GAIN, [RNG(i) for i in range(4)])
    difference = make_difference_image(image, drawn.planes, moffat_psf(SHAPE))
    ids = np.array([7, 8, 9, 10])
    seen = [0, 1, 2]
    sky = {"visit": np.full(4, 42), "detector": np.full(4, 3), "band": np.full(4, "r")}
    ra = np.append(np.asarray(injected["ra"])[seen], 150.0)
    dec = np.append(np.asarray(injected["dec"])[seen] + 0.03 / 3600, 2.001)
    base = {"diaSourceId": ids, **sky, "ra": ra, "dec": dec, "snr": np.full(4, 20.0)}
    pixels = {"x": np.full(4, 0.0), "y": np.full(4, 0.0)}
    fluxes = {"psfFlux": np.append(flux[seen] * 1.02, 9.0), "psfFluxErr": np.full(4, 80.0)}
    sources = DIA_SOURCE_REQUIRED.build(base | pixels | fluxes)
    matched = np.array([101, 102, 103, 0])
    labels = DIA_SOURCE_LABEL.build(
        base
        | {
            "state": np.array(["injected", "injected", "injected", "unlabelled"]),
            "injection_id": matched,
            "nearest_injection_id": matched,
            "match_distance": np.full(4, 0.03),
            "flux_ratio": np.full(4, 1.02),
        }
    )
    lost = injected[3:5]
    missed = MISSED_INJECTION.build(
        {name: lost[name] for name in MISSED_INJECTION.names() if name in lost.colnames}
        | {"detector": np.full(2, 3), "reason": np.array(["undetected", "not_injected"])}
    )
    return injected, labels[::-1], sources, missed, difference


def followed(injected, labels, sources, missed, difference, transients=None) -> Table:
    """What the task finds on the detector image of the campaign."""
    transients = TRANSIENT_TRUTH.empty() if transients is None else transients
    task = EvaluateInjectionTask(config=EvaluateInjectionConfig())
    return task.follow(injected, labels, sources, missed, difference, transients, visit=42, detector=3)


def test_outcomes_follow_ids_not_rows(campaign):
    found = followed(*campaign)
    assert found["injection_id"].tolist() == [101, 102, 103, 104]
    assert found["diaSourceId"].tolist() == [7, 8, 9, 0]
    assert found["recovered"].tolist() == [True, True, True, False]
    assert found["reason"].tolist() == ["", "", "", "undetected"]
    np.testing.assert_allclose(found["offset_north"][:3], 0.03, rtol=1e-3)
    np.testing.assert_allclose(found["offset_east"][:3], 0.0, atol=1e-5)
    np.testing.assert_allclose(found["psfFlux"][:3] / found["flux"][:3], 1.02)
    assert np.isnan(found["psfFlux"][3])
    assert found["clean"].tolist() == [True, False, True, True]
    np.testing.assert_allclose(found["mag"], 31.4 - 2.5 * np.log10(found["flux"]))
    assert found["x"].tolist() == [60.0, 125.0, 200.4, 250.0]
    assert np.isnan(found["staticFluxErr"]).all()
    noise = np.sqrt(SKY) / GAIN * np.sqrt(moffat_psf(SHAPE).effective_area([150.0], [150.0])[0])
    np.testing.assert_allclose(found["expected_snr"], found["flux"] / noise, rtol=0.1)


def test_static_error_is_that_of_the_source(campaign):
    injected, labels, sources, missed, difference = campaign
    sources = sources.copy()
    sources["staticFluxErr"] = np.array([3.0, 4.0, 5.0, 6.0])
    found = followed(injected, labels, sources, missed, difference)
    np.testing.assert_array_equal(found["staticFluxErr"], [3.0, 4.0, 5.0, np.nan])


def test_hosts_are_those_of_the_transients(campaign):
    """The second is on a host's centre, the third 2 arcsec east of one, the first is no transient's."""
    injected, *others = campaign
    injected = injected.copy()
    injected["host_id"][:3], injected["host_mag"][:3] = [5, 6, 7], [19.0, 20.0, 21.0]
    count = 2
    transients = TRANSIENT_TRUTH.build({
        "injection_id": [103, 102], "host_id": [7, 6], "host_ra": np.full(count, 1.0),
        "ra": np.full(count, 1.0), "dec": np.full(count, 1.0), "host_dec": np.full(count, 1.0),
        "host_a": [2.0, 1.0], "host_b": [1.0, 1.0], "host_pa": [90.0, 0.0], "host_mag": [15.0, 15.0],
        "delta_ra": [2.0, 0.0], "delta_dec": [0.0, 0.0], "kind": ["appearing"] * 2, "model": ["seed"] * 2,
        "parameters": ["{}"] * 2,
    })  # fmt: skip
    found = followed(injected, *others, transients=transients)
    np.testing.assert_array_equal(found["host_mag"], [19.0, 20.0, 21.0, np.nan])
    np.testing.assert_allclose(found["separation"], [np.nan, 0.0, 2.0, np.nan])
    # An exponential disc exp(-r/h) has a second moment of 3 h^2 along each axis, and 2 pi h_a h_b of light.
    centre = 20.0 + 2.5 * np.log10(2 * np.pi / 3)
    off = 21.0 + 2.5 * np.log10(2 * np.pi * 2 / 3) + 2.5 * np.log10(np.e) * np.sqrt(3)
    np.testing.assert_allclose(found["host_surface_brightness"], [np.nan, centre, off, np.nan])


def test_outcomes_of_a_negative_campaign(campaign):
    """All of it turned round, pixels and fluxes: the outcomes are the same but for the sign of the fluxes."""
    injected, labels, sources, missed, difference = campaign
    injected, sources = injected.copy(), sources.copy()
    for table, names in ((injected, ("flux", "injected_flux")), (sources, ("psfFlux",))):
        for name in names:
            table[name] *= -1
    task = EvaluateInjectionTask(config=EvaluateInjectionConfig())
    positive = followed(*campaign)
    turned = make_difference_image(difference, _negative(planes_from_image(difference)), moffat_psf(SHAPE))
    negative = followed(injected, labels, sources, missed, turned)
    for name in INJECTION_OUTCOME.names():
        sign = -1 if name in ("flux", "psfFlux") else 1
        expected = sign * positive[name] if sign < 0 else positive[name]
        np.testing.assert_array_equal(negative[name], expected, err_msg=name)
    pulls = [task.run(table, []).metrics["all"]["snr_0"]["pull_mean"] for table in (positive, negative)]
    assert pulls[0] == -pulls[1] > 0


def _negative(planes: Planes) -> Planes:
    return Planes(-planes.image, planes.variance, planes.mask)


def test_task_makes_figures_curve_and_plots(campaign, tmp_path):
    task = EvaluateInjectionTask(config=EvaluateInjectionConfig())
    one = followed(*campaign)
    objects = Table({"coord_ra": [one["ra"][0]], "coord_dec": [one["dec"][0]]})
    result = task.run(one, [objects])
    assert result.metrics["all"]["n"] == 4
    assert result.metrics["all"]["n_recovered"] == 3
    assert result.metrics["blank"]["n"] == 2
    assert result.outcomes["blank"].tolist() == [False, False, True, True]
    INJECTION_EFFICIENCY.check(result.efficiency)
    assert result.metrics["all"]["snr_0"]["offset_north"]["n"] == 3
    plots = ("completeness", "photometry", "offset", "efficiency", "host", "focalPlane")
    for name in (f"{plot}Plot" for plot in plots):
        path = tmp_path / f"{name}.png"
        getattr(result, name).savefig(path)
        assert path.stat().st_size > 5000


def test_nothing_injected_is_no_work():
    with pytest.raises(NoWorkFound, match="Nothing was injected"):
        EvaluateInjectionTask(config=EvaluateInjectionConfig()).run(INJECTION_OUTCOME.empty(), [])


def test_detector_without_injections_has_no_outcomes(campaign):
    injected, labels, sources, missed, difference = campaign
    assert len(followed(injected[:0], labels, sources, missed[:0], difference)) == 0


def test_difference_without_any_variance_gives_nan():
    psf = moffat_psf(SHAPE)
    empty = Planes(np.zeros(SHAPE), np.full(SHAPE, np.nan), np.zeros(SHAPE, np.uint32))
    where = np.array([50.0])
    assert np.isnan(
        expected_snr(Difference(empty, psf, 0, 0), where, where, np.array([1e3]), np.ones(1))
    ).all()
