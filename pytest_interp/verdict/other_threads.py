"""Verdicts that are reached elsewhere: in other threads, and in child processes.

Each open claim has a file that child processes append to, a record a line. Its path stands in an environment variable
while the claim is open, so that forked and spawned children know it. A worker of a pool may be older than the claim
that it works for: its verdicts belong to the innermost open one.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Self

VARIABLE = "PYTEST_INTERP_RECORDS"
SECONDS = 10.0
"""How long the end of a claim waits for its threads."""
_POOLS = {
    "concurrent.futures.thread": "_worker",
    "concurrent.futures.process": "_process_worker",
    "multiprocessing.pool": "worker",
}
"""The modules whose threads and processes serve a pool, and in each the function that runs what was submitted."""
_TRIAL = ".trial"
_numbers = count()


def in_pool(thread: threading.Thread) -> bool:
    """Whether a thread of this process is a worker of a pool, which outlives those whom it works for."""
    return any(_of_pool(frame) for frame in _frames(thread))


def wait_for_threads(earlier: Collection[threading.Thread], seconds: float = SECONDS) -> None:
    """Waits for threads that may still reach a verdict: those started since, and workers of pools that are at work.

    Args:
        earlier: threads that were there before; of them only a pool's workers are waited for.
        seconds: how long at most, in all.
    """
    until = time.monotonic() + seconds
    for thread in threading.enumerate():
        while thread.is_alive() and _may_speak(thread, earlier) and (left := until - time.monotonic()) > 0:
            thread.join(min(left, 0.02))


def _may_speak(thread: threading.Thread, earlier: Collection[threading.Thread]) -> bool:
    if thread is threading.current_thread():
        return False
    frames = list(_frames(thread))
    if any(map(_of_pool, frames)):
        # A worker that waits for work is in its own function; threads that only manage a pool say nothing.
        return any(_of_pool(frame) and frame.f_code.co_name in _POOLS.values() for frame in frames[1:])
    # A daemon is not waited for when the process ends either.
    return thread not in earlier and not thread.daemon


def _frames(thread: threading.Thread) -> Iterator[FrameType]:
    """The frames of a thread, innermost first."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _of_pool(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in _POOLS


class RecordFile:
    """The file of an open claim or trial: a context in which child processes append to it."""

    def __init__(self, path: Path | None = None, *, trial: bool = False) -> None:
        self.path = path or _folder(os.getpid()) / f"{next(_numbers):09}{_TRIAL if trial else ''}"

    @property
    def trial(self) -> bool:
        """Whether it is a trial's."""
        return self.path.suffix == _TRIAL

    def __enter__(self) -> Self:
        self.path.touch()
        self._before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._before
        self.path.unlink(missing_ok=True)

    def read(self) -> list[dict[str, Any]]:
        """The records that child processes have appended."""
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def append(self, record: Mapping[str, Any]) -> bool:
        """Adds a record; False where the claim has ended, and its file with it."""
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return False
        try:
            # In one piece, so that lines of several processes do not mix.
            os.write(file, (json.dumps(record, default=str) + "\n").encode())
        finally:
            os.close(file)
        return True


def of_parent() -> RecordFile | None:
    """The file to which this process's records go, having no claim open itself; None where no process has."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    path = Path(text)
    if in_pool(threading.current_thread()):
        # Numbers only grow, and what has ended is gone.
        path = max(path.parent.glob("*"), default=path)
    return RecordFile(path)


@cache
def _folder(process: int) -> Path:
    """The folder of a process's files, taken away as it ends; a forked child has one of its own."""
    folder = Path(tempfile.mkdtemp(prefix="pytest-interp-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
