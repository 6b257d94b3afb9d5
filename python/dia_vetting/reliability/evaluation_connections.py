"""What `~.evaluate_reliability.EvaluateReliabilityTask` reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import PipelineTaskConnections

if TYPE_CHECKING:
    from .evaluate_reliability import EvaluateReliabilityConfig

__all__ = ["EvaluateReliabilityConnections"]

_DETECTOR = ("instrument", "visit", "detector")
_TRUTH_CONNECTIONS = (
    "diaSources",
    "truthSources",
    "truthArtefacts",
    "truthObjects",
    "truth",
    "truthSchema",
)


class EvaluateReliabilityConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={
        "cutoutType": "dia_source_cutout",
        "labelType": "dia_source_label",
        "diaSourceType": "dia_source_detector",
        "transientType": "transient_truth",
        "blendType": "dia_source_blend",
        "modelName": "",
    },
):
    """Labels and scores of all detectors in, with the truth if there is any; metrics, curves and plots out.

    ``modelName`` is the prefix of the model's datasets, as in trainReliability and scoreReliability.
    """

    labels = cT.Input(
        doc="State of every DIA source.",
        name="{labelType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
    )
    scores = cT.Input(
        doc="Score of every DIA source, out of fold.",
        name="{modelName}dia_source_vetting",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
    )
    cutouts = cT.Input(
        doc="Fluxes and valid fractions; the stamps are read for the examples that are drawn only.",
        name="{cutoutType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    model = cT.Input(
        doc="Model, for the threshold in its card.",
        name="{modelName}reliability_model",
        storageClass="ArrowTable",
        dimensions=("instrument",),
    )
    diaSources = cT.Input(
        doc="DIA sources: where they are on the detector.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
    )
    truthSources = cT.Input(
        doc="True hidden, variable and moving sources of a simulation.",
        name="sim_truth_source",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferGraphConstraint=True,
    )
    truthArtefacts = cT.Input(
        doc="True defects of a simulation.",
        name="sim_truth_artefact",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferGraphConstraint=True,
    )
    truthObjects = cT.Input(
        doc="True static stars and galaxies of a simulation.",
        name="sim_truth_object",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
        multiple=True,
    )
    transients = cT.Input(
        doc="Injected transients: where on their hosts they are. Injections made by other means have none.",
        name="{transientType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "skymap", "tract"),
        multiple=True,
        minimum=0,
    )
    blends = cT.Input(
        doc="Which DIA sources lie on blends. An image without them has sources of which it is not known.",
        name="{blendType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        minimum=0,
        deferGraphConstraint=True,
    )
    metrics = cT.Output(
        doc="Figures with their intervals.",
        name="{modelName}reliability_metrics",
        storageClass="StructuredDataDict",
        dimensions=("instrument",),
    )
    curves = cT.Output(
        doc="ROC, precision-recall, and completeness and purity against SNR and others, in long form.",
        name="{modelName}reliability_curve",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    truth = cT.Output(
        doc="What every DIA source really is, with its score.",
        name="{modelName}reliability_truth",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    confusionPlot = cT.Output(
        doc="Confusion matrices at the thresholds.",
        name="{modelName}reliability_confusion_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    scoreHistogramPlot = cT.Output(
        doc="Scores of injected and of unlabelled sources.",
        name="{modelName}reliability_score_histogram_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    rocPrPlot = cT.Output(
        doc="ROC and precision-recall curves.",
        name="{modelName}reliability_roc_pr_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    snrPlot = cT.Output(
        doc="Completeness and purity against SNR.",
        name="{modelName}reliability_snr_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    magnitudePlot = cT.Output(
        doc="Completeness and purity against the magnitude of the difference.",
        name="{modelName}reliability_magnitude_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    hostPlot = cT.Output(
        doc="Completeness of injections against surface brightness of the host and offset from it.",
        name="{modelName}reliability_host_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    calibrationPlot = cT.Output(
        doc="Reliability diagram: observed against predicted fractions.",
        name="{modelName}reliability_calibration_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    contaminationPlot = cT.Output(
        doc="Prior, false-positive rate and purity by the labels, corrected, and by the truth.",
        name="{modelName}reliability_contamination_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    subsetPlot = cT.Output(
        doc="Completeness and false-positive rate by SNR, sign of the flux, validity of the pixels and kind.",
        name="{modelName}reliability_subset_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    tripletsPlot = cT.Output(
        doc="Stamps with the highest and the lowest scores.",
        name="{modelName}reliability_triplets_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    curveSchema = cT.InitOutput(
        doc="Columns of the curves.", name="{modelName}reliability_curve_schema", storageClass="ArrowAstropy"
    )
    truthSchema = cT.InitOutput(
        doc="Columns of the truth table.",
        name="{modelName}reliability_truth_schema",
        storageClass="ArrowAstropy",
    )

    def __init__(self, *, config: EvaluateReliabilityConfig | None = None) -> None:
        super().__init__(config=config)
        if config is not None and not config.doTruth:
            for name in _TRUTH_CONNECTIONS:
                delattr(self, name)
        if config is not None and not config.doModelThreshold:
            del self.model
        if config is not None and not config.doHosts:
            del self.transients
            del self.hostPlot
        if config is not None and not config.doBlends:
            del self.blends
