"""``--interp-ledger FOLDER/``: several checkpoints in one run, a ledger for each, and a run that goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from models import random_gpt2

from pytest_interp.ledger.ledger import read

CLAIMS = """
import pytest
from pathlib import Path
from pytest_interp import Measurement, NotApplicable, Sample, assert_measurement
from pytest_interp.common.context import NO_CONTEXT

pytestmark = pytest.mark.claim(source="a paper")

def judged(checkpoint, name, value=0.5):
    with Path("measured").open("a") as file:
        print(name, checkpoint.name, file=file)
    numbers = Measurement("probe", "number", (value,) * 3, Sample(("a", "b", "c"), ("a", "b", "c"), "fixed"),
                          context=NO_CONTEXT)
    assert_measurement(numbers, at_least=0.1)

def test_holds(checkpoint): judged(checkpoint, "holds")
def test_fails(checkpoint): judged(checkpoint, "fails", 0.0)
def test_no_site(checkpoint):
    judged(checkpoint, "no_site")
    raise NotApplicable("no such site")
@pytest.mark.xfail(reason="measured")
def test_xfails(checkpoint): judged(checkpoint, "xfails", 0.0)
"""
TWO = ("--interp-model", "planted-ioi", "--interp-model", "planted-mlp0")


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_it=CLAIMS)
    return claims_project


def run(project, *arguments, models=TWO):
    (project.path / "measured").unlink(missing_ok=True)
    return project.runpytest("--interp-ledger", "series/", "-p", "no:cacheprovider", *models, *arguments)


def measured(project):
    """What the last run measured: claim and checkpoint."""
    path = project.path / "measured"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def findings(project, name="planted-ioi"):
    ledger = read(project.path / "series" / f"{name}.json")
    return {str(claim.claim.name).partition("[")[0]: claim.finding for claim in ledger.claims}


ALL = {"test_holds": "supported", "test_fails": "refuted", "test_no_site": "not applicable",
       "test_xfails": "expected failure"}  # fmt: skip


def test_each_checkpoint_has_a_ledger_and_the_second_run_measures_nothing(project):
    first = run(project)
    first.assert_outcomes(passed=2, failed=2, skipped=2, xfailed=2)
    assert len(measured(project)) == 8
    assert findings(project) == findings(project, "planted-mlp0") == ALL
    before = [read(project.path / "series" / f"{name}.json") for name in ("planted-ioi", "planted-mlp0")]
    second = run(project)
    second.assert_outcomes(passed=2, failed=2, skipped=2, xfailed=2)
    assert measured(project) == []
    assert second.ret == first.ret == pytest.ExitCode.TESTS_FAILED
    second.stdout.fnmatch_lines(["*read from the ledger of an earlier run, not measured again*"])
    second.stdout.fnmatch_lines(["interp: 8 claims read from *series, not measured again"])
    second.stdout.fnmatch_lines(["planted-ioi: 1 supported, 1 refuted, 1 expected failure, 1 not applicable, 1*"])
    after = [read(project.path / "series" / f"{name}.json") for name in ("planted-ioi", "planted-mlp0")]
    assert [ledger.claims for ledger in after] == [ledger.claims for ledger in before]
    assert [ledger.checkpoints for ledger in after] == [ledger.checkpoints for ledger in before]


def test_with_workers_it_is_the_same(project):
    pytest.importorskip("xdist")
    run(project, "-n2").assert_outcomes(passed=2, failed=2, skipped=2, xfailed=2)
    assert findings(project) == findings(project, "planted-mlp0") == ALL
    result = run(project, "-n1")
    result.assert_outcomes(passed=2, failed=2, skipped=2, xfailed=2)
    result.stdout.fnmatch_lines(["interp: 8 claims read from *series, not measured again"])
    assert measured(project) == []


def test_a_part_of_the_claims_leaves_the_others_in_the_ledger(project):
    run(project)
    whole = read(project.path / "series" / "planted-ioi.json")
    run(project, "-k", "holds")
    after = read(project.path / "series" / "planted-ioi.json")
    assert after.run.is_complete
    assert {claim.claim.id for claim in after.claims} == {claim.claim.id for claim in whole.claims}


def test_a_checkpoint_that_is_new_is_measured_and_an_error_again(project):
    project.makepyfile(test_it=CLAIMS + "\ndef test_breaks(checkpoint):\n    judged(checkpoint, 'breaks')\n    1 / 0\n")
    run(project, models=TWO[:2])
    assert findings(project)["test_breaks"] == "error"
    run(project)
    again = measured(project)
    assert [name for name, checkpoint in again if checkpoint == "planted-ioi"] == ["breaks"]
    assert len([name for name, checkpoint in again if checkpoint == "planted-mlp0"]) == 5


def test_other_code_is_measured_again(project):
    run(project, models=TWO[:2])
    project.makepyfile(test_it=CLAIMS.replace('"fails", 0.0', '"fails", 0.7'))
    run(project, models=TWO[:2]).assert_outcomes(passed=2, skipped=1, xfailed=1)
    assert measured(project) == [("fails", "planted-ioi")]
    assert findings(project)["test_fails"] == "supported"


def test_a_circuit_file_that_changed_makes_everything_new(project):
    run(project, models=TWO[:2])
    circuit = project.path / "circuits" / "planted-ioi.toml"
    circuit.write_text(circuit.read_text() + "\n# another reading\n")
    result = run(project, models=TWO[:2])
    assert len(measured(project)) == 4
    result.stdout.fnmatch_lines(["interp: planted-ioi is measured again: its circuit file has changed since*"])


def test_new_weights_under_an_old_name_are_measured_again(project, tokenizer):
    folder = project.path / "run" / "checkpoint-1"

    def save(seconds):
        random_gpt2(tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for file in folder.iterdir():
            os.utime(file, (time.time() + seconds,) * 2)

    save(-60)
    run(project, models=("--interp-model", "run"))
    assert findings(project, "run@checkpoint-1") == ALL
    run(project, models=("--interp-model", "run"))
    assert measured(project) == []
    save(60)
    result = run(project, models=("--interp-model", "run"))
    assert len(measured(project)) == 4
    result.stdout.fnmatch_lines(["*checkpoint-1 is measured again: files of its weights have changed since*"])


def test_claims_on_two_weights_under_one_name_fail_the_run(project, tokenizer):
    """The weights changed, and the time of their files does not tell."""
    folder = project.path / "run" / "checkpoint-1"
    claims = CLAIMS.replace("context=NO_CONTEXT", "context=seen_on(checkpoint)") + (
        "\ndef seen_on(checkpoint):\n"
        "    from dataclasses import replace\n    from pytest_interp.common.context import CheckpointIdentity\n"
        "    seen = CheckpointIdentity(checkpoint.name, checkpoint.fingerprint, 'float32', 'cpu')\n"
        "    return replace(NO_CONTEXT, checkpoint=seen)\n"
    )

    def save(layers):
        random_gpt2(tokenizer, n_layer=layers).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for file in folder.iterdir():
            os.utime(file, (time.time() - 60,) * 2)

    save(2)
    project.makepyfile(test_it=claims)
    assert run(project, "-k", "holds", models=("--interp-model", "run")).ret == 0
    save(3)
    project.makepyfile(test_it=claims + "\ndef test_also_holds(checkpoint): judged(checkpoint, 'also')\n")
    result = run(project, "-k", "holds", models=("--interp-model", "run"))
    assert measured(project) == [("also", "run@checkpoint-1")]
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["interp: *checkpoint-1.json has claims on other weights*delete it, and run again"])


def test_other_options_are_refused_before_the_work(project):
    run(project, models=TWO[:2])
    result = run(project, "--interp-seed", "3", models=TWO[:2])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: *planted-ioi.json is of another run: seed 0 there, 3 here*pass another folder*"]
    )
    assert measured(project) == []
    # What no number depends on may differ.
    assert run(project, "--interp-memory", "100M", "-k", "holds", models=TWO[:2]).ret == 0
    (project.path / "series" / "mine.json").write_text("{}")
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *mine.json is no ledger; pass the file that --interp-ledger wrote"])


def test_a_folder_that_is_there_needs_no_slash(project):
    (project.path / "here").mkdir()
    project.runpytest("--interp-ledger", "here", "-k", "holds", *TWO[:2]).assert_outcomes(passed=1)
    assert [path.name for path in (project.path / "here").iterdir()] == ["planted-ioi.json"]


def test_one_broken_member_stops_no_other_and_fails_the_run(project, tokenizer):
    for step in (1, 3):
        random_gpt2(tokenizer).save_pretrained(project.path / "run" / f"checkpoint-{step}")
        tokenizer.save_pretrained(project.path / "run" / f"checkpoint-{step}")
    (project.path / "run" / "checkpoint-2").mkdir()
    result = run(project, "-k", "holds", models=("--interp-model", "run"))
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*checkpoint-2 has no config.json; pass a directory that save_pretrained wrote*"])
    assert [name for _, name in measured(project)] == ["run@checkpoint-1", "run@checkpoint-3"]
    assert findings(project, "run@checkpoint-2") == {"test_holds": "error"}
    # Mended, it alone is measured.
    random_gpt2(tokenizer).save_pretrained(project.path / "run" / "checkpoint-2")
    tokenizer.save_pretrained(project.path / "run" / "checkpoint-2")
    run(project, "-k", "holds", models=("--interp-model", "run")).assert_outcomes(passed=3)
    assert measured(project) == [("holds", "run@checkpoint-2")]


def test_a_revision_that_cannot_be_had_fails_the_run_of_several(project, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    models = ("--interp-model", "planted-ioi", "--interp-model", "gpt2")
    code = project.runpytest_subprocess("-k", "holds", "--interp-model", "gpt2").ret
    assert code == pytest.ExitCode.OK  # as ever: nothing is claimed, nothing fails
    result = project.runpytest_subprocess("-k", "holds", "--interp-ledger", "series/", *models)
    result.assert_outcomes(passed=1, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["interp: gpt2 was not judged: the hub did not give openai-community/gpt2*"])


def test_after_an_interrupt_the_next_run_goes_on(project, heeded_interrupts):
    project.makepyfile(
        test_it=CLAIMS + "\nimport os, time\ndef test_waits(checkpoint):\n    judged(checkpoint, 'waits')\n"
        "    if not os.path.exists('no_wait') and checkpoint.name == 'planted-mlp0':\n"
        "        open('waits', 'w').close()\n        time.sleep(60)\n"
    )
    line = [sys.executable, "-m", "pytest", "--interp-ledger", "series/", *TWO]
    process = subprocess.Popen(line, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 120
    while not (project.path / "waits").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert re.search(r"records of 5 claims: .*planted-ioi\.json", output), output
    assert re.search(r"records of 4 of 5 claims: .*planted-mlp0\.json", output), output
    (project.path / "no_wait").touch()
    run(project).assert_outcomes(passed=4, failed=2, skipped=2, xfailed=2)
    assert measured(project) == [("waits", "planted-mlp0")]
    assert json.loads((project.path / "series" / "planted-mlp0.json").read_text())["run"]["complete"] is True


def test_one_model_is_in_memory_at_a_time(project, tokenizer):
    for step in (1, 2, 3):
        random_gpt2(tokenizer).save_pretrained(project.path / "run" / f"checkpoint-{step}")
        tokenizer.save_pretrained(project.path / "run" / f"checkpoint-{step}")
    project.makeconftest(
        """
        import gc, pytest, weakref
        loaded = []
        @pytest.hookimpl(trylast=True)  # pytest has let go of the last failure by then
        def pytest_runtest_call(item):
            checkpoint = item.funcargs["checkpoint"]
            if not loaded or loaded[-1]() is not checkpoint:
                loaded.append(weakref.ref(checkpoint))
            gc.collect()
            alive = [reference().name for reference in loaded if reference() is not None]
            assert alive == [checkpoint.name], alive
        """
    )
    # In a process of its own: pytester keeps the tracebacks of an inner run, and so what their frames hold.
    result = project.runpytest_subprocess("-k", "holds or test_fails", "--interp-model", "run")
    result.assert_outcomes(passed=3, failed=3)
    assert "AssertionError" not in result.stdout.str()
