"""The page of a model says what is in its card."""

import dataclasses
from collections.abc import Iterator

from dia_vetting.reliability.card_page import card_page
from model_samples import untrained_model


def test_every_value_of_the_card_is_on_the_page() -> None:
    model = untrained_model(name="simulated-9", parent="f" * 64)
    page = card_page(model)
    assert page.startswith(f"# Model card: simulated-9 {model.card.version}\n")
    card = model.card.model_dump(exclude={"epochs", "label_counts", "calibration"})
    for value in _leaves(card):
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        assert text in page, value
    for name in (*card["options"], *card["settings"], *card["metrics"], *card["thresholds"]):
        assert f"| `{name}` | " in page
    assert "| `knots` | -0.25, -0.0625, 0.03125, 0.125, 0.375 |" in page
    assert "6, 7, 8, 9" in page  # epochs count from 1 for people
    assert "| DIA sources, unlabelled | 56,789 |" in page
    assert "0.9876 [0.9789, 0.9912]" in page


def test_a_model_that_started_afresh_and_its_datasets() -> None:
    model = untrained_model()
    page = card_page(model, {"a": "run/1", "b": "run/2", "c": "run/1"})
    assert page.startswith(f"# Model card: seed_cnn {model.card.version}\n")
    assert "nothing: it started afresh" in page
    assert "| Datasets of `run/1` | 2 |" in page
    assert "| Datasets of `run/2` | 1 |" in page
    assert "| Networks | 4: 2 for each of 2 folds of the sky |" in page
    size = sum(tensor.size for tensor in model.networks[0].values())
    assert f"| Numbers in each | {size:,} |" in page


def test_a_model_without_trained_sky_says_so() -> None:
    model = untrained_model()
    assert "by the networks that never saw that sky" in card_page(model)
    without = dataclasses.replace(model, trained_cells=model.trained_cells[:0]).sealed()
    assert "must not be judged on its own training data" in card_page(without)
    assert "never saw that sky" not in card_page(without)


def test_every_line_of_a_table_has_two_cells() -> None:
    lines = [line for line in card_page(untrained_model()).splitlines() if line.startswith("|")]
    assert len(lines) > 30
    assert {line.count("|") for line in lines} == {3}


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
