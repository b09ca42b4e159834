"""How often drift is wrong: variants of the planted model, whose drift follows from how they were built.

``python benchmarks/planted_drift.py [--noise SIGMA ...] [--prompts N]`` judges each variant, with noise on all weights,
against the planted model without noise, and writes the table into ``docs/drift.md``. ``--only NAME ...`` prints it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from pytest_interp.checkpoints.planted.build import Plan, build_planted  # noqa: E402
from pytest_interp.checkpoints.planted.rules import RULES, Rule, Write, with_rule, without  # noqa: E402
from pytest_interp.checkpoints.spec import CheckpointSpec  # noqa: E402
from pytest_interp.compare.drift import Drift, drift  # noqa: E402
from pytest_interp.heads import Head  # noqa: E402

BASELINE = "planted-ioi"
NOISE = (0.0, 0.01, 0.02, 0.03, 0.05)
PAGE = ROOT / "docs" / "drift.md"
MARKS = re.compile(r"(<!-- measured: planted drift -->\n).*?(<!-- end -->)", re.S)
CLAIMS = '''
import pytest
from pytest_interp import assert_attention, assert_direct_logit_attribution, assert_logit_diff

def of(role):
    return pytest.mark.claim(source="by construction", role=role)

@pytest.mark.claim(source="by construction")
def test_task(ioi):
    """The answer is preferred."""
    assert_logit_diff(ioi, at_least=1)

@of("name_mover")
def test_writes(ioi, head):
    """A name mover writes the answer."""
    assert_direct_logit_attribution(ioi, head, at_least=1.5)

@of("name_mover")
def test_reads(ioi, head):
    """A name mover reads the answer."""
    assert_attention(ioi, head, at="END", to="IO", at_least=0.5)

@of("negative_name_mover")
def test_opposes(ioi, head):
    """A negative name mover writes against the answer."""
    assert_direct_logit_attribution(ioi, head, at_most=-1.5)

@of("s_inhibition")
def test_reads_s2(ioi, head):
    """An S-inhibition head reads S2."""
    assert_attention(ioi, head, at="END", to="S2", at_least=0.5)

@of("previous_token")
def test_looks_back(ioi, head):
    """A previous-token head reads the token before."""
    assert_attention(ioi, head, at="S1+1", to="S1", at_least=0.5)
'''
"""Eleven claims: the task, and what each of seven heads reads or writes."""
MOST_LISTED = 10
"""Mistakes of one noise that are listed."""
MOVED = "moved heads, same mechanism"


@dataclass(frozen=True)
class Variant:
    """A planted model that differs, and the drift that follows.

    Attributes:
        what: is changed, for a reader.
        rules: its table.
        claims: the word of each claim that does not hold; all others hold (held or weakened).
        roles: the word of each role that is not held.
    """

    what: str
    rules: Mapping[Head, Rule]
    claims: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)


def moved(old: str, new: str) -> Mapping[Head, Rule]:
    """The table with the rule of one head at another of its layer."""
    place = Head.parse(new)
    return {**without(Head.parse(old)), place: replace(RULES[Head.parse(old)], head=place)}


def writing(gain: float) -> Mapping[Head, Rule]:
    """The table in which 3.1 writes the name that it reads with this gain, instead of 4."""
    return with_rule(replace(RULES[Head(3, 1)], writes=(Write("token", "output", gain),)))


VARIANTS: Mapping[str, Variant] = {
    "same": Variant("nothing", RULES),
    "weaker": Variant("3.1 writes 3 instead of 4", writing(3)),
    "stronger": Variant("3.1 writes 6 instead of 4", writing(6)),
    "reversed": Variant(
        "3.1 writes -2 instead of 4", writing(-2), {"writes 3.1": "reversed"}, {"name_mover": "fewer heads"}
    ),
    "removed": Variant(
        "3.1 is removed",
        without(Head(3, 1)),
        {"writes 3.1": "lost", "reads 3.1": "lost"},
        {"name_mover": "fewer heads"},
    ),
    "moved": Variant(
        "3.1 is moved to 3.3", moved("3.1", "3.3"), {"writes 3.1": "lost", "reads 3.1": "lost"}, {"name_mover": MOVED}
    ),
    "negative moved": Variant(
        "4.0 is moved to 4.2", moved("4.0", "4.2"), {"opposes 4.0": "lost"}, {"negative_name_mover": MOVED}
    ),
    "inhibition moved": Variant(
        "2.0 is moved to 2.2", moved("2.0", "2.2"), {"reads_s2 2.0": "lost"}, {"s_inhibition": MOVED}
    ),
    "previous moved": Variant(
        "0.0 is moved to 0.2", moved("0.0", "0.2"), {"looks_back 0.0": "lost"}, {"previous_token": MOVED}
    ),
    "no induction": Variant(
        "1.0 is removed, and with it the flag that 2.1 reads",
        without(Head(1, 0)),
        {"reads_s2 2.1": "lost"},
        {"induction": "lost", "s_inhibition": "fewer heads"},
    ),
    "no movers": Variant(
        "3.0, 3.1 and 3.2 are removed: 4.1, their backup, wakes; 4.0 rests",
        without(Head(3, 0), Head(3, 1), Head(3, 2)),
        {f"{claim} 3.{head}": "lost" for claim in ("writes", "reads") for head in range(3)} | {"opposes 4.0": "lost"},
        {"name_mover": MOVED, "negative_name_mover": "lost"},
    ),
}
"""By name; a role that no head of the circuit file has on these prompts (the backup) is *not held before* on all."""


def label(name: str, noise: float) -> str:
    """The name of a checkpoint: a variant with noise."""
    return f"{name.replace(' ', '-')}-{noise:g}"


def pytest_interp_checkpoints() -> list[CheckpointSpec]:
    """The variants with each noise: this file is a plugin of the runs that it starts."""

    def load(plan: Plan) -> tuple[Any, Any]:
        return build_planted(plan, Path(tempfile.mkdtemp()))

    return [
        CheckpointSpec(label(name, noise), loader=partial(load, Plan(variant.rules, noise=noise)), bos=True)
        for name, variant in VARIANTS.items()
        for noise in map(float, os.environ["PLANTED_NOISE"].split())
    ]


def measure(names: Sequence[str], noises: Sequence[float], prompts: int) -> dict[tuple[str, float], Drift]:
    """The drift of each variant with each noise, from one run of pytest."""
    from pytest_interp.ledger.ledger import read

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_it.py").write_text(CLAIMS)
        circuits = Path(folder) / "circuits"
        circuits.mkdir()
        (circuits / "planted-ioi.toml").write_text((ROOT / "claims/circuits/planted-ioi.toml").read_text())
        models = [text for name in names for noise in noises for text in ("--interp-model", label(name, noise))]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "benchmarks.planted_drift"]
        command += [*models, "--interp-baseline", BASELINE, "--interp-prompts", str(prompts)]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PLANTED_NOISE": " ".join(map(str, noises)),
        }
        command += ["--interp-ledger", "all.json"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        ledger = Path(folder) / "all.json"
        if not ledger.exists():
            raise SystemExit(f"no ledger was written\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
        judged = read(ledger)
    baseline = judged.of(BASELINE)
    return {(name, noise): drift(baseline, judged.of(label(name, noise))) for name in names for noise in noises}


def words(result: Drift) -> dict[str, str]:
    """The word of each claim and role; held and weakened are one word here, *holds*."""
    holds = ("held", "weakened")
    claims = {
        claim.pair.name.removeprefix("it."): "holds" if claim.word in holds else claim.word for claim in result.claims
    }
    return claims | {f"role {role.role}": role.word for role in result.roles}


def truth(variant: Variant, names: Iterable[str]) -> dict[str, str]:
    """The word of each claim and role that follows from the construction."""
    expected = {name: "held" if name.startswith("role ") else "holds" for name in names}
    expected["role backup_name_mover"] = "not held before"
    return expected | dict(variant.claims) | {f"role {role}": word for role, word in variant.roles.items()}


def mistakes(variant: Variant, result: Drift) -> dict[str, tuple[str, str]]:
    """The claims and roles whose word is not the true one: the word, and the truth."""
    judged = words(result)
    expected = truth(variant, judged)
    return {name: (word, expected[name]) for name, word in judged.items() if word != expected[name]}


def table(results: Mapping[tuple[str, float], Drift]) -> str:
    """For each noise how many words of claims and of roles are right, undecided and wrong; then each mistake.

    Where there are many mistakes, the noise has undone what was planted, and none is listed.
    """
    rows = [
        "| noise on every weight | claims: right | undecided | wrong | roles: right | undecided | wrong |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    wrong = []
    for noise in dict.fromkeys(noise for _, noise in results):
        counts: Counter[tuple[bool, str]] = Counter()
        mistaken = []
        for (name, other), result in results.items():
            if other != noise:
                continue
            failing = mistakes(VARIANTS[name], result)
            for what in words(result):
                word, expected = failing.get(what, ("", ""))
                kind = "right" if what not in failing else "undecided" if word == "undecided" else "wrong"
                counts[what.startswith("role "), kind] += 1
                if kind == "wrong":
                    mistaken.append(f"| {noise:g} | {VARIANTS[name].what} | {what} | {word} | {expected} |")
        cells = [str(counts[of_role, kind]) for of_role in (False, True) for kind in ("right", "undecided", "wrong")]
        rows.append(f"| {noise:g} | {' | '.join(cells)} |")
        wrong += mistaken if len(mistaken) <= MOST_LISTED else []
    text = "\n".join(rows)
    if wrong:
        text += f"\n\nEach that is wrong, of noises with at most {MOST_LISTED}:\n\n"
        header = ["| noise | changed | claim or role | word | truth |", "| --- | --- | --- | --- | --- |"]
        text += "\n".join([*header, *wrong])
    return text


def main() -> None:
    """Prints the table, and writes it into the page where all variants were judged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", nargs="+", type=float, default=list(NOISE), help="standard deviation on each weight")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="only these variants; the page is left alone")
    options = parser.parse_args()
    text = table(measure(options.only or list(VARIANTS), options.noise, options.prompts))
    print(text)
    if not options.only:
        page = PAGE.read_text(encoding="utf-8")
        if len(MARKS.findall(page)) != 1:
            raise SystemExit(f"{PAGE} lacks the marks {MARKS.pattern}: the table stands between them")
        PAGE.write_text(MARKS.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
