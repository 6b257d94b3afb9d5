"""Alerts as rows of a cutout table."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from alert_samples import DEC, NOISE, RA, X0, Y0, rubin_record, rubin_stamps, ztf_record
from dia_vetting.alerts.cutouts import alert_cutouts
from dia_vetting.alerts.reading import alert_files, read_alerts
from dia_vetting.alerts.rubin import rubin_alert
from dia_vetting.alerts.ztf import ztf_alert
from dia_vetting.cutouts import CENTRE_CONVENTION
from dia_vetting.masks import MaskBit
from dia_vetting.reliability.inputs import network_inputs
from dia_vetting.reliability.schemas import DIA_SOURCE_CUTOUT

SIZES = (30, 31, 42, 63)
ALERTS = [rubin_alert(rubin_record(number, size), "file") for number, size in enumerate(SIZES)]
ALERTS += [ztf_alert(ztf_record(), "file"), rubin_alert(rubin_record(9, cutoutTemplate=None), "file")]


@pytest.mark.parametrize("size", [21, 30, 51])
def test_every_source_is_where_the_convention_puts_it(size: int) -> None:
    cutouts = DIA_SOURCE_CUTOUT.check(alert_cutouts(ALERTS, size))
    assert cutouts["difference"].shape == (6, size, size)
    assert cutouts.meta["centre"] == CENTRE_CONVENTION
    for row, alert in zip(cutouts, ALERTS, strict=True):
        if alert.triplet is None:
            continue
        x, y = alert.triplet.x - row["x0"], alert.triplet.y - row["y0"]
        assert abs(x - (size - 1) / 2) <= 0.5
        assert abs(y - (size - 1) / 2) <= 0.5
        brightest = np.unravel_index(np.nanargmax(row["difference"]), (size, size))
        assert np.hypot(brightest[0] - y, brightest[1] - x) < 1


def test_pixels_are_those_of_the_packet_and_nothing_is_around_them() -> None:
    cutouts = alert_cutouts(ALERTS, 51)
    row = cutouts[1]  # of 31 pixels, the source at 15.3, 14.8
    shift_x, shift_y = row["x0"] - X0, row["y0"] - Y0
    inside = slice(-shift_y, 31 - shift_y), slice(-shift_x, 31 - shift_x)
    expected = rubin_stamps(31, seed=1)[0]
    np.testing.assert_allclose(row["science"][inside], expected["Science"], rtol=1e-5, atol=1e-4)
    assert (row["variance"][inside] == NOISE**2).all()
    outside = np.ones((51, 51), dtype=bool)
    outside[inside] = False
    for plane in ("science", "template", "difference", "variance"):
        assert np.isnan(row[plane][outside]).all()
    assert (row["mask"][outside] == MaskBit.NO_DATA).all()
    assert (row["mask"][inside] == 0).all()
    assert row["valid_fraction"] == pytest.approx(31**2 / 51**2)


def test_an_alert_without_cutouts_is_a_row_without_data() -> None:
    row = alert_cutouts(ALERTS, 30)[5]
    assert row["diaSourceId"] == 1009
    assert row["valid_fraction"] == 0
    assert np.isnan(row["difference"]).all()
    assert (row["mask"] == MaskBit.NO_DATA).all()


def test_ids_and_numbers() -> None:
    cutouts = alert_cutouts(ALERTS, 30)
    assert cutouts["diaSourceId"].tolist() == [1000, 1001, 1002, 1003, 1245250001315010001, 1009]
    assert cutouts["diaObjectId"].tolist() == [77, 78, 79, 80, 0, 86]
    assert cutouts["psf_fwhm"][4] == pytest.approx(2.4)
    assert (cutouts["ra"] == RA).all()


def test_positions_that_are_not_on_the_sky_become_nan() -> None:
    odd = [(math.nan, 0.0), (10.0, 90.1), (1e300, 0.0), (-1.0, 3.0), (math.inf, 0.0)]
    alerts = [dataclasses.replace(ALERTS[0], ra=ra, dec=dec) for ra, dec in odd]
    cutouts = alert_cutouts(alerts, 30)
    assert np.isnan(cutouts["ra"]).tolist() == [True, True, True, False, True]
    assert cutouts["ra"][3] == 359.0
    assert np.isnan(cutouts["dec"]).tolist() == [True, True, True, False, True]
    assert ALERTS[0].dec == DEC


def test_no_value_of_a_pixel_makes_inputs_that_are_not_finite() -> None:
    values = [3.4e38, -3.4e38, 9e14, -9e14, np.inf, np.nan, 1e-45]
    triplet = ALERTS[1].triplet
    assert triplet is not None
    for plane in ("image", "variance"):
        alert = rubin_alert(rubin_record(1), "file")
        assert alert.triplet is not None
        getattr(alert.triplet.difference.planes, plane)[12:19, 12:19] = np.resize(values, (7, 7))
        inputs = network_inputs(alert_cutouts([alert], 30))
        assert np.isfinite(inputs.stamps).all()
        assert np.isfinite(inputs.metadata).all()


def test_real_alerts(shared_data: Path) -> None:
    files = alert_files([shared_data / "rubin_alerts" / "part-2-918301.avro", shared_data / "ztf_alerts"])
    alerts = [a for file in files for a in read_alerts(file)]
    inputs = network_inputs(alert_cutouts(alerts, 30))
    assert len(inputs) == 7 + 36
    assert np.isfinite(inputs.stamps).all()
    difference = inputs.stamps[:, 2].astype(float)
    sign = np.array([math.copysign(1, alert.flux) for alert in alerts])
    snr = np.array([alert.snr for alert in alerts])
    peak = (sign[:, None, None] * difference[:, 13:17, 13:17]).max(axis=(1, 2))
    assert (peak[snr > 7] > np.arcsinh(2)).all()
    # Where there is no source, the difference has the noise that its variance says.
    border = difference[:, [0, 1, -1, -2], :]
    scatter = 1.4826 * np.median(np.abs(border - np.median(border, axis=(1, 2), keepdims=True)), axis=(1, 2))
    assert np.median(scatter) == pytest.approx(np.arcsinh(1) * 0.95, abs=0.15)
