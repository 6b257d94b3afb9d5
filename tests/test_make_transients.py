"""The injection tasks in a real repository: dimension records, connections, the quantum graph."""

import dataclasses

import numpy as np
import pytest
from dia_vetting.embedded.instruments import SimLSST
from dia_vetting.embedded.repository import (
    ObservedVisit,
    open_repository,
    put_once,
    register_tract,
    register_visits,
)
from dia_vetting.embedded.source_schemas import object_schema
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.images import has_injections, make_difference_image, pixel_to_sky, planes_from_image
from dia_vetting.injection.make_transients import (
    MakeTransientsConfig,
    MakeTransientsTask,
)
from dia_vetting.injection.schemas import (
    HOST_GALAXY,
    INJECTED_DIFFERENCE_CATALOG,
    INJECTION_OUTCOME,
    TRANSIENT_EPOCH,
    TRANSIENT_TEMPLATE_EPOCH,
    TRANSIENT_TRUTH,
)
from dia_vetting.injection.transients import Field, Visit
from dia_vetting.injection.visit_records import DimensionRecordError, visits_from_data_ids
from dia_vetting.reliability.schemas import DIA_SOURCE_LABEL, DIA_SOURCE_REQUIRED, MISSED_INJECTION
from injection_images import noisy_planes, visit_image
from lsst.daf.butler import DatasetType
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor
from lsst.sphgeom import Circle, LonLat, UnitVector3d

SHAPE, GAIN, TEMPLATE_GAIN = (200, 200), 1.5, 12.0
VISITS = {42: "g", 43: "r"}
GEOMETRY = TractGeometry("embedded_simlsst_v1", 0, 150.0, 2.0, 0.2, (500, 500), 250, 10)
PIPELINE = """
description: injection
tasks:
  selectHosts:
    class: dia_vetting.injection.select_hosts.SelectHostsTask
  makeTransients:
    class: dia_vetting.injection.make_transients.MakeTransientsTask
    config:
      hostFraction: 0.5
      hostlessFraction: 0.2
      fadedFraction: 0.2
      varyingFraction: 0.2
      seed: 5
  injectTransients:
    class: dia_vetting.injection.inject_transients.InjectTransientsTask
  injectTemplates:
    class: dia_vetting.injection.inject_transients.InjectTransientsTask
    config:
      connections.visitImageType: template_detector
      connections.epochType: transient_template_epoch
      seed: 1
      gainFromVariance: true
  combineInjections:
    class: dia_vetting.injection.combine_injections.CombineInjectionsTask
"""


def data_id(visit: int) -> dict[str, int | str]:
    return {"instrument": "SimLSST", "visit": visit, "detector": 0}


def galaxies(image, count: int):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(5, 195, (2, count))
    ra, dec = pixel_to_sky(image, x, y)
    tract_x, tract_y = GEOMETRY.wcs.all_world2pix(ra, dec, 0)
    one = np.ones(count)
    values = {
        "objectId": np.arange(1, count + 1), "tract": 0 * one, "patch": 0 * one, "x": tract_x, "y": tract_y,
        "coord_ra": ra, "coord_dec": dec, "refBand": np.full(count, "r"), "refExtendedness": one,
        "shape_xx": 9 * one, "shape_yy": 4 * one, "shape_xy": one, "shape_flag": np.zeros(count, bool),
        "detect_isPrimary": np.ones(count, bool), "r_psfFlux": 5e3 * one, "r_psfFluxErr": 30 * one,
        "r_kronFlux": 9e3 * one, "r_kronFluxErr": 30 * one, "r_kronFlux_flag": np.zeros(count, bool),
        "r_extendedness": one, "r_ixxPSF": one, "r_iyyPSF": one, "r_ixyPSF": 0 * one,
    }  # fmt: skip
    return object_schema(["r"]).build(values)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    butler = open_repository(root)
    images = {
        visit: visit_image(noisy_planes(SHAPE, GAIN, visit), visit=visit, detector=0) for visit in VISITS
    }
    corners = pixel_to_sky(images[42], [-0.5, 199.5, 199.5, -0.5], [-0.5, -0.5, 199.5, 199.5])
    records = [
        ObservedVisit(
            visit, SimLSST.filters[band], 61000.0 + visit, 61000.0003 + visit, 30.0, 150.0, 2.0, 0.0, 1.1,
            "field", "test", "test", True, {0: (corners[0].tolist(), corners[1].tolist())},
        )
        for visit, band in VISITS.items()
    ]  # fmt: skip
    SimLSST().register(butler.registry)
    SimLSST().register_detector(butler.registry, 0, "D0")
    register_visits(butler, SimLSST(), records)
    register_tract(butler, GEOMETRY, "geometry")
    dimensions = ("instrument", "visit", "detector")
    butler.registry.registerDatasetType(
        DatasetType("template_detector", dimensions, "VisitImage", universe=butler.dimensions)
    )
    for visit, image in images.items():
        put_once(butler, image, "visit_image", "raw", data_id(visit))
        deep = visit_image(noisy_planes(SHAPE, TEMPLATE_GAIN, visit + 100), visit=visit, detector=0)
        put_once(butler, deep, "template_detector", "raw", data_id(visit))
    butler.registry.registerDatasetType(
        DatasetType("object", ("skymap", "tract"), "ArrowAstropy", universe=butler.dimensions)
    )
    put_once(butler, galaxies(images[42], 60), "object", "raw", {"skymap": GEOMETRY.skymap, "tract": 0})
    return str(root)


def execute(root: str, output: str, where: str = ""):
    butler = SimplePipelineExecutor.prep_butler(root, inputs=["raw"], output=output)
    executor = SimplePipelineExecutor.from_pipeline(
        Pipeline.fromString(PIPELINE), butler=butler, where=where or f"skymap='{GEOMETRY.skymap}'"
    )
    quanta = executor.run(register_dataset_types=True)
    return executor.butler if hasattr(executor, "butler") else butler, quanta


@pytest.fixture(scope="module")
def outputs(repository):
    return execute(repository, "injected")


def test_whole_injection_from_objects_to_pixels(outputs):
    butler, quanta = outputs
    assert len(quanta) == 2 + 3 * len(VISITS)
    tract = {"instrument": "SimLSST", "skymap": GEOMETRY.skymap, "tract": 0}
    truth, epochs = butler.get("transient_truth", tract), butler.get("transient_epoch", tract)
    TRANSIENT_TRUTH.check(truth)
    TRANSIENT_EPOCH.check(epochs)
    assert {(int(v), str(b)) for v, b in zip(epochs["visit"], epochs["band"], strict=True)} == set(
        VISITS.items()
    )
    hosted = truth["host_id"] > 0
    assert 30 <= hosted.sum() <= 90
    assert 0 < (~hosted).sum() < 40
    for visit in VISITS:
        where = data_id(visit)
        catalog = butler.get("injected_visit_image_catalog", where)
        mine = epochs[epochs["visit"] == visit]
        assert set(catalog["injection_id"]) <= set(mine["injection_id"])
        assert len(catalog) >= 0.9 * len(mine)
        assert (catalog["injection_flag"] == 0).all()
        image = butler.get("injected_visit_image", where)
        assert has_injections(image)
        added = image.image.array.astype(float) - butler.get("visit_image", where).image.array
        assert added.sum() == pytest.approx(catalog["injected_flux"].sum(), rel=1e-3)
    # Inside the detector: host-less positions are drawn in its region.
    region = butler.registry.expandDataId(instrument="SimLSST", visit=42, detector=0).region
    free = truth[~hosted]
    assert region.contains(np.deg2rad(np.asarray(free["ra"])), np.deg2rad(np.asarray(free["dec"]))).all()


def test_template_gets_what_faded_or_varies(outputs):
    butler, _ = outputs
    tract = {"instrument": "SimLSST", "skymap": GEOMETRY.skymap, "tract": 0}
    truth, epochs = butler.get("transient_truth", tract), butler.get("transient_template_epoch", tract)
    TRANSIENT_TEMPLATE_EPOCH.check(epochs)
    shining = truth["injection_id"][truth["kind"] != "appearing"]
    assert sorted(epochs["injection_id"]) == sorted(shining)
    assert 10 < len(epochs) < 0.7 * len(truth)
    for visit in VISITS:
        catalog = butler.get("injected_template_detector_catalog", data_id(visit))
        mine = epochs[epochs["visit"] == visit]
        assert set(catalog["injection_id"]) <= set(mine["injection_id"])
        assert len(catalog) >= 0.9 * len(mine) > 3
        assert (catalog["injection_flag"] == 0).all()
        np.testing.assert_allclose(catalog["gain"], TEMPLATE_GAIN, rtol=0.1)
        image = butler.get("injected_template_detector", data_id(visit))
        assert has_injections(image)
        added = image.image.array.astype(float) - butler.get("template_detector", data_id(visit)).image.array
        assert added.sum() == pytest.approx(catalog["injected_flux"].sum(), rel=1e-3)


def test_difference_shows_visit_minus_template(outputs):
    butler, _ = outputs
    tract = {"instrument": "SimLSST", "skymap": GEOMETRY.skymap, "tract": 0}
    truth = butler.get("transient_truth", tract)
    kind = dict(zip(truth["injection_id"], truth["kind"], strict=True))
    names = ("injected_visit_image_catalog", "injected_template_detector_catalog")
    for visit in VISITS:
        catalog = INJECTED_DIFFERENCE_CATALOG.check(butler.get("injected_difference_catalog", data_id(visit)))
        science, template = (
            {row["injection_id"]: row["flux"] for row in butler.get(name, data_id(visit))} for name in names
        )
        assert sorted(catalog["injection_id"]) == sorted(science | template)
        for key, flux in zip(catalog["injection_id"], catalog["flux"], strict=True):
            assert flux == pytest.approx(science.get(key, 0.0) - template.get(key, 0.0))
            assert (key in science, key in template) == (kind[key] != "faded", kind[key] != "appearing")
        faded = [kind[key] == "faded" for key in catalog["injection_id"]]
        assert sum(faded) > 1
        assert (catalog["flux"][faded] < 0).all()


def _whole(catalog):
    """Return which sources have all of their stamp on the image."""
    inside = [(catalog[axis] > 16) & (catalog[axis] < SHAPE[0] - 17) for axis in "xy"]
    return np.asarray(inside[0] & inside[1])


def test_photons_of_the_template_are_others(outputs):
    """A varying transient in both images: its noise is not drawn alike."""
    butler, _ = outputs
    names = ("injected_visit_image_catalog", "injected_template_detector_catalog")
    pulls = []
    for visit in VISITS:
        tables = [butler.get(name, data_id(visit)) for name in names]
        both = np.intersect1d(*(table["injection_id"] for table in tables))
        rows = [table[np.isin(table["injection_id"], both) & _whole(table)] for table in tables]
        rows = [table[np.argsort(table["injection_id"])] for table in rows]
        pulls += zip(*((t["injected_flux"] - t["flux"]) / np.sqrt(t["flux"] / t["gain"]) for t in rows))
    pulls = np.array(pulls)
    assert len(pulls) > 8
    assert np.abs(pulls).max() < 5
    assert np.abs(np.corrcoef(pulls.T)[0, 1]) < 0.7


def test_schemas_are_datasets(outputs):
    butler, _ = outputs
    for name in (
        "host_galaxy",
        "transient_truth",
        "transient_epoch",
        "transient_template_epoch",
        "injected_visit_image_catalog",
        "injected_template_detector_catalog",
        "injected_difference_catalog",
    ):
        schema = butler.get(f"{name}_schema")
        assert schema.colnames == ["name", "dtype", "unit", "shape", "description"]
    assert butler.get("host_galaxy_schema")["name"].tolist() == HOST_GALAXY.names()


def test_a_visit_alone_gets_the_same_transients(repository, outputs):
    butler, _ = outputs
    alone, _ = execute(
        repository, "alone", f"skymap='{GEOMETRY.skymap}' AND visit=43 AND instrument='SimLSST'"
    )
    where = {"instrument": "SimLSST", "visit": 43, "detector": 0}
    one, other = (b.get("injected_visit_image_catalog", where) for b in (butler, alone))
    for name in one.colnames:
        np.testing.assert_array_equal(one[name], other[name])
    first, second = (b.get("injected_visit_image", where).image.array for b in (butler, alone))
    np.testing.assert_array_equal(first, second)


def test_run_counts_and_reports():
    region = Circle(UnitVector3d(LonLat.fromDegrees(10.0, 0.0)), LonLat.fromDegrees(1.0, 0.0).getLon())
    field = Field(0, "SimLSST", "sky", 0, region)
    task = MakeTransientsTask(config=MakeTransientsConfig())
    found = task.run(HOST_GALAXY.empty(), [Visit(1, "r", (region,))], field)
    assert len(found.truth) == len(found.epochs) == 0
    assert task.metadata["hosts"] == task.metadata["hosted"] == 0
    assert task.metadata["visits"] == 1
    assert task.metadata["faded"] == task.metadata["varying"] == len(found.templateEpochs) == 0


def test_data_ids_without_records_are_refused(repository):
    butler = open_repository(repository)
    bare = butler.registry.expandDataId(instrument="SimLSST", visit=42, detector=0)
    assert visits_from_data_ids([bare])[0].band == "g"
    stripped = type(bare).standardize(dict(bare.required), universe=butler.dimensions)
    assert not stripped.hasRecords()
    with pytest.raises(DimensionRecordError, match="physical_filter record"):
        visits_from_data_ids([stripped])


def test_magnitude_range_must_not_be_empty():
    config = MakeTransientsConfig()
    config.minMagOffset, config.maxMagOffset = 2.0, 1.0
    with pytest.raises(ValueError, match=r"minMagOffset 2\.0"):
        config.validate()


def test_fractions_must_not_exceed_the_whole():
    config = MakeTransientsConfig()
    config.fadedFraction, config.varyingFraction = 0.75, 0.25
    config.validate()
    config.varyingFraction = 0.5
    with pytest.raises(ValueError, match=r"fadedFraction 0\.75 and varyingFraction 0\.5 exceed 1"):
        config.validate()


def test_seed_of_the_configuration_decides_every_draw():
    region = Circle(UnitVector3d(LonLat.fromDegrees(10.0, 0.0)), LonLat.fromDegrees(1.0, 0.0).getLon())
    rng = np.random.default_rng(0)
    values = {name: np.ones(200) for name in HOST_GALAXY.names()}
    values |= {"host_id": np.arange(200), "host_ra": 10 + rng.uniform(-0.3, 0.3, 200)}
    hosts = HOST_GALAXY.build(values | {"host_dec": rng.uniform(-0.3, 0.3, 200)})
    task = MakeTransientsTask(config=MakeTransientsConfig())
    field = Field(0, "SimLSST", "sky", 0, region)
    one, again, other = (
        task.run(hosts, [Visit(1, "r", (region,))], f).truth
        for f in (field, field, dataclasses.replace(field, seed=1))
    )
    np.testing.assert_array_equal(one["ra"], again["ra"])
    assert not set(one["injection_id"]) & set(other["injection_id"])


def test_kinds_are_configured_and_counted():
    region = Circle(UnitVector3d(LonLat.fromDegrees(10.0, 0.0)), LonLat.fromDegrees(1.0, 0.0).getLon())
    hosts = HOST_GALAXY.build(
        {name: np.full(300, 10.0) for name in HOST_GALAXY.names()} | {"host_dec": np.zeros(300)}
    )
    config = MakeTransientsConfig()
    config.hostFraction, config.fadedFraction, config.varyingFraction = 1.0, 0.6, 0.3
    task = MakeTransientsTask(config=config)
    found = task.run(hosts, [Visit(1, "r", (region,))], Field(0, "SimLSST", "sky", 0, region))
    faded, varying = task.metadata["faded"], task.metadata["varying"]
    assert faded == pytest.approx(0.6 * len(found.truth), abs=35)
    assert varying == pytest.approx(0.3 * len(found.truth), abs=35)
    assert len(found.epochs) == len(found.truth) - faded
    assert len(found.templateEpochs) == faded + varying


EVALUATION = """
description: evaluation
tasks:
  evaluateInjection:
    class: dia_vetting.injection.evaluate_injection.EvaluateInjectionTask
"""


def detections(catalog, visit: int):
    """DIA sources, labels and missed injections as if every other injection had been found."""
    found, lost = catalog[::2], catalog[1::2]
    count = len(found)
    base = {
        "diaSourceId": visit * 1000 + np.arange(count), "visit": np.full(count, visit), "band": found["band"],
        "detector": np.zeros(count), "ra": found["ra"], "dec": found["dec"], "snr": np.full(count, 9.0),
    }  # fmt: skip
    fluxes = {"x": found["x"], "y": found["y"], "psfFlux": found["flux"], "psfFluxErr": np.full(count, 50.0)}
    labels = {
        "state": np.full(count, "injected"), "injection_id": found["injection_id"],
        "nearest_injection_id": found["injection_id"], "match_distance": np.zeros(count),
        "flux_ratio": np.ones(count),
    }  # fmt: skip
    same = {name: lost[name] for name in MISSED_INJECTION.names() if name in lost.colnames}
    missed = same | {"detector": np.zeros(len(lost)), "reason": np.full(len(lost), "undetected")}
    return {
        "dia_source_detector": DIA_SOURCE_REQUIRED.build(base | fluxes),
        "dia_source_label": DIA_SOURCE_LABEL.build(base | labels),
        "missed_injection": MISSED_INJECTION.build(missed),
    }


def test_evaluation_reads_a_repository(repository, outputs):
    butler, _ = outputs
    writer = open_repository(repository)
    dimensions = ("instrument", "visit", "detector")
    for visit in VISITS:
        image = butler.get("injected_visit_image", data_id(visit))
        datasets = detections(butler.get("injected_visit_image_catalog", data_id(visit)), visit)
        datasets["difference_image"] = make_difference_image(image, planes_from_image(image), image.psf)
        if visit == 43:
            datasets.pop("dia_source_label")  # its quantum failed
        for name, dataset in datasets.items():
            storage = "DifferenceImage" if name == "difference_image" else "ArrowAstropy"
            writer.registry.registerDatasetType(
                DatasetType(name, dimensions, storage, universe=writer.dimensions)
            )
            put_once(writer, dataset, name, "detected", data_id(visit))
    butler = SimplePipelineExecutor.prep_butler(
        repository, inputs=["injected", "detected", "raw"], output="evaluated"
    )
    executor = SimplePipelineExecutor.from_pipeline(Pipeline.fromString(EVALUATION), butler=butler)
    executor.run(register_dataset_types=True)
    outcomes = butler.get("injection_outcome", instrument="SimLSST")
    INJECTION_OUTCOME.check(outcomes)
    assert set(outcomes["visit"]) == {42}
    hosted = np.asarray(outcomes["host_id"]) != 0
    for name in ("separation", "host_surface_brightness", "host_mag"):
        np.testing.assert_array_equal(np.isfinite(outcomes[name]), hosted, err_msg=name)
    metrics = butler.get("injection_metrics", instrument="SimLSST")
    assert metrics["all"]["n"] == len(outcomes)
    assert abs(metrics["all"]["n_recovered"] / metrics["all"]["n"] - 0.5) < 0.1
    assert metrics["all"]["snr_0"]["flux_bias"]["value"] == pytest.approx(0.0, abs=1e-6)
    for name in ("curve", "efficiency"):
        assert len(butler.get(f"injection_{name}", instrument="SimLSST"))
    for name in ("completeness", "efficiency", "host", "focal_plane"):
        ref = butler.find_dataset(f"injection_{name}_plot", instrument="SimLSST")
        assert butler.getURI(ref).size() > 5000
    found = butler.get("evaluateInjection_metadata", instrument="SimLSST")["evaluateInjection"]
    assert found["detectors"] == 1  # the query of the graph leaves visit 43 out, which has no labels
