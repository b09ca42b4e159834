"""Plugins that may be in the same environment, by stand-ins that do as they do: reruns, random order, async claims."""

import json
from itertools import pairwise

import pytest
from models import CLAIMS, TASK_AND_COPIES

FLAKY = """
times = []

@pytest.mark.claim(source="a paper")
def test_flaky(ioi):
    times.append(1)
    assert_logit_diff(ioi, at_least=2 if len(times) % 3 == 0 else 99)

@pytest.mark.claim(source="a paper")
def test_never(ioi):
    assert_logit_diff(ioi, at_least=99)
"""
# As pytest-rerunfailures: a failure that is tried again is a report whose outcome is "rerun".
RERUNS = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for left in (2, 1, 0):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = left and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if not again:
            return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""
# As pytest-randomly: items in another order, before any other plugin orders them; the global generators set anew.
SHUFFLED = """
import os, random
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    random.Random(int(os.environ["ORDER"])).shuffle(items)

def pytest_runtest_call(item):
    random.seed(int(os.environ["ORDER"]))
"""
OTHER = """
from pytest_interp import CheckpointSpec

def pytest_interp_checkpoints(config):
    return [CheckpointSpec("other", kind="planted", source="planted-ioi", bos=True, circuit="planted-ioi")]
"""
# As pytest-asyncio and anyio: a coroutine function is run to its end; LAZY forgets to.
ASYNC = """
import asyncio, inspect
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        names = pyfuncitem._fixtureinfo.argnames
        LINE
        return True
"""
RUN = "asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))"


def saved(project):
    return json.loads((project.path / "run.json").read_text())["claims"]


def run(project, *arguments):
    return project.runpytest(
        "--interp-prompts", "24", "--interp-ledger", "run.json", "-p", "no:cacheprovider", *arguments
    )


def test_a_rerun_counts_once(claims_project):
    claims_project.makepyfile(test_it=TASK_AND_COPIES + FLAKY)
    claims_project.makeconftest(RERUNS)
    first = run(claims_project, "-k", "flaky or never", "--snapshot-update")
    assert first.parseoutcomes() == {"passed": 1, "failed": 1, "rerun": 4, "deselected": 4}
    first.stdout.fnmatch_lines(["interp: records of 2 claims: *", "planted-ioi: 1 supported, 1 refuted, 1 new number"])
    assert [(claim["outcome"], claim["finding"], len(claim["records"])) for claim in saved(claims_project)] == [
        ("passed", "supported", 1),
        ("failed", "refuted", 1),
    ]
    stored = json.loads((claims_project.path / "__snapshots__" / "test_it.json").read_text())
    assert list(stored) == ["test_flaky[planted-ioi]"]
    assert len(stored["test_flaky[planted-ioi]"]["records"]) == 1
    second = run(claims_project, "-k", "flaky or never")
    second.stdout.fnmatch_lines(["planted-ioi: 1 supported, 1 refuted"])


def test_a_rerun_counts_once_in_check(claims_project, tokenizer):
    from models import random_gpt2

    from pytest_interp import check

    text = TASK_AND_COPIES.partition("def test_task")[0].replace(', role="name_mover"', "") + FLAKY.replace(
        "99", "1e9"
    ).replace("at_least=2", "at_least=-1e9")
    claims_project.makepyfile(test_it=text)
    claims_project.makeconftest(RERUNS)
    seen = check(random_gpt2(tokenizer), tokenizer, claims=[claims_project.path], prompts=24, bos=True)
    assert [checked.outcome for checked in seen] == ["supported", "refuted"]


def test_any_order_gives_the_same(claims_project, monkeypatch):
    """Verdicts, snapshots and records; and claims on one checkpoint still run one after the other."""
    claims_project.makepyfile(test_it=TASK_AND_COPIES, test_other=TASK_AND_COPIES)
    claims_project.makeconftest(OTHER + SHUFFLED)
    seen = []
    for order in ("1", "2", "3"):
        monkeypatch.setenv("ORDER", order)
        result = run(claims_project, "-v", "--snapshot-update")
        result.assert_outcomes(passed=16)
        ran = ["other" if "[other" in line else "planted" for line in result.outlines if " PASSED" in line]
        assert sum(before != after for before, after in pairwise(ran)) == 1
        snapshots = sorted((claims_project.path / "__snapshots__").iterdir())
        # The first run has new numbers, the others match them.
        claims = [{**claim, "snapshot": None} for claim in saved(claims_project)]
        seen.append((claims, [path.read_text() for path in snapshots]))
    assert seen[0] == seen[1] == seen[2]
    assert [path.name for path in snapshots] == ["test_it.json", "test_other.json"]


@pytest.mark.parametrize(
    ("plugin", "bound", "message"),
    [
        ("", 2, "async def functions are not natively supported.*"),
        (ASYNC.replace("LINE", RUN), 2, "planted-ioi: 1 supported*"),
        (ASYNC.replace("LINE", RUN), 99, "planted-ioi: 1 refuted*"),
        (ASYNC.replace("LINE", "pass"), 2, "the claim asserted nothing; call one of the assert_ functions*"),
    ],
)
def test_an_async_claim_asserts_or_fails(claims_project, plugin, bound, message):
    claims_project.makepyfile(
        test_it=TASK_AND_COPIES.replace("def test_task", "async def test_task").replace("=2", f"={bound}")
    )
    claims_project.makeconftest(plugin)
    result = run(claims_project, "-k", "task")
    passed = message.startswith("planted-ioi: 1 supported")
    result.assert_outcomes(passed=int(passed), failed=int(not passed))
    result.stdout.fnmatch_lines([message])


NOISY = """
import warnings
import pytest

class NoisyWarning(pytest.PytestWarning): pass

def pytest_configure(config):
    LINE
"""


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        ("warnings.warn(NoisyWarning('Benchmarks are automatically disabled because xdist plugin is active.'))", True),
        (
            "warnings.warn(pytest.PytestDeprecationWarning("
            "'The configuration option \"asyncio_default_fixture_loop_scope\" is unset.'))",
            True,
        ),
        ("warnings.warn(NoisyWarning('something else'))", False),
    ],
)
def test_neighbours_may_warn_as_they_start(pytester, line, fine):
    """Under this project's own settings, in which warnings are errors; any other still is one where pytest looks."""
    pytester.makepyfile(noisy=NOISY.replace("LINE", line), test_a="def test_a(): pass")
    pytester.syspathinsert()
    pytester.makefile(".toml", strict='[tool.pytest.ini_options]\nfilterwarnings = ["error"]')
    strict = pytester.runpytest_subprocess("-c", "strict.toml", "-p", "no:pytest_interp", "-p", "noisy", "test_a.py")
    fine = fine or strict.ret == 0  # pytest 9.0 does not look at warnings of pytest_configure
    settings = CLAIMS.parent / "pyproject.toml"
    result = pytester.runpytest_subprocess("-c", settings, "--rootdir=.", "-p", "noisy", "test_a.py")
    assert (result.ret == 0) == fine
    assert ("INTERNALERROR" in result.stdout.str() + result.stderr.str()) != fine
