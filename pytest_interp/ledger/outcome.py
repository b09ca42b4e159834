"""ClaimOutcome: the outcome of one claim, as its report carries it. The words for outcomes are derived here only.

The closing table, the ledger, ``compare``, ``check()`` and JUnit are views of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from pytest_interp.common.builtin_types import plain
from pytest_interp.ledger.claim import RecordedClaim
from pytest_interp.ledger.record import Record
from pytest_interp.ledger.reruns import Falsified, Float32Run, Movement, Mutant

CARRIER = "interp_outcome"
"""The attribute of a report that has the outcome of its claim, in builtin types: pytest-xdist serialises it."""
NOT_CHECKED = "not checked: "
NOT_APPLICABLE = "not applicable: "
NOT_SELECTED = "not selected by --interp-model"
NO_CIRCUIT = "has no circuit file"
"""What the reason of a claim about heads says that does not apply for want of a circuit."""
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


@dataclass(frozen=True)
class OtherPrompts:
    """A data set of a claim that is not the one its snapshot was taken with.

    Attributes:
        data: its name.
        differs: a text for each known difference, with the value before and the value now.
        chosen: True where the user chose another seed, BOS choice, number of prompts or checkpoints to share words
            with. False where these are the same, so that the task, its words or a library has changed, which nobody
            asked for.
    """

    data: str
    differs: tuple[str, ...]
    chosen: bool


@dataclass(frozen=True)
class LeftSnapshot:
    """The numbers of a claim that left their snapshot.

    Attributes:
        lines: a text for each, the furthest moved first.
        taken_with: the device, dtype and versions that the snapshot was taken with.
    """

    lines: tuple[str, ...]
    taken_with: str


@dataclass(frozen=True)
class ClaimOutcome:
    """The outcome of one claim.

    Attributes:
        claim: its names, statement and code.
        checkpoint: the name of the checkpoint; None where the process crashed before it could say it.
        records: of its verdicts, in order.
        snapshot: the result of the comparison with its snapshot; None where nothing was compared.
        left: its numbers that left their snapshot; None where none did.
        float32: its outcome in float32, where it failed in half precision; otherwise None.
        prompts: its data sets that are not those of its snapshot; None where nothing was compared.
        noise: the movements of its numbers; None without ``--interp-noise``.
        falsified: its outcomes on mutants; None without ``--interp-falsify``.
        outcome: how pytest counts the test.
        when: the phase that decided: setup, call or teardown.
        reason: pytest's reason; empty for a test that passed.
    """

    claim: RecordedClaim
    checkpoint: str | None = None
    records: tuple[Record, ...] = ()
    snapshot: SnapshotStatus | None = None
    left: LeftSnapshot | None = None
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

    @property
    def properties(self) -> list[tuple[str, str | float]]:
        """Names and values for JUnit: the finding, and value, interval, bound and outcome of each verdict."""
        properties: list[tuple[str, str | float]] = [("interp.claim", self.claim.cite or self.claim.id)]
        properties += [("interp.checkpoint", self.checkpoint)] if self.checkpoint else []
        properties += [("interp.finding", self.finding)] if self.finding else []
        seen: Counter[str] = Counter()
        for record in self.records:
            seen[record.quantity] += 1
            number = seen[record.quantity]
            name = f"interp.{record.quantity}" + (f".{number}" if number > 1 else "")
            ends = zip(("low", "high"), record.interval or (), strict=False)
            properties += [(f"{name}.value", record.value), *((f"{name}.{end}", value) for end, value in ends)]
            properties += [(f"{name}.bound", record.bound), (f"{name}.outcome", record.outcome)]
        return properties

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome as a table of JSON, ``finding`` included.

        Returns:
            A new dictionary. ``left``, ``float32``, ``prompts``, ``noise`` and the mutants have no key while they are
            None.
        """
        table: dict[str, Any] = {"records": [record.to_json() for record in self.records]}
        if self.checkpoint is not None:
            table |= {"checkpoint": self.checkpoint, "snapshot": self.snapshot}
        table["claim"] = self.claim.to_json()
        if self.float32 is not None:
            table["float32"] = {
                "moved": self.float32.moved,
                "said": self.float32.summary,
                "records": [record.to_json() for record in self.float32.records],
            }
        if self.left is not None:
            table["left"] = asdict(self.left)
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
        left, float32, prompts, noise = (table.get(key) for key in ("left", "float32", "prompts", "noise"))
        return cls(
            claim=RecordedClaim.from_json(table["claim"]),
            checkpoint=table.get("checkpoint"),
            records=tuple(map(Record.from_json, table["records"])),
            snapshot=table.get("snapshot"),
            left=None if left is None else LeftSnapshot(tuple(left["lines"]), left["taken_with"]),
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


def carry(report: Any, outcome: ClaimOutcome, decided: ClaimOutcome) -> None:
    """Attaches the outcome of a claim to a report, and flat properties of it for JUnit.

    Args:
        report: pytest's report of one phase of the claim.
        outcome: as of this phase.
        decided: as of the phase that decided; JUnit reads the properties of the last report, that of the teardown.
    """
    setattr(report, CARRIER, plain(outcome.to_json()))
    report.user_properties.extend(plain(decided.properties))


def carries(report: Any) -> bool:
    """Returns whether a report is that of a claim.

    Args:
        report: pytest's report of one phase of any test.
    """
    return getattr(report, CARRIER, None) is not None


def carried(report: Any) -> ClaimOutcome | None:
    """Returns the outcome of a claim that a report carries.

    Args:
        report: pytest's report of one phase of any test.

    Returns:
        The outcome as of this phase; None in the report of a test that is no claim.
    """
    table = getattr(report, CARRIER, None)
    return None if table is None else ClaimOutcome.from_json(table)
