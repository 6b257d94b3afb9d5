"""Schemas of `object`, of the DIA tables and of forced photometry, as the embedded stand-ins write them."""

__all__ = [
    "BANDS",
    "DIA_OBJECT",
    "DIA_OBJECT_FORCED_SOURCE",
    "DIA_SOURCE",
    "DIFFERENCE_KERNEL_SOURCES",
    "PIXEL_FLAGS",
    "object_schema",
]

from collections.abc import Sequence

from ..tables import Column, TableSchema

BANDS = ("u", "g", "r", "i", "z", "y")

PIXEL_FLAGS = {
    "bad": "bad pixels",
    "cr": "a masked cosmic ray",
    "crosstalk": "crosstalk",
    "edge": "the edge of the image",
    "interpolated": "interpolated pixels",
    "nodata": "pixels without data in either image",
    "saturated": "saturated pixels",
    "saturated_template": "pixels that are saturated in the template",
    "bad_template": "pixels that are bad in the template",
    "nodata_template": "pixels without data in the template",
    "streak": "a masked streak",
    "suspect": "suspect pixels",
    "injected": "the stamp of an injected source",
    "injected_core": "the core of an injected source",
}
"""Mask planes that are summarised in ``pixelFlags_<name>`` (footprint) and ``pixelFlags_<name>Center``."""

DIA_SOURCE = TableSchema(
    "dia_source_detector",
    (
        Column("diaSourceId", "i8", "Id: packed visit and detector, and a counter"),
        Column("diaObjectId", "i8", "Id of the DIA object; 0 before association"),
        Column("visit", "i8", "Visit of the difference image"),
        Column("detector", "i8", "Detector of the difference image"),
        Column("band", "U", "Band of the visit"),
        Column("midpointMjdTai", "f8", "Middle of the exposure, TAI", "d"),
        Column("ra", "f8", "ICRS right ascension", "deg"),
        Column("dec", "f8", "ICRS declination", "deg"),
        Column("x", "f8", "Column in the parent frame of the image", "pix"),
        Column("y", "f8", "Row in the parent frame of the image", "pix"),
        Column("xErr", "f8", "Uncertainty of x", "pix"),
        Column("yErr", "f8", "Uncertainty of y", "pix"),
        Column("snr", "f8", "|psfFlux| over psfFluxErr"),
        Column(
            "significance", "f8", "What the detection threshold applied to, signed: systematic errors in it"
        ),
        Column("staticFluxErr", "f8", "Error of psfFlux from the subtracted constant sky", "nJy"),
        Column("psfFlux", "f8", "PSF flux on the difference image", "nJy"),
        Column("psfFluxErr", "f8", "Uncertainty of psfFlux", "nJy"),
        Column("psfChi2", "f8", "Chi-square of the PSF fit"),
        Column("psfNdata", "i8", "Number of pixels in the PSF fit"),
        Column("apFlux", "f8", "Aperture flux on the difference image", "nJy"),
        Column("apFluxErr", "f8", "Uncertainty of apFlux", "nJy"),
        Column("scienceFlux", "f8", "Forced PSF flux on the science image", "nJy"),
        Column("scienceFluxErr", "f8", "Uncertainty of scienceFlux", "nJy"),
        Column("templateFlux", "f8", "Forced PSF flux on the template", "nJy"),
        Column("templateFluxErr", "f8", "Uncertainty of templateFlux", "nJy"),
        Column("ixx", "f8", "Second moment", "pix2"),
        Column("iyy", "f8", "Second moment", "pix2"),
        Column("ixy", "f8", "Second moment", "pix2"),
        Column("ixxPSF", "f8", "Second moment of the PSF", "pix2"),
        Column("iyyPSF", "f8", "Second moment of the PSF", "pix2"),
        Column("ixyPSF", "f8", "Second moment of the PSF", "pix2"),
        Column("extendedness", "f8", "1 = extended, 0 = point-like, NaN = not known"),
        Column("isDipole", "bool", "Best described as a positive and a negative source side by side"),
        Column("dipoleMeanFlux", "f8", "Mean of the fluxes of the two lobes", "nJy"),
        Column("dipoleFluxDiff", "f8", "Sum of the signed fluxes of the two lobes", "nJy"),
        Column("dipoleLength", "f8", "Separation of the lobes", "arcsec"),
        Column("dipoleAngle", "f8", "Angle from the negative to the positive lobe, from +x to +y", "deg"),
        Column("trailFlux", "f8", "Flux of the trail model", "nJy"),
        Column("trailLength", "f8", "Length of the trail model", "arcsec"),
        Column("trailAngle", "f8", "Direction of the trail, from +x to +y", "deg"),
        Column("isNegative", "bool", "Detected as a negative source"),
        Column("centroid_flag", "bool", "The position did not converge: it is that of the peak"),
        *(
            Column(f"pixelFlags_{name}", "bool", f"{text} in the footprint")
            for name, text in PIXEL_FLAGS.items()
        ),
        *(
            Column(f"pixelFlags_{name}Center", "bool", f"{t} in the centre")
            for name, t in PIXEL_FLAGS.items()
        ),
    ),
)

DIA_OBJECT = TableSchema(
    "dia_object",
    (
        Column("diaObjectId", "i8", "Id: hash of skymap, tract and first source"),
        Column("ra", "f8", "ICRS right ascension, mean over its sources", "deg"),
        Column("dec", "f8", "ICRS declination, mean over its sources", "deg"),
        Column("nDiaSources", "i8", "Number of DIA sources"),
        Column("firstDiaSourceMjdTai", "f8", "Time of the first source, TAI", "d"),
        Column("lastDiaSourceMjdTai", "f8", "Time of the last source, TAI", "d"),
        *(
            column
            for band in BANDS
            for column in (
                Column(f"{band}_psfFluxMean", "f8", f"Weighted mean of psfFlux in {band}", "nJy"),
                Column(f"{band}_psfFluxMeanErr", "f8", "Uncertainty of that mean", "nJy"),
                Column(f"{band}_psfFluxNdata", "i8", f"Number of DIA sources in {band}"),
            )
        ),
    ),
)

DIA_OBJECT_FORCED_SOURCE = TableSchema(
    "dia_object_forced_source",
    (
        Column("diaObjectId", "i8", "Id of the DIA object"),
        Column("visit", "i8", "Visit of the difference image"),
        Column("detector", "i8", "Detector of the difference image"),
        Column("band", "U", "Band of the visit"),
        Column("midpointMjdTai", "f8", "Middle of the exposure, TAI", "d"),
        Column("ra", "f8", "ICRS right ascension at which it was measured", "deg"),
        Column("dec", "f8", "ICRS declination at which it was measured", "deg"),
        Column("psfDiffFlux", "f8", "Forced PSF flux on the difference image; NaN off its pixels", "nJy"),
        Column("psfDiffFluxErr", "f8", "Uncertainty of psfDiffFlux from the noise", "nJy"),
        Column("staticFluxErr", "f8", "Error that the subtraction of constant sources adds to it", "nJy"),
        Column("pixelFlags_bad", "bool", "On pixels that cannot be used (bad, saturated, no data)"),
    ),
)


DIFFERENCE_KERNEL_SOURCES = TableSchema(
    "difference_kernel_sources",
    (
        Column("x", "i8", "Column of the source, from the first pixel of the image", "pix"),
        Column("y", "i8", "Row of the source, from the first pixel of the image", "pix"),
    ),
)


def object_schema(bands: Sequence[str]) -> TableSchema:
    """Return the schema of `object` for a set of bands.

    Parameters
    ----------
    bands : `~collections.abc.Sequence` of `str`
        Bands that were measured, in order; the first one is the reference band.

    Returns
    -------
    schema : `~dia_vetting.tables.TableSchema`
        Columns by their DRP names.
    """
    return TableSchema("object", (*_OBJECT_COLUMNS, *(c for band in bands for c in _band_columns(band))))


_OBJECT_COLUMNS = (
    Column("objectId", "i8", "Id: hash of skymap, tract, patch and a counter"),
    Column("tract", "i8", "Tract of the coadd"),
    Column("patch", "i8", "Patch in which it was measured"),
    Column("x", "f8", "Column in the tract frame", "pix"),
    Column("y", "f8", "Row in the tract frame", "pix"),
    Column("coord_ra", "f8", "ICRS right ascension", "deg"),
    Column("coord_dec", "f8", "ICRS declination", "deg"),
    Column("refBand", "U", "Band in which position and shape were measured"),
    Column("refExtendedness", "f8", "1 = extended, 0 = point-like, NaN = not known"),
    Column("shape_xx", "f8", "Adaptive second moment in the reference band, PSF included", "pix2"),
    Column("shape_yy", "f8", "Adaptive second moment in the reference band, PSF included", "pix2"),
    Column("shape_xy", "f8", "Adaptive second moment in the reference band, PSF included", "pix2"),
    Column("shape_flag", "bool", "The moments could not be measured"),
    Column("detect_isPrimary", "bool", "Inside the inner region of its patch and tract"),
)


def _band_columns(band: str) -> tuple[Column, ...]:
    return (
        Column(f"{band}_psfFlux", "f8", "PSF flux", "nJy"),
        Column(f"{band}_psfFluxErr", "f8", "Uncertainty of the PSF flux", "nJy"),
        Column(f"{band}_kronFlux", "f8", "Kron flux", "nJy"),
        Column(f"{band}_kronFluxErr", "f8", "Uncertainty of the Kron flux", "nJy"),
        Column(f"{band}_kronFlux_flag", "bool", "The Kron flux is not to be trusted"),
        Column(f"{band}_extendedness", "f8", "1 = extended, 0 = point-like, NaN = not known"),
        Column(f"{band}_ixxPSF", "f8", "Second moment of the PSF", "pix2"),
        Column(f"{band}_iyyPSF", "f8", "Second moment of the PSF", "pix2"),
        Column(f"{band}_ixyPSF", "f8", "Second moment of the PSF", "pix2"),
    )
