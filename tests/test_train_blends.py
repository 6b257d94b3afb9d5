import numpy as np
import pytest
from dia_vetting.blends.model_io import from_table
from dia_vetting.blends.simulated_rows import simulated_rows
from dia_vetting.blends.train_blends import TrainBlendsTask
from dia_vetting.errors import BadInputError
from lsst.pex.config import FieldValidationError


def make_config(**settings):
    config = TrainBlendsTask.ConfigClass()
    small = {"presets": {"great3": 90}, "epochs": 1, "batchSize": 30, "threads": 1}
    for name, value in (small | {"options": {"width": 4, "depth": 1}} | settings).items():
        setattr(config, name, value)
    config.validate()
    return config


def train(**settings):
    return TrainBlendsTask(config=make_config(**settings)).run().model


def test_same_configuration_same_bytes_another_seed_others():
    first = train()
    assert first.equals(train(), check_metadata=True)
    assert not first.equals(train(seed=1))


def test_the_card_says_what_was_done():
    card = from_table(train(presets={"great3": 60, "farrens2021": 60}, seed=3, members=2)).card
    assert (card.method, card.architecture, card.stamp_size) == ("ours", "blend_net", 65)
    assert card.presets == {"farrens2021": (60, 3), "great3": (60, 3)}
    assert card.options == {"dropout": 0.05, "width": 4, "fine": 1, "depth": 1, "hidden": 64}
    assert card.seed == 3
    assert len(card.epochs) == 2
    assert len(card.version) == 7


def test_metadata_have_the_figures():
    task = TrainBlendsTask(config=make_config())
    card = from_table(task.run().model).card
    assert task.metadata["model_content_hash"] == card.content_hash
    assert task.metadata["accuracy"] == pytest.approx(card.metrics["accuracy"][0])


def test_rows_of_presets_are_padded_and_kept_apart():
    rows = simulated_rows({"great3": 20, "farrens2021": 30}, 1)
    assert (len(rows), rows.size) == (50, 65)
    assert not rows.prepared.valid[30:, 0].any()
    assert rows.prepared.valid[:30].all()
    assert not np.intersect1d(rows.group[:30], rows.group[30:]).size
    np.testing.assert_array_equal(rows.any_companion, np.arange(50) < 30)
    again = simulated_rows({"farrens2021": 30, "great3": 20}, 1)
    np.testing.assert_array_equal(rows.prepared.pixels, again.prepared.pixels)


def test_bad_configurations_are_told_before_anything_is_done():
    with pytest.raises(BadInputError, match="one of cfis"):
        make_config(presets={"hubble": 10})
    with pytest.raises((FieldValidationError, ValueError), match="presets"):
        make_config(presets={"great3": 0})
    with pytest.raises(BadInputError, match="width"):
        make_config(options={"wdith": 4})
    with pytest.raises(FieldValidationError, match="method"):
        make_config(method="sextractor")
