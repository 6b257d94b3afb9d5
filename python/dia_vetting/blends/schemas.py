"""Schemas of the tables that the blend tasks write."""

from ..tables import Column, TableSchema

__all__ = ["ANSWER", "DIA_SOURCE_BLEND", "OBJECT_BLEND"]

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
