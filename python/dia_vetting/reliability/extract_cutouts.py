"""The task that cuts a triplet of stamps out around every DIA source."""

__all__ = [
    "ExtractCutoutsConfig",
    "ExtractCutoutsConnections",
    "ExtractCutoutsTask",
    "ImageBoxError",
    "check_boxes",
    "cutout_meta",
    "smooth_fwhm",
]

from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.images import MaskedImage
from lsst.pex.config import RangeField
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from numpy.typing import NDArray

from ..cutouts import CENTRE_CONVENTION, PlacedPlanes, Triplets, cut_triplets
from ..errors import BadInputError, annotates_failures
from ..images import local_psf, origin, planes_from_image
from ..masks import INJECTION_BITS, MaskBit
from ..psf import PolynomialPsf, chebyshev_terms
from .schemas import DIA_SOURCE_CUTOUT, DIA_SOURCE_REQUIRED

_DIMENSIONS = ("instrument", "visit", "detector")


class ImageBoxError(BadInputError):
    """An image that does not cover the box of the difference image, or is smaller than a stamp."""


class ExtractCutoutsConnections(
    PipelineTaskConnections,
    dimensions=_DIMENSIONS,
    defaultTemplates={
        "scienceType": "injected_visit_image",
        "templateType": "template_detector",
        "differenceType": "difference_image",
        "diaSourceType": "dia_source_detector",
        "cutoutType": "dia_source_cutout",
    },
):
    """Three images and a DIA source table in, one row of stamps per source out."""

    science = cT.Input(
        doc="Science image that was subtracted from (with the injected sources, where there are any).",
        name="{scienceType}",
        storageClass="VisitImage",
        dimensions=_DIMENSIONS,
    )
    template = cT.Input(
        doc="Template on the pixel grid of the science image.",
        name="{templateType}",
        storageClass="VisitImage",
        dimensions=_DIMENSIONS,
    )
    difference = cT.Input(
        doc="Difference image.",
        name="{differenceType}",
        storageClass="DifferenceImage",
        dimensions=_DIMENSIONS,
    )
    diaSources = cT.Input(
        doc="DIA sources of the difference image.",
        name="{diaSourceType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    cutouts = cT.Output(
        doc="Stamps of every DIA source, raw pixels.",
        name="{cutoutType}",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    cutoutSchema = cT.InitOutput(
        doc="Columns of the cutout table.", name="{cutoutType}_schema", storageClass="ArrowAstropy"
    )


class ExtractCutoutsConfig(PipelineTaskConfig, pipelineConnections=ExtractCutoutsConnections):
    """Configuration of `ExtractCutoutsTask`."""

    stampSize = RangeField[int](
        doc="Side of the stamps, pixels. 30 is the smallest stamp in a Rubin alert.", default=30, min=1
    )


@annotates_failures
class ExtractCutoutsTask(PipelineTask):
    """Cut science, template and difference out around every DIA source.

    A 4k x 4k detector takes about 0.8 GB while it runs: three images with variance and mask (12 bytes per
    pixel each, so 0.6 GB) and the stamps (20 S^2 bytes per source: 18 kB at S = 30).
    """

    ConfigClass = ExtractCutoutsConfig
    _DefaultName = "extractCutouts"
    config: ExtractCutoutsConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cutoutSchema = DIA_SOURCE_CUTOUT.describe()

    def run(
        self, science: MaskedImage, template: MaskedImage, difference: MaskedImage, diaSources: Table
    ) -> Struct:
        """Cut out.

        Parameters
        ----------
        science, template, difference : `lsst.images.MaskedImage`
            On one pixel grid; the difference has a PSF.
        diaSources : `astropy.table.Table`
            In `DIA_SOURCE_REQUIRED`'s schema; ``diaObjectId`` is kept where it is there.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``cutouts``: `astropy.table.Table` in `DIA_SOURCE_CUTOUT`'s schema, rows as in ``diaSources``.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If there is no DIA source.
        ImageBoxError
            If science or template do not cover the difference, or a stamp is larger than the difference.
        TableSchemaError
            If the table lacks a column, or it has another unit.
        """
        names = self.config.connections
        DIA_SOURCE_REQUIRED.check(diaSources, names.diaSourceType)
        if not len(diaSources):
            raise NoWorkFound(f"{names.diaSourceType}: there is no DIA source to cut out.")
        check_boxes(difference, {names.scienceType: science, names.templateType: template})
        if self.config.stampSize > min(difference.bbox.shape):
            wanted = f"an image no smaller than the stamps of {self.config.stampSize} pixels (stampSize)"
            raise ImageBoxError(names.differenceType, wanted, str(difference.bbox))
        x, y = (np.asarray(diaSources[name], dtype=float) for name in "xy")
        triplets = cut_triplets(
            _place(science, names.scienceType),
            _place(template, names.templateType),
            _place(difference, names.differenceType),
            x,
            y,
            self.config.stampSize,
        )
        x0, y0 = origin(difference)
        fwhm = smooth_fwhm(local_psf(difference, source=names.differenceType), x - x0, y - y0)
        self._count(triplets.valid_fraction)
        return Struct(cutouts=_table(diaSources, triplets, fwhm))

    def _count(self, valid_fraction: NDArray[np.float32]) -> None:
        incomplete, empty = int((valid_fraction < 1).sum()), int((valid_fraction == 0).sum())
        self.metadata["n_cutouts"] = len(valid_fraction)
        self.metadata["n_incomplete"] = incomplete
        self.metadata["n_without_data"] = empty
        self.log.info(
            "Cut out %d DIA sources; %d stamps have pixels without data, %d nothing else.",
            len(valid_fraction),
            incomplete,
            empty,
        )


def _place(image: MaskedImage, source: str) -> PlacedPlanes:
    return PlacedPlanes(planes_from_image(image, source), *origin(image))


def _table(dia_sources: Table, triplets: Triplets, fwhm: NDArray[np.float64]) -> Table:
    values = {c.name: dia_sources[c.name] for c in DIA_SOURCE_REQUIRED.columns if c.name not in "xy"}
    known = "diaObjectId" in dia_sources.colnames
    values["diaObjectId"] = dia_sources["diaObjectId"] if known else np.zeros(len(dia_sources), np.int64)
    for plane in ("science", "template", "difference", "variance", "mask", "valid_fraction"):
        values[plane] = getattr(triplets, plane)
    values |= {"psf_fwhm": fwhm, "x0": triplets.x_first, "y0": triplets.y_first}
    return DIA_SOURCE_CUTOUT.build(values, cutout_meta(triplets.mask.shape[1]))


def cutout_meta(size: int) -> dict[str, Any]:
    """Return the metadata of a cutout table.

    Parameters
    ----------
    size : `int`
        Side of the stamps, pixels.

    Returns
    -------
    meta : `dict`
        ``stamp_size``, ``centre`` (the convention in words) and ``mask_planes`` (bit number by name).
    """
    planes = {str(bit.name): int(bit).bit_length() - 1 for bit in MaskBit if not bit & INJECTION_BITS}
    return {"stamp_size": size, "centre": CENTRE_CONVENTION, "mask_planes": planes}


def check_boxes(difference: MaskedImage, others: dict[str, MaskedImage]) -> None:
    """Check that images cover the difference.

    Parameters
    ----------
    difference : `lsst.images.MaskedImage`
        Difference image.
    others : `dict` [`str`, `lsst.images.MaskedImage`]
        Images by dataset type.

    Raises
    ------
    ImageBoxError
        If one does not.
    """
    for name, image in others.items():
        if not image.bbox.contains(difference.bbox):
            wanted = f"an image that covers the difference's {difference.bbox}"
            raise ImageBoxError(name, wanted, str(image.bbox))


def smooth_fwhm(
    psf: PolynomialPsf, x: NDArray[np.float64], y: NDArray[np.float64], order: int = 2, nodes: int = 4
) -> NDArray[np.float64]:
    """Return the FWHM of a PSF at many positions, from a polynomial through a few nodes.

    Parameters
    ----------
    psf : `~dia_vetting.psf.PolynomialPsf`
        PSF model.
    x, y : `numpy.ndarray`, (N,)
        Positions in the frame of the PSF, pixels; those outside its box take the value at its edge.
    order : `int`, optional
        Largest total degree.
    nodes : `int`, optional
        Nodes per axis.

    Returns
    -------
    fwhm : `numpy.ndarray`, (N,), float64
        Pixels; NaN where the position is not finite.
    """
    x_low, x_high, y_low, y_high = psf.box
    x_node, y_node = (
        axis.ravel()
        for axis in np.meshgrid(np.linspace(x_low, x_high, nodes), np.linspace(y_low, y_high, nodes))
    )
    terms = chebyshev_terms(x_node, y_node, order, psf.box)
    solution = np.linalg.lstsq(terms, psf.fwhm(x_node, y_node), rcond=None)[0]
    x, y = np.clip(x, x_low, x_high), np.clip(y, y_low, y_high)
    return np.asarray(chebyshev_terms(x, y, order, psf.box) @ solution, np.float64)
