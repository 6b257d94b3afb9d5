"""The task that subtracts the template from a visit image."""

__all__ = [
    "SubtractImagesConfig",
    "SubtractImagesConnections",
    "SubtractImagesTask",
    "SubtractionFailedError",
]

import lsst.pipe.base.connectionTypes as cT
from lsst.images import Image, VisitImage
from lsst.pex.config import ChoiceField, Field
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct

from ..errors import ScienceError, annotates_failures
from ..images import local_psf, make_difference_image, planes_from_image
from .source_schemas import DIFFERENCE_KERNEL_SOURCES


class SubtractionFailedError(ScienceError):
    """The images do not allow a subtraction, for example for want of stars to match the PSFs on."""


class SubtractImagesConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={"scienceType": "injected_visit_image", "templateType": "template_detector"},
):
    """A visit image and its template in; the difference, and the sky that was subtracted, out."""

    science = cT.Input(
        doc="Visit image.",
        name="{scienceType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
    )
    template = cT.Input(
        doc="Template on the pixel grid of the visit image.",
        name="{templateType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
    )
    difference = cT.Output(
        doc="Science minus template, positive where the visit is brighter.",
        name="difference_image",
        storageClass="DifferenceImage",
        dimensions=("instrument", "visit", "detector"),
    )
    matchedTemplate = cT.Output(
        doc="The template as it was subtracted; errors of the model are proportional to it.",
        name="template_matched",
        storageClass="ImageV2",
        dimensions=("instrument", "visit", "detector"),
    )
    kernelSources = cT.Output(
        doc="The constant sources that the matching kernel was fitted to.",
        name="difference_kernel_sources",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
    )


class SubtractImagesConfig(PipelineTaskConfig, pipelineConnections=SubtractImagesConnections):
    """Configuration of `SubtractImagesTask`; the engine's further settings have no reason to differ."""

    mode = ChoiceField[str](
        doc="Which image to convolve.",
        default="auto",
        allowed={
            "auto": "The one with the smaller PSF.",
            "convolve_template": "The template.",
            "convolve_science": "The science image.",
        },
    )
    kernelOrder = Field[int](doc="Spatial order of the shape of the matching kernel.", default=2)
    backgroundOrder = Field[int](doc="Spatial order of the difference of the skies.", default=2)
    minCandidates = Field[int](doc="Fewest stars and galaxies to fit the kernel to.", default=5)
    minCandidateSnr = Field[float](doc="Smallest signal-to-noise ratio of those.", default=15.0)


@annotates_failures
class SubtractImagesTask(PipelineTask):
    """Subtract a PSF-matched template (Alard & Lupton 1998, whitened; see `.subtraction`)."""

    ConfigClass = SubtractImagesConfig
    _DefaultName = "subtractImages"
    config: SubtractImagesConfig

    def run(self, science: VisitImage, template: VisitImage) -> Struct:
        """Subtract.

        Parameters
        ----------
        science : `lsst.images.VisitImage`
            Visit image.
        template : `lsst.images.VisitImage`
            Template on the same pixel grid.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``difference`` (`lsst.images.DifferenceImage`), ``matchedTemplate`` (`lsst.images.Image`) and
            ``kernelSources`` (`astropy.table.Table` of x, y).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If the template has no pixel in common with the visit image.
        SubtractionFailedError
            If there are too few sources to match the PSFs on.
        """
        from .subtraction import NoOverlapError, SubtractionConfig, SubtractionError, subtract

        config = SubtractionConfig(
            mode=self.config.mode,
            kernel_order=self.config.kernelOrder,
            background_order=self.config.backgroundOrder,
            min_candidates=self.config.minCandidates,
            min_candidate_snr=self.config.minCandidateSnr,
        )
        names = (self.config.connections.scienceType, self.config.connections.templateType)
        images = (science, template)
        planes = [planes_from_image(image, name) for image, name in zip(images, names, strict=True)]
        psfs = [local_psf(image, source=name) for image, name in zip(images, names, strict=True)]
        try:
            result = subtract(planes[0], planes[1], psfs[0], psfs[1], config)
        except NoOverlapError as error:
            raise NoWorkFound(f"{names[1]}: {error}") from error
        except SubtractionError as error:
            raise SubtractionFailedError(str(error), **error.metadata) from error
        self.log.info("Convolved the %s: %s", result.convolved, result.diagnostics)
        for key, value in result.diagnostics.items():
            self.metadata[key] = value
        return Struct(
            difference=make_difference_image(science, result.difference, result.psf),
            matchedTemplate=Image(result.static.image, bbox=science.bbox, unit=science.unit),
            kernelSources=DIFFERENCE_KERNEL_SOURCES.build({"x": result.static.x, "y": result.static.y}),
        )
