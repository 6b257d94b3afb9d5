"""Peak memory and CPU of every task on one 4k x 4k detector, each in a process of its own.

    python benchmarks/peak_memory.py [--pixels 4096] [--out DIR]

Simulates three template and one science exposure, then runs the tasks of pipelines/Embedded/vetting.yaml
one by one by `pipetask run`. A process that does nothing but build the graph is printed first: what a task
needs is the difference.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PIPELINE = ROOT / "pipelines" / "Embedded" / "vetting.yaml"
TASKS = [
    "buildTemplate",
    "detectObjects",
    "selectHosts",
    "makeTransients",
    "injectTransients",
    "warpTemplate",
    "subtractImages",
    "detectDiaSources",
    "associateDiaSources",
    "forcedPhotometry",
    "extractCutouts",
    "labelDiaSources",
    "trainReliability",
    "scoreReliability",
    "evaluateReliability",
    "evaluateInjection",
]


def measure(command: list[str]) -> tuple[float, float, int]:
    """Run a command; return its peak resident memory (GB), CPU seconds and exit status."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    tail = process.stderr.read().decode()[-2000:]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(tail, file=sys.stderr)
    return usage.ru_maxrss / 1e6, usage.ru_utime + usage.ru_stime, process.returncode


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    size = {"columns": 1, "rows": 1, "bands": ["r"], "science_visits": 1, "template_visits": 3}
    size |= {"detector_width": options.pixels, "detector_height": options.pixels}
    (folder / "survey.yaml").write_text(yaml.safe_dump({"preset": "lsst", "size": size}))
    repo = str(folder / "repo")
    gigabytes, seconds, status = measure(
        [tool("dia-vetting"), "make-survey", repo, "--config", str(folder / "survey.yaml")]
    )
    print(f"{'task':24s}{'peak GB':>9s}{'CPU s':>8s}")
    print(f"{'make-survey':24s}{gigabytes:9.2f}{seconds:8.1f}{'' if not status else '  failed'}")
    run = [tool("pipetask"), "--log-level", "ERROR", "run", "-b", repo, "-i", "SimLSST/defaults"]
    run += ["-o", "u/memory", "-d", "instrument = 'SimLSST'", "-j", "1", "--register-dataset-types"]
    base, _, _ = measure([tool("pipetask"), "build", "-p", str(PIPELINE)])
    print(f"{'(pipetask alone)':24s}{base:9.2f}")
    for task in TASKS:
        extra = ["-c", "selectHosts:bands=[r]"] if task == "selectHosts" else []
        gigabytes, seconds, status = measure([*run, "-p", f"{PIPELINE}#{task}", *extra])
        print(f"{task:24s}{gigabytes:9.2f}{seconds:8.1f}{'' if not status else '  failed'}", flush=True)


if __name__ == "__main__":
    main()
