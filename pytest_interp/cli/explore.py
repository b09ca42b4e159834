"""The subcommand ``explore``: a first look at how a model does a task."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pytest_interp.cli.command import FAILED, OK, Command

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_interp.explore.exploration import Exploration

STATUSES = """exit status:
  0  every table was measured, or left out for a reason that is shown
  1  the model does not do the task, its weights cannot be had, or the run was interrupted
  2  the command line is wrong: a name, a task, a corruption, a folder that cannot be written"""


def _explore_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``explore``."""
    parser.add_argument("model", metavar="MODEL", help="what `check` takes")
    parser.add_argument(
        "--task",
        metavar="TASK",
        default="ioi",
        help="ioi, ioi_wordings, ioi_extra_mention, sequences, analogies, surnames, capitals, copied_tokens, or a .py "
        "file with a function task(tokenizer, *, half, n, seed, bos) that returns a data set (default: ioi)",
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", help="write numbers (JSON, CSV), figures and the claims to ask next"
    )
    parser.add_argument("--prompts", metavar="N", type=int, default=24, help="how many prompts (default: 24)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the prompts (default: 0)")
    parser.add_argument(
        "--corruption", metavar="NAME", help="the run that is patched (default: s2-exchanged, else the task's first)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default: auto)")
    parser.add_argument("--bos", choices=("yes", "no"), help="BOS before each prompt (default: the model's own choice)")


def _explore(options: argparse.Namespace) -> int:
    """Explores a task, look by look; returns the exit status."""
    import time
    from pathlib import Path

    from pytest_interp.checkpoints.open import load
    from pytest_interp.errors import NotApplicable, Unavailable
    from pytest_interp.explore import folder
    from pytest_interp.explore.exploration import explorations
    from pytest_interp.explore.looks import PLANS
    from pytest_interp.explore.views import WIDTH, terminal
    from pytest_interp.tasks.named import task_of
    from pytest_interp.text import wrapped

    task = task_of(options.task)
    target = None if options.output is None else Path(options.output).expanduser()
    if target is not None:
        folder.prepare(target)
    began, exploration = time.monotonic(), None

    def progress(text: str) -> None:
        print(f"pytest-interp explore: {text} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)

    def show(part: Exploration) -> None:
        if not part.looks:
            lines = wrapped(part.title, WIDTH, rest="  ")
            for remark in part.remarks:
                lines += wrapped(f"note: {remark}", WIDTH, rest="  ")
            print("\n".join(lines), flush=True)
        else:
            print("\n".join(["", *terminal(part.looks[-1])]), flush=True)

    try:
        progress(f"loading {options.model}")
        checkpoint = load(options.model, device=options.device, bos={"yes": True, "no": False}.get(options.bos))
        for exploration in explorations(
            checkpoint, task, n=options.prompts, seed=options.seed, corruption=options.corruption
        ):
            show(exploration)
            if target is not None:
                folder.write(exploration, target)
            if not exploration.complete:
                plan = PLANS[len(exploration.looks)]
                progress(f"{plan.name}, {len(exploration.looks) + 1} of {len(PLANS)}")
    except (NotApplicable, Unavailable) as error:
        print(f"pytest-interp explore: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        measured = 0 if exploration is None else len(exploration.looks)
        written = f"; they are in {target}, marked as incomplete" if target is not None and measured else ""
        print(f"pytest-interp explore: interrupted after {measured} of {len(PLANS)} tables{written}", file=sys.stderr)
        return FAILED
    assert exploration is not None
    _end(exploration, target, options.model)
    progress("done")
    return OK if exploration.capable else FAILED


def _end(exploration: Exploration, target: Path | None, model: str) -> None:
    """Prints the claims to ask next, where the files are, and what was not looked at."""
    from pytest_interp.explore import folder
    from pytest_interp.explore.views import WIDTH
    from pytest_interp.text import wrapped

    lines = [""]
    if exploration.claims:
        lines += ["What to ask next, of other prompts than those above:", "", *exploration.claims.splitlines(), ""]
        file = folder.CLAIMS if target is None else str(target / folder.CLAIMS)
        introduction = "  save it as" if target is None else "  it is"
        lines += [f"{introduction} {file}; run it:", f"  pytest {file} --interp-model {model}", ""]
    else:
        reason = "no number lies surely beside 0" if exploration.capable else "the model does not do the task"
        lines += wrapped(f"No claim is suggested: {reason}.", WIDTH)
    lines += wrapped(
        "Not looked at: what a head reads through others (path patching), what takes over when it is gone (backup), "
        "whether it copies what it reads (copying), what the heads do alone (the circuit).",
        WIDTH,
        rest="  ",
    )
    if target is not None:
        figures = folder.missing_figures()
        lines += wrapped(
            f"Numbers and figures: {target}" + (f". No figures: {figures}" if figures else ""), WIDTH, rest="  "
        )
    print("\n".join(lines), flush=True)


EXPLORE = Command(
    summary="a first look at how a model does a task, and the claims to write next",
    description="Looks at how a model does a task, on prompts for finding: behaviour by template, the logit\n"
    "lens, attribution by component and head, patching by layer, head and position, and where\n"
    "the heads that act look. It ends with claims that can be pasted, to be judged on prompts\n"
    "for confirming.",
    example="  pytest-interp explore planted-ioi -o look\n"
    "  pytest-interp explore ./my-finetune --task my_task.py -o look",
    statuses=STATUSES,
    arguments=_explore_arguments,
    run=_explore,
)
