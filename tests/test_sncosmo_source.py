"""Supernovae with the spectra of an sncosmo source; what needs sncosmo skips where it is not installed."""

import json
import sys

import numpy as np
import pytest
from dia_vetting.errors import BadInputError
from dia_vetting.injection.brightness import distance_modulus
from dia_vetting.injection.light_curves.sncosmo_source import sncosmo_supernovae
from dia_vetting.injection.light_curves.supernova import draw_supernovae
from dia_vetting.injection.make_transients import MakeTransientsTask
from dia_vetting.magnitudes import ab_magnitude
from test_populations import field, hosts, visits

BANDPASSES = {"g": "bessellv", "r": "bessellr", "i": "bessellr"}
NAME = "dia-vetting-test"


@pytest.fixture(scope="module")
def source():
    """A Gaussian light curve of 15 days with F_lambda ~ lambda^-2, that is AB colours of 0."""
    sncosmo = pytest.importorskip("sncosmo", reason="sncosmo is not installed")
    phase, wave = np.linspace(-30.0, 60.0, 91), np.linspace(2000.0, 12000.0, 201)
    flux = np.exp(-0.5 * (phase[:, None] / 15.0) ** 2) * (wave[None] / 5000.0) ** -2.0
    sncosmo.register(sncosmo.TimeSeriesSource(phase, wave, flux), name=NAME, force=True)
    return NAME


def drawn(count=20, z=0.1):
    return draw_supernovae(count, np.full(count, z), 61000.0, 61050.0, np.random.default_rng(1), {"Ia": 1.0})


def test_magnitudes_and_time_scale_are_those_of_the_source(source):
    curves = sncosmo_supernovae(drawn(), source, BANDPASSES)
    for row in range(3):
        time = curves.peak_mjd[row] + np.array([0.0, 16.5, -40.0, 500.0])
        mag = ab_magnitude(curves.flux(time, ["r"] * 4)[row, :2])
        # F_nu is flat: the K-correction is that of the narrower band alone.
        expected = curves.magnitude[row] + distance_modulus(np.array([0.1]))[0] - 2.5 * np.log10(1.1)
        assert mag[0] == pytest.approx(expected, abs=0.01)
        assert mag[1] - mag[0] == pytest.approx(2.5 * np.log10(np.e) * 0.5, abs=0.01)  # 15 days of its own
        assert (curves.flux(time, ["r"] * 4)[row, 2:] == 0.0).all()
    at_peak = curves.flux(curves.peak_mjd[:1], ["g"])[0, 0] / curves.flux(curves.peak_mjd[:1], ["r"])[0, 0]
    assert at_peak == pytest.approx(1.0, abs=0.01)


def test_apparent_magnitudes_and_unknown_redshifts(source):
    supernovae = drawn(3)
    supernovae.redshift[1] = np.nan
    curves = sncosmo_supernovae(supernovae, source, BANDPASSES)
    wanted = np.array([20.0, 21.0, 22.0])
    fluxes = curves.with_peak_magnitudes(wanted, "r").flux(supernovae.peak_mjd, ["r"] * 3)
    assert ab_magnitude(fluxes[0, 0]) == pytest.approx(20.0)
    assert ab_magnitude(fluxes[2, 2]) == pytest.approx(22.0)
    assert np.isnan(fluxes[1]).all()


def test_what_is_missing_is_named(source):
    with pytest.raises(BadInputError, match="a source that sncosmo has here"):
        sncosmo_supernovae(drawn(), "no-such-source", BANDPASSES)
    curves = sncosmo_supernovae(drawn(1), source, BANDPASSES | {"z": "no-such-band"})
    with pytest.raises(BadInputError, match="a passband of u"):
        curves.flux(np.zeros(1), ["u"])
    with pytest.raises(BadInputError, match="no-such-band"):
        curves.flux(np.zeros(1), ["z"])
    far = sncosmo_supernovae(drawn(1, z=3.0), source, BANDPASSES)
    with pytest.raises(BadInputError, match="spectra for"):
        far.flux(np.zeros(1), ["g"])


def test_the_task_takes_a_source(source):
    config = MakeTransientsTask.ConfigClass()
    config.populations = ["supernova"]
    config.supernova.hostFraction = 1.0
    config.supernova.minSeparation = 0.0
    config.supernova.sncosmoSource = source
    config.supernova.sncosmoBandpasses = BANDPASSES
    result = MakeTransientsTask(config=config).run(hosts(5), visits(2), field())
    assert len(result.epochs) > 0
    assert {json.loads(text)["source"] for text in result.truth["parameters"]} == {source}


def test_without_sncosmo_the_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "sncosmo", None)
    with pytest.raises(BadInputError, match="pip install sncosmo"):
        sncosmo_supernovae(drawn(), NAME, BANDPASSES)
