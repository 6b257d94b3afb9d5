"""Schemas of the tables that the vetting tasks read and write."""

from ..tables import Column, TableSchema

__all__ = [
    "DIA_SOURCE_CUTOUT",
    "DIA_SOURCE_LABEL",
    "DIA_SOURCE_REQUIRED",
    "DIA_SOURCE_VETTING",
    "MISSED_INJECTION",
    "RELIABILITY_CURVE",
    "RELIABILITY_EMBEDDING",
    "RELIABILITY_HUMAN_LABEL",
    "RELIABILITY_INFLUENCE",
    "RELIABILITY_TRAINING",
    "RELIABILITY_TRUTH",
]

_ID = Column("diaSourceId", "i8", "Id of the DIA source")
_SKY = (
    Column("visit", "i8", "Visit of the difference image"),
    Column("detector", "i8", "Detector of the difference image"),
    Column("band", "U", "Band of the visit"),
    Column("ra", "f8", "ICRS right ascension", "deg"),
    Column("dec", "f8", "ICRS declination", "deg"),
)
_POSITION = (
    Column("x", "f8", "Column in the parent frame of the image", "pix"),
    Column("y", "f8", "Row in the parent frame of the image", "pix"),
)
_FLUX = (
    Column("psfFlux", "f8", "PSF flux on the difference image", "nJy"),
    Column("snr", "f8", "Signal-to-noise ratio at which the source was detected; positive"),
)

DIA_SOURCE_REQUIRED = TableSchema(
    "dia_source_detector",
    (
        _ID,
        *_SKY,
        *_POSITION,
        *_FLUX,
        Column("psfFluxErr", "f8", "Uncertainty of psfFlux", "nJy"),
    ),
)
"""The columns of a DIA source table that vetting needs; whatever else is there is kept and ignored."""

DIA_SOURCE_CUTOUT = TableSchema(
    "dia_source_cutout",
    (
        _ID,
        Column("diaObjectId", "i8", "Id of the DIA object where known; 0 otherwise"),
        *_SKY,
        *_FLUX,
        Column("psfFluxErr", "f8", "Uncertainty of psfFlux", "nJy"),
        Column("science", "f4", "Science pixels [S, S] as [y, x]; NaN off the edge", "nJy", (-1, -1)),
        Column("template", "f4", "Template pixels [S, S] as [y, x]; NaN off the edge", "nJy", (-1, -1)),
        Column("difference", "f4", "Difference pixels [S, S] as [y, x]; NaN off the edge", "nJy", (-1, -1)),
        Column("variance", "f4", "Variance of the difference [S, S]; NaN off the edge", "nJy2", (-1, -1)),
        Column("mask", "u4", "MaskBit planes [S, S] without the injection planes", "", (-1, -1)),
        Column("psf_fwhm", "f4", "Full width at half maximum of the PSF of the difference", "pix"),
        Column("x0", "i8", "Parent-frame column of the first pixel of the stamp", "pix"),
        Column("y0", "i8", "Parent-frame row of the first pixel of the stamp", "pix"),
        Column("valid_fraction", "f4", "Fraction of stamp pixels that are finite in all three images"),
    ),
)

DIA_SOURCE_LABEL = TableSchema(
    "dia_source_label",
    (
        _ID,
        *_SKY,
        Column("snr", "f8", "Signal-to-noise ratio of the DIA source"),
        Column("state", "U", "injected, unlabelled, ambiguous or masked"),
        Column("injection_id", "i8", "Id of the matched injection, for masked sources too; 0 if none"),
        Column(
            "nearest_injection_id", "i8", "Id of the matched, or else nearest, injection in reach; 0 if none"
        ),
        Column("match_distance", "f8", "Distance to that injection; NaN if none", "arcsec"),
        Column("flux_ratio", "f8", "psfFlux over injected flux of that injection; NaN if none"),
    ),
)

MISSED_INJECTION = TableSchema(
    "missed_injection",
    (
        Column("injection_id", "i8", "Id of the injection that no DIA source recovered"),
        *_SKY,
        *_POSITION,
        Column("flux", "f8", "Calibrated flux that was injected", "nJy"),
        Column("reason", "U", "undetected, flux_inconsistent, confused, masked or not_injected"),
        Column("injection_flag", "i8", "The injection's own flag; 0 = it was injected"),
    ),
)

DIA_SOURCE_VETTING = TableSchema(
    "dia_source_vetting",
    (
        _ID,
        *_SKY,
        Column("snr", "f8", "Signal-to-noise ratio of the DIA source"),
        Column("reliability", "f4", "Probability of being real at the prevalence assumed; NaN if not scored"),
        Column("reliability_err", "f4", "Scatter of the score between networks; NaN for one"),
        Column(
            "ood",
            "f4",
            "Fraction of the training sources that were less strange; NaN where the model cannot tell",
        ),
        Column("glint_trail", "bool", "Whether it is one of a row of flashes, which lowered its reliability"),
        Column("fold", "i8", "Fold of the source's sky cell; -1 if scored by the ensemble mean"),
        Column("model", "U", "Name of the model: a shipped one's, or else its dataset type"),
        Column("version", "U", "Version of the model, at most 7 characters"),
        Column("reason", "U", "Why there is no score; empty where there is one"),
    ),
)

RELIABILITY_TRUTH = TableSchema(
    "reliability_truth",
    (
        _ID,
        *_SKY,
        Column("snr", "f8", "Signal-to-noise ratio of the DIA source"),
        Column("psfFlux", "f8", "PSF flux on the difference image; NaN if it has no cutout", "nJy"),
        Column("valid_fraction", "f4", "Fraction of stamp pixels that are finite; NaN if it has no cutout"),
        Column("state", "U", "State in dia_source_label"),
        Column("reliability", "f4", "Score; NaN if not scored"),
        Column("glint_trail", "bool", "Whether it is one of a row of flashes"),
        Column("injection_id", "i8", "Id of the matched injection; 0 if none"),
        Column("injection_kind", "U", "appearing, faded or varying; empty if not injected or not known"),
        Column("host_surface_brightness", "f8", "Of the host of the injection; NaN if none", "mag / arcsec2"),
        Column("host_offset", "f8", "Distance of the injection from its host; NaN if none", "arcsec"),
        Column("host_offset_radii", "f8", "The same in radii of the host in that direction; NaN if none"),
        Column("truth_class", "U", "injected, hidden, variable, moving, artefact or ambiguous"),
        Column("cause", "U", "Cause of an artefact; empty for others"),
        Column("truth_id", "i8", "injection_id or truth_id of a real source; 0 for others"),
    ),
)

RELIABILITY_CURVE = TableSchema(
    "reliability_curve",
    (
        Column("comparison", "U", "Which classes are told apart, see reliability_metrics"),
        Column("subset", "U", "Which sources: all, snr6 (SNR >= 6), or a subset of reliability_metrics"),
        Column("curve", "U", "roc, precision_recall, calibration, or completeness or purity_<quantity>"),
        Column("threshold", "f8", "Score from which on a source is called real; NaN where it varies"),
        Column("x", "f8", "False-positive rate, completeness, mean prediction, or median of the bin"),
        Column("x_low", "f8", "Lower edge of the bin; x for curves without bins"),
        Column("x_high", "f8", "Upper edge of the bin; x for curves without bins"),
        Column("y", "f8", "True-positive rate, purity, completeness or fraction; NaN where undefined"),
        Column("y_low", "f8", "Lower end of the interval of y"),
        Column("y_high", "f8", "Upper end of the interval of y"),
        Column("n", "i8", "Sources that y is a fraction of, in the bin; all positives for ROC and PR"),
    ),
)

RELIABILITY_TRAINING = TableSchema(
    "reliability_training",
    (
        _ID,
        *_SKY,
        Column("snr", "f8", "Signal-to-noise ratio of the DIA source"),
        Column("state", "U", "State in dia_source_label"),
        Column("sky_cell", "i8", "HEALPix cell, nested, at the resolution in the metadata"),
        Column("fold", "i8", "Fold of the cell"),
        Column("used", "bool", "Whether the row took part in training (ambiguous and masked ones do not)"),
        Column("reliability", "f4", "Out-of-fold score"),
    ),
)

RELIABILITY_INFLUENCE = TableSchema(
    "reliability_influence",
    (
        _ID,
        *_SKY,
        Column("snr", "f8", "Signal-to-noise ratio of the DIA source"),
        Column("state", "U", "State in dia_source_label: the label that was trained with"),
        Column("self_influence", "f8", "Squared gradient of the loss with respect to the last layer"),
        Column("influence_rank", "i8", "Place by self_influence; 1 = most"),
        Column("label_quality", "f8", "Trust in the label by confident learning, in [0, 1]; NaN if no score"),
        Column("quality_rank", "i8", "Place by label_quality; 1 = least trusted, 0 = none"),
        Column("doubted", "bool", "Whether confident learning would throw the label out"),
        Column("reliability", "f4", "Out-of-fold score"),
    ),
)

RELIABILITY_EMBEDDING = TableSchema(
    "reliability_embedding",
    (
        _ID,
        Column("visit", "i8", "Visit of the difference image"),
        Column("detector", "i8", "Detector of the difference image"),
        Column("umap_x", "f4", "Position on the map, which has no unit; NaN if there is a reason"),
        Column("umap_y", "f4", "Position on the map, which has no unit; NaN if there is a reason"),
        Column("fitted", "bool", "Whether the map was made of the source, or it was put there afterwards"),
        Column("trained", "bool", "Whether the network was trained, or chosen, with sky of its cell"),
        Column("neighbours", "i8", "diaSourceId of those most like it, nearest first; 0 for none", "", (-1,)),
        Column("neighbour_distances", "f4", "Their distances in the features; NaN for none", "", (-1,)),
        Column("reason", "U", "Why it has no position; empty where it has one"),
    ),
)

RELIABILITY_HUMAN_LABEL = TableSchema(
    "reliability_human_label",
    (
        _ID,
        Column("label", "U", "real, bogus or unsure: what somebody said who looked at it"),
        Column("time", "U", "When, UTC, ISO 8601"),
        Column("labeller", "U", "Who, as given when ingesting; may be empty"),
        Column("page", "U", "Report page on which it was said"),
    ),
)
