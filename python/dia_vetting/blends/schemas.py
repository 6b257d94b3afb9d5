"""Schemas of the tables that the blend tasks write."""

from ..tables import Column, TableSchema

__all__ = ["ANSWER", "BLENDING_IMPACT", "DIA_SOURCE_BLEND", "OBJECT_BLEND"]

ANSWER = (
    Column("p_blend", "f4", "Probability that the source is blended with another; NaN if not scored"),
    Column("n_sources", "i8", "Most probable number of sources in the stamp, 4 for 4 or more; 0 if unknown"),
    Column("overlap_area", "f4", "Where two sources or more are above the threshold; NaN if unknown", "pix2"),
    Column("sextractor_blend", "bool", "Whether sep splits the source from another; false if not scored"),
    Column("blendVersion", "U", "Version of the model, at most 7 characters"),
    Column("flags", "i8", "Bits of dia_vetting.blends.flags.BlendFlag, named in the metadata"),
)
"""What is said of every source. Why one was not scored is in its flags."""

DIA_SOURCE_BLEND = TableSchema(
    "dia_source_blend",
    (
        Column("diaSourceId", "i8", "Id of the DIA source"),
        Column("visit", "i8", "Visit of the image"),
        Column("detector", "i8", "Detector of the image"),
        Column("band", "U", "Band of the visit"),
        Column("ra", "f8", "ICRS right ascension", "deg"),
        Column("dec", "f8", "ICRS declination", "deg"),
        *ANSWER,
    ),
)

OBJECT_BLEND = TableSchema(
    "object_blend",
    (
        Column("objectId", "i8", "Id of the object"),
        Column("tract", "i8", "Tract of the coadd"),
        Column("patch", "i8", "Patch of the coadd, in whose inner region the object lies"),
        Column("band", "U", "Band of the coadd"),
        Column("coord_ra", "f8", "ICRS right ascension", "deg"),
        Column("coord_dec", "f8", "ICRS declination", "deg"),
        *ANSWER,
    ),
)

BLENDING_IMPACT = TableSchema(
    "blending_impact",
    (
        Column("figure", "U", "What was measured, see dia_vetting.blends.impact"),
        Column("treatment", "U", "all sources; sextractor or ours: without the blends it flags; or truth"),
        Column("by", "U", "What is binned by; empty for all rows"),
        Column("bin_low", "f8", "Lower edge of the bin; NaN for all rows"),
        Column("bin_high", "f8", "Upper edge of the bin; NaN for all rows"),
        Column("bin_unit", "U", "Unit of the edges; empty for none"),
        Column("n", "i8", "Rows behind the figure; for two_point, pairs"),
        Column("unit", "U", "Unit of the figure; empty for none"),
        Column("value", "f8", "The figure; NaN where too few rows"),
        Column("low", "f8", "Lower end of its 95 % interval"),
        Column("high", "f8", "Upper end of its 95 % interval"),
        Column("change", "f8", "The figure minus that of all sources; NaN where that is not measured"),
        Column("change_low", "f8", "Lower end of its 95 % interval, of paired replicates"),
        Column("change_high", "f8", "Upper end of its 95 % interval, of paired replicates"),
    ),
)
