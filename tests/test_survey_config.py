"""The survey's configuration: presets, sizes, files, and errors that name the key."""

import numpy as np
import pytest
import yaml
from dia_vetting.embedded.instruments import instrument_class
from dia_vetting.embedded.survey import SurveyConfig, available_presets, available_sizes, load_config
from dia_vetting.errors import BadInputError


def test_presets_differ_as_cameras_and_sites_do():
    lsst, hsc, ztf, decam = (load_config(name) for name in ("lsst", "hsc", "ztf", "decam"))
    assert [c.camera.pixel_scale for c in (lsst, hsc, ztf, decam)] == [0.2, 0.168, 1.01, 0.263]
    assert lsst.observing.seeing == (0.6, 1.1)
    assert hsc.observing.seeing == (0.5, 0.9)
    assert ztf.observing.seeing == (1.8, 3.0)
    assert decam.observing.seeing == (0.9, 1.5)
    # Samples per FWHM: ZTF undersamples, the others do not.
    samples = [c.observing.seeing[0] / c.camera.pixel_scale for c in (lsst, hsc, decam, ztf)]
    assert min(samples[:3]) > 2.9
    assert samples[3] < 2.0
    assert hsc.sky.limit > lsst.sky.limit > decam.sky.limit > ztf.sky.limit
    thickness = [c.camera.thickness for c in (decam, hsc, lsst, ztf)]
    assert thickness == sorted(thickness, reverse=True)
    assert hsc.psf.coma / hsc.camera.pixel_scale > 2 * lsst.psf.coma / lsst.camera.pixel_scale


@pytest.mark.parametrize("preset", available_presets())
def test_every_preset_is_a_camera_of_its_own_somewhere_else(preset):
    config = load_config(preset)
    instrument = instrument_class(config.instrument)
    assert instrument.name == config.instrument
    assert config.instrument.lower() == f"sim{preset}"
    assert set(config.camera.zero_points) <= set(instrument.filters)
    assert set(config.camera.zero_points) <= set(config.observing.sky_brightness)
    others = [load_config(name) for name in available_presets() if name != preset]
    for other in others:
        assert other.instrument != config.instrument
        assert np.hypot(other.sky.ra - config.sky.ra, other.sky.dec - config.sky.dec) > 10


def test_demo_is_as_large_as_promised_and_quick_a_quarter():
    demo, quick = load_config("lsst", size="demo"), load_config("lsst", size="quick")
    assert demo.n_detectors >= 2
    assert demo.shape == (1000, 1000)
    assert demo.size.science_visits >= 12
    assert len(demo.size.bands) == 2

    def work(config):
        return config.n_detectors * config.megapixels * config.size.science_visits

    assert work(quick) == pytest.approx(work(demo) / 4, rel=0.1)


@pytest.mark.parametrize("preset", available_presets())
@pytest.mark.parametrize("size", available_sizes())
def test_every_preset_works_in_every_size(preset, size):
    config = load_config(preset, size=size)
    assert isinstance(config, SurveyConfig)
    assert SurveyConfig.model_validate_json(config.model_dump_json()) == config


def test_presets_are_four():
    assert available_presets() == ["decam", "hsc", "lsst", "ztf"]


def test_every_field_is_described():
    for section in SurveyConfig.model_fields.values():
        fields = getattr(section.annotation, "model_fields", {})
        assert all(field.description for field in fields.values())


def test_file_starts_from_its_preset_and_size(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("preset: ztf\nsize: tiny\ncamera:\n  read_noise: 4.0\n")
    config = load_config(path)
    assert config.instrument == "SimZTF"
    assert config.camera.read_noise == 4.0
    assert config.camera.pixel_scale == 1.01
    assert config.shape == (400, 400)
    assert load_config(path, size="quick").shape == (700, 700)
    assert load_config(path, overrides={"camera": {"read_noise": 1.0}}).camera.read_noise == 1.0


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"camera": {"pixel_scal": 0.2}}, "camera.pixel_scal"),
        ({"camera": {"pixel_scale": -1.0}}, "camera.pixel_scale"),
        ({"defects": {"streak_masked": 1.5}}, "defects.streak_masked"),
        ({"size": {"bands": ["q"]}}, "size.bands"),
        ({"preset": "keck"}, "preset"),
        ({"size": "huge"}, "size"),
        ({"preset": "ztf", "size": {"bands": ["y"]}}, "zero_points"),
    ],
)
def test_errors_name_the_key(tmp_path, content, key):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BadInputError) as caught:
        load_config(path)
    assert key in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", ""])
def test_file_that_is_no_configuration(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"bad\.yaml"):
        load_config(path)
    with pytest.raises(BadInputError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")
