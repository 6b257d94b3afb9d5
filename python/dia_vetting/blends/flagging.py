"""What the two tasks that flag blends have in common: the model, and how to ask it."""

from __future__ import annotations

__all__ = ["BlendModelConnections", "FlagBlendsConfig", "FlagBlendsTask"]

from typing import TYPE_CHECKING, Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from lsst.pex.config import ChoiceField, Config, Field, FieldValidationError, RangeField
from lsst.pipe.base import PipelineTask, PipelineTaskConnections

from .flags import unscored
from .shipped import DEFAULT_MODEL, shipped_models
from .stamps import MAX_SIZE, MIN_SIZE

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    from numpy.typing import NDArray

    from ..cutouts import PlacedPlanes
    from .model_io import BlendModel
    from .source_flags import F64


class BlendModelConnections(PipelineTaskConnections, dimensions=(), defaultTemplates={"modelName": ""}):
    """A model in; none where ``modelSource`` is ``shipped``.

    It is a regular input, so that one quantum graph can train and flag. ``modelName`` is the prefix that
    `.train_blends.TrainBlendsConnections` has.
    """

    model = cT.Input(
        doc="Networks, with their model card.",
        name="{modelName}blend_model",
        storageClass="ArrowTable",
        dimensions=(),
    )

    def __init__(self, *, config: FlagBlendsConfig) -> None:
        if config.modelSource == "shipped":
            del self.model


class FlagBlendsConfig(Config):  # type: ignore[misc]
    """Settings of both tasks."""

    modelSource = ChoiceField[str](
        doc="Where the model comes from.",
        allowed={
            "dataset": "The repository: one that was trained or imported there.",
            "shipped": "This package: the one that shippedModel names.",
        },
        default="dataset",
    )
    shippedModel = Field[str](doc="Name of the model that comes with this package.", default=DEFAULT_MODEL)
    stampSize = RangeField[int](doc="Side of the stamps, pixels.", default=51, min=MIN_SIZE, max=MAX_SIZE)
    threads = RangeField[int](
        doc="Torch threads; 0 leaves what OMP_NUM_THREADS says. The last digits of a score depend on it.",
        default=0,
        min=0,
    )

    def validate(self) -> None:  # noqa: D102
        super().validate()
        if self.modelSource == "shipped" and self.shippedModel not in shipped_models():
            message = f"No such model is shipped; there are: {', '.join(shipped_models()) or 'none'}."
            raise FieldValidationError(self.__class__.shippedModel, self, message)


class FlagBlendsTask(PipelineTask):
    """Base of the two tasks."""

    ConfigClass = FlagBlendsConfig
    _DefaultName = "flagBlends"
    config: Any

    def read_model(self, table: pa.Table | None) -> BlendModel:
        """Return the configured model, and say in log and metadata which it is.

        Parameters
        ----------
        table : `pyarrow.Table`, optional
            Dataset ``blend_model``; left out where the shipped one is configured.

        Returns
        -------
        model : `~.model_io.BlendModel`
            Its content hash was checked.

        Raises
        ------
        ModelCardError, NewerFormatError, TensorError, ContentHashError
            If it cannot be read.
        """
        from .model_io import from_table
        from .shipped import open_model

        shipped = self.config.modelSource == "shipped"
        name = f"shipped model {self.config.shippedModel}"
        if not shipped:
            name = f"{self.config.connections.modelName}blend_model"
        model = open_model(self.config.shippedModel) if shipped else from_table(table, name)
        self.metadata["model"], self.metadata["model_content_hash"] = name, model.card.content_hash
        self.log.info("Model: %s (%s), version %s.", name, model.card.method, model.card.version)
        return model

    def ask(
        self, model: BlendModel, image: PlacedPlanes, x: F64, y: F64, psf_fwhm: F64
    ) -> dict[str, NDArray[Any]]:
        """Return the columns `~.schemas.ANSWER` of sources on an image (see `.source_flags.flag_sources`)."""
        from ..reliability.deterministic import deterministic_torch
        from .source_flags import flag_sources

        with deterministic_torch(model.card.seed, self.config.threads):
            answers = flag_sources(image, x, y, self.config.stampSize, psf_fwhm, model)
        n_unscored = int(np.count_nonzero(unscored(answers["flags"])))
        self.metadata["n_sources"], self.metadata["n_unscored"] = len(x), n_unscored
        self.log.info("Asked about %d sources; %d of them could not be scored.", len(x), n_unscored)
        return answers
