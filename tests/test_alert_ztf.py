"""ZTF's alerts in the common form."""

import math
from pathlib import Path

import numpy as np
import pytest
from alert_samples import CUTOUTS, DEC, NOISE, RA, rubin_record, rubin_stamps, ztf_fits, ztf_record
from dia_vetting.alerts.packets import Alert, AlertError
from dia_vetting.alerts.reading import alert_files, read_alerts
from dia_vetting.alerts.ztf import ztf_alert
from dia_vetting.planes import robust_sigma

SCALE = 10 ** (0.4 * (31.4 - 26.4))


def test_all_fields_of_an_alert() -> None:
    alert = ztf_alert(ztf_record(2), "file")
    assert (alert.stream, alert.dia_source_id, alert.reason) == ("ztf", 0, "")
    assert (alert.candid, alert.object_id) == (1245250001315010002, "ZTF20abcdefg")
    assert (alert.visit, alert.detector, alert.band) == (124525000, 13, "r")
    assert alert.mjd == pytest.approx(2459000.75 - 2400000.5 + (37 + 15) / 86400, abs=1e-7)
    assert (alert.ra, alert.dec, alert.stream_score) == (RA, DEC, 0.8)
    assert alert.flux == pytest.approx(10 ** (0.4 * (31.4 - 19.0)))
    assert alert.snr == pytest.approx(1.0857 / 0.05, rel=1e-4)
    assert alert.flux_err == pytest.approx(alert.flux / alert.snr)
    assert alert.psf_fwhm == pytest.approx(2.4)


def test_pixels_are_nanojansky_and_the_noise_is_the_stamps_own() -> None:
    triplet = ztf_alert(ztf_record(2), "file").triplet
    assert triplet is not None
    expected = rubin_stamps(63, (0.25, -0.4), seed=2)[0]
    np.testing.assert_allclose(triplet.difference.planes.image, expected["Difference"] * SCALE, rtol=1e-5)
    np.testing.assert_allclose(triplet.science.planes.image, expected["Science"] * SCALE, rtol=1e-5)
    variance = triplet.difference.planes.variance
    assert np.ptp(variance) == 0
    assert np.sqrt(variance[0, 0]) == pytest.approx(NOISE * SCALE, rel=0.05)
    assert (triplet.x, triplet.y) == pytest.approx((999.25, 498.6), abs=1e-4)
    difference = triplet.difference
    assert (triplet.x - difference.x_origin, triplet.y - difference.y_origin) == pytest.approx((31.25, 30.6))


@pytest.mark.parametrize(("flag", "sign"), [("t", 1), ("1", 1), ("f", -1), ("0", -1)])
def test_the_difference_is_always_science_minus_reference(flag: str, sign: int) -> None:
    alert = ztf_alert(ztf_record(isdiffpos=flag), "file")
    assert alert.triplet is not None
    assert math.copysign(1, alert.flux) == sign
    assert math.copysign(1, alert.triplet.difference.planes.image[31, 31]) == sign
    assert alert.snr > 0
    assert alert.flux_err > 0
    assert ztf_alert(ztf_record(isdiffpos="x"), "file").reason.startswith("isdiffpos")


def test_what_old_alerts_lack() -> None:
    changes = dict.fromkeys(("seeratio", "magzpsci", "exptime", "drb", "rcid", "xpos", "ypos", "sigmapsf"))
    alert = ztf_alert(ztf_record(**changes), "file")
    assert alert.reason == ""
    assert alert.psf_fwhm == 2.0
    assert (alert.stream_score, alert.detector, alert.exposure_time) == (0.6, 13, 30.0)
    assert math.isnan(alert.snr)
    triplet = alert.triplet
    assert triplet is not None
    assert (triplet.x - triplet.difference.x_origin, triplet.y - triplet.difference.y_origin) == (31, 31)
    assert math.isnan(ztf_alert(ztf_record(fwhm=None), "file").psf_fwhm)
    assert math.isnan(ztf_alert(ztf_record(jd=0.0), "file").mjd)
    assert math.isnan(ztf_alert(ztf_record(magpsf=-1e9), "file").flux)


@pytest.mark.parametrize(
    ("position", "columns", "place"),
    [(10.25, slice(22, None), 9.25), (3060.25, slice(None, 44), 31.25)],
)
def test_cutouts_at_edges_that_are_not_filled_up(position: float, columns: slice, place: float) -> None:
    """The lower edge of the detector comes first in the cutout, the upper one last."""
    stamps = rubin_stamps(63, (0.25, -0.4))[0]
    cutouts = {f"cutout{name}": {"stampData": ztf_fits(s[:, columns])} for name, s in stamps.items()}
    triplet = ztf_alert(ztf_record(xpos=position, **cutouts), "file").triplet
    assert triplet is not None
    image = triplet.difference.planes.image
    assert triplet.x - triplet.difference.x_origin == pytest.approx(place)
    assert np.unravel_index(np.argmax(image), image.shape) == (31, round(place))


@pytest.mark.parametrize("cutout", CUTOUTS)
@pytest.mark.parametrize(
    "data", [None, {}, {"stampData": None}, {"stampData": b"abc"}, b"", rubin_record()["cutoutScience"]]
)
def test_a_cutout_that_cannot_be_read_is_a_reason(cutout: str, data: object) -> None:
    alert = ztf_alert(ztf_record(**{cutout: data}), "file")
    assert alert.triplet is None
    assert alert.reason.startswith(f"{cutout}: expected")
    assert alert.candid > 0


def test_cutouts_of_different_shapes_are_a_reason() -> None:
    other = {"stampData": ztf_fits(np.ones((63, 40)))}
    assert "one shape" in ztf_alert(ztf_record(cutoutTemplate=other), "file").reason


def test_a_stamp_without_any_scatter_has_no_variance() -> None:
    flat = {"stampData": ztf_fits(np.zeros((63, 63)))}
    triplet = ztf_alert(ztf_record(cutoutDifference=flat), "file").triplet
    assert triplet is not None
    assert (triplet.difference.planes.variance == 0).all()
    gaps = {"stampData": ztf_fits(np.full((63, 63), -3.4e38))}
    triplet = ztf_alert(ztf_record(cutoutDifference=gaps), "file").triplet
    assert triplet is not None
    assert np.isnan(triplet.difference.planes.variance).all()


def test_fields_of_another_type_are_refused() -> None:
    with pytest.raises(AlertError, match="a number in the field 'magpsf'"):
        ztf_alert(ztf_record(magpsf="19"), "file")
    with pytest.raises(AlertError, match="a record in the field 'candidate'"):
        ztf_alert({"candidate": 5}, "file")


def centroid_offset(alert: Alert) -> tuple[float, float]:
    """Return by how much the centroid of the source's brightest pixels is off its place."""
    triplet = alert.triplet
    assert triplet is not None
    image = np.nan_to_num(triplet.difference.planes.image * math.copysign(1, alert.flux))
    x, y = triplet.x - triplet.difference.x_origin, triplet.y - triplet.difference.y_origin
    rows, columns = np.mgrid[28:35, 28:35]
    box = np.clip(image[28:35, 28:35] - 3 * robust_sigma(image), 0, None)
    total = box.sum()
    return float((box * columns).sum() / total - x), float((box * rows).sum() / total - y)


def test_real_alerts(shared_data: Path) -> None:
    """Signs, zero point, place of the source and PSF width on ZTF's own packets."""
    alerts = [a for f in alert_files([shared_data / "ztf_alerts"]) for a in read_alerts(f)]
    assert len(alerts) == 36
    assert all(alert.reason == "" and alert.stream == "ztf" for alert in alerts)
    assert sum(alert.flux < 0 for alert in alerts) == 3
    bright = [alert for alert in alerts if alert.snr > 10]
    offsets = np.array([centroid_offset(alert) for alert in bright])
    assert np.abs(np.median(offsets, axis=0)).max() < 0.15
    assert np.percentile(np.abs(offsets), 80) < 0.35
    for alert in alerts:
        triplet = alert.triplet
        assert triplet is not None
        science, template = triplet.science.planes.image, triplet.template.planes.image
        difference = triplet.difference.planes.image
        left, wrong = science - template - difference, science - template + difference
        assert robust_sigma(left) < 0.5 * robust_sigma(wrong)
        assert 2.0 < alert.psf_fwhm < 5.0
    sums = [a.triplet.difference.planes.image[24:39, 24:39].sum() for a in bright if a.triplet]
    ratio = [total / alert.flux for total, alert in zip(sums, bright, strict=True)]
    assert np.nanmedian(ratio) == pytest.approx(1.0, abs=0.05)
