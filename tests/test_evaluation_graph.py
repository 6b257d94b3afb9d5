"""The graph of the evaluation in a repository with real regions: hosts are read where there are any."""

import pytest
from dia_vetting.embedded import repository
from dia_vetting.embedded.instruments import SimLSST
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.injection.schemas import TRANSIENT_TRUTH
from dia_vetting.reliability.evaluate_reliability import EvaluateReliabilityTask
from dia_vetting.reliability.schemas import DIA_SOURCE_CUTOUT, DIA_SOURCE_LABEL, DIA_SOURCE_VETTING
from lsst.daf.butler import DatasetType
from lsst.pipe.base import PipelineGraph
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder

RUN = "SimLSST/run"
GEOMETRY = TractGeometry("embedded_simlsst_v1", 0, 0.02, -10.0, 0.2, (1000, 1700), 600, 50)
INPUTS = (DIA_SOURCE_LABEL, DIA_SOURCE_VETTING, DIA_SOURCE_CUTOUT)


def observed(number):
    square = ([0.01, 0.03, 0.03, 0.01], [-10.01, -10.01, -9.99, -9.99])
    return repository.ObservedVisit(
        visit=number,
        physical_filter="r",
        mjd_begin=61000.0 + number,
        mjd_end=61000.001 + number,
        exposure_time=30.0,
        ra=0.02,
        dec=-10.0,
        rotation=0.0,
        airmass=1.0,
        target="field",
        program="science",
        reason="test",
        simulated=True,
        regions={0: square},
    )


def put(butler, name, dimensions, table, data_id):
    dataset_type = DatasetType(name, butler.dimensions.conform(dimensions), "ArrowAstropy")
    butler.registry.registerDatasetType(dataset_type)
    butler.put(table, dataset_type, data_id, run=RUN)


@pytest.fixture
def butler(tmp_path):
    butler = repository.open_repository(tmp_path / "repo")
    repository.chain(butler, "SimLSST/defaults", [RUN])
    instrument = SimLSST()
    instrument.register(butler.registry)
    instrument.register_detector(butler.registry, 0, "D00")
    repository.register_visits(butler, instrument, [observed(101), observed(102)])
    repository.register_tract(butler, GEOMETRY, RUN)
    for schema in INPUTS:
        for visit in (101, 102):
            data_id = {"instrument": "SimLSST", "visit": visit, "detector": 0}
            put(butler, schema.name, ("instrument", "visit", "detector"), schema.empty(), data_id)
    return butler


def inputs_of_the_quantum(butler, **settings):
    config = EvaluateReliabilityTask.ConfigClass()
    config.doTruth = config.doModelThreshold = False
    for name, value in settings.items():
        setattr(config, name, value)
    pipeline = PipelineGraph()
    pipeline.add_task("evaluateReliability", EvaluateReliabilityTask, config)
    builder = AllDimensionsQuantumGraphBuilder(pipeline, butler, input_collections=[RUN], output_run="out")
    (node,) = builder.build(attach_datastore_records=False)
    return {dataset_type.name: len(refs) for dataset_type, refs in node.quantum.inputs.items()}


def test_without_transients_there_is_a_quantum_all_the_same(butler):
    detectors = {schema.name: 2 for schema in INPUTS}
    found = inputs_of_the_quantum(butler)
    assert {name: count for name, count in found.items() if count} == detectors
    assert inputs_of_the_quantum(butler, doHosts=False) == detectors


def test_transients_of_the_tract_are_read(butler):
    data_id = {"instrument": "SimLSST", "skymap": GEOMETRY.skymap, "tract": 0}
    put(butler, "transient_truth", ("instrument", "skymap", "tract"), TRANSIENT_TRUTH.empty(), data_id)
    assert inputs_of_the_quantum(butler)["transient_truth"] == 1
    assert "transient_truth" not in inputs_of_the_quantum(butler, doHosts=False)
