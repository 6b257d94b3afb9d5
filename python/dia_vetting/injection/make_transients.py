"""The task that draws transients for every visit of a tract."""

from __future__ import annotations

__all__ = [
    "DimensionRecordError",
    "MakeTransientsConfig",
    "MakeTransientsConnections",
    "MakeTransientsTask",
    "visits_from_data_ids",
]

from collections.abc import Iterable, Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.daf.butler import DataCoordinate
from lsst.pex.config import Field as ConfigField
from lsst.pex.config import RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.sphgeom import Region

from ..errors import BadInputError
from .schemas import HOST_GALAXY, TRANSIENT_EPOCH, TRANSIENT_TEMPLATE_EPOCH, TRANSIENT_TRUTH
from .transients import Field, SeedPopulation, Visit


class DimensionRecordError(BadInputError):
    """A data ID whose dimension record has no region or no band."""


class MakeTransientsConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "skymap", "tract"),
    defaultTemplates={
        "visitImageType": "visit_image",
        "hostType": "host_galaxy",
        "truthType": "transient_truth",
        "epochType": "transient_epoch",
        "templateEpochType": "transient_template_epoch",
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
        doc="Images that will be injected into; only their data IDs are used.",
        name="{visitImageType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
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


class MakeTransientsConfig(PipelineTaskConfig, pipelineConnections=MakeTransientsConnections):
    """Configuration of `MakeTransientsTask`."""

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
        """Refuse a magnitude range that is empty, and fractions that exceed the whole."""
        super().validate()
        if self.fadedFraction + self.varyingFraction > 1.0:
            raise ValueError(
                f"fadedFraction {self.fadedFraction} and varyingFraction {self.varyingFraction} exceed 1."
            )
        if not self.minMagOffset < self.maxMagOffset:
            raise ValueError(
                f"minMagOffset {self.minMagOffset} is not below maxMagOffset {self.maxMagOffset}."
            )


class MakeTransientsTask(PipelineTask):
    """Draw transients on hosts, and some without, for every visit on its own."""

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
            region=_region(data_id, "tract"),
        )
        visits = visits_from_data_ids(ref.dataId for ref in inputRefs.visitImages)
        butlerQC.put(self.run(hosts, visits, field), outputRefs)

    def run(self, hosts: Table, visits: Sequence[Visit], field: Field) -> Struct:
        """Draw the transients of a tract.

        Parameters
        ----------
        hosts : `astropy.table.Table`
            In `~dia_vetting.injection.schemas.HOST_GALAXY`.
        visits : `~collections.abc.Sequence` of `~dia_vetting.injection.transients.Visit`
            Visits and the regions of their detectors.
        field : `~dia_vetting.injection.transients.Field`
            Names, seed and region of the tract.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``truth``, ``epochs`` and ``templateEpochs``, `astropy.table.Table`; of no rows if no host lies in
            a visit or none was drawn.
        """
        config = self.config
        model = SeedPopulation(
            config.hostFraction,
            config.hostlessFraction,
            (config.minMagOffset, config.maxMagOffset),
            config.fadedFraction,
            config.varyingFraction,
            config.starFraction,
        )
        population = model.draw(hosts, visits, field)
        hostless = int(np.count_nonzero(population.truth["host_id"] == 0))
        counts = {
            "hosts": len(hosts),
            "visits": len(visits),
            "hosts_in_visits": population.hosts_in_visits,
            "hosted": len(population.truth) - hostless,
            "hostless": hostless,
            **{kind: int(np.sum(population.truth["kind"] == kind)) for kind in ("faded", "varying")},
        }
        for name, count in counts.items():
            self.metadata[name] = count
        self.log.info("Drew transients: %s.", ", ".join(f"{name} {count}" for name, count in counts.items()))
        return Struct(
            truth=population.truth, epochs=population.epochs, templateEpochs=population.template_epochs
        )


def visits_from_data_ids(data_ids: Iterable[DataCoordinate]) -> list[Visit]:
    """Group data IDs of (visit, detector) into visits.

    Parameters
    ----------
    data_ids : `~collections.abc.Iterable` of `lsst.daf.butler.DataCoordinate`
        Expanded, with dimension records.

    Returns
    -------
    visits : `list` of `Visit`
        In order of their ids, detectors in order of theirs.

    Raises
    ------
    DimensionRecordError
        If a detector has no region or a visit no band.
    """
    bands: dict[int, str] = {}
    regions: dict[int, dict[int, Region]] = {}
    for data_id in data_ids:
        visit, detector = int(data_id["visit"]), int(data_id["detector"])
        bands[visit] = _band(data_id)
        regions.setdefault(visit, {})[detector] = _region(data_id, "visit_detector_region")
    return [
        Visit(visit, bands[visit], tuple(region for _, region in sorted(regions[visit].items())))
        for visit in sorted(bands)
    ]


def _region(data_id: DataCoordinate, element: str) -> Region:
    record = data_id.records[element] if data_id.hasRecords() else None
    if record is None or record.region is None:
        raise DimensionRecordError(str(data_id), f"a {element} record with a region", "none")
    region: Region = record.region
    return region


def _band(data_id: DataCoordinate) -> str:
    record = data_id.records["physical_filter"] if data_id.hasRecords() else None
    if record is None or record.band is None:
        raise DimensionRecordError(str(data_id), "a physical_filter record with a band", "none")
    return str(record.band)
