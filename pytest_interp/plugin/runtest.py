"""What runs around each claim: its records are collected, the model is guarded, the snapshot compared."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.ledger.outcome import PROPERTY
from pytest_interp.plugin.deselection import target_name
from pytest_interp.plugin.model_guard import assign, check_untouched, checkpoints_of, restore, undone_later

if TYPE_CHECKING:
    from pytest_interp.rerun.trial import Body
    from pytest_interp.snapshots.compare import Comparison

_outcome = pytest.StashKey[dict[str, Any]]()
_compared = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Opens a claim's account, so that one that fails in a fixture is counted too."""
    if item.get_closest_marker("claim") is None:
        return (yield)
    from pytest_interp.errors import NotApplicable, Unavailable, UsageError
    from pytest_interp.ledger.outcome import NOT_APPLICABLE
    from pytest_interp.plugin.selection import cite_of, statement_of

    outcome: dict[str, Any] = {"checkpoint": target_name(item) or "no checkpoint", "records": [], "snapshot": None}
    outcome["claim"] = {"name": item.name, "id": item.nodeid, "cite": cite_of(item), "statement": statement_of(item)}
    item.stash[_outcome] = outcome
    item.user_properties.append((PROPERTY, outcome))
    try:
        check_untouched(item)
        return (yield)
    except NotApplicable as error:
        pytest.skip(f"{NOT_APPLICABLE}{error}")
    except (UsageError, Unavailable) as error:
        # It says what is wrong and what to do; the frames of a fixture say nothing.
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Around a claim's body: collects its records, guards the model, compares with the snapshot."""
    if _outcome not in pyfuncitem.stash:
        return (yield)
    __tracebackhide__ = True
    from pytest_interp.errors import ClaimFailed, NotApplicable, UsageError
    from pytest_interp.ledger.outcome import NOT_APPLICABLE
    from pytest_interp.verdict import recording

    outcome = pyfuncitem.stash[_outcome]
    checkpoint: Any = pyfuncitem.funcargs.get("checkpoint")
    assign(pyfuncitem, checkpoint)
    watched = [] if undone_later(pyfuncitem) else checkpoints_of(pyfuncitem)
    try:
        comparison = _comparison(pyfuncitem)
    except UsageError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    records: list[dict[str, Any]] = []
    try:
        with recording.collecting() as records:
            result = yield
    except BaseException as error:
        if comparison:
            comparison.keep()
            pyfuncitem.stash[_compared] = True
        exact = _in_float32(pyfuncitem, checkpoint, outcome, records) if isinstance(error, ClaimFailed) else ""
        for note in filter(None, (exact, restore(*watched))):
            error.add_note(note)
        _refuse_excuse(pyfuncitem, error, records)
        if isinstance(error, NotApplicable):
            pytest.skip(f"{NOT_APPLICABLE}{error}")
        raise
    finally:
        drawn = getattr(pyfuncitem.obj, "is_hypothesis_test", False)
        outcome["records"] = recording.worst_of(records) if drawn else records
        _describe(pyfuncitem, outcome["records"])
    complaint = restore(*watched) or _unfounded(pyfuncitem, checkpoint, outcome)
    # A claim that is expected to fail has no snapshot: that it passes is the news.
    expected = checkpoint is None or pyfuncitem.get_closest_marker("xfail") is not None
    if comparison and (complaint or expected):
        comparison.keep()
    elif comparison:
        known = checkpoint.circuit is not None and checkpoint.circuit.fingerprint == checkpoint.fingerprint
        try:
            outcome["snapshot"] = comparison.compare(outcome["records"], checkpoint.fingerprint, known=known)
            outcome["prompts"] = [vars(other) for other in comparison.others]
        except ClaimFailed as error:
            complaint = str(error)
            outcome["snapshot"] = "missing" if comparison.stored is None else "differs"
    pyfuncitem.stash[_compared] = True
    if not complaint and not expected:
        complaint = _try_again(pyfuncitem, checkpoint, outcome, watched)
    if complaint:
        raise _failure(pyfuncitem, complaint, records)
    return result


def _in_float32(item: pytest.Function, checkpoint: Any, outcome: dict[str, Any], records: list[dict[str, Any]]) -> str:
    """Measures a claim that failed in half precision again in float32; says what came of it, empty where it was not."""
    from pytest_interp.rerun.precision import HALF, again_in_float32
    from pytest_interp.verdict.recording import worst_of

    expected = item.get_closest_marker("xfail") is not None
    if checkpoint is None or checkpoint.dtype not in HALF or expected or not _failing(records):
        return ""
    from dataclasses import asdict

    drawn = getattr(item.obj, "is_hypothesis_test", False)
    again = again_in_float32(_body(item), worst_of(records) if drawn else records, checkpoint)
    outcome["float32"] = asdict(again)
    return again.said


def _body(item: pytest.Function) -> Body:
    from pytest_interp.rerun.trial import Body

    return Body(item.obj, {name: item.funcargs[name] for name in item._fixtureinfo.argnames})


def _try_again(item: pytest.Function, checkpoint: Any, outcome: dict[str, Any], watched: list[Any]) -> str:
    """Runs a supported claim again where that was asked for, on its mutants or for its noise; why it fails there."""
    from pytest_interp.plugin.fixtures import options_of

    options = options_of(item.config)
    if not (options.interp_falsify or options.interp_falsify_all or options.interp_noise):
        return ""
    from dataclasses import asdict

    from pytest_interp.rerun import falsify, noise

    records, body = outcome["records"], _body(item)
    if options.interp_noise:
        outcome["noise"] = [asdict(moved) for moved in noise.moves(body, records, checkpoint)]
    if options.interp_falsify or options.interp_falsify_all:
        mutants = falsify.falsify(
            body, records, checkpoint, everything=options.interp_falsify_all, seed=options.interp_seed
        )
        outcome["mutants"] = [asdict(mutant) for mutant in mutants]
        outcome["died"] = falsify.died(mutants)
        outcome["survived"] = falsify.verdict_of(mutants, names_heads=bool(falsify.heads_of(records)))
    survived = outcome.get("survived", "")
    return restore(*watched) or (f"{item.name}: {survived}" if survived else "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Guards the model against what a claim's own fixtures leave behind."""
    try:
        result = yield
    except BaseException as error:
        if left := _left_after(item):
            error.add_note(f"after its fixtures, {left}")
        raise
    if left := _left_after(item):
        pytest.fail(f"after its fixtures, {left}", pytrace=False)
    return result


def _left_after(item: pytest.Item) -> str:
    """What a claim left behind, where its fixtures may have undone it only now."""
    if _outcome not in item.stash or not isinstance(item, pytest.Function) or not undone_later(item):
        return ""
    return restore(*checkpoints_of(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Long sweeps draw a bar where a person looks on: on a terminal, not under -q, xdist or CI."""
    from pytest_interp.common.progress import drawn_on

    config = session.config
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    workers = hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None)
    watched = reporter is not None and reporter.isatty and reporter.verbosity >= 0
    with drawn_on(_Below(reporter) if watched and not workers and not os.environ.get("CI") else None):
        return (yield)


class _Below:
    """The line below what pytest has written; it writes the name of the file or claim again afterwards."""

    def __init__(self, reporter: Any) -> None:
        self.reporter = reporter
        self.capture: Any = reporter.config.pluginmanager.get_plugin("capturemanager")

    def write(self, text: str) -> None:
        with self.capture.global_and_fixture_disabled() if self.capture else nullcontext():
            self.reporter.ensure_newline()
            self.reporter.write(text, flush=True)

    def flush(self) -> None:
        """Each write has been flushed."""


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keeps every snapshot where a claim did not come to its end: syrupy would take its entry for unused."""
    claims = [item for item in getattr(session, "items", []) if item.get_closest_marker("claim") is not None]
    open_ended = [item for item in claims if _compared not in item.stash and item.get_closest_marker("skip") is None]
    if open_ended and hasattr(session.config.option, "no_cleanup"):
        session.config.option.no_cleanup = True


def _comparison(item: pytest.Function) -> Comparison | None:
    """The claim's snapshot; None with ``-p no:syrupy``."""
    if not hasattr(item.config.option, "update_snapshots"):
        return None
    from pytest_interp.snapshots.compare import Comparison

    return Comparison(item)


def _unfounded(item: pytest.Function, checkpoint: Any, outcome: dict[str, Any]) -> str:
    """Why a claim that passed is no support after all: it asserted nothing, or a failing verdict was swallowed."""
    records = outcome["records"]
    if not records:
        return "the claim asserted nothing; call one of the assert_ functions of pytest_interp"
    failing = _failing(records)
    exact = _in_float32(item, checkpoint, outcome, records)
    return f"the claim passed, but {failing}{f'; {exact}' if exact else ''}" if failing else ""


def _failing(records: list[dict[str, Any]]) -> str:
    """The first verdict that is no support, wherever it was reached; empty where there is none."""
    failing = next((record for record in records if record["outcome"] != "supported"), None)
    return "" if failing is None else f"its verdict on {failing['subject']} is {failing['outcome']}"


def _refuse_excuse(item: pytest.Function, error: BaseException, records: list[dict[str, Any]]) -> None:
    """Fails a claim that says it need not hold (a skip, an expected failure) after a verdict that it does not."""
    __tracebackhide__ = True
    from unittest import SkipTest

    from pytest_interp.errors import NotApplicable

    if isinstance(error, NotApplicable):
        ending = "was not applicable"
    elif isinstance(error, pytest.skip.Exception | SkipTest):
        ending = "was skipped"
    elif isinstance(error, pytest.xfail.Exception):
        ending = "called pytest.xfail"
    else:
        return
    if failing := _failing(records):
        raise _failure(item, f"the claim {ending} ({error}), but {failing}", records) from None


def _failure(item: pytest.Function, complaint: str, records: list[dict[str, Any]]) -> BaseException:
    """What fails a claim: a refuted one that is expected to fail fails as its xfail expects."""
    from pytest_interp.errors import ClaimFailed

    if _failing(records) and item.get_closest_marker("xfail") is not None:
        return ClaimFailed(complaint)
    return pytest.fail.Exception(complaint, pytrace=False)


def _describe(item: pytest.Function, records: list[dict[str, Any]]) -> None:
    """What was claimed, by whom, and with what it was measured: in each record, and in a section of the report."""
    from pytest_interp.plugin.fixtures import options_of
    from pytest_interp.plugin.selection import cite_of, claim_of, statement_of
    from pytest_interp.report.terminal import describe

    claim = claim_of(item)
    if claim is None:
        return
    statement = statement_of(item)
    for record in records:
        record["claim"] = {
            "id": item.nodeid,
            "cite": cite_of(item),
            "statement": statement,
            "source": claim.source,
            "role": claim.role,
            "class": claim.cls,
            "row": list(claim.row),
        }
        record["seed"] = options_of(item.config).interp_seed
    item.add_report_section("call", "claim", describe(statement, claim.source, records))
