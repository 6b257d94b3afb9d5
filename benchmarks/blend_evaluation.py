"""Blend methods on simulated test stamps: accuracy, rates at TNR 0.99, counting, overlaps, transfer.

    python benchmarks/blend_evaluation.py --model ours=MODEL.parquet [--model NAME=FILE ...]
        --preset farrens2021 --preset great3 [--count 20000] [--seed 9000] --out DIR [--real FOLDER]

Models may be of any method; the first one has its mistakes drawn. SExtractor's two settings are always
there, and what the published comparison, which knows the true positions, makes of its answers. Presets whose
companions are anywhere (farrens2021) are tried at each ``--sigma`` with the same sources. Thresholds are
fixed on other stamps, of ``--validation-seed``. Seeds that a model's card lists are refused. Several models
of one method are compared with one another: transfer, by the presets that their cards list.

``--real`` is a folder with the ``catalog.fits`` of a GalSim RealGalaxy catalog: the same presets are then
made of these galaxies too (farrens2021 at sigma 14), and intervals are over galaxies.

Tables are printed; DIR gets figures as PNG and all numbers as ``blend_evaluation.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from blend_report import PUBLISHED_NOISE, print_case, print_noise, print_real, print_transfer, write_figures
from dia_vetting.bad_input import BadInputError
from dia_vetting.blends import evaluation, evaluation_counts
from dia_vetting.blends.evaluation import EvaluationRows, evaluation_rows
from dia_vetting.blends.flags import unscored
from dia_vetting.blends.methods.learned import Learned
from dia_vetting.blends.methods.sextractor import PUBLISHED, TUNED, SExtractor, published_verdicts
from dia_vetting.blends.model_io import BlendModel
from dia_vetting.blends.plots_gallery import gallery_figure, worst_mistakes
from dia_vetting.blends.prediction import BlendPrediction
from dia_vetting.blends.preparation import prepare
from dia_vetting.blends.presets import Preset, load_preset
from dia_vetting.blends.shipped import open_model
from dia_vetting.blends.simulation import simulate
from dia_vetting.blends.stamps import BlendStamps, BlendTruth
from dia_vetting.reliability.bootstrap import Estimate
from dia_vetting.seeding import generator

CHUNK = 2048
TNR = 0.99
REAL_SIGMA = 14.0
TUNING_SEED = 900
"""Of the stamps on which the settings of sextractor_tuned were chosen."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A method as it is asked here; without a network it only decides."""

    ask: Callable[[BlendStamps], BlendPrediction]
    learned: Learned | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """Test stamps of one preset, at one noise level or over its own range."""

    preset: Preset
    sigma: float | None = None

    @property
    def name(self) -> str:
        """What it is called in tables and files."""
        return self.preset.name if self.sigma is None else f"{self.preset.name}, sigma {self.sigma:g}"

    @property
    def any_companion(self) -> bool:
        """Whether a companion anywhere makes a blend."""
        return self.preset.layout.offset is not None


def make_methods(models: Mapping[str, BlendModel]) -> dict[str, Method]:
    learned = {name: Learned(model, name) for name, model in models.items()}
    return {name: Method(one.predict, one) for name, one in learned.items()} | {
        "sextractor": Method(SExtractor(PUBLISHED).predict),
        "sextractor_tuned": Method(SExtractor(TUNED).predict),
    }


def make_cases(presets: list[str], sigmas: list[float]) -> Iterator[Case]:
    for preset in map(load_preset, presets):
        if preset.layout.offset is None:
            yield Case(preset)
        else:
            yield from (Case(preset.with_noise(sigma), sigma) for sigma in sigmas)


def check_seeds(models: Mapping[str, BlendModel], seeds: tuple[int, int]) -> None:
    """Refuse seeds that something was trained or chosen with, and the same one twice."""
    used = {TUNING_SEED: "sextractor_tuned"}
    used |= {seed: name for name, model in models.items() for seed in model.card.seeds}
    for seed in seeds:
        if seed in used:
            raise BadInputError("seed", f"one that {used[seed]!r} was not trained with", str(seed))
    if seeds[0] == seeds[1]:
        raise BadInputError("seeds", "different ones for test and validation", str(seeds[0]))


def chunks(count: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]


def joined(parts: list[BlendPrediction]) -> BlendPrediction:
    names = [field.name for field in dataclasses.fields(BlendPrediction)]
    return BlendPrediction(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def asked(method: Method, stamps: BlendStamps) -> BlendPrediction:
    """Ask in parts, so that a few stamps are prepared at a time."""
    return joined([method.ask(stamps.where(part)) for part in chunks(len(stamps))])


def with_truth(stamps: BlendStamps, truth: BlendTruth) -> BlendPrediction:
    """Return SExtractor's answers as the published comparison counts them; a miss has no score."""
    return joined([matched(stamps.where(part), truth.where(part)) for part in chunks(len(stamps))])


def matched(stamps: BlendStamps, truth: BlendTruth) -> BlendPrediction:
    verdicts = published_verdicts(stamps, truth)
    answer = BlendPrediction.unknown(prepare(stamps).flags)
    answer.p_blend[:] = answer.p_companion[:] = np.where(verdicts < 0, np.nan, verdicts)
    return answer


def threshold_of(method: Method, case: Case, validation: tuple[BlendStamps, BlendTruth]) -> float:
    """Return the score that 99 % of the negatives among other stamps do not exceed; 0.5 for decisions."""
    if method.learned is None:
        return 0.5
    stamps, truth = validation
    negative = truth.kind == "single" if case.any_companion else truth.kind != "blend"
    said = asked(method, stamps.where(negative))
    return evaluation.threshold_at(said.p_companion if case.any_companion else said.p_blend, TNR)


def evaluate_method(
    rows: EvaluationRows, said: BlendPrediction, threshold: float, stamps: BlendStamps, preset: Preset
) -> dict[str, Any]:
    """Return all figures of one method on one set of stamps, but those of its maps."""
    figures: dict[str, Any] = {
        "confusion": evaluation.confusion_matrix(rows, said),
        "accuracy": evaluation.accuracy(rows, said),
        "accuracy_by_kind": evaluation.kind_accuracy(rows, said),
        "threshold": threshold,
        "rates": evaluation.rates_at(rows, said, threshold),
        "tpr": {name: evaluation.tpr_in_bins(rows, said, threshold, name) for name in evaluation.EDGES},
        "no_score": int(np.count_nonzero(unscored(said.flags) | np.isnan(rows.score(said)))),
        "flags": evaluation.flag_counts(said.flags),
    }
    low, high = preset.noise.sigma
    if high > low:
        edges = [float(edge) for edge in np.geomspace(low, high * 1.0001, 5)]
        noise = np.asarray(stamps.noise_sigma, np.float64)
        figures["accuracy_by_noise"] = evaluation.accuracy_in_bins(rows, said, noise, edges)
    if np.isfinite(said.n_sources).any():
        figures["counting"] = evaluation_counts.counting(rows, said)
        figures["count_matrix"] = evaluation_counts.count_matrix(rows, said)
    return figures


def overlap_figures(
    learned: Learned, rows: EvaluationRows, stamps: BlendStamps, truth: BlendTruth
) -> dict[str, Any]:
    """Return how well overlaps are found, of networks that make maps."""
    if learned.card.architecture != "blend_net":
        return {}
    parts = [
        evaluation_counts.overlap(truth.where(part), learned.predict_maps(stamps.where(part)))
        for part in chunks(len(truth))
    ]
    return {"overlap": evaluation_counts.overlap_iou(rows, evaluation_counts.Overlap.joined(parts))}


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """Figures of one case, what the methods said, and the stamps."""

    case: Case
    figures: dict[str, Any]
    said: dict[str, BlendPrediction]
    rows: EvaluationRows
    stamps: BlendStamps
    real: bool = False

    @property
    def title(self) -> str:
        """What it is of, for figures."""
        return self.case.name + (", blends of real galaxies" if self.real else "")


def evaluate_case(
    case: Case,
    methods: Mapping[str, Method],
    test: tuple[BlendStamps, BlendTruth],
    thresholds: Mapping[str, float],
    real: bool = False,
) -> Evaluated:
    """Evaluate all methods on the same stamps."""
    stamps, truth = test
    rows = evaluation_rows(truth, case.any_companion, generator("blend evaluation", case.name))
    said = {name: asked(method, stamps) for name, method in methods.items()}
    of = {
        name: evaluate_method(rows, one, thresholds[name], stamps, case.preset) for name, one in said.items()
    }
    for name, method in methods.items():
        if method.learned:
            of[name] |= overlap_figures(method.learned, rows, stamps, truth)
    if case.any_companion:  # the published comparison has no other companions
        said["sextractor_matched"] = one = with_truth(stamps, truth)
        of["sextractor_matched"] = evaluate_method(rows, one, 0.5, stamps, case.preset)
    terms = evaluation_counts.terms(case.preset, truth)
    figures = {"count": len(truth), "groups": rows.weights.shape[1], "terms": terms, "methods": of}
    return Evaluated(case, figures, said, rows, stamps, real)


def add_transfer(done: Evaluated, models: Mapping[str, BlendModel]) -> None:
    """Add the accuracy of each model of the first one's method minus that of the one that is at home here.

    At home is the model that was trained on the fewest presets with this one among them.
    """
    method, preset = next(iter(models.values())).card.method, done.case.preset.name
    presets = {name: m.card.known_presets for name, m in models.items() if m.card.method == method}
    trained = [name for name, known in presets.items() if preset in known]
    home = min(trained, key=lambda name: len(presets[name]), default="")
    for name in presets if home else ():
        if name != home:
            difference = evaluation.accuracy_difference(done.rows, done.said[name], done.said[home])
            done.figures["methods"][name]["transfer"] = {
                "reference": home,
                "left_out": preset not in presets[name],
                "difference": difference,
            }


def plain(value: Any) -> Any:
    """Return figures as JSON has them; what is undefined is null."""
    if isinstance(value, Estimate):
        return {end: plain(getattr(value, end)) for end in ("value", "low", "high")}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def draw_gallery(evaluated: Evaluated, name: str, path: Path) -> None:
    rows, said = evaluated.rows, evaluated.said[name]
    mistakes = worst_mistakes(rows, said)
    title = f"{name} on {evaluated.title}: the mistakes it is most sure of"
    figure = gallery_figure(evaluated.stamps, rows.truth, rows.score(said), mistakes, title)
    figure.savefig(path)


def card_notes(model: BlendModel) -> dict[str, Any]:
    card = model.card
    return {
        "version": card.version,
        "method": card.method,
        "presets": card.presets,
        "parent": card.parent,
        "parent_presets": card.parent_presets,
        "settings": card.settings,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", required=True, help="NAME=FILE, can be repeated")
    parser.add_argument("--preset", action="append", required=True, help="can be repeated")
    parser.add_argument("--sigma", type=float, nargs="+", default=list(PUBLISHED_NOISE["SExtractor"]))
    parser.add_argument("--count", type=int, default=20_000, help="test stamps of each preset and sigma")
    parser.add_argument("--seed", type=int, default=9000)
    parser.add_argument("--validation-count", type=int, default=10_000)
    parser.add_argument("--validation-seed", type=int, default=8000)
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate")
    parser.add_argument("--real", type=Path, help="folder with catalog.fits of a RealGalaxy catalog")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    models = {name: open_model(file) for name, file in (one.split("=", 1) for one in args.model)}
    check_seeds(models, (args.seed, args.validation_seed))
    methods = make_methods(models)
    args.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    real: dict[str, Any] = {}
    for case in make_cases(args.preset, args.sigma):
        validation = simulate(case.preset, args.validation_count, args.validation_seed, args.jobs)
        thresholds = {name: threshold_of(method, case, validation) for name, method in methods.items()}
        del validation
        test = simulate(case.preset, args.count, args.seed, args.jobs)
        done = evaluate_case(case, methods, test, thresholds)
        add_transfer(done, models)
        print_case(case.name, done.figures)
        file = case.name.replace(", sigma ", "_")
        draw_gallery(done, next(iter(models)), args.out / f"mistakes_{file}.png")
        results[case.name] = done.figures
        if args.real and case.sigma in (None, REAL_SIGMA):
            galaxies = args.real / "catalog.fits"
            test = simulate(case.preset, args.count, args.seed, args.jobs, galaxies=galaxies)
            done = evaluate_case(case, methods, test, thresholds, real=True)
            draw_gallery(done, next(iter(models)), args.out / f"mistakes_real_{file}.png")
            real[case.name] = done.figures
    print_noise(results)
    print_transfer(results)
    print_real(results, real)
    cards = {name: card_notes(model) for name, model in models.items()}
    notes = {"seed": args.seed, "validation_seed": args.validation_seed, "tnr": TNR, "models": cards}
    content = plain(notes | {"simulated": results, "real": real})
    (args.out / "blend_evaluation.json").write_text(json.dumps(content, indent=1, allow_nan=False))
    write_figures(args.out, results, real, cards)


if __name__ == "__main__":
    main()
