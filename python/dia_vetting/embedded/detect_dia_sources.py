"""The task that detects and measures the sources of a difference image."""

__all__ = ["DetectDiaSourcesConfig", "DetectDiaSourcesConnections", "DetectDiaSourcesTask"]

from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.images import DifferenceImage, Image, VisitImage
from lsst.pex.config import Field, ListField
from lsst.pipe.base import (
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..errors import annotates_failures
from ..images import local_psf, mid_time, origin, pixel_to_sky, planes_from_image
from ..planes import Planes
from ..psf import PolynomialPsf
from .source_schemas import DIA_SOURCE, DIFFERENCE_KERNEL_SOURCES


class DetectDiaSourcesConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={"scienceType": "injected_visit_image", "templateType": "template_detector"},
):
    """A difference image and what it was made of in; its DIA sources out."""

    difference = cT.Input(
        doc="Difference image.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=("instrument", "visit", "detector"),
    )
    science = cT.Input(
        doc="Visit image, for forced fluxes.",
        name="{scienceType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
    )
    template = cT.Input(
        doc="Template, for forced fluxes.",
        name="{templateType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
    )
    matchedTemplate = cT.Input(
        doc="The template as it was subtracted.",
        name="template_matched",
        storageClass="ImageV2",
        dimensions=("instrument", "visit", "detector"),
    )
    kernelSources = cT.Input(
        doc="Constant sources, at which the errors of the subtraction are measured.",
        name="difference_kernel_sources",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
    )
    diaSources = cT.Output(
        doc="DIA sources, by the column names of the DPDD.",
        name="dia_source_detector",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
    )
    diaSourceSchema = cT.InitOutput(
        doc="Columns of the DIA source table.", name="dia_source_detector_schema", storageClass="ArrowAstropy"
    )


class DetectDiaSourcesConfig(PipelineTaskConfig, pipelineConnections=DetectDiaSourcesConnections):
    """Configuration of `DetectDiaSourcesTask`."""

    threshold = Field[float](doc="Smallest significance of a source.", default=5.0)
    badSourceFlags = ListField[str](
        doc="Sources with any of these flags are left out, and counted.",
        default=[
            "pixelFlags_saturatedCenter",
            "pixelFlags_interpolatedCenter",
            "pixelFlags_saturated_templateCenter",
            "pixelFlags_edgeCenter",
            "pixelFlags_nodataCenter",
        ],
    )


@annotates_failures
class DetectDiaSourcesTask(PipelineTask):
    """Detect and measure DIA sources, positive and negative (see `.detection`, `.measurement`)."""

    ConfigClass = DetectDiaSourcesConfig
    _DefaultName = "detectDiaSources"
    config: DetectDiaSourcesConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.diaSourceSchema = DIA_SOURCE.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        data_id = butlerQC.quantum.dataId
        assert data_id is not None
        packer = self._packer(data_id)
        inputs = butlerQC.get(inputRefs)
        outputs = self.run(
            **inputs,
            visit=int(data_id["visit"]),
            detector=int(data_id["detector"]),
            id_prefix=packer.pack(data_id),
            id_bits=63 - packer.maxBits,
        )
        butlerQC.put(outputs, outputRefs)

    @staticmethod
    def _packer(data_id: Any) -> Any:
        from lsst.pipe.base import Instrument

        return Instrument.make_default_dimension_packer(data_id, is_exposure=False)

    def run(
        self,
        difference: DifferenceImage,
        science: VisitImage,
        template: VisitImage,
        matchedTemplate: Image,
        kernelSources: Table,
        visit: int,
        detector: int,
        id_prefix: int,
        id_bits: int,
    ) -> Struct:
        """Detect and measure.

        Parameters
        ----------
        difference : `lsst.images.DifferenceImage`
            Difference image.
        science, template : `lsst.images.VisitImage`
            What it was made of.
        matchedTemplate : `lsst.images.Image`
            The template as it was subtracted, nJy.
        kernelSources : `astropy.table.Table`
            Positions of constant sources.
        visit, detector : `int`
            Of the images.
        id_prefix : `int`
            Packed visit and detector.
        id_bits : `int`
            Bits of an id that are left for the counter.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``diaSources`` (`astropy.table.Table` in `DIA_SOURCE`'s schema); it may have no row.
        """
        from .detection import DetectionConfig
        from .measurement import detect_and_measure
        from .subtraction import StaticSky

        DIFFERENCE_KERNEL_SOURCES.check(kernelSources)
        static = StaticSky(
            np.asarray(matchedTemplate.array), *(np.asarray(kernelSources[name]) for name in ("x", "y"))
        )
        found = detect_and_measure(
            planes_from_image(difference, "difference_image"),
            local_psf(difference, source="difference_image"),
            static,
            {
                "science": _planes_and_psf(science, self.config.connections.scienceType),
                "template": _planes_and_psf(template, self.config.connections.templateType),
            },
            DetectionConfig(threshold=self.config.threshold, drop_flags=tuple(self.config.badSourceFlags)),
        )
        self._report(len(found.table), found.n_dropped, found.dropped)
        columns = dict(zip(found.table.colnames, found.table.columns.values(), strict=True))
        return Struct(diaSources=_standardize(columns, difference, visit, detector, id_prefix << id_bits))

    def _report(self, n_sources: int, n_dropped: int, dropped: dict[str, int]) -> None:
        self.log.info("%d DIA sources; %d left out by their flags: %s", n_sources, n_dropped, dropped)
        self.metadata["n_sources"] = n_sources
        self.metadata["n_dropped"] = n_dropped
        for name, count in dropped.items():
            self.metadata[f"n_dropped_{name}"] = count


def _planes_and_psf(image: VisitImage, source: str) -> tuple[Planes, PolynomialPsf]:
    return planes_from_image(image, source), local_psf(image, source=source)


def _standardize(
    columns: dict[str, Any], difference: DifferenceImage, visit: int, detector: int, first_id: int
) -> Table:
    """Bring measured columns to the schema: ids, sky positions, parent-frame positions, arcseconds."""
    count = len(columns["x"])
    x0, y0 = origin(difference)
    x = np.asarray(columns["x"], float) + x0
    y = np.asarray(columns["y"], float) + y0
    ra, dec = pixel_to_sky(difference, x, y, source="difference_image")
    scale = _pixel_scale(difference, x, y)
    values: dict[str, Any] = {name: np.asarray(column) for name, column in columns.items()}
    values |= {
        "diaSourceId": first_id + 1 + np.arange(count, dtype=np.int64),
        "diaObjectId": np.zeros(count, np.int64),
        "visit": np.full(count, visit),
        "detector": np.full(count, detector),
        "band": np.full(count, difference.band, dtype=f"U{len(difference.band)}"),
        "midpointMjdTai": np.full(count, mid_time(difference)),
        "x": x,
        "y": y,
        "ra": ra,
        "dec": dec,
        "snr": np.abs(values["snr"]),
        "dipoleLength": values["dipoleLength"] * scale,
        "trailLength": values["trailLength"] * scale,
    }
    return DIA_SOURCE.build(values)


def _pixel_scale(image: DifferenceImage, x: Any, y: Any) -> Any:
    """Arcseconds per pixel along x at each position, (N,)."""
    ra, dec = pixel_to_sky(image, x, y)
    ra1, dec1 = pixel_to_sky(image, np.asarray(x) + 1, y)
    east = ((ra1 - ra + 180) % 360 - 180) * np.cos(np.radians(dec))
    return np.hypot(east, dec1 - dec) * 3600
