"""The task that draws transients for every visit of a tract."""

from __future__ import annotations

__all__ = [
    "MakeTransientsConfig",
    "MakeTransientsConnections",
    "MakeTransientsTask",
]

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import astropy.units as u
import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.images import VisitImage
from lsst.pex.config import ConfigField as SubConfigField
from lsst.pex.config import Field as ConfigField
from lsst.pex.config import ListField, RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from numpy.typing import NDArray

from ..masks import MaskBit
from ..tables import stack_tables
from .object_table import read_column
from .population_config import AgnConfig, MovingConfig, StaticConfig, SupernovaConfig, VariableConfig
from .schemas import HOST_GALAXY, TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH
from .transients import Field, Population, PopulationModel, SeedPopulation, Visit
from .visit_facts import masked_ids, with_depths
from .visit_records import DimensionRecordError, region_of, visits_from_data_ids

type F64 = NDArray[np.float64]

_POPULATIONS = ("seed", "static", "supernova", "variable", "agn", "moving")


class MakeTransientsConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "skymap", "tract"),
    defaultTemplates={
        "visitImageType": "visit_image",
        "hostType": "host_galaxy",
        "truthType": "transient_truth",
        "epochType": "transient_epoch",
        "templateEpochType": "transient_template_epoch",
        "templateExposureType": "template_visit_image",
        "avoidType": "known_source",
    },
):
    """Hosts and the data IDs of the visits in, transients and their epochs out."""

    hosts = cT.Input(
        doc="Galaxies that may host a transient.",
        name="{hostType}",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
    )
    visitImages = cT.Input(
        doc="Images that will be injected into: their data IDs, and pixels for flat_snr and avoidMaskPlanes.",
        name="{visitImageType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    templateExposures = cT.Input(
        doc="Exposures that the templates are made of; only their data IDs are used.",
        name="{templateExposureType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    avoid = cT.PrerequisiteInput(
        doc="Known variables, Solar System objects, anything to keep away from: columns ra and dec.",
        name="{avoidType}",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
        multiple=True,
    )
    truth = cT.Output(
        doc="One row per transient.",
        name="{truthType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "skymap", "tract"),
    )
    epochs = cT.Output(
        doc="One row per transient and visit.",
        name="{epochType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "skymap", "tract"),
    )
    templateEpochs = cT.Output(
        doc="Light that the template of a visit has of its transients: one row per transient and visit.",
        name="{templateEpochType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "skymap", "tract"),
    )
    truthSchema = cT.InitOutput(
        doc="Columns of the truth table.", name="{truthType}_schema", storageClass="ArrowAstropy"
    )
    epochSchema = cT.InitOutput(
        doc="Columns of the epoch table.", name="{epochType}_schema", storageClass="ArrowAstropy"
    )
    templateEpochSchema = cT.InitOutput(
        doc="Columns of the table of light in the templates.",
        name="{templateEpochType}_schema",
        storageClass="ArrowAstropy",
    )

    def __init__(self, *, config: Any = None) -> None:
        super().__init__(config=config)
        if config.doTemplateExposures:
            # A visit is either a template or a science exposure: no row of a common query would have both.
            self.visitImages = dataclasses.replace(self.visitImages, deferGraphConstraint=True)
        else:
            del self.templateExposures
        if not config.doAvoid:
            del self.avoid


class MakeTransientsConfig(PipelineTaskConfig, pipelineConnections=MakeTransientsConnections):
    """Configuration of `MakeTransientsTask`: the seed recipe at the top, other populations in sections."""

    populations = ListField[str](
        doc=f"Populations to draw, of {', '.join(_POPULATIONS)}; each has a section of its name.",
        default=["seed"],
    )
    static = SubConfigField[StaticConfig](doc="Drawn anew in every visit.", dtype=StaticConfig)
    supernova = SubConfigField[SupernovaConfig](doc="Supernovae.", dtype=SupernovaConfig)
    variable = SubConfigField[VariableConfig](doc="Stars that vary.", dtype=VariableConfig)
    agn = SubConfigField[AgnConfig](doc="Active nuclei.", dtype=AgnConfig)
    moving = SubConfigField[MovingConfig](doc="Moving objects.", dtype=MovingConfig)
    doTemplateExposures = ConfigField[bool](
        doc="Put the light that transients had at the times of the template exposures into "
        "transient_template_epoch.",
        default=False,
    )
    doAvoid = ConfigField[bool](doc="Read positions to keep away from.", default=False)
    avoidMaskPlanes = ListField[str](
        doc="Leave out transients that lie on these planes in all of their visits; reads the visit images. "
        "Not for the seed recipe, which is kept as it is.",
        default=[],
    )
    seed = ConfigField[int](doc="Seed of the campaign: same seed, same transients and ids.", default=0)
    hostFraction = RangeField[float](
        doc="Probability that a host has a transient in a visit.",
        default=0.03,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    hostlessFraction = RangeField[float](
        doc="Expected fraction of host-less transients in the total.",
        default=0.05,
        min=0.0,
        max=1.0,
        inclusiveMax=False,
    )
    minMagOffset = ConfigField[float](doc="Brightest transient, magnitude minus its host's.", default=-1.0)
    maxMagOffset = ConfigField[float](doc="Faintest transient, magnitude minus its host's.", default=3.0)
    fadedFraction = RangeField[float](
        doc="Fraction of the transients that are in the template instead of the visit, so that their "
        "difference is negative. Needs injectTemplates in the pipeline.",
        default=0.0,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    varyingFraction = RangeField[float](
        doc="Fraction of the transients that are in both, brighter or fainter. Needs injectTemplates too.",
        default=0.0,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    starFraction = RangeField[float](
        doc="Probability that a star gets brighter or, as often, fainter in a visit. Needs injectTemplates, "
        "and selectHosts:withStars, without which there are no stars among the hosts.",
        default=0.0,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )

    def validate(self) -> None:
        """Refuse unknown names, a magnitude range that is empty, and fractions that exceed the whole."""
        super().validate()
        for name in self.populations:
            if name not in _POPULATIONS:
                raise ValueError(f"populations: expected some of {', '.join(_POPULATIONS)}, found {name!r}.")
        if len(set(self.populations)) < len(self.populations):
            raise ValueError(f"populations: expected each once, found {', '.join(self.populations)}.")
        for name in self.avoidMaskPlanes:
            if name not in MaskBit.__members__:
                raise ValueError(
                    f"avoidMaskPlanes: expected some of {', '.join(MaskBit.__members__)}, found {name!r}."
                )
        if self.fadedFraction + self.varyingFraction > 1.0:
            raise ValueError(
                f"fadedFraction {self.fadedFraction} and varyingFraction {self.varyingFraction} exceed 1."
            )
        if not self.minMagOffset < self.maxMagOffset:
            raise ValueError(
                f"minMagOffset {self.minMagOffset} is not below maxMagOffset {self.maxMagOffset}."
            )


class MakeTransientsTask(PipelineTask):
    """Draw transients on hosts, and some without, for all visits of a tract."""

    ConfigClass = MakeTransientsConfig
    _DefaultName = "makeTransients"
    config: MakeTransientsConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.truthSchema = TRANSIENT_TRUTH.describe()
        self.epochSchema = TRANSIENT_EPOCH.describe()
        self.templateEpochSchema = TRANSIENT_TEMPLATE_EPOCH.describe()

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read the hosts; take visits and regions from the dimension records of the data IDs."""
        data_id = butlerQC.quantum.dataId
        assert data_id is not None, "every quantum has a data ID"
        hosts = butlerQC.get(inputRefs.hosts)
        HOST_GALAXY.check(hosts, f"{inputRefs.hosts.datasetType.name} {inputRefs.hosts.dataId}")
        field = Field(
            seed=self.config.seed,
            instrument=str(data_id["instrument"]),
            skymap=str(data_id["skymap"]),
            tract=int(data_id["tract"]),
            region=region_of(data_id, "tract"),
        )
        visits = visits_from_data_ids(ref.dataId for ref in inputRefs.visitImages)
        templates = (
            visits_from_data_ids(ref.dataId for ref in inputRefs.templateExposures)
            if self.config.doTemplateExposures
            else []
        )
        avoid = [butlerQC.get(ref) for ref in inputRefs.avoid] if self.config.doAvoid else []
        images = {
            (int(ref.dataId["visit"]), int(ref.dataId["detector"])): butlerQC.get(ref)
            for ref in (inputRefs.visitImages if self._needs_depths() or self.config.avoidMaskPlanes else [])
        }
        butlerQC.put(self.run(hosts, visits, field, templates, avoid, images), outputRefs)

    def _needs_depths(self) -> bool:
        return bool("static" in self.config.populations and self.config.static.brightness == "flat_snr")

    def run(
        self,
        hosts: Table,
        visits: Sequence[Visit],
        field: Field,
        templates: Sequence[Visit] = (),
        avoid: Sequence[Table] = (),
        images: Mapping[tuple[int, int], DeferredDatasetHandle] | None = None,
    ) -> Struct:
        """Draw the transients of a tract.

        Parameters
        ----------
        hosts : `astropy.table.Table`
            In `~dia_vetting.injection.schemas.HOST_GALAXY`.
        visits : `~collections.abc.Sequence` of `~dia_vetting.injection.transients.Visit`
            Visits and the regions of their detectors.
        field : `~dia_vetting.injection.transients.Field`
            Names, seed and region of the tract.
        templates : `~collections.abc.Sequence` of `~dia_vetting.injection.transients.Visit`, optional
            Exposures of the templates.
        avoid : `~collections.abc.Sequence` of `astropy.table.Table`, optional
            Positions to keep away from: ``ra``, ``dec``, degrees.
        images : `~collections.abc.Mapping`, optional
            Handles of the visit images by (visit, detector), where depths or masks are asked for.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``truth``, ``epochs`` and ``templateEpochs``, `astropy.table.Table`; of no rows if no host lies in
            a visit or none was drawn.
        """
        images = images or {}
        if images and self._needs_depths():
            visits = with_depths(visits, images)
        source, drawn = self.config.connections.avoidType, []
        avoid_ra, avoid_dec = (
            np.concatenate([np.empty(0), *(read_column(table, name, u.deg, source) for table in avoid)])
            for name in ("ra", "dec")
        )
        if not all(np.isfinite(exposure.mjd) for exposure in templates):
            raise DimensionRecordError("template exposures", "visit records with a timespan", "one without")
        for name in self.config.populations:
            model = self._model(name, (avoid_ra, avoid_dec), visits)
            drawn.append(self._draw(model, hosts, visits, field, templates))
            if name not in ("seed", "moving"):  # the next population keeps away from this one
                avoid_ra = np.concatenate([avoid_ra, np.asarray(drawn[-1].truth["ra"], float)])
                avoid_dec = np.concatenate([avoid_dec, np.asarray(drawn[-1].truth["dec"], float)])
        truth = stack_tables([population.truth for population in drawn], TRANSIENT_TRUTH)
        epochs = stack_tables([population.epochs for population in drawn], TRANSIENT_EPOCH)
        below = stack_tables([population.template_epochs for population in drawn], TRANSIENT_TEMPLATE_EPOCH)
        if self.config.avoidMaskPlanes and images:
            truth, epochs, below = self._in_the_open(truth, epochs, below, images)
        hostless = int(np.count_nonzero(truth["host_id"] == 0))
        counts = {
            "hosts": len(hosts),
            "visits": len(visits),
            "hosts_in_visits": max((population.hosts_in_visits for population in drawn), default=0),
            "hosted": len(truth) - hostless,
            "hostless": hostless,
            "epochs": len(epochs),
            **{kind: int(np.sum(truth["kind"] == kind)) for kind in ("faded", "varying", "moving")},
        }
        for name, count in counts.items():
            self.metadata[name] = count
        self.log.info("Drew transients: %s.", ", ".join(f"{name} {count}" for name, count in counts.items()))
        return Struct(truth=truth, epochs=epochs, templateEpochs=below)

    def _model(self, name: str, avoid: tuple[F64, F64], visits: Sequence[Visit]) -> PopulationModel:
        """Return the model of a population that keeps away from positions."""
        config = self.config
        times = [visit.mjd for visit in visits]
        if name not in ("seed", "static") and not np.isfinite(times).all():
            raise DimensionRecordError(f"population {name}", "visit records with a timespan", "one without")
        span = (min(times, default=0.0), max(times, default=0.0))
        makers: dict[str, Callable[[], PopulationModel]] = {
            "seed": lambda: SeedPopulation(
                config.hostFraction,
                config.hostlessFraction,
                (config.minMagOffset, config.maxMagOffset),
                config.fadedFraction,
                config.varyingFraction,
                config.starFraction,
            ),
            "static": lambda: config.static.model(avoid),
            "supernova": lambda: config.supernova.model(avoid, span),
            "variable": lambda: config.variable.model(avoid),
            "agn": lambda: config.agn.model(avoid),
            "moving": lambda: config.moving.model(),
        }
        return makers[name]()

    def _draw(
        self,
        model: PopulationModel,
        hosts: Table,
        visits: Sequence[Visit],
        field: Field,
        templates: Sequence[Visit],
    ) -> Population:
        """Draw one population; count what it left out."""
        population = model.draw(hosts, visits, field, templates)
        left_out = {reason: count for reason, count in population.left_out.items() if count}
        self.metadata[f"left_out_{model.name}"] = left_out
        if left_out:
            self.log.info("Population %s left out: %s.", model.name, left_out)
        return population

    def _in_the_open(
        self,
        truth: Table,
        epochs: Table,
        below: Table,
        images: Mapping[tuple[int, int], DeferredDatasetHandle],
    ) -> tuple[Table, Table, Table]:
        """Drop transients that are masked in all of their visits; those of the seed recipe stay."""
        masked, in_the_open = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for (visit, detector), handle in sorted(images.items()):
            source = f"{self.config.connections.visitImageType} (visit {visit}, detector {detector})"
            image: VisitImage = handle.get()
            ids, is_masked = masked_ids(epochs, image, list(self.config.avoidMaskPlanes), visit, source)
            masked.append(ids[is_masked])
            in_the_open.append(ids[~is_masked])
        dropped = np.setdiff1d(np.concatenate(masked), np.concatenate(in_the_open))
        seed_ids = np.asarray(truth["injection_id"])[np.asarray(truth["model"]) == "seed"]
        dropped = np.setdiff1d(dropped, seed_ids)
        kept = [table[~np.isin(table["injection_id"], dropped)] for table in (truth, epochs, below)]
        self.metadata["left_out_masked"] = len(truth) - len(kept[0])
        return kept[0], kept[1], kept[2]
