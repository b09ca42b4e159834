"""``--interp-page``: writes the page of a run when it has ended, however it ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_interp.plugin.ledger_writer import LastPlugin, LedgerWriter
from pytest_interp.plugin.session import session_of

if TYPE_CHECKING:
    from pytest_interp.compare.drift import Drift


class PageWriter(LastPlugin):
    """A plugin that writes the page of a run. It is registered before the baseline, and so ends after it.

    Attributes:
        path: of the page.
        writer: has the outcomes of the run.
    """

    def __init__(self, path: Path, writer: LedgerWriter) -> None:
        """Checks the path.

        Raises:
            UsageError: a page cannot be written there.
        """
        from pytest_interp.report.page.file import check_path

        check_path(path)
        self.path, self.writer = path, writer

    def finish(self, session: pytest.Session) -> None:
        """Writes the page; the run fails where it cannot be written."""
        config = session.config
        if config.option.collectonly or not (self.writer.claims or self.writer.collected):
            return
        from pytest_interp.compare.drift import drift
        from pytest_interp.ledger.redaction import without_prompts
        from pytest_interp.report.page.file import save
        from pytest_interp.report.page.page import html_of

        ledger, drifts = self.writer.ledger(config), self._drifts(config)
        if session_of(config).options.no_prompts:
            ledger = without_prompts(ledger)
            pairs = [(other.comparison.before, other.comparison.after) for other in drifts]
            drifts = [drift(*map(without_prompts, pair)) for pair in pairs]
        try:
            written = save(self.path, html_of(ledger, drifts=drifts))
        except OSError as error:
            self.writer.messages.append(f"page not written to {self.path}: {error.strerror}")
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        self.writer.messages.append(f"page: {written}")

    def _drifts(self, config: pytest.Config) -> list[Drift]:
        """Returns the drift of each checkpoint against the baseline; none without ``--interp-baseline``."""
        from pytest_interp.plugin.baseline import Baseline

        plugin = config.pluginmanager.get_plugin("pytest_interp_baseline")
        return plugin.drifts if isinstance(plugin, Baseline) else []
