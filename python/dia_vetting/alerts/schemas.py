"""The table of scores of alerts."""

from ..tables import Column, TableSchema

__all__ = ["ALERT_SCORE"]

ALERT_SCORE = TableSchema(
    "alert_score",
    (
        Column("diaSourceId", "i8", "Id of Rubin's DIA source; 0 for other streams"),
        Column("candid", "i8", "Id of ZTF's candidate; 0 for other streams"),
        Column("objectId", "U", "The stream's name of the object; empty if it has none"),
        Column("stream", "U", "rubin or ztf"),
        Column("band", "U", "Band"),
        Column("ra", "f8", "ICRS right ascension; NaN if the packet has no valid one", "deg"),
        Column("dec", "f8", "ICRS declination; NaN if the packet has no valid one", "deg"),
        Column("snr", "f8", "Signal-to-noise ratio of the detection, positive; NaN if not known"),
        Column("reliability", "f4", "Probability of being real at the prevalence assumed; NaN if not scored"),
        Column("reliability_err", "f4", "Scatter of the score between networks; NaN for one"),
        Column("ood", "f4", "Fraction of training sources that were less strange; NaN if not known"),
        Column("valid_fraction", "f4", "Fraction of the pixels that are finite in all three cutouts"),
        Column("stream_score", "f8", "Rubin's reliability, or ZTF's drb; NaN if the packet has none"),
        Column("model", "U", "Name of the shipped model, or file of the model"),
        Column("version", "U", "Version of the model: the first 7 characters of its content hash"),
        Column("file", "U", "File that the alert was in"),
        Column("reason", "U", "Why there is no score; empty where there is one"),
    ),
)
