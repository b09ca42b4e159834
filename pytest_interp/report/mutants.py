"""The table of mutants: how many claims each mutant killed, for mutants that must kill and for those that must not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.reruns import Falsified, Seen
from pytest_interp.report.layout import headed
from pytest_interp.text import counted, cut, line

_SEEN: tuple[Seen, ...] = ("killed", "survived", "inconclusive", "not applicable", "error", "equivalent")
_HEADS = ("killed", "survived", "unsure", "n/a", "error", "equal")
_KEY = (
    "  killed: the damage refuted the claim. Each claim needs a kill where it must",
    "  die, and none where it must live, or the run fails. unsure: inconclusive;",
    "  equal: the damage changed nothing.",
)
"""How to read the table."""


def falsified(outcomes: Iterable[ClaimOutcome]) -> list[str]:
    """Returns the table of mutants, by checkpoint.

    Args:
        outcomes: of the claims that were called.

    Returns:
        Lines of at most 79 columns; none if no claim was run on mutants.
    """
    by_checkpoint: dict[str, list[Falsified]] = {}
    for outcome in outcomes:
        if outcome.falsified is not None:
            by_checkpoint.setdefault(str(outcome.checkpoint), []).append(outcome.falsified)
    lines = [text for checkpoint, claims in by_checkpoint.items() for text in _table(checkpoint, claims)]
    return [*lines, *_KEY] if lines else []


def teeth(claims: Sequence[Falsified]) -> str:
    """Returns how many claims were run on how many mutants, and how many of them no mutant refutes.

    Args:
        claims: of one checkpoint, on their mutants.
    """
    toothless = sum(bool(claim.survived) for claim in claims)
    mutants = sum(len(claim.mutants) for claim in claims)
    return f"{counted(len(claims), 'claim')} on {counted(mutants, 'mutant')}, {toothless} without teeth"


def _table(checkpoint: str, claims: Sequence[Falsified]) -> list[str]:
    """Returns the table of one checkpoint: a row for each mutant, a column for each outcome of a claim on it."""
    mutants = [mutant for claim in claims for mutant in claim.mutants]
    lines = headed(checkpoint, teeth(claims))
    for expected in ("die", "live"):
        group = [mutant for mutant in mutants if mutant.expected == expected]
        if group:
            lines.append(f"  {'must ' + expected:<20}" + "".join(f"{head:>9}" for head in _HEADS))
        for name in dict.fromkeys(mutant.name for mutant in group):
            counts = Counter(mutant.seen for mutant in group if mutant.name == name)
            lines.append(f"  {cut(line(name), 20):<20}" + "".join(f"{counts[seen] or '.':>9}" for seen in _SEEN))
    return lines


def remarks(outcome: ClaimOutcome) -> list[str]:
    """Returns remarks on a claim: its kills, its result in float32, and how many other heads it holds for.

    Args:
        outcome: of the claim.

    Returns:
        Texts, each once; none for a claim without such runs.
    """
    texts = [] if outcome.falsified is None else [outcome.falsified.died]
    texts += [] if outcome.float32 is None else [outcome.float32.summary]
    return texts + list(dict.fromkeys(record.specific for record in outcome.records if record.specific))
