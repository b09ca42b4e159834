"""``--interp-against``: compares a run with the ledger of an earlier one, as ``pytest-interp compare`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.errors import UsageError
from pytest_interp.plugin.ledger_writer import LastPlugin, LedgerWriter

if TYPE_CHECKING:
    from pytest_interp.compare.comparison import Comparison
    from pytest_interp.ledger.ledger import Ledger

NAME = "this run"


class Against(LastPlugin):
    """A plugin that compares the run with a ledger, shows what moved, and fails the run if something did.

    Attributes:
        path: of the ledger.
        before: the ledger.
        writer: has the outcomes of this run.
        comparison: of both; None before the run has ended, and where no claim is in both.
        complaint: why there is none; empty where there is one.
    """

    def __init__(self, path: Path, writer: LedgerWriter) -> None:
        """Reads the ledger.

        Raises:
            UsageError: it is no ledger.
        """
        from pytest_interp.ledger.ledger import read

        self.path, self.writer = path, writer
        self.before: Ledger = read(path)
        self.comparison: Comparison | None = None
        self.complaint = ""

    def finish(self, session: pytest.Session) -> None:
        """Compares; the run fails where a verdict turned, a number moved, or no claim could be compared."""
        if session.config.option.collectonly or not self.writer.claims:
            return
        from pytest_interp.compare.comparison import compare

        try:
            self.comparison = compare(self.before, self.writer.ledger(session.config))
        except UsageError as error:
            self.complaint = str(error)
        failed = self.comparison is None or self.comparison.fails("number")
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Shows what moved."""
        from pytest_interp.report.comparison import terminal

        if self.complaint:
            terminalreporter.write_line(f"interp: not compared with {self.path.name}: {self.complaint}", red=True)
        if self.comparison is not None:
            terminalreporter.section(f"against {self.path.name}")
            for line in terminal(self.comparison, (self.path.name, NAME)):
                terminalreporter.write_line(line.text, **line.markup)
