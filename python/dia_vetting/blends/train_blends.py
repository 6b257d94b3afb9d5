"""The task that trains a blend model on simulated stamps."""

__all__ = ["TrainBlendsConfig", "TrainBlendsConnections", "TrainBlendsTask"]

import dataclasses
from typing import TYPE_CHECKING

import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import ChoiceField, DictField, Field, RangeField
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from .methods.names import METHODS
from .networks import check_options
from .presets import load_preset

if TYPE_CHECKING:
    from .model_io import BlendModel
    from .training import TrainingSettings


class TrainBlendsConnections(PipelineTaskConnections, dimensions=(), defaultTemplates={"modelName": ""}):
    """Nothing in, a model out: one quantum for whatever the data query says.

    ``modelName`` is a prefix, so that several models live in one repository.
    """

    model = cT.Output(
        doc="Networks, with their model card.",
        name="{modelName}blend_model",
        storageClass="ArrowTable",
        dimensions=(),
    )


class TrainBlendsConfig(PipelineTaskConfig, pipelineConnections=TrainBlendsConnections):
    """Configuration of `TrainBlendsTask`."""

    method = ChoiceField[str](
        doc="What to train.",
        allowed={name: method.description for name, method in METHODS.items() if method.architecture},
        default="ours",
    )
    options = DictField[str, float](
        doc="Options of its network; what is left out has its default.",
        default={},
    )
    presets = DictField[str, int](
        doc="Number of stamps by preset of the simulator. A stamp of 64 pixels takes 25 kB while training.",
        default={"lsst": 20_000},
        itemCheck=lambda count: count > 0,
    )
    seed = Field[int](
        doc="Seed of the stamps, the split, the weights, the order and the augmentation.", default=0
    )
    epochs = RangeField[int](doc="Passes over the training stamps, at most.", default=15, min=1)
    batchSize = RangeField[int](doc="Stamps per weight update.", default=128, min=2)
    learningRate = RangeField[float](
        doc="Peak of the one-cycle schedule.", default=3e-3, min=0.0, inclusiveMin=False
    )
    members = RangeField[int](doc="Networks, which answer together.", default=1, min=1)
    threads = RangeField[int](
        doc="Torch threads; 0 leaves what OMP_NUM_THREADS says. The last digits of a model depend on it.",
        default=0,
        min=0,
    )

    def validate(self) -> None:  # noqa: D102
        super().validate()
        self.network_options()
        for name in self.presets:
            load_preset(name)

    def network_options(self) -> dict[str, int | float]:
        """Return all options of the network, checked; whole numbers where it wants those."""
        given = {n: int(v) if v.is_integer() else v for n, v in self.options.items()}
        architecture = METHODS[self.method].architecture
        return dataclasses.asdict(check_options(architecture, given, "config: options"))

    def training_settings(self) -> "TrainingSettings":
        """Return how to train."""
        from .training import TrainingSettings

        return TrainingSettings(
            seed=self.seed,
            epochs=self.epochs,
            batch_size=self.batchSize,
            learning_rate=self.learningRate,
            members=self.members,
            threads=self.threads,
        )


class TrainBlendsTask(PipelineTask):
    """Simulate stamps and train networks on them (see `.training`).

    Nothing is read, so that the same configuration gives the same bytes on the same CPU.
    """

    ConfigClass = TrainBlendsConfig
    _DefaultName = "trainBlends"
    config: TrainBlendsConfig

    def run(self) -> Struct:
        """Train.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``model`` (`pyarrow.Table` in the format of `.model_io`).

        Raises
        ------
        BadInputError
            If there are too few stamps to split.
        TrainingDivergedError
            If the loss is no longer a number.
        """
        from .model_io import to_table
        from .simulated_rows import simulated_rows
        from .training import train_blends

        config = self.config
        counts = {str(name): int(count) for name, count in sorted(config.presets.items())}
        rows = simulated_rows(counts, config.seed)
        self.log.info("Simulated %d stamps of %d pixels: %s.", len(rows), rows.size, counts)
        sources = {name: (count, config.seed) for name, count in counts.items()}
        options = config.network_options()
        model = train_blends(config.method, rows, sources, config.training_settings(), options)
        self._report(model)
        return Struct(model=to_table(model))

    def _report(self, model: "BlendModel") -> None:
        self.metadata["model_content_hash"] = model.card.content_hash
        self.log.info("Model version %s, method %s.", model.card.version, model.card.method)
        for name, (value, low, high) in model.card.metrics.items():
            self.log.info("Validation, %s: %.4f (%.4f to %.4f).", name, value, low, high)
            self.metadata[name] = value
