"""The task that says what became of the injections: completeness, photometry, astrometry."""

from __future__ import annotations

__all__ = ["EvaluateInjectionConfig", "EvaluateInjectionConnections", "EvaluateInjectionTask"]

from collections.abc import Sequence
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Table
from lsst.daf.butler import DatasetRef
from lsst.images import DifferenceImage
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from ..images import local_psf, origin, planes_from_image
from ..reliability.schemas import DIA_SOURCE_LABEL, DIA_SOURCE_REQUIRED, MISSED_INJECTION
from ..tables import stack_tables
from .blend_efficiency import blend_efficiency, host_blends
from .campaign_efficiency import fit_campaign, hold_out_campaign
from .efficiency_fits import efficiency_table
from .efficiency_plots import plot_efficiency, plot_hosts
from .focal_plane import plot_focal_plane
from .injection_connections import EvaluateInjectionConnections
from .injection_curve import injection_curve
from .injection_metrics import injection_metrics
from .injection_plots import plot_completeness, plot_offsets, plot_photometry
from .object_table import read_column
from .outcomes import Difference, injection_outcomes, mark_blank
from .schemas import (
    INJECTED_CATALOG,
    INJECTION_CURVE,
    INJECTION_EFFICIENCY,
    INJECTION_OUTCOME,
    TRANSIENT_TRUTH,
)

_UNUSED = ("mag", "injected_flux", "midpointMjdTai", "trail_length", "trail_angle")
_OWN_COLUMNS = [name for name in INJECTED_CATALOG.names() if name not in _UNUSED]


class EvaluateInjectionConfig(PipelineTaskConfig, pipelineConnections=EvaluateInjectionConnections):
    """Configuration of `EvaluateInjectionTask`."""

    seed = Field[int](doc="Seed of the bootstrap.", default=0)
    blankRadius = Field[float](
        doc="Sky with an object or another injection closer than this is not blank, arcsec.", default=3.0
    )
    doBlends = Field[bool](
        doc="Give completeness by the blending of the host too, by what flagObjectBlends said?", default=False
    )
    blendThreshold = RangeField[float](
        doc="Probability of a blend from which on a host is taken for one.", default=0.5, min=0.0, max=1.0
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
        self.efficiencySchema = INJECTION_EFFICIENCY.describe()

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
        transients = stack_tables((butlerQC.get(ref).get() for ref in inputRefs.transients), TRANSIENT_TRUTH)
        tables = []
        for visit, detector in complete:
            mine = {name: by_key[visit, detector] for name, by_key in refs.items()}
            handles = {name: butlerQC.get(ref) for name, ref in mine.items()}
            if not len(injected := handles.pop("injected").get()):
                continue
            INJECTED_CATALOG.check(injected, _name(mine["injected"]), _OWN_COLUMNS)
            read = {name: handle.get() for name, handle in handles.items()}
            tables.append(
                self.follow(injected, **read, transients=transients, visit=visit, detector=detector)
            )
        objects = [
            butlerQC.get(ref).get(parameters={"columns": ["coord_ra", "coord_dec"]})
            for ref in inputRefs.objects
        ]
        blends = self._blends(butlerQC, inputRefs)
        butlerQC.put(self.run(stack_tables(tables, INJECTION_OUTCOME), objects, blends), outputRefs)

    def _blends(self, butlerQC: QuantumContext, inputRefs: InputQuantizedConnection) -> list[Table] | None:
        if not self.config.doBlends:
            return None
        columns = {"columns": ["objectId", "band", "p_blend"]}
        return [butlerQC.get(ref).get(parameters=columns) for ref in inputRefs.blends]

    def follow(
        self,
        injected: Table,
        labels: Table,
        diaSources: Table,
        missed: Table,
        differences: DifferenceImage,
        transients: Table,
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
        transients : `astropy.table.Table`
            In `~dia_vetting.injection.schemas.TRANSIENT_TRUTH`; may be empty.
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
        return injection_outcomes(
            injected, labels, diaSources, missed, transients, difference, visit, detector
        )

    def run(self, outcomes: Table, objects: Sequence[Table], blends: Sequence[Table] | None = None) -> Struct:
        """Make figures, curve and plots.

        Parameters
        ----------
        outcomes : `astropy.table.Table`
            All tables of `follow`, stacked.
        objects : `~collections.abc.Sequence` of `astropy.table.Table`
            Static objects with ``coord_ra``, ``coord_dec``. Without any, host-less is enough to be blank.
        blends : `~collections.abc.Sequence` of `astropy.table.Table`, optional
            In `~dia_vetting.blends.schemas.OBJECT_BLEND`; for the metrics ``blends``.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``outcomes``, ``curve``, ``efficiency``, ``metrics`` and six plots.

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
        fits = fit_campaign(outcomes, self.config.seed)
        metrics = injection_metrics(outcomes, self.config.seed)
        if blends is not None:
            p_blend = host_blends(outcomes, blends, self.config.connections.blendType)
            metrics["blends"] = blend_efficiency(outcomes, p_blend, self.config.blendThreshold)
        metrics["holdout"] = hold_out_campaign(outcomes, self.config.seed)
        self.log.info(
            "Recovered %d of %d injections; 50 %% at expected SNR %s (all), %s (blank sky).",
            metrics["all"]["n_recovered"],
            metrics["all"]["n"],
            *(metrics[sample]["snr50"]["value"] for sample in ("all", "blank")),
        )
        return Struct(
            outcomes=outcomes,
            curve=curve,
            efficiency=efficiency_table(fits),
            metrics=metrics,
            completenessPlot=plot_completeness(curve, metrics),
            photometryPlot=plot_photometry(outcomes, curve),
            offsetPlot=plot_offsets(outcomes),
            efficiencyPlot=plot_efficiency(curve, fits["all", "magnitude"]),
            hostPlot=plot_hosts(outcomes, curve, fits["all", "product"]),
            focalPlanePlot=plot_focal_plane(outcomes),
        )


def _key(ref: DatasetRef) -> tuple[int, int]:
    return int(ref.dataId["visit"]), int(ref.dataId["detector"])


def _name(ref: DatasetRef) -> str:
    return f"{ref.datasetType.name} {ref.dataId}"
