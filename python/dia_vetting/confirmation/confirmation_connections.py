"""What `~.confirm_light_curves.ConfirmLightCurvesTask` reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import PipelineTaskConnections

if TYPE_CHECKING:
    from .confirm_light_curves import ConfirmLightCurvesConfig

__all__ = ["ConfirmLightCurvesConnections"]

_TRACT = ("skymap", "tract")
_DETECTOR = ("instrument", "visit", "detector")


class ConfirmLightCurvesConnections(
    PipelineTaskConnections,
    dimensions=_TRACT,
    defaultTemplates={
        "diaObjectType": "dia_object",
        "diaSourceType": "dia_source",
        "forcedSourceType": "dia_object_forced_source",
        "vettingType": "dia_source_vetting",
        "blendType": "dia_source_blend",
        "differenceType": "difference_image",
        "objectType": "object",
        "starType": "reference_star",
        "modelName": "",
        "outputPrefix": "",
    },
):
    """DIA objects of a tract with all that is known of their sources in, one verdict per object out."""

    diaObjects = cT.Input(
        doc="DIA objects.", name="{diaObjectType}", storageClass="ArrowAstropy", dimensions=_TRACT
    )
    diaSources = cT.Input(
        doc="DIA sources with their objects.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
    )
    forcedSources = cT.Input(
        doc="Forced fluxes of the objects, detected or not.",
        name="{forcedSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
        multiple=True,
        minimum=0,
    )
    scores = cT.Input(
        doc="Reliability of the DIA sources.",
        name="{vettingType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    blends = cT.Input(
        doc="Which DIA sources lie on blends.",
        name="{blendType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    visits = cT.Input(
        doc="Difference images: only their data IDs are used, for the nights of the visits.",
        name="{differenceType}",
        storageClass="DifferenceImage",
        dimensions=_DETECTOR,
        multiple=True,
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    objects = cT.Input(
        doc="Objects measured on the coadds: hosts and stars.",
        name="{objectType}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
        deferLoad=True,
    )
    referenceStars = cT.PrerequisiteInput(
        doc="Stars of a reference catalogue (doReferenceStars): id, ra, dec, mag.",
        name="{starType}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
        multiple=True,
    )
    model = cT.Input(
        doc="Model that the scores are of, for the prevalence in its card.",
        name="{modelName}reliability_model",
        storageClass="ArrowTable",
        dimensions=("instrument",),
        multiple=True,
    )
    verdicts = cT.Output(
        doc="One verdict per DIA object.",
        name="{outputPrefix}dia_object_verdict",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
    )
    verdictSchema = cT.InitOutput(
        doc="Columns of the table of verdicts.",
        name="{outputPrefix}dia_object_verdict_schema",
        storageClass="ArrowAstropy",
    )

    def __init__(self, *, config: ConfirmLightCurvesConfig) -> None:
        switches = {
            "forcedSources": config.doForced,
            "blends": config.doBlends,
            "objects": config.doObjects,
            "referenceStars": config.doReferenceStars,
            "model": config.modelSource == "dataset" and config.scorePrevalence is None,
        }
        for name, wanted in switches.items():
            if not wanted:
                delattr(self, name)
