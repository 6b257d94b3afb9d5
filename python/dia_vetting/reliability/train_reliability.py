"""The task that trains a real/bogus model on injected against everything else, one network per sky fold."""

__all__ = [
    "TrainReliabilityConfig",
    "TrainReliabilityConnections",
    "TrainReliabilityTask",
]

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from lsst.pex.config import ChoiceField, DictField, Field, RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from ..errors import BadInputError
from .inputs import CUTOUT_COLUMNS
from .networks import ARCHITECTURES, check_options
from .schemas import RELIABILITY_HUMAN_LABEL, RELIABILITY_INFLUENCE, RELIABILITY_TRAINING
from .strategies import STRATEGIES, check_strategy
from .training_connections import TrainReliabilityConnections
from .training_rows import LabelledCutouts, TrainingRows, gather_rows

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

    from .cross_fitting import CrossFit, FoldSettings
    from .model_dataset import ModelCard
    from .training import TrainingSettings


class TrainReliabilityConfig(PipelineTaskConfig, pipelineConnections=TrainReliabilityConnections):
    """Configuration of `TrainReliabilityTask`."""

    architecture = ChoiceField[str](
        doc="Architecture of the networks. dihedral_resnet, which the shipped model has, wants more sources "
        "and twice the time.",
        allowed={name: str(options.__doc__).splitlines()[0] for name, options in ARCHITECTURES.items()},
        default="small_resnet",
    )
    options = DictField[str, float](
        doc="Options of the architecture; what is left out has its default.",
        default={},
    )
    strategy = ChoiceField[str](
        doc="How to deal with real sources among the unlabelled.",
        allowed={name: str(options.__doc__).splitlines()[0] for name, options in STRATEGIES.items()},
        default="deep_ensemble",
    )
    strategyOptions = DictField[str, float](
        doc="Options of the strategy; what is left out has its default, or is estimated.",
        default={},
    )
    members = RangeField[int](
        doc="Networks per fold. Their scatter is reliability_err; co-teaching trains two at a time.",
        default=2,
        min=1,
    )
    prior = RangeField[float](
        doc="Fraction of real sources among the unlabelled, for the strategy; estimated by default.",
        default=None,
        optional=True,
        min=0.0,
        max=0.5,
    )
    prevalence = RangeField[float](
        doc="Fraction of real sources among those to be scored, for which reliability is a probability; that "
        "estimated for the unlabelled by default.",
        default=None,
        optional=True,
        min=0.0,
        max=1.0,
        inclusiveMin=False,
    )
    fineTune = Field[bool](
        doc="Start from the networks of another model, whose architecture and options then count.",
        default=False,
    )
    anchor = RangeField[float](
        doc="When fine-tuning, how strongly weights are held to where they started from, so that what was "
        "learnt before is not forgotten.",
        default=1.0,
        min=0.0,
    )
    doInfluence = Field[bool](
        doc="Rank the training rows by their influence on the model; needs the extra 'influence'.",
        default=False,
    )
    doHumanLabels = Field[bool](
        doc="Measure the out-of-fold scores against labels that people gave too (dia-vetting ingest-labels). "
        "The figures go into the model card; nothing is trained with them.",
        default=False,
    )
    seed = Field[int](doc="Seed of folds, weights, order, augmentation and dropout.", default=0)
    nside = Field[int](
        doc="HEALPix resolution of the sky cells that folds are made of; 4096 is 0.86 arcmin.",
        default=4096,
        check=lambda nside: nside > 0 and nside & (nside - 1) == 0,
    )
    folds = RangeField[int](doc="Number of folds.", default=4, min=2)
    validationFraction = RangeField[float](
        doc="Fraction of the rows outside a fold that select its model.", default=0.15, min=0.01, max=0.5
    )
    buffer = RangeField[float](
        doc="Sources nearer than this to sky that a network must not see are not trained on, arcsec: their "
        "stamps show the same template. The side of a stamp; 0 to allow it.",
        default=6.0,
        min=0.0,
    )
    minExamples = RangeField[int](
        doc="Smallest number of injected and of unlabelled DIA sources to train a fold with.",
        default=30,
        min=1,
    )
    maxSources = RangeField[int](
        doc="Train with a random selection of no more DIA sources than this. It bounds the memory: 9 kB per "
        "source of 30 pixels, 26 kB at 51.",
        default=200_000,
        min=1,
    )
    minValidFraction = RangeField[float](
        doc="Stamps with a smaller fraction of valid pixels are neither trained on nor scored. A source at "
        "the corner of a detector has a quarter of its pixels.",
        default=0.2,
        min=0.0,
        max=1.0,
    )
    epochs = RangeField[int](doc="Passes over the training rows.", default=10, min=1)
    minUpdates = RangeField[int](
        doc="Least number of weight updates; small training sets get more epochs.", default=400, min=1
    )
    batchSize = RangeField[int](doc="Rows per weight update.", default=64, min=2)
    learningRate = RangeField[float](
        doc="Peak of the one-cycle schedule.", default=3e-3, min=0.0, inclusiveMin=False
    )
    selectionFpr = RangeField[float](
        doc="False-positive rate, on validation rows, at which epochs are compared by their true-positive "
        "rate. The real sources among the unlabelled are allowed for.",
        default=0.01,
        min=0.0,
        max=0.5,
    )
    threads = RangeField[int](
        doc="Torch threads; 0 leaves what OMP_NUM_THREADS says. The last digits of a model depend on it.",
        default=0,
        min=0,
    )

    def validate(self) -> None:  # noqa: D102
        super().validate()
        self.network_options()
        check_strategy(self.strategy, dict(self.strategyOptions), self.members, "config: strategy")

    def network_options(self) -> dict[str, int | float]:
        """Return all options of the architecture, checked; whole numbers where it wants those."""
        given = {n: int(v) if v.is_integer() else v for n, v in self.options.items()}
        return dataclasses.asdict(check_options(self.architecture, given, "config: architecture"))

    def training_settings(self) -> "TrainingSettings":
        """Return how to train."""
        from .training import TrainingSettings

        return TrainingSettings(
            seed=self.seed,
            epochs=self.epochs,
            min_updates=self.minUpdates,
            batch_size=self.batchSize,
            learning_rate=self.learningRate,
            selection_fpr=self.selectionFpr,
            threads=self.threads,
            strategy=self.strategy,
            strategy_options=dict(self.strategyOptions),
            prior=self.prior,
            anchor=self.anchor if self.fineTune else 0.0,
        )

    def fold_settings(self) -> "FoldSettings":
        """Return how to split the sky."""
        from .cross_fitting import FoldSettings

        return FoldSettings(
            self.nside,
            self.folds,
            self.validationFraction,
            self.minExamples,
            self.members,
            self.buffer,
        )


class TrainReliabilityTask(PipelineTask):
    """Train a model on injected against unlabelled DIA sources (see `.cross_fitting`).

    Cutouts are read one detector at a time and kept as half-precision network inputs: 9 kB per source of 30
    pixels, up to ``maxSources``.
    """

    ConfigClass = TrainReliabilityConfig
    _DefaultName = "trainReliability"
    config: TrainReliabilityConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trainingSchema = RELIABILITY_TRAINING.describe()
        self.influenceSchema = RELIABILITY_INFLUENCE.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        from .model_dataset import add_provenance

        inputs = butlerQC.get(inputRefs)
        cutouts = {_detector(handle): handle for handle in inputs["cutouts"]}
        labels = {_detector(handle): handle for handle in inputs["labels"]}
        lonely = len(cutouts.keys() ^ labels.keys())
        if lonely:
            self.log.warning("%d detectors have cutouts without labels, or labels without cutouts.", lonely)
        sources = [
            LabelledCutouts(f"visit {key[0]}, detector {key[1]}", labels[key].get, _reader(cutouts[key]))
            for key in sorted(cutouts.keys() & labels.keys())
        ]
        data_id = butlerQC.quantum.dataId
        assert data_id is not None
        outputs = self.run(
            sources, str(data_id["instrument"]), inputs.get("initialModel"), inputs.get("humanLabels")
        )
        datasets = {str(ref.id): ref.run for ref in (*inputRefs.cutouts, *inputRefs.labels)}
        outputs.model = add_provenance(outputs.model, datasets)
        butlerQC.put(outputs, outputRefs)

    def run(
        self,
        sources: Sequence[LabelledCutouts],
        instrument: str,
        initialModel: "pa.Table | None" = None,
        humanLabels: Table | None = None,
    ) -> Struct:
        """Train.

        Parameters
        ----------
        sources : `~collections.abc.Sequence` of `LabelledCutouts`
            Labels and cutouts of each detector; they are joined by ``diaSourceId``.
        instrument : `str`
            Name of the instrument, for the model card.
        initialModel : `pyarrow.Table`, optional
            Model to fine-tune, in the format of `.model_dataset`.
        humanLabels : `astropy.table.Table`, optional
            `RELIABILITY_HUMAN_LABEL` of any sources, to evaluate with.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``model`` (`pyarrow.Table`, see `.model_dataset`), ``training`` (`astropy.table.Table` in
            `RELIABILITY_TRAINING`'s schema, one row per labelled DIA source) and, if configured,
            ``influence`` (in `RELIABILITY_INFLUENCE`'s, one row per source that was trained with).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If no DIA source has a label and a cutout.
        TooFewSkyCellsError, TooFewExamplesError, SplitLeakError
            If there are too few to train with, or one sky would be on two sides.
        TableSchemaError, InjectionLeakError, StampSizeError
            If a table cannot be used.
        BadInputError
            If it is to fine-tune, but there is no model to start from.
        """
        from .cross_fitting import ModelNotes, TrainingSet, cross_fit
        from .model_dataset import from_table, to_table

        config = self.config
        initial = None
        if config.fineTune and initialModel is None:
            raise BadInputError("trainReliability:fineTune", "an initialModel to start from", "none")
        if initialModel is not None:
            initial = from_table(initialModel, f"{config.connections.initialModelName}reliability_model")
        rows = gather_rows(
            sources,
            config.nside,
            config.seed,
            config.maxSources,
            config.minValidFraction,
            None if initial is None else initial.card.stamp_size,
        )
        self._count(rows)
        if not rows.used.any():
            raise NoWorkFound(f"No DIA source of {len(sources)} detectors has a usable label and a cutout.")
        result = cross_fit(
            TrainingSet(
                rows.inputs,
                rows.injected,
                rows.cells[rows.used],
                rows.positions,
                {"injection": rows.objects},
            ),
            config.architecture,
            config.network_options(),
            config.training_settings(),
            config.fold_settings(),
            ModelNotes(instrument, config.minValidFraction, rows.counts(), config.prevalence),
            initial,
        )
        if humanLabels is not None:
            result = _judged(result, rows, humanLabels)
        self._report(result)
        meta = _meta(result.model.card)
        outputs = {
            "model": to_table(result.model),
            "training": rows.table(result.reliability, config.folds, config.seed, meta),
        }
        if config.doInfluence:
            outputs["influence"] = _influence(rows, result, meta)
        return Struct(**outputs)

    def _report(self, result: "CrossFit") -> None:
        card = result.model.card
        dropped = sum(len(split.dropped) for split in result.splits) / len(result.splits)
        self.log.info(
            "On average %.0f sources of a fold's training sky share template or object with sky that must "
            "not be seen, and were left out.",
            dropped,
        )
        figures = {**card.metrics, "prior": card.prior}
        for name, (value, low, high) in figures.items():
            self.log.info("Out of fold, %s: %.4f (%.4f to %.4f).", name, value, low, high)
            self.metadata[name] = value
        self.metadata["dropped_per_fold"] = dropped

    def _count(self, rows: TrainingRows) -> None:
        for name, count in rows.counts().items():
            self.metadata[name] = count
        self.log.info("DIA sources: %s.", ", ".join(f"{n} {name}" for name, n in rows.counts().items()))


def _detector(handle: Any) -> tuple[int, int]:
    return int(handle.dataId["visit"]), int(handle.dataId["detector"])


def _reader(handle: Any) -> Callable[[], Table]:
    """Return a function that reads only the columns that network inputs are made of."""
    return functools.partial(handle.get, parameters={"columns": ["diaSourceId", *CUTOUT_COLUMNS]})


def _meta(card: "ModelCard") -> dict[str, str | int]:
    return {"model_content_hash": card.content_hash, "model_version": card.version, "nside": card.nside}


def _judged(result: "CrossFit", rows: TrainingRows, labels: Table) -> "CrossFit":
    """Put into the card what the out-of-fold scores are worth against labels that people gave."""
    from .human_labels import human_counts, human_metrics

    RELIABILITY_HUMAN_LABEL.check(labels, "reliability_human_label")
    card, ids = result.model.card, np.asarray(rows.labels["diaSourceId"][rows.used])
    metrics = human_metrics(
        labels, ids, result.reliability, rows.cells[rows.used], card.thresholds, card.seed
    )
    update = {
        "metrics": card.metrics | metrics,
        "label_counts": card.label_counts | human_counts(labels, ids),
    }
    model = dataclasses.replace(result.model, card=card.model_copy(update=update)).sealed()
    return dataclasses.replace(result, model=model)


def _influence(rows: TrainingRows, result: "CrossFit", meta: dict[str, str | int]) -> Table:
    """Rank the rows that were trained with."""
    from scipy.special import expit

    from .influence import influence_table, trained_on, training_influence

    trained = trained_on(result.trained_rows, len(rows.inputs))
    influence = training_influence(result.networks, rows.inputs, rows.injected, trained)
    table = rows.labels[rows.used]
    return influence_table(table, rows.injected, influence, expit(result.logits), result.reliability, meta)
