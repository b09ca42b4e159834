"""How often discovery is wrong: planted models, whose circuits follow from how they were built.

``python benchmarks/planted_discovery.py [--noise SIGMA ...] [--prompts N ...]`` proposes a circuit of each planted
model at each noise on all weights, and writes the table into ``docs/discover.md``. ``--only NAME ...`` prints it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from pytest_interp.checkpoints.checkpoint import Checkpoint  # noqa: E402
from pytest_interp.checkpoints.planted.build import Plan, build_planted  # noqa: E402
from pytest_interp.checkpoints.planted.family import PLANS  # noqa: E402
from pytest_interp.checkpoints.spec import CheckpointSpec  # noqa: E402
from pytest_interp.discover.budget import Budget  # noqa: E402
from pytest_interp.discover.discovery import Question, discover  # noqa: E402
from pytest_interp.engine import Experiment  # noqa: E402
from pytest_interp.tasks import ioi  # noqa: E402

NOISE = (0.0, 0.005, 0.01)
PROMPTS = (24,)
RANDOM = "random weights"
NAMES = ("planted-ioi", "planted-chain", "planted-mlp0", "planted-gqa", RANDOM)
LIVE = 0.02
"""Standard deviation of the weights of heads without a rule, where there is noise."""
PAGE = ROOT / "docs" / "discover.md"
MARKS = re.compile(r"(<!-- measured: planted discovery -->\n).*?(<!-- end -->)", re.S)


@dataclass(frozen=True)
class Outcome:
    """What discovery gave on a planted model.

    Attributes:
        right: heads with their planted role.
        missed: planted heads without it.
        wrong: heads with a role that they do not have, or that have none.
        seconds: how long it took, the model's loading left out.
        circuit: whether there is one.
    """

    right: tuple[str, ...]
    missed: tuple[str, ...]
    wrong: tuple[str, ...]
    seconds: float
    circuit: bool


def with_noise(name: str, noise: float) -> Plan:
    """A planted model with noise on all weights; silent heads are live then. Random weights have no rule at all."""
    if name == RANDOM:
        return Plan({}, noise=0.02 + noise, live=0.2)
    return PLANS[name] if noise == 0 else replace(PLANS[name], noise=noise, live=LIVE)


def outcome_on(name: str, plan: Plan, prompts: int, seed: int = 0) -> Outcome:
    """Discovers the circuit of a plan, and compares it with its rules."""
    with tempfile.TemporaryDirectory() as folder:
        spec = CheckpointSpec(name, loader=lambda: build_planted(plan, Path(folder)), bos=True)
        checkpoint = Checkpoint(spec)
        begin = time.monotonic()
        finding, confirming = (
            Experiment(checkpoint, ioi(checkpoint.tokenizer, half=half, n=prompts, seed=2 * seed + other, bos=True))
            for other, half in enumerate(("find", "confirm"))
        )
        quiet = Budget(say=lambda _: None)
        proposal = discover(Question(finding, confirming, "ioi", seed), quiet)
        seconds = time.monotonic() - begin
    planted = {(str(head), rule.role) for head, rule in plan.rules.items()}
    if proposal.capability is not None and proposal.capability.reason:
        planted = set()  # the noise has broken the model: it does not do the task
    readings = proposal.roles.all if proposal.roles is not None else ()
    proposed = {(str(reading.place.head), reading.role) for reading in readings}
    return Outcome(
        tuple(sorted(head for head, _ in planted & proposed)),
        tuple(sorted(f"{head} {role}" for head, role in planted - proposed)),
        tuple(sorted(f"{head} {role}" for head, role in proposed - planted)),
        seconds,
        not proposal.reason,
    )


def table(outcomes: Mapping[tuple[str, float, int], Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    rows = ["| model | noise | prompts | found | missed | wrong | seconds |", "| --- " * 7 + "|"]
    for (name, noise, prompts), outcome in outcomes.items():
        total = len(outcome.right) + len(outcome.missed)
        missed, wrong = (", ".join(heads) or "none" for heads in (outcome.missed, outcome.wrong))
        share = f"{len(outcome.right)} of {total}" if outcome.circuit else "no circuit: not the task"
        rows.append(f"| {name} | {noise:g} | {prompts} | {share} | {missed} | {wrong} | {outcome.seconds:.0f} |")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE)
    parser.add_argument("--prompts", type=int, nargs="+", default=PROMPTS)
    parser.add_argument("--only", nargs="+", choices=NAMES)
    options = parser.parse_args(arguments)
    outcomes: dict[tuple[str, float, int], Outcome] = {}
    for name in options.only or NAMES:
        for noise in options.noise:
            for prompts in options.prompts:
                outcomes[name, noise, prompts] = outcome = outcome_on(name, with_noise(name, noise), prompts)
                print(name, noise, prompts, outcome, file=sys.stderr, flush=True)
    text = table(outcomes)
    if options.only:
        print(text)
    else:
        PAGE.write_text(MARKS.sub(lambda match: match[1] + text + match[2], PAGE.read_text()))


if __name__ == "__main__":
    main()
