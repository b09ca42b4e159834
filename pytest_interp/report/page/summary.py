"""The first screen of a page: what was judged, on what, when, and in one sentence what holds and what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_interp.ledger.ledger import Ledger
from pytest_interp.ledger.outcome import NO_FAILURE
from pytest_interp.report.page.claims import ORDER, ClaimView
from pytest_interp.text import counted


@dataclass(frozen=True)
class Judged:
    """A checkpoint that was judged.

    Attributes:
        name: of the checkpoint.
        facts: its weights, precision and device.
        data: the data sets, with the number of prompts of each.
        counts: number of its claims by finding, in the order of a page.
    """

    name: str
    facts: str
    data: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        """The number of its claims."""
        return sum(count for _, count in self.counts)


def judged(claims: Sequence[ClaimView]) -> list[Judged]:
    """Returns the checkpoints that were judged, in the order of their claims.

    Args:
        claims: of the page.
    """
    by_name: dict[str, list[ClaimView]] = {}
    for claim in claims:
        by_name.setdefault(str(claim.outcome.checkpoint), []).append(claim)
    return [_judged(name, of_name) for name, of_name in sorted(by_name.items())]


def _judged(name: str, claims: Sequence[ClaimView]) -> Judged:
    contexts = [record.context for claim in claims for record in claim.outcome.records]
    models = dict.fromkeys(
        f"weights {model.fingerprint}, {model.dtype}{f' ({model.precision})' * bool(model.precision)} on {model.device}"
        for model in (context.checkpoint for context in contexts)
        if model is not None
    )
    data = dict.fromkeys(
        f"{data.name}: {counted(data.n, 'prompt')}{' with BOS' if data.bos else ''}"
        for data in (context.data for context in contexts)
        if data is not None
    )
    return Judged(name, "; ".join(models), tuple(data), counts_of(claims))


def counts_of(claims: Sequence[ClaimView]) -> tuple[tuple[str, int], ...]:
    """Returns the number of claims by finding, what needs attention first; findings of no claim are left out.

    Args:
        claims: of the page.
    """
    counts = Counter(claim.finding for claim in claims)
    return tuple((finding, counts[finding]) for finding in ORDER if counts[finding])


def sentence(ledger: Ledger, claims: Sequence[ClaimView]) -> str:
    """Returns one sentence: how many claims hold, and what became of the others.

    Args:
        ledger: of the run.
        claims: of the page.
    """
    counts = dict(counts_of(claims))
    total = sum(count for finding, count in counts.items() if finding != "not applicable")
    holding = counts.get("supported", 0)
    if not total:
        return "No claim was judged."
    if total == 1:
        first = "The one claim that was judged holds" if holding else "One claim was judged"
    elif holding in (0, total):
        first = f"All {total} claims hold" if holding else f"None of {total} claims holds"
    else:
        first = f"{holding} of {total} claims hold{'s' * (holding == 1)}"
    if with_caveat := sum(claim.finding == "supported" and bool(claim.caveats) for claim in claims):
        first += f", {with_caveat} of them with a caveat" if holding > 1 else ", with a caveat"
    parts = [f"{count} {_word(finding, count)}" for finding, count in counts.items() if _is_news(finding)]
    expected = counts.get("expected failure", 0)
    others = [f"{expected} fail{'s' * (expected == 1)} as expected"] if expected else []
    missing = counts.get("not applicable", 0)
    others += [f"{missing} do{'es' * (missing == 1)} not apply"] if missing else []
    text = "; ".join([first, *([", ".join(parts)] if parts else []), *([", ".join(others)] if others else [])])
    unended = "" if ledger.run.is_complete else " The run was stopped before its end."
    return f"{text}.{unended}"


def _is_news(finding: str) -> bool:
    return finding not in NO_FAILURE


def _word(finding: str, count: int) -> str:
    """Returns a finding as the predicate of so many claims."""
    verb = "is" if count == 1 else "are"
    words = {
        "error": "ended in an error",
        "snapshot differs": "left the snapshot",
        "no snapshot": f"{'has' if count == 1 else 'have'} no snapshot",
        "no teeth": f"{'has' if count == 1 else 'have'} no teeth",
        "moved by precision": f"{verb} moved by a low precision alone",
    }
    return words.get(finding, f"{verb} {finding}")
