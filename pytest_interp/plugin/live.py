"""Shows progress within a long claim: what runs, how many claims are done, and the time since the start.

A thread looks every `LOOK` seconds, and writes where nothing else was written for some time. It has two modes.

- On a terminal it draws one line below the line that pytest is writing, and puts the cursor back. Before pytest writes
  again, the line is erased.
- Elsewhere (a pipe, the log of a CI job), or where other output could mix in, it writes a line after `QUIET` seconds,
  sooner where a new activity such as loading a model began. That interrupts the line that pytest is writing, so its
  beginning is written again before pytest goes on.

pytest's hooks tell the thread when it may write: each pauses it, lets pytest write, and resumes it if a test runs. A
lock keeps the thread from writing in between.

The bar of a sweep (``common/progress.py``) is drawn below pytest's line too, through `BarStream`. It notes when it was
last drawn: as long as it moves, the thread is silent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Generator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from pytest_interp.common.compat import terminal_column, terminal_file
from pytest_interp.common.progress import current_activity
from pytest_interp.plugin.deselection import plan_of
from pytest_interp.plugin.pace import forecast
from pytest_interp.report.layout import WIDTH, short
from pytest_interp.text import counted, line

QUIET = 8.0
"""Seconds of silence before a line; with `LOOK` and the time to write it, a line comes within ten seconds."""
LOOK = 1.0
"""Seconds between two looks."""
SOON = 2.0
"""Seconds of silence before a line on a terminal is drawn, and before a new activity is written elsewhere."""


_BAR_DRAWN = pytest.StashKey[float]()
"""When the bar of a sweep was last drawn or removed, on the monotonic clock."""


class BarStream:
    """The stream that the bar of a sweep is drawn on: a line of its own below pytest's, past pytest's capture."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter
        self._capture: Any = reporter.config.pluginmanager.get_plugin("capturemanager")

    def write(self, text: str) -> None:
        """Writes a text to the terminal at once.

        Args:
            text: the bar, or blanks that remove it.
        """
        self._reporter.config.stash[_BAR_DRAWN] = monotonic()
        with self._capture.global_and_fixture_disabled() if self._capture else contextlib.nullcontext():
            self._reporter.ensure_newline()
            self._reporter.write(text, flush=True)

    def flush(self) -> None:
        """Does nothing: each write was flushed."""


class Live:
    """A plugin of the process that writes to the terminal. It writes only while a test runs, and never fails a run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._screen: int | None = None
        self._reporter: Any = None
        self._running: dict[str, None] = {}
        self._finished: set[str] = set()
        self._may_write = self._drawn = self._interrupted = self._draws_below = False
        self._started_at = self._last_write = 0.0
        self._last_activity = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None, object, object]:
        """Notes a test that begins; the first one starts the clock and the thread."""
        self._pause()
        if self._thread is None and not self._stop.is_set():
            self._start()
        result = yield
        self._running[nodeid] = None
        self._resume()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, object, object]:
        """Makes way for the letter that pytest writes when a phase ends."""
        letter = report.when == "call" or not report.passed  # pytest writes none for a set-up that passed
        self._pause(resume=letter)
        result = yield
        if letter:
            self._last_write = monotonic()
        if report.when not in ("setup", "call", "teardown"):  # pytest-xdist reports a worker that crashed
            self._running.pop(report.nodeid, None)
        self._resume()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> Generator[None, object, object]:
        """Notes a test that ended."""
        self._pause()
        result = yield
        self._running.pop(nodeid, None)
        self._finished.add(nodeid)
        self._resume()
        return result

    def pytest_enter_pdb(self) -> None:
        """Ends the thread for good: the user debugs, and lines would disturb."""
        self._end()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Ends the thread before the closing table."""
        self._end()

    def _start(self) -> None:
        """Starts the thread, where there is a file to write to and there are claims that run."""
        plan = plan_of(self.config)
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or reporter.verbosity < -1 or not plan.claims:
            self._stop.set()
            return
        if getattr(self.config.option, "numprocesses", None) and reporter.verbosity >= 0:
            reporter.ensure_newline()
            reporter.write_line(forecast(self.config))  # without xdist it stands below the collected items
        try:
            # The terminal's own file is captured while a test runs; a duplicate of it is not.
            self._screen = os.dup(terminal_file(reporter).fileno())
        except (AttributeError, OSError, ValueError):
            self._stop.set()
            return
        self._reporter, self._started_at, self._last_write = reporter, monotonic(), monotonic()
        self._draws_below = bool(reporter.isatty) and _writes_alone(self.config)
        self._thread = threading.Thread(target=self._watch, name="pytest-interp-live", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        """Erases the line, and stops and joins the thread."""
        self._pause()
        self._stop.set()
        if self._thread is not None and self._screen is not None:
            self._thread.join()
            os.close(self._screen)
            self._thread = self._screen = None

    def _watch(self) -> None:
        """Runs in the thread: updates what is shown, until it is told to stop or cannot write."""
        while not self._stop.wait(LOOK):
            with self._lock:
                try:
                    if self._may_write:
                        self._update()
                except Exception:  # such as a closed pipe; progress is not worth failing a run
                    return

    def _update(self) -> None:
        """Draws or writes the line, if nothing was written for long enough."""
        silence = monotonic() - max(self._last_write, self.config.stash.get(_BAR_DRAWN, 0.0))
        activity = current_activity()
        if self._draws_below:
            if silence >= SOON:
                self._draw()
        elif silence >= QUIET or (silence >= SOON and activity not in ("", self._last_activity)):
            self._last_activity = activity
            within_line = terminal_column(self._reporter) and not self._interrupted
            self._write(("\n" if within_line else "") + self._text() + "\n")
            self._interrupted, self._last_write = True, monotonic()

    def _text(self) -> str:
        """Returns the line, of at most 79 columns: claims done, time, and the activity or the claims that run."""
        claims = plan_of(self.config).claims
        done = sum(name in self._finished for name in claims)
        duration = elapsed(monotonic() - self._started_at)
        text = f"interp: {done} of {counted(len(claims), 'claim')}, {duration}, now "
        return line(text + (current_activity() or self._named(WIDTH - len(text))), WIDTH)

    def _named(self, width: int) -> str:
        """Returns the tests that run, one for each of pytest-xdist's workers; fewer where all are too wide."""
        claims = plan_of(self.config).claims
        names = [short(name.rpartition("::")[2], claims.get(name, "")) for name in self._running]
        if not names:
            return ""
        texts = (", ".join(names), f"{names[0]} and {counted(len(names) - 1, 'other')}")
        return next((text for text in texts if len(text) <= width), names[0])

    def _draw(self) -> None:
        """Draws the line below the cursor, and puts the cursor back."""
        text = self._text()[: shutil.get_terminal_size().columns - 1]
        # Index (scrolls if this is the last line), up, save the cursor; down, to column 1, the text, erase the rest of
        # the line; restore the cursor.
        self._write(f"\x1bD\x1b[A\x1b7\x1b[B\r{text}\x1b[K\x1b8")
        self._drawn = True

    def _pause(self, *, resume: bool = True) -> None:
        """Erases the drawn line and forbids writing.

        Args:
            resume: whether pytest goes on with its line, so that its beginning is written again if it was interrupted.
        """
        with self._lock, contextlib.suppress(OSError):
            self._may_write = False
            drawn, self._drawn = self._drawn, False
            if drawn:
                self._write("\x1b7\x1b[B\r\x1b[2K\x1b8")
            interrupted, self._interrupted = self._interrupted, self._interrupted and not resume
            if interrupted and resume:
                self._write(self._line_start())

    def _resume(self) -> None:
        """Allows writing again, if a test runs."""
        with self._lock:
            self._may_write = self._thread is not None and bool(self._running)

    def _line_start(self) -> str:
        """Returns the beginning of pytest's line, with blanks for the letters after it, since pytest counts columns."""
        prefix = self._reporter.currentfspath
        if isinstance(prefix, Path):
            prefix = f"{os.path.relpath(prefix, self._reporter.startpath)} "
        elif not isinstance(prefix, str):
            if prefix is not None and self._reporter.verbosity > 0:
                self._reporter.currentfspath = None  # pytest-xdist writes whole lines
                return ""
            prefix = ""
        return str(prefix.ljust(terminal_column(self._reporter)))

    def _write(self, text: str) -> None:
        """Writes all of a text to the terminal's own file, past pytest's capture."""
        if self._screen is not None:
            data = text.encode(errors="replace")
            while data:
                data = data[os.write(self._screen, data) :]


def _writes_alone(config: pytest.Config) -> bool:
    """Returns whether nothing else is written while a test runs, so that a line may be drawn below the cursor."""
    logs = config.pluginmanager.has_plugin("logging-plugin") and (
        config.getini("log_cli") or config.option.log_cli_level
    )
    captured = getattr(config.option, "capture", "no") != "no"
    return captured and not logs and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def elapsed(seconds: float) -> str:
    """Returns a duration to the second: ``45 s``, ``2 min 10 s``.

    Args:
        seconds: at least 0.

    Returns:
        Minutes and whole seconds; no minutes below 60 seconds.
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
