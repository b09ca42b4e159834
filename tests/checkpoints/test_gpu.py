"""`./check gpu`: what it compares, and what it says; on this machine it is rehearsed with a stand-in for its runs."""

import json
import subprocess
import sys

import pytest
import torch
from models import ROOT, benchmark

PATH = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu():
    return benchmark("gpu")


def claim(name, *values, data="a", unit="logits", outcome="supported"):
    records = [
        {"quantity": "logit_diff", "value": value, "tolerance": 1e-3, "unit": unit, "outcome": outcome,
         "about": {"data_hash": data}}
        for value in values
    ]  # fmt: skip
    return {"claim": {"id": f"claims/test_x.py::{name}"}, "records": records}


@pytest.fixture
def root(tmp_path):
    """A project with snapshots of the CPU."""
    folder = tmp_path / "claims" / "__snapshots__"
    folder.mkdir(parents=True)
    stored = {"value": 1.0, "tolerance": 1e-3, "outcome": "supported", "data_hash": "a"}
    entries = {
        "test_one[m]": {"records": [stored, {**stored, "value": 2.0}]},
        "TestIt.test_two[m]": {"records": [stored]},
        "test_drawn[m]": {"records": [{"quantity": "copy_score", "outcome": "supported"}]},
    }
    (folder / "test_x.json").write_text(json.dumps(entries))
    return tmp_path


def test_numbers_are_compared_by_unit(gpu, root):
    result = gpu.compared(
        [claim("test_one[m]", 1.0, 2.0005), claim("TestIt::test_two[m]", 1.0 + 1e-6, unit="share"),
         claim("test_drawn[m]", 1.0), claim("test_new[m]", 1.0)], root
    )  # fmt: skip
    assert (result.numbers, result.moved, result.other_prompts) == (3, [], 0)
    assert str(result) == (
        "3 numbers, furthest from the CPU's: 5.0e-04 logits, 1.0e-06 share; all within their tolerance"
    )


def test_what_moved_is_named(gpu, root):
    result = gpu.compared([claim("test_one[m]", 1.1, 2.0), claim("TestIt::test_two[m]", 1.0, outcome="refuted")], root)
    assert result.moved == [
        "claims/test_x.py::test_one[m]: logit_diff moved 0.1 of 0.001",
        "claims/test_x.py::TestIt::test_two[m]: logit_diff is refuted, was supported",
    ]
    assert "2 beyond their tolerance" in str(result)
    assert gpu.compared([claim("test_one[m]", float("nan"))], root).moved


def test_other_prompts_say_nothing_of_the_device(gpu, root):
    result = gpu.compared([claim("test_one[m]", 5.0, 5.0, data="b")], root)
    assert (result.numbers, result.other_prompts, result.moved) == (0, 2, [])
    assert str(result).endswith("; 2 on other prompts")


def test_without_a_gpu_it_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 77
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("no GPU here (torch ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(("status", "seconds"), [(0, 0), (1, 0), (0, 30)], ids=["well", "failing", "too slow"])
def test_it_ends_with_a_line_for_each(gpu, monkeypatch, capsys, status, seconds):
    script = f"import sys, time; time.sleep({seconds}); print('= 3 passed in 1 s ='); sys.exit({status})"
    monkeypatch.setattr(gpu, "commands", lambda device, folder: {name: [sys.executable, "-c", script] for name in "ab"})
    monkeypatch.setattr(gpu, "LIMIT", 290 if not seconds else 1)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu"])
    assert gpu.main() == (0 if status == seconds == 0 else 1)
    lines = capsys.readouterr().out.splitlines()
    closing = "3 passed in 1 s" if not seconds else "stopped after 1 s"
    assert lines[-2:] == [f"a: {closing}", f"b: {closing}"]
    assert lines[0].startswith("on cpu; stopped after ")


def test_it_runs_the_claims_and_the_tests_that_it_says(gpu, tmp_path):
    runs = gpu.commands("cuda", tmp_path)
    assert list(runs) == ["planted-ioi", "smollm2-135m-instruct", "tests of engine, measure and guard"]
    for path in gpu.TESTS:
        assert (gpu.ROOT / path).exists()
    assert runs["planted-ioi"][runs["planted-ioi"].index("--interp-device") + 1] == "cuda"


def test_it_can_be_called(gpu):
    done = subprocess.run([sys.executable, str(PATH), "--help"], capture_output=True, text=True, check=True)
    assert "77 without a GPU" in done.stdout
