"""Deselects claims that cannot run here, so that progress counts those that run; the closing table lists the others.

1. After all other plugins have deselected, claims with an `obstacle` are removed from the run. They stay, and are
   skipped, where the user asked to see skips, where one is named on the command line, or where nothing else would run.
2. The result is a `Plan`: the claims that run, and the number of the others by reason.
3. Under pytest-xdist each worker collects, and the controller shows. The workers hand it the plan: through a file in
   the temporary folder as soon as they have collected, and with their output at the end. The file serves workers on the
   controller's machine; the output serves the others.
4. syrupy hears which claims were removed, so that it does not take their snapshots for unused.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_interp.common.compat import syrupy_session
from pytest_interp.plugin.session import Plan, session_of


def target_name(item: pytest.Item) -> str:
    """Returns the name of the checkpoint that a collected claim is about.

    Args:
        item: any collected test.

    Returns:
        The name; empty for a test without the parameter ``checkpoint``, and for a claim without any checkpoint.
    """
    params = getattr(getattr(item, "callspec", None), "params", {})
    spec = getattr(params.get("checkpoint"), "spec", None)
    return "" if spec is None else str(spec.name)


def plan_of(config: pytest.Config) -> Plan:
    """Returns the plan of a run.

    Args:
        config: of the run.

    Returns:
        The plan; an empty one before collection has ended.
    """
    return session_of(config).plan or Plan({})


def obstacle(item: pytest.Item) -> str:
    """Returns the reason why a claim does not run here.

    Args:
        item: any collected test.

    Returns:
        The reason of the skip mark that selection gave it: not checked, not selected or not quick. Empty for a claim
        that runs, and for other tests.
    """
    if item.get_closest_marker("claim") is None:
        return ""
    from pytest_interp.ledger.outcome import NOT_CHECKED, NOT_QUICK, NOT_SELECTED

    reasons = (str(mark.kwargs.get("reason", "")) for mark in item.iter_markers("skip"))
    return next((reason for reason in reasons if reason.startswith((NOT_CHECKED, NOT_SELECTED, NOT_QUICK))), "")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, object, object]:
    """Deselects the claims that cannot run, after ``-k``, ``--lf`` and all other plugins have deselected."""
    result = yield
    deselected = [] if _shows_skips(config) else [item for item in items if obstacle(item) and not _named(item)]
    if len(deselected) == len(items):
        deselected = []  # a run without any test is an error; so they are skipped, each with its reason
    if deselected:
        absent = set(deselected)
        items[:] = [item for item in items if item not in absent]
        config.hook.pytest_deselected(items=deselected)
    session = session_of(config)
    session.deselected, session.plan = deselected, _planned(items, deselected)
    _publish(config)
    return result


def _planned(items: Iterable[pytest.Item], deselected: Sequence[pytest.Item]) -> Plan:
    """Returns the plan of a run with these items, from which those others were deselected."""
    claims = {
        item.nodeid: target_name(item)
        for item in items
        if target_name(item) and item.get_closest_marker("skip") is None
    }
    return Plan(claims, [[target_name(item) or "no checkpoint", obstacle(item)] for item in deselected])


def _shows_skips(config: pytest.Config) -> bool:
    """Returns whether the user asked to see skips (``-rs``, ``-ra``, ``-rA``) or all claims (``--collect-only``)."""
    return config.option.collectonly or any(char in "sSaA" for char in getattr(config.option, "reportchars", ""))


def _named(item: pytest.Item) -> bool:
    """Returns whether a claim, its function or its class is named on the command line."""
    name = item.nodeid.partition("::")[2]
    for argument in item.config.args:
        path, _, requested = argument.partition("::")
        if requested and (name == requested or name.startswith((f"{requested}[", f"{requested}::"))):
            file = item.config.invocation_params.dir / path
            if not file.exists() or file.resolve() == item.path.resolve():  # with --pyargs it is no path
                return True
    return False


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tells syrupy about the claims that do not run, so that it does not report their snapshots as unused."""
    syrupy = syrupy_session(session.config)
    deselected = session_of(session.config).deselected
    if syrupy is None or deselected is None:
        return
    syrupy.select_items(deselected)
    for item in session.items if session.config.option.collectonly else deselected:
        syrupy.ran_item(item.nodeid, "skipped")
    claims = [item for item in (*deselected, *session.items) if item.get_closest_marker("claim") is not None]
    if claims and (session.config.option.collectonly or not plan_of(session.config).claims):
        _register_extension(syrupy, claims[0])


def _register_extension(syrupy: Any, item: pytest.Item) -> None:
    """Makes the format of snapshots known to syrupy where no claim compares; else it cannot read their files.

    syrupy learns of an extension when an assertion is made with it.
    """
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
    """Hands the plan of a pytest-xdist worker to the controller: by a file now, with the worker's output at the end."""
    worker: Any = getattr(config, "workerinput", None)
    if worker is None:
        return
    from pytest_interp.common.files import write_whole

    plan = asdict(plan_of(config))
    config.workeroutput["interp_plan"] = plan  # type: ignore[attr-defined]
    if worker["workerid"] == "gw0":  # all workers collect the same, so one file is enough
        write_whole(_plan_file(worker["testrunuid"]), json.dumps(plan))


def _plan_file(run: str) -> Path:
    """Returns the path of the file in which the first worker of a run leaves the plan."""
    return Path(tempfile.gettempdir()) / f"pytest-interp-{run}.json"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Takes over the plan that the first worker left in a file; from another machine it comes at the end."""
    path = _plan_file(node.workerinput["testrunuid"])
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
