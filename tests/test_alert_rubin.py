"""Rubin's alerts in the common form."""

import math
from pathlib import Path

import numpy as np
import pytest
from alert_samples import (
    CUTOUTS,
    DEC,
    NOISE,
    RA,
    SIGMA,
    X0,
    Y0,
    gaussian,
    rubin_fits,
    rubin_record,
    rubin_stamps,
)
from dia_vetting.alerts.packets import AlertError
from dia_vetting.alerts.reading import alert_files, read_alerts
from dia_vetting.alerts.rubin import rubin_alert
from dia_vetting.masks import MaskBit
from dia_vetting.planes import robust_sigma

PSF = gaussian((41, 41), 20, 20)


def test_all_fields_of_an_alert() -> None:
    record = rubin_record(3)
    alert = rubin_alert(record, "file")
    assert (alert.stream, alert.file, alert.reason) == ("rubin", "file", "")
    assert (alert.dia_source_id, alert.candid, alert.object_id) == (1003, 0, "80")
    assert (alert.visit, alert.detector, alert.band) == (2026030900027, 94, "r")
    assert (alert.ra, alert.dec, alert.snr, alert.stream_score) == (RA, DEC, 20.0, 0.9)
    assert alert.flux / alert.flux_err == pytest.approx(20.0)
    assert alert.psf_fwhm == pytest.approx(2.3548 * SIGMA, rel=0.02)
    triplet = alert.triplet
    assert triplet is not None
    assert (triplet.x, triplet.y) == pytest.approx((X0 + 15.3, Y0 + 14.8), abs=1e-6)
    for name, placed in (("Science", triplet.science), ("Difference", triplet.difference)):
        assert (placed.x_origin, placed.y_origin) == (X0, Y0)
        expected = rubin_stamps(31, seed=3)[0][name]
        np.testing.assert_allclose(placed.planes.image, expected, rtol=1e-6, atol=1e-5)
    assert (triplet.difference.planes.variance == NOISE**2).all()


def test_missing_numbers_are_not_known() -> None:
    nothing = dict.fromkeys(("diaObjectId", "snr", "psfFlux", "psfFluxErr", "reliability", "band"))
    alert = rubin_alert(rubin_record(**nothing), "file")
    assert alert.reason == ""
    assert alert.object_id == alert.band == ""
    assert all(map(math.isnan, (alert.snr, alert.flux, alert.flux_err, alert.stream_score)))
    assert math.isnan(rubin_alert(rubin_record(snr=-3.0), "file").snr)


@pytest.mark.parametrize(
    "changes",
    [{"ra": "150"}, {"visit": 1.5}, {"visit": 2**70}, {"band": 7}, {"snr": True}, {"diaSourceId": "a"}],
)
def test_fields_of_another_type_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(AlertError, match="in the field"):
        rubin_alert(rubin_record(**changes), "file")


@pytest.mark.parametrize("cutout", CUTOUTS)
@pytest.mark.parametrize("data", [None, b"", b"SIMPLE", 7, rubin_record()["cutoutScience"][:-1]])
def test_a_cutout_that_cannot_be_read_is_a_reason(cutout: str, data: object) -> None:
    alert = rubin_alert(rubin_record(**{cutout: data}), "file")
    assert alert.triplet is None
    assert alert.reason.startswith(f"{cutout}: expected")
    assert alert.dia_source_id == 1001


def test_cutouts_have_the_same_extensions_and_nanojansky() -> None:
    image = np.ones((31, 31))
    bare = rubin_fits(image, None, PSF, (15.3, 14.8), (X0, Y0))
    assert "extension UNCERT" in rubin_alert(rubin_record(cutoutDifference=bare), "file").reason
    assert "PRIMARY, UNCERT, PSFIMAGE of" in rubin_alert(rubin_record(cutoutScience=bare), "file").reason
    without_psf = {name: rubin_fits(image, image, None, (15.3, 14.8), (X0, Y0)) for name in CUTOUTS}
    alert = rubin_alert(rubin_record(**without_psf), "file")
    assert alert.reason == ""
    assert math.isnan(alert.psf_fwhm)
    counts = rubin_fits(image, image, PSF, (15.3, 14.8), (X0, Y0), BUNIT="adu")
    assert (
        "pixels in nJy, found BUNIT 'adu'" in rubin_alert(rubin_record(cutoutScience=counts), "file").reason
    )


def test_cutouts_of_different_sizes_share_a_grid() -> None:
    stamps, (x, y), _ = rubin_stamps(31)
    pixels = stamps["Template"][3:28, 2:27]
    small = rubin_fits(pixels, pixels, PSF, (x - 2, y - 3), (X0 + 2, Y0 + 3))
    alert = rubin_alert(rubin_record(cutoutTemplate=small), "file")
    assert alert.reason == ""
    assert alert.triplet is not None
    template = alert.triplet.template
    assert (template.x_origin, template.y_origin) == (X0 + 2, Y0 + 3)
    assert template.planes.shape == (25, 25)


@pytest.mark.parametrize(
    ("position", "corner"),
    [((16.3, 14.8), (X0, Y0)), ((15.3, 14.8), (X0 + 1, Y0)), ((15.8, 14.8), (X0, Y0)), ((15.3, 14.8), None)],
)
def test_cutouts_that_are_not_on_one_grid_are_a_reason(
    position: tuple[float, float], corner: tuple[int, int] | None
) -> None:
    other = rubin_fits(np.ones((31, 31)), np.ones((31, 31)), PSF, position, corner)
    alert = rubin_alert(rubin_record(cutoutScience=other), "file")
    assert alert.reason.startswith("cutoutScience: expected the pixel grid of cutoutDifference")


def test_a_source_without_a_place_has_no_cutout() -> None:
    assert "the source on its 31 x 31 pixels" in rubin_alert(rubin_record(ra=RA + 1), "file").reason
    assert rubin_alert(rubin_record(ra=math.nan), "file").triplet is None


def test_cutouts_without_wcs_have_the_source_in_the_middle() -> None:
    stamps, _, _ = rubin_stamps(30)
    variance = np.full((30, 30), NOISE**2)
    cutouts = {f"cutout{name}": rubin_fits(s, variance, None, None, None) for name, s in stamps.items()}
    triplet = rubin_alert(rubin_record(**cutouts), "file").triplet
    assert triplet is not None
    difference = triplet.difference
    assert (triplet.x - difference.x_origin, triplet.y - difference.y_origin) == (14.5, 14.5)


def test_gaps_have_no_data() -> None:
    stamps, position, _ = rubin_stamps(31)
    stamps["Science"][:, :4] = np.nan
    science = rubin_fits(stamps["Science"], np.ones((31, 31)), PSF, position, (X0, Y0))
    triplet = rubin_alert(rubin_record(cutoutScience=science), "file").triplet
    assert triplet is not None
    assert triplet.science.planes.has(MaskBit.NO_DATA).sum() == 31 * 4


def test_real_alerts(shared_data: Path) -> None:
    """Ids, place of the source, noise against UNCERT, and PSF width against the moments in the packet."""
    alerts = [a for f in alert_files([shared_data / "rubin_alerts"]) for a in read_alerts(f)]
    assert len(alerts) == 114
    assert all(alert.reason == "" and alert.stream == "rubin" for alert in alerts)
    assert len({alert.dia_source_id for alert in alerts}) > 100
    ratios = []
    for alert in alerts:
        triplet = alert.triplet
        assert triplet is not None
        difference = triplet.difference
        ny, nx = difference.planes.shape
        assert abs(triplet.x - difference.x_origin - (nx - 1) / 2) <= 0.5001
        assert abs(triplet.y - difference.y_origin - (ny - 1) / 2) <= 0.5001
        border = np.ones((ny, nx), dtype=bool)
        border[4:-4, 4:-4] = False
        noise = robust_sigma(difference.planes.image[border])
        ratios.append(noise**2 / np.median(difference.planes.variance[border]))
        assert 3.5 < alert.psf_fwhm < 12
        assert 0.5 < alert.stream_score <= 1
    # UNCERT is the variance: as a standard deviation it would be wrong by a factor of tens.
    assert np.median(ratios) == pytest.approx(1.0, abs=0.05)
    assert np.percentile(ratios, 5) > 0.75
    assert np.percentile(ratios, 95) < 1.25
