"""A sign of life: what runs, how many are done and for how long, wherever nothing else is written for some seconds.

On a terminal it is a line below what pytest wrote, drawn again every second and taken away before pytest goes on.
Elsewhere (a pipe, the log of a CI job) it is a line after `QUIET` seconds of silence.
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

from pytest_interp.common import progress
from pytest_interp.common.compat import terminal_column, terminal_file
from pytest_interp.plugin.deselection import plan_of
from pytest_interp.plugin.pace import forecast
from pytest_interp.report.layout import WIDTH, short
from pytest_interp.text import line

QUIET = 8.0
"""Seconds of silence before a line; with the second between two looks, and a moment to write it, ten at most."""
LOOK = 1.0
"""Seconds between two looks."""
SOON = 2.0
"""Seconds before the line on a terminal is drawn, and before an activity such as loading a model is said."""


class Live:
    """A plugin of the process that writes to the terminal; it writes only while a test runs, never fails a run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._screen: int | None = None
        self._reporter: Any = None
        self._running: dict[str, None] = {}
        self._finished: set[str] = set()
        self._may_write = self._drawn = self._interrupted = self._below = False
        self._began = self._wrote = 0.0
        self._said = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None, object, object]:
        """A test begins: the first one starts the clock."""
        self._give_way()
        if self._thread is None and not self._stop.is_set():
            self._start()
        result = yield
        self._running[nodeid] = None
        self._go_on()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, object, object]:
        """A phase of a test ends."""
        letter = report.when == "call" or not report.passed  # pytest writes nothing of a set-up that went well
        self._give_way(resume=letter)
        result = yield
        if letter:
            self._wrote = monotonic()
        if report.when not in ("setup", "call", "teardown"):  # pytest-xdist's, of a worker that crashed
            self._running.pop(report.nodeid, None)
        self._go_on()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> Generator[None, object, object]:
        """A test ends."""
        self._give_way()
        result = yield
        self._running.pop(nodeid, None)
        self._finished.add(nodeid)
        self._go_on()
        return result

    def pytest_enter_pdb(self) -> None:
        """Someone debugs: no more lines in this run."""
        self._end()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Ends before the closing table."""
        self._end()

    def _start(self) -> None:
        """Starts the thread, where there is a terminal to write to and claims that run."""
        plan = plan_of(self.config)
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or reporter.verbosity < -1 or not plan.claims:
            self._stop.set()
            return
        if getattr(self.config.option, "numprocesses", None) and reporter.verbosity >= 0:
            reporter.ensure_newline()
            reporter.write_line(forecast(self.config))  # others read it after collection
        try:
            # The terminal's own file is captured while a test runs; a duplicate of it is not.
            self._screen = os.dup(terminal_file(reporter).fileno())
        except (AttributeError, OSError, ValueError):
            self._stop.set()
            return
        self._reporter, self._began, self._wrote = reporter, monotonic(), monotonic()
        self._below = bool(reporter.isatty) and _nobody_else_writes(self.config)
        self._thread = threading.Thread(target=self._watch, name="pytest-interp-live", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        self._give_way()
        self._stop.set()
        if self._thread is not None and self._screen is not None:
            self._thread.join()
            os.close(self._screen)
            self._thread = self._screen = None

    def _watch(self) -> None:
        while not self._stop.wait(LOOK):
            with self._lock:
                try:
                    if self._may_write:
                        self._look()
                except Exception:  # nobody reads any more, for one; a sign of life is not worth a run
                    return

    def _look(self) -> None:
        silence = monotonic() - max(self._wrote, progress.drawn_at())
        activity = progress.current_activity()
        if self._below:
            if silence >= SOON:
                self._draw()
        elif silence >= QUIET or (silence >= SOON and activity not in ("", self._said)):
            self._said = activity
            inside = terminal_column(self._reporter) and not self._interrupted
            self._write(("\n" if inside else "") + self._text() + "\n")
            self._interrupted, self._wrote = True, monotonic()

    def _text(self) -> str:
        """One line of at most 79 columns: what goes on within a claim, or which claims run."""
        claims = plan_of(self.config).claims
        done = sum(name in self._finished for name in claims)
        names = [short(name.rpartition("::")[2], claims.get(name, "")) for name in self._running]
        now = progress.current_activity() or ", ".join(names[:2])
        return line(f"interp: {done} of {len(claims)} claims, {elapsed(monotonic() - self._began)}, now {now}", WIDTH)

    def _draw(self) -> None:
        text = self._text()[: shutil.get_terminal_size().columns - 1]
        # Makes room below (index, up), remembers the place, writes a line below it, goes back.
        self._write(f"\x1bD\x1b[A\x1b7\x1b[B\r{text}\x1b[K\x1b8")
        self._drawn = True

    def _give_way(self, *, resume: bool = True) -> None:
        """Takes the drawn line away; ``resume``: begins pytest's line again, where another line interrupted it."""
        with self._lock, contextlib.suppress(OSError):
            self._may_write = False
            drawn, self._drawn = self._drawn, False
            if drawn:
                self._write("\x1b7\x1b[B\r\x1b[2K\x1b8")
            interrupted, self._interrupted = self._interrupted, self._interrupted and not resume
            if interrupted and resume:
                self._write(self._beginning())

    def _go_on(self) -> None:
        with self._lock:
            self._may_write = self._thread is not None and bool(self._running)

    def _beginning(self) -> str:
        """What stands at the beginning of pytest's line, blanks for the letters after it: pytest counts columns."""
        begun = self._reporter.currentfspath
        if isinstance(begun, Path):
            begun = f"{os.path.relpath(begun, self._reporter.startpath)} "
        elif not isinstance(begun, str):
            if begun is not None and self._reporter.verbosity > 0:
                self._reporter.currentfspath = None  # pytest-xdist's lines are whole
                return ""
            begun = ""
        return str(begun.ljust(terminal_column(self._reporter)))

    def _write(self, text: str) -> None:
        if self._screen is not None:
            data = text.encode(errors="replace")
            while data:
                data = data[os.write(self._screen, data) :]


def _nobody_else_writes(config: pytest.Config) -> bool:
    """Whether a line may be drawn below the cursor of a terminal: nothing else is written while a test runs."""
    logs = config.pluginmanager.has_plugin("logging-plugin") and (
        config.getini("log_cli") or config.option.log_cli_level
    )
    captured = getattr(config.option, "capture", "no") != "no"
    return captured and not logs and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def elapsed(seconds: float) -> str:
    """A duration to the second: ``45 s``, ``2 min 10 s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
