"""Says where the time of ``pytest claims`` goes: by claim, and by what is done in it.

python benchmarks/suite.py [--json FILE [--run NAME]] [--same-as NAME] [-- pytest arguments ...]

The suite runs in this process, with one thread, and the clock is the CPU time of the process: a machine that others
use changes it little. Each part of the package below is wrapped, and the time in it is its own: what a part calls of
another part counts there.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PARTS: dict[str, tuple[str, ...]] = {
    "dequantise": ("pytest_interp.checkpoints.sources.gguf_file:dequantised",),
    "read files": ("pytest_interp.checkpoints.sources.model:load_transformers",),
    "bridge": ("pytest_interp.checkpoints.boot:boot",),
    "hash": ("pytest_interp.checkpoints.boot:_fingerprint", "pytest_interp.checkpoints.model:meaning_of"),
    "checks at load": (
        "pytest_interp.checkpoints.checks.preflight:preflight",
        "pytest_interp.checkpoints.checks.identities:outlet_of",
        "pytest_interp.checkpoints.checks.identities:identities_of",
    ),
    "looks": ("pytest_interp.checkpoints.guard:Guard.state",),
    "passes": (
        *(f"pytest_interp.checkpoints.forward:Forward.{name}" for name in ("run", "recompute", "resume", "read")),
        "pytest_interp.engine.passes:patched",
        "pytest_interp.checkpoints.gradients:activation_gradients",
    ),
    "prompts": (
        *(f"pytest_interp.tasks:{name}" for name in (
            "ioi", "ioi_extra_mention", "sequences", "analogies", "surnames", "capitals", "ioi_grid", "ioi_prompt",
            "p8", "from_strings", "from_ids", "repeated_tokens", "single_token_names", "alex_hart",
        )),
        "pytest_interp.tasks.prompts:encode_all",
        "pytest_interp.tasks.prompts:encode",
    ),
    "statistics": (
        "pytest_interp.verdict.judge:judge",
        "pytest_interp.verdict.intervals:interval_of",
        "pytest_interp.verdict.intervals:sampling_errors",
        "pytest_interp.measurement:paired_difference",
    ),
}  # fmt: skip
"""By part the functions and methods whose time it is, as ``module:name``; names that a version lacks are left out."""
CLOSED = ("again", "dequantise", "read files", "hash", "checks at load", "looks", "prompts")
"""Parts that keep the time of what they call."""
LOADING = ("dequantise", "read files", "bridge", "hash", "checks at load")
REST = "rest"


class Clock:
    """CPU seconds by part, each second once.

    Attributes:
        seconds: by part, since the last reset.
        calls: how often each part was entered.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._parts = [REST]
        self._since = time.process_time()

    def read(self) -> None:
        """Adds the time since the last change to the current part."""
        now = time.process_time()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    def taken(self) -> tuple[dict[str, float], dict[str, int]]:
        """Seconds and calls by part, which begin at zero again."""
        self.read()
        result = dict(self.seconds), dict(self.calls)
        self.seconds.clear()
        self.calls.clear()
        return result

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose time counts as that of a part."""

        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            # The hash of the weights has a thread of its own: its CPU time is that of what runs beside it.
            if self._parts[-1] in (*CLOSED, part) or threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            self.read()
            self.calls[part] += 1
            self._parts.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.read()
                self._parts.pop()

        return counted

    def wrap(self, part: str, place: str) -> None:
        """Wraps a function or method, in each module that has imported it."""
        module, _, name = place.partition(":")
        owner: Any = importlib.import_module(module)
        if "." in name:
            kind, _, name = name.partition(".")
            owner = getattr(owner, kind)
            setattr(owner, name, self.timed(part, vars(owner)[name]))
        elif (function := getattr(owner, name, None)) is not None:
            wrapped = self.timed(part, function)
            for holder in [held for key, held in sys.modules.items() if key.startswith("pytest_interp")]:
                for key in [key for key, value in vars(holder).items() if value is function]:
                    setattr(holder, key, wrapped)


def repeated(clock: Clock) -> None:
    """Counts unedited passes over prompts that were run before as a part of their own, ``again``."""
    forward = importlib.import_module("pytest_interp.checkpoints.forward").Forward
    run, seen = forward.run, set()
    again = clock.timed("again", run)

    @wraps(run)
    def counted(self: Any, tokens: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("edits"):
            return run(self, tokens, *args, **kwargs)
        key = id(self), tuple(tokens.shape), tokens.cpu().numpy().tobytes()
        known = key in seen
        seen.add(key)
        return (again if known else run)(self, tokens, *args, **kwargs)

    forward.run = counted


class Table:
    """A pytest plugin that takes the clock after each test.

    Attributes:
        claims: for each claim that ran its id, seconds and calls by part.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.claims: list[dict[str, Any]] = []
        self.outcomes: dict[str, str] = {}
        self.imports = 0.0

    def pytest_sessionstart(self) -> None:
        """Wraps the parts; not earlier, since pytest warns of plugins that are imported before it looks for them."""
        self.clock.taken()
        importlib.import_module("torch").set_num_threads(1)
        for name in ("checkpoints.open", "engine", "assertions", "tasks", "checkpoints.gradients"):
            importlib.import_module(f"pytest_interp.{name}")
        importlib.import_module("transformer_lens.model_bridge")
        self.imports = sum(self.clock.taken()[0].values())
        for part, places in PARTS.items():
            for place in places:
                self.clock.wrap(part, place)
        repeated(self.clock)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Takes what a claim, its fixtures included, cost."""
        result = yield
        seconds, calls = self.clock.taken()
        if item.get_closest_marker("claim") is not None and self.outcomes.get(item.nodeid) not in (None, "skipped"):
            shortened = {part: round(number, 3) for part, number in seconds.items()}
            self.claims.append({"id": item.nodeid, "seconds": shortened, "calls": calls})
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes whether a claim ran; one that is expected to fail did, and is reported as skipped with ``wasxfail``."""
        if report.when == "call":
            self.outcomes[report.nodeid] = "xfailed" if hasattr(report, "wasxfail") else report.outcome


def markdown(claims: list[dict[str, Any]], rows: int) -> str:
    """The table by claim, the longest first, and its last line with all of them."""
    shown = ("passes", "again", "looks", "statistics", "prompts", "loading", REST)

    def split(seconds: dict[str, float]) -> list[float]:
        by_part = {**seconds, "loading": sum(seconds.get(part, 0.0) for part in LOADING)}
        return [by_part.get(part, 0.0) for part in shown]

    def line(name: str, seconds: dict[str, float], looks: int) -> str:
        cells = [f"{sum(seconds.values()):.1f}", *(f"{number:.1f}" for number in split(seconds)), str(looks)]
        return f"| {name} | " + " | ".join(cells) + " |"

    total: Counter[str] = Counter()
    for claim in claims:
        total.update(claim["seconds"])
    longest = sorted(claims, key=lambda claim: -sum(claim["seconds"].values()))
    lines = [f"| claim | seconds | {' | '.join(shown)} | looks |", "| --- " * (len(shown) + 3) + "|"]
    lines += [line(f"`{claim['id'].rpartition('/')[2]}`", claim["seconds"], claim["calls"].get("looks", 0))
              for claim in longest[:rows]]  # fmt: skip
    others = longest[rows:]
    rest: Counter[str] = Counter()
    for claim in others:
        rest.update(claim["seconds"])
    if others:
        lines.append(line(f"{len(others)} others", dict(rest), sum(c["calls"].get("looks", 0) for c in others)))
    lines.append(line(f"all {len(claims)}", dict(total), sum(c["calls"].get("looks", 0) for c in claims)))
    return "\n".join(lines)


def main() -> int:
    """Runs the suite and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/suite.json", help="the file of results, by run")
    parser.add_argument("--run", help="under which name the results are written; they are not without one")
    parser.add_argument("--same-as", help="the name of an earlier run: its claims run, whichever there are today")
    parser.add_argument("--rows", type=int, default=25, help="how many claims the printed table has")
    parser.add_argument("arguments", nargs="*", help="of pytest, after --")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    clock, wall = Clock(), time.perf_counter()
    table = Table(clock)
    runs = json.loads(chosen.json.read_text()) if chosen.json.is_file() else {}
    ids = [claim["id"] for claim in runs[chosen.same_as]["claims"]] if chosen.same_as else ["claims"]
    status = pytest.main([*ids, "-q", "-p", "no:cacheprovider", *chosen.arguments], plugins=[table])
    parts: defaultdict[str, float] = defaultdict(float)
    for claim in table.claims:
        for part, seconds in claim["seconds"].items():
            parts[part] += seconds
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": platform.machine(),
        "versions": {name: importlib.import_module(name).__version__ for name in ("torch", "transformers")},
        "threads": 1,
        "wall": time.perf_counter() - wall,
        "imports": table.imports,
        "seconds": dict(parts),
        "claims": table.claims,
    }
    print(f"\n{markdown(table.claims, chosen.rows)}\n")
    print({name: round(number, 1) for name, number in {"import": table.imports, **parts}.items()})
    total = sum(parts.values()) + table.imports
    print(f"{total:.0f} s of CPU, {result['wall']:.0f} s by the clock, {len(table.claims)} claims")
    if chosen.run:
        chosen.json.write_text(json.dumps({**runs, chosen.run: result}, indent=1) + "\n")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
