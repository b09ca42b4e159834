"""The file of records: what came of each claim, however the run ended, in JSON that every reader takes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from records import a_run

from pytest_interp.common.builtin_types import plain, strict_json
from pytest_interp.ledger.json_file import save
from pytest_interp.ledger.ledger import FORMAT, Ledger

CLAIMS = """
import os, pytest
from pytest_interp import Measurement, NotApplicable, Sample, assert_measurement
from pytest_interp.common.context import NO_CONTEXT

pytestmark = pytest.mark.claim(source="a paper")

def judged(value=0.5, **about):
    numbers = Measurement("probe", "number", (value,) * 3, Sample(("a", "b", "c"), ("a", "b", "c"), "fixed"),
                          context=NO_CONTEXT.noting(**about))
    assert_measurement(numbers, at_least=0.1)

@pytest.fixture
def broken():
    raise RuntimeError("no fixture")

@pytest.fixture
def spoilt():
    yield
    raise RuntimeError("spoilt")

def test_passes(checkpoint): judged()
def test_fails(checkpoint): judged(0.0)
def test_breaks(checkpoint, broken): judged()
def test_spoils(checkpoint, spoilt): judged()
def test_fails_and_spoils(checkpoint, spoilt): judged(0.0)
def test_skips(checkpoint): pytest.skip("not today")
@pytest.mark.skip(reason="never")
def test_never(checkpoint): judged()
def test_not_applicable(checkpoint): raise NotApplicable("no such site")
@pytest.mark.xfail(reason="measured")
def test_xfails(checkpoint): judged(0.0)
@pytest.mark.xfail(reason="measured", strict=False)
def test_xpasses(checkpoint): judged()
"""
ALL = {
    "passes": ("passed", "supported", ""),
    "fails": ("failed", "refuted", ""),
    "breaks": ("error", "error", "RuntimeError: no fixture"),
    "spoils": ("error", "error", "RuntimeError: spoilt"),
    "fails_and_spoils": ("failed", "refuted", ""),
    "skips": ("skipped", None, "Skipped: not today"),
    "never": ("skipped", None, "Skipped: never"),
    "not_applicable": ("skipped", "not applicable", "Skipped: not applicable: no such site"),
    "xfails": ("xfailed", "expected failure", "measured"),
    "xpasses": ("xpassed", "error", "measured"),
}


def read(project, name="run.json"):
    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    return json.loads((project.path / name).read_text(encoding="utf-8"), parse_constant=refuse)


def by_name(saved):
    return {
        claim["claim"]["id"].partition("test_it.py::test_")[2].partition("[")[0]: claim for claim in saved["claims"]
    }


def progress(saved):
    """Whether a ledger is complete, and how many claims ended, and were to run."""
    return tuple(saved["run"][key] for key in ("complete", "ended", "collected"))


def run(project, *arguments):
    return project.runpytest("--interp-ledger", "run.json", "-p", "no:cacheprovider", *arguments)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_each_claim_has_what_came_of_it(claims_project, workers):
    if workers:
        pytest.importorskip("xdist")
    claims_project.makepyfile(test_it=CLAIMS)
    result = run(claims_project, *workers)
    result.stdout.fnmatch_lines(["interp: records of 10 claims: *run.json"])
    saved = read(claims_project)
    assert saved["format"] == FORMAT
    assert progress(saved) == (True, 10, 10)
    came = by_name(saved)
    assert set(came) == set(ALL)
    for name, (outcome, finding, reason) in ALL.items():
        assert (came[name]["outcome"], came[name]["finding"]) == (outcome, finding), name
        assert came[name]["reason"].startswith(reason)
    assert [len(came[name]["records"]) for name in ("passes", "fails", "breaks", "spoils")] == [1, 1, 0, 1]


def test_check_hears_the_same(claims_project, tokenizer):
    from models import random_gpt2

    from pytest_interp import check

    path = claims_project.makepyfile(test_it=CLAIMS)
    seen = {
        checked.claim.partition(".")[2].partition("[")[0]: checked
        for checked in check(random_gpt2(tokenizer), tokenizer, claims=[path])
    }
    assert {name: checked.outcome for name, checked in seen.items()} == {
        name: finding for name, (_, finding, _) in ALL.items() if finding
    }
    assert len(seen) == 8


@pytest.mark.parametrize("stop", [("-x",), ("--maxfail=1",)])
def test_a_run_that_was_stopped_says_so(claims_project, stop):
    claims_project.makepyfile(test_it=CLAIMS)
    run(claims_project, *stop).stdout.fnmatch_lines(["interp: records of 2 of 10 claims: *run.json"])
    saved = read(claims_project)
    assert progress(saved) == (False, 2, 10)
    assert {name: claim["outcome"] for name, claim in by_name(saved).items()} == {"passes": "passed", "fails": "failed"}


def test_a_part_of_a_run_replaces_no_whole_one(claims_project):
    claims_project.makepyfile(test_it=CLAIMS)
    run(claims_project)
    whole = (claims_project.path / "run.json").read_text()
    for _ in range(2):
        result = run(claims_project, "-x")
        result.stdout.fnmatch_lines(["interp: records of 2 of 10 claims: *run.partial.json", "*is left as it is"])
        assert (claims_project.path / "run.json").read_text() == whole
    assert progress(read(claims_project, "run.partial.json"))[0] is False
    # Neither does a run of nothing.
    run(claims_project, "-k", "no_such_claim")
    assert (claims_project.path / "run.json").read_text() == whole


def test_after_an_interrupt_records_are_there(claims_project, heeded_interrupts):
    claims_project.makepyfile(
        test_it=CLAIMS
        + "\ndef test_waits(checkpoint):\n    open('waits', 'w').close()\n    import time; time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-k", "test_passes or waits", "--interp-ledger", "run.json"],
        cwd=claims_project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (claims_project.path / "waits").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "records of 1 of 2 claims" in output, output
    saved = read(claims_project)
    assert progress(saved) == (False, 1, 2)
    assert list(by_name(saved)) == ["passes"]


def test_a_worker_that_crashes_is_told(claims_project):
    pytest.importorskip("xdist")
    claims_project.makepyfile(test_it=CLAIMS + "\ndef test_crashes(checkpoint): os._exit(1)\n")
    claims_project.runpytest_subprocess("--interp-ledger", "run.json", "-n1", "-k", "passes or crashes or xpasses")
    saved = read(claims_project)
    assert progress(saved) == (False, 2, 3)
    came = by_name(saved)
    assert {name: claim["outcome"] for name, claim in came.items()} == {
        "passes": "passed", "xpasses": "xpassed", "crashes": "error",
    }  # fmt: skip
    assert "crashed" in came["crashes"]["reason"]


STRANGE = """
import numpy, torch, math
from pathlib import Path

def test_strange(checkpoint):
    judged(numpy.float64(0.5), scalar=numpy.float32(0.25), tensor=torch.tensor([1.0, 2.0]), path=Path("a/b"),
           nothing=math.nan, much=math.inf, half="\\ud83d", flags={"a"}, deep={1: (numpy.int64(3), True)})
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_values_that_are_not_builtin_survive(claims_project, workers):
    if workers:
        pytest.importorskip("xdist")
    claims_project.makepyfile(test_it=CLAIMS + STRANGE)
    result = run(claims_project, "-k", "strange", *workers)
    result.assert_outcomes(passed=1)
    (claim,) = read(claims_project)["claims"]
    about = claim["records"][0]["about"]
    assert {key: about[key] for key in ("scalar", "tensor", "path", "nothing", "much", "half", "flags", "deep")} == {
        "scalar": 0.25, "tensor": [1.0, 2.0], "path": "a/b", "nothing": "NaN", "much": "Infinity", "half": "\\ud83d",
        "flags": ["a"], "deep": {"1": [3, True]},
    }  # fmt: skip


def test_a_failure_that_no_encoding_has_travels(claims_project):
    pytest.importorskip("xdist")
    claims_project.makepyfile(test_it=CLAIMS + "\ndef test_odd(checkpoint): raise RuntimeError('half \\ud83d')\n")
    result = run(claims_project, "-k", "odd", "-n1")
    result.assert_outcomes(failed=1)
    assert "RuntimeError: half \\ud83d" in read(claims_project)["claims"][0]["reason"]


def test_plain_values_end():
    loop = []
    loop.append(loop)
    assert json.loads(strict_json(plain({"loop": loop, "minus": float("-inf"), "kind": int})))["minus"] == "-Infinity"


def test_what_cannot_be_written_is_said_and_no_success(claims_project, monkeypatch):
    claims_project.makepyfile(test_it=CLAIMS)
    (claims_project.path / "run.json").write_text(Ledger(a_run(ended=0, collected=0), ()).to_text())
    before = (claims_project.path / "run.json").read_text()

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pytest_interp.ledger.json_file.write_whole", full)
    result = run(claims_project, "-k", "passes and not xpasses")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["interp: records not written to *run.json: No space left on device"])
    assert (claims_project.path / "run.json").read_text() == before


def test_a_partial_file_is_replaced_by_a_whole_one(tmp_path):
    path = tmp_path / "run.json"
    for complete, expected in ((False, "run.json"), (True, "run.json"), (False, "run.partial.json")):
        part = Ledger(a_run(ended=int(complete), collected=1), ())
        assert save(path, part) == tmp_path / expected
