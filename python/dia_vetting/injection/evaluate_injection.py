"""The task that says what became of the injections: completeness, photometry, astrometry."""

from __future__ import annotations

__all__ = ["EvaluateInjectionConfig", "EvaluateInjectionConnections", "EvaluateInjectionTask"]

from collections.abc import Sequence
from typing import Any

import astropy.units as u
import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.daf.butler import DatasetRef
from lsst.images import DifferenceImage
from lsst.pex.config import Field
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

from ..images import local_psf, origin, planes_from_image
from ..reliability.schemas import DIA_SOURCE_LABEL, DIA_SOURCE_REQUIRED, MISSED_INJECTION
from ..tables import stack_tables
from .injection_metrics import injection_curve, injection_metrics
from .injection_plots import plot_completeness, plot_offsets, plot_photometry
from .object_table import read_column
from .outcomes import Difference, injection_outcomes, mark_blank
from .schemas import INJECTED_CATALOG, INJECTION_CURVE, INJECTION_OUTCOME

_DETECTOR = ("instrument", "visit", "detector")
_UNUSED = ("host_mag", "injected_flux", "midpointMjdTai", "trail_length", "trail_angle")
_OWN_COLUMNS = [name for name in INJECTED_CATALOG.names() if name not in _UNUSED]


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
    outcomes = cT.Output(
        doc="What became of each injection.",
        name="{outputPrefix}outcome",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    curve = cT.Output(
        doc="Completeness, flux bias, pull and offset in bins of signal-to-noise ratio.",
        name="{outputPrefix}curve",
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
    outcomeSchema = cT.InitOutput(
        doc="Columns of the outcomes.", name="{outputPrefix}outcome_schema", storageClass="ArrowAstropy"
    )
    curveSchema = cT.InitOutput(
        doc="Columns of the curve.", name="{outputPrefix}curve_schema", storageClass="ArrowAstropy"
    )


class EvaluateInjectionConfig(PipelineTaskConfig, pipelineConnections=EvaluateInjectionConnections):
    """Configuration of `EvaluateInjectionTask`."""

    seed = Field[int](doc="Seed of the bootstrap.", default=0)
    blankRadius = Field[float](
        doc="Sky with an object or another injection closer than this is not blank, arcsec.", default=3.0
    )


class EvaluateInjectionTask(PipelineTask):
    """Measure completeness, photometry and astrometry of the injections of all visits."""

    ConfigClass = EvaluateInjectionConfig
    _DefaultName = "evaluateInjection"
    config: EvaluateInjectionConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outcomeSchema = INJECTION_OUTCOME.describe()
        self.curveSchema = INJECTION_CURVE.describe()

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Go through the detector images one by one, so that one difference image is in memory at a time."""
        refs = {
            name: {_key(ref): ref for ref in getattr(inputRefs, name)}
            for name in ("injected", "labels", "diaSources", "missed", "differences")
        }
        complete = sorted(set.intersection(*(set(by_key) for by_key in refs.values())))
        self.metadata["detectors"] = len(complete)
        self.metadata["detectors_incomplete"] = len(refs["injected"]) - len(complete)
        if len(complete) < len(refs["injected"]):
            self.log.warning(
                "%d of %d injected images were not differenced or labelled; they are left out.",
                len(refs["injected"]) - len(complete),
                len(refs["injected"]),
            )
        tables = []
        for visit, detector in complete:
            mine = {name: by_key[visit, detector] for name, by_key in refs.items()}
            handles = {name: butlerQC.get(ref) for name, ref in mine.items()}
            if not len(injected := handles.pop("injected").get()):
                continue
            INJECTED_CATALOG.check(injected, _name(mine["injected"]), _OWN_COLUMNS)
            read = {name: handle.get() for name, handle in handles.items()}
            tables.append(self.follow(injected, **read, visit=visit, detector=detector))
        objects = [
            butlerQC.get(ref).get(parameters={"columns": ["coord_ra", "coord_dec"]})
            for ref in inputRefs.objects
        ]
        butlerQC.put(self.run(stack_tables(tables, INJECTION_OUTCOME), objects), outputRefs)

    def follow(
        self,
        injected: Table,
        labels: Table,
        diaSources: Table,
        missed: Table,
        differences: DifferenceImage,
        visit: int,
        detector: int,
    ) -> Table:
        """Follow the injections of one detector image.

        Parameters
        ----------
        injected, labels, diaSources, missed : `astropy.table.Table`
            In their schemas.
        differences : `lsst.images.DifferenceImage`
            The difference image.
        visit, detector : `int`
            Which one.

        Returns
        -------
        outcomes : `astropy.table.Table`
            In `~dia_vetting.injection.schemas.INJECTION_OUTCOME`; ``blank`` is not known yet.
        """
        where = f"(visit {visit}, detector {detector})"
        DIA_SOURCE_LABEL.check(labels, f"{self.config.connections.labelType} {where}")
        DIA_SOURCE_REQUIRED.check(diaSources, f"{self.config.connections.diaSourceType} {where}")
        MISSED_INJECTION.check(missed, f"{self.config.connections.missedType} {where}")
        source = f"{self.config.connections.differenceType} {where}"
        planes = planes_from_image(differences, source)
        difference = Difference(planes, local_psf(differences, source=source), *origin(differences))
        return injection_outcomes(injected, labels, diaSources, missed, difference, visit, detector)

    def run(self, outcomes: Table, objects: Sequence[Table]) -> Struct:
        """Make figures, curve and plots.

        Parameters
        ----------
        outcomes : `astropy.table.Table`
            All tables of `follow`, stacked.
        objects : `~collections.abc.Sequence` of `astropy.table.Table`
            Static objects with ``coord_ra``, ``coord_dec``. Without any, host-less is enough to be blank.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``outcomes``, ``curve``, ``metrics`` and three plots.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If nothing was injected anywhere.
        """
        if not len(outcomes):
            raise NoWorkFound("Nothing was injected into any image that was differenced and labelled.")
        positions = [
            [read_column(table, name, u.deg, self.config.connections.objectType) for table in objects]
            for name in ("coord_ra", "coord_dec")
        ]
        ra, dec = (np.concatenate([np.empty(0), *columns]) for columns in positions)
        outcomes = mark_blank(outcomes, ra, dec, self.config.blankRadius)
        curve = injection_curve(outcomes, self.config.seed)
        metrics = injection_metrics(outcomes, self.config.seed)
        self.log.info(
            "Recovered %d of %d injections; 50 %% at expected SNR %s (all), %s (blank sky).",
            metrics["all"]["n_recovered"],
            metrics["all"]["n"],
            *(metrics[sample]["snr50"]["value"] for sample in ("all", "blank")),
        )
        return Struct(
            outcomes=outcomes,
            curve=curve,
            metrics=metrics,
            completenessPlot=plot_completeness(curve, metrics),
            photometryPlot=plot_photometry(outcomes, curve),
            offsetPlot=plot_offsets(outcomes),
        )


def _key(ref: DatasetRef) -> tuple[int, int]:
    return int(ref.dataId["visit"]), int(ref.dataId["detector"])


def _name(ref: DatasetRef) -> str:
    return f"{ref.datasetType.name} {ref.dataId}"
