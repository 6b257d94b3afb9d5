"""Scores of real alerts beside those of their own stream, with pictures; nothing is tuned on them.

python benchmarks/alert_scores.py ../shared/data [--model NAME_OR_FILE] --out DIR
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.table import Table
from dia_vetting.alerts.cutouts import alert_cutouts
from dia_vetting.alerts.packets import Alert
from dia_vetting.alerts.score_alerts import AlertReader, score_alerts
from dia_vetting.reliability.examples import Example
from dia_vetting.reliability.plots_style import BLUE, ORANGE, new_figure
from dia_vetting.reliability.plots_triplets import triplets_figure
from dia_vetting.reliability.shipped import DEFAULT_MODEL, open_model

STREAMS = {"rubin": "rubin_alerts", "ztf": "ztf_alerts"}
SHOWN = 8


def examples(alerts: list[Alert], scores: Table, rows: np.ndarray, size: int) -> list[Example]:
    """Return the stamps of some alerts with their scores."""
    by_id = {alert.dia_source_id or alert.candid: alert for alert in alerts}
    found = []
    for row in scores[rows]:
        cutouts = alert_cutouts([by_id[int(row["diaSourceId"]) or int(row["candid"])]], size)
        planes = {
            name: np.asarray(cutouts[name][0]) for name in ("science", "template", "difference", "variance")
        }
        caption = (
            f"{row['reliability']:.3f}, stream {row['stream_score']:.2f}, SNR {float(cutouts['snr'][0]):.1f}"
        )
        found.append(Example(**planes, caption=caption))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model = open_model(args.model)
    for stream, folder in STREAMS.items():
        path = args.out / f"{stream}_scores.parquet"
        summary = score_alerts([args.data / folder], model, path, None, args.model)
        scores = Table({name: column.to_numpy() for name, column in zip(*_columns(path), strict=True)})
        scored = np.isfinite(scores["reliability"].astype(float))
        values, theirs = scores["reliability"][scored], scores["stream_score"][scored].astype(float)
        levels = np.percentile(values, [0, 5, 25, 50, 75, 100]).round(4)
        print(f"{stream}: {len(scores)} alerts, {dict(summary.reasons)}, model {summary.version}")
        print(f"  reliability, 0/5/25/50/75/100 %: {levels.tolist()}")
        print(f"  median ood: {np.median(scores['ood'][scored]):.3f}")
        for name, threshold in model.card.thresholds.items():
            print(f"  above {name} ({threshold:.4f}): {np.mean(values >= threshold):.3f}")
        good = theirs >= 0.9
        if good.any():
            lowest = model.card.thresholds["tpr_0.95"]
            print(
                f"  of {good.sum()} that the stream gives 0.9 or more: {np.mean(values[good] >= lowest):.3f}"
            )
        figure = new_figure(6, 4.5)
        axis = figure.subplots()
        axis.scatter(theirs, values, s=18, color=BLUE, label="alerts")
        axis.axhline(model.card.thresholds["tpr_0.95"], color=ORANGE, ls="--", label="95 % of injections")
        axis.set(xlabel=f"score of the {stream} stream", ylabel="reliability", yscale="logit", title=stream)
        axis.legend()
        figure.savefig(args.out / f"{stream}_scores.png", dpi=120)
        alerts = list(AlertReader([args.data / folder]))
        order = np.flatnonzero(scored)[np.argsort(values, kind="stable")]
        shown = {"lowest": order[:SHOWN], "highest": order[::-1][:SHOWN]}
        pictures = {f"{stream}, {name}": examples(alerts, scores, rows, 30) for name, rows in shown.items()}
        triplets_figure(pictures).savefig(args.out / f"{stream}_triplets.png", dpi=110, bbox_inches="tight")


def _columns(path: Path) -> tuple[list[str], list[object]]:
    table = pq.read_table(path, use_threads=False)
    return table.column_names, table.columns


if __name__ == "__main__":
    main()
