"""A model card as a page in Markdown: what a model is, where it comes from, and what it must not be used for.

The sections are those of Mitchell et al. (2019, arXiv:1810.03993); every figure on the page is in the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .model_dataset import ModelCard, ReliabilityModel

__all__ = ["card_page"]

_PAGE = """\
# Model card: {title}

Real or bogus: the probability that a source in a difference image is astrophysical.

## Model details

{details}

## Intended use

- Ranking and selecting sources of difference images as transient candidates, ahead of other vetting.
- Trained on {instrument}. For another camera, check it on injections there, or fine-tune it.
- Not for telling kinds of transients apart, nor for rates without the completeness of the same injections.

## Inputs

{inputs}

## Training data, and the noise of their labels

No human labelled anything. *Injected* sources are real by construction; all others are *unlabelled*: mostly
artefacts, among them real sources that nobody injected, by estimate a fraction of {prior}
(in brackets the 95 % interval).

{data}

## Training

{training}

## Metrics

Out of fold on the training sky, against the labels, with intervals of 95 % over sky cells. Real sources among
the unlabelled count as wrong: true false-positive rates are lower, by up to that fraction.

{metrics}

The reliability from which on a source is called real, at false- and true-positive rates of the same rows:

{thresholds}

## Calibration

`reliability` is a probability where a fraction of {prevalence} of the sources is real. With another fraction
its order holds but not its values, unless that fraction is stated when scoring.

{calibration}

## Limits

- It knows what was injected: the brightness, hosts and PSFs of that set. Real sources unlike those may score
  low.
- No figure on this page is from another camera than {instrument}, and none from a truth that the labels miss.
- {sky}
- The last digits of a score depend on the torch version, the kind of machine and the number of threads.
"""

_KNOWN_SKY = """\
A source on sky that it was trained on is scored by the networks that never saw that sky; an export to ONNX
  cannot know, and always asks all of them."""

_UNKNOWN_SKY = """\
It keeps no record of the sky that it was trained on (a simulated one has none): every source is scored by all
  networks, so that it must not be judged on its own training data."""


def card_page(model: ReliabilityModel, datasets: Mapping[str, str] | None = None) -> str:
    """Write the page of a model.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        The model.
    datasets : `~collections.abc.Mapping`, optional
        Collection by id of the datasets that it was trained on (`~.model_dataset.provenance`).

    Returns
    -------
    page : `str`
        Markdown.
    """
    card = model.card
    figures = ((f"`{name}`", _interval(*values)) for name, values in card.metrics.items())
    return _PAGE.format(
        title=f"{card.name or card.architecture} {card.version}",
        instrument=card.instrument,
        prior=_interval(*card.prior),
        prevalence=f"{card.prevalence:.4g}",
        details=_details(model),
        inputs=_inputs(card),
        data=_training_data(model, datasets or {}),
        training=_training(card),
        metrics=_table(("figure", "value [interval]"), figures),
        sky=_KNOWN_SKY if len(model.trained_cells) else _UNKNOWN_SKY,
        thresholds=_table(("at", "reliability"), _options(card.thresholds)),
        calibration=_table(("parameter", "value"), _options(card.calibration)),
    )


def _details(model: ReliabilityModel) -> str:
    card = model.card
    rows = [
        ("Name", card.name or "none: not shipped with the package"),
        ("Version", f"`{card.version}`"),
        ("Content hash (SHA-256)", f"`{card.content_hash}`"),
        ("Format", card.format_version),
        ("Architecture", f"`{card.architecture}`"),
        *_options(card.options),
        ("Networks", f"{len(model.networks)}: {card.members} for each of {card.n_folds} folds of the sky"),
        ("Numbers in each", f"{sum(tensor.size for tensor in model.networks[0].values()):,}"),
        ("Fine-tuned from", f"`{card.parent}`" if card.parent else "nothing: it started afresh"),
        ("Software", ", ".join(f"{name} {version}" for name, version in card.software.items())),
    ]
    return _table(("", ""), rows)


def _inputs(card: ModelCard) -> str:
    rows = [
        ("Layout", f"`{card.layout}` (`dia_vetting.reliability.inputs`)"),
        ("Channels", ", ".join(card.channels)),
        ("Numbers beside the stamp", ", ".join(card.metadata)),
        ("Stamp", f"{card.stamp_size} x {card.stamp_size} pixels; others are cropped or padded"),
        (
            "Least valid fraction",
            f"{card.min_valid_fraction:g}; with less, a source gets no score but a reason",
        ),
    ]
    return _table(("", ""), rows)


def _training_data(model: ReliabilityModel, datasets: Mapping[str, str]) -> str:
    card = model.card
    runs = sorted(set(datasets.values()))
    rows = [
        *((f"DIA sources, {n.replace('_', ' ')}", f"{count:,}") for n, count in card.label_counts.items()),
        ("Injected fraction of those used", f"{card.injected_fraction:.4g}"),
        ("Sky cells that it keeps", f"{len(model.trained_cells):,}"),
        ("Folds", f"whole HEALPix cells, nside {card.nside}"),
        *((f"Datasets of `{run}`", f"{sum(r == run for r in datasets.values()):,}") for run in runs),
    ]
    return _table(("", ""), rows)


def _training(card: ModelCard) -> str:
    rows = [
        ("Strategy against wrong labels", f"`{card.strategy}`"),
        *_options(card.strategy_options),
        ("Seed", card.seed),
        ("Epoch selected, of each network", ", ".join(str(epoch + 1) for epoch in card.epochs)),
        *_options(card.settings),
    ]
    return _table(("", ""), rows)


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.4g} [{low:.4g}, {high:.4g}]"


def _options(values: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(f"`{name}`", _text(value)) for name, value in values.items()]


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(header: tuple[str, str], rows: Iterable[tuple[object, object]]) -> str:
    return "\n".join([f"| {header[0]} | {header[1]} |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])
