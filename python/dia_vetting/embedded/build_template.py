"""The task that coadds template exposures on a patch."""

__all__ = ["BuildTemplateConfig", "BuildTemplateConnections", "BuildTemplateTask"]

from collections.abc import Iterable
from typing import Any

import lsst.pipe.base.connectionTypes as cT
from lsst.images import Box, VisitImage
from lsst.pex.config import Field
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..errors import ScienceError, annotates_failures
from ..image_making import make_patch_image
from ..images import planes_from_image, sky_to_pixel, tract_projection
from .tract_geometry import TractGeometry


class BuildTemplateConnections(
    PipelineTaskConnections,
    dimensions=("skymap", "tract", "patch", "band"),
    defaultTemplates={"templateExposureType": "template_visit_image"},
):
    """Template exposures in, their coadd on the pixels of the patch out."""

    exposures = cT.Input(
        doc="Template exposures: never science exposures, from which they are told by their dataset type.",
        name="{templateExposureType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
        # A visit is either a template or a science exposure: no row of a common query would have both.
        deferGraphConstraint=True,
    )
    geometry = cT.Input(
        doc="Pixel grid of the tract.",
        name="tract_geometry",
        storageClass="StructuredDataDict",
        dimensions=("skymap", "tract"),
    )
    coadd = cT.Output(
        doc="Coadd of the template exposures.",
        name="template_coadd",
        storageClass="MaskedImageV2",
        dimensions=("skymap", "tract", "patch", "band"),
    )


class BuildTemplateConfig(PipelineTaskConfig, pipelineConnections=BuildTemplateConnections):
    """Configuration of `BuildTemplateTask`."""

    clip = Field[float](doc="Leave out pixels this many sigma off the median.", default=5.0)


@annotates_failures
class BuildTemplateTask(PipelineTask):
    """Warp template exposures to a patch and coadd them (see `.warping`)."""

    ConfigClass = BuildTemplateConfig
    _DefaultName = "buildTemplate"
    config: BuildTemplateConfig

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        geometry = TractGeometry.from_dict(butlerQC.get(inputRefs.geometry))
        handles = butlerQC.get(inputRefs.exposures)
        data_id = butlerQC.quantum.dataId
        assert data_id is not None
        # One exposure at a time is in memory; what is kept of it is its part on the patch.
        exposures = (handle.get() for handle in handles)
        butlerQC.put(self.run(exposures, geometry, int(data_id["patch"])), outputRefs)

    def run(self, exposures: Iterable[VisitImage], geometry: TractGeometry, patch: int) -> Struct:
        """Coadd.

        Parameters
        ----------
        exposures : `~collections.abc.Iterable` of `lsst.images.VisitImage`
            Template exposures of one band.
        geometry : `~dia_vetting.embedded.tract_geometry.TractGeometry`
            Pixel grid of the tract.
        patch : `int`
            Patch index.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``coadd`` (`lsst.images.MaskedImage` on the outer box of the patch).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If no exposure has a usable pixel on the patch. Exposures that cannot be used (no finite pixel,
            no WCS) are left out, with a warning, and counted in the task metadata.
        """
        from .warping import coadd

        x0, _, y0, _ = (box := geometry.patch_box(patch)).outer
        warps, n_unusable = [], 0
        for exposure in exposures:
            try:
                warp = _warp_to_patch(exposure, geometry, x0, y0, box.shape)
            except ScienceError as error:
                self.log.warning("Exposure left out: %s", error)
                n_unusable += 1
                continue
            if not warp.unusable().all():
                warps.append(warp)
        self.metadata["n_exposures"], self.metadata["n_unusable"] = len(warps), n_unusable
        if not warps:
            raise NoWorkFound(
                f"template_visit_image: no usable pixel on tract {geometry.tract}, patch {patch}."
            )
        self.log.info("Coadding %d exposures.", len(warps))
        tract_box = Box.from_shape(geometry.shape)
        projection = tract_projection(geometry.wcs, geometry.skymap, geometry.tract, tract_box)
        planes = coadd(warps, n_sigma=self.config.clip)
        return Struct(coadd=make_patch_image(planes, sky_projection=projection, x0=x0, y0=y0))


def _warp_to_patch(
    exposure: VisitImage, geometry: TractGeometry, x0: int, y0: int, shape: tuple[int, int]
) -> Any:
    from .warping import warp

    source = f"template_visit_image (visit {exposure.obs_info.visit_id}, detector {exposure.detector.id})"

    def pixel_map(x: Any, y: Any) -> Any:
        return sky_to_pixel(exposure, *geometry.pixel_to_sky(x + x0, y + y0), source=source)

    return warp(planes_from_image(exposure, source), pixel_map, shape)
