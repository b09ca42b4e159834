"""Record: everything that one verdict rests on, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from pytest_interp.common.context import Context

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
        """Returns the fields as a table of JSON: texts, lists and None.

        Returns:
            A new dictionary with a key for each attribute.
        """
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
        """Returns the claim that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned.

        Returns:
            A claim equal to the one that was written.
        """
        return cls(**{**table, "finding": tuple(table["finding"])})


@dataclass(frozen=True)
class RecordedMember:
    """The contribution of one member to the effect of a set of heads.

    Attributes:
        member: its label, such as ``9.9``.
        contribution: the contribution as a word.
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
        """Returns the fields as a table of JSON: texts, numbers, lists and None.

        Returns:
            A new dictionary with a key for each attribute.
        """
        return _table(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedMember:
        """Returns the member that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned.

        Returns:
            A member equal to the one that was written.
        """
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
        tolerance: how far float noise may move ``value``, in ``unit``; at least 0.
        population: ``fixed`` or ``sampled``.
        n: number of values; at least 1.
        bound: the bound in words.
        slack: distance of ``value`` from the bound, in ``unit``; positive inside, negative outside.
        margin: the smaller of these distances for the two ends of the interval; that of ``value`` without an interval.
        interval: the ends of the 95 % interval, in ``unit``; None of a fixed population.
        method: how the interval was computed.
        templates: number of clusters of the interval; None of a fixed population.
        controls: label and value of each control; no value where it cannot be measured.
        controls_shown: the controls as text.
        same: labels of controls that do as much as the claim.
        members: what each member of a set of heads adds.
        specific: a text that says for how many other heads the claim holds too; None where they were not measured.
        version: of the measurement's definition.
        notes: remarks on what the number does not settle.
        caveats: reasons why the verdict means less than its word, such as a control that does as much.
        details: further values by name.
        context: the model, prompts, heads and intervention; the ledger has it under ``about``.
        examples: number of verdicts under ``@given`` of which this is the worst; None of any other claim.
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
    context: Context
    examples: int | None = None
    claim: RecordedClaim | None = None
    seed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON: texts, numbers, lists, tables and None.

        Returns:
            A new dictionary with a key for each attribute; ``examples``, ``claim`` and ``seed`` have none while they
            are None.
        """
        table = _table(self)
        return {key: table[key] for key in table if key not in _LATER or table[key] is not None}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Record:
        """Returns the record that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned, directly or parsed from JSON text.

        Returns:
            A record equal to the one that was written.
        """
        claim = table.get("claim")
        typed = {
            "interval": _pair(table["interval"]),
            "controls": tuple((label, value) for label, value in table["controls"]),
            "members": tuple(map(RecordedMember.from_json, table["members"])),
            "claim": None if claim is None else RecordedClaim.from_json(claim),
            "context": Context.from_json(table["about"]),
            **{key: tuple(table[key]) for key in ("controls_shown", "same", "notes", "caveats")},
        }
        return cls(**{key: value for key, value in table.items() if key != "about"} | typed)


_LATER = ("examples", "claim", "seed")
"""Fields that are filled in after the verdict, and written only where they are."""
_KEYS = {"context": "about"}
"""Keys of JSON that differ from the name of the field."""


def _table(value: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass, in their order, each converted by `_json`."""
    return {_KEYS.get(field.name, field.name): _json(getattr(value, field.name)) for field in fields(value)}


def _json(value: Any) -> Any:
    """Returns a field as JSON has it: a tuple as a list, a mapping as a dictionary."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _pair(ends: Any) -> tuple[float, float] | None:
    """Returns the ends of an interval as a tuple: JSON has a list."""
    return None if ends is None else (ends[0], ends[1])
