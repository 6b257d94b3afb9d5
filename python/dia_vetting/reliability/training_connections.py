"""What `~.train_reliability.TrainReliabilityTask` reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import PipelineTaskConnections

if TYPE_CHECKING:
    from .train_reliability import TrainReliabilityConfig

__all__ = ["TrainReliabilityConnections"]

_DETECTOR = ("instrument", "visit", "detector")


class TrainReliabilityConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={
        "cutoutType": "dia_source_cutout",
        "labelType": "dia_source_label",
        "modelName": "",
        "initialModelName": "initial_",
    },
):
    """Cutouts and labels of all detectors in, a model and a table of its training rows out.

    ``modelName`` is a prefix, so that several models live in one repository: ``seed_cnn_`` makes
    ``seed_cnn_reliability_model``. ``initialModelName`` is that of the model that fine-tuning starts from.
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
    initialModel = cT.Input(
        doc="Model whose networks training starts from (fineTune).",
        name="{initialModelName}reliability_model",
        storageClass="ArrowTable",
        dimensions=("instrument",),
    )
    humanLabels = cT.PrerequisiteInput(
        doc="What people said of some sources (doHumanLabels): to evaluate with, never to train.",
        name="reliability_human_label",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
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
    influence = cT.Output(
        doc="Training rows ranked by their influence and by how much their label is doubted (doInfluence).",
        name="{modelName}reliability_influence",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    trainingSchema = cT.InitOutput(
        doc="Columns of the table of training rows.",
        name="{modelName}reliability_training_schema",
        storageClass="ArrowAstropy",
    )
    influenceSchema = cT.InitOutput(
        doc="Columns of the table of influence.",
        name="{modelName}reliability_influence_schema",
        storageClass="ArrowAstropy",
    )

    def __init__(self, *, config: TrainReliabilityConfig) -> None:
        if not config.fineTune:
            del self.initialModel
        if not config.doHumanLabels:
            del self.humanLabels
        if not config.doInfluence:
            del self.influence
            del self.influenceSchema
