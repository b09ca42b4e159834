"""A short form of the battery in benchmarks/robustness.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BATTERY = Path(__file__).parents[1] / "benchmarks" / "robustness.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the battery forks its runs")
@pytest.mark.parametrize(
    "part",
    [
        "kills",
        "interrupts",
        "updates",
        "files",
        "options",
        "weights",
        "arguments",
        pytest.param("pairs", marks=pytest.mark.thorough),
    ],
)
def test_nothing_is_lost_and_no_error_is_raw(part):
    result = subprocess.run(
        [sys.executable, str(BATTERY), part, "--short"], capture_output=True, text=True, check=False, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{part}: " in result.stdout
    assert "; faults 0 (" in result.stdout
