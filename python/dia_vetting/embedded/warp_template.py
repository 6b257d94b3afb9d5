"""The task that brings the template to the pixel grid of a visit image."""

__all__ = ["WarpTemplateConfig", "WarpTemplateConnections", "WarpTemplateTask"]

from collections.abc import Iterable, Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from lsst.images import MaskedImage, VisitImage
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from ..errors import annotates_failures
from ..image_making import replace_planes
from ..images import origin, pixel_to_sky, planes_from_image, sky_to_pixel
from ..masks import MaskBit
from ..planes import Planes


class WarpTemplateConnections(PipelineTaskConnections, dimensions=("instrument", "visit", "detector")):
    """Coadds and a visit image in; the template on the visit image's pixels, with its own PSF, out."""

    coadds = cT.Input(
        doc="Template coadds of the patches that the detector overlaps.",
        name="template_coadd",
        storageClass="MaskedImageV2",
        dimensions=("skymap", "tract", "patch", "band"),
        multiple=True,
    )
    science = cT.Input(
        doc="Visit image: its pixel grid and WCS are taken over.",
        name="visit_image",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
        # The common query has to find the visits of template exposures too (see buildTemplate).
        deferGraphConstraint=True,
    )
    template = cT.Output(
        doc="Template on the pixel grid of the visit image, with a PSF fitted to its own stars.",
        name="template_detector",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
    )


class WarpTemplateConfig(PipelineTaskConfig, pipelineConnections=WarpTemplateConnections):
    """Configuration of `WarpTemplateTask`."""


@annotates_failures
class WarpTemplateTask(PipelineTask):
    """Warp coadds to a detector and fit the PSF of what comes out (see `.warping`, `.psf_fitting`)."""

    ConfigClass = WarpTemplateConfig
    _DefaultName = "warpTemplate"
    config: WarpTemplateConfig

    def run(self, coadds: Sequence[MaskedImage], science: VisitImage) -> Struct:
        """Warp.

        Parameters
        ----------
        coadds : `~collections.abc.Sequence` of `lsst.images.MaskedImage`
            Coadds of the patches; where they overlap, the first with data counts.
        science : `lsst.images.VisitImage`
            Visit image.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``template`` (`lsst.images.VisitImage`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If the coadds do not overlap the visit image.
        """
        from .psf_fitting import fit_psf

        planes = _mosaic(_warp_to_detector(coadd, science) for coadd in coadds)
        if planes is None or planes.unusable().all():
            raise NoWorkFound("template_coadd: the template does not overlap the visit image.")
        fit = fit_psf(planes)
        self.log.info("Template PSF from %d stars, FWHM %.2f pixels.", fit.n_stars, fit.fwhm)
        self.metadata["n_psf_stars"] = fit.n_stars
        template = replace_planes(science, planes, psf=fit.psf, metadata={"INJECTED": False})
        return Struct(template=template)


def _warp_to_detector(coadd: MaskedImage, science: VisitImage) -> Planes:
    from .warping import warp

    x0, y0 = origin(science)
    patch_x0, patch_y0 = origin(coadd)

    def pixel_map(x: Any, y: Any) -> Any:
        ra, dec = pixel_to_sky(science, x + x0, y + y0, source="visit_image")
        column, row = sky_to_pixel(coadd, ra, dec, source="template_coadd")
        return column - patch_x0, row - patch_y0

    return warp(planes_from_image(coadd, "template_coadd"), pixel_map, science.bbox.shape)


def _mosaic(warps: Iterable[Planes]) -> Planes | None:
    """Put the warps of several patches together: the first that has data at a pixel gives it."""
    result: Planes | None = None
    for warp in warps:
        if result is None:
            result = warp
            continue
        take = result.has(MaskBit.NO_DATA) & ~warp.has(MaskBit.NO_DATA)
        result = Planes(
            np.where(take, warp.image, result.image),
            np.where(take, warp.variance, result.variance),
            np.where(take, warp.mask, result.mask),
        )
    return result
