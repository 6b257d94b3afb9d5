"""The task that gives every DIA object of a tract its verdict."""

from __future__ import annotations

__all__ = [
    "ConfirmLightCurvesConfig",
    "ConfirmLightCurvesConnections",
    "ConfirmLightCurvesTask",
    "ObjectColumnsConfig",
    "read_neighbourhood",
]

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from astropy.table import Table, vstack
from lsst.daf.butler import DatasetRef, DeferredDatasetHandle
from lsst.pex.config import ChoiceField, Config, ConfigField, DictField, Field, RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from ..blends.schemas import DIA_SOURCE_BLEND
from ..embedded.source_schemas import DIA_OBJECT, DIA_OBJECT_FORCED_SOURCE, DIA_SOURCE
from ..injection.object_table import ObjectTableNames, read_id, read_objects
from ..reliability.schemas import DIA_SOURCE_VETTING
from ..reliability.shipped import DEFAULT_MODEL, shipped_model
from ..tables import TableSchema
from .catalogs import Neighbourhood, neighbourhood, reference_stars
from .combination import CORRELATION
from .confirmation_connections import ConfirmLightCurvesConnections
from .context import Stars
from .grouping import positions
from .object_columns import ContextSettings, ObjectInputs
from .rule import load_rule
from .schemas import CLASSES, DIA_OBJECT_VERDICT
from .verdicts import Criteria, verdict_table

_OBJECT_COLUMNS = ("diaObjectId", "ra", "dec")
_SOURCE_COLUMNS = (
    *("diaSourceId", "diaObjectId", "visit", "detector", "band", "midpointMjdTai"),
    *("ra", "dec", "psfFlux", "psfFluxErr", "snr"),
)
_FORCED_COLUMNS = (
    *("diaObjectId", "visit", "detector", "band", "midpointMjdTai"),
    *("psfDiffFlux", "psfDiffFluxErr"),
)
_SCORE_COLUMNS = ("diaSourceId", "reliability", "ood", "glint_trail")
_BLEND_COLUMNS = ("diaSourceId", "p_blend")


class ObjectColumnsConfig(Config):  # type: ignore[misc]
    """Columns of the object table; ``{band}`` stands for the reference band."""

    band = Field[str](doc="Reference band.", default="r")
    idColumn = Field[str](doc="Id of the object.", default="objectId")
    raColumn = Field[str](doc="ICRS right ascension.", default="coord_ra")
    decColumn = Field[str](doc="ICRS declination.", default="coord_dec")
    xColumn = Field[str](doc="Column in the pixel frame of the tract.", default="x")
    yColumn = Field[str](doc="Row in the pixel frame of the tract.", default="y")
    xxColumn = Field[str](doc="Second moment along x (DP2: {band}_ixx).", default="shape_xx")
    yyColumn = Field[str](doc="Second moment along y (DP2: {band}_iyy).", default="shape_yy")
    xyColumn = Field[str](doc="Mixed second moment (DP2: {band}_ixy).", default="shape_xy")
    extendednessColumn = Field[str](doc="1 for galaxies, 0 for stars.", default="refExtendedness")
    fluxColumn = Field[str](doc="Total flux; its error is the column and 'Err'.", default="{band}_kronFlux")
    primaryFlag = Field[str](doc="Flag that objects must have.", default="detect_isPrimary")

    def names(self) -> ObjectTableNames:
        """Return the names."""
        return ObjectTableNames(
            *(self.raColumn, self.decColumn, self.xColumn, self.yColumn),
            *(self.xxColumn, self.yyColumn, self.xyColumn, self.extendednessColumn, self.fluxColumn),
            true_flags=(self.primaryFlag,),
            false_flags=(),
        )


def read_neighbourhood(
    table: Table, source: str, columns: ObjectColumnsConfig | None = None, bright: float = 17.5
) -> Neighbourhood:
    """Read galaxies and stars of an object table.

    Parameters
    ----------
    table : `astropy.table.Table`
        Objects.
    source : `str`
        Dataset type and data ID, for messages.
    columns : `ObjectColumnsConfig`, optional
        Names of its columns.
    bright : `float`, optional
        Extended objects brighter than this are stars, AB.
    """
    columns = columns or ObjectColumnsConfig()
    measured = read_objects(table, columns.names(), columns.band, source)
    return neighbourhood(read_id(table, columns.idColumn, source), measured, 0.5, bright)


class ConfirmLightCurvesConfig(PipelineTaskConfig, pipelineConnections=ConfirmLightCurvesConnections):
    """Configuration of `ConfirmLightCurvesTask`."""

    doForced = Field[bool](doc="Use forced photometry.", default=True)
    doBlends = Field[bool](doc="Say which objects are on blends.", default=True)
    doObjects = Field[bool](doc="Look for hosts and stars in the object table.", default=True)
    doReferenceStars = Field[bool](
        doc="Look for stars in a reference catalogue, instead of the object table.", default=False
    )
    objectColumns = ConfigField[ObjectColumnsConfig](
        doc="Columns of the object table.", dtype=ObjectColumnsConfig
    )
    modelSource = ChoiceField[str](
        doc="What gave the scores, and so knows the prevalence at which they are probabilities.",
        allowed={"dataset": "The model in the repository.", "shipped": "The shipped model."},
        default="dataset",
    )
    shippedModel = Field[str](doc="Name of the shipped model.", default=DEFAULT_MODEL)
    scorePrevalence = RangeField[float](
        doc="That prevalence, where scoreReliability was given another one.",
        default=None,
        optional=True,
        min=0.0,
        max=1.0,
        inclusiveMin=False,
    )
    correlation = RangeField[float](
        doc="Correlation of the scores of two artefacts at one place.",
        default=CORRELATION,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    psfFwhm = RangeField[float](doc="Typical FWHM of the PSF, arcsec.", default=0.8, min=0.0)
    hostReach = RangeField[float](doc="Largest distance of a host, arcsec.", default=15.0, min=0.0)
    hostRadii = RangeField[float](doc="Largest distance of a host in its rms radii.", default=5.0, min=0.0)
    starReach = RangeField[float](doc="Largest distance of a star, arcsec.", default=10.0, min=0.0)
    brightMagnitude = Field[float](
        doc="Extended objects brighter than this are taken for saturated stars.", default=17.5
    )
    longitude = Field[float](
        doc="Of the site, degrees east: for the nights of visits whose day_obs is not known.", default=-70.75
    )
    confirmProbability = RangeField[float](
        doc="Least probability of a confirmed transient.", default=0.95, min=0.0, max=1.0
    )
    minDetections = RangeField[int](doc="Least number of visits with a detection of these.", default=3, min=1)
    minNights = RangeField[int](doc="Least number of nights with a detection of these.", default=2, min=1)
    leastProbability = RangeField[float](
        doc="An object with no more probable class is unknown.", default=0.5, min=0.0, max=1.0
    )
    priorShift = DictField[str, float](
        doc="What is added to the log-odds of a class over artefact, where it is more (or less) frequent "
        "than in the simulated survey that the rule was made from.",
        default={},
        keyCheck=lambda name: name in CLASSES[:-1],
    )

    def settings(self, prevalence: float) -> ContextSettings:
        """Return how to look at objects."""
        return ContextSettings(
            prevalence=prevalence,
            correlation=self.correlation,
            psf_fwhm=self.psfFwhm,
            host_reach=self.hostReach,
            host_radii=self.hostRadii,
            star_reach=self.starReach,
            longitude=self.longitude,
        )

    def criteria(self) -> Criteria:
        """Return when a probability becomes a verdict."""
        return Criteria(
            confirm=self.confirmProbability,
            min_detections=self.minDetections,
            min_nights=self.minNights,
            least=self.leastProbability,
            prior_shift=dict(self.priorShift),
        )


class ConfirmLightCurvesTask(PipelineTask):
    """Give every DIA object its verdict (see `.verdicts`)."""

    ConfigClass = ConfirmLightCurvesConfig
    _DefaultName = "confirmLightCurves"
    config: ConfirmLightCurvesConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verdictSchema = DIA_OBJECT_VERDICT.describe()

    def runQuantum(  # noqa: D102
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        known = self._neighbourhood(butlerQC, inputRefs)
        stars = self._reference_stars(butlerQC, inputRefs) or (known.stars if known else None)
        inputs = ObjectInputs(
            butlerQC.get(inputRefs.diaObjects),
            butlerQC.get(inputRefs.diaSources),
            _stacked(butlerQC.get(inputRefs.scores), DIA_SOURCE_VETTING, _SCORE_COLUMNS),
            self._optional(butlerQC, inputRefs, "blends", DIA_SOURCE_BLEND, _BLEND_COLUMNS),
            self._forced(butlerQC, inputRefs),
            _nights([*inputRefs.scores, *inputRefs.visits]),
            known.galaxies if known else None,
            stars,
        )
        butlerQC.put(self.run(inputs, self._prevalence(butlerQC, inputRefs)), outputRefs)

    def run(self, inputs: ObjectInputs, prevalence: float) -> Struct:
        """Give verdicts.

        Parameters
        ----------
        inputs : `~.object_columns.ObjectInputs`
            What is known of the objects of a tract.
        prevalence : `float`
            At which the scores are probabilities.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``verdicts``: `astropy.table.Table` in `~.schemas.DIA_OBJECT_VERDICT`, a row for each distinct
            object.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If there is no object.
        TableSchemaError
            If a column is missing or has another unit.
        """
        names = self.config.connections
        DIA_OBJECT.check(inputs.objects, names.diaObjectType, _OBJECT_COLUMNS)
        DIA_SOURCE.check(inputs.sources, names.diaSourceType, _SOURCE_COLUMNS)
        if inputs.forced is not None:
            DIA_OBJECT_FORCED_SOURCE.check(inputs.forced, names.forcedSourceType, _FORCED_COLUMNS)
        if not len(inputs.objects):
            raise NoWorkFound(f"{names.diaObjectType}: there is no object to judge.")
        table = verdict_table(inputs, self.config.settings(prevalence), self.config.criteria(), load_rule())
        self._count(inputs, table)
        return Struct(verdicts=table)

    def _count(self, inputs: ObjectInputs, table: Table) -> None:
        """Say how many of each verdict there are, and which rows were left out."""
        for verdict, count in Counter(table["verdict"].tolist()).items():
            self.metadata[str(verdict)] = count
        kept = int(table["nDiaSources"].sum())
        orphans = int((positions(inputs.sources["diaObjectId"], table["diaObjectId"]) < 0).sum())
        self.metadata["objects_duplicated"] = len(inputs.objects) - len(table)
        self.metadata["sources_without_object"] = orphans
        self.metadata["sources_duplicated"] = len(inputs.sources) - kept - orphans
        self.metadata["points_left_out"] = int(table["nLeftOut"].sum())
        counts = Counter(table["verdict"].tolist())
        self.log.info("Verdicts: %s.", ", ".join(f"{n} {name}" for name, n in counts.most_common()))

    def _prevalence(self, butlerQC: QuantumContext, inputRefs: Any) -> float:
        if self.config.scorePrevalence is not None:
            return float(self.config.scorePrevalence)
        if self.config.modelSource == "shipped":
            return float(shipped_model(self.config.shippedModel).card.prevalence)
        from ..reliability.model_dataset import from_table

        name = f"{self.config.connections.modelName}reliability_model"
        return float(from_table(butlerQC.get(inputRefs.model[0]), name).card.prevalence)

    def _neighbourhood(self, butlerQC: QuantumContext, inputRefs: Any) -> Neighbourhood | None:
        if not self.config.doObjects:
            return None
        handle: DeferredDatasetHandle = butlerQC.get(inputRefs.objects)
        names, there = self.config.objectColumns, set(handle.get(component="columns"))
        wanted = [str(value) for field, value in names.items() if field not in ("band",)]
        wanted += [f"{names.fluxColumn}Err"]
        columns = [name for name in (w.format(band=names.band) for w in wanted) if name in there]
        table = handle.get(parameters={"columns": columns})
        source = f"{inputRefs.objects.datasetType.name} {inputRefs.objects.dataId}"
        return read_neighbourhood(table, source, names, self.config.brightMagnitude)

    def _reference_stars(self, butlerQC: QuantumContext, inputRefs: Any) -> Stars | None:
        if not self.config.doReferenceStars:
            return None
        name = self.config.connections.starType
        tables = [butlerQC.get(ref) for ref in inputRefs.referenceStars]
        return reference_stars(vstack(tables, metadata_conflicts="silent"), name) if tables else None

    def _forced(self, butlerQC: QuantumContext, inputRefs: Any) -> Table | None:
        if not self.config.doForced:
            return None
        tables = [butlerQC.get(ref) for ref in inputRefs.forcedSources]
        return vstack(tables, metadata_conflicts="silent") if tables else None

    def _optional(
        self, butlerQC: QuantumContext, inputRefs: Any, name: str, schema: TableSchema, columns: Sequence[str]
    ) -> Table | None:
        if not hasattr(inputRefs, name):
            return None
        return _stacked(butlerQC.get(getattr(inputRefs, name)), schema, columns)


def _stacked(
    handles: Iterable[DeferredDatasetHandle], schema: TableSchema, columns: Sequence[str]
) -> Table | None:
    """Read some columns of all images and stack them; `None` if there is no image."""
    tables = [
        schema.check(handle.get(parameters={"columns": list(columns)}), str(handle.ref), columns)
        for handle in handles
    ]
    filled = [table for table in tables if len(table)]
    return vstack(filled, metadata_conflicts="silent") if filled else None


def _nights(refs: Iterable[DatasetRef]) -> dict[int, int]:
    """Return day_obs by visit, of the data IDs of images."""
    return {int(ref.dataId["visit"]): int(ref.dataId["day_obs"]) for ref in refs}
