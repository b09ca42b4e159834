"""What the libraries that load a model raise, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_interp.errors import InterpError, UsageError
from pytest_interp.text import line

_LONGEST, _NAME = 250, 80
"""Characters from which on a reason, and a name, are shortened."""


@contextmanager
def as_usage_error(complaint: str, advice: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns any error of a library into a UsageError: the complaint, the library's reason, what to do.

    Args:
        complaint: what could not be done, with which file.
        advice: what to do about it.
        passing: errors that are left as they are; those of this project always are.
    """
    try:
        yield
    except BaseException as error:
        # What tokenizers panics with is no Exception, and its class cannot be imported.
        foreign = isinstance(error, Exception) or type(error).__name__ == "PanicException"
        if not foreign or isinstance(error, (InterpError, *passing)):
            raise
        raise UsageError(f"{complaint} ({reason_of(error)}); {advice}") from None


def reason_of(error: BaseException) -> str:
    """An error in one line: its type and what it says, cut where that is long."""
    said = line(" ".join(str(error).split()), _LONGEST)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def listed(names: list[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(line(name, _NAME) for name in names[:most])}{more}"
