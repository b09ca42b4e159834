"""A short rehearsal: a reference's figures are supported on a stand-in, and refuted where they are moved."""

import subprocess
import sys

import pytest
from models import ROOT


@pytest.mark.usefixtures("gpt2_tokenizer")
def test_the_references_figures_are_supported_and_moved_ones_refuted():
    options = ["--short", "--claims", "--width", "2", "--each", "1"]
    command = [sys.executable, str(ROOT / "benchmarks" / "rehearsal.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert done.stdout.count("in place of the published ones: {'supported': ") == 2
    assert done.stdout.count("moved: {'refuted': ") == 2
