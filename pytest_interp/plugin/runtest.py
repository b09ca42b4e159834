"""Hooks around each claim: they collect its records, guard the model, and compare the snapshot."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.ledger.outcome import NOT_APPLICABLE, ClaimOutcome
from pytest_interp.plugin.claim_run import COMPARED, OUTCOME, ClaimRun
from pytest_interp.plugin.deselection import target_name
from pytest_interp.plugin.model_guard import check_untouched, checkpoints_of, restore, undone_later

if TYPE_CHECKING:
    from pytest_interp.plugin.live import BarStream


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Creates the outcome of a claim before its fixtures run, so that one that fails in a fixture is counted too."""
    if item.get_closest_marker("claim") is None:
        return (yield)
    from pytest_interp.errors import NotApplicable, Unavailable, UsageError
    from pytest_interp.plugin.claim_marker import recorded

    item.stash[OUTCOME] = ClaimOutcome(recorded(item), target_name(item) or "no checkpoint")
    try:
        check_untouched(item)
        return (yield)
    except NotApplicable as error:
        pytest.skip(f"{NOT_APPLICABLE}{error}")
    except (UsageError, Unavailable) as error:
        # The message says what is wrong and what to do; a traceback through a fixture would hide it.
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Runs a claim's body, and the checks after it in the order that `claim_run` describes."""
    if OUTCOME not in pyfuncitem.stash:
        return (yield)
    __tracebackhide__ = True
    run = ClaimRun(pyfuncitem)
    try:
        with run.recording():
            result = yield
    except BaseException as error:
        run.raised(error)
        raise
    complaint = run.left_behind() or run.unfounded()
    if complaint or run.expected:
        run.keep_snapshot()
    else:
        complaint = run.moved() or run.toothless()
    if complaint:
        _raise(run.failure(complaint))
    return result


def _raise(error: BaseException) -> None:
    """Raises an error from a frame that is not hidden: without one pytest says that all of them are."""
    raise error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Restores the model after a claim's own fixtures, and fails the claim if they left it changed."""
    try:
        result = yield
    except BaseException as error:
        if changes := _changes_after(item):
            error.add_note(f"after its fixtures, {changes}")
        raise
    if changes := _changes_after(item):
        pytest.fail(f"after its fixtures, {changes}", pytrace=False)
    return result


def _changes_after(item: pytest.Item) -> str:
    """Restores the models of a claim whose fixtures undo changes in teardown; returns what was still changed."""
    if OUTCOME not in item.stash or not isinstance(item, pytest.Function) or not undone_later(item):
        return ""
    return restore(*checkpoints_of(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Shows a progress bar for long sweeps if a person looks on: on a terminal, not under -q, xdist or CI."""
    from pytest_interp.common.progress import drawn_on

    config = session.config
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    workers = hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None)
    watched = reporter is not None and reporter.isatty and reporter.verbosity >= 0

    def stream_of_bar() -> BarStream | None:
        from pytest_interp.plugin.live import BarStream

        return BarStream(reporter) if watched and not workers and not os.environ.get("CI") else None

    with drawn_on(stream_of_bar):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keeps all snapshots if a claim did not come to its end, since syrupy would delete its entry as unused."""
    claims = [item for item in getattr(session, "items", []) if item.get_closest_marker("claim") is not None]
    unfinished = [item for item in claims if COMPARED not in item.stash and item.get_closest_marker("skip") is None]
    if unfinished and hasattr(session.config.option, "no_cleanup"):
        session.config.option.no_cleanup = True
