"""Progress of what takes long: a bar of the passes of a sweep, and the name of the current activity.

In a script or a notebook the bar is drawn on standard error, where a person reads it. In a run of pytest the plugin
says where it is drawn.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from pytest_interp.text import line

_AFTER = 3.0
"""Seconds after which a bar is drawn: nobody waits for what is shorter."""

STANDARD_ERROR = object()
"""The screen outside of pytest: the standard error of the moment, if it is a terminal or the output of a notebook."""

_screen: Any = STANDARD_ERROR
_drawn = 0.0
_activities: list[str] = []


@contextmanager
def drawn_on(screen: Any) -> Iterator[None]:
    """Draws bars on a screen inside the block.

    Args:
        screen: a stream with ``write`` and ``flush``; None for no bars; ``STANDARD_ERROR`` for a script or notebook.
    """
    global _screen  # noqa: PLW0603  (a run has one terminal)
    before, _screen = _screen, screen
    try:
        yield
    finally:
        _screen = before


def _current_screen() -> Any:
    if _screen is not STANDARD_ERROR:
        return _screen
    stream = sys.stderr
    if stream is None:
        return None
    # A notebook's stream is no terminal, but it shows a line that is drawn again in its place.
    in_notebook = type(stream).__module__.startswith("ipykernel.")
    return stream if in_notebook or stream.isatty() else None


class _TimedScreen:
    """A screen that notes when it was last drawn on."""

    def __init__(self, screen: Any) -> None:
        self.screen = screen

    def write(self, text: str) -> None:
        global _drawn  # noqa: PLW0603
        _drawn = monotonic()
        self.screen.write(text)

    def flush(self) -> None:
        self.screen.flush()


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
    """Counts passes; draws a bar if there is a screen and it takes longer than 3 seconds, and removes it at the end.

    Args:
        total: how many passes there are.
        what: the bar's label.

    Yields:
        A function that takes the number of passes done since its last call.
    """
    screen = _current_screen()
    if screen is None or not total:
        yield lambda _: None
        return
    from tqdm import tqdm

    bar = tqdm(
        total=total,
        desc=line(what, 40),
        unit=" passes",
        file=_TimedScreen(screen),
        delay=_AFTER,
        leave=False,
        ncols=shutil.get_terminal_size().columns - 1,
        ascii=" =",
    )
    with bar:
        yield bar.update


def drawn_at() -> float:
    """When a bar was last drawn or removed, on the monotonic clock; 0 if never."""
    return _drawn


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
