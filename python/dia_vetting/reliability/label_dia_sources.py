"""The task that tells which DIA sources are injections, and which injections have no DIA source."""

__all__ = ["LabelDiaSourcesConfig", "LabelDiaSourcesConnections", "LabelDiaSourcesTask", "masked_sources"]

from collections.abc import Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.pex.config import Field, ListField
from lsst.pipe.base import (
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from numpy.typing import NDArray

from ..errors import TableSchemaError
from ..injection.schemas import INJECTED_CATALOG
from .labels import MatchCriteria, State, label_sources, label_table, missed_injections
from .schemas import DIA_SOURCE_LABEL, DIA_SOURCE_REQUIRED, MISSED_INJECTION

_DIMENSIONS = ("instrument", "visit", "detector")
_INJECTION_COLUMNS = ("injection_id", "ra", "dec", "injection_flag")


class LabelDiaSourcesConnections(
    PipelineTaskConnections,
    dimensions=_DIMENSIONS,
    defaultTemplates={
        "diaSourceType": "dia_source_detector",
        "injectedCatalogType": "injected_visit_image_catalog",
        "labelType": "dia_source_label",
        "missedType": "missed_injection",
    },
):
    """A DIA source table and the catalog of what was injected in, a label table and the missed ones out."""

    diaSources = cT.Input(
        doc="DIA sources of the difference image.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    injections = cT.Input(
        doc="What was injected into the science image.",
        name="{injectedCatalogType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    labels = cT.Output(
        doc="State of every DIA source.",
        name="{labelType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    missed = cT.Output(
        doc="Injections that no DIA source recovered, with the reason.",
        name="{missedType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    labelSchema = cT.InitOutput(
        doc="Columns of the label table.", name="{labelType}_schema", storageClass="ArrowAstropy"
    )
    missedSchema = cT.InitOutput(
        doc="Columns of the table of missed injections.",
        name="{missedType}_schema",
        storageClass="ArrowAstropy",
    )


class LabelDiaSourcesConfig(PipelineTaskConfig, pipelineConnections=LabelDiaSourcesConnections):
    """Configuration of `LabelDiaSourcesTask`."""

    matchRadius = Field[float](
        doc="Largest distance of a DIA source to its injection, arcsec. Rubin's own matcher uses 0.5; "
        "cameras with a PSF much wider than 1 arcsec need more (about half the FWHM).",
        default=0.5,
    )
    ambiguousRadius = Field[float](
        doc="A DIA source closer than this to an injection that is not its match is ambiguous, arcsec.",
        default=1.0,
    )
    fluxSigma = Field[float](
        doc="Uncertainties by which psfFlux may differ from the injected flux; 4 loses 6 in 100,000.",
        default=4.0,
    )
    fluxFraction = Field[float](
        doc="Fraction of the injected flux by which psfFlux may differ besides, for an imperfect PSF.",
        default=0.1,
    )
    maskedFlags = ListField[str](
        doc="Boolean columns of the DIA source table; a source with any of them set is masked.",
        default=["pixelFlags_saturatedCenter", "pixelFlags_interpolatedCenter"],
    )

    def validate(self) -> None:  # noqa: D102
        super().validate()
        self.criteria()

    def criteria(self) -> MatchCriteria:
        """Return the limits of a match."""
        return MatchCriteria(self.matchRadius, self.ambiguousRadius, self.fluxSigma, self.fluxFraction)


class LabelDiaSourcesTask(PipelineTask):
    """Label DIA sources by position and flux (see `.labels`)."""

    ConfigClass = LabelDiaSourcesConfig
    _DefaultName = "labelDiaSources"
    config: LabelDiaSourcesConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.labelSchema = DIA_SOURCE_LABEL.describe()
        self.missedSchema = MISSED_INJECTION.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        data_id = butlerQC.quantum.dataId
        assert data_id is not None
        outputs = self.run(
            **butlerQC.get(inputRefs),
            visit=int(data_id["visit"]),
            detector=int(data_id["detector"]),
            band=str(data_id["band"]),
        )
        butlerQC.put(outputs, outputRefs)

    def run(self, diaSources: Table, injections: Table, visit: int, detector: int, band: str) -> Struct:
        """Label.

        Parameters
        ----------
        diaSources : `astropy.table.Table`
            In `DIA_SOURCE_REQUIRED`'s schema, with the columns of ``maskedFlags``. May be empty: then every
            injection was missed.
        injections : `astropy.table.Table`
            As lsst.source.injection or our own task write it. May be empty: then no source is labelled.
        visit, detector : `int`
            Where this is.
        band : `str`
            Band of the visit.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``labels``, one row per source in the order of ``diaSources``, and ``missed``.

        Raises
        ------
        TableSchemaError
            If a table lacks a column, or it has another unit.
        """
        names = self.config.connections
        DIA_SOURCE_REQUIRED.check(diaSources, names.diaSourceType)
        flux_column = "flux" if "flux" in injections.colnames else "mag"
        INJECTED_CATALOG.check(injections, names.injectedCatalogType, (*_INJECTION_COLUMNS, flux_column))
        masked = masked_sources(diaSources, list(self.config.maskedFlags), names.diaSourceType)
        labels = label_sources(diaSources, injections, masked, self.config.criteria())
        missed = missed_injections(injections, labels, visit, detector, band)
        self._count(labels.state, missed, len(injections))
        return Struct(labels=label_table(diaSources, injections, labels), missed=missed)

    def _count(self, state: NDArray[np.str_], missed: Table, n_injections: int) -> None:
        states = {str(s): int((state == s).sum()) for s in State}
        reasons = {
            str(r): int(n) for r, n in zip(*np.unique(missed["reason"], return_counts=True), strict=True)
        }
        self.metadata["n_injections"] = n_injections
        for key, count in {**states, **{f"missed_{k}": n for k, n in reasons.items()}}.items():
            self.metadata[f"n_{key}"] = count
        self.log.info(
            "DIA sources: %s. Of %d injections, missed: %s.", states, n_injections, reasons or "none"
        )


def masked_sources(sources: Table, flags: Sequence[str], source: str) -> NDArray[np.bool_]:
    """Tell which DIA sources have any of some flags set.

    Parameters
    ----------
    sources : `astropy.table.Table`
        N rows.
    flags : `~collections.abc.Sequence` of `str`
        Boolean columns.
    source : `str`
        Dataset type, for the message.

    Returns
    -------
    masked : `numpy.ndarray`, (N,), bool
        Which ones.

    Raises
    ------
    TableSchemaError
        If one of the columns is not there.
    """
    masked = np.zeros(len(sources), dtype=bool)
    for flag in flags:
        if flag not in sources.colnames:
            raise TableSchemaError(source, flag, "bool (it is one of maskedFlags)", "no such column")
        masked |= np.asarray(sources[flag], dtype=bool)
    return masked
