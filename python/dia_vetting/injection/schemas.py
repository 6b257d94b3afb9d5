"""Schemas of the tables that the injection tasks read and write."""

from collections.abc import Sequence

from ..tables import Column, TableSchema

__all__ = [
    "HOST_GALAXY",
    "INJECTED_CATALOG",
    "INJECTED_DIFFERENCE_CATALOG",
    "INJECTION_CURVE",
    "INJECTION_LIGHT_CURVE",
    "INJECTION_LIGHT_CURVE_FIT",
    "INJECTION_OBJECT",
    "INJECTION_OUTCOME",
    "TRANSIENT_EPOCH",
    "TRANSIENT_TEMPLATE_EPOCH",
    "TRANSIENT_TRUTH",
    "host_galaxy_schema",
]

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
"""The columns of every host table; `host_galaxy_schema` adds the magnitudes of further bands."""


def host_galaxy_schema(bands: Sequence[str]) -> TableSchema:
    """Return the schema of a host table with the magnitudes of some bands.

    Parameters
    ----------
    bands : `~collections.abc.Sequence` of `str`
        Bands; each gives a column ``host_mag_<band>``.

    Returns
    -------
    schema : `~dia_vetting.tables.TableSchema`
        `HOST_GALAXY` and these columns.
    """
    extra = (Column(f"host_mag_{b}", "f8", f"AB magnitude in {b}; NaN if not measured", "mag") for b in bands)
    return TableSchema(HOST_GALAXY.name, (*HOST_GALAXY.columns, *extra))


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
        Column("host_mag", "f8", "AB magnitude of the host (seed: in the visit's band); NaN if none", "mag"),
        Column("delta_ra", "f8", "Offset from the host to the east, on the tangent plane", "arcsec"),
        Column("delta_dec", "f8", "Offset from the host to the north, on the tangent plane", "arcsec"),
        Column("kind", "U", "appearing (not in the template), faded (only there), varying (both), moving"),
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
        Column("host_mag", "f8", "AB magnitude of the host in this band; NaN for host-less", "mag"),
        Column("midpointMjdTai", "f8", "Middle of the visit, MJD (TAI); NaN if not known", "d"),
        Column("trail_length", "f8", "Length of the path during the exposure; 0 for a point", "arcsec"),
        Column("trail_angle", "f8", "Position angle of the path, east of north; 0 for a point", "deg"),
    ),
)

TRANSIENT_TEMPLATE_EPOCH = TableSchema("transient_template_epoch", TRANSIENT_EPOCH.columns)
"""Light that the template of a visit has of its transients; ``mag`` is that in the template."""

INJECTED_CATALOG = TableSchema(
    "injected_visit_image_catalog",
    (
        *TRANSIENT_EPOCH.columns,
        Column("injection_flag", "i8", "Bit mask of reasons for no injection; 0 = injected (see flags.py)"),
        Column("injection_draw_size", "i8", "Side of the stamp that was drawn", "pix"),
        Column("gain", "f8", "Electrons per nJy, of the photon noise; inf for none", "electron / nJy"),
        Column("x", "f8", "Column in the parent frame of the image", "pix"),
        Column("y", "f8", "Row in the parent frame of the image", "pix"),
        Column("flux", "f8", "Calibrated flux that was injected", "nJy"),
        Column("injected_flux", "f8", "Flux that fell on pixels of the image, with its Poisson noise", "nJy"),
    ),
)

INJECTED_DIFFERENCE_CATALOG = TableSchema("injected_difference_catalog", INJECTED_CATALOG.columns)
"""What a difference image shows of the injections: ``flux`` is that in visit minus that in template."""

INJECTION_OUTCOME = TableSchema(
    "injection_outcome",
    (
        Column("injection_id", "i8", "Id of the injection"),
        Column("visit", "i8", "Visit it was injected into"),
        Column("detector", "i8", "Detector it was injected into"),
        Column("band", "U", "Band of the visit"),
        Column("ra", "f8", "ICRS right ascension that was injected", "deg"),
        Column("dec", "f8", "ICRS declination that was injected", "deg"),
        Column("host_id", "i8", "objectId of the host; 0 for host-less"),
        Column("flux", "f8", "Calibrated flux that was injected", "nJy"),
        Column("expected_snr", "f8", "Flux over the error of a PSF flux there, without its own photon noise"),
        Column("clean", "bool", "No unusable or interpolated pixel within a pixel of the centre"),
        Column("blank", "bool", "Clean, host-less, and no object or other injection near"),
        Column("recovered", "bool", "A DIA source was labelled as this injection"),
        Column("reason", "U", "Why it was missed (see missed_injection); empty if recovered"),
        Column("diaSourceId", "i8", "Id of that DIA source; 0 if missed"),
        Column("snr", "f8", "Signal-to-noise ratio at which it was detected; NaN if missed"),
        Column("psfFlux", "f8", "Its PSF flux on the difference image; NaN if missed", "nJy"),
        Column("psfFluxErr", "f8", "Uncertainty of psfFlux; NaN if missed", "nJy"),
        Column("offset_east", "f8", "Measured minus injected position; NaN if missed", "arcsec"),
        Column("offset_north", "f8", "Measured minus injected position; NaN if missed", "arcsec"),
    ),
)

INJECTION_CURVE = TableSchema(
    "injection_curve",
    (
        Column("sample", "U", "all or blank"),
        Column("snr_low", "f8", "Lower edge of the bin of expected_snr"),
        Column("snr_high", "f8", "Upper edge of the bin, not in it"),
        Column("snr", "f8", "Median expected_snr in the bin; NaN if empty"),
        Column("n_injected", "i8", "Injections"),
        Column("n_recovered", "i8", "Recovered ones"),
        Column("completeness", "f8", "Their ratio; NaN if empty"),
        Column("completeness_low", "f8", "Lower end of its 95 % Wilson interval"),
        Column("completeness_high", "f8", "Upper end of its 95 % Wilson interval"),
        Column("flux_bias", "f8", "Weighted relative bias of psfFlux of the recovered; NaN if none"),
        Column("flux_bias_low", "f8", "Lower end of its 95 % bootstrap interval"),
        Column("flux_bias_high", "f8", "Upper end of its 95 % bootstrap interval"),
        Column("pull_std", "f8", "Standard deviation of (psfFlux - flux) / psfFluxErr; NaN if fewer than 2"),
        Column("pull_std_low", "f8", "Lower end of its 95 % bootstrap interval"),
        Column("pull_std_high", "f8", "Upper end of its 95 % bootstrap interval"),
        Column("offset_median", "f8", "Median distance to the injected position; NaN if none", "arcsec"),
    ),
)

INJECTION_LIGHT_CURVE = TableSchema(
    "injection_light_curve",
    (
        Column("injection_id", "i8", "Id of the transient"),
        Column("diaObjectId", "i8", "Its DIA object"),
        Column("visit", "i8", "Visit of the difference image"),
        Column("detector", "i8", "Detector of the difference image"),
        Column("band", "U", "Band of the visit"),
        Column("midpointMjdTai", "f8", "Middle of the exposure, TAI", "d"),
        Column("flux", "f8", "What was injected: light in the visit minus light in the template", "nJy"),
        Column("psfDiffFlux", "f8", "Forced PSF flux at the object", "nJy"),
        Column("psfDiffFluxErr", "f8", "Uncertainty of psfDiffFlux from the noise", "nJy"),
        Column("staticFluxErr", "f8", "Error that the subtraction adds to it; 0 where not measured", "nJy"),
        Column("detected", "bool", "A DIA source of this image was labelled as this transient"),
        Column("used", "bool", "Measured, on usable pixels"),
    ),
)

INJECTION_LIGHT_CURVE_FIT = TableSchema(
    "injection_light_curve_fit",
    (
        Column("injection_id", "i8", "Id of the transient"),
        Column("band", "U", "Band of the points, or all"),
        Column("n_points", "i8", "Used points"),
        Column("n_detections", "i8", "Of these, with a DIA source"),
        Column("peak_flux", "f8", "Largest injected flux at a point, absolute", "nJy"),
        Column("snr", "f8", "Signal-to-noise ratio of the light curve, sqrt(sum flux^2 / err^2)"),
        Column("amplitude", "f8", "Measured over injected light curve, least squares; NaN without light"),
        Column("amplitude_err", "f8", "Uncertainty of amplitude"),
        Column("chi2", "f8", "Of the measured about the injected fluxes; as many degrees as points"),
        Column("chi2_shape", "f8", "The same with the amplitude free; one degree fewer"),
        Column("chi2_noise", "f8", "As chi2, with psfDiffFluxErr alone as the error"),
    ),
)

INJECTION_OBJECT = TableSchema(
    "injection_object",
    (
        Column("injection_id", "i8", "Id of the transient"),
        Column("host_id", "i8", "objectId of the host; 0 for host-less"),
        Column("ra", "f8", "ICRS right ascension that was injected", "deg"),
        Column("dec", "f8", "ICRS declination that was injected", "deg"),
        Column("model", "U", "Name of the population model that drew it"),
        Column("n_visits", "i8", "Visits that got some of its light, or whose template did"),
        Column("n_detections", "i8", "DIA sources labelled as it"),
        Column("n_objects", "i8", "DIA objects that these are in"),
        Column("diaObjectId", "i8", "That with most of them; 0 if it was never detected"),
    ),
)
