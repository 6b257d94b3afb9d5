"""Stock command lines on small simulated surveys, each made once per session."""

import functools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table
from lsst.daf.butler import Butler

PIPELINE = Path(__file__).parents[1] / "pipelines" / "Embedded" / "vetting.yaml"
INPUT = "SimLSST/defaults"
MAIN = "u/test/main"

NSIDE, FOLDS = 65536, 2
"""Cells of 3 arcsec, so that so small a field has enough of them."""

_NETWORK = {"nside": NSIDE, "folds": FOLDS, "buffer": 0.5, "minExamples": 5, "minUpdates": 20, "epochs": 1}
SETTINGS = (
    "selectHosts:bands=['r']",
    "makeTransients:hostFraction=1.0",
    "makeTransients:hostlessFraction=0.3",
    *(
        f"{task}:{key}={value}"
        for task in ("trainReliability", "trainSeedCnn")
        for key, value in _NETWORK.items()
    ),
)

type Arguments = Sequence[str | Path]


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def command(name: str, *arguments: str | Path, check: bool = True) -> str:
    """Run a tool of the environment; return what it prints, errors and log included."""
    done = subprocess.run(
        [_tool(name), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        env=os.environ,
    )
    assert done.returncode == 0 or not check, done.stdout[-8000:]
    return done.stdout


def run_arguments(
    repo: Path,
    output: str,
    *options: str,
    subset: str = "",
    inputs: str = INPUT,
    where: str = "instrument = 'SimLSST'",
    settings: Iterable[str] = SETTINGS,
    pipeline: Path = PIPELINE,
) -> list[str]:
    """Return the arguments of ``pipetask`` for a run of the embedded pipeline, or of subsets of it."""
    configured = [word for setting in settings for word in ("-c", setting)]
    what = f"{pipeline}#{subset}" if subset else str(pipeline)
    return [
        *("--long-log", "run", "-b", str(repo), "-i", inputs, "-o", output, "-p", what, "-d", where),
        *("--register-dataset-types", *configured, *options),
    ]


def executed(log: str) -> tuple[int, int, int]:
    """Return how many quanta the last line of a log says succeeded, failed, and were there in total."""
    counts = re.findall(r"Executed (\d+) quanta successfully, (\d+) failed .* out of total (\d+)", log)
    succeeded, failed, total = map(int, counts[-1]) if counts else (0, 0, 0)
    return succeeded, failed, total


def run_and_kill(arguments: Arguments, after: int, log: Path) -> int:
    """Start ``pipetask``, kill it once so many quanta are done, and return how many there were."""
    with log.open("w") as stream:
        process = subprocess.Popen(
            [_tool("pipetask"), *map(str, arguments)], stdout=stream, stderr=stream, env=os.environ
        )
        deadline = time.monotonic() + 1200
        while executed(log.read_text())[0] < after:
            assert process.poll() is None, log.read_text()[-8000:]
            assert time.monotonic() < deadline, "nothing to kill after twenty minutes"
            time.sleep(0.1)
        process.kill()
        process.wait()
    return executed(log.read_text())[0]


@functools.cache
def tiny_survey(base: Path) -> Path:
    """Make the tiny survey: one detector, three template and three science visits."""
    repo = base / "tiny_survey"
    command("dia-vetting", "make-survey", repo, "--preset", "lsst", "--size", "tiny", "--seed", "1")
    return repo


@functools.cache
def main_run(base: Path) -> tuple[Path, str]:
    """Run the whole pipeline on the tiny survey, one process; return repository and log."""
    repo = tiny_survey(base)
    return repo, command("pipetask", *run_arguments(repo, MAIN, "-j", "1"))


def open_butler(repo: Path, *collections: str) -> Butler:
    return Butler.from_config(str(repo), collections=list(collections), instrument="SimLSST", writeable=True)


def copy_repo(repo: Path, to: Path) -> Path:
    shutil.copytree(repo, to)
    return to


def assert_same_table(first: Table, second: Table) -> None:
    """Assert that two tables hold the same bytes in the same columns."""
    assert first.colnames == second.colnames
    for name in first.colnames:
        one, two = np.asarray(first[name]), np.asarray(second[name])
        assert one.dtype == two.dtype, name
        if one.dtype.kind == "f":
            np.testing.assert_array_equal(one, two, err_msg=name)
        else:
            assert (one == two).all(), name
