"""Times what the plugin adds to a project without claims: `pytest --collect-only` with it and without, in turn.

python benchmarks/plugin_overhead.py [runs]
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main(runs: int = 15) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_a.py").write_text("def test_a(): pass\n")
        base = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        commands = {"with": base, "without": [*base, "-p", "no:pytest_interp"]}
        seconds = {name: [] for name in commands}
        for _ in range(runs + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, cwd=directory, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - start)
    # The first pair warms the disk cache and is not counted.
    with_it, without = (seconds[name][1:] for name in commands)
    more = [1000 * (a - b) for a, b in zip(with_it, without, strict=True)]
    ratio = [a / b for a, b in zip(with_it, without, strict=True)]
    print(f"{runs} pairs, medians: with {statistics.median(with_it):.3f} s, without {statistics.median(without):.3f} s")
    print(f"pair by pair, medians: {statistics.median(more):+.0f} ms, ratio {statistics.median(ratio):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
