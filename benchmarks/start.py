"""Times a run from its start to its first verdict, and what is loaded before: CPU seconds, and seconds by the clock.

python benchmarks/start.py [--checkout FOLDER] [--runs N] [--claim NAME] [--checkpoint NAME] [--cold] [--threads N]

Each run is a process of its own. With ``--checkout`` those of another working tree take turns with those of this one.
With ``--cold`` each dequantises its weights, as the first run on a machine does.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EVENTS = ("claims collected", "model loaded", "model checked", "first verdict")
CODE = """
import sys, time
import pytest

class Clock:
    def said(self, event):
        print("\\nEVENT", event, time.process_time(), time.perf_counter() - started)

    def pytest_collection_finish(self):
        self.said("claims collected")
        from pytest_interp.checkpoints import open as opening
        def after(name, event):
            function = getattr(opening, name)
            def timed(*args, **options):
                result = function(*args, **options)
                self.said(event)
                return result
            setattr(opening, name, timed)
        after("Checkpoint", "model loaded")
        after("preflight", "model checked")

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.said("first verdict")

started = time.perf_counter()
sys.exit(pytest.main(sys.argv[1:], plugins=[Clock()]))
"""


def run(folder: Path, claim: str, checkpoint: str, threads: int, *, cold: bool) -> dict[str, tuple[float, float]]:
    """CPU seconds and seconds by the clock until each event, of one run."""
    arguments = ["claims", "-q", "-s", "-p", "no:cacheprovider", "--interp-model", checkpoint, "-k", claim]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled files are kept, as on a user's machine
    command = [sys.executable, "-c", CODE, *arguments]
    with tempfile.TemporaryDirectory() as cache:
        if cold:
            environment["PYTEST_INTERP_CACHE"] = cache
        done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("EVENT")]
    times = {" ".join(line[1:-2]): (float(line[-2]), float(line[-1])) for line in lines}
    return {event: times[event] for event in EVENTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="another working tree")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--claim", default="test_prefers_the_indirect_object")
    parser.add_argument("--checkpoint", default="smollm2-135m-instruct")
    parser.add_argument("--cold", action="store_true", help="dequantise the weights in each run")
    parser.add_argument("--threads", type=int, default=1, help="of each run; 1, so that CPU seconds can be compared")
    options = parser.parse_args()
    folders = [folder.resolve() for folder in (options.checkout, ROOT) if folder]
    runs = {folder: [] for folder in folders}
    for _ in range(options.runs):
        for folder in folders:
            runs[folder].append(run(folder, options.claim, options.checkpoint, options.threads, cold=options.cold))
    print(f"CPU seconds until (by the clock), medians of {options.runs} runs in turn")
    for folder, times in runs.items():
        medians = [[statistics.median(each[event][kind] for each in times) for kind in (0, 1)] for event in EVENTS]
        print(folder, *(f"{event} {cpu:.1f} ({wall:.1f})" for event, (cpu, wall) in zip(EVENTS, medians, strict=True)))


if __name__ == "__main__":
    main()
