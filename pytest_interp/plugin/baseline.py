"""``--interp-baseline``: says which findings of a baseline hold on the other checkpoints of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.errors import UsageError
from pytest_interp.plugin.ledger_writer import LastPlugin, LedgerWriter

if TYPE_CHECKING:
    from pytest_interp.compare.drift import Drift
    from pytest_interp.ledger.ledger import Ledger


class Baseline(LastPlugin):
    """A plugin that shows the drift of each checkpoint against the baseline when the run has ended.

    Attributes:
        text: the option: a ledger, or the name of a checkpoint of this run.
        ledger: of the baseline; None where the run judges it.
        writer: has the outcomes of this run.
        drifts: one for each checkpoint; empty before the run has ended.
        complaints: why there is none of a checkpoint.
    """

    def __init__(self, text: str, ledger: Ledger | None, writer: LedgerWriter) -> None:
        self.text, self.ledger, self.writer = text, ledger, writer
        self.drifts: list[Drift] = []
        self.complaints: list[str] = []

    def finish(self, session: pytest.Session) -> None:
        """Compares each checkpoint with the baseline; the run fails where none could be compared."""
        if session.config.option.collectonly or not self.writer.claims:
            return
        from pytest_interp.compare.drift import drift
        from pytest_interp.plugin.session import session_of

        selection, run = session_of(session.config).selection, self.writer.ledger(session.config)
        baseline = self.ledger or run.of(str(selection.baseline))
        judged = [spec.name for spec in selection.requested if spec.name in run.names]
        for other in judged[self.ledger is None :]:  # the run judges its baseline first
            try:
                self.drifts.append(drift(baseline, run.of(other)))
            except UsageError as error:
                self.complaints.append(f"{other} is not compared with {self.text}: {error}")
        if not self.drifts and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Shows what became of the findings."""
        from pytest_interp.report.drift import terminal

        for complaint in self.complaints:
            terminalreporter.write_line(f"interp: {complaint}", red=True)
        for drift in self.drifts:
            terminalreporter.section("drift")
            for line in terminal(drift):
                terminalreporter.write_line(line.text, **line.markup)
