"""Records of verdicts that a claim reaches in other threads and in child processes.

Each open claim has a file to which child processes append, one record a line. While the claim is open, an environment
variable holds the file's path, so that forked and spawned children know it. A worker of a pool may be older than the
claim that it works for: its records belong to the innermost open claim.
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
"""The environment variable that holds the path of the open claim's file."""
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
    """Whether a thread of this process is a worker of a pool, which outlives the claims that it works for."""
    return any(_of_pool(frame) for frame in _frames(thread))


def wait_for_threads(earlier: Collection[threading.Thread], seconds: float = SECONDS) -> None:
    """Waits for threads that may still reach a verdict: new threads, and workers of pools that are at work.

    Args:
        earlier: the threads that ran before the claim; of them only busy workers of pools are waited for.
        seconds: the longest time to wait, for all threads together.
    """
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        while _may_reach_a_verdict(thread, earlier) and (remaining := deadline - time.monotonic()) > 0:
            thread.join(min(remaining, 0.02))


def _may_reach_a_verdict(thread: threading.Thread, earlier: Collection[threading.Thread]) -> bool:
    """Whether a thread is alive and works for the claim that ends."""
    if thread is threading.current_thread() or not thread.is_alive():
        return False
    frames = list(_frames(thread))
    if any(map(_of_pool, frames)):
        # A worker that waits for work has the pool's own function as its innermost frame; a busy worker has it further
        # out. Threads that only manage a pool never run it.
        return any(_of_pool(frame) and frame.f_code.co_name in _POOLS.values() for frame in frames[1:])
    # Python does not wait for daemon threads when the process ends; neither does a claim.
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
    """The file of an open claim or trial: a context in which child processes can append their records.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path | None = None, *, trial: bool = False) -> None:
        self.path = path or _folder(os.getpid()) / f"{next(_numbers):09}{_TRIAL if trial else ''}"

    @property
    def trial(self) -> bool:
        """Whether the file belongs to a trial."""
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
        """Adds a record.

        Returns:
            False if the claim has ended, and its file with it.
        """
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return False
        try:
            # A single write, so that lines of several processes do not mix.
            os.write(file, (json.dumps(record, default=str) + "\n").encode())
        finally:
            os.close(file)
        return True


def of_parent() -> RecordFile | None:
    """The file of the parent process's open claim, for a process without an open claim; None if there is none."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    path = Path(text)
    if in_pool(threading.current_thread()):
        # The worker may have started under an earlier claim. File numbers grow and ended claims have no file, so the
        # highest number is the innermost open claim.
        path = max(path.parent.glob("*"), default=path)
    return RecordFile(path)


@cache
def _folder(process: int) -> Path:
    """The folder of a process's files, removed when the process ends; a forked child has its own."""
    folder = Path(tempfile.mkdtemp(prefix="pytest-interp-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
