"""What came of each claim of a run, heard from its reports: for the file of records, however the run ends."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_interp.common.builtin_types import plain
from pytest_interp.ledger.outcome import PROPERTY, ClaimId, ClaimOutcome, carried
from pytest_interp.plugin.claim_run import OUTCOME


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
        self.claims: dict[str, ClaimOutcome] = {}
        self.open: set[str] = set()
        self.places: dict[str, tuple[str, int]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learns which claims are to run; a process that only hands out work collects none."""
        self.own = [item.nodeid for item in session.items if item.get_closest_marker("claim") is not None]
        self.collected.update(self.own)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Lets a report carry its claim's outcome, in builtin types as it may travel; the first tells of all claims."""
        report = yield
        outcome = item.stash.get(OUTCOME, None)
        if outcome is None:
            return report
        report.user_properties.append((PROPERTY, plain(outcome.reported(report).to_json())))
        report.sections = [(plain(title), plain(text)) for title, text in report.sections]
        if report.failed and (text := report.longreprtext) != plain(text):
            report.longrepr = plain(text)
        if self.own:
            report.interp_claims, self.own = self.own, []  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what a report adds to what came of its claim."""
        self.collected.update(getattr(report, "interp_claims", ()))
        outcome = carried(report)
        if outcome is None and report.nodeid not in self.collected:
            return
        self.places.setdefault(report.nodeid, (report.location[0], report.location[1] or 0))
        if report.when == "setup":
            self.claims.pop(report.nodeid, None)
            self.open.add(report.nodeid)
        elif report.when == "teardown":
            self.open.discard(report.nodeid)
        before = self.claims.get(report.nodeid)
        if outcome is None:  # the worker crashed
            outcome = ClaimOutcome(ClaimId(report.nodeid)).reported(report)
        # A teardown that goes wrong spoils what was well; what had failed stays as it was.
        spoilt = outcome.outcome == "error" and before is not None and before.outcome != "failed"
        if before is None or spoilt or report.when == "call":
            self.claims[report.nodeid] = outcome

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Writes the records, also of a run that was stopped.

        A run that could not write is no success, nor is one whose prompts are others by the same choices.
        """
        from pytest_interp.snapshots.snapshot_file import say_unwritten

        lost = [*say_unwritten(), *self._write(session)]
        self.said += lost
        prompts = [other for claim in self.claims.values() for other in claim.prompts or ()]
        if (lost or not all(other.chosen for other in prompts)) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, session: pytest.Session) -> list[str]:
        """Writes the records; returns what went wrong."""
        if self.path is None or session.config.option.collectonly or not (self.claims or self.collected):
            return []
        from pytest_interp.ledger.json_file import STREAMS, save, text_of

        total, ended = max(len(self.collected), len(self.claims)), len(self.claims.keys() - self.open)
        # A claim that has not ended is written only where its worker crashed.
        written_claims = [
            claim
            for name, claim in sorted(self.claims.items(), key=lambda pair: (self.places[pair[0]], pair[0]))
            if name not in self.open or claim.outcome == "error"
        ]
        text = text_of(written_claims, ended=ended, collected=total)
        count = str(total) if ended >= total else f"{ended} of {total}"
        summary = f"records of {count} claim{'s' * (total != 1)}"
        if self.path in STREAMS:
            self.said.append(f"{summary}\n{text}")
            return []
        try:
            written = save(self.path, text, complete=ended >= total)
        except OSError as error:
            return [f"records not written to {self.path}: {error.strerror}"]
        self.said.append(f"{summary}: {written}")
        if written != self.path.resolve():
            self.said.append(f"{self.path} has the records of a whole run, and is left as it is")
        return []
