"""The subcommand ``discover``: proposes a circuit of a model for a task."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_interp.cli.command import FAILED, OK, Command

if TYPE_CHECKING:
    from pytest_interp.discover.budget import Budget
    from pytest_interp.discover.discovery import Question
    from pytest_interp.discover.proposal import Proposal
    from pytest_interp.tasks.slots import Half

STATUSES = """exit status:
  0  a circuit file is written, and all stages were made
  1  there is no circuit, or the file is incomplete (interrupted, or the time was over)
  2  the command line is wrong, or no circuit can be looked for on such prompts"""


def _discover_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``discover``."""
    parser.add_argument("model", metavar="MODEL", help="what `check` takes")
    parser.add_argument("--task", metavar="TASK", default="ioi", help="a task by name, or a .py file (default: ioi)")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the circuit file, such as mine.toml")
    parser.add_argument(
        "--prompts", metavar="N", type=int, default=24, help="prompts of the finding half (default: 24)"
    )
    parser.add_argument(
        "--confirm-prompts", metavar="N", type=int, default=96, help="prompts of the confirming half (default: 96)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all draws (default: 0)")
    parser.add_argument(
        "--minutes", metavar="M", type=float, default=15, help="about how long it may take (default: 15)"
    )
    parser.add_argument(
        "--redraws", metavar="N", type=int, default=0, help="repeat the search on N new draws of prompts (default: 0)"
    )
    parser.add_argument(
        "--circuit", metavar="FILE", help="search nothing: measure the heads of this circuit file, at every position"
    )
    parser.add_argument("--figure", metavar="FILE", help="draw the circuit there, such as mine.png")
    parser.add_argument("--bos", choices=("yes", "no"), help="whether BOS stands before each prompt")


def _discover(options: argparse.Namespace) -> int:
    """Proposes a circuit and writes its file; returns the exit status."""
    from pytest_interp.common.canvas import require_matplotlib
    from pytest_interp.common.files import check_writable, write_whole
    from pytest_interp.discover.budget import Budget
    from pytest_interp.discover.circuit_text import circuit_text, summary, undecided
    from pytest_interp.discover.discovery import discover
    from pytest_interp.discover.figure import circuit_figure
    from pytest_interp.errors import NotApplicable, Unavailable

    path = Path(options.output).expanduser().resolve()
    _check(options)
    check_writable(path, "--output")
    if options.figure:
        require_matplotlib()
        check_writable(Path(options.figure).expanduser(), "--figure")
    budget = Budget(60 * options.minutes)

    def keep(proposal: Proposal) -> None:
        write_whole(path, circuit_text(proposal))

    try:
        proposal = discover(_question(options, budget), budget, keep)
    except (NotApplicable, Unavailable) as error:
        print(f"pytest-interp discover: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("pytest-interp discover: interrupted before there was a circuit; nothing is written", file=sys.stderr)
        return FAILED
    if proposal.reason:
        print(f"no circuit: {proposal.reason}")
        return FAILED
    keep(proposal)
    for line in summary(proposal):
        print(line)
    for sentence in undecided(proposal):
        print(f"undecided: {sentence}")
    print(f"written: {path}")
    if options.figure and proposal.roles is not None:
        circuit_figure(proposal).savefig(Path(options.figure).expanduser())
        print(f"drawn: {options.figure}")
    complete = not proposal.interrupted and proposal.selection is not None and proposal.selection.complete
    return OK if complete else FAILED


def _check(options: argparse.Namespace) -> None:
    """Refuses numbers that make no discovery."""
    from pytest_interp.errors import UsageError

    for name, least in (("prompts", 8), ("confirm_prompts", 8), ("seed", 0), ("redraws", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {value}; pass at least {least}")
    if not 0 < options.minutes < 1e6:
        raise UsageError(f"--minutes is {options.minutes:g}; pass a number above 0")
    circuit = Path(options.circuit).expanduser() if options.circuit else None
    if circuit is not None and not circuit.is_file():
        raise UsageError(f"--circuit is {options.circuit}, and no such file is there; pass a circuit file")
    if circuit is not None and circuit.resolve() == Path(options.output).expanduser().resolve():
        raise UsageError(f"--output and --circuit are both {options.circuit}; write into another file")
    if Path(options.output).suffix != ".toml":
        raise UsageError(f"--output is {options.output}; a circuit file ends in .toml")


def _question(options: argparse.Namespace, budget: Budget) -> Question:
    """The model on the prompts of both halves."""
    from pytest_interp.checkpoints.open import load
    from pytest_interp.circuit_file import load_circuit
    from pytest_interp.discover.discovery import Question
    from pytest_interp.engine import Experiment
    from pytest_interp.errors import UsageError
    from pytest_interp.tasks.named import task_of
    from pytest_interp.text import counted

    task = task_of(options.task)
    circuit = load_circuit(Path(options.circuit).expanduser()) if options.circuit else None
    if circuit is not None and not circuit.heads:
        raise UsageError(f"--circuit is {options.circuit}, which has no head with a role in a task; name one there")
    with budget.stage("load") as say:
        checkpoint = load(options.model, bos=None if options.bos is None else options.bos == "yes")
        shape = checkpoint.shape
        say(f"{checkpoint.name}, {counted(shape.n_layers, 'layer')} of {counted(shape.n_heads, 'head')}")
    counts: dict[Half, int] = {"find": options.prompts, "confirm": options.confirm_prompts}
    finding, confirming = (
        Experiment(
            checkpoint,
            task.draw(checkpoint.tokenizer, half=half, n=count, seed=options.seed, bos=checkpoint.bos),
            seed=options.seed,
        )
        for half, count in counts.items()
    )
    if circuit is not None:
        budget.say(f"circuit: {counted(len(circuit.heads), 'head')} of {options.circuit}, about {circuit.checkpoint}")
    heads = () if circuit is None else tuple(sorted(circuit.heads))
    return Question(finding, confirming, options.task, options.seed, options.redraws, heads)


DISCOVER = Command(
    summary="propose a circuit of a model for a task",
    description="Looks for the heads that do a task, on one half of its prompts, tests them on the other, and writes a "
    "circuit file with the evidence for each head. It takes minutes; lines on standard error say what it does.",
    example="  pytest-interp discover ./my-model --task ioi -o circuits/my-model.toml\n"
    "  pytest-interp discover smollm2-135m-instruct --minutes 30 -o mine.toml",
    statuses=STATUSES,
    arguments=_discover_arguments,
    run=_discover,
)
