"""Record: everything that one verdict rests on, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

Outcome: TypeAlias = Literal["supported", "refuted", "inconclusive"]


@dataclass(frozen=True)
class RecordedClaim:
    """The claim that a verdict belongs to.

    Attributes:
        id: pytest's node id.
        cite: the stable id, such as ``ioi/name_movers.reads_the_answer[gpt2-9.9]``.
        statement: what the claim states, in one line.
        source: the paper and section.
        role: whose heads it is about; None for a claim without a role.
        evidence: class of a published figure: A, B, C or D.
        finding: rows of a list of documented findings.
    """

    id: str
    cite: str
    statement: str
    source: str
    role: str | None
    evidence: str | None
    finding: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As a table of JSON."""
        return {
            "id": self.id,
            "cite": self.cite,
            "statement": self.statement,
            "source": self.source,
            "role": self.role,
            "evidence": self.evidence,
            "finding": list(self.finding),
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedClaim:
        """From what :meth:`to_json` returned."""
        return cls(**{**table, "finding": tuple(table["finding"])})


@dataclass(frozen=True)
class RecordedMember:
    """What one member of a set of heads adds.

    Attributes:
        member: its label, such as ``9.9``.
        contribution: the word for what it adds.
        alone: the effect of the member alone, in the unit of the record; None where it was not measured.
        marginal: the effect of the set minus the effect of the set without the member; None as above.
        alone_interval: 95 % interval of ``alone``; None of a fixed population.
        marginal_interval: 95 % interval of ``marginal``; None of a fixed population.
    """

    member: str
    contribution: str
    alone: float | None
    marginal: float | None
    alone_interval: tuple[float, float] | None
    marginal_interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """As a table of JSON."""
        return _table(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedMember:
        """From what :meth:`to_json` returned."""
        ends = {key: _pair(table[key]) for key in ("alone_interval", "marginal_interval")}
        return cls(**{**table, **ends})


@dataclass(frozen=True)
class Record:
    """Everything that one verdict rests on.

    Attributes:
        subject: what the verdict is about, such as ``copy_score of 9.9``.
        quantity: what was measured.
        outcome: the verdict.
        value: the mean over prompts, in ``unit``.
        unit: of the values.
        tolerance: how far float noise may move ``value``.
        population: ``fixed`` or ``sampled``.
        n: number of values.
        bound: the bound in words.
        slack: how far ``value`` lies inside the bound; negative outside.
        margin: how far the interval (or the value of a fixed population) lies inside the bound.
        interval: the ends of the interval; None of a fixed population.
        method: how the interval was computed.
        templates: number of clusters of the interval; None of a fixed population.
        controls: label and value of each control; no value where it cannot be measured.
        controls_shown: the controls as text.
        same: labels of controls that do as much as the claim.
        members: what each member of a set of heads adds.
        specific: of how many other heads the claim is true too, as text.
        version: of the measurement's definition.
        notes: what the number leaves open.
        caveats: what the verdict says less than it seems to.
        details: further values by name.
        about: what was measured, on which data, with which model and precision; JSON values by name.
        examples: of how many verdicts under ``@given`` this is the worst; None of any other claim.
        claim: the claim; None until its body has ended.
        seed: of the run; None until the claim's body has ended.
    """

    subject: str
    quantity: str
    outcome: Outcome
    value: float
    unit: str
    tolerance: float
    population: str
    n: int
    bound: str
    slack: float
    margin: float
    interval: tuple[float, float] | None
    method: str
    templates: int | None
    controls: tuple[tuple[str, float | None], ...]
    controls_shown: tuple[str, ...]
    same: tuple[str, ...]
    members: tuple[RecordedMember, ...]
    specific: str | None
    version: int
    notes: tuple[str, ...]
    caveats: tuple[str, ...]
    details: Mapping[str, Any]
    about: Mapping[str, Any]
    examples: int | None = None
    claim: RecordedClaim | None = None
    seed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As a table of JSON; ``examples``, ``claim`` and ``seed`` only where there are any."""
        table = _table(self)
        return {key: table[key] for key in table if key not in _LATER or table[key] is not None}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Record:
        """From what :meth:`to_json` returned, also after a way through JSON text."""
        claim = table.get("claim")
        typed = {
            "interval": _pair(table["interval"]),
            "controls": tuple((label, value) for label, value in table["controls"]),
            "members": tuple(map(RecordedMember.from_json, table["members"])),
            "claim": None if claim is None else RecordedClaim.from_json(claim),
            **{key: tuple(table[key]) for key in ("controls_shown", "same", "notes", "caveats")},
        }
        return cls(**{**table, **typed})


_LATER = ("examples", "claim", "seed")


def _table(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, in their order, each as JSON has it."""
    return {field.name: _json(getattr(value, field.name)) for field in fields(value)}


def _json(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _pair(ends: Any) -> tuple[float, float] | None:
    """The ends of an interval."""
    return None if ends is None else (ends[0], ends[1])
