"""How often verdicts are wrong: claims about each head of planted models, compared with the planted truth.

A variant is the planted table of rules with some rows changed, together with the claims that become true or false. On
each variant each claim is made about each head, and the verdict is compared with the truth. *False support* and *false
refutation* are mistakes; inconclusive and not applicable are not. Without noise on the weights there must be none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

from pytest_interp import (
    assert_ablation_effect,
    assert_attention,
    assert_backup_heads,
    assert_copy_score,
    assert_detector_score,
    assert_direct_logit_attribution,
    assert_head_patch_effect,
    assert_path_patch_effect,
)
from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.checkpoints.planted.build import Plan, build_planted
from pytest_interp.checkpoints.planted.rules import RULES, Match, Rule, Write, with_rule, without
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.engine import Experiment
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head
from pytest_interp.tasks import ioi, repeated_tokens, single_token_names
from pytest_interp.verdict import recording
from pytest_interp.verdict.judge import Verdict

Result: TypeAlias = Literal["right", "false support", "false refutation", "inconclusive", "not applicable"]
RESULTS: tuple[Result, ...] = ("right", "false support", "false refutation", "inconclusive", "not applicable")
MOVERS = ("3.0", "3.1", "3.2")


@dataclass(frozen=True)
class Setting:
    """A planted model with the prompts and names that the claims need."""

    checkpoint: Checkpoint
    prompts: Experiment
    repeated: Experiment
    names: tuple[str, ...]


Ask: TypeAlias = Callable[[Setting, str], Verdict]

CLAIMS: Mapping[str, Ask] = {
    "copies": lambda s, h: assert_copy_score(s.checkpoint, h, names=s.names, at_least=0.8),
    "suppresses": lambda s, h: assert_copy_score(s.checkpoint, h, names=s.names, negative=True, at_least=0.8),
    "reads IO": lambda s, h: assert_attention(s.prompts, h, at="END", to="IO", minus=("S1", "S2"), at_least=0.1),
    "reads S2": lambda s, h: assert_attention(s.prompts, h, at="END", to="S2", minus=("IO", "S1"), at_least=0.1),
    "writes the answer": lambda s, h: assert_direct_logit_attribution(s.prompts, h, at_least=0.5),
    "writes against it": lambda s, h: assert_direct_logit_attribution(s.prompts, h, at_most=-0.5),
    "looks one back": lambda s, h: assert_detector_score(s.repeated, h, "previous_token", at_least=0.5),
    "looks at its double": lambda s, h: assert_detector_score(s.repeated, h, "duplicate_token", at_least=0.5),
    "looks after its double": lambda s, h: assert_detector_score(s.repeated, h, "induction", at_least=0.5),
    "is needed": lambda s, h: assert_ablation_effect(s.prompts, h, ablation="zero", at=None, at_most=-0.5),
    "moves the answer": lambda s, h: assert_head_patch_effect(s.prompts, h, at="END", at_least=0.1),
    "acts on the movers' queries": lambda s, h: assert_path_patch_effect(
        s.prompts, h, MOVERS, into="q", metric="of_clean", at_most=-0.05
    ),
    "stands in for the movers": lambda s, h: assert_backup_heads(s.prompts, h, knocked_out=MOVERS, at_least=1),
}

TRUE: Mapping[str, frozenset[str]] = {
    "copies": frozenset({"1.0", *MOVERS, "4.1"}),  # 1.0 writes what it reads to the output, where nobody asks for it
    "suppresses": frozenset({"4.0"}),
    "reads IO": frozenset({*MOVERS, "4.0"}),
    "reads S2": frozenset({"2.0", "2.1"}),
    "writes the answer": frozenset(MOVERS),
    "writes against it": frozenset({"4.0"}),
    "looks one back": frozenset({"0.0"}),
    "looks at its double": frozenset({"0.1"}),
    "looks after its double": frozenset({"1.0"}),
    "is needed": frozenset({"0.0", "0.1", "1.0", "2.0", "2.1", *MOVERS}),
    "moves the answer": frozenset({"2.0", "2.1", *MOVERS}),
    "acts on the movers' queries": frozenset({"2.0", "2.1"}),
    "stands in for the movers": frozenset({"4.1"}),
}
"""Of which heads of ``planted-ioi`` each claim is true."""


@dataclass(frozen=True)
class Variant:
    """A planted model that differs, and in which heads each claim differs from :data:`TRUE`: added, removed."""

    rules: Mapping[Head, Rule]
    gains: Mapping[str, frozenset[str]]
    loses: Mapping[str, frozenset[str]]

    def true(self, claim: str) -> frozenset[str]:
        """Of which heads a claim is true."""
        return (TRUE[claim] - self.loses.get(claim, frozenset())) | self.gains.get(claim, frozenset())


def _variant(rules: Mapping[Head, Rule], gains: str = "", loses: str = "") -> Variant:
    """From ``"claim: head head; claim: head"``."""

    def read(text: str) -> dict[str, frozenset[str]]:
        rows = [row.split(":") for row in text.split(";") if row.strip()]
        return {claim.strip(): frozenset(heads.split()) for claim, heads in rows}

    return Variant(rules, read(gains), read(loses))


def _moved(old: Head, new: Head, loses: str = "") -> Variant:
    """The rule of one head at another of its layer: whatever was true of the one is true of the other."""
    claims = [claim for claim, heads in TRUE.items() if str(old) in heads]
    rules = {**without(old), new: replace(RULES[old], head=new)}
    return _variant(rules, ";".join(f"{c}: {new}" for c in claims), ";".join([*(f"{c}: {old}" for c in claims), loses]))


def _with(head: str, **change: Any) -> Mapping[Head, Rule]:
    return with_rule(replace(RULES[Head.parse(head)], **change))


def _halves() -> Mapping[Head, Rule]:
    """Two previous-token heads, each with half of the code: without either, the induction head does not see it."""
    rule = RULES[Head(0, 0)]
    half = (Write("token", "previous", 0.5),)
    return {**RULES, rule.head: replace(rule, writes=half), Head(0, 2): replace(rule, head=Head(0, 2), writes=half)}


_FLAGGED = (Match("is_end", "is_name", 20), Match("is_end", "duplicated", 20))

VARIANTS: Mapping[str, Variant] = {
    "as planted": _variant(RULES),
    # Knocked out is 3.2, where there is nothing now; with 3.3 at work the backup stays silent.
    "a mover at another head": _moved(Head(3, 2), Head(3, 3), "stands in for the movers: 4.1"),
    "the negative mover at another head": _moved(Head(4, 0), Head(4, 2)),
    "a mover that does not copy": _variant(
        _with("3.0", writes=(Write("token", "previous", 6),)),
        # With the output at 3 or 4 the negative mover rests: what one of the two wrote, less its 4, is no loss.
        loses="copies: 3.0; writes the answer: 3.0; is needed: 3.0 3.1 3.2; moves the answer: 3.0",
    ),
    "a mover that copies S": _variant(
        _with("3.0", scores=_FLAGGED, rest=30, writes=(Write("token", "output", 1),)),
        gains="reads S2: 3.0; writes against it: 3.0",
        # As above; and without its flag, which 0.1 writes, 3.0 does no harm.
        loses="reads IO: 3.0; writes the answer: 3.0; is needed: 0.1 3.0 3.1 3.2; moves the answer: 3.0",
    ),
    "no backup": _variant(without(Head(4, 1)), loses="copies: 4.1; stands in for the movers: 4.1"),
    "a backup that never rests": _variant(
        _with("4.1", scores=RULES[Head(3, 0)].scores, rest=10),
        gains="reads IO: 4.1; writes the answer: 4.1; is needed: 4.1; moves the answer: 4.1",
        loses="stands in for the movers: 4.1",
    ),
    "no negative mover": _variant(without(Head(4, 0)), loses="suppresses: 4.0; reads IO: 4.0; writes against it: 4.0"),
    "induction one further": _variant(
        _with("0.0", scores=(Match("position", "position", 40, shift=-2),)),
        loses="looks one back: 0.0; looks after its double: 1.0",
    ),
    "two heads share a role": _variant(_halves(), gains="looks one back: 0.2; is needed: 0.2"),
    "one inhibitor alone": _variant(
        without(Head(2, 0)),
        loses="reads S2: 2.0; is needed: 0.1 2.0; moves the answer: 2.0; acts on the movers' queries: 2.0",
    ),
}


def setting(plan: Plan, prompts: int, directory: Path) -> Setting:
    """A planted model and its prompts."""
    checkpoint = Checkpoint(CheckpointSpec("planted", loader=lambda: build_planted(plan, directory), bos=True))
    names = single_token_names(checkpoint.tokenizer, "confirm")
    data = ioi(checkpoint.tokenizer, half="confirm", n=prompts, seed=1, bos=True)
    twice = repeated_tokens(checkpoint.tokenizer, length=19, n=16, seed=1, bos=True, complete=True)
    return Setting(checkpoint, Experiment(checkpoint, data), Experiment(checkpoint, twice), names)


def calibrate(
    noise: float, prompts: int, variants: Iterable[str] = VARIANTS, claims: Iterable[str] = CLAIMS
) -> dict[tuple[str, str], dict[str, Result]]:
    """The result of each claim about each head of each variant.

    Args:
        noise: standard deviation of the noise that is added to all weights; rules have weights around 1.
        prompts: the number of IOI prompts.
        variants: of :data:`VARIANTS`.
        claims: of :data:`CLAIMS`.

    Returns:
        (variant, claim) -> head -> result.
    """
    results: dict[tuple[str, str], dict[str, Result]] = {}
    for name in variants:
        with TemporaryDirectory() as directory:
            place = setting(Plan(VARIANTS[name].rules, noise=noise), prompts, Path(directory))
            heads = [str(head) for head in place.checkpoint.shape.heads]
            with place.checkpoint.guard.measuring():  # nothing changes the model in between: it is checked once
                for claim in claims:
                    true = VARIANTS[name].true(claim)
                    results[name, claim] = {head: _result(CLAIMS[claim], place, head, head in true) for head in heads}
    return results


def _result(ask: Ask, place: Setting, head: str, true: bool) -> Result:
    with recording.trial(until_refuted=False):
        try:
            outcome = ask(place, head).outcome
        except (NotApplicable, UsageError):  # a mover is not its own backup
            return "not applicable"
    if outcome == "inconclusive":
        return "inconclusive"
    if (outcome == "supported") == true:
        return "right"
    return "false support" if outcome == "supported" else "false refutation"


def counts(results: Mapping[tuple[str, str], Mapping[str, Result]]) -> Counter[Result]:
    """The number of heads with each result."""
    return Counter(result for by_head in results.values() for result in by_head.values())
