"""The tested paths of a run: from which heads into which heads, or the logits, with the verdict on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_interp.common.context import Context
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, names_of
from pytest_interp.ledger.outcome import Finding
from pytest_interp.report.page.claims import ClaimView, VerdictView

INPUTS = {"q": "queries", "k": "keys", "v": "values"}
"""Words for the inputs of a head."""
MOST_PATHS = 60
"""Paths of a checkpoint that are drawn; the table of claims has the others too."""


@dataclass(frozen=True)
class JudgedPath:
    """A path that a claim is about.

    Attributes:
        senders: heads at its start; at least one.
        receivers: heads at its end; none for the logits.
        into: the input of the receivers: ``q``, ``k`` or ``v``; empty for the logits.
        at: the position of that input; empty for the logits.
        claim: that is about it.
        verdict: on it.
    """

    senders: tuple[Head, ...]
    receivers: tuple[Head, ...]
    into: str
    at: str
    claim: ClaimView
    verdict: VerdictView

    @property
    def source(self) -> str:
        """The senders, for a reader."""
        return names_of(self.senders)

    @property
    def target(self) -> str:
        """Its end, for a reader, such as ``queries of 9.9 at END`` or ``logits``."""
        if not self.receivers:
            return "logits"
        place = f" at {self.at}" if self.at else ""
        return f"{INPUTS.get(self.into, self.into)} of {names_of(self.receivers)}{place}"

    @property
    def finding(self) -> Finding:
        """The outcome of its claim where this verdict decides it; else its own."""
        return self.claim.finding if self.verdict is self.claim.deciding else self.verdict.record.outcome

    @property
    def label(self) -> str:
        """The path and its verdict as one sentence."""
        record = self.verdict.record
        value = " ".join(filter(None, (self.verdict.value, self.verdict.interval, record.unit)))
        return f"{self.source} into the {self.target}: {value}; required {record.bound}: {self.finding}"


def paths_of(claims: Sequence[ClaimView]) -> list[JudgedPath]:
    """Returns the paths that claims are about, in the order of the claims.

    Args:
        claims: of one checkpoint.
    """
    paths = []
    for claim in claims:
        for verdict in claim.verdicts:
            context = verdict.record.context
            senders = tuple(head for head in context.heads or () if isinstance(head, Head))
            receivers = _receivers(context)
            if senders and receivers is not None:
                into, at = (str(context.extra.get("into", "")), str(context.at or "")) if receivers else ("", "")
                paths.append(JudgedPath(senders, receivers, into, at, claim, verdict))
    return paths


def _receivers(context: Context) -> tuple[Head, ...] | None:
    """Returns the heads at the end of a path, none for the logits; None where nothing is said of an end."""
    receivers = context.extra.get("receivers")
    if receivers == "logits":
        return ()
    if not isinstance(receivers, list | tuple) or not receivers:
        return None
    try:
        return tuple(Head.parse(str(head)) for head in receivers)
    except UsageError:  # a user's own measurement may mean something else by this word
        return None
