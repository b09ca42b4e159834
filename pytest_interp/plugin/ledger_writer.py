"""What came of each claim of a run, heard from its reports: for the file of records, however the run ends."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_interp.common.builtin_types import plain
from pytest_interp.ledger.outcome import PROPERTY, carried


class Ledger:
    """Hears the reports of a run, those of workers included, and writes the records at its end.

    Attributes:
        path: of the file of records; None where nobody asked for one, and in workers.
        said: what the run says of it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.said: list[str] = []
        self.own: list[str] = []
        self.collected: set[str] = set()
        self.claims: dict[str, dict[str, Any]] = {}
        self.open: set[str] = set()
        self.places: dict[str, tuple[str, int]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learns which claims are to run; a process that only hands out work collects none."""
        self.own = [item.nodeid for item in session.items if item.get_closest_marker("claim") is not None]
        self.collected.update(self.own)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Puts what a report says of a claim into builtin types, since it may travel; the first tells of all claims."""
        report = yield
        if not carried(report):
            return report
        report.user_properties = [
            (name, plain(value) if name == PROPERTY else value) for name, value in report.user_properties
        ]
        report.sections = [(plain(title), plain(text)) for title, text in report.sections]
        if report.failed and (text := report.longreprtext) != plain(text):
            report.longrepr = plain(text)
        if self.own:
            report.interp_claims, self.own = self.own, []  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what a report adds to what came of its claim."""
        self.collected.update(getattr(report, "interp_claims", ()))
        outcomes = carried(report)
        if not outcomes and report.nodeid not in self.collected:
            return
        self.places.setdefault(report.nodeid, (report.location[0], report.location[1] or 0))
        if report.when == "setup":
            self.claims.pop(report.nodeid, None)
            self.open.add(report.nodeid)
        elif report.when == "teardown":
            self.open.discard(report.nodeid)
        before = self.claims.get(report.nodeid)
        came = _came(report)
        # A teardown that goes wrong spoils what was well; what had failed stays as it was.
        spoilt = came["outcome"] == "error" and before is not None and before["outcome"] != "failed"
        if before is None or spoilt or report.when == "call":
            outcome = outcomes[-1] if outcomes else {"claim": {"id": report.nodeid}, "records": []}
            self.claims[report.nodeid] = {**outcome, **came}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Writes the records, also of a run that was stopped.

        A run that could not write is no success, nor is one whose prompts are others by the same choices.
        """
        from pytest_interp.snapshots.snapshot_file import say_unwritten

        lost = [*say_unwritten(), *self._write(session)]
        self.said += lost
        prompts = [other for claim in self.claims.values() for other in claim.get("prompts", ())]
        if (lost or not all(other["chosen"] for other in prompts)) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, session: pytest.Session) -> list[str]:
        """Writes the records; returns what went wrong."""
        if self.path is None or session.config.option.collectonly or not (self.claims or self.collected):
            return []
        from pytest_interp.ledger.json_file import STREAMS, save, text_of

        total, ended = max(len(self.collected), len(self.claims)), len(self.claims.keys() - self.open)
        # Of one that is still open only that its worker crashed is news.
        told = [
            claim
            for name, claim in sorted(self.claims.items(), key=lambda pair: (self.places[pair[0]], pair[0]))
            if name not in self.open or claim["outcome"] == "error"
        ]
        text = text_of(told, ended=ended, collected=total)
        if self.path in STREAMS:
            self.said.append(f"records of {ended} of {total} claims\n{text}")
            return []
        try:
            written = save(self.path, text, complete=ended >= total)
        except OSError as error:
            return [f"records not written to {self.path}: {error.strerror}"]
        self.said.append(f"records of {ended} of {total} claims: {written}")
        if written != self.path.resolve():
            self.said.append(f"{self.path} has the records of a whole run, and is left as it is")
        return []


def _came(report: pytest.TestReport) -> dict[str, Any]:
    """What a report says came of a claim, in pytest's words and in those of the closing table, and why."""
    from pytest_interp.report.terminal import outcome_of

    if hasattr(report, "wasxfail"):
        outcome, reason = ("xfailed" if report.skipped else "xpassed"), report.wasxfail
    elif report.skipped:
        outcome, reason = "skipped", report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        outcome = "failed" if report.when == "call" else "error"
        reason = crash.message if crash is not None else str(report.longrepr)
    else:
        outcome, reason = "passed", ""
    row = next(iter(outcome_of(report)), None)
    return {"outcome": outcome, "finding": row.outcome if row else None, "when": report.when, "reason": reason}
