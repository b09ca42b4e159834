"""Forecasts how long a run takes, from what the same claims took here last time, else from a guess.

1. A run stores the seconds of each claim (set-up, call and teardown) in pytest's cache. There is one table for each
   set of conditions that change them: device, dtype, prompts, workers and so on.
2. The next run under these conditions adds up the stored seconds of its claims.
3. A claim without stored seconds gets the average of its checkpoint from `GUESS`, scaled by how fast this machine does
   a small task. Where a checkpoint has no guess, there is no forecast.
4. The sum is divided by the number of workers. The text says how much of it is a guess.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_interp.ledger.outcome import carries
from pytest_interp.plugin.deselection import plan_of
from pytest_interp.plugin.session import Plan, session_of
from pytest_interp.text import counted

KEY = "interp/seconds"
"""The folder of the tables in pytest's cache."""
GUESS: Mapping[str, float] = {"planted-ioi": 0.36, "smollm2-135m-instruct": 3.9}
"""Average seconds of a claim by checkpoint, loading included, on two cores where `_small_task` takes `_SMALL_TASK`."""
_SMALL_TASK = 0.0008
"""Seconds of `_small_task` on the machine of `GUESS`."""


class Stopwatch:
    """A plugin that stores in pytest's cache how many seconds each claim took."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._seconds: dict[str, float] = {}
        self._called: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Adds the seconds of a phase to those of its claim."""
        if not carries(report):
            return
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.when == "call":
            self._called.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Stores the seconds of claims that were called; those of all other claims stay as they are."""
        if hasattr(self.config, "workerinput") or not self._called:
            return
        remembered = last_time(self.config)
        remembered |= {name: round(self._seconds[name], 3) for name in self._called}
        cache = getattr(self.config, "cache", None)
        if cache is not None:
            with contextlib.suppress(pytest.PytestWarning):  # a folder that cannot be written fails no run
                cache.set(f"{KEY}/{_conditions(self.config)}", remembered)


def last_time(config: pytest.Config) -> dict[str, float]:
    """Returns how many seconds claims took in earlier runs here under the same conditions.

    Args:
        config: of the run; its options are the conditions.

    Returns:
        Seconds by node id; empty where no claim has run here yet, or where the cache cannot be read.
    """
    cache = getattr(config, "cache", None)
    stored = cache.get(f"{KEY}/{_conditions(config)}", {}) if cache is not None else {}
    pairs = stored.items() if isinstance(stored, dict) else ()
    return {name: seconds for name, seconds in pairs if isinstance(seconds, int | float)}


def forecast(config: pytest.Config) -> str:
    """Returns the number of claims that run and about how long they take.

    Args:
        config: of the run; its plan has the claims.

    Returns:
        A line such as ``interp: 172 claims, about 6 minutes (as last time here)``.
    """
    plan = plan_of(config)
    count = len(plan.claims)
    return f"interp: {counted(count, 'claim')}{_how_long(plan, last_time(config), _workers(config))}"


def _how_long(plan: Plan, remembered: Mapping[str, float], workers: int) -> str:
    """Returns the end of the forecast: the duration and what it rests on; empty without claims."""
    known = [remembered[name] for name in plan.claims if name in remembered]
    missing = [checkpoint for name, checkpoint in plan.claims.items() if name not in remembered]
    if not plan.claims:
        return ""
    if not missing:
        return f", {rounded(sum(known) / workers)} (as last time here)"
    if not all(checkpoint in GUESS for checkpoint in missing):
        return "; how long, the first run here shows"
    guessed = sum(GUESS[checkpoint] for checkpoint in missing) * _small_task() / _SMALL_TASK
    basis = f"{len(known)} as last time, the rest a guess" if known else "a guess: they have not run here yet"
    return f", {rounded((sum(known) + guessed) / workers)} ({basis})"


def rounded(seconds: float) -> str:
    """Returns a duration in round numbers: ``about 40 seconds``, ``about 6 minutes``.

    Args:
        seconds: at least 0.

    Returns:
        Whole seconds below 10 seconds, tens of seconds below 90, else whole minutes.
    """
    if seconds < 90:
        step = 1 if seconds < 10 else 10
        count = max(1, round(seconds / step) * step)
        return f"about {counted(count, 'second')}"
    return f"about {round(seconds / 60)} minutes"


def _small_task() -> float:
    """Returns the seconds for 100,000 sines on one core: the fastest of 20 repetitions, which noise disturbs least."""
    import time

    import numpy as np

    values, fastest = np.linspace(0, 1, 100_000), float("inf")
    for _ in range(20):
        start = time.perf_counter()
        np.sin(values)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def _workers(config: pytest.Config) -> int:
    """Returns how many processes run tests; at least 1."""
    count = getattr(config.option, "numprocesses", None)
    return count if isinstance(count, int) and count > 0 else 1


def _conditions(config: pytest.Config) -> str:
    """Returns the options that change how long a claim takes, as a name in pytest's cache."""
    options = session_of(config).options
    parts = [options.device, options.dtype, f"{options.prompts}-prompts"]
    parts += [f"falsify-{options.falsify}"] * bool(options.falsify) + ["noise"] * options.noise
    parts += ["cache"] * bool(options.cache) + [f"{_workers(config)}-at-once"]
    return "-".join(parts).replace("/", "_").replace(":", "_")
