"""Turns errors of the libraries that load a model into one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_interp.errors import InterpError, UsageError
from pytest_interp.text import line

_LONGEST_REASON, _LONGEST_NAME = 250, 80
"""Characters; what is longer is shortened."""


@contextmanager
def as_usage_error(complaint: str, advice: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns any error of a library into a UsageError: the complaint, the library's reason, what to do.

    Args:
        complaint: what could not be done, and with which file.
        advice: what the user can do about it.
        passing: errors that pass unchanged; those of this project always do.

    Raises:
        UsageError: where a library raises an error inside the block.
    """
    try:
        yield
    except BaseException as error:
        # A panic of tokenizers is no Exception, and its class cannot be imported.
        foreign = isinstance(error, Exception) or type(error).__name__ == "PanicException"
        if not foreign or isinstance(error, (InterpError, *passing)):
            raise
        raise UsageError(f"{complaint} ({reason_of(error)}); {advice}") from None


def reason_of(error: BaseException) -> str:
    """An error in one line: its type and its message, shortened."""
    message = line(" ".join(str(error).split()), _LONGEST_REASON)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def listed(names: list[str], limit: int = 3) -> str:
    """The first names of a list, and the number of the others.

    Args:
        names: any texts.
        limit: how many are written out.

    Example:
        >>> listed(["a", "b", "c", "d"])
        'a, b, c and 1 more'
    """
    remainder = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(line(name, _LONGEST_NAME) for name in names[:limit])}{remainder}"
