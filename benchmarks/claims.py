"""Times ``pytest claims`` on SmolLM2: with a cold and a warm cache, loading alone, and before passes were restarted.

python benchmarks/claims.py [--runs RUN ...] [--json FILE] [-- pytest arguments ...]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODEL = "smollm2-135m-instruct"
BEFORE = "3ee6b9d"
"""The last commit whose patched passes are all whole; its claims are still there."""
RUNS = ("loading", "cache", "before", "whole")
LOADING = f"""
from pytest_interp import Checkpoint
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.checks.preflight import preflight
preflight(Checkpoint(known_specs()[{MODEL!r}]))
"""


def timed(name: str, command: list[str], root: Path = ROOT) -> tuple[dict[str, Any], str]:
    """Runs a command; returns its seconds, memory and closing lines, and all that it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(ROOT / "benchmarks")])}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled files are kept, so that compiling is not timed
    start = time.perf_counter()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - start
    lines = re.sub(r"cache /\S+: ", "", done.stdout).splitlines()
    result = {
        "run": name,
        "seconds": seconds,
        "peak MB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "said": [line for line in lines if re.match(rf"{MODEL}: \d|interp: \d", line)] + lines[-1:],
    }
    print(result, flush=True)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-2000:], file=sys.stderr)
    return result, done.stdout


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A context with the files of a commit of this repository in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def before_and_now(pytest: list[str]) -> list[dict[str, Any]]:
    """Times the suite at the commit ``BEFORE``, and the same claims now."""
    with checkout(BEFORE) as tree:
        old, printed = timed("the suite before", [*pytest, "claims", "-v"], tree)
    same = re.findall(r"^(claims/\S+) (?:PASSED|XFAIL)", printed, re.MULTILINE)
    assert same, f"no claim of {BEFORE} ran: there is nothing to compare"  # pytest without a name would run all tests
    new, _ = timed(f"the same {len(same)} claims now", [*pytest, *same, "-q"])
    return [old, new]


def main() -> None:
    """Times the chosen runs, each in its own process, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="which; the last two take the longest")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("arguments", nargs="*", help="of pytest, after --")
    chosen = parser.parse_args()
    pytest = [sys.executable, "-m", "pytest", "--interp-model", MODEL, *chosen.arguments]
    results = []
    if "loading" in chosen.runs:
        results.append(timed("loading alone", [sys.executable, "-c", LOADING])[0])
    if "cache" in chosen.runs:
        with tempfile.TemporaryDirectory() as folder:
            cached = [*pytest, "claims", "-q", "--interp-cache", folder]
            results += [timed(name, cached)[0] for name in ("cold, filling a cache", "warm cache")]
    if "before" in chosen.runs:
        results += before_and_now(pytest)
    if "whole" in chosen.runs:
        results.append(timed("whole passes", [*pytest, "claims", "-q", "-p", "whole_passes"])[0])
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
