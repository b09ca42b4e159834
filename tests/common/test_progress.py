"""The progress bar is drawn on a terminal only, below pytest's output, and is removed at the end."""

import io
import os
import subprocess
import sys

import pytest
from models import ROOT, on_a_terminal

from pytest_interp.common import progress

CLAIM = """
import pytest
from pytest_interp import assert_cell
from pytest_interp.common import progress
from pytest_interp.measure import patch_effect_sweep

progress._AFTER = 0.0

@pytest.mark.claim(source="test")
def test_sweep(ioi):
    assert_cell(patch_effect_sweep(ioi, "z"), "3.0", at_least=0.01)
"""


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "_AFTER", 0.0)


def test_it_counts_what_is_done(at_once):
    screen = io.StringIO()
    with progress.drawn_on(lambda: screen), progress.progress(40, "model") as done:
        for _ in range(4):
            done(10)
    assert "model" in screen.getvalue()
    assert "passes" in screen.getvalue()
    assert screen.getvalue().endswith("\r"), "the line is empty again"


def test_nobody_looks_on(at_once, capsys):
    with progress.progress(40, "model") as done:
        done(40)
    screen = io.StringIO()
    with progress.drawn_on(lambda: screen), progress.drawn_on(lambda: None), progress.progress(40, "model") as done:
        done(40)
    assert screen.getvalue() == ""
    assert capsys.readouterr() == ("", "")


SCRIPT = """
from pytest_interp.common import progress

progress._AFTER = 0.0
with progress.progress(40, "gpt2") as done:
    for _ in range(4):
        done(10)
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_script_shows_it_on_a_terminal_and_nowhere_else(terminal, tmp_path):
    reader, writer = os.openpty()
    with (tmp_path / "stderr").open("wb") as file:
        subprocess.run([sys.executable, "-c", SCRIPT], stderr=writer if terminal else file, check=True, cwd=ROOT)
    os.close(writer)
    seen = os.read(reader, 10_000).decode() if terminal else (tmp_path / "stderr").read_text()
    os.close(reader)
    if terminal:
        assert "gpt2: " in seen
        assert "/40 [" in seen
        assert seen.endswith("\r"), "the line is empty again"
    else:
        assert seen == ""


def test_a_notebook_shows_it(at_once, monkeypatch):
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.drawn_on(progress.standard_error), progress.progress(40, "gpt2") as done:
        done(40)
    assert "/40 [" in stream.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.drawn_on(progress.standard_error), progress.progress(40, "gpt2") as done:
        done(40)
    assert sys.stderr.getvalue() == ""


def test_what_is_short_draws_nothing():
    screen = io.StringIO()
    with progress.drawn_on(lambda: screen), progress.progress(40, "model") as done:
        done(40)
    assert screen.getvalue() == ""


def test_a_sweep_counts_all_of_its_passes(planted_ioi, at_once, monkeypatch):
    from contextlib import contextmanager

    from pytest_interp.engine import passes
    from pytest_interp.measure import patch_effect_sweep

    seen = []

    @contextmanager
    def counting(total, _):
        count = [0]
        yield lambda more: count.__setitem__(0, count[0] + more)
        seen.append((total, count[0]))

    monkeypatch.setattr(passes, "progress", counting)
    with planted_ioi.checkpoint.guard.isolated_memory():
        patch_effect_sweep(planted_ioi, "z", at="S2")
        patch_effect_sweep(planted_ioi, "resid_pre")
    assert seen
    assert all(total == count for total, count in seen)


def test_a_person_sees_it_and_a_machine_does_not(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    seen = on_a_terminal(claims_project)
    assert "planted-ioi: " in seen
    assert " passes/s" in seen
    # It has a line of its own, which is empty again when pytest goes on.
    *_, last = seen.partition("test_it.py")[2].partition("%]")[0].splitlines()[1].split("\r")
    assert "passes" not in last
    assert " passes/s" not in on_a_terminal(claims_project, "-q")
    assert " passes/s" not in on_a_terminal(claims_project, CI="1")
    piped = claims_project.runpytest("--interp-prompts", "24")
    piped.assert_outcomes(passed=1)
    piped.stdout.no_fnmatch_line("*passes/s*")


def test_whole_passes_are_said_once(claims_project, monkeypatch):
    from pytest_interp.checkpoints.blocks import Blocks

    monkeypatch.setattr(Blocks, "_earliest_start", lambda self, clean: "whole")
    claims_project.makepyfile(test_it=CLAIM.replace("progress._AFTER = 0.0", ""))
    result = claims_project.runpytest("--interp-prompts", "24")
    result.assert_outcomes(passed=1)
    assert sum("passes cannot start inside this model" in line for line in result.outlines) == 1
