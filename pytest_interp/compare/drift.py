"""Drift: what became of each claim on a checkpoint, against the baseline that it was made from.

A comparison asks whether code still gives the same numbers. Drift asks whether the findings of one model hold on
another one: numbers may differ, and a word says what the difference means.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import hypot
from typing import Literal, TypeAlias

from pytest_interp.compare.circuit_drift import CircuitDrift, RoleDrift, circuit_drift
from pytest_interp.compare.comparison import Comparison, Pair, compare, verdict_of
from pytest_interp.compare.moves import Move, record_pairs
from pytest_interp.errors import UsageError
from pytest_interp.ledger.ledger import Ledger, RecordedCheckpoint
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.record import Record

Word: TypeAlias = Literal[
    "reversed", "lost", "undecided", "weakened", "gained", "not applicable", "not held before", "held"
]
"""What became of a claim against the baseline, worst first.

``held``: supported on both, and no number moved toward its bound. ``weakened``: supported on both, and the interval of
a difference, prompt by prompt, lies wholly toward the bound. ``lost``: supported, then refuted. ``reversed``: lost, and
the new interval lies wholly on the other side of 0. ``gained``: refuted, then supported. ``undecided``: inconclusive or
an error on either. ``not held before``: refuted on both. ``not applicable``: on either, for the reason that is given.
"""
SAME_RUN = 0.5
"""The least cosine between the weights of two checkpoints of one training run. It is near 1 after a fine-tune, and near
0 between two initialisations."""
WORDS: tuple[Word, ...] = (
    "reversed", "lost", "undecided", "weakened", "gained", "not applicable", "not held before", "held",
)  # fmt: skip
"""The words, worst first."""
State: TypeAlias = Literal["supported", "refuted", "undecided", "not applicable"]


@dataclass(frozen=True)
class ClaimDrift:
    """What became of one claim.

    Attributes:
        pair: the claim on the baseline and on the checkpoint.
        word: what became of it.
        reason: why it is not applicable or undecided, or why its support means less than on the baseline, such as a
            head that writes nothing; empty where the numbers say it.
    """

    pair: Pair
    word: Word
    reason: str = ""

    @property
    def matched(self) -> list[tuple[Record, Record, Move]]:
        """The verdicts that both have: the record on the baseline, that on the checkpoint, and the number's move."""
        return _matched(self.pair)


@dataclass(frozen=True)
class Drift:
    """A checkpoint against its baseline.

    Attributes:
        comparison: both ledgers side by side; the first one is the baseline's.
        claims: what became of each claim, worst first.
        cosine: between samples of their weights; 0 for other shapes, None where a ledger has no sample.
        circuit: capability, heads and effects on both; None where a ledger has no profile.
        left_out: why there is no ``circuit``; else empty.
    """

    comparison: Comparison
    claims: tuple[ClaimDrift, ...]
    cosine: float | None = None
    circuit: CircuitDrift | None = None
    left_out: str = ""

    @cached_property
    def heads(self) -> Mapping[str, Mapping[str, Word]]:
        """By role and head the worst word of the claims about this head alone."""
        words: dict[str, dict[str, Word]] = {}
        for claim in self.claims:  # worst first
            for head in _head_of(claim.pair):
                words.setdefault(str(claim.pair.after.claim.role), {}).setdefault(head, claim.word)
        return words

    @cached_property
    def counts(self) -> Mapping[Word, int]:
        """The number of claims by word."""
        return Counter(claim.word for claim in self.claims)

    @property
    def words(self) -> str:
        """Who shares the words of the prompts; empty where they are all single tokens of the checkpoint's tokenizer."""
        contexts = (record.context.checkpoint for claim in self.claims for record in claim.pair.after.records)
        return next((context.words for context in contexts if context is not None), "")

    @property
    def roles(self) -> tuple[RoleDrift, ...]:
        """What became of each role of the circuit; empty without profiles."""
        return () if self.circuit is None else self.circuit.roles

    @property
    def supported_before(self) -> int:
        """The number of claims that the baseline supports and the checkpoint can be asked about."""
        return sum(_state(claim.pair.before) == "supported" for claim in self.claims if claim.word != "not applicable")

    @property
    def supported_after(self) -> int:
        """The number of those that the checkpoint supports too."""
        return self.counts["held"] + self.counts["weakened"]


def drift(baseline: Ledger, checkpoint: Ledger) -> Drift:
    """Returns what became of each claim on a checkpoint, against its baseline.

    Args:
        baseline: the ledger of the baseline, with one checkpoint.
        checkpoint: the ledger of the checkpoint, with one checkpoint; best on the same prompts.

    Raises:
        UsageError: a ledger has several checkpoints, or no claim is in both.
    """
    for ledger in (baseline, checkpoint):
        if len(ledger.names) != 1:
            raise UsageError(f"drift is between two checkpoints; a ledger has {', '.join(ledger.names) or 'none'}")
    comparison = compare(baseline, checkpoint)
    cosine = _cosine(_recorded(baseline).weights, _recorded(checkpoint).weights)
    related = cosine is None or cosine >= SAME_RUN
    claims = [
        _drift_of(pair)
        if related or pair.after.claim.role is None
        else ClaimDrift(pair, "not applicable", f"heads have no counterpart: the cosine of the weights is {cosine:.2f}")
        for pair in comparison.pairs
    ]
    circuit, left_out = _circuit(baseline, checkpoint, related=related)
    claims.sort(key=lambda claim: WORDS.index(claim.word))
    return Drift(comparison, tuple(claims), cosine, circuit, left_out)


def _circuit(baseline: Ledger, checkpoint: Ledger, *, related: bool) -> tuple[CircuitDrift | None, str]:
    """Returns the drift of the circuit; None and the reason where a ledger has no profile."""
    profiles = [_recorded(ledger).profile for ledger in (baseline, checkpoint)]
    for ledger, profile in zip((baseline, checkpoint), profiles, strict=True):
        if profile is None:
            return None, f"the ledger of {ledger.names[0]} has no profile of heads; run pytest with --interp-profile"
        if not profile.draws:
            return None, f"{ledger.names[0]}: {profile.reason}"
    first, second = (profile for profile in profiles if profile is not None)
    return circuit_drift(first, second, related=related), ""


def _recorded(ledger: Ledger) -> RecordedCheckpoint:
    """Returns what a ledger has of its checkpoint beside claims."""
    name = ledger.names[0]
    return next((other for other in ledger.checkpoints if other.name == name), RecordedCheckpoint(name))


def _cosine(first: tuple[float, ...], second: tuple[float, ...]) -> float | None:
    """Returns the cosine between two samples of weights; 0 for models of other shapes, None where one is not known."""
    norms = hypot(*first), hypot(*second)
    if not all(norms):
        return None
    if len(first) != len(second):
        return 0.0
    return sum(a * b for a, b in zip(first, second, strict=True)) / (norms[0] * norms[1])


def _head_of(pair: Pair) -> list[str]:
    """Returns the head that a claim of a role is about; empty where it is about none, or several."""
    heads = {str(head) for record in pair.after.records for head in record.context.heads or ()}
    return list(heads) if pair.after.claim.role is not None and len(heads) == 1 else []


def _drift_of(pair: Pair) -> ClaimDrift:
    states = _state(pair.before), _state(pair.after)
    outcomes = (pair.before, pair.after)
    for state in ("not applicable", "undecided"):
        if state in states:
            return ClaimDrift(pair, state, _reason(outcomes[states.index(state)]))
    if states == ("supported", "supported"):
        return ClaimDrift(pair, "weakened" if _is_weakened(pair) else "held", "; ".join(_new_caveats(pair)))
    if states == ("supported", "refuted"):
        return ClaimDrift(pair, "reversed" if _is_reversed(pair) else "lost")
    return ClaimDrift(pair, "gained" if states[1] == "supported" else "not held before")


def _state(outcome: ClaimOutcome) -> State:
    """Returns whether a claim holds, whatever was expected of it."""
    finding = verdict_of(outcome)
    if finding in ("not applicable", "not checked"):
        return "not applicable"
    failing = [record.outcome for record in outcome.records if record.outcome != "supported"]
    unexpected = finding == "error" and outcome.when == "call" and "XPASS" in outcome.reason
    if finding in ("supported", "no teeth") or (unexpected and not failing):
        return "supported"
    return "refuted" if finding in ("refuted", "expected failure") and "refuted" in failing else "undecided"


def _reason(outcome: ClaimOutcome) -> str:
    """Returns why a claim is not applicable or undecided."""
    if outcome.float32 is not None:
        return outcome.float32.summary
    return outcome.explanation.removeprefix("not applicable: ")


def _new_caveats(pair: Pair) -> list[str]:
    """Returns the caveats of the checkpoint's verdicts that the baseline's do not have, whatever numbers are in them.

    Caveats about controls are left out: which controls do the same changes with every number.
    """

    def wording(text: str) -> str:
        return re.sub(r"\d+", "", text)

    before = {wording(caveat) for record in pair.before.records for caveat in record.caveats}
    return [
        caveat
        for record in pair.after.records
        for caveat in record.caveats
        if wording(caveat) not in before and not re.match(r"(a control does|controls do) the same", caveat)
    ]


def _matched(pair: Pair) -> list[tuple[Record, Record, Move]]:
    records = record_pairs(pair.before.records, pair.after.records)
    return [(before, after, move) for (before, after), move in zip(records, pair.moves, strict=True)]


def _is_weakened(pair: Pair) -> bool:
    """Returns whether a number lies closer to its bound than before, by its interval and by more than float noise."""
    for before, after, move in _matched(pair):
        if move.allowed is None or abs(move.distance) <= move.allowed or after.slack >= before.slack:
            continue
        low, high = move.interval or (move.distance, move.distance)
        if low > 0 or high < 0:
            return True
    return False


def _is_reversed(pair: Pair) -> bool:
    """Returns whether a refuted number's interval lies on the other side of 0 than its value before, beyond noise."""
    for before, after, _ in _matched(pair):
        low, high = after.interval or (after.value, after.value)
        low, high = low - after.tolerance, high + after.tolerance
        if after.outcome == "refuted" and (low > 0 > before.value or high < 0 < before.value):
            return True
    return False
