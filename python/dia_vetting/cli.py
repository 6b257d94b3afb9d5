"""The ``dia-vetting`` command."""

from __future__ import annotations

__all__ = ["main"]

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from .cli_base import Command as _Command
from .errors import BadInputError
from .report.commands import ingest_labels_command, report_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dia_vetting")
@click.option("--verbose", "-v", is_flag=True, help="Say more.")
def main(verbose: bool) -> None:
    """Trustworthy transient candidates from Rubin difference imaging, without human labels.

    The work itself is done by `pipetask run` with the pipelines of this package; these commands prepare
    repositories for machines without Rubin's stack.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("dia_vetting").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("lsst.daf.butler").setLevel(logging.ERROR)


def _jobs(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--jobs", "-j", default=1, show_default=True, type=click.IntRange(1), help="Processes."
    )(function)


@main.command("make-survey", cls=_Command)
@click.argument("repo", type=click.Path(path_type=Path, file_okay=False))
@click.option("--preset", help="Camera and site that come with the package: lsst (the default), hsc or ztf.")
@click.option("--size", help="Size that comes with the package: demo (the default), quick or tiny.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with a configuration.")
@click.option("--seed", default=1, show_default=True, type=int, help="Same seed, same bytes.")
@_jobs
def make_survey_command(
    repo: Path, preset: str | None, size: str | None, config: Path | None, seed: int, jobs: int
) -> None:
    """Write a simulated survey into the butler repository REPO, which is made if it is absent.

    What is in the repository is not made again, so that an interrupted command can be repeated.
    """
    from .embedded.make_survey import make_survey
    from .embedded.survey import load_config

    if preset and config:
        raise click.UsageError("--preset and --config exclude each other: a file names its preset itself.")
    summary = make_survey(repo, load_config(config or preset or "lsst", size=size), seed, jobs)
    summary.table().pprint(max_lines=-1, max_width=-1)
    images = ", ".join(f"{number} {name}" for name, number in sorted(summary.images.items()))
    click.echo(f"{images} in {repo}, collection {summary.chain} ({summary.made} made now).")


@main.command("ingest-decam", cls=_Command)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("repo", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--templates",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="Visits per band that become templates: the least noisy of those that cover the field.",
)
@click.option(
    "--template-visit",
    "template_visits",
    multiple=True,
    type=int,
    help="A visit that becomes a template whatever its noise; can be repeated. --templates then counts in "
    "other bands only.",
)
@click.pass_context
def ingest_decam_command(
    context: click.Context, folder: Path, repo: Path, templates: int, template_visits: tuple[int, ...]
) -> None:
    """Read the DECam exposures in FOLDER into the butler repository REPO, which is made if it is absent.

    FOLDER holds image, data-quality and weight files of the NOIRLab Community Pipeline (ooi, ood, oow; .fits,
    .fits.fz or .fits.gz). Files that cannot be used are named, the others go on, and the exit code is 1.
    """
    from .embedded.ingest_decam import ingest_decam

    summary = ingest_decam(folder, repo, templates, template_visits)
    summary.calibration.pprint(max_lines=-1, max_width=-1)
    total = len(summary.calibration)
    click.echo(f"{total} images in {repo}, collection {summary.chain} ({summary.made} made now).")
    if summary.errors:
        for error in summary.errors:
            click.echo(f"Left out: {error}", err=True)
        click.echo(f"{len(summary.errors)} files or exposures were left out.", err=True)
        context.exit(1)


@main.command("flag-blends", cls=_Command)
@click.argument("stamps", type=click.Path(path_type=Path))
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Parquet file to write."
)
@click.option("--model", help="Parquet file or name of a shipped model; the default one that is shipped.")
def flag_blends_command(stamps: Path, output: Path, model: str | None) -> None:
    """Say which of the STAMPS are blends, how many sources they have and where these overlap.

    STAMPS is a .npz file with the key images and optionally noise_sigma and psf_fwhm, a .npy or a FITS file:
    a sky-subtracted cube (N, S, S) with S from 25 to 128. Rows are in the order of the stamps.
    """
    from .blends.flag_stamps import flag_stamps
    from .blends.flags import unscored
    from .blends.shipped import DEFAULT_MODEL, open_model

    table = flag_stamps(stamps, output, open_model(model or DEFAULT_MODEL))
    without = int(unscored(table.column("flags")).sum())
    click.echo(f"{table.num_rows} stamps in {output}, {without} of them without a score (see their flags).")


@main.command("summary", cls=_Command)
@click.argument("repo")
@click.argument("collection")
@click.option("--instrument", required=True, help="Instrument.")
@click.option(
    "--plots", type=click.Path(path_type=Path, file_okay=False), help="Copy the plots to this folder."
)
def summary_command(repo: str, collection: str, instrument: str, plots: Path | None) -> None:
    """Print the headline figures of the run in COLLECTION of REPO, with their intervals."""
    from .summary import copy_plots, summarize

    click.echo(summarize(repo, collection, instrument))
    if plots:
        click.echo(f"\n{len(copy_plots(repo, collection, instrument, plots))} plots in {plots}")


main.add_command(report_command)
main.add_command(ingest_labels_command)


@main.command("export-injection-catalog", cls=_Command)
@click.argument("repo")
@click.argument("collection")
@click.argument("run")
@click.option("--instrument", required=True, help="Instrument.")
@click.option("--epoch-type", default="transient_epoch", show_default=True, help="Dataset type to read.")
@click.option("--dataset-type", default="injection_catalog", show_default=True, help="Dataset type to write.")
@click.option(
    "--ap-fakes",
    is_flag=True,
    help="Write VisitDetectorFakeSourceCat, too: visits and templates, by visit and detector, for ap_pipe.",
)
def export_injection_catalog_command(
    repo: str, collection: str, run: str, instrument: str, epoch_type: str, dataset_type: str, ap_fakes: bool
) -> None:
    """Write the transients in COLLECTION of REPO for lsst.source.injection into the RUN collection.

    Prints the configuration that makes injectVisit take the rows of its own visit only.
    """
    from .injection.export_catalogs import export_injection_catalogs
    from .injection.injection_catalogs import SELECTION

    written = export_injection_catalogs(repo, collection, run, instrument, epoch_type, dataset_type, ap_fakes)
    for name, shards in written.items():
        rows = sum(len(table) for table in shards.tables.values())
        click.echo(f"{rows} rows in {len(shards.tables)} datasets {name} in {run}.")
        for reason, count in shards.left_out.items():
            if count:
                click.echo(f"{count} rows left out of {name}: {reason}", err=True)
    click.echo(f"-c {SELECTION}")


@main.command("export-model", cls=_Command)
@click.argument("repo")
@click.argument("collection")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--instrument", required=True, help="Instrument that the model was trained for.")
@click.option("--dataset-type", default="reliability_model", show_default=True, help="Of the model.")
def export_model_command(repo: str, collection: str, file: Path, instrument: str, dataset_type: str) -> None:
    """Write the trained model in COLLECTION of REPO to the Parquet file FILE."""
    from .model_transfer import export_model

    card = export_model(repo, collection, instrument, file, dataset_type)
    click.echo(f"{card.architecture} {card.version}, trained on {card.instrument}, in {file}.")


@main.command("import-model", cls=_Command)
@click.argument("model")
@click.argument("repo")
@click.argument("run")
@click.option("--instrument", required=True, help="Instrument whose sources it is to score.")
@click.option("--dataset-type", default="reliability_model", show_default=True, help="Of the model.")
def import_model_command(model: str, repo: str, run: str, instrument: str, dataset_type: str) -> None:
    """Put MODEL, a Parquet file or the name of a shipped model, into the RUN collection of REPO."""
    from .model_transfer import import_model

    card = import_model(model, repo, run, instrument, dataset_type)
    click.echo(
        f"{card.architecture} {card.version}, trained on {card.instrument}, for {instrument} in {run}."
    )


@main.command("export-onnx", cls=_Command)
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--size", type=click.IntRange(21, 101), help="Side of the stamps; as trained by default.")
@click.option(
    "--prevalence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Fraction of real sources to be assumed; that of the model card by default.",
)
def export_onnx_command(model: str, file: Path, size: int | None, prevalence: float | None) -> None:
    """Write MODEL, a Parquet file or the name of a shipped model, to the ONNX file FILE.

    The file holds all networks and the calibration; onnxruntime runs it without this package or torch.
    """
    from .reliability.onnx_export import export_onnx
    from .reliability.shipped import open_model

    card = export_onnx(open_model(model), file, size, prevalence)
    click.echo(f"{card.architecture} {card.version}, {card.n_folds * card.members} networks, in {file}.")


@main.command("model-card", cls=_Command)
@click.argument("model")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the page to this file."
)
def model_card_command(model: str, output: Path | None) -> None:
    """Print the model card of MODEL, a Parquet file or the name of a shipped model, in Markdown."""
    from .reliability.card_page import card_page
    from .reliability.model_dataset import from_table, provenance
    from .reliability.shipped import read_model_table

    table = read_model_table(model)
    page = card_page(from_table(table, model), provenance(table))
    if output is None:
        click.echo(page, nl=False)
    else:
        output.write_text(page)


@main.command("shipped-models", cls=_Command)
def shipped_models_command() -> None:
    """List the trained models that come with the package."""
    from .reliability.shipped import shipped_model, shipped_models

    for name in shipped_models():
        card = shipped_model(name).card
        click.echo(f"{name}: {card.architecture} {card.version}, trained on {card.instrument}")


def _alert_options(function: Callable[..., Any]) -> Callable[..., Any]:
    schema = click.option(
        "--schema",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder MAJOR/MINOR/*.avsc of lsst/alert_packet, for messages in the Confluent wire format.",
    )
    files = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
    return files(schema(function))


def _report_left_out(context: click.Context, errors: Sequence[BadInputError], alerts: int = 0) -> None:
    """Name what was left out, and make that the exit code."""
    for error in errors:
        click.echo(f"Left out: {error}", err=True)
    if errors:
        click.echo(f"{len(errors)} files or datasets were left out.", err=True)
    if errors or alerts:
        context.exit(1)


@main.command("score-alerts", cls=_Command)
@_alert_options
@click.option("--model", help="Parquet file or name of a shipped model; the default one that is shipped.")
@click.option(
    "--prevalence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Fraction of real sources to be assumed; that of the model's card by default.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Parquet file to write, a row per alert.",
)
@click.pass_context
def score_alerts_command(
    context: click.Context,
    files: tuple[Path, ...],
    schema: Path | None,
    model: str | None,
    prevalence: float | None,
    output: Path,
) -> None:
    """Score the alerts of Rubin and ZTF in FILES, which may be folders.

    Reads Avro containers, the Confluent wire format and Fink's Parquet; see doc/alerts.md. Files that cannot
    be read are named, the others go on, and the exit code is 1.
    """
    from .alerts.avro_schemas import SchemaFolder
    from .alerts.score_alerts import score_alerts
    from .reliability.shipped import DEFAULT_MODEL, open_model

    reference = model or DEFAULT_MODEL
    schemas = SchemaFolder(schema) if schema else None
    summary = score_alerts(files, open_model(reference), output, schemas, reference, prevalence)
    for reason, count in sorted(summary.reasons.items()):
        click.echo(f"{count} alerts {f'not scored: {reason}' if reason else 'scored'}")
    click.echo(f"{summary.reasons.total()} rows in {output}, by model {reference} ({summary.version}).")
    _report_left_out(context, summary.errors)


@main.command("ingest-alerts", cls=_Command)
@_alert_options
@click.argument("repo", type=click.Path(path_type=Path, file_okay=False))
@click.option("--instrument", required=True, help="LSSTCam, ZTF, or another one that REPO has.")
@click.option("--run", required=True, help="RUN collection to put the cutouts into.")
@click.option("--stamp-size", default=30, show_default=True, type=click.IntRange(21, 101), help="Pixels.")
@click.pass_context
def ingest_alerts_command(
    context: click.Context,
    files: tuple[Path, ...],
    repo: Path,
    schema: Path | None,
    instrument: str,
    run: str,
    stamp_size: int,
) -> None:
    """Put the alerts in FILES into the butler repository REPO, which is made if it is absent.

    They become dia_source_cutout datasets, one per visit and detector. Files that cannot be read are named,
    the others go on, and the exit code is 1.
    """
    from .alerts.avro_schemas import SchemaFolder
    from .alerts.ingest_alerts import ingest_alerts

    schemas = SchemaFolder(schema) if schema else None
    summary = ingest_alerts(files, repo, instrument, run, schemas, stamp_size)
    click.echo(f"{summary.alerts} alerts in {summary.datasets} datasets in {repo}, collection {run}.")
    for reason, count in sorted(summary.left_out.items()):
        click.echo(f"{count} alerts left out: {reason}", err=True)
    _report_left_out(context, summary.errors, summary.left_out.total())
