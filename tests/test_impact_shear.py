"""Biases of shear: shapes of stamps, and what companions and treatments do to their mean."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from blend_samples import small_model
from dia_vetting.bad_input import BadInputError
from dia_vetting.blends.impact.flagging import flag_treatments
from dia_vetting.blends.impact.resampling import Resampling
from dia_vetting.blends.impact.rows import flags_of
from dia_vetting.blends.impact.shapes import measure_ellipticities
from dia_vetting.blends.impact.shear import ShearSample, galaxies_only, shear_rows, shear_sample
from dia_vetting.blends.model_io import to_table
from dia_vetting.blends.presets import load_preset
from dia_vetting.blends.schemas import BLENDING_IMPACT
from dia_vetting.blends.simulation import simulate, simulate_psfs
from dia_vetting.blends.stamps import BlendStamps

COUNT = 4000


def nothing(stamps: BlendStamps) -> dict[str, np.ndarray]:
    return flags_of(np.full(len(stamps), np.nan), np.zeros(len(stamps), bool), 0.5)


def made(m_blended: float, drop_blends: bool, seed: int = 1) -> ShearSample:
    """Return scenes of which half are blends with a biased response, that ours drops or not."""
    rng = np.random.default_rng(seed)
    blend = np.arange(COUNT) % 2 == 0
    own = rng.normal(0.0, 0.3, (COUNT, 1)) * [1.0, 1.0, 1.0, 1.0]
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    alone = own + 1.7 * 0.02 * signs
    response = np.where(blend, 1.0 + m_blended, 1.0)[:, None]
    blended = own + 1.7 * 0.02 * signs * response + np.where(blend, 0.01, 0.0)[:, None]
    none = np.zeros((COUNT, 4), bool)
    ours = none | (blend & drop_blends)[:, None]
    quantities = {"blendedness": np.where(blend, 0.2, 0.0)}
    return ShearSample(0.02, blended, alone, {"all": none, "sextractor": none, "ours": ours}, quantities)


def figure(sample: ShearSample, name: str, treatment: str, low: float | None = None) -> dict:
    rows = shear_rows(sample, Resampling.of(np.arange(len(sample)), 100, 1))
    (row,) = (
        row
        for row in rows
        if (row["figure"], row["treatment"]) == (name, treatment)
        and (row["by"] == "" if low is None else row["bin_low"] == low)
    )
    return row


def test_biases_are_found_and_dropping_undoes_them() -> None:
    sample = made(-0.2, drop_blends=True)
    assert figure(sample, "shear_m1", "all")["value"] == pytest.approx(-0.1)
    assert figure(sample, "shear_m2", "all", 0.1)["value"] == pytest.approx(-0.2)
    assert figure(sample, "shear_c1", "all")["value"] == pytest.approx(0.005 / 1.7)
    ours = figure(sample, "shear_m1", "ours")
    assert ours["value"] == pytest.approx(0.0, abs=1e-9)
    assert ours["change"] == pytest.approx(0.1)
    assert ours["n"] == COUNT // 2
    assert figure(sample, "shear_left", "ours")["value"] == 0.5


def test_flags_that_depend_on_the_shear_are_a_bias() -> None:
    """Scenes whose galaxy is stretched along the shear are dropped."""
    sample = made(0.0, drop_blends=False)
    sample.dropped["ours"][:] = sample.blended > 0.3
    assert figure(sample, "shear_m1", "all")["value"] == pytest.approx(0.0, abs=1e-9)
    assert figure(sample, "shear_m1", "ours")["high"] < -0.05


def test_scenes_without_a_shape_are_in_no_bias() -> None:
    sample = made(-0.2, drop_blends=False)
    sample.blended[::2, 0] = np.nan
    assert figure(sample, "shear_m1", "all")["value"] == pytest.approx(0.0, abs=1e-9)
    assert figure(sample, "shear_m1", "all")["n"] == COUNT // 2
    assert figure(sample, "shear_m2", "all")["value"] == pytest.approx(-0.1)
    assert figure(sample, "shear_measured", "all")["value"] == 0.5


def test_few_scenes_are_undefined() -> None:
    sample = made(0.0, drop_blends=False)
    sample.quantities["blendedness"][:-40] = 0.0
    assert np.isnan(figure(sample, "shear_m1", "all", 0.1)["value"])


def test_joined_samples() -> None:
    parts = [made(-0.1, False, 1), made(-0.1, False, 2)]
    both = ShearSample.joined(parts)
    assert len(both) == 2 * COUNT
    np.testing.assert_array_equal(both.alone[COUNT:], parts[1].alone)
    np.testing.assert_array_equal(both.dropped["ours"][:COUNT], parts[0].dropped["ours"])
    other = ShearSample(0.1, *(getattr(parts[0], n) for n in ("blended", "alone", "dropped", "quantities")))
    with pytest.raises(BadInputError, match="one shear"):
        ShearSample.joined([parts[0], other])


def test_shapes_respond_to_shear_as_they_should() -> None:
    """Bright single galaxies: the distortion rises by 2 (1 - e^2) times the shear, in its direction."""
    bright = galaxies_only(load_preset("great3")).with_kinds(single=1.0).with_noise(0.05)
    psfs = simulate_psfs(bright, 100, 2)
    plus, minus = (measure_ellipticities(simulate(bright, 100, 2, shear=g)[0], psfs) for g in (0.02, -0.02))
    good = np.isfinite(plus) & np.isfinite(minus)
    assert good.sum() > 60
    response = (plus - minus)[good].mean() / 0.04
    expected = 2 * (1 - np.mean(np.abs(plus[good]) ** 2) / 2)
    assert response.real == pytest.approx(expected, rel=0.1)
    assert response.imag == pytest.approx(0.0, abs=0.1)


def test_stamps_without_a_source_have_no_shape() -> None:
    stamps, _ = simulate(load_preset("great3"), 3, 1)
    psfs = simulate_psfs(load_preset("great3"), 3, 1)
    blank = BlendStamps(0 * stamps.images, stamps.noise_sigma, stamps.psf_fwhm)
    assert np.isnan(measure_ellipticities(blank, psfs)).all()
    with pytest.raises(BadInputError, match="3 PSFs"):
        measure_ellipticities(stamps, psfs[:2])


def test_singles_are_their_own_reference_and_companions_are_not() -> None:
    sample = shear_sample(load_preset("great3"), 60, 3, 0.02, nothing)
    single = np.isnan(sample.quantities["separation"])
    np.testing.assert_array_equal(sample.blended[single], sample.alone[single])
    both = np.isfinite(sample.blended[~single])
    assert (sample.blended[~single] != sample.alone[~single])[both].mean() > 0.9
    assert not sample.dropped["ours"].any()


def test_flagger_gives_what_both_methods_say() -> None:
    stamps, truth = simulate(load_preset("great3"), 90, 4)
    flags = flag_treatments(small_model(), 0.5)(stamps)
    assert set(flags) == {"all", "sextractor", "ours"}
    assert not flags["all"].any()
    blend = truth.kind == "blend"
    assert flags["sextractor"][blend].mean() > flags["sextractor"][~blend].mean()
    zero = BlendStamps(0 * stamps.images, stamps.noise_sigma, stamps.psf_fwhm)
    assert not flag_treatments(small_model(), 0.0)(zero)["ours"].any()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("blending_impact")


def test_the_script_writes_everything(script, tmp_path, monkeypatch, capsys) -> None:
    pq.write_table(to_table(small_model()), tmp_path / "model.parquet")
    monkeypatch.setattr(script, "PART", 70)
    words = ["--preset", "great3", "--count", "130", "--model", str(tmp_path / "model.parquet")]
    monkeypatch.setattr(sys, "argv", ["blending_impact", *words, "--out", str(tmp_path)])
    script.main()
    assert "great3: 130 scenes" in capsys.readouterr().out
    table = Table.read(tmp_path / "blending_impact_shear.ecsv")
    BLENDING_IMPACT.check(table)
    assert set(table["preset"]) == {"great3"}
    assert {"shear_m1", "shear_c2", "shear_left"} <= set(table["figure"])
    assert (tmp_path / "shear_great3.png").stat().st_size > 20_000


def test_seeds_of_training_are_refused(script) -> None:
    model = small_model()
    for known in ("presets", "parent_presets"):
        card = model.card.model_copy(update={known: {"great3": (90, 9101)}})
        trained = type(model)(card, model.networks)
        with pytest.raises(BadInputError, match="found 9101"):
            script.check_seeds(trained, [9100, 9101])
        script.check_seeds(trained, [9100])
