"""A claim as the ledger has it: its names, what it states, and its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class RecordedClaim:
    """A claim: its names, what it states, and its code.

    Attributes:
        id: pytest's node id.
        name: pytest's name of the test, parameters included; None where the process crashed before it could say it,
            as the fields below.
        cite: the stable id, such as ``ioi/name_movers.reads_the_answer[gpt2-9.9]``.
        statement: what it states, in one line.
        docstring: of its function.
        code: of its function, with decorators.
        source: the paper and section.
        role: the role whose heads it is about; None for a claim without one.
        evidence: the class of a published figure: A, B, C or D.
        finding: rows of a list of documented findings.
        markers: the names of its markers.
    """

    id: str
    name: str | None = None
    cite: str | None = None
    statement: str | None = None
    docstring: str = ""
    code: str = ""
    source: str | None = None
    role: str | None = None
    evidence: str | None = None
    finding: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON; those that are empty have no key."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedClaim:
        """Returns the claim that a table of JSON describes; keys that are no fields are passed over."""
        lists = {key: tuple(table.get(key, ())) for key in ("finding", "markers")}
        return cls(**{**{field.name: table[field.name] for field in fields(cls) if field.name in table}, **lists})
