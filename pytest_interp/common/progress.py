"""Progress of long computations: a bar, if a screen is set, and the name of the current activity."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from pytest_interp.text import line

_AFTER = 3.0
"""Seconds after which a bar is drawn."""

_screen: Any = None
_drawn = 0.0
_activities: list[str] = []


@contextmanager
def drawn_on(screen: Any) -> Iterator[None]:
    """A context in which bars are drawn on a screen.

    Args:
        screen: an object with ``write`` and ``flush``; None for no bars.
    """
    global _screen  # noqa: PLW0603  (a run has one terminal)
    before, _screen = _screen, screen
    try:
        yield
    finally:
        _screen = before


class _TimedScreen:
    """A screen that remembers when it was last drawn on."""

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
    """A context that counts passes; it shows a bar if a screen is set and the passes take more than three seconds.

    Args:
        total: the number of passes.
        what: the label of the bar.

    Yields:
        A function to call with the number of passes that were just made.
    """
    if _screen is None or not total:
        yield lambda _: None
        return
    from tqdm import tqdm

    columns, screen = shutil.get_terminal_size().columns - 1, _TimedScreen(_screen)
    bar = tqdm(
        total=total,
        desc=line(what, 40),
        unit=" passes",
        file=screen,
        delay=_AFTER,
        leave=False,
        ncols=columns,
        ascii=" =",
    )
    with bar:
        yield bar.update


def drawn_at() -> float:
    """The time at which a bar was last drawn or removed, on the monotonic clock; 0 if never."""
    return _drawn


@contextmanager
def activity(name: str) -> Iterator[None]:
    """A context in which ``current_activity`` gives this name, such as ``loading gpt2``."""
    _activities.append(name)
    try:
        yield
    finally:
        _activities.remove(name)


def current_activity() -> str:
    """The name of the innermost current activity; empty if there is none."""
    return next(iter(_activities[-1:]), "")
