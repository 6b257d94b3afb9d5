"""What `~dia_vetting.injection.evaluate_injection.EvaluateInjectionTask` reads and writes."""

from __future__ import annotations

__all__ = ["EvaluateInjectionConnections"]

from typing import TYPE_CHECKING

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import PipelineTaskConnections

if TYPE_CHECKING:
    from .evaluate_injection import EvaluateInjectionConfig

_DETECTOR = ("instrument", "visit", "detector")


class EvaluateInjectionConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={
        "injectedCatalogType": "injected_visit_image_catalog",
        "labelType": "dia_source_label",
        "diaSourceType": "dia_source_detector",
        "missedType": "missed_injection",
        "differenceType": "difference_image",
        "objectType": "object",
        "transientType": "transient_truth",
        "blendType": "object_blend",
        "outputPrefix": "injection_",
    },
):
    """Everything about the injections of an instrument in, figures, curves and plots out."""

    injected = cT.Input(
        doc="What was injected.",
        name="{injectedCatalogType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    labels = cT.Input(
        doc="Which DIA sources are injections.",
        name="{labelType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    diaSources = cT.Input(
        doc="DIA sources.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    missed = cT.Input(
        doc="Injections that were missed, and why.",
        name="{missedType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    differences = cT.Input(
        doc="Difference images: variance and PSF give the signal-to-noise ratio that was to be expected.",
        name="{differenceType}",
        storageClass="DifferenceImage",
        dimensions=_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    objects = cT.Input(
        doc="Static objects, which blank sky must keep away from.",
        name="{objectType}",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
        multiple=True,
        minimum=0,
        deferLoad=True,
    )
    transients = cT.Input(
        doc="Transients that were drawn, with their hosts. Injections made by other means have none.",
        name="{transientType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "skymap", "tract"),
        multiple=True,
        minimum=0,
        deferLoad=True,
    )
    blends = cT.Input(
        doc="Which objects are blended, for completeness by the blending of the host.",
        name="{blendType}",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract", "patch", "band"),
        multiple=True,
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    outcomes = cT.Output(
        doc="What became of each injection.",
        name="{outputPrefix}outcome",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    curve = cT.Output(
        doc="Completeness, flux bias, pulls and offset in bins of SNR, magnitude and the host's light there.",
        name="{outputPrefix}curve",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    efficiency = cT.Output(
        doc="Parameters of the fitted detection efficiencies.",
        name="{outputPrefix}efficiency",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    metrics = cT.Output(
        doc="Headline figures with intervals.",
        name="{outputPrefix}metrics",
        storageClass="StructuredDataDict",
        dimensions=("instrument",),
    )
    completenessPlot = cT.Output(
        doc="Recovered fraction against signal-to-noise ratio.",
        name="{outputPrefix}completeness_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    photometryPlot = cT.Output(
        doc="Flux bias and pulls.",
        name="{outputPrefix}photometry_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    offsetPlot = cT.Output(
        doc="Measured minus injected positions.",
        name="{outputPrefix}offset_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    efficiencyPlot = cT.Output(
        doc="Efficiency against magnitude by band, with the fits.",
        name="{outputPrefix}efficiency_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    hostPlot = cT.Output(
        doc="Completeness, flux bias and pulls against the host's light and the separation.",
        name="{outputPrefix}host_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    focalPlanePlot = cT.Output(
        doc="Recovered fraction and flux residual over the pixels of every detector.",
        name="{outputPrefix}focal_plane_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    outcomeSchema = cT.InitOutput(
        doc="Columns of the outcomes.", name="{outputPrefix}outcome_schema", storageClass="ArrowAstropy"
    )
    curveSchema = cT.InitOutput(
        doc="Columns of the curve.", name="{outputPrefix}curve_schema", storageClass="ArrowAstropy"
    )
    efficiencySchema = cT.InitOutput(
        doc="Columns of the efficiencies.",
        name="{outputPrefix}efficiency_schema",
        storageClass="ArrowAstropy",
    )

    def __init__(self, *, config: EvaluateInjectionConfig | None = None) -> None:
        super().__init__(config=config)
        if config is not None and not config.doBlends:
            del self.blends
