"""Every pipeline file becomes a graph, and reads from outside just what it should."""

from pathlib import Path

import pytest
from lsst.pipe.base import Pipeline, PipelineGraph

ROOT = Path(__file__).parents[1] / "pipelines"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.yaml"))
TRUTH = {"sim_truth_object", "sim_truth_source", "sim_truth_artefact"}
SURVEY = {"visit_image", "template_visit_image", "tract_geometry"}

OVERALL_INPUTS = {
    "Embedded/vetting.yaml": SURVEY | TRUTH,
    "Embedded/supernovae.yaml": SURVEY,
    "Embedded/decam.yaml": SURVEY | {"reliability_model"},
    "_ingredients/injection.yaml": {"object", "visit_image"},
    "_ingredients/embedded.yaml": SURVEY | {"transient_epoch", "transient_template_epoch"},
    "_ingredients/light_curves.yaml": {
        "transient_truth",
        "injected_visit_image_catalog",
        "dia_source_label",
        "dia_source",
        "dia_object_forced_source",
    },
    "_ingredients/blends.yaml": {
        "injected_visit_image",
        "dia_source_detector",
        "template_coadd",
        "object",
    },
    "_ingredients/embedding.yaml": {"dia_source_cutout", "reliability_model"},
    "_ingredients/blending_impact.yaml": {
        "object",
        "object_blend",
        "template_coadd",
        "sim_truth_object",
        "dia_source",
        "reliability_truth",
    },
    "_ingredients/vetting.yaml": {
        "difference_image",
        "injected_visit_image",
        "template_detector",
        "dia_source_detector",
        "injected_visit_image_catalog",
        "object",
        "transient_truth",
    },
}


def load(name: str, subset: str = "") -> PipelineGraph:
    graph = Pipeline.from_uri(f"{ROOT / name}{subset}").to_graph()
    graph.resolve(visualization_only=True)
    return graph


def overall_inputs(graph: PipelineGraph) -> set[str]:
    return {name for name, _ in graph.iter_overall_inputs()}


def test_every_file_is_listed() -> None:
    assert set(FILES) == set(OVERALL_INPUTS)


@pytest.mark.parametrize("name", FILES)
def test_overall_inputs(name: str) -> None:
    assert overall_inputs(load(name)) == OVERALL_INPUTS[name]


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_an_instrument(name: str) -> None:
    assert "instrument:" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", FILES)
def test_only_evaluation_reads_the_truth(name: str) -> None:
    """And what evaluateReliability makes of it; measureBlendingImpact is an evaluation by another name."""
    graph = load(name)
    for dataset in graph.dataset_types:
        if dataset.startswith("sim_truth") or dataset.endswith("reliability_truth"):
            readers = {edge.task_label for edge in graph.consuming_edges_of(dataset)}
            others = readers - {"measureBlendingImpact"}
            assert all(label.startswith("evaluate") for label in others), (dataset, readers)


@pytest.mark.parametrize("name", FILES)
def test_no_task_reads_what_blending_impact_writes(name: str) -> None:
    """So that it may read the truth."""
    graph = load(name)
    written = {name for name in graph.dataset_types if name.startswith("blending_impact")}
    assert not {edge.task_label for name in written for edge in graph.consuming_edges_of(name)}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("Embedded")])
def test_every_task_is_in_a_subset(name: str) -> None:
    graph = load(name)
    assert set(graph.tasks) == set().union(*(set(s) for s in graph.task_subsets.values()))


def readers(graph: PipelineGraph, name: str) -> set[str]:
    """Return the tasks that read a dataset type."""
    return {edge.task_label for edge in graph.consuming_edges_of(name)}


def test_differences_are_made_of_templates_with_transients_in_them() -> None:
    """In the survey, and only there: real exposures have no transients put into their templates."""
    graph = load("Embedded/vetting.yaml")
    after = {"subtractImages", "detectDiaSources", "extractCutouts"}
    assert readers(graph, "injected_template_detector") == after
    assert readers(graph, "template_detector") == {"injectTemplates"}
    assert readers(graph, "injected_difference_catalog") == {"labelDiaSources", "evaluateInjection"}
    assert readers(graph, "transient_epoch") == {"injectTransients"}
    assert readers(graph, "transient_template_epoch") == {"injectTemplates"}
    for catalog in ("injected_visit_image_catalog", "injected_template_detector_catalog"):
        assert readers(graph, catalog) == {"combineInjections"}
    graph = load("Embedded/decam.yaml")
    assert not {"injectTemplates", "combineInjections"} & set(graph.tasks)
    assert readers(graph, "template_detector") == after
    assert readers(graph, "injected_visit_image_catalog") == {"labelDiaSources", "evaluateInjection"}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("Embedded")])
def test_hosts_of_injections_come_from_the_transients(name: str) -> None:
    graph = load(name)
    assert "evaluateInjection" in readers(graph, "transient_truth")
    edges = graph.tasks["evaluateInjection"].outputs.values()
    outputs = {edge.parent_dataset_type_name for edge in edges}
    tables = {"outcome", "curve", "efficiency", "metrics"}
    plots = {"completeness", "photometry", "offset", "efficiency", "host", "focal_plane"}
    assert outputs == {f"injection_{name}" for name in tables | {f"{plot}_plot" for plot in plots}}


def test_the_noise_of_templates_is_another_than_that_of_images() -> None:
    graph = load("Embedded/vetting.yaml")
    science, template = (graph.tasks[label].config for label in ("injectTransients", "injectTemplates"))
    assert science.seed != template.seed
    assert template.gainFromVariance
    assert not science.gainFromVariance


def test_only_the_survey_has_transients_that_faded_or_vary() -> None:
    for name, some in (("Embedded/vetting.yaml", True), ("Embedded/decam.yaml", False)):
        config = load(name).tasks["makeTransients"].config
        assert (config.fadedFraction > 0.1) == (config.varyingFraction > 0.1) == some


def test_every_table_has_its_schema_as_an_init_output() -> None:
    graph = load("Embedded/vetting.yaml")
    init_outputs = {
        edge.parent_dataset_type_name for t in graph.tasks.values() for edge in t.init.iter_all_outputs()
    }
    for name in (
        "object",
        "host_galaxy",
        "transient_epoch",
        "transient_template_epoch",
        "injected_template_detector_catalog",
        "injected_difference_catalog",
        "dia_source_cutout",
        "dia_source_label",
        "dia_source_vetting",
        "dia_source_blend",
        "object_blend",
        "blending_impact",
        "injection_outcome",
        "injection_curve",
        "injection_efficiency",
    ):
        assert f"{name}_schema" in init_outputs


def test_subsets_chain_without_gaps() -> None:
    """What a subset reads is made by an earlier one, or is an overall input."""
    order = [
        "template",
        "injection-catalogs",
        "injection-pixels",
        "differencing",
        "association",
        "vetting-prepare",
        "vetting-train",
        "vetting-score",
        "blends",
        "vetting-evaluate",
        "blending-impact",
    ]
    made = OVERALL_INPUTS["Embedded/vetting.yaml"].copy()
    for subset in order:
        graph = load("Embedded/vetting.yaml", f"#{subset}")
        assert overall_inputs(graph) <= made, subset
        made |= set(graph.dataset_types)
