"""The task that tells which objects are blended on a coadd."""

__all__ = ["FlagObjectBlendsConfig", "FlagObjectBlendsConnections", "FlagObjectBlendsTask"]

from typing import TYPE_CHECKING, Any

import astropy.units as u
import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.images import MaskedImage
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from ..cutouts import PlacedPlanes
from ..errors import annotates_failures
from ..images import local_psf, origin, planes_from_image, sky_to_pixel
from ..injection.object_table import read_column, read_flag, read_id
from ..planes import Planes
from ..reliability.extract_cutouts import smooth_fwhm
from .flagging import BlendModelConnections, FlagBlendsConfig, FlagBlendsTask
from .schemas import OBJECT_BLEND

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

    from .source_flags import F64

_PATCH = ("skymap", "tract", "patch", "band")
_COLUMNS = ("objectId", "tract", "patch", "coord_ra", "coord_dec", "detect_isPrimary")


class FlagObjectBlendsConnections(
    BlendModelConnections,
    dimensions=_PATCH,
    defaultTemplates={
        "coaddType": "template_coadd",
        "objectType": "object",
        "blendType": "object_blend",
    },
):
    """The coadd of a patch, objects of its tract and a model in, an answer per object of the patch out."""

    coadd = cT.Input(
        doc="Coadd of the patch in one band.",
        name="{coaddType}",
        storageClass="MaskedImageV2",
        dimensions=_PATCH,
    )
    objects = cT.Input(
        doc="Objects of the tract.",
        name="{objectType}",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
        deferLoad=True,
    )
    blends = cT.Output(
        doc="Whether each object of the patch is a blend in this band.",
        name="{modelName}{blendType}",
        storageClass="ArrowAstropy",
        dimensions=_PATCH,
    )
    blendSchema = cT.InitOutput(
        doc="Columns of that table.", name="{modelName}{blendType}_schema", storageClass="ArrowAstropy"
    )


class FlagObjectBlendsConfig(
    PipelineTaskConfig, FlagBlendsConfig, pipelineConnections=FlagObjectBlendsConnections
):
    """Configuration of `FlagObjectBlendsTask`."""


@annotates_failures
class FlagObjectBlendsTask(FlagBlendsTask):
    """Cut stamps of the coadd out around its objects, and ask networks and SExtractor about them.

    The objects of a patch are those whose ``patch`` it is and that are primary there, by the columns of the
    object table: they lie in its inner region. Each primary object of a tract so has one row in each band.
    """

    ConfigClass = FlagObjectBlendsConfig
    _DefaultName = "flagObjectBlends"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blendSchema = OBJECT_BLEND.describe()

    def runQuantum(  # noqa: D102
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        inputs = butlerQC.get(inputRefs)
        # Of perhaps a thousand columns; what is missing is said by `run`.
        there = set(inputs["objects"].get(component="columns"))
        columns = [name for name in _COLUMNS if name in there]
        inputs["objects"] = inputs["objects"].get(parameters={"columns": columns})
        data_id = butlerQC.quantum.dataId
        assert data_id is not None
        outputs = self.run(**inputs, patch=int(data_id["patch"]), band=str(data_id["band"]))
        butlerQC.put(outputs, outputRefs)

    def run(
        self, coadd: MaskedImage, objects: Table, patch: int, band: str, model: "pa.Table | None" = None
    ) -> Struct:
        """Flag.

        Parameters
        ----------
        coadd : `lsst.images.MaskedImage`
            Coadd of the patch, in the tract's frame. Without a PSF of its own, one is fitted to its stars;
            where there are none, the width comes from the stamps, which their flags say.
        objects : `astropy.table.Table`
            Objects of the tract: ``objectId``, ``tract``, ``patch``, ``coord_ra``, ``coord_dec`` and
            ``detect_isPrimary``. A position without a unit is in degrees.
        patch : `int`
            Patch of the coadd.
        band : `str`
            Band of the coadd.
        model : `pyarrow.Table`, optional
            In the format of `.model_io`; left out where the shipped one is configured.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``blends``: `astropy.table.Table` in `.schemas.OBJECT_BLEND`, the objects of the patch in their
            order in ``objects``.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If no object is primary in the patch.
        MissingImageComponentError, NoUsablePixelsError
            If the coadd has no WCS, or no pixel that can be used.
        ModelCardError, NewerFormatError, TensorError, ContentHashError
            If the model cannot be read.
        TableSchemaError
            If the table lacks a column, or it has another unit.
        """
        from .source_flags import flags_metadata

        values = self._objects_of(objects, patch)
        trained = self.read_model(model)
        source = self.config.connections.coaddType
        planes = planes_from_image(coadd, source)
        x, y = sky_to_pixel(coadd, values["coord_ra"], values["coord_dec"], source)
        x0, y0 = origin(coadd)
        fwhm = _psf_fwhm(coadd, planes, x - x0, y - y0)
        values |= self.ask(trained, PlacedPlanes(planes, x0, y0), x, y, fwhm)
        values["band"] = np.full(len(x), band)
        return Struct(blends=OBJECT_BLEND.build(values, flags_metadata(trained)))

    def _objects_of(self, objects: Table, patch: int) -> dict[str, Any]:
        """Return ids and positions of the objects that are primary in a patch."""
        name = self.config.connections.objectType
        mine = read_flag(objects, "detect_isPrimary", name, missing=False)
        mine &= read_id(objects, "patch", name) == patch
        if not mine.any():
            raise NoWorkFound(f"{name}: none of {len(objects)} objects is primary in patch {patch}.")
        ids = {key: read_id(objects, key, name)[mine] for key in ("objectId", "tract", "patch")}
        sky = {key: read_column(objects, key, u.deg, name)[mine] for key in ("coord_ra", "coord_dec")}
        self.metadata["n_elsewhere"] = int(np.count_nonzero(~mine))
        return ids | sky


def _psf_fwhm(coadd: MaskedImage, planes: Planes, x: "F64", y: "F64") -> "F64":
    """Return the FWHM of the PSF at positions in the array, pixels; NaN where nothing shows it."""
    from ..embedded.psf_fitting import PsfKind, fit_psf

    if getattr(coadd, "psf", None) is not None:
        return smooth_fwhm(local_psf(coadd), x, y)
    fit = fit_psf(planes)
    if fit.kind == PsfKind.DEFAULT:
        return np.full(len(x), np.nan)
    return smooth_fwhm(fit.psf, x, y)
