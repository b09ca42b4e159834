"""What goes on that takes long: a bar, if someone says where to draw it, and the name of what is being done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from pytest_interp.text import line

_AFTER = 3.0
"""Seconds after which a bar is drawn: nobody waits for what is shorter."""

_screen: Any = None
_drawn = 0.0
_activities: list[str] = []


@contextmanager
def drawn_on(screen: Any) -> Iterator[None]:
    """Bars are drawn on this meanwhile (it has ``write`` and ``flush``); on None they are not."""
    global _screen  # noqa: PLW0603  (a run has one terminal)
    before, _screen = _screen, screen
    try:
        yield
    finally:
        _screen = before


class _Noted:
    """A screen that notes when it was drawn on."""

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
    """Counts passes; a bar that is gone afterwards, if there is a screen and it takes longer than a moment."""
    if _screen is None or not total:
        yield lambda _: None
        return
    from tqdm import tqdm

    columns, screen = shutil.get_terminal_size().columns - 1, _Noted(_screen)
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
    """When a bar was last drawn or taken away, on the monotonic clock; 0 if never."""
    return _drawn


@contextmanager
def activity(name: str) -> Iterator[None]:
    """Names what a claim waits for meanwhile, such as ``loading gpt2``; whoever shows a run's progress may say it."""
    _activities.append(name)
    try:
        yield
    finally:
        _activities.remove(name)


def current_activity() -> str:
    """The innermost activity that goes on; empty if none."""
    return next(iter(_activities[-1:]), "")
