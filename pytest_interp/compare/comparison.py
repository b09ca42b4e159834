"""Pairs the claims of two ledgers, and sorts them by what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from pytest_interp.compare.moves import Move, causes_of, move_of, record_pairs
from pytest_interp.errors import UsageError
from pytest_interp.ledger.ledger import Ledger
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.text import counted

Change: TypeAlias = Literal["turned", "moved", "other prompts", "unchanged"]
"""What became of a claim, worst first.

``turned``: another finding. ``moved``: the same finding, but a number moved by more than float noise may explain, or
other verdicts were given. ``other prompts``: the same finding, and numbers on other prompts.
"""
FailOn: TypeAlias = Literal["verdict", "number", "never"]
"""Which changes make a comparison fail."""


@dataclass(frozen=True)
class Pair:
    """A claim in two ledgers.

    Attributes:
        checkpoint: its name, in the second one.
        name: of the claim, without the checkpoint.
        before: the outcome in the first ledger.
        after: the outcome in the second one.
        moves: its numbers before and after.
        causes: what else differs between the two runs of it.
        unpaired: a text about verdicts that only one of them has; empty where there are none.
    """

    checkpoint: str
    name: str
    before: ClaimOutcome
    after: ClaimOutcome
    moves: tuple[Move, ...]
    causes: tuple[str, ...]
    unpaired: str = ""

    @cached_property
    def change(self) -> Change:
        """What became of the claim."""
        if verdict_of(self.before) != verdict_of(self.after):
            return "turned"
        if self.unpaired or any(move.is_beyond for move in self.moves):
            return "moved"
        return "other prompts" if any(move.allowed is None for move in self.moves) else "unchanged"

    @property
    def share(self) -> float:
        """The furthest move of its numbers, as a multiple of the allowed distance."""
        return max((move.share for move in self.moves), default=0.0)


@dataclass(frozen=True)
class Comparison:
    """Two ledgers side by side.

    Attributes:
        before: the first ledger.
        after: the second one.
        pairs: the claims that both have, worst first.
        only_before: the names of claims that only the first one has, with their checkpoint where there are several.
        only_after: those that only the second one has.
    """

    before: Ledger
    after: Ledger
    pairs: tuple[Pair, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @cached_property
    def counts(self) -> Mapping[Change, int]:
        """The number of claims by what became of them."""
        return Counter(pair.change for pair in self.pairs)

    @cached_property
    def common_causes(self) -> tuple[str, ...]:
        """What differs between the runs as a whole: versions of libraries, and what differs for each claim."""
        versions = [
            f"{name} {self.before.run.versions[name]} -> {version}"
            for name, version in self.after.run.versions.items()
            if self.before.run.versions.get(name, version) != version
        ]
        counts = Counter(cause for pair in self.pairs for cause in pair.causes)
        judged = sum(bool(pair.moves) for pair in self.pairs)
        return (*versions, *(cause for cause, count in counts.items() if judged > 1 and count == judged))

    def name_of(self, pair: Pair) -> str:
        """The name of a claim, with its checkpoint where the ledgers have several.

        Args:
            pair: the claim.
        """
        return pair.name if self._has_one_checkpoint else f"{pair.checkpoint}: {pair.name}"

    @cached_property
    def _has_one_checkpoint(self) -> bool:
        return len({pair.checkpoint for pair in self.pairs}) == 1

    def causes(self, pair: Pair) -> tuple[str, ...]:
        """What differs for one claim beside the common causes.

        Args:
            pair: the claim.
        """
        return tuple(cause for cause in pair.causes if cause not in self.common_causes)

    def fails(self, fail_on: FailOn) -> bool:
        """Whether the comparison fails.

        Args:
            fail_on: ``verdict``: a claim turned; ``number``: a claim turned or moved; ``never``.
        """
        changes: dict[FailOn, tuple[Change, ...]] = {"verdict": ("turned",), "number": ("turned", "moved"), "never": ()}
        return any(self.counts[change] for change in changes[fail_on])


ORDER: tuple[Change, ...] = ("turned", "moved", "other prompts", "unchanged")
"""The order of a comparison's claims."""


def compare(before: Ledger, after: Ledger) -> Comparison:
    """Returns two ledgers side by side.

    Claims are paired by checkpoint and stable name. A ledger of one checkpoint is compared with one of another: then
    the names of checkpoints do not count.

    Args:
        before: the first ledger.
        after: the second one.

    Returns:
        The comparison, the worst claims first.

    Raises:
        UsageError: no claim is in both.
    """
    checkpoints = [{claim.checkpoint for claim in ledger.claims} for ledger in (before, after)]
    across = len(checkpoints[0]) == len(checkpoints[1]) == 1
    first, second = (claims_by_key(ledger.claims, across=across) for ledger in (before, after))
    pairs = [_pair(first[key], second[key]) for key in second if key in first]
    if not pairs:
        raise UsageError(f"no claim is in both ledgers: {_holding(before)}, and {_holding(after)}")
    pairs.sort(key=lambda pair: (ORDER.index(pair.change), -pair.share))
    return Comparison(
        before,
        after,
        tuple(pairs),
        tuple(": ".join(filter(None, key)) for key in first if key not in second),
        tuple(": ".join(filter(None, key)) for key in second if key not in first),
    )


def verdict_of(outcome: ClaimOutcome) -> str:
    """Returns the finding of a claim, whatever its snapshot says: numbers are compared here, not with a file.

    Args:
        outcome: of the claim.
    """
    return "supported" if outcome.finding in _OF_SNAPSHOTS else outcome.finding or "no finding"


_OF_SNAPSHOTS = ("snapshot differs", "no snapshot")
"""Findings of claims whose verdicts are all supported."""


def claims_by_key(claims: Sequence[ClaimOutcome], *, across: bool) -> dict[tuple[str, str], ClaimOutcome]:
    """Returns the claims by checkpoint and name; a second claim of the same name is numbered.

    Args:
        claims: of a ledger.
        across: whether checkpoints do not count; the first part of a key is then empty.
    """
    by_key: dict[tuple[str, str], ClaimOutcome] = {}
    for claim in claims:
        checkpoint = "" if across else str(claim.checkpoint)
        name, number = _name(claim), 1
        while (checkpoint, name if number == 1 else f"{name} ({number})") in by_key:
            number += 1
        by_key[checkpoint, name if number == 1 else f"{name} ({number})"] = claim
    return by_key


def _name(claim: ClaimOutcome) -> str:
    """The stable name of a claim without its checkpoint."""
    function, _, parameters = (claim.claim.cite or claim.claim.id).partition("[")
    others = parameters.removesuffix("]").replace(str(claim.checkpoint), "").strip("-")
    return f"{function} {others}".rstrip()


def _pair(before: ClaimOutcome, after: ClaimOutcome) -> Pair:
    pairs = record_pairs(before.records, after.records)
    codes = before.claim.code, after.claim.code
    causes = ["the claim's code"] if all(codes) and codes[0] != codes[1] else []
    causes += [cause for first, second in pairs for cause in causes_of(first, second)]
    counts = len(before.records), len(after.records)
    unpaired = ""
    if all(counts) and counts != (len(pairs), len(pairs)):
        unpaired = f"{counted(counts[0], 'verdict')} before, {counts[1]} after, {len(pairs)} of them the same"
    moves = tuple(move_of(first, second) for first, second in pairs)
    return Pair(str(after.checkpoint), _name(after), before, after, moves, tuple(dict.fromkeys(causes)), unpaired)


def _holding(ledger: Ledger) -> str:
    names = sorted({str(claim.checkpoint) for claim in ledger.claims})
    first = f", such as {_name(ledger.claims[0])}" if ledger.claims else ""
    return f"{counted(len(ledger.claims), 'claim')} on {', '.join(names) or 'no checkpoint'}{first}"
