"""The commands of the report: write the page, and take the labels back that were given on it."""

from __future__ import annotations

__all__ = ["ingest_labels_command", "report_command"]

from pathlib import Path

import click

from ..cli_base import Command


@click.command("report", cls=Command)
@click.argument("repo")
@click.argument("collection")
@click.option("--instrument", required=True, help="Instrument.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="HTML file to write.",
)
@click.option(
    "--model",
    default="",
    help="Prefix of the datasets of the model whose scores are shown: seed_cnn_, for example.",
)
@click.option(
    "--max-sources",
    default=200_000,
    show_default=True,
    type=click.IntRange(1),
    help="DIA sources on the page.",
)
@click.option(
    "--max-stamps",
    default=20_000,
    show_default=True,
    type=click.IntRange(0),
    help="Of them, with stamps: 1.2 kB each.",
)
@click.option(
    "--max-forced",
    default=400_000,
    show_default=True,
    type=click.IntRange(0),
    help="Forced fluxes on the page.",
)
@click.option(
    "--seed", default=0, show_default=True, type=int, help="Of the draws where there is no room for all."
)
def report_command(
    repo: str,
    collection: str,
    instrument: str,
    output: Path,
    model: str,
    max_sources: int,
    max_stamps: int,
    max_forced: int,
    seed: int,
) -> None:
    """Write a page to look at the run in COLLECTION of REPO: one HTML file, which needs no network.

    Figures, curves, a map of the sources, objects with their light curves and stamps, and keys to label them.
    What the collection lacks, and what was left out for want of room, is said on the page.
    """
    from .make_report import make_report
    from .tables import PageLimits

    limits = PageLimits(max_sources, max_stamps, max_forced, seed=seed)
    summary = make_report(repo, collection, instrument, output, limits, model)
    totals = summary.totals
    for name in ("sources", "objects", "forced"):
        click.echo(f"{totals[f'{name}_shown']} of {totals[name]} {name} shown")
    click.echo(f"{totals['stamps_shown']} sources with stamps")
    for name in summary.missing:
        click.echo(f"No {name} in the collection.", err=True)
    click.echo(f"{output}: {summary.size / 1e6:.1f} MB")


@click.command("ingest-labels", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.argument("repo")
@click.option("--instrument", required=True, help="Instrument.")
@click.option("--run", required=True, help="RUN collection to put the labels into; must not have any.")
@click.option("--labeller", default="", help="Who labelled.")
def ingest_labels_command(
    files: tuple[Path, ...], repo: str, instrument: str, run: str, labeller: str
) -> None:
    """Put labels that were saved on a report page, in FILES, into REPO, as reliability_human_label.

    Of several labels of a source the latest counts. trainReliability:doHumanLabels takes them to evaluate,
    never to train.
    """
    from .ingest_labels import ingest_labels

    counts = ingest_labels(files, repo, run, instrument, labeller)
    click.echo(f"{', '.join(f'{n} {name}' for name, n in counts.items())} in {run}.")
