"""Whole images: fluxes, positions, noise, truth, and that the same seed gives the same bytes."""

import dataclasses

import numpy as np
import pytest
from dia_vetting.embedded.schemas import (
    SIM_TRUTH_ARTEFACT,
    SIM_TRUTH_OBJECT,
    SIM_TRUTH_PSF,
    SIM_TRUTH_SOURCE,
)
from dia_vetting.embedded.survey import (
    electrons_per_njy,
    list_visits,
    load_config,
    simulate_scene,
    simulate_visit,
)
from dia_vetting.embedded.survey.config import DefectConfig
from dia_vetting.embedded.survey.noise import correlated_noise
from dia_vetting.embedded.survey.scene import band_magnitude
from dia_vetting.embedded.survey.transients import Transients
from dia_vetting.embedded.survey.visits import sky_electrons
from dia_vetting.masks import MaskBit

RATES = (
    "muon worm spot streak glint hot_pixel hot_column dead_column dead_edge edge_width edge_glow "
    "ghost crosstalk spikes template_nan_patch"
).split()
NO_DEFECTS = dict.fromkeys(RATES, 0)
QUIET = {"sky_offset": 0.0, "sky_gradient": 0.0, "calibration": 0.0, "correlation": 0.0}
SEED = 4


def survey(preset="lsst", **overrides):
    config = load_config(preset, size="tiny", overrides=overrides)
    return config, simulate_scene(config, SEED), list_visits(config, SEED)


def science(visits):
    return next(v for v in visits if not v.is_template)


@pytest.fixture(scope="module")
def full():
    config, scene, visits = survey()
    return config, scene, visits, simulate_visit(config, SEED, scene, science(visits), 0)


@pytest.fixture(scope="module")
def sparse():
    """A few stars of every magnitude, far apart, and nothing else; no defects."""
    config, scene, visits = survey(
        defects=NO_DEFECTS,
        noise=QUIET,
        sky={"galaxy_density": 0.0, "star_density": 5.0, "brightest_star": 17.0, "limit": 21.5},
        transients={"moving": 0.0, "hidden": 0.0, "variable_star_fraction": 0.0},
        psf={"aureole": 0.0},
        size={"science_visits": 24},
    )
    images = [simulate_visit(config, SEED, scene, v, 0) for v in visits if not v.is_template]
    return config, scene, images


def same(first, second):
    a, b = first.planes, second.planes
    return (
        all(getattr(a, n).tobytes() == getattr(b, n).tobytes() for n in ("image", "variance", "mask"))
        and all(
            np.array_equal(getattr(first, t)[c], getattr(second, t)[c])
            for t in ("truth_source", "truth_artefact", "truth_psf")
            for c in getattr(first, t).colnames
        )
        and first.wcs.to_header_string(relax=True) == second.wcs.to_header_string(relax=True)
    )


def test_same_seed_same_bytes_in_any_order(full):
    config, _, visits, image = full
    scene = simulate_scene(config, SEED)
    simulate_visit(config, SEED, scene, visits[0], 0)
    assert same(simulate_visit(config, SEED, scene, science(visits), 0), image)


def test_other_seed_visit_or_detector_differs(full):
    config, scene, visits, image = full
    other = simulate_visit(config, SEED + 1, simulate_scene(config, SEED + 1), science(visits), 0)
    last = simulate_visit(config, SEED, scene, visits[-1], 0)
    for different in (other, last):
        blank = np.isfinite(image.planes.image) & np.isfinite(different.planes.image)
        correlation = np.corrcoef(image.planes.image[blank], different.planes.image[blank])[0, 1]
        assert not same(different, image)
        assert abs(correlation) < 0.9
    wide = load_config("lsst", size="tiny", overrides={"size": {"columns": 2}})
    scene = simulate_scene(wide, SEED)
    left, right = (simulate_visit(wide, SEED, scene, science(list_visits(wide, SEED)), d) for d in (0, 1))
    assert not same(left, right)


def test_tables_keep_to_their_schemas(full):
    _, scene, _, image = full
    SIM_TRUTH_OBJECT.check(scene.truth_table())
    SIM_TRUTH_SOURCE.check(image.truth_source)
    SIM_TRUTH_ARTEFACT.check(image.truth_artefact)
    SIM_TRUTH_PSF.check(image.truth_psf)
    assert image.truth_psf["stamp"].shape[1] % 2 == 1
    assert np.abs(image.truth_psf["stamp"].sum(axis=(1, 2)) - 1).max() < 0.05
    assert set(scene.truth_table()["kind"]) == {"star", "galaxy"}
    assert len(set(scene.truth_id)) == len(scene)
    assert image.planes.image.dtype == image.planes.variance.dtype == np.float32
    assert image.planes.mask.dtype == np.uint32


def test_no_data_is_nan_and_nothing_else_is(full):
    planes = full[3].planes
    assert np.array_equal(planes.has(MaskBit.NO_DATA), ~np.isfinite(planes.image))
    assert (planes.variance[np.isfinite(planes.image)] > 0).all()


def test_stars_have_their_catalogue_flux_at_their_true_place(sparse):
    """Aperture photometry of isolated stars against the magnitudes, and centroids against the true WCS."""
    _, scene, images = sparse
    pulls, offsets = [], []
    for image in images:
        x, y = image.true_wcs.sky_to_pixel(*scene.position(image.visit.mjd), scene.color)
        flux = scene.flux(image.visit.band)
        for i in np.flatnonzero((flux > 2e4) & (x > 40) & (x < 360) & (y > 40) & (y < 360)):
            near = np.hypot(x - x[i], y - y[i]) < 40
            if flux[near].sum() > 1.03 * flux[i]:
                continue
            v, u = np.mgrid[0:400, 0:400]
            aperture = np.hypot(u - x[i], v - y[i]) < 25
            data = image.planes.image
            total = data[aperture].sum() - (flux[near].sum() - flux[i])
            error = np.sqrt(image.planes.variance[aperture].sum())
            pulls.append((total - flux[i]) / np.hypot(error, 0.01 * flux[i]))
            core = np.hypot(u - x[i], v - y[i]) < 5
            place = [np.average(a[core], weights=data[core].clip(0)) for a in (u, v)]
            offsets.append((place[0] - x[i], place[1] - y[i]))
    assert len(pulls) >= 20
    assert np.abs(np.mean(pulls)) < 0.6
    assert np.std(pulls) < 1.5
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.04
    assert np.median(np.hypot(*np.transpose(offsets))) < 0.1


def test_noise_is_poisson_plus_read_noise(sparse):
    config, _, images = sparse
    for image in images[:2]:
        expected = sky_electrons(config, image.visit) + config.camera.read_noise**2
        gain = electrons_per_njy(config, image.visit)
        assert image.gain == gain
        low, high = np.percentile(image.planes.image, [10, 50])  # the upper half has the stars
        assert (high - low) / 1.2816 == pytest.approx(np.sqrt(expected) / gain, rel=0.03)
        assert np.median(image.planes.variance) == pytest.approx(expected / gain**2, rel=0.01)
        pull = (image.planes.image / np.sqrt(image.planes.variance)).ravel()
        assert np.subtract(*np.percentile(pull, [50, 10])) / 1.2816 == pytest.approx(1.0, abs=0.05)


def test_correlated_noise_raises_the_noise_of_fluxes_alone():
    a = 0.05
    config = load_config("lsst", size="tiny", overrides={"noise": {"correlation": a}})
    level = np.full((400, 400), 900.0, np.float32)
    noise = correlated_noise(level, config, np.random.default_rng(0)) - level
    variance = 900.0 + config.camera.read_noise**2
    assert noise.var() == pytest.approx(variance, rel=0.02)
    boxes = noise.reshape(20, 20, 20, 20).sum(axis=(1, 3))
    assert boxes.var() / 400 == pytest.approx(variance * (1 + 4 * a) ** 2 / (1 + 4 * a**2), rel=0.2)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert neighbours == pytest.approx(2 * a / (1 + 4 * a**2), abs=0.01)


def test_sky_residual_is_of_the_configured_size():
    rms = []
    for seed in range(12):
        config, scene, visits = survey(defects=NO_DEFECTS, noise={"sky_offset": 1.0, "sky_gradient": 0.0})
        image = simulate_visit(config, seed, scene, science(visits), 0)
        rms.append(np.nanmedian(image.planes.image) / np.sqrt(np.nanmedian(image.planes.variance)))
    assert 0.5 < np.std(rms) < 1.6


def one_transient(scene, ra, dec, peak):
    one = np.ones(1)
    return dataclasses.replace(
        scene,
        transients=Transients(
            np.array([7]), np.array([-1]), ra * one, dec * one, 21.0 * one, 0.0 * one, peak * one, 10.0 * one,
            20.0 * one,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("when", ["science", "template"])
def test_hidden_flux_is_science_minus_the_mean_of_the_templates(when):
    config, scene, visits = survey()
    visit = science(visits)
    templates = [v for v in visits if v.is_template]
    peak = visit.mjd - 4.0 if when == "science" else templates[1].mjd
    scene = one_transient(scene, config.sky.ra, config.sky.dec, peak)
    image = simulate_visit(config, SEED, scene, visit, 0)
    (row,) = image.truth_source[image.truth_source["kind"] == "hidden"]

    def flux(mjd):
        phase = mjd - peak
        shape = max(1 + phase / 10, 0) ** 2 if phase < 0 else np.exp(-phase / 20)
        return 10 ** (0.4 * (31.4 - 21.0)) * (shape if shape > 0.003 else 0.0)

    wanted = flux(visit.mjd) - np.mean([flux(t.mjd) for t in templates])
    assert row["flux"] == pytest.approx(wanted, rel=1e-6)
    assert (row["flux"] > 0) == (when == "science")
    assert row["truth_id"] == 7


def test_hidden_transient_is_in_the_pixels(sparse):
    config, scene, images = sparse
    visit = images[0].visit
    scene = one_transient(scene, config.sky.ra, config.sky.dec, visit.mjd)
    image = simulate_visit(config, SEED, scene, visit, 0)
    difference = image.planes.image - images[0].planes.image
    (row,) = image.truth_source
    v, u = np.mgrid[0:400, 0:400]
    aperture = np.hypot(u - row["x"], v - row["y"]) < 12
    assert difference[aperture].sum() == pytest.approx(row["flux"], rel=0.2)


def test_variables_are_faithful_to_their_light_curve():
    config, scene, visits = survey(transients={"variable_star_fraction": 1.0, "hidden": 0.0, "moving": 0.0})
    image = simulate_visit(config, SEED, scene, science(visits), 0)
    rows = image.truth_source
    assert set(rows["kind"]) == {"variable"}
    index = {t: k for k, t in enumerate(scene.variability.truth_id)}
    templates = [v for v in visits if v.is_template]
    for row in rows[:20]:
        k = index[row["truth_id"]]
        mean = scene.flux(image.visit.band)[scene.variability.index[k]]
        change = scene.variability.change(image.visit.mjd)[k]
        assert abs(row["flux"]) <= mean * (10 ** (0.4 * 0.8 * 1.9 / 1.4) + 1)
        covered = [scene.variability.change(t.mjd)[k] for t in templates]
        low, high = change - max(covered), change - min(covered)
        if 60 < row["x"] < 340 and 60 < row["y"] < 340:
            assert mean * low - 1e-6 <= row["flux"] <= mean * high + 1e-6


def test_moving_objects_trail():
    config, scene, visits = survey(
        "hsc",
        transients={"moving": 100.0, "hidden": 0.0, "variable_star_fraction": 0.0, "fast_fraction": 0.0},
    )
    images = [simulate_visit(config, SEED, scene, v, 0) for v in visits if not v.is_template]
    rows = [r for i in images for r in i.truth_source if r["kind"] == "moving"]
    assert abs(len(rows) - 100 * 0.16 * 3) < 4.5 * np.sqrt(48)
    assert len({r["truth_id"] for r in rows}) == len(rows)
    expected = config.transients.moving_rate * 200.0 / 0.168
    assert np.median([r["trail_length"] for r in rows]) == pytest.approx(expected, rel=0.15)


def test_counts_of_stars_and_galaxies():
    config, scene, _ = survey("ztf", transients={"hidden": 1000.0})
    from dia_vetting.embedded.survey.geometry import sky_extent

    width, height = sky_extent(config)
    area = width * height / 3600
    stars, galaxies = scene.magnitude[: scene.n_stars], scene.magnitude[scene.n_stars :]
    expected = config.sky.star_density * area
    assert abs((stars < 20).sum() - expected) < 4.5 * np.sqrt(expected)
    expected = config.sky.galaxy_density * 10 ** (0.36 * (21.5 - 24)) * area
    assert abs((galaxies < 21.5).sum() - expected) < 4.5 * np.sqrt(expected)
    hosted = scene.transients.host >= 0
    assert hosted.mean() == pytest.approx(config.transients.hosted_fraction, abs=0.08)
    assert (scene.transients.host[hosted] >= scene.n_stars).all()
    assert band_magnitude(20.0, 1.0, "g") - band_magnitude(20.0, 1.0, "i") == pytest.approx(1.0)


def test_every_cause_occurs_and_the_mask_knows_what_the_truth_says():
    many = {"streak": 20.0, "glint": 20.0, "ghost": 40.0, "crosstalk": 3e-4}
    many |= {"hot_column": 10.0, "dead_column": 5.0, "template_nan_patch": 60.0}
    config, scene, visits = survey(defects=many, sky={"star_density": 20.0}, size={"science_visits": 2})
    images = [simulate_visit(config, SEED, scene, v, 0) for v in visits]
    causes = {c for image in images for c in image.truth_artefact["cause"]}
    assert causes >= {
        "muon", "worm", "spot", "streak", "glint", "hot_pixel", "hot_column", "dead_column", "dead_edge",
        "edge", "ghost", "crosstalk", "saturated", "bright_star", "template_nan",
    }  # fmt: skip
    planes = {
        "muon": MaskBit.CR, "worm": MaskBit.CR, "spot": MaskBit.CR, "streak": MaskBit.STREAK,
        "hot_pixel": MaskBit.BAD, "crosstalk": MaskBit.CROSSTALK, "template_nan": MaskBit.NO_DATA,
    }  # fmt: skip
    for image in images:
        truth = image.truth_artefact
        for row in truth:
            if row["cause"] not in planes:
                continue
            bit = np.uint32(planes[row["cause"]])
            box = image.planes.mask[row["y_min"] : row["y_max"] + 1, row["x_min"] : row["x_max"] + 1]
            if row["masked"]:
                assert (box & bit).any() or row["cause"] in ("muon", "worm")
            elif row["cause"] in ("spot", "hot_pixel") and box.size == 1:
                assert not (box & bit).any() or row["peak"] < 20


def test_every_rate_of_the_configuration_is_used():
    """Without rates there is no artefact but saturation; so none is made elsewhere."""
    assert set(NO_DEFECTS) <= set(DefectConfig.model_fields)
    config, scene, visits = survey(defects=NO_DEFECTS)
    image = simulate_visit(config, SEED, scene, science(visits), 0)
    assert set(image.truth_artefact["cause"]) <= {"saturated", "bright_star"}
    assert not image.planes.has(~(MaskBit.SAT)).any()
