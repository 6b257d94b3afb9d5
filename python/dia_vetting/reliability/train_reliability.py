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

import lsst.pipe.base.connectionTypes as cT
from astropy.table import Table
from lsst.pex.config import ChoiceField, DictField, Field, RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from .inputs import CUTOUT_COLUMNS
from .networks import ARCHITECTURES, check_options
from .schemas import RELIABILITY_TRAINING
from .training_rows import LabelledCutouts, TrainingRows, gather_rows

if TYPE_CHECKING:
    from .cross_fitting import FoldSettings
    from .model_dataset import ModelCard
    from .training import TrainingSettings

_DETECTOR = ("instrument", "visit", "detector")


class TrainReliabilityConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={
        "cutoutType": "dia_source_cutout",
        "labelType": "dia_source_label",
        "modelName": "",
    },
):
    """Cutouts and labels of all detectors in, a model and a table of its training rows out.

    ``modelName`` is a prefix, so that several models live in one repository: ``seed_cnn_`` makes
    ``seed_cnn_reliability_model``.
    """

    cutouts = cT.Input(
        doc="Stamps of every DIA source, raw pixels.",
        name="{cutoutType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    labels = cT.Input(
        doc="State of every DIA source.",
        name="{labelType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    model = cT.Output(
        doc="Networks, one per fold, with their model card.",
        name="{modelName}reliability_model",
        storageClass="ArrowTable",
        dimensions=("instrument",),
    )
    training = cT.Output(
        doc="Every labelled DIA source, whether it was trained on, its fold and its out-of-fold score.",
        name="{modelName}reliability_training",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    trainingSchema = cT.InitOutput(
        doc="Columns of the table of training rows.",
        name="{modelName}reliability_training_schema",
        storageClass="ArrowAstropy",
    )


class TrainReliabilityConfig(PipelineTaskConfig, pipelineConnections=TrainReliabilityConnections):
    """Configuration of `TrainReliabilityTask`."""

    architecture = ChoiceField[str](
        doc="Architecture of the networks.",
        allowed={name: str(options.__doc__).splitlines()[0] for name, options in ARCHITECTURES.items()},
        default="small_resnet",
    )
    options = DictField[str, float](
        doc="Options of the architecture; what is left out has its default.",
        default={},
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
        "rate. Real transients hidden among the unlabelled spoil the comparison below their fraction.",
        default=0.05,
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
        )

    def fold_settings(self) -> "FoldSettings":
        """Return how to split the sky."""
        from .cross_fitting import FoldSettings

        return FoldSettings(self.nside, self.folds, self.validationFraction, self.minExamples)


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
        outputs = self.run(sources, str(data_id["instrument"]))
        datasets = {str(ref.id): ref.run for ref in (*inputRefs.cutouts, *inputRefs.labels)}
        outputs.model = add_provenance(outputs.model, datasets)
        butlerQC.put(outputs, outputRefs)

    def run(self, sources: Sequence[LabelledCutouts], instrument: str) -> Struct:
        """Train.

        Parameters
        ----------
        sources : `~collections.abc.Sequence` of `LabelledCutouts`
            Labels and cutouts of each detector; they are joined by ``diaSourceId``.
        instrument : `str`
            Name of the instrument, for the model card.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``model`` (`pyarrow.Table`, see `.model_dataset`) and ``training`` (`astropy.table.Table` in
            `RELIABILITY_TRAINING`'s schema, one row per labelled DIA source).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If no DIA source has a label and a cutout.
        TooFewSkyCellsError, TooFewExamplesError
            If there are too few to train with.
        TableSchemaError, InjectionLeakError, StampSizeError
            If a table cannot be used.
        """
        from .cross_fitting import TrainingSet, cross_fit
        from .model_dataset import to_table

        config = self.config
        rows = gather_rows(sources, config.nside, config.seed, config.maxSources, config.minValidFraction)
        self._count(rows)
        if not rows.used.any():
            raise NoWorkFound(f"No DIA source of {len(sources)} detectors has a usable label and a cutout.")
        result = cross_fit(
            TrainingSet(rows.inputs, rows.injected, rows.cells[rows.used]),
            config.architecture,
            config.network_options(),
            config.training_settings(),
            config.fold_settings(),
            instrument,
            config.minValidFraction,
            rows.counts(),
        )
        for name, (value, low, high) in result.model.card.metrics.items():
            self.log.info("Out of fold, %s: %.4f (%.4f to %.4f).", name, value, low, high)
            self.metadata[name] = value
        return Struct(
            model=to_table(result.model),
            training=rows.table(result.scores, config.folds, config.seed, _meta(result.model.card)),
        )

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
