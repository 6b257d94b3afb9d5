"""Schemas of the tables that the embedded stand-ins write, and of the truth of a simulation."""

from ..tables import Column, TableSchema

__all__ = ["SIM_TRUTH_ARTEFACT", "SIM_TRUTH_OBJECT", "SIM_TRUTH_PSF", "SIM_TRUTH_SOURCE"]

SIM_TRUTH_OBJECT = TableSchema(
    "sim_truth_object",
    (
        Column("truth_id", "i8", "Id of the static object"),
        Column("kind", "U", "star or galaxy"),
        Column("ra", "f8", "ICRS right ascension", "deg"),
        Column("dec", "f8", "ICRS declination", "deg"),
        Column("mag", "f8", "Mean AB magnitude in the reference band (r)", "mag"),
        Column("color", "f8", "g - i colour", "mag"),
        Column("half_light_radius", "f8", "Half-light radius; 0 for stars", "arcsec"),
    ),
)

SIM_TRUTH_SOURCE = TableSchema(
    "sim_truth_source",
    (
        Column("truth_id", "i8", "Id of the source, the same in all visits"),
        Column("kind", "U", "hidden (transient), variable or moving"),
        Column("ra", "f8", "ICRS right ascension in this visit", "deg"),
        Column("dec", "f8", "ICRS declination in this visit", "deg"),
        Column("x", "f8", "Column in the image", "pix"),
        Column("y", "f8", "Row in the image", "pix"),
        Column("flux", "f8", "True flux in the visit minus that in the template", "nJy"),
        Column("trail_length", "f8", "Length of the trail of a moving source; 0 otherwise", "pix"),
    ),
)

SIM_TRUTH_ARTEFACT = TableSchema(
    "sim_truth_artefact",
    (
        Column("artefact_id", "i8", "Number within the image; the pieces of one extended defect share it"),
        Column("cause", "U", "What it is, one of the causes in the survey configuration"),
        Column("x_min", "i8", "First column of the bounding box", "pix"),
        Column("x_max", "i8", "Last column of the bounding box, inclusive", "pix"),
        Column("y_min", "i8", "First row of the bounding box", "pix"),
        Column("y_max", "i8", "Last row of the bounding box, inclusive", "pix"),
        Column("x", "f8", "Column of the centroid", "pix"),
        Column("y", "f8", "Row of the centroid", "pix"),
        Column("flux", "f8", "Total flux that was added", "nJy"),
        Column("peak", "f8", "Largest excess of a pixel, in units of the sky noise"),
        Column("masked", "bool", "Whether the image's mask says so"),
    ),
)

SIM_TRUTH_PSF = TableSchema(
    "sim_truth_psf",
    (
        Column("x", "f8", "Column of the node", "pix"),
        Column("y", "f8", "Row of the node", "pix"),
        Column("stamp", "f4", "True PSF at the node [S, S] as [y, x], pixel included, centred", "", (-1, -1)),
    ),
)
