"""The one error a person can act on: what is wrong, where, and what to do next."""


class DataError(Exception):
    """Data, a brief or a setting cannot be used as it is.

    Args:
        message: what is wrong and what to do next, in plain words.
        field: the brief field or `table.column` it concerns, where there is one.

    >>> str(DataError("budget must be above 0", field="budget"))
    'budget must be above 0'
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
