"""What a run did not check, and what would check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_interp.ledger.ledger import Ledger
from pytest_interp.ledger.outcome import NOT_QUICK, NOT_SELECTED, ClaimOutcome

FEW = 2
"""Checkpoints that are named in a row; more are counted."""


@dataclass(frozen=True)
class Gap:
    """Something that a run did not check.

    Attributes:
        what: what was not checked.
        count: number of claims; None of a question about all of them.
        why: the reason.
        how: what would check it; empty where the reason says it.
        claims: their names, as far as they are known, or those of their checkpoints.
    """

    what: str
    count: int | None
    why: str
    how: str = ""
    claims: tuple[str, ...] = ()


def gaps_of(ledger: Ledger, *, compared: bool) -> list[Gap]:
    """Returns what a run did not check: claims first, then questions that were not asked of any claim.

    Args:
        ledger: of the run.
        compared: whether the page compares it with a baseline.
    """
    return [*_incomplete(ledger), *_left_out(ledger), *_skipped(ledger.claims), *_questions(ledger, compared=compared)]


def in_short(gaps: Sequence[Gap]) -> list[Gap]:
    """Returns the same with one row for all claims that are left out of a checkpoint in the same way.

    Args:
        gaps: of a run.
    """
    by_kind: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_kind.setdefault(gap.what.removeprefix("claims ").removeprefix("claim "), []).append(gap)
    rows = []
    for kind, several in by_kind.items():
        total = sum(gap.count or 0 for gap in several)
        why = f"for {len(several)} reasons"
        rows.append(several[0] if len(several) == 1 else Gap(f"{_claims(total)} {kind}", total, why))
    return rows


def _incomplete(ledger: Ledger) -> list[Gap]:
    run = ledger.run
    if run.is_complete:
        return []
    return [Gap("the rest of the run", run.collected - run.ended, "the run was stopped before its end", "run it again")]


def _left_out(ledger: Ledger) -> list[Gap]:
    """Returns the claims that options left out, or whose weights are not here; a row for each reason."""
    by_reason: dict[str, dict[str, int]] = {}
    for claims in ledger.run.not_run:
        by_reason.setdefault(claims.reason.replace(claims.checkpoint, "NAME"), {})[claims.checkpoint] = claims.count
    gaps = []
    for reason, counts in by_reason.items():
        hows = {NOT_QUICK: "run without --interp-quick", NOT_SELECTED: "pass --interp-model with its name"}
        names = [f"{name} ({count})" for name, count in counts.items()]
        total, how = sum(counts.values()), hows.get(reason, "")
        if len(counts) == 1:
            (name,) = counts
            gaps.append(Gap(f"{_claims(total)} on {name}", total, reason.replace("NAME", name), how))
        elif len(counts) <= FEW:
            gaps.append(Gap(f"{_claims(total)} on {' and '.join(names)}", total, reason, how))
        else:
            gaps.append(Gap(f"{_claims(total)} on {len(counts)} checkpoints", total, reason, how, tuple(names)))
    return gaps


def _claims(count: int) -> str:
    return "claim" if count == 1 else "claims"


def _skipped(claims: Sequence[ClaimOutcome]) -> list[Gap]:
    """Returns the claims that were skipped, or do not apply; a row for each checkpoint and reason."""
    by_reason: dict[tuple[str, str, str], list[str]] = {}
    for claim in claims:
        name = claim.claim.cite or claim.claim.id
        if claim.finding == "not checked":
            by_reason.setdefault(("on", str(claim.checkpoint), claim.explanation), []).append(name)
        elif claim.finding == "not applicable":
            reason = claim.explanation.removeprefix("not applicable: ")
            by_reason.setdefault(("not applicable to", str(claim.checkpoint), reason), []).append(name)
        elif claim.finding is None:
            by_reason.setdefault(("skipped on", str(claim.checkpoint), claim.reason), []).append(name)
    return [
        Gap(f"{_claims(len(names))} {what} {checkpoint}", len(names), reason, claims=tuple(names))
        for (what, checkpoint, reason), names in by_reason.items()
    ]


def _questions(ledger: Ledger, *, compared: bool) -> list[Gap]:
    """Returns the questions that were asked of no claim."""
    claims, run = [claim for claim in ledger.claims if claim.records], ledger.run
    if not claims:
        return []
    gaps = []
    if (on := _never(claims, [claim for claim in claims if claim.falsified])) is not None:
        why = "none was run on damaged weights or wrong protocols"
        gaps.append(Gap(f"whether the claims{on} can fail", None, why, "--interp-falsify"))
    if (on := _never(claims, [claim for claim in claims if claim.noise])) is not None:
        why = "no number was measured again with other batches, threads, seed or BOS choice"
        gaps.append(Gap(f"how far numbers{on} move by themselves", None, why, "--interp-noise"))
    if not compared:
        gaps.append(Gap("what changed", None, "the page was made without a baseline", "--interp-baseline"))
    uncompared = sum(claim.snapshot in (None, "new number", "other prompts", "missing") for claim in claims)
    if uncompared:
        gaps.append(
            Gap(
                "with numbers that no snapshot was compared with",
                uncompared,
                "no snapshot of these prompts and weights",
            )
        )
    gaps.append(
        Gap("other prompts", None, f"prompts and control heads are those of seed {run.seed}", "another --interp-seed")
    )
    return gaps


def _never(claims: Sequence[ClaimOutcome], asked: Sequence[ClaimOutcome]) -> str | None:
    """Returns the checkpoints none of whose claims was asked, such as ``on gpt2``; empty for all, None for none."""
    missing = {str(claim.checkpoint) for claim in claims} - {str(claim.checkpoint) for claim in asked}
    if not missing:
        return None
    names = " and ".join(sorted(missing)) if len(missing) <= FEW else f"{len(missing)} checkpoints"
    return f" on {names}" if asked else ""
