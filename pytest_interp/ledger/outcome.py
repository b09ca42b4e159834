"""ClaimOutcome: what came of one claim, as its report carries it. The words for it are derived here and nowhere else.

The closing table, the ledger, ``check()`` and JUnit are views of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from pytest_interp.ledger.record import Record

PROPERTY = "interp"
"""The name under which a claim's report carries its outcome."""
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
"""What a claim came to. Only *supported* counts as support."""
NO_FAILURE: tuple[Finding, ...] = ("supported", "expected failure", "not applicable")
SnapshotStatus: TypeAlias = Literal["matched", "updated", "new number", "other prompts", "differs", "missing"]
Seen: TypeAlias = Literal["killed", "inconclusive", "not applicable", "error", "survived", "equivalent"]
"""What a claim said when it was run again; ``equivalent`` of a mutant on which it is as true."""


@dataclass(frozen=True)
class ClaimId:
    """Which claim it is.

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
    """A data set that is another one than when a claim's snapshot was taken.

    Attributes:
        data: its name.
        differs: what is known to differ, each with what it was and what it is.
        chosen: whether its seed, its BOS choice or its number of prompts is another one. Where they are the same, the
            task, its words or a library has changed, and nobody asked for it.
    """

    data: str
    differs: tuple[str, ...]
    chosen: bool


@dataclass(frozen=True)
class Float32Run:
    """What came of a claim that failed in half precision and was measured again in float32.

    Attributes:
        moved: whether it is supported in float32, so that precision alone made it fail.
        said: that, with the numbers of both precisions.
        records: of its verdicts in float32.
    """

    moved: bool
    said: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Movement:
    """One verdict of a claim under one condition that should not matter, or that draws other prompts.

    Attributes:
        condition: the name of one of ``noise.CONDITIONS``.
        quantity: what was measured.
        unit: of the numbers.
        by: how far the value moved; None where the condition does not apply.
        margin: how far the interval (or value) lies inside the bound without the condition.
        tolerance: how far the snapshot lets it move.
        outcome: the verdict under the condition, or why there is none.
        floor: whether this is float noise.
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
    """One damage or wrong protocol, what was expected of the claim there, and what was seen.

    Attributes:
        name: of ``mutants.MUTANTS``.
        expected: ``die`` or ``live``.
        seen: what the claim said; ``equivalent`` where it is as true of every head that could take the place.
        reason: why it says so, where that is not a verdict.
        on_heads: whether it damages the heads that the claim names.
    """

    name: str
    expected: Literal["die", "live"]
    seen: Seen
    reason: str = ""
    on_heads: bool = False


@dataclass(frozen=True)
class Falsified:
    """What came of a claim on its mutants.

    Attributes:
        mutants: those that it met.
        died: on how many it died, in words.
        survived: why it has no teeth, or too many; empty where it died and lived as it must.
    """

    mutants: tuple[Mutant, ...]
    died: str
    survived: str


@dataclass(frozen=True)
class ClaimOutcome:
    """What came of one claim.

    Attributes:
        claim: which claim.
        checkpoint: the name of the checkpoint; None where the process crashed before it could say it.
        records: of its verdicts, in order.
        snapshot: how its numbers compare with its snapshot; None where nothing was compared.
        float32: its numbers in float32, where it failed in half precision.
        prompts: its data sets that are others than in its snapshot; None where nothing was compared.
        noise: how far its numbers moved; None without ``--interp-noise``.
        falsified: what came of it on its mutants; None without ``--interp-falsify``.
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
        """The word for what the claim came to; None for a plain skip and for a phase that decides nothing.

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
        """The word for a call that failed: what was refuted, or what stands against a claim that was supported."""
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
        """Why a claim has its finding, beyond its numbers; empty where they say it."""
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
        return self.reason.removeprefix("Skipped: ")

    def reported(self, report: Any) -> ClaimOutcome:
        """The outcome with what a report of pytest adds: how the phase ended, and why.

        Args:
            report: the ``TestReport`` of one phase.
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
        """As a table of JSON, ``finding`` included; what a run was not asked for has no key."""
        table: dict[str, Any] = {"records": [record.to_json() for record in self.records]}
        if self.checkpoint is not None:
            table |= {"checkpoint": self.checkpoint, "snapshot": self.snapshot}
        table["claim"] = {key: value for key, value in asdict(self.claim).items() if value is not None}
        if self.float32 is not None:
            table["float32"] = {
                "moved": self.float32.moved,
                "said": self.float32.said,
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
        """From what :meth:`to_json` returned, also after a way through JSON text."""
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
    """The outcome of a claim that a report carries; None in the report of another test."""
    tables = [value for name, value in getattr(report, "user_properties", ()) if name == PROPERTY]
    return ClaimOutcome.from_json(tables[-1]) if tables else None
