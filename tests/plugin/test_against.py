"""``--interp-ledger`` and ``--interp-against`` in a run, and the commands on what it wrote."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from models import TASK_AND_COPIES
from records import ledger_of, outcome_of, sampled_record

from pytest_interp.ledger.ledger import read


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_it=TASK_AND_COPIES)
    return claims_project


@pytest.fixture
def before(project):
    """A project with the ledger of a run."""
    project.runpytest("--interp-ledger", "before.json", "--snapshot-update").assert_outcomes(passed=4)
    return project


def test_the_ledger_has_values_cells_patterns_and_the_circuit(before):
    ledger = read(before.path / "before.json")
    assert ledger.run.is_complete
    assert ledger.run.has_prompts
    task = next(claim for claim in ledger.claims if claim.claim.name == "test_task[planted-ioi]")
    (record,) = task.records
    assert len(record.values) == record.n == len(record.sample.labels)
    assert sum(record.values) / record.n == pytest.approx(record.value)
    assert record.measurement().value == pytest.approx(record.value)
    (checkpoint,) = ledger.checkpoints
    assert checkpoint.circuit == (before.path / "circuits" / "planted-ioi.toml").read_text()


@pytest.mark.parametrize("path", ["run.json", "runs/"])
def test_the_ledger_is_written_where_another_plugin_fails_at_the_end(project, path):
    """So does syrupy after Ctrl-C under -n, where warnings are errors."""
    project.makeconftest("def pytest_sessionfinish():\n    raise RuntimeError('another plugin')")
    result = project.runpytest_subprocess("--interp-ledger", path)
    result.stderr.fnmatch_lines(["*RuntimeError: another plugin"])
    (file,) = project.path.rglob("*.json") if path == "run.json" else project.path.glob("runs/*.json")
    assert len(read(file).claims) == 4


def test_patterns_are_those_of_claimed_heads(project):
    project.makepyfile(
        test_it="""
import pytest
from pytest_interp import assert_attention, assert_top
from pytest_interp.measure import attention_sweep

pytestmark = pytest.mark.claim(source="a paper")

def test_reads(ioi):
    assert_attention(ioi, "3.0", at="END", to="IO", at_least=0.5)

def test_top(ioi):
    assert_top(attention_sweep(ioi, at="END", to="IO"), ["4.0", "3.0", "3.1", "3.2"])
"""
    )
    project.runpytest("--interp-ledger", "run.json", "--snapshot-update").assert_outcomes(passed=2)
    ledger = read(project.path / "run.json")
    patterns = ledger.checkpoints[0].patterns
    assert {pattern.head for pattern in patterns} == {"3.0"}
    assert len(patterns) == 3
    for pattern in patterns:
        assert [len(row) for row in pattern.rows] == list(range(1, len(pattern.tokens) + 1))
        assert all(sum(row) == pytest.approx(1, abs=0.01) for row in pattern.rows)
    # Independently: the head reads IO, which stands where the pattern of END is largest.
    name = patterns[0].tokens[max(range(len(patterns[0].rows)), key=patterns[0].rows[-1].__getitem__)]
    (reading,) = ledger.claims[0].records
    assert reading.sample.labels[0].endswith(name)
    (ranking,) = ledger.claims[1].records
    assert ranking.table.axes == ("layer", "head")
    value, ends = next((value, ends) for label, value, ends in ranking.table.cells if label == "3.0")
    assert value == pytest.approx(reading.value)
    assert ends == pytest.approx(reading.interval)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_the_same_run_again_is_unchanged(before, workers):
    if workers:
        pytest.importorskip("xdist")
    result = before.runpytest("--interp-against", "before.json", *workers)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*= against before.json =*", "4 claims in both: 4 unchanged*"])
    assert result.ret == 0


@pytest.mark.parametrize("cache", [(), ("--interp-cache", "cache")])
def test_a_number_that_moved_fails_the_run(before, cache):
    """The claims hold, with or without cached numbers of the run before; the model is another by a thousandth."""
    if cache:
        before.runpytest(*cache)
    before.makeconftest(
        """
import pytest

@pytest.fixture(autouse=True)
def moved(checkpoint):
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    with checkpoint.bridge.hooks([("unembed.hook_out", lambda logits, hook: logits * 1.001)]):
        yield
"""
    )
    result = before.runpytest("--interp-against", "before.json", "-k", "task", *cache)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["  moved *it.task", "*logit_diff 8.8* -> 8.8* logits, moved +0.0089*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_known_weights_under_another_name_need_no_snapshot(before):
    """A copy of the model, built by the user: without the option its numbers have no snapshot under that name."""
    before.makeconftest(
        """
from pytest_interp import CheckpointSpec
from pytest_interp.checkpoints import known_specs
from dataclasses import replace

def pytest_interp_checkpoints():
    return [replace(known_specs()["planted-ioi"], name="mine")]
"""
    )
    result = before.runpytest("--interp-model", "mine", "--interp-circuit", "planted-ioi",
                              "--interp-against", "before.json", "-k", "task")  # fmt: skip
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 claim in both: 1 unchanged*"])


def test_what_cannot_be_compared_is_refused_before_the_run(before):
    for path, message in (("none.json", "cannot be read"), (".", "is a folder"), ("test_it.py", "is not JSON")):
        result = before.runpytest("--interp-against", path)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert message in result.stderr.str()
    result = before.runpytest("--interp-against", "before.json", "--snapshot-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "pass one of them" in result.stderr.str()
    before.makepyfile(test_other=TASK_AND_COPIES)
    result = before.runpytest("--interp-against", "before.json", "test_other.py", "-k", "task")
    result.stdout.fnmatch_lines(["interp: not compared with before.json: no claim is in both ledgers*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_no_prompts_leaves_them_out(project):
    result = project.runpytest("--interp-ledger", "run.json", "--interp-no-prompts", "-k", "task")
    result.stdout.fnmatch_lines(["interp: records of 1 claim, without prompts: *run.json"])
    text = (project.path / "run.json").read_text()
    assert " gave " not in text
    assert not read(project.path / "run.json").run.has_prompts


def test_junit_has_flat_properties(project):
    project.runpytest("--junitxml", "junit.xml", "-k", "task")
    properties = {
        item.attrib["name"]: item.attrib["value"]
        for item in ElementTree.parse(project.path / "junit.xml").iter("property")
    }
    assert properties["interp.claim"] == "it.task[planted-ioi]"
    assert properties["interp.finding"] == "supported"
    low, value, high = (float(properties[f"interp.logit_diff.{key}"]) for key in ("low", "value", "high"))
    assert low <= value <= high
    assert properties["interp.logit_diff.bound"] == "at least 2"
    assert len([name for name in properties if "{" in properties[name]]) == 0


# ---- the commands


def command(folder, *arguments, **environment):
    line = [sys.executable, "-m", "pytest_interp.cli", *arguments]
    return subprocess.run(
        line, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **environment}
    )


@pytest.fixture
def ledgers(tmp_path):
    files = {
        "a.json": ledger_of(outcome_of("task", sampled_record())),
        "same.json": ledger_of(outcome_of("task", sampled_record()), started="2026-11-28T13:00:00Z"),
        "moved.json": ledger_of(outcome_of("task", sampled_record(0.1))),
        "other.json": ledger_of(outcome_of("other", sampled_record())),
    }
    for name, ledger in files.items():
        (tmp_path / name).write_text(ledger.to_text())
    return tmp_path


def test_compare_has_a_status_a_form_and_a_reason_to_fail(ledgers):
    assert command(ledgers, "compare", "a.json", "same.json").returncode == 0
    done = command(ledgers, "compare", "a.json", "moved.json")
    assert done.returncode == 1
    assert "1 claim in both: 1 moved" in done.stdout
    assert "\x1b" not in done.stdout
    assert command(ledgers, "compare", "a.json", "moved.json", "--fail-on", "verdict").returncode == 0
    assert command(ledgers, "compare", "a.json", "moved.json", "--fail-on", "never", "--json").returncode == 0
    table = json.loads(command(ledgers, "compare", "a.json", "moved.json", "--json").stdout)
    assert table["counts"]["moved"] == 1
    assert command(ledgers, "compare", "a.json", "moved.json", "--markdown").stdout.startswith("**1 claim in both")


def test_the_same_file_twice_is_refused(ledgers):
    done = command(ledgers, "compare", "a.json", "./a.json")
    assert done.returncode == 2
    assert done.stderr == "pytest-interp compare: a.json was passed twice; pass the ledgers of two runs\n"


def test_compare_writes_the_summary_of_a_github_step(ledgers):
    done = command(ledgers, "compare", "a.json", "moved.json", "--github", GITHUB_STEP_SUMMARY="summary.md")
    assert done.returncode == 1
    assert "| it.task |" in (ledgers / "summary.md").read_text()
    done = command(ledgers, "compare", "a.json", "moved.json", "--github", GITHUB_STEP_SUMMARY="")
    assert (done.returncode, "GITHUB_STEP_SUMMARY" in done.stderr) == (2, True)


def test_compare_refuses_what_it_cannot_compare(ledgers):
    for second, message in (("other.json", "no claim is in both"), (".", "is a folder"), ("no.json", "cannot be read")):
        done = command(ledgers, "compare", "a.json", second)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_merge_writes_one_file_or_none(ledgers):
    done = command(ledgers, "merge", "a.json", "other.json", "-o", "all.json")
    assert (done.returncode, done.stdout.startswith("2 claims of 2 ledgers: ")) == (0, True)
    assert len(read(ledgers / "all.json").claims) == 2
    done = command(ledgers, "merge", "a.json", "moved.json", "-o", "none.json")
    assert done.returncode == 2
    assert "with other results" in done.stderr
    assert not (ledgers / "none.json").exists()
    assert command(ledgers, "merge", "a.json", "a.json", "-o", "none.json").returncode == 2


def test_compare_imports_no_model_library(ledgers):
    code = (
        "import sys; from pytest_interp import cli; cli.main(['compare', 'a.json', 'moved.json']);"
        "print([name for name in ('torch', 'transformers', 'pytest', 'syrupy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ledgers)
    assert done.stdout.splitlines()[-1] == "[]"
