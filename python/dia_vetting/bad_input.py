"""What is raised for input that a person must mend. Rubin's packages are not needed for it."""

__all__ = ["BadInputError", "TableSchemaError", "UnreadableDatasetError"]


class BadInputError(ValueError):
    """Input that cannot be used as it is: the message names the file or dataset, what was expected and found.

    Parameters
    ----------
    source : `str`
        File, or dataset type and data ID.
    expected : `str`
        What is needed.
    found : `str`
        What is there.
    """

    def __init__(self, source: str, expected: str, found: str) -> None:
        super().__init__(f"{source}: expected {expected}, found {found}.")
        self.source = source
        self.expected = expected
        self.found = found


class TableSchemaError(BadInputError):
    """A table that lacks a column, or has one of another dtype, unit or shape.

    Parameters
    ----------
    source : `str`
        File, or dataset type and data ID.
    column : `str`
        Name of the column.
    expected : `str`
        What the schema asks for.
    found : `str`
        What is there.
    """

    def __init__(self, source: str, column: str, expected: str, found: str) -> None:
        super().__init__(source, f"column {column!r} as {expected}", found)
        self.column = column


class UnreadableDatasetError(BadInputError):
    """A dataset whose file is damaged, or holds something else than its dataset type says."""
