"""Collects the outcome of each claim from the reports of a run, and writes the ledger, however the run ends."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_interp.common.builtin_types import plain
from pytest_interp.ledger.claim import RecordedClaim
from pytest_interp.ledger.outcome import ClaimOutcome, carried, carry
from pytest_interp.plugin.claim_run import OUTCOME
from pytest_interp.plugin.deselection import plan_of
from pytest_interp.text import counted

if TYPE_CHECKING:
    from pytest_interp.ledger.ledger import Ledger, RecordedCheckpoint
    from pytest_interp.plugin.ledger_checkpoint import Collector


_DECIDED = pytest.StashKey[ClaimOutcome]()
"""The outcome of a claim as of the phase that decided it."""


class LastPlugin:
    """A plugin that ends its work when other plugins have finished the run, also where one of them fails."""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Calls :meth:`finish`."""
        try:
            return (yield)
        finally:
            self.finish(session)

    def finish(self, session: pytest.Session) -> None:
        """Ends the work of the plugin.

        Args:
            session: that has finished.
        """
        raise NotImplementedError


class LedgerWriter(LastPlugin):
    """A plugin that collects the outcomes of claims, those of pytest-xdist's workers included, and writes the ledger.

    Attributes:
        path: of the ledger; None without ``--interp-ledger``, and in workers.
        collector: of circuits and attention patterns; None without ``--interp-ledger``.
        checkpoints: their circuits and attention patterns, by name.
        messages: lines about the ledger and the snapshots, for the end of the run.
        unsent_claims: node ids of the claims that this process collected; empty once a report has carried them.
        collected: node ids of all claims that were to run.
        claims: the outcome of each claim that has one, by node id.
        running: node ids of the claims that began and have not ended.
        places: file and line number of each claim, by node id; they give the order of the ledger.
        started: when the run began.
    """

    def __init__(self, path: Path | None, collector: Collector | None = None) -> None:
        self.path = path
        self.collector = collector
        self.messages: list[str] = []
        self.unsent_claims: list[str] = []
        self.collected: set[str] = set()
        self.claims: dict[str, ClaimOutcome] = {}
        self.checkpoints: dict[str, RecordedCheckpoint] = {}
        self.running: set[str] = set()
        self.places: dict[str, tuple[str, int]] = {}
        self.started = datetime.now(UTC)
        self._clock = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes which claims are to run; the controller of pytest-xdist collects none and learns them from reports."""
        self.unsent_claims = [item.nodeid for item in session.items if item.get_closest_marker("claim") is not None]
        self.collected.update(self.unsent_claims)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Adds the outcome of a claim to its report; the first report also carries the names of all claims.

        All values have builtin types, since pytest-xdist serialises reports.
        """
        report = yield
        outcome = item.stash.get(OUTCOME, None)
        if outcome is None:
            return report
        reported = outcome.reported(report)
        if reported.finding is not None:
            item.stash[_DECIDED] = reported
        carry(report, reported, item.stash.get(_DECIDED, reported))
        if self.collector is not None and report.when == "call":
            checkpoint = self.collector.after(item, reported)
            report.interp_checkpoint = None if checkpoint is None else checkpoint.to_json()  # type: ignore[attr-defined]
        report.sections = [(plain(title), plain(text)) for title, text in report.sections]
        if report.failed and (text := report.longreprtext) != plain(text):
            report.longrepr = plain(text)
        if self.unsent_claims:
            report.interp_claims, self.unsent_claims = self.unsent_claims, []  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Updates the outcome of a claim from the report of one of its phases."""
        self.collected.update(getattr(report, "interp_claims", ()))
        if table := getattr(report, "interp_checkpoint", None):
            from pytest_interp.ledger.ledger import RecordedCheckpoint

            checkpoint = RecordedCheckpoint.from_json(table)
            earlier = self.checkpoints.get(checkpoint.name, checkpoint)
            self.checkpoints[checkpoint.name] = earlier.joined(checkpoint)
        outcome = carried(report)
        if outcome is None and report.nodeid not in self.collected:
            return
        self.places.setdefault(report.nodeid, (report.location[0], report.location[1] or 0))
        if report.when == "setup":
            self.claims.pop(report.nodeid, None)
            self.running.add(report.nodeid)
        elif report.when == "teardown":
            self.running.discard(report.nodeid)
        before = self.claims.get(report.nodeid)
        if outcome is None:  # the worker crashed
            outcome = ClaimOutcome(RecordedClaim(report.nodeid)).reported(report)
        # An error in teardown replaces the outcome of a claim that had not failed; a failure stays.
        replaced = outcome.outcome == "error" and before is not None and before.outcome != "failed"
        if before is None or replaced or report.when == "call":
            self.claims[report.nodeid] = outcome

    def finish(self, session: pytest.Session) -> None:
        """Writes the ledger, also of a run that was stopped.

        The run fails where a file could not be written, where one of several checkpoints that the user named could not
        be loaded, and where a data set has changed though the user chose the same seed, BOS choice and number of
        prompts.
        """
        from pytest_interp.snapshots.snapshot_file import say_unwritten

        write_errors = [*say_unwritten(), *self._write(session)]
        self.messages += write_errors
        self.messages += (missing := self._missing(session.config))
        prompts = [other for claim in self.claims.values() for other in claim.prompts or ()]
        failed = write_errors or missing or not all(other.chosen for other in prompts)
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _missing(self, config: pytest.Config) -> list[str]:
        """Returns a line for each checkpoint that could not be loaded, where the user named several."""
        from pytest_interp.plugin.session import session_of

        unchecked = {claim.checkpoint: claim for claim in self.claims.values() if claim.finding == "not checked"}
        if hasattr(config, "workerinput") or not unchecked:
            return []
        requested = [spec.name for spec in session_of(config).selection.requested]
        names = [name for name in requested if name in unchecked]
        return [f"{name} was not judged: {unchecked[name].explanation}" for name in names if len(requested) > 1]

    def ledger(self, config: pytest.Config) -> Ledger:
        """Returns the ledger of what has run so far.

        A claim that has not ended is in it only where its worker crashed.

        Args:
            config: of the run.
        """
        from pytest_interp.ledger.json_file import versions
        from pytest_interp.ledger.ledger import Ledger, Run
        from pytest_interp.plugin.session import session_of

        options = session_of(config).options
        written_claims = [
            claim
            for name, claim in sorted(self.claims.items(), key=lambda pair: (self.places[pair[0]], pair[0]))
            if name not in self.running or claim.outcome == "error"
        ]
        run = Run(
            started=self.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(time.monotonic() - self._clock, 3),
            ended=len(self.claims.keys() - self.running),
            collected=max(len(self.collected), len(self.claims)),
            versions=versions(),
            flags=options.flags(),
            seed=options.seed,
            not_run=plan_of(config).not_run,
        )
        return Ledger(run, tuple(written_claims), tuple(self.checkpoints[name] for name in sorted(self.checkpoints)))

    def _write(self, session: pytest.Session) -> list[str]:
        """Writes the ledger; returns a line if it could not be written."""
        if self.path is None or session.config.option.collectonly or not (self.claims or self.collected):
            return []
        from pytest_interp.ledger.json_file import STREAMS, save
        from pytest_interp.ledger.redaction import without_prompts
        from pytest_interp.plugin.session import session_of

        ledger = self.ledger(session.config)
        if session_of(session.config).options.no_prompts:
            ledger = without_prompts(ledger)
        ended = "" if ledger.run.is_complete else f"{ledger.run.ended} of "
        summary = f"records of {ended}{counted(ledger.run.collected, 'claim')}"
        if self.path in STREAMS:
            self.messages.append(f"{summary}\n{ledger.to_text()}")
            return []
        try:
            written = save(self.path, ledger)
        except OSError as error:
            return [f"records not written to {self.path}: {error.strerror}"]
        contents = "" if ledger.run.has_prompts else ", without prompts"
        self.messages.append(f"{summary}{contents}: {written}")
        if written != self.path.resolve():
            self.messages.append(f"{self.path} has the records of a whole run, and is left as it is")
        return []
