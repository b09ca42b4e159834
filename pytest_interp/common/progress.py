"""Progress of what takes long: a bar of the passes of a sweep, and the name of the current activity.

A sweep counts its passes in `progress`. Each bar asks for the stream that it is drawn on when it begins:

- in a script or a notebook that is standard error, where a person reads it (`standard_error`);
- in a run of pytest the plugin chooses the stream, or none, for the whole run (`drawn_on`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_interp.text import line

_AFTER = 3.0
"""Seconds after which a bar is drawn: nobody waits for what is shorter."""


def standard_error() -> Any:
    """Returns the standard error of the moment if a person reads it: a terminal, or the output of a notebook.

    Returns:
        The stream; None if nobody reads it.
    """
    stream = sys.stderr
    if stream is None:
        return None
    # A notebook's stream is no terminal, but it shows a line that is drawn again in its place.
    in_notebook = type(stream).__module__.startswith("ipykernel.")
    return stream if in_notebook or stream.isatty() else None


_stream_of_bar: Callable[[], Any] = standard_error
_activities: list[str] = []


@contextmanager
def drawn_on(stream_of_bar: Callable[[], Any]) -> Iterator[None]:
    """Changes where bars are drawn inside the block.

    Args:
        stream_of_bar: called when a bar begins; returns a stream with ``write`` and ``flush``, or None for no bar.
    """
    global _stream_of_bar  # noqa: PLW0603  (a run has one terminal)
    before, _stream_of_bar = _stream_of_bar, stream_of_bar
    try:
        yield
    finally:
        _stream_of_bar = before


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
    """Counts passes; if they take longer than 3 seconds, draws a bar on the stream, if any, and removes it at the end.

    Args:
        total: how many passes there are.
        what: the bar's label.

    Yields:
        A function that takes the number of passes done since its last call.
    """
    stream = _stream_of_bar()
    if stream is None or not total:
        yield lambda _: None
        return
    from tqdm import tqdm

    bar = tqdm(
        total=total,
        desc=line(what, 40),
        unit=" passes",
        file=stream,
        delay=_AFTER,
        leave=False,
        ncols=shutil.get_terminal_size().columns - 1,
        nrows=20,  # otherwise the bar is hidden on a terminal that does not know its height
        ascii=" =",
    )
    with bar:
        yield bar.update


@contextmanager
def activity(name: str) -> Iterator[None]:
    """Names the activity inside the block, such as ``loading gpt2``, for the line that shows a run's progress."""
    _activities.append(name)
    try:
        yield
    finally:
        _activities.remove(name)


def current_activity() -> str:
    """The name of the innermost current activity; empty if there is none."""
    return next(iter(_activities[-1:]), "")
