"""Reports bad input during collection as one line with exit status 4, instead of a traceback for each file."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_interp.plugin.session import session_of


def refuse(config: pytest.Config, error: Exception) -> pytest.UsageError:
    """Returns the error to raise within a collector, and remembers it, so that it ends the run and not only the file.

    Args:
        config: of the run.
        error: its message says what is wrong with the input.

    Returns:
        A usage error with the same message.
    """
    session_of(config).refusal = str(error)
    return pytest.UsageError(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Marks the report of a file whose input was refused, since workers of pytest-xdist send reports only."""
    report = yield
    session = session_of(collector.config)
    if session.refusal:
        report.interp_refused = session.refusal  # type: ignore[attr-defined]
        session.refusal = ""
    return report


class Refusals:
    """A plugin that ends the run at the first refusal; workers of pytest-xdist do not have it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Ends the run at the first marked report, before another plugin shows its traceback."""
        if message := getattr(report, "interp_refused", ""):
            raise pytest.UsageError(message)
