"""How long a run will take: as long as the same claims took here the last time, or a guess that says so."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_interp.ledger.outcome import carried
from pytest_interp.plugin.deselection import plan_of
from pytest_interp.plugin.session import Plan, session_of

KEY = "interp/seconds"
GUESS: Mapping[str, float] = {"planted-ioi": 0.36, "smollm2-135m-instruct": 3.9}
"""Seconds that a claim takes on average on two cores, loading included, where `_small_task` takes `_SMALL_TASK`."""
_SMALL_TASK = 0.0008


class Stopwatch:
    """A plugin that keeps in pytest's cache how long each claim took."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._seconds: dict[str, float] = {}
        self._whole: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Adds up set-up, call and teardown of claims that were called."""
        if carried(report) is None:
            return
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.when == "call":
            self._whole.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Writes them; those of claims that did not run stay."""
        if hasattr(self.config, "workerinput") or not self._whole:
            return
        remembered = last_time(self.config)
        remembered |= {name: round(self._seconds[name], 3) for name in self._whole}
        cache = getattr(self.config, "cache", None)
        if cache is not None:
            with contextlib.suppress(pytest.PytestWarning):  # a folder that cannot be written fails no run
                cache.set(f"{KEY}/{_conditions(self.config)}", remembered)


def last_time(config: pytest.Config) -> dict[str, float]:
    """Seconds by node id, of the last runs here under the same conditions; empty if there were none."""
    cache = getattr(config, "cache", None)
    found = cache.get(f"{KEY}/{_conditions(config)}", {}) if cache is not None else {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: seconds for name, seconds in pairs if isinstance(seconds, int | float)}


def forecast(config: pytest.Config) -> str:
    """How many claims run and about how long: ``interp: 172 claims, about 6 minutes (as last time here)``."""
    plan = plan_of(config)
    count = len(plan.claims)
    return f"interp: {count} claim{'s' * (count != 1)}{_how_long(plan, last_time(config), _workers(config))}"


def _how_long(plan: Plan, remembered: Mapping[str, float], workers: int) -> str:
    known = [remembered[name] for name in plan.claims if name in remembered]
    missing = [checkpoint for name, checkpoint in plan.claims.items() if name not in remembered]
    if not plan.claims:
        return ""
    if not missing:
        return f", {said(sum(known) / workers)} (as last time here)"
    if not all(checkpoint in GUESS for checkpoint in missing):
        return "; how long, the first run here shows"
    guessed = sum(GUESS[checkpoint] for checkpoint in missing) * _small_task() / _SMALL_TASK
    basis = f"{len(known)} as last time, the rest a guess" if known else "a guess: they have not run here yet"
    return f", {said((sum(known) + guessed) / workers)} ({basis})"


def said(seconds: float) -> str:
    """A duration in round numbers: ``about 40 seconds``, ``about 6 minutes``."""
    if seconds < 90:
        step = 1 if seconds < 10 else 10
        count = max(1, round(seconds / step) * step)
        return f"about {count} second{'s' * (count != 1)}"
    return f"about {round(seconds / 60)} minutes"


def _small_task() -> float:
    """Seconds for a hundred thousand sines on one core, the fastest of twenty times."""
    import time

    import numpy as np

    values, fastest = np.linspace(0, 1, 100_000), float("inf")
    for _ in range(20):
        start = time.perf_counter()
        np.sin(values)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def _workers(config: pytest.Config) -> int:
    count = getattr(config.option, "numprocesses", None)
    return count if isinstance(count, int) and count > 0 else 1


def _conditions(config: pytest.Config) -> str:
    """What changes how long a claim takes, as part of a file's name."""
    options = session_of(config).options
    parts = [options.device, options.dtype, f"{options.prompts}-prompts"]
    parts += [f"falsify-{options.falsify}"] * bool(options.falsify) + ["noise"] * options.noise
    parts += ["cache"] * bool(options.cache) + [f"{_workers(config)}-at-once"]
    return "-".join(parts).replace("/", "_").replace(":", "_")
