"""``pytest claims`` on SmolLM2: whole passes, then the engine, then with a warm cache; beside loading the model alone.

python benchmarks/claims.py [--skip-whole] [--json FILE] [pytest arguments ...]
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODEL = "smollm2-135m-instruct"
LOADING = f"""
from pytest_interp import Checkpoint
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.preflight import preflight
preflight(Checkpoint(known_specs()[{MODEL!r}]))
"""


def timed(name: str, command: list[str], **more: str) -> dict[str, Any]:
    """Seconds of a command, and what it closed with."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")]), **more}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is compiled once is not what is timed
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - start
    lines = re.sub(r"cache /\S+: ", "", done.stdout).splitlines()
    found = {
        "run": name,
        "seconds": seconds,
        "peak MB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "said": [line for line in lines if re.match(rf"{MODEL}: \d|interp: \d", line)] + lines[-1:],
    }
    print(found, flush=True)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-2000:], file=sys.stderr)
    return found


def main() -> None:
    """Each in a process of its own, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-whole", action="store_true", help="leave out the run with whole passes, the longest")
    parser.add_argument("--json", type=Path, help="where to write the results")
    chosen, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        claims = [sys.executable, "-m", "pytest", "claims", "--interp-model", MODEL, "-q", *arguments]
        results = [timed("loading alone", [sys.executable, "-c", LOADING])]
        results.append(timed("cold, filling a cache", [*claims, "--interp-cache", folder]))
        results.append(timed("warm cache", [*claims, "--interp-cache", folder]))
        if not chosen.skip_whole:
            results.append(timed("whole passes", [*claims, "-p", "whole_passes"]))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
