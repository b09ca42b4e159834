"""Claims that cannot run here are deselected, so that progress counts those that do; the closing table lists them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_interp.common.compat import syrupy_session
from pytest_interp.plugin.session import Plan, session_of


def target_name(item: pytest.Item) -> str:
    """The name of the checkpoint that a collected claim is about; empty for other tests."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    spec = getattr(params.get("checkpoint"), "spec", None)
    return "" if spec is None else str(spec.name)


def plan_of(config: pytest.Config) -> Plan:
    """The plan of the run; without claims before collection has ended, or where there are none."""
    return session_of(config).plan or Plan({})


def obstacle(item: pytest.Item) -> str:
    """Why a claim cannot run here, as its skip marker says it; empty for one that can, and for other tests."""
    if item.get_closest_marker("claim") is None:
        return ""
    from pytest_interp.ledger.outcome import NOT_CHECKED, NOT_QUICK, NOT_SELECTED

    reasons = (str(mark.kwargs.get("reason", "")) for mark in item.iter_markers("skip"))
    return next((reason for reason in reasons if reason.startswith((NOT_CHECKED, NOT_SELECTED, NOT_QUICK))), "")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, object, object]:
    """Deselects, after ``-k``, ``--lf`` and all others have had their say."""
    result = yield
    gone = [] if _shows_skips(config) else [item for item in items if obstacle(item) and not _named(item)]
    if len(gone) == len(items):
        gone = []  # a run without any test would be an error; skipped, each says why
    if gone:
        absent = set(gone)
        items[:] = [item for item in items if item not in absent]
        config.hook.pytest_deselected(items=gone)
    session = session_of(config)
    session.deselected, session.plan = gone, _planned(items, gone)
    _publish(config)
    return result


def _planned(items: Iterable[pytest.Item], gone: Sequence[pytest.Item]) -> Plan:
    from pytest_interp.ledger.outcome import NOT_CHECKED

    claims = {
        item.nodeid: target_name(item)
        for item in items
        if target_name(item) and item.get_closest_marker("skip") is None
    }
    reasons = [(target_name(item) or "no checkpoint", obstacle(item)) for item in gone]
    unchecked = [[name, why.split(": ", 2)[-1]] for name, why in reasons if why.startswith(NOT_CHECKED)]
    counts = Counter("not checked" if why.startswith(NOT_CHECKED) else why for _, why in reasons)
    return Plan(claims, unchecked, dict(counts))


def _shows_skips(config: pytest.Config) -> bool:
    """Whether the user asked to see what is skipped (``-rs``, ``-ra``, ``-rA``), or which claims there are at all."""
    return config.option.collectonly or any(char in "sSaA" for char in getattr(config.option, "reportchars", ""))


def _named(item: pytest.Item) -> bool:
    """Whether a claim, its function or its class is named on the command line."""
    name = item.nodeid.partition("::")[2]
    for argument in item.config.args:
        path, _, asked = argument.partition("::")
        if asked and (name == asked or name.startswith((f"{asked}[", f"{asked}::"))):
            place = item.config.invocation_params.dir / path
            if not place.exists() or place.resolve() == item.path.resolve():  # with --pyargs it is no path
                return True
    return False


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tells syrupy that the snapshots of claims that do not run are not unused."""
    syrupy = syrupy_session(session.config)
    gone = session_of(session.config).deselected
    if syrupy is None or gone is None:
        return
    syrupy.select_items(gone)
    for item in session.items if session.config.option.collectonly else gone:
        syrupy.ran_item(item.nodeid, "skipped")
    claims = [item for item in (*gone, *session.items) if item.get_closest_marker("claim") is not None]
    if claims and (session.config.option.collectonly or not plan_of(session.config).claims):
        _introduce(syrupy, claims[0])


def _introduce(syrupy: Any, item: pytest.Item) -> None:
    """Lets syrupy know the format of claims' snapshots where no claim compares: their files are strange to it else."""
    from syrupy.assertion import SnapshotAssertion
    from syrupy.location import PyTestLocation

    from pytest_interp.snapshots.extension import MeasurementSnapshotExtension

    SnapshotAssertion(
        session=syrupy,
        extension_class=MeasurementSnapshotExtension,
        test_location=PyTestLocation(item),
        update_snapshots=False,
    )


def _publish(config: pytest.Config) -> None:
    """Hands a pytest-xdist worker's plan to the controller: now by a file, at the end with the worker's output."""
    worker: Any = getattr(config, "workerinput", None)
    if worker is None:
        return
    from pytest_interp.common.files import write_whole

    plan = asdict(plan_of(config))
    config.workeroutput["interp_plan"] = plan  # type: ignore[attr-defined]
    if worker["workerid"] == "gw0":  # all collect the same
        write_whole(_meeting_place(worker["testrunuid"]), json.dumps(plan))


def _meeting_place(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"pytest-interp-{run}.json"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Takes over the plan of the first worker; one on another machine says it at the end."""
    path = _meeting_place(node.workerinput["testrunuid"])
    session = session_of(node.config)
    if session.plan is None and path.is_file():
        session.plan = Plan(**json.loads(path.read_text(encoding="utf-8")))
        path.unlink()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over the plan of a worker on another machine."""
    plan = getattr(node, "workeroutput", {}).get("interp_plan")
    session = session_of(node.config)
    if plan and session.plan is None:
        session.plan = Plan(**plan)
