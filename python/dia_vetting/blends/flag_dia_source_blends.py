"""The task that tells which DIA sources lie on blended sources of the visit image."""

__all__ = ["FlagDiaSourceBlendsConfig", "FlagDiaSourceBlendsConnections", "FlagDiaSourceBlendsTask"]

from typing import TYPE_CHECKING, Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.images import VisitImage
from lsst.pipe.base import NoWorkFound, PipelineTaskConfig, Struct

from ..cutouts import PlacedPlanes
from ..errors import annotates_failures
from ..images import local_psf, origin, planes_from_image
from ..reliability.extract_cutouts import smooth_fwhm
from ..reliability.schemas import DIA_SOURCE_REQUIRED
from .flagging import BlendModelConnections, FlagBlendsConfig, FlagBlendsTask
from .schemas import DIA_SOURCE_BLEND

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_DETECTOR = ("instrument", "visit", "detector")
_KEPT = ("diaSourceId", "visit", "detector", "band", "ra", "dec")


class FlagDiaSourceBlendsConnections(
    BlendModelConnections,
    dimensions=_DETECTOR,
    defaultTemplates={
        "scienceType": "injected_visit_image",
        "diaSourceType": "dia_source_detector",
        "blendType": "dia_source_blend",
    },
):
    """A visit image, its DIA sources and a model in, an answer per DIA source out."""

    science = cT.Input(
        doc="Visit image; not the difference, on which nothing that stays is to be seen.",
        name="{scienceType}",
        storageClass="VisitImage",
        dimensions=_DETECTOR,
    )
    diaSources = cT.Input(
        doc="DIA sources of the difference image.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
    )
    blends = cT.Output(
        doc="Whether each DIA source lies on a blend.",
        name="{modelName}{blendType}",
        storageClass="ArrowAstropy",
        dimensions=_DETECTOR,
    )
    blendSchema = cT.InitOutput(
        doc="Columns of that table.", name="{modelName}{blendType}_schema", storageClass="ArrowAstropy"
    )


class FlagDiaSourceBlendsConfig(
    PipelineTaskConfig, FlagBlendsConfig, pipelineConnections=FlagDiaSourceBlendsConnections
):
    """Configuration of `FlagDiaSourceBlendsTask`."""


@annotates_failures
class FlagDiaSourceBlendsTask(FlagBlendsTask):
    """Cut stamps of the visit image out around DIA sources, and ask networks and SExtractor about them."""

    ConfigClass = FlagDiaSourceBlendsConfig
    _DefaultName = "flagDiaSourceBlends"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blendSchema = DIA_SOURCE_BLEND.describe()

    def run(self, science: VisitImage, diaSources: Table, model: "pa.Table | None" = None) -> Struct:
        """Flag.

        Parameters
        ----------
        science : `lsst.images.VisitImage`
            With a PSF.
        diaSources : `astropy.table.Table`
            In `~dia_vetting.reliability.schemas.DIA_SOURCE_REQUIRED`.
        model : `pyarrow.Table`, optional
            In the format of `.model_io`; left out where the shipped one is configured.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``blends``: `astropy.table.Table` in `.schemas.DIA_SOURCE_BLEND`, rows as in ``diaSources``.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If there is no DIA source.
        MissingImageComponentError, NoUsablePixelsError
            If the image has no PSF, or no pixel that can be used.
        ModelCardError, NewerFormatError, TensorError, ContentHashError
            If the model cannot be read.
        TableSchemaError
            If the table lacks a column, or it has another unit.
        """
        from .source_flags import flags_metadata

        names = self.config.connections
        DIA_SOURCE_REQUIRED.check(diaSources, names.diaSourceType)
        if not len(diaSources):
            raise NoWorkFound(f"{names.diaSourceType}: there is no DIA source to flag.")
        trained = self.read_model(model)
        x, y = (np.asarray(diaSources[name], dtype=float) for name in "xy")
        x0, y0 = origin(science)
        fwhm = smooth_fwhm(local_psf(science, source=names.scienceType), x - x0, y - y0)
        image = PlacedPlanes(planes_from_image(science, names.scienceType), x0, y0)
        values = {name: diaSources[name] for name in _KEPT} | self.ask(trained, image, x, y, fwhm)
        return Struct(blends=DIA_SOURCE_BLEND.build(values, flags_metadata(trained)))
