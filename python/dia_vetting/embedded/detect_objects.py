"""The task that detects and measures static objects on the template coadds."""

__all__ = ["DetectObjectsConfig", "DetectObjectsConnections", "DetectObjectsTask"]

from collections.abc import Mapping, Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.images import MaskedImage
from lsst.pex.config import Field, ListField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from numpy.typing import NDArray

from ..images import planes_from_image
from ..planes import Planes
from ..seeding import hash63
from ..tables import stack_tables
from .source_schemas import object_schema
from .tract_geometry import TractGeometry


class DetectObjectsConnections(PipelineTaskConnections, dimensions=("skymap", "tract")):
    """Template coadds in, one object table per tract out."""

    coadds = cT.Input(
        doc="Template coadds of all patches and bands.",
        name="template_coadd",
        storageClass="MaskedImageV2",
        dimensions=("skymap", "tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    geometry = cT.Input(
        doc="Pixel grid of the tract.",
        name="tract_geometry",
        storageClass="StructuredDataDict",
        dimensions=("skymap", "tract"),
    )
    objects = cT.Output(
        doc="Static objects, by the column names of DRP.",
        name="object",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
    )
    objectSchema = cT.InitOutput(
        doc="Columns of the object table; {band} stands for each band of the coadds.",
        name="object_schema",
        storageClass="ArrowAstropy",
    )


class DetectObjectsConfig(PipelineTaskConfig, pipelineConnections=DetectObjectsConnections):
    """Configuration of `DetectObjectsTask`."""

    bandOrder = ListField[str](
        doc="Bands from the most to the least preferred reference band.",
        default=["i", "r", "z", "g", "y", "u"],
    )
    threshold = Field[float](doc="Detection threshold on the chi image of all bands, in sigma.", default=4.0)


class DetectObjectsTask(PipelineTask):
    """Detect objects on the template coadds and measure them (see `.object_measurement`).

    Nothing is taken from the truth of a simulation: a host is what the coadd shows of it.
    """

    ConfigClass = DetectObjectsConfig
    _DefaultName = "detectObjects"
    config: DetectObjectsConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.objectSchema = object_schema(["{band}"]).describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        geometry = TractGeometry.from_dict(butlerQC.get(inputRefs.geometry))
        handles: dict[int, dict[str, Any]] = {}
        for handle in butlerQC.get(inputRefs.coadds):
            handles.setdefault(int(handle.dataId["patch"]), {})[str(handle.dataId["band"])] = handle
        # One patch at a time is in memory.
        patches = (
            (patch, {band: handle.get() for band, handle in found.items()})
            for patch, found in sorted(handles.items())
        )
        bands = self.order_bands({band for found in handles.values() for band in found})
        butlerQC.put(self.run(patches, bands, geometry), outputRefs)

    def order_bands(self, bands: set[str]) -> list[str]:
        """Return bands with the reference band first."""
        order = list(self.config.bandOrder)
        return sorted(bands, key=lambda band: (order.index(band) if band in order else len(order), band))

    def run(self, patches: Any, bands: Sequence[str], geometry: TractGeometry) -> Struct:
        """Detect and measure.

        Parameters
        ----------
        patches : `~collections.abc.Iterable` of `tuple`
            Pairs of patch index and coadds (`lsst.images.MaskedImage`) by band.
        bands : `~collections.abc.Sequence` of `str`
            All bands, the reference band first.
        geometry : `~dia_vetting.embedded.tract_geometry.TractGeometry`
            Pixel grid of the tract.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``objects`` (`astropy.table.Table`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If nothing was detected.
        """
        schema = object_schema(bands)
        tables = [self._measure_patch(patch, coadds, bands, geometry) for patch, coadds in patches]
        objects = stack_tables(tables, schema)
        if not len(objects):
            raise NoWorkFound(f"template_coadd: no object on tract {geometry.tract}.")
        self.log.info("%d objects, %d of them primary.", len(objects), objects["detect_isPrimary"].sum())
        return Struct(objects=objects)

    def _measure_patch(
        self, patch: int, coadds: Mapping[str, MaskedImage], bands: Sequence[str], geometry: TractGeometry
    ) -> Table:
        from .object_measurement import ObjectDetectionConfig, detect_objects
        from .psf_fitting import fit_psf

        schema = object_schema(bands)
        planes = {band: planes_from_image(coadds[band], "template_coadd") for band in bands if band in coadds}
        reference = bands[0]
        if reference not in planes:
            self.log.warning("Patch %d has no coadd in the reference band %s: left out.", patch, reference)
            return schema.empty()
        psfs = {band: fit_psf(plane).psf for band, plane in planes.items()}
        config = ObjectDetectionConfig(threshold=self.config.threshold)
        found = detect_objects(planes, psfs, config)
        values = _positions(found, patch, reference, geometry)
        values |= _photometry(planes, psfs, found, bands, config)
        return schema.build(values)


def _positions(
    found: NDArray[Any], patch: int, reference: str, geometry: TractGeometry
) -> dict[str, NDArray[Any]]:
    box = geometry.patch_box(patch)
    x, y = found["x"].astype(float) + box.outer[0], found["y"].astype(float) + box.outer[2]
    ra, dec = geometry.pixel_to_sky(x, y)
    keys = [hash63("object", geometry.skymap, geometry.tract, patch, i) for i in range(len(found))]
    return {
        "objectId": np.array(keys, dtype=np.int64),
        "tract": np.full(len(found), geometry.tract),
        "patch": np.full(len(found), patch),
        "x": x,
        "y": y,
        "coord_ra": ra,
        "coord_dec": dec,
        "refBand": np.full(len(found), reference),
        "detect_isPrimary": geometry.find_patch(x, y) == patch,
    }


def _photometry(
    planes: Mapping[str, Planes],
    psfs: Mapping[str, Any],
    found: NDArray[Any],
    bands: Sequence[str],
    config: Any,
) -> dict[str, NDArray[Any]]:
    from .object_measurement import adaptive_moments, measure_band

    x, y = found["x"].astype(float), found["y"].astype(float)
    columns: dict[str, NDArray[Any]] = {}
    for band in bands:
        if band not in planes:
            columns |= _unmeasured(band, len(found))
            continue
        centre = planes[band].shape[1] / 2, planes[band].shape[0] / 2
        shapes = adaptive_moments(planes[band], x, y, float(psfs[band].fwhm(*centre)[0]) / 2.355)
        measured = measure_band(planes[band], psfs[band], found, shapes, config)
        columns |= {f"{band}_{name}": values for name, values in measured.items()}
        if band == bands[0]:
            columns |= {"shape_xx": shapes.xx, "shape_yy": shapes.yy, "shape_xy": shapes.xy}
            columns["shape_flag"] = ~np.isfinite(shapes.trace())
            columns["refExtendedness"] = measured["extendedness"]
    return columns


def _unmeasured(band: str, count: int) -> dict[str, NDArray[Any]]:
    """Columns of a band in which the patch has no coadd: NaN, and flagged."""
    columns: dict[str, NDArray[Any]] = {}
    for column in object_schema([band]).columns:
        if column.name.startswith(f"{band}_"):
            flagged = column.dtype == "bool"
            columns[column.name] = np.full(count, True) if flagged else np.full(count, np.nan)
    return columns
