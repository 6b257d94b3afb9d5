"""Presets of the stamp simulator."""

from __future__ import annotations

import pydantic
import pytest
from dia_vetting.blends.presets import KindModel, Preset, available_presets, load_preset
from dia_vetting.errors import BadInputError


def test_all_are_there() -> None:
    assert available_presets() == ["cfis", "euclid", "farrens2021", "great3", "lsst"]
    assert [load_preset(name).name for name in available_presets()] == available_presets()


def test_published_recipe() -> None:
    preset = load_preset("farrens2021")
    assert (preset.size, preset.padding, preset.side) == (51, 7, 65)
    assert preset.layout.offset == (-25.0, 24.0)
    assert preset.noise.sigma == (5.0, 40.0)
    assert preset.kinds.fractions == {"single": 0.5, "blend": 0.5, "separated": 0.0}


def test_five_bands_of_lsst() -> None:
    preset = load_preset("lsst")
    assert {preset.band, *preset.bands} == set("grizy")


def test_other_noise_and_other_kinds() -> None:
    preset = load_preset("great3")
    assert preset.with_noise(3.0).noise.sigma == (3.0, 3.0)
    assert preset.with_noise(3.0).population == preset.population
    assert preset.with_kinds(blend=1.0).kinds.fractions == {"blend": 1.0}
    with pytest.raises(pydantic.ValidationError, match="add up to 1"):
        preset.with_kinds(blend=0.5)


def test_unknown_name() -> None:
    with pytest.raises(BadInputError, match=r"great3.*'great4'"):
        load_preset("great4")


def test_what_cannot_be_simulated() -> None:
    content = load_preset("cfis").model_dump()
    with pytest.raises(pydantic.ValidationError, match="no room"):
        Preset.model_validate({**content, "size": 40})
    with pytest.raises(pydantic.ValidationError, match="at most 4"):
        KindModel(fractions={"blend": 1.0}, sources=(0.2,) * 5)
