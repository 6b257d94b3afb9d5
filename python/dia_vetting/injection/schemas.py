"""Schemas of the tables that the injection tasks read and write."""

from collections.abc import Sequence

from ..tables import Column, TableSchema

__all__ = [
    "HOST_GALAXY",
    "HOST_PROFILE",
    "HOST_REDSHIFT",
    "INJECTED_CATALOG",
    "INJECTED_DIFFERENCE_CATALOG",
    "INJECTION_CURVE",
    "INJECTION_EFFICIENCY",
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


HOST_REDSHIFT = (Column("host_redshift", "f8", "Redshift; NaN if not known"),)

HOST_PROFILE = (
    Column("host_bulge_fraction", "f8", "Bulge's share of the flux of bulge and disc; NaN if not measured"),
    Column("host_bulge_radius", "f8", "Half-light semi-major axis of the bulge (de Vaucouleurs)", "arcsec"),
    Column("host_disc_radius", "f8", "Half-light semi-major axis of the disc (exponential)", "arcsec"),
)


def host_galaxy_schema(bands: Sequence[str], extra: Sequence[Column] = ()) -> TableSchema:
    """Return the schema of a host table with further columns.

    Parameters
    ----------
    bands : `~collections.abc.Sequence` of `str`
        Bands; each gives a column ``host_mag_<band>``.
    extra : `~collections.abc.Sequence` of `~dia_vetting.tables.Column`
        `HOST_REDSHIFT`, `HOST_PROFILE` or both.

    Returns
    -------
    schema : `~dia_vetting.tables.TableSchema`
        `HOST_GALAXY` and these columns.
    """
    mags = (Column(f"host_mag_{b}", "f8", f"AB magnitude in {b}; NaN if not measured", "mag") for b in bands)
    return TableSchema(HOST_GALAXY.name, (*HOST_GALAXY.columns, *mags, *extra))


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
        Column("x", "f8", "Column that was injected at, in the parent frame of the image", "pix"),
        Column("y", "f8", "Row that was injected at, in the parent frame of the image", "pix"),
        Column("host_id", "i8", "objectId of the host; 0 for host-less"),
        Column("host_mag", "f8", "AB magnitude of the host in this band; NaN for host-less", "mag"),
        Column("separation", "f8", "From the host's centre; NaN if host-less or not known", "arcsec"),
        Column(
            "host_surface_brightness",
            "f8",
            "Of the host's light there, if it is an exponential disc (Sersic index 1, as in placement "
            "host_light) with the measured second moments, PSF included; NaN if host-less or not known",
            "mag / arcsec2",
        ),
        Column("flux", "f8", "Calibrated flux that was injected; in the difference, of either sign", "nJy"),
        Column("mag", "f8", "AB magnitude of the absolute flux; NaN of none", "mag"),
        Column("expected_snr", "f8", "Flux over the error of a PSF flux there, without its own photon noise"),
        Column("clean", "bool", "No unusable or interpolated pixel within a pixel of the centre"),
        Column("blank", "bool", "Clean, host-less, and no object or other injection near"),
        Column("recovered", "bool", "A DIA source was labelled as this injection"),
        Column("reason", "U", "Why it was missed (see missed_injection); empty if recovered"),
        Column("diaSourceId", "i8", "Id of that DIA source; 0 if missed"),
        Column("snr", "f8", "Signal-to-noise ratio at which it was detected; NaN if missed"),
        Column("psfFlux", "f8", "Its PSF flux on the difference image; NaN if missed", "nJy"),
        Column("psfFluxErr", "f8", "Uncertainty of psfFlux; NaN if missed", "nJy"),
        Column(
            "staticFluxErr", "f8", "Its error from the static sky; NaN if missed or not in the table", "nJy"
        ),
        Column("offset_east", "f8", "Measured minus injected position; NaN if missed", "arcsec"),
        Column("offset_north", "f8", "Measured minus injected position; NaN if missed", "arcsec"),
    ),
)


def _with_interval(
    name: str, description: str, unit: str = "", kind: str = "bootstrap"
) -> tuple[Column, ...]:
    ends = (("low", "Lower"), ("high", "Upper"))
    return (
        Column(name, "f8", description, unit),
        *(Column(f"{name}_{e}", "f8", f"{end} end of its 95 % {kind} interval", unit) for e, end in ends),
    )


INJECTION_CURVE = TableSchema(
    "injection_curve",
    (
        Column("sample", "U", "all or blank"),
        Column("variable", "U", "snr (expected_snr), mag, host_surface_brightness or separation"),
        Column("band", "U", "Band, or all"),
        Column("low", "f8", "Lower edge of the bin of the variable"),
        Column("high", "f8", "Upper edge of the bin, not in it"),
        Column("median", "f8", "Median of the variable in the bin; NaN if empty"),
        Column("n_injected", "i8", "Injections of which the variable is known"),
        Column("n_recovered", "i8", "Recovered ones"),
        *_with_interval("completeness", "Their ratio; NaN if empty", kind="Wilson"),
        Column(
            "n_measured",
            "i8",
            "Recovered ones of which bias, pulls and offset are: all against snr and mag; against the host's "
            "quantities those of expected_snr >= 10, since near the limit those that noise made brighter are "
            "found more often, and that bias would hide the host's. NaN if fewer than 5",
        ),
        *_with_interval("flux_bias", "Weighted relative bias of psfFlux"),
        *_with_interval("pull_std", "Standard deviation of (psfFlux - flux) / psfFluxErr"),
        *_with_interval("pull_width", "1.4826 times the median absolute deviation of the same"),
        *_with_interval("pull_static", "As pull_std, with staticFluxErr added to psfFluxErr in quadrature"),
        *_with_interval("offset_median", "Median distance to the injected position", "arcsec"),
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
        Column("n_outliers", "i8", "Of these, more than 5 standard deviations from what was injected"),
        Column("n_detections", "i8", "Of these, with a DIA source"),
        Column("peak_flux", "f8", "Largest injected flux at a point, absolute", "nJy"),
        Column("snr", "f8", "Signal-to-noise ratio of the light curve, sqrt(sum flux^2 / err^2)"),
        Column(
            "amplitude", "f8", "A of psfDiffFlux = A flux + zero level, without outliers; NaN without light"
        ),
        Column("amplitude_err", "f8", "Uncertainty of amplitude"),
        Column("zero_level", "f8", "Zero level of the fit of this band; NaN for all", "nJy"),
        Column("chi2", "f8", "Of all points about the injected fluxes; as many degrees as points"),
        Column("chi2_noise", "f8", "As chi2, with psfDiffFluxErr alone as the error"),
        Column("chi2_shape", "f8", "What the fit leaves; NaN without a degree of freedom"),
        Column("n_degrees", "i8", "Degrees of freedom of chi2_shape"),
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

INJECTION_EFFICIENCY = TableSchema(
    "injection_efficiency",
    (
        Column("sample", "U", "all or blank"),
        Column(
            "model",
            "U",
            "magnitude: ceiling / (1 + exp((mag - m50) / width)) for each band; product: a function of "
            "expected_snr, band, host surface brightness and separation (see product_model.py)",
        ),
        Column("band", "U", "Band; all if the parameter is that of every band"),
        Column("parameter", "U", "Name in the form"),
        Column("value", "f8", "Maximum of the likelihood; NaN if the injections say nothing of it"),
        Column("low", "f8", "Lower end of the 95 % interval, bootstrap over sky"),
        Column("high", "f8", "Upper end of the interval"),
        Column("unit", "U", "Unit of value, low and high"),
        Column("n", "i8", "Injections that it was fitted to"),
    ),
)
"""Fitted detection efficiencies, one row for each parameter."""
