"""The task that groups the DIA sources of a tract into DIA objects."""

__all__ = ["AssociateDiaSourcesConfig", "AssociateDiaSourcesConnections", "AssociateDiaSourcesTask"]

from collections.abc import Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.pex.config import Field
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from numpy.typing import NDArray

from ..seeding import hash63
from ..tables import stack_tables
from .association import associate, unit_vectors
from .source_schemas import BANDS, DIA_OBJECT, DIA_SOURCE


class AssociateDiaSourcesConnections(PipelineTaskConnections, dimensions=("skymap", "tract")):
    """DIA sources of all visits in; one source table and one object table per tract out."""

    sources = cT.Input(
        doc="DIA sources of each detector.",
        name="dia_source_detector",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
    )
    diaSources = cT.Output(
        doc="All DIA sources of the tract, with their object.",
        name="dia_source",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
    )
    diaObjects = cT.Output(
        doc="DIA objects of the tract.",
        name="dia_object",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
    )
    diaObjectSchema = cT.InitOutput(
        doc="Columns of the object table.", name="dia_object_schema", storageClass="ArrowAstropy"
    )


class AssociateDiaSourcesConfig(PipelineTaskConfig, pipelineConnections=AssociateDiaSourcesConnections):
    """Configuration of `AssociateDiaSourcesTask`."""

    radius = Field[float](doc="Largest distance of a source to its object, arcsec.", default=0.6)


class AssociateDiaSourcesTask(PipelineTask):
    """Group the DIA sources of a tract into DIA objects (see `.association`)."""

    ConfigClass = AssociateDiaSourcesConfig
    _DefaultName = "associateDiaSources"
    config: AssociateDiaSourcesConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.diaObjectSchema = DIA_OBJECT.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        data_id = butlerQC.quantum.dataId
        assert data_id is not None
        inputs = butlerQC.get(inputRefs)
        outputs = self.run(**inputs, skymap=str(data_id["skymap"]), tract=int(data_id["tract"]))
        butlerQC.put(outputs, outputRefs)

    def run(self, sources: Sequence[Table], skymap: str, tract: int) -> Struct:
        """Associate.

        Parameters
        ----------
        sources : `~collections.abc.Sequence` of `astropy.table.Table`
            DIA sources of each detector, in `DIA_SOURCE`'s schema.
        skymap : `str`
            Name of the skymap.
        tract : `int`
            Tract.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``diaSources`` (all rows, with diaObjectId) and ``diaObjects``.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If there is no source at all.
        """
        table = stack_tables((DIA_SOURCE.check(t) for t in sources), DIA_SOURCE)
        if not len(table):
            raise NoWorkFound(f"dia_source_detector: no DIA source in tract {tract}.")
        table.sort(["midpointMjdTai", "diaSourceId"])
        index = associate(table["ra"], table["dec"], np.asarray(table["visit"]), self.config.radius)
        first = np.unique(index, return_index=True)[1]
        ids = np.array(
            [hash63("diaObject", skymap, tract, int(i)) for i in table["diaSourceId"][first]], dtype=np.int64
        )
        table["diaObjectId"] = ids[index]
        self.log.info("%d DIA sources make %d DIA objects.", len(table), len(ids))
        return Struct(diaSources=table, diaObjects=_objects(table, index, ids))


def _objects(table: Table, index: NDArray[np.int64], ids: NDArray[np.int64]) -> Table:
    n = len(ids)
    vectors = np.zeros((n, 3))
    np.add.at(vectors, index, unit_vectors(table["ra"], table["dec"]))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    time = np.asarray(table["midpointMjdTai"])
    first, last = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(first, index, time)
    np.maximum.at(last, index, time)
    values: dict[str, Any] = {
        "diaObjectId": ids,
        "ra": np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360,
        "dec": np.degrees(np.arcsin(np.clip(vectors[:, 2], -1, 1))),
        "nDiaSources": np.bincount(index, minlength=n),
        "firstDiaSourceMjdTai": first,
        "lastDiaSourceMjdTai": last,
    }
    for band in BANDS:
        values |= _band_means(table, index, n, band)
    return DIA_OBJECT.build(values)


def _band_means(table: Table, index: NDArray[np.int64], n: int, band: str) -> dict[str, NDArray[Any]]:
    """Weighted mean flux per object in one band; NaN where the object was not seen in it."""
    flux, err = np.asarray(table["psfFlux"], dtype=float), np.asarray(table["psfFluxErr"], dtype=float)
    use = (np.asarray(table["band"]) == band) & np.isfinite(flux) & (err > 0)
    weight = 1 / err[use] ** 2
    total = np.bincount(index[use], weights=weight, minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(index[use], weights=weight * flux[use], minlength=n) / total
        error = np.where(total > 0, total**-0.5, np.nan)
    count = np.bincount(index[use], minlength=n)
    return {f"{band}_psfFluxMean": mean, f"{band}_psfFluxMeanErr": error, f"{band}_psfFluxNdata": count}
