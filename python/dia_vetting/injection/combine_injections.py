"""The task that says what a difference image should show of the injections into a visit and its template."""

from __future__ import annotations

__all__ = ["CombineInjectionsConfig", "CombineInjectionsConnections", "CombineInjectionsTask"]

from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from .difference_catalog import combine_catalogs
from .schemas import INJECTED_CATALOG, INJECTED_DIFFERENCE_CATALOG

_DIMENSIONS = ("instrument", "visit", "detector")


class CombineInjectionsConnections(
    PipelineTaskConnections,
    dimensions=_DIMENSIONS,
    defaultTemplates={
        "injectedCatalogType": "injected_visit_image_catalog",
        "templateCatalogType": "injected_template_detector_catalog",
        "differenceCatalogType": "injected_difference_catalog",
    },
):
    """Catalogs of what was injected into the visit image and its template in, their difference out."""

    science = cT.Input(
        doc="What was injected into the visit image.",
        name="{injectedCatalogType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    template = cT.Input(
        doc="What was injected into the template on the pixels of the visit image.",
        name="{templateCatalogType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    catalog = cT.Output(
        doc="What the difference image shows of both: flux in the visit minus flux in the template.",
        name="{differenceCatalogType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    catalogSchema = cT.InitOutput(
        doc="Columns of the combined catalog.",
        name="{differenceCatalogType}_schema",
        storageClass="ArrowAstropy",
    )


class CombineInjectionsConfig(PipelineTaskConfig, pipelineConnections=CombineInjectionsConnections):
    """Configuration of `CombineInjectionsTask`."""


class CombineInjectionsTask(PipelineTask):
    """Combine the catalogs of two injections by ``injection_id`` (see `.difference_catalog`)."""

    ConfigClass = CombineInjectionsConfig
    _DefaultName = "combineInjections"
    config: CombineInjectionsConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.catalogSchema = INJECTED_DIFFERENCE_CATALOG.describe()

    def run(self, science: Table, template: Table) -> Struct:
        """Combine.

        Parameters
        ----------
        science, template : `astropy.table.Table`
            In `~dia_vetting.injection.schemas.INJECTED_CATALOG`.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``catalog``, `astropy.table.Table`, a row for each injection that either image was to get.

        Raises
        ------
        TableSchemaError
            If a table lacks a column, or it has another unit.
        """
        names = self.config.connections
        INJECTED_CATALOG.check(science, names.injectedCatalogType)
        INJECTED_CATALOG.check(template, names.templateCatalogType)
        catalog = combine_catalogs(science, template)
        negative = int(np.sum(np.asarray(catalog["flux"], float) < 0))
        self.metadata["injections"], self.metadata["negative"] = len(catalog), negative
        self.log.info("Injections on the difference image: %d, of which %d negative.", len(catalog), negative)
        return Struct(catalog=catalog)
