"""The task that gives every DIA source of a detector its reliability."""

__all__ = ["ScoreReliabilityConfig", "ScoreReliabilityConnections", "ScoreReliabilityTask"]

from collections import Counter
from typing import TYPE_CHECKING, Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.pex.config import ChoiceField, Field, RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
)

from .glint_trails import FARTHEST, TRAIL_RATE, chance_in_image, doubt_trails
from .schemas import DIA_SOURCE_CUTOUT, DIA_SOURCE_VETTING
from .shipped import DEFAULT_MODEL, check_name, shipped_model

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

    from .glint_trails import F32, Bool
    from .model_dataset import ModelCard, ReliabilityModel

_DETECTOR = ("instrument", "visit", "detector")
_KEPT = ("diaSourceId", "visit", "detector", "band", "ra", "dec", "snr")


class ScoreReliabilityConnections(
    PipelineTaskConnections,
    dimensions=_DETECTOR,
    defaultTemplates={"cutoutType": "dia_source_cutout", "modelName": ""},
):
    """Cutouts of a detector and a model in, a score per DIA source out.

    The model is a regular input, so that one quantum graph can train and score; there is none where
    ``modelSource`` is ``shipped``. ``modelName`` is the prefix that
    `.train_reliability.TrainReliabilityConnections` has.
    """

    cutouts = cT.Input(
        doc="Stamps of every DIA source, raw pixels.",
        name="{cutoutType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
    )
    model = cT.Input(
        doc="Networks, one per fold, with their model card.",
        name="{modelName}reliability_model",
        storageClass="ArrowTable",
        dimensions=("instrument",),
    )
    vetting = cT.Output(
        doc="Reliability of every DIA source.",
        name="{modelName}dia_source_vetting",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
    )
    vettingSchema = cT.InitOutput(
        doc="Columns of the table of scores.",
        name="{modelName}dia_source_vetting_schema",
        storageClass="ArrowAstropy",
    )

    def __init__(self, *, config: "ScoreReliabilityConfig") -> None:
        if config.modelSource == "shipped":
            del self.model


class ScoreReliabilityConfig(PipelineTaskConfig, pipelineConnections=ScoreReliabilityConnections):
    """Configuration of `ScoreReliabilityTask`."""

    modelSource = ChoiceField[str](
        doc="Where the model comes from.",
        allowed={
            "dataset": "The repository: one that was trained or imported there.",
            "shipped": "This package: the one that shippedModel names.",
        },
        default="dataset",
    )
    shippedModel = Field[str](
        doc="Name of the model that comes with this package (dia-vetting shipped-models lists them).",
        default=DEFAULT_MODEL,
    )
    prevalence = RangeField[float](
        doc="Fraction of real sources among the DIA sources, for which reliability is a probability; that of "
        "the model's card by default.",
        default=None,
        optional=True,
        min=0.0,
        max=1.0,
        inclusiveMin=False,
    )
    doGlintTrails = Field[bool](
        doc="Lower the reliability of sources in line at equal distances, as flashes of a satellite are?",
        default=True,
    )
    glintTrailRate = RangeField[float](
        doc="Trails of glints that are expected in the image of a detector.",
        default=TRAIL_RATE,
        min=0.0,
        inclusiveMin=False,
    )
    glintSpacing = RangeField[float](
        doc="Largest distance of two flashes in a row, arcsec.",
        default=FARTHEST,
        min=0.0,
        inclusiveMin=False,
    )
    threads = RangeField[int](
        doc="Torch threads; 0 leaves what OMP_NUM_THREADS says. The last digits of a score depend on it.",
        default=0,
        min=0,
    )

    def validate(self) -> None:  # noqa: D102
        super().validate()
        if self.modelSource == "shipped":
            check_name(self.shippedModel)


class ScoreReliabilityTask(PipelineTask):
    """Score DIA sources, out of fold where their sky was trained on (see `.scoring`)."""

    ConfigClass = ScoreReliabilityConfig
    _DefaultName = "scoreReliability"
    config: ScoreReliabilityConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vettingSchema = DIA_SOURCE_VETTING.describe()

    def run(self, cutouts: Table, model: "pa.Table | None" = None) -> Struct:
        """Score.

        Parameters
        ----------
        cutouts : `astropy.table.Table`
            In `DIA_SOURCE_CUTOUT`'s schema.
        model : `pyarrow.Table`, optional
            In the format of `.model_dataset`; left out where the shipped one is configured.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``vetting``: `astropy.table.Table` in `DIA_SOURCE_VETTING`'s schema, rows as in ``cutouts``.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If there is no DIA source.
        ModelCardError, NewerFormatError, TensorError, ContentHashError
            If the model cannot be read.
        InputLayoutError, UnknownArchitectureError, UnknownOptionError
            If this version of the package cannot run the model.
        TableSchemaError, InjectionLeakError, StampSizeError
            If the cutouts cannot be used.
        """
        names = self.config.connections
        DIA_SOURCE_CUTOUT.check(cutouts, names.cutoutType)
        if not len(cutouts):
            raise NoWorkFound(f"{names.cutoutType}: there is no DIA source to score.")
        from .deterministic import deterministic_torch
        from .scoring import load_networks, score_cutouts

        source, trained = self._model(model)
        meta = self._tell(source, trained.card)
        with deterministic_torch(trained.card.seed, self.config.threads):
            networks = load_networks(trained, source)
            scores = score_cutouts(trained, cutouts, networks, names.cutoutType, self.config.prevalence)
        rate = trained.card.prevalence if self.config.prevalence is None else self.config.prevalence
        reliability, trail = self._trails(cutouts, scores.reliability, rate)
        self._count(scores.reason)
        kept = {name: cutouts[name] for name in _KEPT}
        own = {
            "reliability": reliability,
            "reliability_err": scores.reliability_err,
            "ood": scores.ood,
            "glint_trail": trail,
            "fold": scores.fold,
            "model": np.full(len(cutouts), source),
            "version": np.full(len(cutouts), trained.card.version),
            "reason": scores.reason,
        }
        return Struct(vetting=DIA_SOURCE_VETTING.build(kept | own, meta))

    def _trails(self, cutouts: Table, reliability: "F32", prevalence: float) -> "tuple[F32, Bool]":
        """Lower the reliability of flashes in a row, and tell which they are."""
        if not self.config.doGlintTrails:
            return reliability, np.zeros(len(cutouts), dtype=bool)
        # More likely real than not where half of the sources are: the ones that a trail could be made of.
        candidate = np.nan_to_num(reliability, nan=0.0) >= prevalence
        images = np.stack([np.asarray(cutouts[name]) for name in ("visit", "detector")], axis=1)
        chance = np.full(len(cutouts), np.inf)
        for image in np.unique(images, axis=0):
            rows = np.flatnonzero((images == image).all(axis=1))
            chance[rows] = chance_in_image(cutouts[rows], candidate[rows], self.config.glintSpacing)
        lowered, trail = doubt_trails(reliability, chance, self.config.glintTrailRate)
        self.metadata["glint_trail"] = int(trail.sum())
        return lowered, trail

    def _model(self, table: "pa.Table | None") -> "tuple[str, ReliabilityModel]":
        """Return the configured model and what it is called."""
        from .model_dataset import from_table

        if self.config.modelSource == "shipped":
            return self.config.shippedModel, shipped_model(self.config.shippedModel)
        source = f"{self.config.connections.modelName}reliability_model"
        return source, from_table(table, source)

    def _tell(self, name: str, card: "ModelCard") -> dict[str, str]:
        """Say which model scores, in the log and in the task metadata, and return it for the table."""
        notes = {
            "model": name,
            "model_source": str(self.config.modelSource),
            "model_version": card.version,
            "model_content_hash": card.content_hash,
            "architecture": card.architecture,
        }
        for key, value in notes.items():
            self.metadata[key] = value
        self.log.info("Model %s (%s), version %s, hash %s.", *list(notes.values())[:4])
        return notes

    def _count(self, reason: np.ndarray[tuple[int], np.dtype[np.str_]]) -> None:
        counts = Counter(str(text) or "scored" for text in reason)
        for text, count in counts.items():
            self.metadata[text.replace(" ", "_")] = count
        self.log.info("DIA sources: %s.", ", ".join(f"{n} {text}" for text, n in sorted(counts.items())))
