"""The package's typed failures.

`lsst.pipe.base.NoWorkFound` is for a quantum that has nothing to do. `lsst.pipe.base.AlgorithmError`
subclasses are for what the sky or the data can cause: the task annotates its partial outputs and other quanta
go on. Bad input that a person must mend is a `BadInputError`, which names what was wrong and where.
"""

import functools
from typing import Any

from lsst.pipe.base import AlgorithmError, AnnotatedPartialOutputsError, PipelineTask

from .bad_input import BadInputError, TableSchemaError, UnreadableDatasetError

__all__ = [
    "BadInputError",
    "ScienceError",
    "TableSchemaError",
    "UnreadableDatasetError",
    "annotates_failures",
]


class ScienceError(AlgorithmError):
    """A failure that the data can cause, with the numbers that explain it.

    Parameters
    ----------
    message : `str`
        What went wrong, naming the dataset.
    **metadata : `str`, `int`, `float` or `bool`
        Numbers that explain it; they go into the task metadata.
    """

    def __init__(self, message: str, **metadata: str | int | float | bool) -> None:
        super().__init__(message)
        self._metadata = metadata

    @property
    def metadata(self) -> dict[str, Any]:
        """The numbers that explain the failure (see `lsst.pipe.base.AlgorithmError`)."""
        return dict(self._metadata)


def annotates_failures[T: type[PipelineTask]](task_class: T) -> T:
    """Make a `ScienceError` of a task an annotated failure: a class decorator for tasks of single images.

    With ``pipetask run --no-raise-on-partial-outputs`` such a quantum is a qualified success without outputs,
    so that what gathers all images (training, association) goes on with the others. Without the option it
    is a failure, and only what does not depend on it goes on. ``pipetask report`` shows either. An input
    that cannot be read is always a failure (`UnreadableDatasetError`, or the butler's own
    ``FileIntegrityError``), since it can be mended, and the quantum has to be run again then.

    Parameters
    ----------
    task_class : `type`
        A `~lsst.pipe.base.PipelineTask`.

    Returns
    -------
    task_class : `type`
        The same class, its ``runQuantum`` wrapped.
    """
    run_quantum = task_class.runQuantum

    @functools.wraps(run_quantum)
    def annotated(self: PipelineTask, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        try:
            run_quantum(self, butlerQC, inputRefs, outputRefs)
        except ScienceError as error:
            raise AnnotatedPartialOutputsError.annotate(error, self, log=self.log) from error
        except ValueError as error:
            # What a formatter raises has no type of its own: daf_butler makes this of anything.
            if str(error).startswith("Failure from formatter"):
                raise UnreadableDatasetError(self.getName(), "inputs that can be read", str(error)) from error
            raise

    setattr(task_class, "runQuantum", annotated)
    return task_class
