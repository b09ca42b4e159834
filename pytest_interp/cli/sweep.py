"""The subcommand ``sweep``: the claims on several models, a job for each, on this machine or on a cluster."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_interp.cli.check import own_claims
from pytest_interp.cli.command import FAILED, OK, Command

if TYPE_CHECKING:
    from pytest_interp.ledger.ledger import Ledger
    from pytest_interp.machines.jobs import Run

STATUSES = """exit status:
  0  every checkpoint has a ledger with all claims, whatever they found
  1  the run of a checkpoint failed, or the sweep was interrupted
  2  the command line is wrong, or submitit is not installed"""
_OWN = ("--interp-model", "--interp-ledger")
"""Options of pytest that this command passes itself."""


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``sweep``."""
    parser.add_argument("models", metavar="MODEL", nargs="+", help="what `check` takes; all of them stand together")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", required=True, help="for NAME.json of each model, all.json, and jobs/"
    )
    parser.add_argument(
        "--executor", choices=("local", "slurm"), default="local", help="where jobs run (default: local)"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=int, help="jobs at a time (default: 1 on this machine, all of them on a cluster)"
    )
    parser.add_argument(
        "--claims",
        metavar="PATH",
        action="append",
        default=[],
        help="file or folder of claims; repeatable (default: those of this project)",
    )
    parser.add_argument(
        "--slurm",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of sbatch, such as partition=gpu, gpus-per-node=1, mem=16G, or time in minutes (default: 60)",
    )
    parser.add_argument("--again", action="store_true", help="also run models whose ledger is there already")


def _sweep(options: argparse.Namespace) -> int:
    """Runs the claims on each model as a job, and merges the ledgers; returns the exit status."""
    from pytest_interp.common.files import check_writable
    from pytest_interp.errors import UsageError
    from pytest_interp.machines import jobs

    folder = Path(options.output).expanduser().resolve()
    settings = dict(_setting(text) for text in options.slurm)
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs is {options.jobs}; pass at least 1")
    runs = _runs(options, folder)
    check_writable(folder / "all.json", "--output")
    executor = jobs.executor_of(options.executor, folder / "jobs", settings)
    whole: dict[str, Ledger] = {}
    failed, left = [], []
    for run in runs:
        ledger = None if options.again or not _same_command(run) else jobs.judged(run.ledger)[0]
        if ledger is None:
            left.append(run)
        else:
            whole[run.name] = ledger
            print(f"{run.name}: {run.ledger} is there already (--again runs it again)")
    for run in left:
        _command_file(run).parent.mkdir(parents=True, exist_ok=True)
        _command_file(run).write_text("\n".join(run.arguments), encoding="utf-8")
    at_once = options.jobs or (1 if options.executor == "local" else max(1, len(left)))
    try:
        for ended in jobs.ended_runs(left, executor, options.executor, at_once):
            print(f"{ended.run.name}: {ended.summary}", flush=True)
            if ended.ledger is None:
                failed.append(ended.run.name)
            else:
                whole[ended.run.name] = ended.ledger
    except KeyboardInterrupt:
        print("pytest-interp: interrupted, jobs are cancelled; the same command runs what is left", file=sys.stderr)
        return FAILED
    _write_all(folder / "all.json", {run.name: whole[run.name] for run in runs if run.name in whole})
    if failed:
        print(f"pytest-interp: {len(failed)} of {len(runs)} failed; the same command runs them again", file=sys.stderr)
    return FAILED if failed else OK


def _setting(text: str) -> tuple[str, str]:
    """Returns the name and the value of an option of ``sbatch``."""
    from pytest_interp.errors import UsageError

    name, sign, value = text.partition("=")
    if not name or not sign:
        raise UsageError(f"--slurm {text!r} is not KEY=VALUE, such as partition=gpu")
    return name.removeprefix("--"), value


def _runs(options: argparse.Namespace, folder: Path) -> list[Run]:
    """Returns a run for each model."""
    from pytest_interp.errors import UsageError
    from pytest_interp.machines.jobs import Run

    further: Sequence[str] = options.further
    if further and not further[0].startswith("-"):
        raise UsageError(f"{further[0]!r} stands apart from the models; name all models first, and claims by --claims")
    for text in further:
        if text.partition("=")[0] in _OWN:
            raise UsageError(f"{text} is set for each model by this command; leave it out")
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    runs: dict[str, Run] = {}
    for model in options.models:
        name = _name_of(model)
        if name in runs or name == "all":
            raise UsageError(f"two ledgers would be {name}.json; rename a directory or leave one out")
        ledger = folder / f"{name}.json"
        claims = options.claims or own_claims()
        runs[name] = Run(
            name, ledger, (*quiet, *claims, "--interp-model", model, "--interp-ledger", str(ledger), *further)
        )
    return list(runs.values())


def _name_of(model: str) -> str:
    """Returns the name of a model in files; that of a model which cannot be found follows from its text."""
    from pytest_interp.checkpoints.spec import known_specs, resolve
    from pytest_interp.errors import UsageError

    try:
        name = resolve(model, known_specs()).name
    except UsageError:  # its own job reports it, or its project adds it
        name = model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.@+-]", "_", name)


def _command_file(run: Run) -> Path:
    """Returns the file with the arguments of a run, by which a ledger of another command is recognised."""
    return run.ledger.parent / "jobs" / f"{run.name}.txt"


def _same_command(run: Run) -> bool:
    """Whether the ledger that is there was written by the same command."""
    file = _command_file(run)
    return file.is_file() and file.read_text(encoding="utf-8") == "\n".join(run.arguments)


def _write_all(path: Path, ledgers: dict[str, Ledger]) -> None:
    """Writes the claims of all checkpoints into one ledger."""
    from pytest_interp.ledger.json_file import save
    from pytest_interp.ledger.merging import merged
    from pytest_interp.text import counted

    if ledgers:
        whole = merged(ledgers)
        print(f"{counted(len(whole.claims), 'claim')} of {counted(len(ledgers), 'checkpoint')}: {save(path, whole)}")


SWEEP = Command(
    summary="run the claims on several models, a job for each",
    description="Runs the claims on several models, a job for each, on this machine or on a SLURM cluster, and\n"
    "merges their ledgers. Options that are not listed here go to pytest. Models whose ledger is\n"
    "there already are not run again, so that the same command goes on with what is left.",
    example="  pytest-interp sweep gpt2 ./my-finetune -o ledgers --executor slurm --slurm partition=gpu -k name_movers",
    statuses=STATUSES,
    arguments=_sweep_arguments,
    run=_sweep,
    takes_more=True,
)
