"""A bar for what takes long: none unless someone says where to draw it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_interp.text import line

_AFTER = 3.0
"""Seconds after which a bar is drawn: nobody waits for what is shorter."""

_screen: Any = None


@contextmanager
def drawn_on(screen: Any) -> Iterator[None]:
    """Bars are drawn on this meanwhile (it has ``write`` and ``flush``); on None they are not."""
    global _screen  # noqa: PLW0603  (a run has one terminal)
    before, _screen = _screen, screen
    try:
        yield
    finally:
        _screen = before


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
    """Counts passes; a bar that is gone afterwards, if there is a screen and it takes longer than a moment."""
    if _screen is None or not total:
        yield lambda _: None
        return
    from tqdm import tqdm

    columns = shutil.get_terminal_size().columns - 1
    bar = tqdm(
        total=total,
        desc=line(what, 40),
        unit=" passes",
        file=_screen,
        delay=_AFTER,
        leave=False,
        ncols=columns,
        ascii=" =",
    )
    with bar:
        yield bar.update
