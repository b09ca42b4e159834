"""The subcommand ``check``: the claims of this project on one model."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from pytest_interp.cli.command import FAILED, OK, USAGE, Command

if TYPE_CHECKING:
    import pytest

STATUSES = """exit status:
  0  every claim that ran is supported, and at least one ran
  1  a claim failed, the run was interrupted, or no claim ran
  2  the command line is wrong: an option, a path, the name of a model"""


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``check``."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="planted-ioi, smollm2-135m-instruct, gpt2, a name on the Hugging Face hub, a directory, or a .gguf file",
    )
    parser.add_argument(
        "pytest_arguments",
        metavar="ARGUMENT",
        nargs=argparse.REMAINDER,
        help="--baseline MODEL_OR_LEDGER says which findings of that one hold on MODEL; --page FILE.html writes the "
        "page of the run; further arguments are for "
        "pytest, such as -k name_movers or --interp-prompts 96; pytest --help lists them",
    )


def _check(options: argparse.Namespace) -> int:
    """Runs the claims of this project on one model; returns the exit status."""
    import pytest

    counter = _Counter()
    # pytest warns that it cannot rewrite the assertions of this package, which this command has imported already.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    arguments = [re.sub(r"^--(baseline|page)(?==|$)", r"--interp-\1", text) for text in options.pytest_arguments]
    code = pytest.main([*quiet, *own_claims(), "--interp-model", options.model, *arguments], plugins=[counter])
    if code == pytest.ExitCode.USAGE_ERROR:
        return USAGE
    if code == pytest.ExitCode.NO_TESTS_COLLECTED or (
        code == pytest.ExitCode.OK and counter.expected and not counter.count
    ):
        print(f"pytest-interp: no claim ran on {options.model}; see above for why", file=sys.stderr)
        return FAILED
    return OK if code == pytest.ExitCode.OK else FAILED


def own_claims() -> list[str]:
    """Returns the arguments that name this project's claims to pytest.

    Returns:
        ``--pyargs`` and a package where a wheel is installed; the path of a folder in a clone.
    """
    from pytest_interp.plugin.claim_files import own_folder

    folder = own_folder()
    return ["--pyargs", "pytest_interp.claims"] if folder.parent.name == "pytest_interp" else [str(folder)]


class _Counter:
    """A plugin that counts the claims whose body ran without a skip.

    Attributes:
        expected: whether claims are to run at all; False with ``--collect-only``.
        count: number of claims that ran.
    """

    def __init__(self) -> None:
        self.expected, self.count = False, 0

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Notes whether claims are to run."""
        self.expected = not session.config.option.collectonly

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a claim that ran."""
        self.count += report.when == "call" and report.outcome != "skipped"


CHECK = Command(
    summary="run the claims of this project on one model",
    description="Runs the claims that come with pytest-interp on one model, and shows which\n"
    "findings hold there. The same as:\n"
    "  pytest --pyargs pytest_interp.claims --interp-model MODEL [ARGUMENT ...]",
    example="  pytest-interp check ./my-finetune -k name_movers --page my-finetune.html\n"
    "  pytest-interp check ./my-finetune --baseline gpt2",
    statuses=STATUSES,
    arguments=_check_arguments,
    run=_check,
)
