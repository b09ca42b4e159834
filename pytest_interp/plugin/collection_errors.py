"""Bad input that is found while claims are collected: one line and exit status 4, not the frames of each file."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_interp.plugin.session import session_of


def refuse(config: pytest.Config, error: Exception) -> pytest.UsageError:
    """The error to raise within a collector, remembered so that it ends the run and not only the collector."""
    session_of(config).refusal = str(error)
    return pytest.UsageError(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Marks the report of a collector in which input was refused; reports travel from workers, exceptions do not."""
    report = yield
    session = session_of(collector.config)
    if session.refusal:
        report.interp_refused = session.refusal  # type: ignore[attr-defined]
        session.refusal = ""
    return report


class Refusals:
    """Ends the run; registered where a person looks on, not in workers."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Ends the run at the first report that is marked, before anybody has shown it."""
        if message := getattr(report, "interp_refused", ""):
            raise pytest.UsageError(message)
