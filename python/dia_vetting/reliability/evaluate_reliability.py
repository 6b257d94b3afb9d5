"""The task that measures how well the scores tell real sources from artefacts, and draws it."""

__all__ = [
    "EvaluateReliabilityConfig",
    "EvaluateReliabilityConnections",
    "EvaluateReliabilityTask",
]

from collections.abc import Mapping, Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..embedded.schemas import SIM_TRUTH_OBJECT
from ..injection.schemas import TRANSIENT_TRUTH
from ..tables import stack_tables
from .evaluation import EvaluationSettings, evaluate
from .evaluation_hosts import add_hosts
from .evaluation_rows import CutoutReader, DetectorInputs, join_rows, usable
from .examples import choose_examples, gather_examples
from .schemas import RELIABILITY_CURVE, RELIABILITY_TRUTH
from .truth_matching import Truth

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

    def __init__(self, *, config: "EvaluateReliabilityConfig | None" = None) -> None:
        super().__init__(config=config)
        if config is not None and not config.doTruth:
            for name in _TRUTH_CONNECTIONS:
                delattr(self, name)
        if config is not None and not config.doModelThreshold:
            del self.model
        if config is not None and not config.doHosts:
            del self.transients


class EvaluateReliabilityConfig(PipelineTaskConfig, pipelineConnections=EvaluateReliabilityConnections):
    """Configuration of `EvaluateReliabilityTask`."""

    doTruth = Field[bool](
        doc="Evaluate against the truth of a simulation too. Real data have none.", default=True
    )
    doModelThreshold = Field[bool](
        doc="Evaluate at the thresholds in the model's card too, not only at ``threshold``.", default=True
    )
    doHosts = Field[bool](
        doc="Evaluate against the hosts of the injected transients too, as far as they are known.",
        default=True,
    )
    threshold = RangeField[float](
        doc="Score from which on a source is called real. Rubin's minReliability is 0.5.",
        default=0.5,
        min=0.0,
        max=1.0,
    )
    prevalence = RangeField[float](
        doc="Fraction of real sources of the figures that say so in their name (purity_at_prevalence_...); "
        "all other figures are those of the sample as it stands.",
        default=0.03,
        min=0.0,
        max=1.0,
        inclusiveMin=False,
        inclusiveMax=False,
    )
    nside = Field[int](
        doc="HEALPix resolution of the sky groups of the bootstrap, as in training; 4096 is 0.86 arcmin.",
        default=4096,
        check=lambda nside: nside > 0 and nside & (nside - 1) == 0,
    )
    replicates = RangeField[int](doc="Bootstrap replicates.", default=500, min=100)
    seed = Field[int](doc="Seed of the bootstrap.", default=0)
    examples = RangeField[int](doc="Stamps drawn of each kind of example.", default=5, min=1)


class EvaluateReliabilityTask(PipelineTask):
    """Measure the scores against the labels and, in a simulation, against the truth (see `.evaluation`)."""

    ConfigClass = EvaluateReliabilityConfig
    _DefaultName = "evaluateReliability"
    config: EvaluateReliabilityConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.curveSchema = RELIABILITY_CURVE.describe()
        self.truthSchema = RELIABILITY_TRUTH.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        tables = {name: _by_detector(butlerQC, getattr(inputRefs, name)) for name in self._detector_inputs()}
        objects = self._objects(butlerQC, inputRefs)
        known = sorted(set.intersection(*(set(of_name) for of_name in tables.values())))
        lonely = len(set(tables["labels"]) - set(known))
        self.metadata["n_detectors"], self.metadata["n_detectors_incomplete"] = len(known), lonely
        if lonely:
            self.log.warning("%d detectors lack one of %s and are left out.", lonely, sorted(tables))
        detectors = [
            _inputs(key, {name: of_name[key] for name, of_name in tables.items()}, objects) for key in known
        ]
        model = butlerQC.get(inputRefs.model) if self.config.doModelThreshold else None
        transients = self._transients(butlerQC, inputRefs)
        butlerQC.put(self.run(detectors, self._thresholds(model), transients), outputRefs)

    def _detector_inputs(self) -> tuple[str, ...]:
        truth = ("diaSources", "truthSources", "truthArtefacts") if self.config.doTruth else ()
        return ("labels", "scores", "cutouts", *truth)

    def _objects(self, butlerQC: QuantumContext, inputRefs: Any) -> Table | None:
        if not self.config.doTruth:
            return None
        tables = [SIM_TRUTH_OBJECT.check(t, "sim_truth_object") for t in butlerQC.get(inputRefs.truthObjects)]
        return stack_tables(tables, SIM_TRUTH_OBJECT)

    def _transients(self, butlerQC: QuantumContext, inputRefs: Any) -> Table | None:
        if not self.config.doHosts:
            return None
        name = self.config.connections.transientType
        tables = [TRANSIENT_TRUTH.check(table, name) for table in butlerQC.get(inputRefs.transients)]
        return stack_tables(tables, TRANSIENT_TRUTH)

    def _thresholds(self, model: Any) -> dict[str, float]:
        thresholds = {"fixed": float(self.config.threshold)}
        if model is not None:
            from .model_dataset import from_table

            card = from_table(model, f"{self.config.connections.modelName}reliability_model").card
            thresholds |= {name: float(value) for name, value in card.thresholds.items()}
        return thresholds

    def run(
        self,
        detectors: Sequence[DetectorInputs],
        thresholds: Mapping[str, float],
        transients: Table | None = None,
    ) -> Struct:
        """Evaluate.

        Parameters
        ----------
        detectors : `~collections.abc.Sequence` of `DetectorInputs`
            All that is to be evaluated together. Either all have a truth or none.
        thresholds : `~collections.abc.Mapping` [`str`, `float`]
            Scores from which on a source is called real, by name; the first is drawn.
        transients : `astropy.table.Table`, optional
            `TRANSIENT_TRUTH` of the injections.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``metrics`` (`dict`), ``curves``, ``truth`` (if known) and the figures.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If no DIA source that is injected or unlabelled has a score.
        TableSchemaError
            If a table lacks a column, or it has another unit.
        """
        from . import plots_curves, plots_triplets

        rows = stack_tables([join_rows(d) for d in detectors], RELIABILITY_TRUTH)
        if not usable(rows).any():
            raise NoWorkFound(
                f"No injected or unlabelled DIA source of {len(detectors)} detectors has a score."
            )
        add_hosts(rows, transients, self.config.connections.transientType)
        settings = EvaluationSettings(
            thresholds,
            self.config.nside,
            self.config.replicates,
            self.config.seed,
            self.config.prevalence,
        )
        metrics, curves = evaluate(rows, settings)
        self._report(metrics)
        examples = gather_examples(
            choose_examples(rows, self.config.examples), {(d.visit, d.detector): d.cutouts for d in detectors}
        )
        outputs = {
            "metrics": metrics,
            "curves": curves,
            "confusionPlot": plots_curves.confusion_figure(metrics),
            "scoreHistogramPlot": plots_curves.score_histogram_figure(rows, thresholds),
            "rocPrPlot": plots_curves.roc_pr_figure(curves, metrics),
            "snrPlot": plots_curves.snr_figure(curves, next(iter(thresholds.values()))),
            "tripletsPlot": plots_triplets.triplets_figure(examples),
        }
        if self.config.doTruth:
            outputs["truth"] = RELIABILITY_TRUTH.build(
                {name: rows[name] for name in RELIABILITY_TRUTH.names()}
            )
        return Struct(**outputs)

    def _report(self, metrics: Mapping[str, Any]) -> None:
        for comparison, figures in metrics["headline"].items():
            for name, figure in figures.items():
                self.log.info(
                    "%s, %s: %.4f (%.4f to %.4f).",
                    comparison,
                    name,
                    figure["value"],
                    figure["low"],
                    figure["high"],
                )
                self.metadata[f"{comparison}_{name}"] = figure["value"]


def _inputs(key: tuple[int, int], tables: Mapping[str, Any], objects: Table | None) -> DetectorInputs:
    truth = None
    if objects is not None:
        truth = Truth(tables["truthSources"], tables["truthArtefacts"], objects)
    return DetectorInputs(
        *key, tables["labels"], tables["scores"], _reader(tables["cutouts"]), tables.get("diaSources"), truth
    )


def _reader(handle: DeferredDatasetHandle) -> CutoutReader:
    def read(columns: Sequence[str] | None = None) -> Table:
        return handle.get(parameters=None if columns is None else {"columns": list(columns)})

    return read


def _by_detector(butlerQC: QuantumContext, refs: Any) -> dict[tuple[int, int], Any]:
    loaded = butlerQC.get(refs)
    return {
        (int(ref.dataId["visit"]), int(ref.dataId["detector"])): value
        for ref, value in zip(refs, loaded, strict=True)
    }
