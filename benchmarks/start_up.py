"""What one scoring quantum costs before it scores: a fresh process up to the scores of its first source.

    python benchmarks/start_up.py [--runs 5]

Each run is a process of its own, as a quantum of a campaign without clustering has: the imports, the shipped
model, the score of one source by all its networks. `pipetask` itself comes on top, and is timed beside it by
the time to show its help. The least of all runs is printed, and what part of it each step is.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

CODE = """
import sys, time
start = time.perf_counter()
sys.path.insert(0, {here!r})
from dia_vetting.reliability.score_reliability import ScoreReliabilityConfig, ScoreReliabilityTask
config = ScoreReliabilityConfig()
config.modelSource = "shipped"
task = ScoreReliabilityTask(config=config)
task_made = time.perf_counter()
import torch
torch_there = time.perf_counter()
from scoring import make_cutouts
cutouts = make_cutouts(30)[:1]
ready = time.perf_counter()
task.run(cutouts)
scored = time.perf_counter()
print(task_made - start, torch_there - task_made, scored - ready)
"""
STEPS = ("the task and what it imports", "torch", "model, networks and the first score")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    code = CODE.format(here=str(Path(__file__).parent))
    best: list[float] = []
    command = float("inf")
    for _ in range(args.runs):
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        steps = [float(value) for value in done.stdout.split()[-3:]]
        best = steps if not best or sum(steps) < sum(best) else best
        start = time.perf_counter()
        pipetask = Path(sys.executable).with_name("pipetask")
        subprocess.run([str(pipetask), "run", "--help"], check=True, capture_output=True)
        command = min(command, time.perf_counter() - start)
    total = sum(best)
    print(f"up to the first score: {total:.2f} s; {command / total:.2f} of that for `pipetask run --help`")
    for name, value in zip(STEPS, best, strict=True):
        print(f"  {name:36s} {value / total:5.0%}")


if __name__ == "__main__":
    main()
