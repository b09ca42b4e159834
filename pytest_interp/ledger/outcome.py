"""ClaimOutcome: the outcome of one claim, as its report carries it. The words for outcomes are derived here only.

The closing table, the ledger, ``check()`` and JUnit are views of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from pytest_interp.ledger.record import Record

PROPERTY = "interp"
"""The key in ``user_properties`` under which a claim's report carries its outcome."""
NOT_CHECKED = "not checked: "
NOT_APPLICABLE = "not applicable: "
NOT_SELECTED = "not selected by --interp-model"
NOT_QUICK = "not one of the quick claims (--interp-quick)"

Ending: TypeAlias = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]
"""How pytest counts a test."""
Finding: TypeAlias = Literal[
    "supported",
    "refuted",
    "inconclusive",
    "moved by precision",
    "snapshot differs",
    "no snapshot",
    "no teeth",
    "expected failure",
    "not applicable",
    "error",
    "not checked",
]
"""The word for the outcome of a claim. Only *supported* counts as support."""
NO_FAILURE: tuple[Finding, ...] = ("supported", "expected failure", "not applicable")
"""Findings with which a run is a success."""
SnapshotStatus: TypeAlias = Literal["matched", "updated", "new number", "other prompts", "differs", "missing"]
Seen: TypeAlias = Literal["killed", "inconclusive", "not applicable", "error", "survived", "equivalent"]
"""The outcome of a claim on a mutant.

``killed``: a verdict was refuted. ``survived``: all were supported. ``equivalent``: the claim also holds for every head
that could take the place of the damaged ones, so that the mutant proves nothing.
"""


@dataclass(frozen=True)
class ClaimId:
    """The names of a claim.

    Attributes:
        id: pytest's node id.
        name: pytest's name of the test, parameters included; None where the process crashed before it could say it.
        cite: the stable id, such as ``ioi/name_movers.reads_the_answer[gpt2-9.9]``; None as above.
        statement: what it states, in one line; None as above.
    """

    id: str
    name: str | None = None
    cite: str | None = None
    statement: str | None = None


@dataclass(frozen=True)
class OtherPrompts:
    """A data set of a claim that is not the one its snapshot was taken with.

    Attributes:
        data: its name.
        differs: a text for each known difference, with the value before and the value now.
        chosen: True where the user chose another seed, BOS choice or number of prompts. False where these are the
            same, so that the task, its words or a library has changed, which nobody asked for.
    """

    data: str
    differs: tuple[str, ...]
    chosen: bool


@dataclass(frozen=True)
class Float32Run:
    """The outcome in float32 of a claim that failed in half precision.

    Attributes:
        moved: whether it is supported in float32, so that precision alone made it fail.
        summary: the same as text, with the numbers of both precisions; the ledger has it under ``said``.
        records: of its verdicts in float32.
    """

    moved: bool
    summary: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Movement:
    """One verdict of a claim under one condition that should not matter, or that draws other prompts.

    Attributes:
        condition: the name of one of ``noise.CONDITIONS``.
        quantity: what was measured.
        unit: of the numbers.
        by: value under the condition minus value without it, in ``unit``; None where the run has no such
            verdict.
        margin: distance of the interval (or value) from the bound without the condition; negative outside the bound.
        tolerance: the distance within which the snapshot accepts a value.
        outcome: the verdict under the condition, or the reason why there is none.
        floor: whether the condition changes neither prompts nor random draws, so that any movement is float noise.
    """

    condition: str
    quantity: str
    unit: str
    by: float | None
    margin: float
    tolerance: float
    outcome: str
    floor: bool


@dataclass(frozen=True)
class Mutant:
    """One mutant (damaged weights or a wrong protocol), and the outcome of a claim on it.

    Attributes:
        name: of ``mutants.MUTANTS``.
        expected: ``die`` where the claim must be refuted, ``live`` where it must still be supported.
        seen: the outcome of the claim.
        reason: the reason of an outcome that no verdict explains; otherwise empty.
        on_heads: whether the mutant damages the heads that the claim names.
    """

    name: str
    expected: Literal["die", "live"]
    seen: Seen
    reason: str = ""
    on_heads: bool = False


@dataclass(frozen=True)
class Falsified:
    """The outcomes of a claim on its mutants.

    Attributes:
        mutants: those on which it was run, in order.
        died: on how many it was refuted, as text.
        survived: the complaint about a claim that no mutant refutes, or that is refuted where it must hold; empty for
            a claim that did as expected.
    """

    mutants: tuple[Mutant, ...]
    died: str
    survived: str


@dataclass(frozen=True)
class ClaimOutcome:
    """The outcome of one claim.

    Attributes:
        claim: its names.
        checkpoint: the name of the checkpoint; None where the process crashed before it could say it.
        records: of its verdicts, in order.
        snapshot: the result of the comparison with its snapshot; None where nothing was compared.
        float32: its outcome in float32, where it failed in half precision; otherwise None.
        prompts: its data sets that are not those of its snapshot; None where nothing was compared.
        noise: the movements of its numbers; None without ``--interp-noise``.
        falsified: its outcomes on mutants; None without ``--interp-falsify``.
        outcome: how pytest counts the test.
        when: the phase that decided: setup, call or teardown.
        reason: pytest's reason; empty for a test that passed.
    """

    claim: ClaimId
    checkpoint: str | None = None
    records: tuple[Record, ...] = ()
    snapshot: SnapshotStatus | None = None
    float32: Float32Run | None = None
    prompts: tuple[OtherPrompts, ...] | None = None
    noise: tuple[Movement, ...] | None = None
    falsified: Falsified | None = None
    outcome: Ending = "passed"
    when: str = "setup"
    reason: str = ""

    @property
    def finding(self) -> Finding | None:
        """The word for the outcome; None for a plain skip and for a phase that decides nothing.

        A call decides; so does a setup that did not lead to one, and a teardown that went wrong.
        """
        skips: dict[str, Finding] = {NOT_CHECKED: "not checked", NOT_APPLICABLE: "not applicable"}
        skip = next((word for prefix, word in skips.items() if self._skip_reason.startswith(prefix)), None)
        words: dict[Ending, Finding | None] = {
            "passed": "supported" if self.when == "call" else None,
            "skipped": skip,
            "xfailed": "expected failure",
            "xpassed": "error",
            "error": "error",
            "failed": self._failure,
        }
        return None if self.checkpoint is None else words[self.outcome]

    @property
    def _failure(self) -> Finding:
        """The word for a call that failed: its last verdict that is no support, else the check that failed after it."""
        failing = [record.outcome for record in self.records if record.outcome != "supported"]
        if failing:
            return "moved by precision" if self.float32 is not None and self.float32.moved else failing[-1]
        if self.falsified is not None and self.falsified.survived:
            return "no teeth"
        if self.snapshot == "differs":
            return "snapshot differs"
        return "no snapshot" if self.snapshot == "missing" else "error"

    @property
    def explanation(self) -> str:
        """The reason for the finding where the numbers do not show it; else empty."""
        if self.finding == "not checked":
            return self._skip_reason.removeprefix(NOT_CHECKED).partition(": ")[2]
        if self.outcome == "skipped":
            return self._skip_reason
        if self.finding == "no teeth" and self.falsified is not None:
            return self.falsified.survived
        return {"xfailed": self.reason, "xpassed": "passed unexpectedly", "error": f"in {self.when}"}.get(
            self.outcome, ""
        )

    @property
    def _skip_reason(self) -> str:
        """The reason without the prefix that pytest puts before that of a skip."""
        return self.reason.removeprefix("Skipped: ")

    def reported(self, report: Any) -> ClaimOutcome:
        """Returns the outcome with how a phase ended, and why.

        Args:
            report: pytest's ``TestReport`` of one phase.

        Returns:
            A copy in which ``outcome``, ``when`` and ``reason`` are those of the report.
        """
        ending: Ending = "passed"
        reason = ""
        if hasattr(report, "wasxfail"):
            ending, reason = ("xfailed" if report.skipped else "xpassed"), report.wasxfail
        elif report.skipped:
            ending = "skipped"
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            ending = "failed" if report.when == "call" else "error"
            reason = crash.message if crash is not None else str(report.longrepr)
        return replace(self, outcome=ending, when=report.when, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome as a table of JSON, ``finding`` included.

        Returns:
            A new dictionary. ``float32``, ``prompts``, ``noise`` and the mutants have no key while they are None.
        """
        table: dict[str, Any] = {"records": [record.to_json() for record in self.records]}
        if self.checkpoint is not None:
            table |= {"checkpoint": self.checkpoint, "snapshot": self.snapshot}
        table["claim"] = {key: value for key, value in asdict(self.claim).items() if value is not None}
        if self.float32 is not None:
            table["float32"] = {
                "moved": self.float32.moved,
                "said": self.float32.summary,
                "records": [record.to_json() for record in self.float32.records],
            }
        if self.prompts is not None:
            table["prompts"] = [asdict(other) for other in self.prompts]
        if self.noise is not None:
            table["noise"] = [asdict(movement) for movement in self.noise]
        if self.falsified is not None:
            table |= asdict(self.falsified)
        ending = {"outcome": self.outcome, "finding": self.finding, "when": self.when, "reason": self.reason}
        return {**table, **ending}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> ClaimOutcome:
        """Returns the outcome that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned, directly or parsed from JSON text.

        Returns:
            An outcome equal to the one that was written.
        """
        float32, prompts, noise = (table.get(key) for key in ("float32", "prompts", "noise"))
        return cls(
            claim=ClaimId(**table["claim"]),
            checkpoint=table.get("checkpoint"),
            records=tuple(map(Record.from_json, table["records"])),
            snapshot=table.get("snapshot"),
            float32=None
            if float32 is None
            else Float32Run(float32["moved"], float32["said"], tuple(map(Record.from_json, float32["records"]))),
            prompts=None
            if prompts is None
            else tuple(OtherPrompts(other["data"], tuple(other["differs"]), other["chosen"]) for other in prompts),
            noise=None if noise is None else tuple(Movement(**movement) for movement in noise),
            falsified=Falsified(
                tuple(Mutant(**mutant) for mutant in table["mutants"]), table["died"], table["survived"]
            )
            if "mutants" in table
            else None,
            outcome=table["outcome"],
            when=table["when"],
            reason=table["reason"],
        )


def carried(report: Any) -> ClaimOutcome | None:
    """Returns the outcome of a claim that a report carries.

    Args:
        report: pytest's report of one phase of any test.

    Returns:
        The outcome as of this phase; None in the report of a test that is no claim.
    """
    tables = [value for name, value in getattr(report, "user_properties", ()) if name == PROPERTY]
    return ClaimOutcome.from_json(tables[-1]) if tables else None
