"""The task that puts the DIA sources of an instrument on a map by what a network sees in them."""

from __future__ import annotations

__all__ = ["EmbedReliabilityConfig", "EmbedReliabilityConnections", "EmbedReliabilityTask"]

import functools
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lsst.pipe.base.connectionTypes as cT
from astropy.table import Table
from lsst.pex.config import ChoiceField, Field, RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..errors import BadInputError
from .embedding_rows import EmbeddedRows, LazyCutouts, gather_features
from .schemas import RELIABILITY_EMBEDDING
from .shipped import DEFAULT_MODEL, check_name, shipped_model

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

    from .embedding import EmbeddingSettings
    from .model_dataset import ReliabilityModel


class EmbedReliabilityConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={"cutoutType": "dia_source_cutout", "modelName": ""},
):
    """Cutouts of all detectors and a model in, a position on a map and nearest neighbours per source out.

    ``modelName`` is the prefix that `.train_reliability.TrainReliabilityConnections` has.
    """

    cutouts = cT.Input(
        doc="Stamps of every DIA source, raw pixels.",
        name="{cutoutType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    model = cT.Input(
        doc="Networks, one per fold, with their model card.",
        name="{modelName}reliability_model",
        storageClass="ArrowTable",
        dimensions=("instrument",),
    )
    embedding = cT.Output(
        doc="Position of every DIA source on a map of what one network sees, and its nearest neighbours.",
        name="{modelName}reliability_embedding",
        storageClass="ArrowAstropy",
        dimensions=("instrument",),
    )
    embeddingSchema = cT.InitOutput(
        doc="Columns of the map.",
        name="{modelName}reliability_embedding_schema",
        storageClass="ArrowAstropy",
    )

    def __init__(self, *, config: EmbedReliabilityConfig) -> None:
        if config.modelSource == "shipped":
            del self.model


class EmbedReliabilityConfig(PipelineTaskConfig, pipelineConnections=EmbedReliabilityConnections):
    """Configuration of `EmbedReliabilityTask`."""

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
    network = RangeField[int](
        doc="Index of the network in the model whose last hidden layer makes the map. Features of different "
        "networks have nothing to do with each other, so that one has to see all sources, those too that it "
        "was trained on; the table marks their sky.",
        default=0,
        min=0,
    )
    neighbours = RangeField[int](
        doc="Rows that UMAP holds a row to: more show more of the whole.", default=15, min=2
    )
    minDist = RangeField[float](
        doc="Least distance of points on the map, in its units.", default=0.1, min=0.0
    )
    maxFitted = RangeField[int](
        doc="The map is fitted to a random draw of no more sources; each of the others is put between the "
        "three of these that are most like it. 20,000 take about half a minute.",
        default=20_000,
        min=10,
    )
    kept = RangeField[int](doc="Nearest neighbours that are kept of each source.", default=8, min=1)
    seed = Field[int](doc="Seed of the draw and of UMAP.", default=0)
    threads = RangeField[int](
        doc="Torch threads; 0 leaves what OMP_NUM_THREADS says. The last digits depend on it.",
        default=0,
        min=0,
    )

    def validate(self) -> None:  # noqa: D102
        super().validate()
        if self.modelSource == "shipped":
            check_name(self.shippedModel)

    def embedding_settings(self) -> EmbeddingSettings:
        """Return how to make the map."""
        from .embedding import EmbeddingSettings

        return EmbeddingSettings(self.neighbours, self.minDist, self.maxFitted, self.kept, self.seed)


class EmbedReliabilityTask(PipelineTask):
    """Put DIA sources on a map (see `.embedding`).

    Cutouts are read one detector at a time; only features are kept, 0.3 kB per source.
    """

    ConfigClass = EmbedReliabilityConfig
    _DefaultName = "embedReliability"
    config: EmbedReliabilityConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embeddingSchema = RELIABILITY_EMBEDDING.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        inputs = butlerQC.get(inputRefs)
        handles = {(int(h.dataId["visit"]), int(h.dataId["detector"])): h for h in inputs["cutouts"]}
        cutouts = [
            LazyCutouts(f"visit {key[0]}, detector {key[1]}", functools.partial(_read, handles[key]))
            for key in sorted(handles)
        ]
        butlerQC.put(self.run(cutouts, inputs.get("model")), outputRefs)

    def run(self, cutouts: Sequence[LazyCutouts], model: pa.Table | None = None) -> Struct:
        """Make the map.

        Parameters
        ----------
        cutouts : `~collections.abc.Sequence` of `.embedding_rows.LazyCutouts`
            One per detector.
        model : `pyarrow.Table`, optional
            In the format of `.model_dataset`; left out where the shipped one is configured.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``embedding``: `astropy.table.Table` in `RELIABILITY_EMBEDDING`'s schema, one row per cutout.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If there is no DIA source.
        BadInputError
            If the model has no network of that index, or model or cutouts cannot be used.
        DuplicateIdError
            If an id stands twice.
        """
        from .deterministic import deterministic_torch
        from .scoring import load_networks

        source, trained = self._model(model)
        if self.config.network >= len(trained.networks):
            expected = f"a network of index {self.config.network} (config: network)"
            raise BadInputError(source, expected, f"{len(trained.networks)} networks")
        with deterministic_torch(trained.card.seed, self.config.threads):
            network = load_networks(trained, source)[self.config.network]
            rows = gather_features(cutouts, trained, network, self.config.network)
        if not len(rows.table):
            raise NoWorkFound(f"There is no DIA source in {len(cutouts)} detectors.")
        self._count(rows)
        meta = {
            "model": source,
            "model_version": trained.card.version,
            "model_content_hash": trained.card.content_hash,
            "network": int(self.config.network),
            "seed": int(self.config.seed),
        }
        return Struct(embedding=rows.embedded(self.config.embedding_settings(), meta))

    def _model(self, table: pa.Table | None) -> tuple[str, ReliabilityModel]:
        from .model_dataset import from_table

        if self.config.modelSource == "shipped":
            return self.config.shippedModel, shipped_model(self.config.shippedModel)
        source = f"{self.config.connections.modelName}reliability_model"
        return source, from_table(table, source)

    def _count(self, rows: EmbeddedRows) -> None:
        counts = Counter(str(reason) or "with features" for reason in rows.table["reason"])
        for text, count in counts.items():
            self.metadata[text.replace(" ", "_")] = count
        self.log.info("DIA sources: %s.", ", ".join(f"{n} {text}" for text, n in sorted(counts.items())))


def _read(handle: Any, columns: Sequence[str]) -> Table:
    return handle.get(parameters={"columns": list(columns)})
