"""The task that measures DIA objects on every difference image, detected there or not."""

from __future__ import annotations

__all__ = [
    "DifferenceInputs",
    "ForcedPhotometryConfig",
    "ForcedPhotometryConnections",
    "ForcedPhotometryTask",
]

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.images import DifferenceImage, Image
from lsst.pipe.base import (
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..images import local_psf, mid_time, origin, planes_from_image, sky_to_pixel
from ..masks import UNUSABLE_BITS
from ..planes import Planes
from ..tables import stack_tables
from .source_schemas import DIA_OBJECT, DIA_OBJECT_FORCED_SOURCE, DIFFERENCE_KERNEL_SOURCES


@dataclasses.dataclass(frozen=True)
class DifferenceInputs:
    """A difference image and what was subtracted.

    Parameters
    ----------
    visit, detector : `int`
        Of the image.
    image : `lsst.images.DifferenceImage`
        Difference image.
    matched_template : `lsst.images.Image`
        The template as it was subtracted, nJy.
    kernel_sources : `astropy.table.Table`
        Positions of constant sources, pixels of the array.
    """

    visit: int
    detector: int
    image: DifferenceImage
    matched_template: Image
    kernel_sources: Table


class ForcedPhotometryConnections(PipelineTaskConnections, dimensions=("skymap", "tract")):
    """DIA objects and all difference images of a tract in; their forced light curves out."""

    diaObjects = cT.Input(
        doc="DIA objects of the tract.",
        name="dia_object",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
    )
    differences = cT.Input(
        doc="Difference images.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    matchedTemplates = cT.Input(
        doc="The templates as they were subtracted.",
        name="template_matched",
        storageClass="ImageV2",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    kernelSources = cT.Input(
        doc="Constant sources, at which the errors of the subtraction are measured.",
        name="difference_kernel_sources",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    forcedSources = cT.Output(
        doc="Forced PSF fluxes of every object on every difference image that covers it.",
        name="dia_object_forced_source",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
    )
    forcedSourceSchema = cT.InitOutput(
        doc="Columns of the forced source table.",
        name="dia_object_forced_source_schema",
        storageClass="ArrowAstropy",
    )


class ForcedPhotometryConfig(PipelineTaskConfig, pipelineConnections=ForcedPhotometryConnections):
    """Configuration of `ForcedPhotometryTask`."""


class ForcedPhotometryTask(PipelineTask):
    """Force PSF photometry at the positions of DIA objects (see `.photometry`)."""

    ConfigClass = ForcedPhotometryConfig
    _DefaultName = "forcedPhotometry"
    config: ForcedPhotometryConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.forcedSourceSchema = DIA_OBJECT_FORCED_SOURCE.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        objects = butlerQC.get(inputRefs.diaObjects)
        self.metadata["differences_incomplete"] = len(inputRefs.differences) - len(_complete(inputRefs))
        if self.metadata["differences_incomplete"]:
            self.log.warning(
                "%d difference images have no matched template or kernel sources; they are left out.",
                self.metadata["differences_incomplete"],
            )
        butlerQC.put(self.run(objects, _images(butlerQC, inputRefs)), outputRefs)

    def run(self, diaObjects: Table, differences: Iterable[DifferenceInputs]) -> Struct:
        """Measure.

        Parameters
        ----------
        diaObjects : `astropy.table.Table`
            DIA objects.
        differences : `~collections.abc.Iterable` of `DifferenceInputs`
            What is known of each difference image.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``forcedSources`` (`astropy.table.Table`), one row per object and image that covers it.
        """
        DIA_OBJECT.check(diaObjects, "dia_object", ["diaObjectId", "ra", "dec"])
        tables = [_measure(diaObjects, item) for item in differences]
        return Struct(forcedSources=stack_tables(tables, DIA_OBJECT_FORCED_SOURCE))


_INPUTS = ("differences", "matchedTemplates", "kernelSources")


def _key(data_id: Any) -> tuple[int, int]:
    return int(data_id["visit"]), int(data_id["detector"])


def _complete(inputRefs: Any) -> list[tuple[int, int]]:
    """Return visit and detector of the images of which all inputs are there, in order."""
    keys = [{_key(ref.dataId) for ref in getattr(inputRefs, name)} for name in _INPUTS]
    return sorted(set.intersection(*keys))


def _images(butlerQC: QuantumContext, inputRefs: Any) -> Iterator[DifferenceInputs]:
    """Read what was differenced: one image at a time is in memory."""
    handles: list[dict[tuple[int, int], DeferredDatasetHandle]] = [
        {_key(handle.dataId): handle for handle in butlerQC.get(getattr(inputRefs, name))} for name in _INPUTS
    ]
    for key in _complete(inputRefs):
        image, template, sources = (by_key[key].get() for by_key in handles)
        DIFFERENCE_KERNEL_SOURCES.check(sources, f"difference_kernel_sources {key}")
        yield DifferenceInputs(*key, image, template, sources)


def _measure(objects: Table, inputs: DifferenceInputs) -> Table:
    from .detection import DetectionConfig, filter_difference
    from .photometry import forced_psf_flux
    from .subtraction_types import StaticSky

    image = inputs.image
    planes, psf = planes_from_image(image, "difference_image"), local_psf(image, source="difference_image")
    ny, nx = planes.shape
    x0, y0 = origin(image)
    x, y = sky_to_pixel(image, np.asarray(objects["ra"]), np.asarray(objects["dec"]))
    inside = (x - x0 > -0.5) & (x - x0 < nx - 0.5) & (y - y0 > -0.5) & (y - y0 < ny - 0.5)
    x, y = x[inside] - x0, y[inside] - y0
    forced = forced_psf_flux(planes, psf, x, y)
    constant = (np.asarray(inputs.kernel_sources[name]) for name in ("x", "y"))
    static = StaticSky(np.asarray(inputs.matched_template.array), *constant)
    systematic = filter_difference(planes, psf, static, DetectionConfig())[0].systematic
    count = int(inside.sum())
    return DIA_OBJECT_FORCED_SOURCE.build(
        {
            "diaObjectId": np.asarray(objects["diaObjectId"])[inside],
            "visit": np.full(count, inputs.visit),
            "detector": np.full(count, inputs.detector),
            "band": np.full(count, image.band, dtype=f"U{len(image.band)}"),
            "midpointMjdTai": np.full(count, mid_time(image)),
            "ra": np.asarray(objects["ra"])[inside],
            "dec": np.asarray(objects["dec"])[inside],
            "psfDiffFlux": forced.flux,
            "psfDiffFluxErr": forced.err,
            "staticFluxErr": systematic[np.rint(y).astype(int), np.rint(x).astype(int)],
            "pixelFlags_bad": _on_unusable(planes, x, y),
        }
    )


def _on_unusable(planes: Planes, x: Any, y: Any) -> Any:
    """Tell which positions have an unusable pixel within one pixel, bool (N,)."""
    bad = planes.has(UNUSABLE_BITS) | ~np.isfinite(planes.image)
    padded = np.pad(bad, 1)
    column, row = np.rint(x).astype(int) + 1, np.rint(y).astype(int) + 1
    steps = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    return np.any([padded[row + dy, column + dx] for dx, dy in steps], axis=0)
