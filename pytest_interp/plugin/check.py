"""Runs claims on a model in memory, without pytest on the command line: for a training loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.ledger.outcome import NO_FAILURE, Finding, carried
from pytest_interp.ledger.record import Record
from pytest_interp.plugin.claim_files import own_folder


@dataclass(frozen=True)
class Checked:
    """The result of one claim on a model.

    Attributes:
        claim: its stable id, such as ``ioi/name_movers.reads_the_answer[9.9]``.
        statement: what it claims, in one line.
        outcome: supported, refuted, inconclusive, not applicable, error ...
        reason: why it was not applicable or went wrong; empty where its numbers show it.
        records: of its verdicts: value, interval, bound, controls and all they rest on.
    """

    claim: str
    statement: str
    outcome: Finding
    reason: str
    records: tuple[Record, ...]


@checked
def check(
    model: Any,
    tokenizer: Any = None,
    *,
    claims: Sequence[str | Path] = (),
    keyword: str = "",
    quick: bool = False,
    circuit: str | None = None,
    bos: bool = False,
    name: str = "model",
    prompts: int = 96,
    seed: int = 0,
) -> list[Checked]:
    """Runs claims on a model and returns the result of each; prints nothing, fails nothing, changes nothing.

    Args:
        model: a transformers model (a copy of it is judged: training goes on with the one passed), or a
            TransformerBridge, which is put into compatibility mode and frozen.
        tokenizer: of a transformers model.
        claims: files or folders of claims; by default those of this project.
        keyword: only claims that match it run, as with pytest's ``-k``; empty for all.
        quick: whether only claims that are marked as quick run.
        circuit: whose heads are asserted, such as ``gpt2``; without one, claims that name heads do not run.
        bos: whether BOS stands before each prompt, where the circuit file does not say it.
        name: of the model, for the records.
        prompts: number of prompts in each half; at least 2.
        seed: of the prompts.

    Returns:
        A result for each claim that ran, in the order in which they ran.

    Raises:
        UsageError: a model without its tokenizer, no such claims, or none that match.
    """
    from pytest_interp.checkpoints.open import spec_in_memory

    listener = _Listener(spec_in_memory(model, tokenizer, name, bos=bos, circuit=circuit))
    paths = [str(path) for path in claims or [own_folder()]]
    arguments = [*paths, "--interp-model", name, "--interp-prompts", str(prompts), "--interp-seed", str(seed),
                 "--import-mode=importlib", "-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider",
                 "-p", "no:syrupy", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning",
                 *(["-k", keyword] if keyword else []), *(["--interp-quick"] if quick else [])]  # fmt: skip
    with _modules_left_as_they_are(paths), redirect_stderr(StringIO()) as refused:
        code = pytest.main(arguments, plugins=[listener])
    if code == pytest.ExitCode.USAGE_ERROR:
        raise UsageError(refused.getvalue().strip().removeprefix("ERROR: "))
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not listener.checked:
        raise UsageError(listener.complaint or f"no claim of {', '.join(paths)} was asked: none matches {keyword!r}")
    return listener.checked


@contextmanager
def _modules_left_as_they_are(paths: Sequence[str]) -> Iterator[None]:
    """Removes the modules of claims after the block, since another folder may have claims under the same names."""
    before = set(sys.modules)
    try:
        yield
    finally:
        folders, new = [Path(path).resolve() for path in paths], set(sys.modules) - before
        files = {name: Path(getattr(sys.modules[name], "__file__", None) or "/") for name in new}
        claims = {name for name, file in files.items() if any(file.is_relative_to(folder) for folder in folders)}
        # For a folder without __init__.py pytest makes up a module, which has no file.
        made_up = {
            name for name in new if files[name] == Path("/") and any(claim.startswith(f"{name}.") for claim in claims)
        }
        for name in claims | made_up:
            del sys.modules[name]


class _Listener:
    """A plugin that adds the model to a run as a checkpoint, and collects the result of each claim."""

    def __init__(self, spec: CheckpointSpec) -> None:
        self.spec, self.complaint = spec, ""
        self.by_claim: dict[str, Checked] = {}

    @property
    def checked(self) -> list[Checked]:
        """The result of each claim, once: a rerun replaces it, an error in teardown only where it was no failure."""
        return list(self.by_claim.values())

    def pytest_interp_checkpoints(self) -> list[CheckpointSpec]:
        """Returns the model as a checkpoint."""
        return [self.spec]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keeps the message of a file that could not be collected."""
        if report.failed:
            self.complaint = str(report.longrepr)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Updates the result of a claim from the report of one of its phases."""
        outcome = carried(report)
        rerun = str(report.outcome) == "rerun"  # pytest-rerunfailures: another call follows
        if outcome is None or outcome.finding in (None, "not checked") or rerun:
            return
        before = self.by_claim.get(report.nodeid)
        if outcome.when == "teardown" and before is not None and before.outcome not in NO_FAILURE:
            return
        self.by_claim[report.nodeid] = Checked(
            str(outcome.claim.cite),
            str(outcome.claim.statement),
            outcome.finding,
            outcome.explanation,
            outcome.records,
        )
