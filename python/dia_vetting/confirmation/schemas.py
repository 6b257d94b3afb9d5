"""Schemas of the tables that the confirmation tasks read and write."""

from ..embedded.source_schemas import BANDS
from ..tables import Column, TableSchema

__all__ = ["CLASSES", "DIA_OBJECT_VERDICT", "TERMS", "VERDICTS", "term_column"]

VERDICTS = ("confirmed", "candidate", "variable", "moving", "artefact", "unknown")
"""Values of ``verdict``; confirmed and candidate are transients."""

CLASSES = ("transient", "variable", "moving", "artefact")
"""What an object may be; artefact is the one that log-odds are relative to."""

TERMS = (
    ("prior", "how common each class is among objects with as many detections"),
    ("reliability", "the scores of its detections"),
    ("recurrence", "in how many of the visits it was detected, and in how many nights and bands"),
    ("coherence", "the light curve: rise and decline, random walk, constant, isolated outliers"),
    ("sign", "signs of its fluxes"),
    ("position", "scatter and drift of its positions, and detector pixels"),
    ("shape", "trails, dipoles, extended sources"),
    ("context", "host, star and what the offsets from them say"),
)
"""Named terms of the log-odds, each a column per class but artefact; see `term_column`."""


def term_column(term: str, name: str) -> str:
    """Return the name of the column that holds a term of the log-odds.

    Parameters
    ----------
    term : `str`
        One of `TERMS`.
    name : `str`
        One of `CLASSES` but the last.
    """
    return f"logOdds_{term}_{name}"


_IDENTITY = (
    Column("diaObjectId", "i8", "Id of the DIA object"),
    Column("ra", "f8", "ICRS right ascension", "deg"),
    Column("dec", "f8", "ICRS declination", "deg"),
    Column("nDiaSources", "i8", "Number of its DIA sources, without duplicated ones"),
    Column("firstDiaSourceMjdTai", "f8", "Time of the first source, TAI; NaN if none", "d"),
    Column("lastDiaSourceMjdTai", "f8", "Time of the last source, TAI; NaN if none", "d"),
    Column("bestDiaSourceId", "i8", "Id of the source with the highest SNR; 0 if none"),
    Column("maxSnr", "f8", "SNR of that source; NaN if none"),
)

_ANSWER = (
    Column("verdict", "U", "confirmed, candidate, variable, moving, artefact or unknown"),
    Column("probability", "f8", "Probability of the verdict: of the class it stands for"),
    *(Column(f"p_{name}", "f8", f"Probability that it is of the class {name}") for name in CLASSES),
    Column("flags", "i8", "Bits of dia_vetting.confirmation.flags.VerdictFlag"),
    Column("verdictVersion", "U", "Version of the rule, at most 7 characters"),
    Column("lastVisitMjdTai", "f8", "Time of the last visit that was looked at, TAI; NaN if none", "d"),
)

_COUNTS = (
    Column("nEpochs", "i8", "Visits with a usable flux, detected or not"),
    Column("nDetections", "i8", "Visits with a DIA source"),
    Column("nNonDetections", "i8", "Visits with a usable forced flux and no DIA source"),
    Column("nForced", "i8", "Usable forced fluxes"),
    Column("nLeftOut", "i8", "Points that were left out: not finite, on unusable pixels, duplicated"),
    Column("nNights", "i8", "Nights (day_obs) with a usable flux"),
    Column("nNightsDetected", "i8", "Nights with a DIA source"),
    Column("nBands", "i8", "Bands with a usable flux"),
    Column("nBandsDetected", "i8", "Bands with a DIA source"),
    *(
        column
        for band in BANDS
        for column in (
            Column(f"{band}_nEpochs", "i8", f"Usable fluxes in {band}"),
            Column(f"{band}_nDetections", "i8", f"DIA sources in {band}"),
        )
    ),
)

_RELIABILITY = (
    Column("nScored", "i8", "DIA sources with a reliability"),
    Column("nEffective", "f8", "Independent epochs that the scores are worth; 0 without scores"),
    Column(
        "combinedReliability",
        "f8",
        "Probability of being real by all scores, at the prevalence of one; NaN if none",
    ),
    Column("reliabilityMax", "f8", "Highest reliability of its sources; NaN if none"),
    Column("reliabilityMedian", "f8", "Median reliability of its sources; NaN if none"),
    Column("oodMedian", "f8", "Median ood of its sources; NaN if not known"),
    Column("pBlendMedian", "f8", "Median p_blend of its sources; NaN if not known"),
)

_COHERENCE = (
    Column("lightCurveSnr", "f8", "sqrt(sum flux^2 / err^2) over all points; NaN without points"),
    Column("chi2Constant", "f8", "Chi-square about a constant in each band; NaN without points"),
    Column("dofConstant", "i8", "Degrees of freedom of chi2Constant"),
    Column("chi2Transient", "f8", "Chi-square about the best rise and decline; NaN without points"),
    Column("dofTransient", "i8", "Degrees of freedom of chi2Transient, at least 0"),
    Column("peakMjdTai", "f8", "Peak of the best rise and decline, TAI; NaN without points", "d"),
    Column("riseTime", "f8", "Its time of rise; NaN without points", "d"),
    Column("declineTime", "f8", "Its e-folding time of the decline; NaN without points", "d"),
    Column("lnTransient", "f8", "Log evidence of a rise and decline over that of noise alone"),
    Column("lnVariable", "f8", "Log evidence of a damped random walk about a mean over that of noise alone"),
    Column("lnConstant", "f8", "Log evidence of a constant offset in each band over that of noise alone"),
    Column("lnOutliers", "f8", "Log evidence of isolated outliers over that of noise alone"),
    Column("nPositive", "i8", "Detections with a positive flux"),
    Column("nNegative", "i8", "Detections with a negative flux"),
)

_MOTION = (
    Column("positionScatter", "f8", "Rms distance of its sources to their mean; NaN of one", "arcsec"),
    Column("chi2Position", "f8", "Chi-square of the positions about their mean; NaN of one"),
    Column("dofPosition", "i8", "Degrees of freedom of chi2Position"),
    Column("motionRate", "f8", "Rate of the best linear motion; NaN if not known", "arcsec / d"),
    Column("motionSignificance", "f8", "sqrt of the chi-square that the motion takes away; NaN if unknown"),
    Column("pixelScatter", "f8", "Rms distance of its sources on the detector; NaN of one", "pix"),
    Column("trailLengthMedian", "f8", "Median trailLength of its sources; NaN if not known", "arcsec"),
    Column("dipoleFraction", "f8", "Fraction of its sources that are dipoles; NaN if not known"),
)

_CONTEXT = (
    Column("hostObjectId", "i8", "objectId of the nearest host, in radii of the host; 0 if none"),
    Column("hostOffset", "f8", "Distance from the centre of that host; NaN if none", "arcsec"),
    Column("hostOffsetRadii", "f8", "The same over the radius of the host in that direction; NaN if none"),
    Column("hostMag", "f8", "AB magnitude of the host in its reference band; NaN if none", "mag"),
    Column("hostless", "bool", "No galaxy within reach; false where no table of objects was given"),
    Column("starId", "i8", "Id of the nearest star; 0 if none within reach"),
    Column("starOffset", "f8", "Distance of the nearest star; NaN if none", "arcsec"),
    Column("starMag", "f8", "AB magnitude of the nearest star; NaN if none", "mag"),
)

_TERM_COLUMNS = tuple(
    Column(term_column(term, name), "f8", f"Log-odds of {name} over artefact from {text}")
    for term, text in TERMS
    for name in CLASSES[:-1]
)

DIA_OBJECT_VERDICT = TableSchema(
    "dia_object_verdict",
    (*_IDENTITY, *_ANSWER, *_COUNTS, *_RELIABILITY, *_COHERENCE, *_MOTION, *_CONTEXT, *_TERM_COLUMNS),
)
"""One row per DIA object."""
