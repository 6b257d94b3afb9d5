"""What `~.measure_blending_impact.MeasureBlendingImpactTask` reads and writes."""

from __future__ import annotations

__all__ = ["MeasureBlendingImpactConnections"]

from typing import TYPE_CHECKING

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import PipelineTaskConnections

if TYPE_CHECKING:
    from .measure_blending_impact import MeasureBlendingImpactConfig

_TRACT = ("skymap", "tract")
_PATCH = ("skymap", "tract", "patch", "band")


class MeasureBlendingImpactConnections(
    PipelineTaskConnections,
    dimensions=_TRACT,
    defaultTemplates={
        "coaddType": "template_coadd",
        "objectType": "object",
        "diaSourceType": "dia_source",
        "modelName": "",
        "blendType": "object_blend",
        "truthType": "reliability_truth",
        "outputPrefix": "blending_impact",
    },
):
    """Objects of a tract, their blend flags and the truth of a simulation in, figures and plots out."""

    objects = cT.Input(
        doc="Objects of the tract.", name="{objectType}", storageClass="ArrowAstropy", dimensions=_TRACT
    )
    blends = cT.Input(
        doc="Which objects are blends.",
        name="{modelName}{blendType}",
        storageClass="ArrowAstropy",
        dimensions=_PATCH,
        multiple=True,
    )
    coadds = cT.Input(
        doc="Coadds, for the sky that they cover.",
        name="{coaddType}",
        storageClass="MaskedImageV2",
        dimensions=_PATCH,
        multiple=True,
        deferLoad=True,
    )
    truthObjects = cT.Input(
        doc="True static stars and galaxies of a simulation.",
        name="sim_truth_object",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
    )
    diaSources = cT.Input(
        doc="Sources of the difference images of the tract.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
    )
    diaTruth = cT.Input(
        doc="What each of them really is.",
        name="{truthType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
        multiple=True,
    )
    impact = cT.Output(
        doc="Figures with intervals, in long form.",
        name="{outputPrefix}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
    )
    detectionPlot = cT.Output(
        doc="Completeness, purity, and blends that are left and dropped.",
        name="{outputPrefix}_detection_plot",
        storageClass="Plot",
        dimensions=_TRACT,
    )
    photometryPlot = cT.Output(
        doc="Errors of fluxes and positions.",
        name="{outputPrefix}_photometry_plot",
        storageClass="Plot",
        dimensions=_TRACT,
    )
    clusteringPlot = cT.Output(
        doc="Number density and angular correlation.",
        name="{outputPrefix}_clustering_plot",
        storageClass="Plot",
        dimensions=_TRACT,
    )
    residualPlot = cT.Output(
        doc="Sources of difference images at objects.",
        name="{outputPrefix}_residual_plot",
        storageClass="Plot",
        dimensions=_TRACT,
    )
    impactSchema = cT.InitOutput(
        doc="Columns of the figures.", name="{outputPrefix}_schema", storageClass="ArrowAstropy"
    )

    def __init__(self, *, config: MeasureBlendingImpactConfig | None = None) -> None:
        super().__init__(config=config)
        if config is not None and not config.doDifferences:
            del self.diaSources
            del self.residualPlot
        if config is not None and not (config.doDifferences and config.doDiaTruth):
            del self.diaTruth
