"""Schemas of the tables that the injection tasks read and write."""

from ..tables import Column, TableSchema

__all__ = ["HOST_GALAXY", "INJECTED_CATALOG", "TRANSIENT_EPOCH", "TRANSIENT_TRUTH"]

_HOST_SHAPE = (
    Column("host_a", "f8", "Host semi-major axis (rms, from second moments)", "arcsec"),
    Column("host_b", "f8", "Host semi-minor axis (rms, from second moments)", "arcsec"),
    Column("host_pa", "f8", "Position angle of the major axis, east of north", "deg"),
)

HOST_GALAXY = TableSchema(
    "host_galaxy",
    (
        Column("host_id", "i8", "objectId of the host"),
        Column("tract", "i8", "Tract the host was selected in"),
        Column("patch", "i8", "Patch the host was measured in"),
        Column("host_ra", "f8", "ICRS right ascension", "deg"),
        Column("host_dec", "f8", "ICRS declination", "deg"),
        *_HOST_SHAPE,
        Column("host_mag", "f8", "AB magnitude in the reference band", "mag"),
        Column("host_extendedness", "f8", "Extendedness in the reference band"),
    ),
)

TRANSIENT_TRUTH = TableSchema(
    "transient_truth",
    (
        Column("injection_id", "i8", "63-bit id: hash of seed, instrument, skymap, tract, population, index"),
        Column("host_id", "i8", "objectId of the host; 0 for host-less"),
        Column("ra", "f8", "ICRS right ascension of the transient", "deg"),
        Column("dec", "f8", "ICRS declination of the transient", "deg"),
        Column("host_ra", "f8", "ICRS right ascension of the host; NaN for host-less", "deg"),
        Column("host_dec", "f8", "ICRS declination of the host; NaN for host-less", "deg"),
        *_HOST_SHAPE,
        Column("host_mag", "f8", "AB magnitude of the host; NaN for host-less", "mag"),
        Column("delta_ra", "f8", "Offset from the host to the east, on the tangent plane", "arcsec"),
        Column("delta_dec", "f8", "Offset from the host to the north, on the tangent plane", "arcsec"),
        Column("model", "U", "Name of the population model that drew it"),
        Column("parameters", "U", "Parameters of the model, JSON"),
    ),
)

TRANSIENT_EPOCH = TableSchema(
    "transient_epoch",
    (
        Column("injection_id", "i8", "Id of the transient in transient_truth"),
        Column("visit", "i8", "The one visit that this row is to be injected into"),
        Column("band", "U", "Band of the visit"),
        Column("ra", "f8", "ICRS right ascension", "deg"),
        Column("dec", "f8", "ICRS declination", "deg"),
        Column("mag", "f8", "AB magnitude in this visit", "mag"),
        Column("source_type", "U", "Profile by the name lsst.source.injection uses: Star is a point source"),
        Column("host_id", "i8", "objectId of the host; 0 for host-less"),
        Column("host_mag", "f8", "AB magnitude of the host; NaN for host-less", "mag"),
    ),
)

INJECTED_CATALOG = TableSchema(
    "injected_visit_image_catalog",
    (
        *TRANSIENT_EPOCH.columns,
        Column("injection_flag", "i8", "Bit mask of reasons for no injection; 0 = injected (see flags.py)"),
        Column("injection_draw_size", "i8", "Side of the stamp that was drawn", "pix"),
        Column("x", "f8", "Column in the parent frame of the image", "pix"),
        Column("y", "f8", "Row in the parent frame of the image", "pix"),
        Column("flux", "f8", "Calibrated flux that was injected", "nJy"),
        Column("injected_flux", "f8", "Flux that fell on pixels of the image, with its Poisson noise", "nJy"),
    ),
)
