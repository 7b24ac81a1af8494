"""Errors of the package: one base, and one class for each kind of bad input."""


class StageplanError(Exception):
    """Base of the errors that stageplan raises.

    Bad input raises an `InputError`, which is a ValueError too, or an `InputTypeError`, which is a TypeError
    too; the `ExecutorError` of a sweep and the ``StepError`` of ``stageplan generate`` are RuntimeErrors too.
    Errors of the operating system (OSError), of packages that are not installed (ImportError) and of
    callbacks keep their class, as does Python's TypeError of a call with missing or unknown arguments.

    Examples
    --------
    >>> import stageplan as sp
    >>> try:
    ...     sp.Goal(max_price=-1)
    ... except sp.StageplanError as error:
    ...     print(error)
    max_price is -1; it must be more than 0 $/hour and finite, or absent (goal)
    """


class InputError(StageplanError, ValueError):
    """A value that is not allowed; its sentence names the field, the value and what is allowed."""


class InputTypeError(StageplanError, TypeError):
    """A value of a wrong type; its sentence names the field, the value and what is allowed."""


class ExecutorError(StageplanError, RuntimeError):
    """The executor that runs a sweep failed; the sentence says what is kept."""
