"""What a model is worth on fields that it never saw: rates, calibration, robustness.

    python benchmarks/reliability_in_domain.py SET MODEL --fields lsst_901,lsst_902 --out DIR

MODEL is a file, or the name of a shipped model. Thresholds are those of its card, which were fixed on its
own training fields. "Real" are injected, hidden, variable and moving sources by the truth of the
simulation; transients are injected and hidden ones. All intervals are 95 % over sky cells.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dia_vetting.reliability.augmentation import hide
from dia_vetting.reliability.calibration import Calibration, expected_calibration_error
from dia_vetting.reliability.inputs import NetworkInputs, unscorable_reasons
from dia_vetting.reliability.model_dataset import ReliabilityModel
from dia_vetting.reliability.scoring import load_networks, predict_logits, score_inputs
from dia_vetting.reliability.shipped import open_model
from dia_vetting.seeding import generator
from reliability_data import Rows, load
from reliability_fit import doubted, figures, paired

PREVALENCE = 0.03


def scores(model: ReliabilityModel, networks: Any, rows: Rows) -> np.ndarray:
    """Return the mean logits of all networks."""
    return predict_logits(networks, rows.inputs).mean(axis=0)


def changed(rows: Rows, hidden: np.ndarray) -> Rows:
    """Return the rows with pixels hidden, but for the central ones."""
    stamps = hide(torch.from_numpy(rows.inputs.stamps.copy()), hidden).numpy()
    return Rows(NetworkInputs(stamps, rows.inputs.metadata), rows.columns)


def random_holes(rows: Rows, part: float, seed: int) -> np.ndarray:
    """Hide a part of the pixels of each stamp at random."""
    size = rows.inputs.size
    return generator(seed, "holes").random((len(rows), size, size)) < part


def random_edges(rows: Rows, seed: int) -> np.ndarray:
    """Hide all beyond one side, at least 4 pixels from the centre, as at the edge of a detector."""
    size, rng = rows.inputs.size, generator(seed, "edges")
    distance = rng.uniform(4, size / 2, len(rows))[:, None, None]
    offset = np.arange(size) - (size - 1) / 2
    beyond = np.broadcast_to(offset[None, None, :] > distance, (len(rows), size, size))
    side = rng.integers(4, size=len(rows))
    turned = np.stack([np.rot90(beyond, k, axes=(1, 2)) for k in range(4)])
    return np.asarray(turned[side, np.arange(len(rows))])


def calibration_table(reliability: np.ndarray, rows: Rows) -> dict[str, Any]:
    """Return the calibration error at the prevalence of the rows: all, by SNR, by flux sign."""
    member = rows.real | rows.artefact
    snr, negative = rows.columns["snr"], rows.negative_flux
    subsets = {"all": member, "positive": member & ~negative, "negative": member & negative}
    for low, high in ((6, 8), (8, 15), (15, 1e9)):
        subsets[f"snr_{low}_{high:g}"] = member & (snr >= low) & (snr < high)
    return {
        name: {
            "n": int(keep.sum()),
            "error": expected_calibration_error(reliability[keep], rows.real[keep]),
            "mean_reliability": float(reliability[keep].mean()),
            "real_fraction": float(rows.real[keep].mean()),
        }
        for name, keep in subsets.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("model")
    parser.add_argument("--fields", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--min-snr", type=float, default=6.0)
    parser.add_argument(
        "--no-subsets", action="store_true", help="leave difficult stamps out: they take long"
    )
    args = parser.parse_args()
    fields = args.fields.split(",")
    model = open_model(args.model)
    networks = load_networks(model)
    everything = load(args.set, fields)
    everything = everything[unscorable_reasons(everything.inputs, model.card.min_valid_fraction) == ""]
    calibration = Calibration.from_dict(model.card.calibration)
    bright = everything.columns["snr"] >= args.min_snr
    rows = everything[bright]
    alone = scores(model, networks, everything)
    logits = doubted(alone, everything, calibration)
    lowered = logits < alone
    result: dict[str, Any] = {"model": model.card.version, "fields": fields, "points": {}}
    result["glint_trail"] = {
        name: int((lowered & bright & rows_of).sum())
        for name, rows_of in (
            ("real", everything.real),
            ("glint", everything.columns["cause"] == "glint"),
            ("other_artefact", everything.artefact & (everything.columns["cause"] != "glint")),
        )
    }
    alone, logits = alone[bright], logits[bright]
    reliability = calibration.reliability(logits, model.card.prevalence)
    kinds = {
        "real": rows.real,
        "transient": rows.transient,
        "real_not_injected": rows.real & ~rows.injected,
    }
    result["curves"] = {kind: figures(reliability, rows, positive, 0.5) for kind, positive in kinds.items()}
    for name, threshold in model.card.thresholds.items():
        result["points"][name] = {
            kind: figures(reliability, rows, positive, threshold, PREVALENCE, with_curves=False)
            for kind, positive in kinds.items()
        }
        result["points"][name]["threshold"] = threshold
        result["points"][name]["purity_of_the_sample"] = float(rows.real[reliability >= threshold].mean())
    stamps = calibration.reliability(alone, model.card.prevalence)
    result["without_trails"] = {
        name: figures(stamps, rows, rows.real, threshold, PREVALENCE, with_curves=False)
        for name, threshold in model.card.thresholds.items()
    }
    result["passing_artefacts"] = {
        name: dict(Counter(rows.columns["cause"][rows.artefact & (reliability >= threshold)].tolist()))
        for name, threshold in model.card.thresholds.items()
    }
    natural = float(rows.real.sum() / (rows.real.sum() + rows.artefact.sum()))
    result["calibration"] = calibration_table(calibration.reliability(logits, natural), rows)
    result["prevalence_of_the_rows"] = natural
    if not args.no_subsets:
        result["subsets"] = subset_figures(args.set, fields, model, networks, everything, args.min_snr)
    result["ood"] = float(
        np.nanmedian(score_inputs(model, rows.inputs, rows.columns["sky_cell"], networks).ood)
    )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "in_domain.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


def subset_figures(
    folder: Path, fields: list[str], model: ReliabilityModel, networks: Any, everything: Rows, min_snr: float
) -> dict[str, Any]:
    """Return the change of completeness at a purity of 0.95 for each kind of difficult stamp."""
    calibration = Calibration.from_dict(model.card.calibration)
    bright = everything.columns["snr"] >= min_snr
    rows = everything[bright]

    def of(these: Rows) -> np.ndarray:
        return doubted(scores(model, networks, these), these, calibration)[bright]

    plain, negative = of(everything), rows.negative_flux
    variants = {
        "holes_10_percent": changed(everything, random_holes(everything, 0.1, 0)),
        "holes_20_percent": changed(everything, random_holes(everything, 0.2, 0)),
        "edges": changed(everything, random_edges(everything, 0)),
        "51_pixels": enlarged(folder, fields, everything),
        "no_mask": unflagged(everything),
    }
    result = {name: paired(plain, of(these), rows) for name, these in variants.items()}
    result["negative_against_positive"] = paired(
        plain[~negative], plain[negative], rows[~negative], rows[negative]
    )
    return result


def enlarged(folder: Path, fields: list[str], rows: Rows) -> Rows:
    """Return the same sources in stamps of 51 pixels, of which a model of 30 sees 31."""
    large = load(folder, fields, size=31)

    def keys(these: Rows) -> list[tuple[str, int]]:  # ids are unique within a survey only
        return list(zip(these.columns["field"].tolist(), these.columns["diaSourceId"].tolist(), strict=True))

    place = {key: i for i, key in enumerate(keys(large))}
    return large[np.array([place[key] for key in keys(rows)])]


def unflagged(rows: Rows) -> Rows:
    """Return the rows without mask planes, as alerts come."""
    stamps = rows.inputs.stamps.copy()
    stamps[:, 4] = 0
    return Rows(NetworkInputs(stamps, rows.inputs.metadata), rows.columns)


if __name__ == "__main__":
    main()
