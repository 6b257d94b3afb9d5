"""The task that measures how well the scores tell real sources from artefacts, and draws it."""

__all__ = [
    "EvaluateReliabilityConfig",
    "EvaluateReliabilityConnections",
    "EvaluateReliabilityTask",
]

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from ..blends.schemas import DIA_SOURCE_BLEND
from ..embedded.schemas import SIM_TRUTH_OBJECT
from ..injection.schemas import TRANSIENT_TRUTH
from ..tables import stack_tables
from .evaluation import EvaluationSettings, evaluate
from .evaluation_calibration import change_prevalence
from .evaluation_connections import EvaluateReliabilityConnections
from .evaluation_hosts import add_hosts
from .evaluation_rows import CutoutReader, DetectorInputs, join_rows, usable
from .examples import choose_examples, gather_examples
from .schemas import RELIABILITY_CURVE, RELIABILITY_TRUTH
from .truth_matching import Truth

if TYPE_CHECKING:
    from .model_dataset import ModelCard


class EvaluateReliabilityConfig(PipelineTaskConfig, pipelineConnections=EvaluateReliabilityConnections):
    """Configuration of `EvaluateReliabilityTask`."""

    doTruth = Field[bool](
        doc="Evaluate against the truth of a simulation too. Real data have none.", default=True
    )
    doModelThreshold = Field[bool](
        doc="Evaluate at the thresholds in the model's card too, not only at ``threshold``; take from it the "
        "prevalence at which the scores are probabilities.",
        default=True,
    )
    doHosts = Field[bool](
        doc="Evaluate against the hosts of the injected transients too, as far as they are known.",
        default=True,
    )
    doBlends = Field[bool](
        doc="Evaluate sources on blends and others apart too, by what flagDiaSourceBlends said.",
        default=False,
    )
    blendThreshold = RangeField[float](
        doc="Probability of a blend from which on a source is taken to be on one.",
        default=0.5,
        min=0.0,
        max=1.0,
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
    scorePrevalence = RangeField[float](
        doc="Fraction of real sources at which the scores are probabilities, if scoreReliability was given "
        "another one than the model's card has. Without either, calibration is not measured.",
        default=None,
        optional=True,
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
        blends = _by_detector(butlerQC, inputRefs.blends) if self.config.doBlends else {}
        detectors = [
            _inputs(
                key,
                {name: of_name[key] for name, of_name in tables.items()},
                objects,
                self._blends(blends, key),
            )
            for key in known
        ]
        card = self._card(butlerQC, inputRefs)
        transients = self._transients(butlerQC, inputRefs)
        outputs = self.run(
            detectors,
            self._thresholds(card),
            transients,
            self._score_prevalence(card),
            None if card is None else card.prior,
        )
        butlerQC.put(outputs, outputRefs)

    def _detector_inputs(self) -> tuple[str, ...]:
        truth = ("diaSources", "truthSources", "truthArtefacts") if self.config.doTruth else ()
        return ("labels", "scores", "cutouts", *truth)

    def _blends(self, tables: Mapping[tuple[int, int], Table], key: tuple[int, int]) -> Table | None:
        return tables.get(key, DIA_SOURCE_BLEND.empty()) if self.config.doBlends else None

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

    def _card(self, butlerQC: QuantumContext, inputRefs: Any) -> "ModelCard | None":
        if not self.config.doModelThreshold:
            return None
        from .model_dataset import from_table

        name = f"{self.config.connections.modelName}reliability_model"
        return from_table(butlerQC.get(inputRefs.model), name).card

    def _score_prevalence(self, card: "ModelCard | None") -> float | None:
        asked: float | None = self.config.scorePrevalence
        return card.prevalence if asked is None and card is not None else asked

    def _thresholds(self, card: "ModelCard | None") -> dict[str, float]:
        """Return the fixed threshold and those of the card, which are scores at the card's prevalence."""
        thresholds = {"fixed": float(self.config.threshold)}
        if card is not None:
            asked = self._score_prevalence(card) or card.prevalence
            for name, value in card.thresholds.items():
                moved = (
                    value if asked == card.prevalence else change_prevalence(value, card.prevalence, asked)
                )
                thresholds[name] = float(moved)
        return thresholds

    def run(
        self,
        detectors: Sequence[DetectorInputs],
        thresholds: Mapping[str, float],
        transients: Table | None = None,
        score_prevalence: float | None = None,
        training_prior: tuple[float, float, float] | None = None,
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
        score_prevalence : `float`, optional
            Fraction of real sources at which the scores are probabilities.
        training_prior : `tuple` of three `float`, optional
            Fraction of real sources among the unlabelled of the training, and the ends of its interval.

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
        from . import (
            plots_binned,
            plots_calibration,
            plots_contamination,
            plots_curves,
            plots_subsets,
            plots_triplets,
        )

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
            score_prevalence,
            training_prior,
            self.config.blendThreshold,
        )
        metrics, curves = evaluate(rows, settings)
        self._report(metrics)
        examples = gather_examples(
            choose_examples(rows, self.config.examples), {(d.visit, d.detector): d.cutouts for d in detectors}
        )
        first = next(iter(thresholds.values()))
        outputs = {
            "metrics": metrics,
            "curves": curves,
            "confusionPlot": plots_curves.confusion_figure(metrics),
            "scoreHistogramPlot": plots_curves.score_histogram_figure(rows, thresholds),
            "rocPrPlot": plots_curves.roc_pr_figure(curves, metrics),
            "snrPlot": plots_binned.snr_figure(curves, first),
            "magnitudePlot": plots_binned.magnitude_figure(curves, first),
            "calibrationPlot": plots_calibration.calibration_figure(curves, metrics),
            "contaminationPlot": plots_contamination.contamination_figure(metrics),
            "subsetPlot": plots_subsets.subset_figure(metrics),
            "tripletsPlot": plots_triplets.triplets_figure(examples),
        }
        if self.config.doHosts:
            outputs["hostPlot"] = plots_binned.host_figure(curves, thresholds)
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


def _inputs(
    key: tuple[int, int], tables: Mapping[str, Any], objects: Table | None, blends: Table | None
) -> DetectorInputs:
    truth = None
    if objects is not None:
        truth = Truth(tables["truthSources"], tables["truthArtefacts"], objects)
    scores, cutouts = tables["scores"], _reader(tables["cutouts"])
    return DetectorInputs(*key, tables["labels"], scores, cutouts, tables.get("diaSources"), truth, blends)


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
