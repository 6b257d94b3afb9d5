"""Fit the weights of verdicts to simulated surveys, and say how they do on others.

    python benchmarks/calibrate_verdicts.py REPO=COLLECTION ... [--test REPO=COLLECTION ...] [--out FILE]

The repositories are made by ``dia-vetting make-survey`` and ``pipelines/Embedded/verdicts.yaml``; each has a
seed of its own, which --seeds names for the notes. None may be a survey that verdicts are evaluated on.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from dia_vetting.confirmation.confirm_light_curves import read_neighbourhood
from dia_vetting.confirmation.features import FEATURES, feature_matrix
from dia_vetting.confirmation.light_curves import read_sources
from dia_vetting.confirmation.object_columns import ContextSettings, ObjectInputs, object_columns
from dia_vetting.confirmation.object_truth import TRANSIENTS, classify_objects, source_truth
from dia_vetting.confirmation.rule import VerdictRule, fit_rule, load_rule
from dia_vetting.confirmation.schemas import CLASSES
from dia_vetting.confirmation.verdicts import Criteria, verdict_names
from dia_vetting.reliability.truth_matching import Truth
from lsst.daf.butler import Butler


def stacked(butler: Butler, name: str) -> Table:
    tables = [butler.get(ref) for ref in butler.query_datasets(name, limit=None)]
    return vstack([t for t in tables if len(t)], metadata_conflicts="silent")


def read_inputs(butler: Butler) -> ObjectInputs:
    known = read_neighbourhood(stacked(butler, "object"), "object")
    nights = {r.id: r.day_obs for r in butler.query_dimension_records("visit", limit=None)}
    return ObjectInputs(
        stacked(butler, "dia_object"),
        stacked(butler, "dia_source"),
        stacked(butler, "dia_source_vetting"),
        stacked(butler, "dia_source_blend"),
        stacked(butler, "dia_object_forced_source"),
        nights,
        known.galaxies,
        known.stars,
    )


def read_truth(butler: Butler, inputs: ObjectInputs, ids: np.ndarray) -> np.ndarray:
    objects = stacked(butler, "sim_truth_object")
    truths = {
        (ref.dataId["visit"], ref.dataId["detector"]): Truth(
            butler.get(ref), butler.get("sim_truth_artefact", ref.dataId), objects
        )
        for ref in butler.query_datasets("sim_truth_source", limit=None)
    }
    sources = read_sources(inputs.sources, ids)
    truth = source_truth(
        inputs.sources[sources.row],
        stacked(butler, "dia_source_label"),
        truths,
        stacked(butler, "transient_truth"),
    )
    return classify_objects(sources.owner, len(ids), truth)


def load(where: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    repo, collection = where.split("=")
    with Butler.from_config(repo, collections=collection, instrument="SimLSST") as butler:
        inputs = read_inputs(butler)
        columns, _ = object_columns(inputs, ContextSettings())
        truth = read_truth(butler, inputs, columns["diaObjectId"])
    columns["truth"], columns["cause"] = truth.truth_class, truth.cause
    return feature_matrix(columns), truth.truth_class, columns


def class_index(truth: np.ndarray) -> np.ndarray:
    """Return the index of the class in CLASSES; -1 for what belongs to none."""
    names = {**dict.fromkeys(TRANSIENTS, 0), "variable": 1, "moving": 2, "artefact": 3}
    return np.array([names.get(str(name), -1) for name in truth])


def report(
    rule: VerdictRule, features: np.ndarray, truth: np.ndarray, columns: dict[str, np.ndarray]
) -> None:
    probability = rule.probabilities(rule.terms(features))
    verdict, _ = verdict_names(columns, probability, Criteria())
    for least in (1, 3):
        print(f"At least {least} detections")
        some = np.asarray(columns["nDetections"]) >= least
        names = ("confirmed", "candidate", "variable", "moving", "artefact", "unknown")
        print(f"{'':12}" + "".join(f"{name:>11}" for name in names))
        for kind in np.unique(truth):
            row = [int(((truth == kind) & (verdict == name) & some).sum()) for name in names]
            print(f"{kind:12}" + "".join(f"{n:11d}" for n in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", nargs="*")
    parser.add_argument("--test", nargs="*", default=[])
    parser.add_argument("--seeds", default="")
    parser.add_argument("--ridge", type=float, default=3.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rule = load_rule() if not options.train else None
    if options.train:
        parts = [load(where) for where in options.train]
        features, truth = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
        known = class_index(truth) >= 0
        counts = {str(k): int((truth == k).sum()) for k in np.unique(truth)}
        notes = {"seeds": options.seeds, "objects": counts, "ridge": options.ridge}
        rule = fit_rule(
            features[known], class_index(truth)[known], np.ones(known.sum()), notes, options.ridge
        )
        for where, part in zip(options.train, parts, strict=True):
            print(f"== {where} (fitted to)")
            report(rule, *part)
        names = [name for term in FEATURES.values() for name in term]
        for name, row in zip(names, rule.weights.T, strict=True):
            print(f"{name:22}" + "".join(f"{w:10.2f}" for w in row))
    for where in options.test:
        print(f"== {where} (not fitted to)")
        report(rule, *load(where))
    if options.out:
        options.out.write_text(rule.to_json())
    print(rule.version, CLASSES)


if __name__ == "__main__":
    main()
