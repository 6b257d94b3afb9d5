"""The task that puts transients into the pixels of a visit image."""

from __future__ import annotations

__all__ = ["InjectTransientsConfig", "InjectTransientsConnections", "InjectTransientsTask"]

from collections.abc import Sequence
from typing import Any

import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.images import VisitImage
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from numpy.typing import NDArray

from ..errors import annotates_failures
from ..images import (
    nanojansky_per_electron,
    origin,
    pixel_to_sky,
    planes_from_image,
    replace_planes,
    sky_to_pixel,
)
from ..magnitudes import ab_flux
from ..planes import Planes
from ..seeding import generator
from ..tables import stack_tables
from .block_stamps import BlockStamps
from .drawing import Drawing, StampMaker, border_fraction, draw_sources
from .flags import InjectionFlag, count_flags
from .gain import fit_gain
from .host_geometry import deproject, project
from .image_stamps import image_stamps
from .schemas import INJECTED_CATALOG, TRANSIENT_EPOCH

type F64 = NDArray[np.float64]

_POINT_SOURCES = ("Star", "DeltaFunction")

_ROUND_TRIP = 1.0
"""Arcsec by which a position may miss itself on the way to pixels and back."""


class InjectTransientsConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={
        "visitImageType": "visit_image",
        "injectedPrefix": "injected_",
        "epochType": "transient_epoch",
    },
):
    """A visit image and transients in, the image with the transients of this visit and their catalog out."""

    visitImage = cT.Input(
        doc="Calibrated image.",
        name="{visitImageType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
    )
    epochs = cT.Input(
        doc="Transients of the tracts that the image overlaps; without any the image is passed through.",
        name="{epochType}",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "skymap", "tract"),
        multiple=True,
        minimum=0,
    )
    injectedImage = cT.Output(
        doc="The image with the transients in it.",
        name="{injectedPrefix}{visitImageType}",
        storageClass="VisitImage",
        dimensions=("instrument", "visit", "detector"),
    )
    injectedCatalog = cT.Output(
        doc="The transients that were to be injected, and what became of each.",
        name="{injectedPrefix}{visitImageType}_catalog",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit", "detector"),
    )
    injectedCatalogSchema = cT.InitOutput(
        doc="Columns of the injected catalog.",
        name="{injectedPrefix}{visitImageType}_catalog_schema",
        storageClass="ArrowAstropy",
    )


class InjectTransientsConfig(PipelineTaskConfig, pipelineConnections=InjectTransientsConnections):
    """Configuration of `InjectTransientsTask`."""

    seed = Field[int](doc="Seed of the photon noise.", default=0)
    gainFromVariance = Field[bool](
        doc="Take the gain from the way the variance grows with the flux, even if the calibration has one.",
        default=False,
    )
    padding = RangeField[int](
        doc="Pixels around the image in which a source still counts as one of this image. Its wings reach in "
        "if its stamp does; otherwise it gets the flag NO_OVERLAP.",
        default=100,
        min=0,
    )
    blockTolerance = RangeField[float](
        doc="Largest deviation from the PSF itself, in units of the peak, of images that are interpolated "
        "over field and sub-pixel phase to draw many at once. 0 evaluates the PSF for every source.",
        default=2e-4,
        min=0.0,
    )
    blockMinimum = RangeField[int](
        doc="Sources on an image from which on it is worth while to interpolate.", default=2000, min=0
    )


@annotates_failures
class InjectTransientsTask(PipelineTask):
    """Inject point sources and trails: the image's own PSF, calibrated flux, photon noise and variance."""

    ConfigClass = InjectTransientsConfig
    _DefaultName = "injectTransients"
    config: InjectTransientsConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.injectedCatalogSchema = INJECTED_CATALOG.describe()

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read; the data ID names the visit whose rows count and seeds the noise."""
        data_id = butlerQC.quantum.dataId
        assert data_id is not None, "every quantum has a data ID"
        inputs = butlerQC.get(inputRefs)
        for ref, table in zip(inputRefs.epochs, inputs["epochs"], strict=True):
            TRANSIENT_EPOCH.check(table, f"{ref.datasetType.name} {ref.dataId}")
        name = inputRefs.visitImage.datasetType.name
        outputs = self.run(
            inputs["visitImage"],
            inputs["epochs"],
            instrument=str(data_id["instrument"]),
            visit=int(data_id["visit"]),
            detector=int(data_id["detector"]),
            dataset_type=name,
        )
        butlerQC.put(outputs, outputRefs)

    def run(
        self,
        visitImage: VisitImage,
        epochs: Sequence[Table],
        *,
        instrument: str,
        visit: int,
        detector: int,
        dataset_type: str = "visit_image",
    ) -> Struct:
        """Inject the transients of one visit into the image of one detector.

        Parameters
        ----------
        visitImage : `lsst.images.VisitImage`
            Is not changed.
        epochs : `~collections.abc.Sequence` of `astropy.table.Table`
            In `~dia_vetting.injection.schemas.TRANSIENT_EPOCH`; rows of other visits are left out.
        instrument : `str`
            Name of the instrument.
        visit, detector : `int`
            Ids.
        dataset_type : `str`, optional
            Name of the image's dataset type, which becomes the value of its metadata key INJECTED.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``injectedImage``, `lsst.images.VisitImage`; ``injectedCatalog``, `astropy.table.Table` in
            `~dia_vetting.injection.schemas.INJECTED_CATALOG`, a row for each transient of the visit inside
            the padded image. If there are none, the pixels are those of ``visitImage``.

        Raises
        ------
        MissingImageComponentError
            If the image has no WCS or no PSF.
        NoUsablePixelsError
            If no pixel is finite.
        GainError
            If neither the image's scaling nor its variance says how many electrons a nJy is.
        """
        source = f"{dataset_type} (visit {visit}, detector {detector})"
        planes = planes_from_image(visitImage, source)
        stamps = image_stamps(visitImage, source)
        rows, x, y = self._rows_on_image(visitImage, epochs, visit, source)
        flux, flag = ab_flux(rows["mag"]), _input_flags(rows)
        good = flag == 0
        gain = self._gain(visitImage, planes, source) if good.any() else np.nan
        rngs = [
            generator("photon noise", self.config.seed, instrument, visit, detector, int(key))
            for key in rows["injection_id"][good]
        ]
        x0, y0 = origin(visitImage)
        drawing = draw_sources(
            planes,
            stamps,
            x[good] - x0,
            y[good] - y0,
            flux[good],
            gain,
            rngs,
            trail=_trails(visitImage, rows[good], x[good], y[good], source),
            block=self._block(stamps, planes.shape, int(good.sum())),
        )
        catalog = _catalog(rows, x, y, flux, flag, drawing, gain)
        self._report(catalog, gain, stamps(planes.shape[1] / 2, planes.shape[0] / 2)[0])
        return Struct(
            injectedImage=replace_planes(visitImage, drawing.planes, metadata={"INJECTED": dataset_type}),
            injectedCatalog=catalog,
        )

    def _rows_on_image(
        self, image: VisitImage, epochs: Sequence[Table], visit: int, source: str
    ) -> tuple[Table, F64, F64]:
        """Return the rows of this visit inside the padded image, and their parent-frame positions."""
        rows = stack_tables([table[np.asarray(table["visit"]) == visit] for table in epochs], TRANSIENT_EPOCH)
        rows = rows[np.argsort(np.asarray(rows["injection_id"]), kind="stable")]  # for the sums
        known = np.isfinite(np.asarray(rows["ra"], float)) & np.isfinite(np.asarray(rows["dec"], float))
        if not known.all():
            self.log.warning("%s: %d rows have no position and are left out.", source, np.sum(~known))
        self.metadata["rows_without_position"] = int(np.sum(~known))
        rows = rows[known]
        ra, dec = np.asarray(rows["ra"], float), np.asarray(rows["dec"], float)
        self.metadata["rows_of_visit"], self.metadata["rows_on_image"] = len(rows), 0
        if not len(rows):
            return rows, ra, dec
        x, y = sky_to_pixel(image, ra, dec, source)
        box, pad = image.bbox, self.config.padding + 0.5
        inside = (x > box.x.start - 0.5 - pad) & (x < box.x.stop - 0.5 + pad)
        inside &= (y > box.y.start - 0.5 - pad) & (y < box.y.stop - 0.5 + pad)
        # Far off the image the inverse of a distortion may point back into it.
        back_ra, back_dec = pixel_to_sky(image, x, y, source)
        inside &= np.hypot(*project(back_ra, back_dec, ra, dec)) < _ROUND_TRIP
        self.metadata["rows_on_image"] = int(inside.sum())
        return rows[inside], x[inside], y[inside]

    def _block(self, stamps: StampMaker, shape: tuple[int, int], count: int) -> BlockStamps | None:
        """Return interpolated PSF images where they are worth while and good enough."""
        if not self.config.blockTolerance or count < self.config.blockMinimum:
            return None
        block = BlockStamps.fit(stamps, shape, self.config.blockTolerance)
        self.metadata["block_error"] = block.error if block is not None else float("nan")
        if block is None:
            self.log.info(
                "The PSF cannot be interpolated to %g; drawing sources one by one.",
                self.config.blockTolerance,
            )
        return block

    def _gain(self, image: VisitImage, planes: Planes, source: str) -> float:
        """Return electrons per nJy: what the image says, else what its variance says."""
        scale = nanojansky_per_electron(image, image.bbox.x.center, image.bbox.y.center)
        if scale is None or self.config.gainFromVariance:
            return fit_gain(planes, source)
        return 1.0 / float(scale[0])

    def _report(self, catalog: Table, gain: float, unit: F64) -> None:
        flags = count_flags(catalog["injection_flag"])
        injected = int(np.count_nonzero(catalog["injection_flag"] == 0))
        self.metadata["injected"], self.metadata["flagged"] = injected, flags
        if not injected:
            self.log.info("No transient to inject; the pixels are those of the input. Flagged: %s.", flags)
            return
        self.metadata["gain"], self.metadata["psf_border_fraction"] = gain, border_fraction(unit)
        self.log.info(
            "Injected %d transients; flagged and left out: %s. Gain %.4g e/nJy; the outermost pixels of the "
            "PSF stamp hold %.2g of the flux.",
            injected,
            flags or "none",
            gain,
            border_fraction(unit),
        )


def _trails(image: VisitImage, rows: Table, x: F64, y: F64, source: str) -> tuple[F64, F64] | None:
    """Return the paths during the exposure, pixels along x and y; `None` if nothing moves."""
    length = np.asarray(rows["trail_length"], float)
    if not (length > 0).any():
        return None
    angle = np.deg2rad(np.asarray(rows["trail_angle"], float))
    ra, dec = deproject(
        0.5 * length * np.sin(angle),
        0.5 * length * np.cos(angle),
        np.asarray(rows["ra"]),
        np.asarray(rows["dec"]),
    )
    end_x, end_y = sky_to_pixel(image, ra, dec, source)
    moves = length > 0
    return np.where(moves, 2.0 * (end_x - x), 0.0), np.where(moves, 2.0 * (end_y - y), 0.0)


def _input_flags(rows: Table) -> NDArray[np.int64]:
    flag = np.zeros(len(rows), np.int64)
    flag[~np.isfinite(np.asarray(rows["mag"], float))] |= InjectionFlag.MAG_BAD
    flag[~np.isin(np.asarray(rows["source_type"]).astype(str), _POINT_SOURCES)] |= InjectionFlag.TYPE_UNKNOWN
    return flag


def _catalog(
    rows: Table, x: F64, y: F64, flux: F64, input_flag: NDArray[np.int64], drawing: Drawing, gain: float
) -> Table:
    good = input_flag == 0
    flag, size, on_image = input_flag.copy(), np.zeros(len(rows), np.int64), np.zeros(len(rows))
    flag[good], size[good], on_image[good] = drawing.flag, drawing.draw_size, drawing.on_image
    values = {name: rows[name] for name in TRANSIENT_EPOCH.names()}
    values |= {"injection_flag": flag, "injection_draw_size": size, "x": x, "y": y}
    values |= {"flux": flux, "injected_flux": on_image}
    values["gain"] = np.full(len(rows), gain if np.isfinite(gain) else np.inf)
    # For readers of the file: a butler drops this metadata on read.
    meta = {str(bit.name): int(bit).bit_length() - 1 for bit in InjectionFlag}
    return INJECTED_CATALOG.build(values, meta)
