import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.embedded.schemas import SIM_TRUTH_ARTEFACT, SIM_TRUTH_OBJECT, SIM_TRUTH_SOURCE
from dia_vetting.reliability.truth_matching import Truth, classify_sources

ARCSEC = 1 / 3600


def make_sources(x, y, flux=1000.0, **flags):
    """DIA sources of a camera of 0.2 arcsec a pixel on the equator."""
    n = len(x)
    x, y = np.asarray(x, float), np.asarray(y, float)
    table = {"x": x, "y": y, "ra": 10 + x * 0.2 * ARCSEC, "dec": y * 0.2 * ARCSEC}
    table |= {"psfFlux": np.broadcast_to(np.asarray(flux, float), n), "psfFluxErr": np.full(n, 10.0)}
    return Table(table | {f"pixelFlags_{name}": value for name, value in flags.items()})


def make_labels(n, injection=0, near=None):
    injection = np.broadcast_to(injection, n)
    return Table({"injection_id": injection, "nearest_injection_id": injection if near is None else near})


def make_truth(sources=(), artefacts=(), objects=()):
    kinds, x, y, flux, trail = zip(*sources, strict=True) if sources else ((),) * 5
    n = len(x)
    true = {
        "truth_id": np.arange(n) + 50,
        "kind": np.array(kinds, "U8"),
        "ra": np.zeros(n),
        "dec": np.zeros(n),
    }
    true |= {"x": np.array(x, float), "y": np.array(y, float), "flux": np.array(flux, float)}
    causes, box, peak = zip(*artefacts, strict=True) if artefacts else ((), np.zeros((0, 4)), ())
    x0, x1, y0, y1 = np.reshape(box, (-1, 4)).T
    defect = {
        "artefact_id": np.arange(len(peak)),
        "cause": np.array(causes, "U20"),
        "peak": np.array(peak, float),
    }
    defect |= {"x_min": x0, "x_max": x1, "y_min": y0, "y_max": y1, "x": (x0 + x1) / 2, "y": (y0 + y1) / 2}
    defect |= {"flux": np.ones(len(peak)), "masked": np.zeros(len(peak), bool)}
    kind, ox, oy, mag = zip(*objects, strict=True) if objects else ((),) * 4
    m = len(ox)
    static = {"truth_id": np.arange(m), "kind": np.array(kind, "U8"), "mag": np.array(mag, float)}
    static |= {"ra": 10 + np.array(ox, float) * 0.2 * ARCSEC, "dec": np.array(oy, float) * 0.2 * ARCSEC}
    static |= {"color": np.zeros(m), "half_light_radius": np.where(np.array(kind, "U8") == "star", 0.0, 1.5)}
    return Truth(
        SIM_TRUTH_SOURCE.build(true | {"trail_length": np.array(trail, float)}),
        SIM_TRUTH_ARTEFACT.build(defect),
        SIM_TRUTH_OBJECT.build(static),
    )


def test_classes_and_ids():
    sources = make_sources([10, 30, 50, 70, 90], [10] * 5, [1000, 1000, -1000, 900, 1000])
    truth = make_truth(
        [("hidden", 30.5, 10, 1000, 0), ("variable", 50, 11, -1000, 0), ("moving", 78, 10, 4000, 14)]
    )
    classes = classify_sources(sources, make_labels(5, [7, 0, 0, 0, 0], [7, 0, 0, 0, 8]), truth)
    assert list(classes.truth_class) == ["injected", "hidden", "variable", "moving", "ambiguous"]
    assert list(classes.truth_id) == [7, 50, 51, 52, 0]
    assert list(classes.cause) == [""] * 5


@pytest.mark.parametrize("flux", [-1000.0, 100.0, 5000.0])
def test_wrong_flux_beside_a_true_source_is_an_artefact(flux):
    truth = make_truth([("hidden", 30, 10, 1000, 0)])
    classes = classify_sources(make_sources([30], [10], flux), make_labels(1), truth)
    assert list(classes.truth_class) == ["artefact"]


def test_too_far_is_an_artefact():
    truth = make_truth([("hidden", 33, 10, 1000, 0)])
    assert classify_sources(make_sources([30], [10]), make_labels(1), truth).truth_class[0] == "artefact"


def test_causes_in_their_order():
    truth = make_truth(
        artefacts=[
            ("cosmic_ray", (10, 14, 10, 14), 30),
            ("ghost", (0, 400, 0, 40), 1),
            ("streak", (0, 13, 0, 40), 9),
        ],
        objects=[("star", 100, 10, 15), ("star", 200, 10, 21), ("galaxy", 300, 10, 20), ("star", 11, 10, 15)],
    )
    x = [12, 5, 116.5, 122, 208.5, 204, 314, 500]
    flags = {"edge": np.arange(8) == 7}
    classes = classify_sources(make_sources(x, [12] + [10] * 7, **flags), make_labels(8), truth)
    expected = ["cosmic_ray", "streak", "bright_star", "bright_star", "ghost", "star", "galaxy", "edge"]
    assert list(classes.cause) == expected
    assert set(classes.truth_class) == {"artefact"}


def test_nothing_known_is_noise_and_flags_explain_the_rest():
    flags = {"nodata_template": [True, False, False], "saturated": [True, True, False]}
    classes = classify_sources(make_sources([1, 2, 3], [5, 5, 5], **flags), make_labels(3), make_truth())
    assert list(classes.cause) == ["template_defect", "masked_pixels", "noise"]


def test_negative_source_with_flux_in_the_template_is_its_defect():
    sources = make_sources([1, 2, 3], [5, 5, 5], [-1000, -1000, 1000])
    sources["templateFlux"], sources["templateFluxErr"] = [1000.0, np.nan, 1000.0], [10.0, 10.0, 10.0]
    classes = classify_sources(sources, make_labels(3), make_truth())
    assert list(classes.cause) == ["template_defect", "noise", "noise"]


def test_strong_defect_beside_an_injection_is_no_ambiguity():
    truth = make_truth(artefacts=[("cosmic_ray", (10, 14, 10, 14), 30)])
    classes = classify_sources(make_sources([12, 40], [12, 12]), make_labels(2, 0, [3, 3]), truth)
    assert list(classes.truth_class) == ["artefact", "ambiguous"]


def test_no_sources():
    classes = classify_sources(make_sources([], []), make_labels(0), make_truth([("hidden", 1, 1, 1, 0)]))
    assert len(classes.truth_class) == len(classes.cause) == len(classes.truth_id) == 0
