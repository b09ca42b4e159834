"""Runs the claims and the tool's tests on a GPU, and compares each number with the CPU's snapshot.

python benchmarks/gpu.py [--device DEVICE]

All runs start at once, and are stopped after five minutes. The last lines have the result of each run and, for claims,
the largest distance of a number from its snapshot, by unit. The exit status is 0 if all runs passed, 1 if one did not,
and 77 without a GPU. ``--device cpu`` rehearses all of it on the CPU, ``--device cpu:0`` the tests only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ("planted-ioi", "smollm2-135m-instruct")
TESTS = ("tests/engine/test_passes.py", "tests/measure", "tests/checkpoints/test_guard.py",
         "tests/plugin/test_model_guard.py")  # fmt: skip
LIMIT = 290
"""Seconds after which runs are stopped, so that the whole takes less than five minutes."""
NO_GPU = 77


@dataclass
class Compared:
    """The comparison of a run's numbers with the snapshots.

    Attributes:
        numbers: how many were compared.
        furthest: the largest difference, by unit.
        moved: the numbers beyond their tolerance or with another outcome, a line each.
        other_prompts: how many were measured on other prompts, so that they say nothing about the device.
    """

    numbers: int = 0
    furthest: dict[str, float] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    other_prompts: int = 0

    def __str__(self) -> str:
        parts = [f"{self.furthest[unit]:.1e} {unit}" for unit in sorted(self.furthest)]
        text = f"{self.numbers} numbers, furthest from the CPU's: {', '.join(parts) or 'none'}"
        text += f"; {len(self.moved)} beyond their tolerance" if self.moved else "; all within their tolerance"
        return text + (f"; {self.other_prompts} on other prompts" if self.other_prompts else "")


def compared(claims: Iterable[Mapping[str, Any]], root: Path = ROOT) -> Compared:
    """Compares each number of the claims of a ledger with its snapshot."""
    result, files = Compared(), dict[Path, dict[str, Any]]()
    for claim in claims:
        path, _, name = claim["claim"]["id"].partition("::")
        place = (root / path).parent / "__snapshots__" / f"{Path(path).stem}.json"
        if place not in files:
            files[place] = json.loads(place.read_text()) if place.is_file() else {}
        stored = files[place].get(name.replace("::", "."), {"records": []})["records"]
        for now, old in zip(claim["records"], stored, strict=False):
            if "value" not in old:
                continue  # drawn by Hypothesis: decisions alone are kept
            if now["about"].get("data_hash") != old["data_hash"]:
                result.other_prompts += 1
                continue
            distance, allowed = abs(now["value"] - old["value"]), max(now["tolerance"], old["tolerance"])
            result.numbers += 1
            result.furthest[now["unit"]] = max(result.furthest.get(now["unit"], 0.0), distance)
            if now["outcome"] != old["outcome"]:
                result.moved.append(
                    f"{claim['claim']['id']}: {now['quantity']} is {now['outcome']}, was {old['outcome']}"
                )
            elif not distance <= allowed:
                result.moved.append(f"{claim['claim']['id']}: {now['quantity']} moved {distance:.2g} of {allowed:.2g}")
    return result


def reason_for_none() -> str:
    """The reason why nothing can be run; empty if there is a GPU."""
    import torch

    if torch.cuda.is_available():
        return ""
    built = f"torch {torch.__version__} is built without CUDA" if torch.version.cuda is None else "torch sees none"
    return f"no GPU here ({built}): nothing was run; ./check claims and ./check tests run on the CPU"


def commands(device: str, folder: Path) -> dict[str, list[str]]:
    """The command of each run, by the name that its line has."""
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    claims = {
        model: [*python, "claims", "--interp-model", model, "--interp-device", device, "--interp-ledger",
                str(folder / f"{model}.json")]
        for model in MODELS
    }  # fmt: skip
    workers = str(max(1, min(8, (os.cpu_count() or 2) - 2)))
    return {**claims, "tests of engine, measure and guard": [*python, *TESTS, "-n", workers]}


def main() -> int:
    """Runs all commands; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    if device == "cuda" and (reason := reason_for_none()):
        print(reason, file=sys.stderr)
        return NO_GPU
    from pytest_interp.checkpoints.device import described, device_of

    print(f"on {described(device_of(device))}; stopped after {LIMIT} s", flush=True)
    environment = {**os.environ, "INTERP_TEST_DEVICE": device}
    start, well, lines = time.monotonic(), True, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = {}
        for what, command in commands(device, folder).items():
            with (folder / f"{len(running)}.txt").open("w") as out:
                process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
            running[what] = process, Path(out.name)
        for what, (process, output) in running.items():
            try:
                status = process.wait(max(0.0, start + LIMIT - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.terminate()
                status = process.wait()
            seconds, text = time.monotonic() - start, output.read_text().strip()
            late = seconds >= LIMIT
            closing = f"stopped after {LIMIT} s" if late else (text.splitlines() or ["it said nothing"])[-1]
            parts = [closing.strip("= ")]
            records = folder / f"{what}.json"
            if records.is_file():
                result = compared(json.loads(records.read_text())["claims"])
                parts.append(str(result))
                well &= not result.moved
                print("\n".join(result.moved), end="\n" * bool(result.moved))
            well &= status == 0
            if status:
                print(f"---- {what}\n{text[-6000:]}", flush=True)
            lines.append(f"{what}: {'; '.join(parts)}")
    print("\n".join(lines))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
