"""Verdicts that are reached in other threads, tasks and processes, or before a skip, are the claim's."""

# pytester takes modules that an inner run imported out again; these cannot be imported twice in one process.
import concurrent.futures.process  # noqa: F401
import multiprocessing.pool
import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_interp import ClaimFailed, assert_measurement
from pytest_interp.rerun.trial import Body
from pytest_interp.verdict import recording
from pytest_interp.verdict.other_threads import VARIABLE, wait_for_threads

# Since Python 3.12 a fork beside other threads warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

# What a child process imports: it has no fixtures and no pytest.
HELPER = """
from contextlib import suppress
from pytest_interp import ClaimFailed, assert_measurement

def number(value):
    assert_measurement([value] * 3, unit="x", population="fixed", near=(1, 0.1), name=f"value {value:g}")

def quietly(value):
    with suppress(ClaimFailed):
        number(value)
"""

CLAIM = """
import asyncio, multiprocessing, os, subprocess, sys, threading, time, unittest
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import pytest
from pytest_interp import NotApplicable
from helper import number, quietly

@pytest.mark.claim(source="a paper")
def test_1(tmp_path):
    BODY

@pytest.mark.claim(source="a paper")
def test_2():
    number(1.0)
    assert "PYTEST_INTERP_RECORDS" in os.environ

def test_3():
    assert "PYTEST_INTERP_RECORDS" not in os.environ
"""

THREAD = """thread = threading.Thread(target=quietly, args=(VALUE,))
    thread.start()"""
ELSEWHERE = {
    "thread": f"{THREAD}\n    thread.join()",
    "thread that is not joined": f"time.sleep(0)\n    {THREAD}".replace("quietly, args", "later, args").replace(
        "time.sleep(0)", "later = lambda value: (time.sleep(0.3), quietly(value))"
    ),
    "executor": "with ThreadPoolExecutor(2) as pool:\n        pool.submit(number, VALUE)",
    "executor that is not waited for": "pool = ThreadPoolExecutor(2)\n"
    "    pool.submit(lambda: (time.sleep(0.3), number(VALUE)))",
    "task": """async def task():
        quietly(VALUE)
    async def main():
        await asyncio.create_task(task())
        await asyncio.to_thread(quietly, VALUE)
    asyncio.run(main())""",
    "forked child": """if os.fork() == 0:
        quietly(VALUE)
        os._exit(0)
    os.wait()""",
    "forked process": """process = multiprocessing.get_context("fork").Process(target=quietly, args=(VALUE,))
    process.start()
    process.join()""",
    "spawned process": """process = multiprocessing.get_context("spawn").Process(target=quietly, args=(VALUE,))
    process.start()
    process.join()""",
    "program": 'subprocess.run([sys.executable, "-c", "from helper import quietly; quietly(VALUE)"], check=True)',
    "pool of processes": """with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        pool.submit(number, VALUE).exception()""",
}


@pytest.fixture
def project(pytester, monkeypatch):
    """A project whose claims need no model."""
    pytester.makepyfile(helper=HELPER)
    monkeypatch.setenv("PYTHONPATH", f"{pytester.path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return pytester


def run(project, body, *arguments):
    project.makepyfile(test_it=CLAIM.replace("BODY", body))
    return project.runpytest("-p", "no:cacheprovider", "-W", "ignore", *arguments)


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_refuted_verdict_fails_its_claim_wherever_it_was_reached(project, place):
    body = f"number(1.0)\n    {ELSEWHERE[place]}"
    result = run(project, body.replace("VALUE", "5.0"))
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["the claim passed, but its verdict on value 5* is refuted"])
    result.stdout.fnmatch_lines(["no checkpoint: 1 supported, 1 refuted"])


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_supported_verdict_counts_wherever_it_was_reached(project, place):
    run(project, ELSEWHERE[place].replace("VALUE", "1.0")).assert_outcomes(passed=3)


def test_workers_of_xdist_hear_of_them_too(project):
    pytest.importorskip("xdist")
    body = f"number(1.0)\n    {ELSEWHERE['thread']}\n    {ELSEWHERE['forked child']}".replace("VALUE", "5.0")
    result = run(project, body, "-n2")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*the claim passed, but its verdict on value 5* is refuted"])


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ('pytest.skip("not today")', "was skipped (not today)"),
        ('raise unittest.SkipTest("not today")', "was skipped (not today)"),
        ('pytest.xfail("known")', "called pytest.xfail (known)"),
        ('raise NotApplicable("no such site")', "was not applicable (no such site)"),
    ],
)
def test_a_skip_hides_no_verdict(project, ending, words):
    result = run(project, f"quietly(5.0)\n    {ending}")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([f"the claim {words}, but its verdict on value 5* is refuted"])
    result.stdout.fnmatch_lines(["no checkpoint: 1 supported, 1 refuted"])
    outcomes = run(project, f"number(1.0)\n    {ending}").parseoutcomes()
    # What pytest makes of unittest.SkipTest in a function depends on its version.
    project.makepyfile(
        test_it=f"import pytest, unittest\nfrom pytest_interp import NotApplicable\ndef test(): {ending}"
    )
    (ordinary,) = project.runpytest("-p", "no:cacheprovider").parseoutcomes()
    expected = {"NotApplicable": "skipped"}.get(ending.split("(")[0].split()[-1], ordinary)
    assert outcomes == {"passed": 2, expected: 1}


def test_a_swallowed_verdict_of_a_claim_that_is_expected_to_fail_is_what_was_expected(project):
    project.makepyfile(
        test_it="""
        import pytest
        from pytest_interp import ClaimFailed
        from helper import quietly

        @pytest.mark.claim(source="a paper")
        @pytest.mark.xfail(raises=ClaimFailed, strict=True, reason="measured 5")
        @pytest.mark.parametrize("ending", [lambda: None, lambda: pytest.skip("not today")])
        def test_it(ending):
            quietly(5.0)
            ending()
        """
    )
    project.runpytest().assert_outcomes(xfailed=2)


LATE = """
import multiprocessing, os, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import pytest
from helper import number, quietly

pytestmark = pytest.mark.claim(source="a paper")
go = threading.Event()
said = []

def wait_and_speak():
    go.wait(60)
    try:
        quietly(5.0)
    except Exception as error:
        said.append(str(error))

@pytest.fixture(scope="session")
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool

@pytest.fixture(scope="session")
def processes():
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        yield pool

def test_1_leaves_a_thread_and_a_child(tmp_path_factory):
    number(1.0)
    threading.Thread(target=wait_and_speak, name="straggler", daemon=True).start()

def test_2_is_not_its_claim():
    number(1.0)
    go.set()
    for thread in threading.enumerate():
        if thread.name == "straggler":
            thread.join()
    (sentence,) = said
    assert sentence.startswith("the verdict on value 5")
    assert "is refuted, but the thread straggler was started by a claim that has ended" in sentence

@pytest.mark.parametrize("value", [1.0, 5.0, 1.0])
def test_3_threads(threads, value):
    threads.submit(quietly, value).result()

@pytest.mark.parametrize("value", [1.0, 5.0, 1.0])
def test_4_processes(processes, value):
    processes.submit(quietly, value).result()
"""


def test_a_pool_serves_each_claim_and_a_straggler_none_but_its_own(project):
    project.makepyfile(test_it=LATE)
    result = project.runpytest("-p", "no:cacheprovider", "-v")
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines(["*test_3_threads?5.0? FAILED*", "*test_4_processes?5.0? FAILED*"])


# ---- trials


def refute():
    assert_measurement([5.0], unit="x", population="fixed", near=(1, 0.1))


def test_a_trial_hears_threads_and_children(monkeypatch):
    seen = []

    def claim():
        assert recording.in_trial()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(recording.in_trial).result())
            pool.submit(refute).result()  # Another thread is not ended: it says nothing, and fails nothing.
        seen.append("after")

    with recording.collecting() as records:
        trial = Body(claim, {}).run()
        assert not recording.in_trial()
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(recording.in_trial).result()
            assert isinstance(pool.submit(refute).exception(), ClaimFailed)
    assert (trial.seen, len(trial.records)) == ("killed", 1)
    assert seen == [True, "after"]
    assert len(records) == 1


def test_a_child_of_a_trial_is_in_the_trial():
    def claim():
        if os.fork() == 0:
            try:
                refute()  # Does not raise.
                os._exit(0 if recording.in_trial() else 1)
            except BaseException:
                os._exit(2)
        assert os.wait()[1] == 0

    trial = Body(claim, {}).run()
    assert (trial.seen, len(trial.records)) == ("killed", 1)


def test_what_is_skipped_in_a_trial_is_not_applicable():
    import unittest

    def claim():
        raise unittest.SkipTest("no such thing")

    trial = Body(claim, {}).run()
    assert (trial.seen, trial.reason) == ("not applicable", "no such thing")


def test_nothing_is_left_behind():
    with recording.collecting():
        path = Path(os.environ[VARIABLE])
        assert path.exists()
        with recording.trial(until_refuted=True) as records:
            assert os.environ[VARIABLE] != str(path)
            refute()
            raise AssertionError("a trial ends at a refuted verdict")
        assert len(records) == 1
        assert os.environ[VARIABLE] == str(path)
    assert VARIABLE not in os.environ
    assert not list(path.parent.iterdir())


def test_idle_pools_are_not_waited_for():
    context = multiprocessing.get_context("fork")
    begin = time.monotonic()
    done = []
    with (
        ThreadPoolExecutor(1) as threads,
        ProcessPoolExecutor(1, context) as processes,
        context.Pool(1) as pool,
        multiprocessing.pool.ThreadPool(1) as thread_pool,
    ):
        assert [workers.submit(abs, -1).result() for workers in (threads, processes)] == [1, 1]
        assert [workers.apply(abs, (-1,)) for workers in (pool, thread_pool)] == [1, 1]
        wait_for_threads([], seconds=60)
        assert time.monotonic() - begin < 50
        thread_pool.apply_async(lambda: (time.sleep(0.3), done.append(1)))
        threads.submit(lambda: (time.sleep(0.3), done.append(1)))
        time.sleep(0.1)
        wait_for_threads([], seconds=60)
        assert done == [1, 1]


def test_a_child_that_outlives_its_claim_is_told():
    reading, writing = os.pipe()
    with recording.collecting() as records:
        process = os.fork()
        if process == 0:
            os.close(writing)
            os.read(reading, 1)  # Until the claim has ended.
            try:
                refute()
            except Exception as error:
                os._exit(0 if "was started by a claim that has ended" in str(error) else 1)
            os._exit(2)
    os.close(writing)
    assert os.waitpid(process, 0)[1] == 0
    assert records == []
