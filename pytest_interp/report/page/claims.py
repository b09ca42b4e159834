"""The claims of a page: their order, their texts, and what each verdict shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from pytest_interp.ledger.ledger import Ledger
from pytest_interp.ledger.outcome import NO_FAILURE, ClaimOutcome, Finding
from pytest_interp.ledger.record import Record
from pytest_interp.measurement import quote
from pytest_interp.report.layout import short
from pytest_interp.report.mutants import remarks
from pytest_interp.report.page.drawing import IntervalDrawing, interval_of
from pytest_interp.text import counted
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.worst import worst

ORDER: tuple[Finding, ...] = (
    "refuted", "inconclusive", "moved by precision", "no teeth", "snapshot differs", "no snapshot", "error",
    "expected failure", "not applicable", "supported",
)  # fmt: skip
"""Findings of claims that are shown, those that need attention first; claims that were not checked stand apart."""
assert {*ORDER, "not checked"} == set(get_args(Finding))
SYMBOLS: dict[Finding, str] = {
    "supported": "✓", "refuted": "✗", "inconclusive": "?", "expected failure": "✗", "not applicable": "-",
}  # fmt: skip
"""A sign beside the word of a finding; any other has an exclamation mark."""
LONGEST_PROMPT = 4_000
"""Characters of a worst prompt that can be copied; the middle of a longer one is left out."""
SHOWN_ELSEWHERE = ("checkpoint", "fingerprint", "n", "heads")
"""Keys of a record's context that a page shows elsewhere."""


class Prompts:
    """The texts of worst prompts, each once.

    Attributes:
        texts: in the order in which claims show them.
    """

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Returns the number of a text; a new one is added.

        Args:
            text: of a prompt.
        """
        if len(text) > LONGEST_PROMPT:
            half = LONGEST_PROMPT // 2
            text = f"{text[:half]} ... {text[-half:]}"
        return self.texts.setdefault(text, len(self.texts))


@dataclass(frozen=True)
class WorstPrompt:
    """A prompt that speaks most against a claim.

    Attributes:
        place: the number of its text in `Prompts`.
        text: what it is, for a reader.
        value: its number.
    """

    place: int
    text: str
    value: str


@dataclass(frozen=True)
class VerdictView:
    """A verdict of a claim.

    Attributes:
        record: of the verdict.
        drawing: its interval against its bound; None where its value is no finite number.
        worst: the prompts that speak most against the claim; empty without values by prompt.
        measured: on what and how.
    """

    record: Record
    drawing: IntervalDrawing | None
    worst: tuple[WorstPrompt, ...]
    measured: str

    @property
    def value(self) -> str:
        """The value, for a reader."""
        return quote(self.record.value)

    @property
    def interval(self) -> str:
        """The interval, for a reader; empty without one."""
        return interval(self.record.interval)

    @property
    def details(self) -> list[tuple[str, str]]:
        """Further values of the assertion, by name."""
        return [(name, _text(value)) for name, value in self.record.details.items()]


def interval(ends: tuple[float, float] | None) -> str:
    """Returns the ends of an interval in brackets; an empty text without one.

    Args:
        ends: of the interval.
    """
    return "" if ends is None else f"[{quote(ends[0])}, {quote(ends[1])}]"


@dataclass(eq=False)
class ClaimView:
    """A claim on a page.

    Attributes:
        outcome: of the claim.
        anchor: its name in the address of the page.
        name: of the claim without its checkpoint.
        verdicts: in their order.
        command: runs it alone.
        code: the number of its code; None where the ledger does not have it.
        maps: the anchor of the heat map that a verdict rests on, by the place of the verdict.
    """

    outcome: ClaimOutcome
    anchor: str
    name: str
    verdicts: tuple[VerdictView, ...]
    command: str
    code: int | None
    maps: dict[int, str] = field(default_factory=dict)

    @property
    def finding(self) -> Finding:
        """The word for its outcome."""
        return self.outcome.finding or "error"

    @property
    def rank(self) -> int:
        """Its place by finding: what needs attention comes first."""
        return ORDER.index(self.finding)

    @property
    def needs_attention(self) -> bool:
        """Whether a run with this claim fails."""
        return self.finding not in NO_FAILURE

    @property
    def symbol(self) -> str:
        """A sign beside its finding."""
        return SYMBOLS.get(self.finding, "!")

    @property
    def heads(self) -> str:
        """The heads that its first verdict is about."""
        names = [str(head) for verdict in self.verdicts[:1] for head in verdict.record.context.heads or ()]
        return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")

    @property
    def deciding(self) -> VerdictView | None:
        """The verdict that is shown beside its name: the last one that is no support, else the first."""
        failing = [verdict for verdict in self.verdicts if verdict.record.outcome != "supported"]
        return next(iter([*failing[-1:], *self.verdicts[:1]]), None)

    @property
    def caveats(self) -> list[str]:
        """Reasons why its support means less than its word, each once."""
        return list(dict.fromkeys(caveat for verdict in self.verdicts for caveat in verdict.record.caveats))

    @property
    def remarks(self) -> list[str]:
        """Its kills, its result in float32, and how many other heads it holds for."""
        return remarks(self.outcome)


def claims_of(ledger: Ledger, prompts: Prompts) -> tuple[list[ClaimView], list[tuple[str, str]]]:
    """Returns the claims of a page, and their codes, each once, with the name of its function.

    Args:
        ledger: of a run.
        prompts: to which the texts of worst prompts are added.

    Returns:
        The claims that were judged or do not apply, those that need attention first; claims that were not checked are
        left out.
    """
    codes: dict[str, tuple[int, str]] = {}
    anchors: dict[str, int] = {}
    views = []
    for outcome in ledger.claims:
        if outcome.finding in (None, "not checked"):
            continue
        claim = outcome.claim
        if claim.code:
            codes.setdefault(claim.code, (len(codes), (claim.cite or claim.id).partition("[")[0]))
        views.append(
            ClaimView(
                outcome,
                _anchor(claim.cite or claim.id, anchors),
                short(str(claim.name or claim.id), str(outcome.checkpoint)),
                tuple(_verdict(record, prompts) for record in outcome.records),
                shlex.join(["pytest", claim.id, *ledger.run.flags]),
                codes[claim.code][0] if claim.code else None,
            )
        )
    views.sort(key=lambda view: view.rank)
    return views, [(name, code) for code, (_, name) in codes.items()]


def _anchor(name: str, taken: dict[str, int]) -> str:
    """Returns a name for the address of the page that no other claim has."""
    slug = "claim-" + (re.sub(r"[^\w.]+", "-", name, flags=re.ASCII).strip("-")[:120] or "x")
    taken[slug] = taken.get(slug, 0) + 1
    return slug if taken[slug] == 1 else f"{slug}--{taken[slug]}"


def _verdict(record: Record, prompts: Prompts) -> VerdictView:
    bound, measurement = Bound.read(record.bound), record.measurement()
    labels: Sequence[tuple[str, float]] = ()
    if bound is not None and measurement is not None and record.sample is not None and len(record.values) > 1:
        labels = worst(measurement, bound)
    texts = tuple(WorstPrompt(prompts.place(label), label, quote(value)) for label, value in labels)
    return VerdictView(record, interval_of(record), texts, _measured(record))


def _measured(record: Record) -> str:
    """Returns what a verdict was measured on and how."""
    what = record.context.observation
    templates = f" of {counted(record.templates, 'template')}" if record.templates else ""
    parts = [f"{counted(record.n, what)}{templates}"]
    parts += [f"the worst of {record.examples} examples"] if record.examples else []
    parts += ["a fixed population, without an interval"] if record.interval is None else [f"interval: {record.method}"]
    for key, value in record.context.to_json().items():
        if key not in SHOWN_ELSEWHERE and value not in (None, "", [], {}):
            parts.append(f"{key.replace('_', ' ')} {_text(value)}")
    return "; ".join(parts)


def _text(value: object) -> str:
    """Returns a value as text; the items of a list with commas between them."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return quote(value) if isinstance(value, float) else str(value)
