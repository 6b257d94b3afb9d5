"""The task that says what became of transients with light curves: objects, fluxes, colours."""

from __future__ import annotations

__all__ = [
    "EvaluateInjectionCoherentConfig",
    "EvaluateInjectionCoherentConnections",
    "EvaluateInjectionCoherentTask",
]

from collections.abc import Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table, vstack
from lsst.daf.butler import DatasetRef
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from numpy.typing import NDArray

from ..reliability.schemas import DIA_SOURCE_LABEL
from ..tables import stack_tables
from .light_curve_metrics import injection_objects, light_curve_metrics
from .light_curve_plots import plot_light_curve_fits, plot_light_curves
from .light_curve_recovery import associate_transients, fit_light_curves, light_curve_points
from .schemas import (
    INJECTED_CATALOG,
    INJECTION_LIGHT_CURVE,
    INJECTION_LIGHT_CURVE_FIT,
    INJECTION_OBJECT,
    TRANSIENT_TRUTH,
)

_DETECTOR = ("instrument", "visit", "detector")
_TRACT = ("skymap", "tract")
_CATALOG_COLUMNS = ["injection_id", "visit", "flux", "injection_flag"]
_LABEL_COLUMNS = ["diaSourceId", "state", "injection_id"]


class EvaluateInjectionCoherentConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={
        "injectedCatalogType": "injected_visit_image_catalog",
        "labelType": "dia_source_label",
        "truthType": "transient_truth",
        "diaSourceType": "dia_source",
        "forcedSourceType": "dia_object_forced_source",
        "outputPrefix": "injection_",
    },
):
    """Transients, their injections, DIA objects and forced fluxes in; light curves and figures out."""

    truth = cT.Input(
        doc="The transients.",
        name="{truthType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", *_TRACT),
        multiple=True,
    )
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
        doc="DIA sources with their objects.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
        multiple=True,
        deferLoad=True,
    )
    forcedSources = cT.Input(
        doc="Forced fluxes of the objects.",
        name="{forcedSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_TRACT,
        multiple=True,
    )
    lightCurves = cT.Output(
        doc="Injected and measured light curves.",
        name="{outputPrefix}light_curve",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    fits = cT.Output(
        doc="Amplitude and chi2 of each light curve.",
        name="{outputPrefix}light_curve_fit",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    objects = cT.Output(
        doc="Detections and DIA object of each transient.",
        name="{outputPrefix}object",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    metrics = cT.Output(
        doc="Headline figures with intervals.",
        name="{outputPrefix}light_curve_metrics",
        storageClass="StructuredDataDict",
        dimensions=("instrument",),
    )
    lightCurvePlot = cT.Output(
        doc="The light curves that agree best and worst.",
        name="{outputPrefix}light_curve_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    fitPlot = cT.Output(
        doc="chi2 and amplitudes.",
        name="{outputPrefix}light_curve_fit_plot",
        storageClass="Plot",
        dimensions=("instrument",),
    )
    lightCurveSchema = cT.InitOutput(
        doc="Columns of the light curves.",
        name="{outputPrefix}light_curve_schema",
        storageClass="ArrowAstropy",
    )
    fitSchema = cT.InitOutput(
        doc="Columns of the fits.",
        name="{outputPrefix}light_curve_fit_schema",
        storageClass="ArrowAstropy",
    )
    objectSchema = cT.InitOutput(
        doc="Columns of the objects.", name="{outputPrefix}object_schema", storageClass="ArrowAstropy"
    )


class EvaluateInjectionCoherentConfig(
    PipelineTaskConfig, pipelineConnections=EvaluateInjectionCoherentConnections
):
    """Configuration of `EvaluateInjectionCoherentTask`."""

    seed = Field[int](doc="Seed of the bootstrap.", default=0)
    minDetections = RangeField[int](
        doc="Light curves of transients with fewer DIA sources are not judged.", default=2, min=1
    )


class EvaluateInjectionCoherentTask(PipelineTask):
    """Compare the light curves of DIA objects with those that were injected."""

    ConfigClass = EvaluateInjectionCoherentConfig
    _DefaultName = "evaluateInjectionCoherent"
    config: EvaluateInjectionCoherentConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lightCurveSchema = INJECTION_LIGHT_CURVE.describe()
        self.fitSchema = INJECTION_LIGHT_CURVE_FIT.describe()
        self.objectSchema = INJECTION_OBJECT.describe()

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read the columns that are used; an image that was not labelled counts as without detections."""
        truth = [
            TRANSIENT_TRUTH.check(butlerQC.get(ref), f"{ref.datasetType.name} {ref.dataId}")
            for ref in inputRefs.truth
        ]
        injected = [_read(butlerQC, ref, _CATALOG_COLUMNS) for ref in inputRefs.injected]
        labels = [_read(butlerQC, ref, _LABEL_COLUMNS) for ref in inputRefs.labels]
        sources = [
            butlerQC.get(ref).get(parameters={"columns": ["diaSourceId", "diaObjectId"]})
            for ref in inputRefs.diaSources
        ]
        butlerQC.put(
            self.run(truth, injected, labels, sources, butlerQC.get(inputRefs.forcedSources)), outputRefs
        )

    def run(
        self,
        truth: Sequence[Table],
        injected: Sequence[Table],
        labels: Sequence[Table],
        diaSources: Sequence[Table],
        forcedSources: Sequence[Table],
    ) -> Struct:
        """Compare.

        Parameters
        ----------
        truth : `~collections.abc.Sequence` of `astropy.table.Table`
            In `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`.
        injected, labels : `~collections.abc.Sequence` of `astropy.table.Table`
            Catalogs and labels of detector images, with ``visit`` and ``detector``.
        diaSources, forcedSources : `~collections.abc.Sequence` of `astropy.table.Table`
            Of the tracts.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``lightCurves``, ``fits``, ``objects``, ``metrics``, ``lightCurvePlot``, ``fitPlot``.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If no transient that stands still has light in two visits.
        """
        transients, catalog = stack_tables(truth, TRANSIENT_TRUTH), _stack(injected)
        coherent, n_visits = self._coherent(transients, catalog)
        if not len(coherent):
            raise NoWorkFound("No transient that stands still was injected into more than one visit.")
        ids, label = np.asarray(coherent["injection_id"], np.int64), _stack(labels)
        association = associate_transients(ids, label, _stack(diaSources))
        points = light_curve_points(association, catalog, label, _stack(forcedSources))
        fits = fit_light_curves(points)
        objects = injection_objects(coherent, n_visits, association)
        metrics = light_curve_metrics(objects, fits, self.config.minDetections, self.config.seed)
        for model, figures in metrics.items():
            ratio = figures["chi2_per_point"]
            self.log.info(
                "%s: %d transients, %d judged, chi2 per point %s.",
                model,
                figures["n"],
                figures["n_judged"],
                "not defined" if ratio is None else "{value:.3f} [{low:.3f}, {high:.3f}]".format(**ratio),
            )
        return Struct(
            lightCurves=points,
            fits=fits,
            objects=objects,
            metrics=metrics,
            lightCurvePlot=plot_light_curves(points, fits, self.config.minDetections),
            fitPlot=plot_light_curve_fits(fits, self.config.minDetections),
        )

    def _coherent(self, truth: Table, injected: Table) -> tuple[Table, NDArray[np.int64]]:
        """Return the transients with light in several visits, by id, and the number of these visits."""
        light = injected[np.asarray(injected["injection_flag"]) == 0]
        pairs = np.unique(np.stack([light["injection_id"], light["visit"]], axis=1).astype(np.int64), axis=0)
        ids, counts = np.unique(pairs[:, 0], return_counts=True)
        truth = truth[np.argsort(truth["injection_id"])]
        own = np.asarray(truth["injection_id"], np.int64)
        n_visits = np.zeros(len(truth), np.int64)
        n_visits[np.isin(own, ids)] = counts[np.isin(ids, own)]
        moving = np.asarray(truth["kind"]).astype(str) == "moving"
        keep = (n_visits > 1) & ~moving
        self.metadata["transients"] = int(keep.sum())
        self.metadata["left_out_moving"] = int(moving.sum())
        self.metadata["left_out_no_light"] = int(np.sum((n_visits == 0) & ~moving))
        self.metadata["left_out_one_visit"] = int(np.sum((n_visits == 1) & ~moving))
        return truth[keep], n_visits[keep]


def _read(butlerQC: QuantumContext, ref: DatasetRef, columns: list[str]) -> Table:
    """Read columns of a detector's table, and add its visit and detector."""
    table = butlerQC.get(ref).get(parameters={"columns": columns})
    schema = DIA_SOURCE_LABEL if "state" in columns else INJECTED_CATALOG
    schema.check(table, f"{ref.datasetType.name} {ref.dataId}", columns)
    for name in ("visit", "detector"):
        table[name] = np.full(len(table), int(ref.dataId[name]), np.int64)
    return table


def _stack(tables: Sequence[Table]) -> Table:
    return vstack(list(tables), metadata_conflicts="silent")
