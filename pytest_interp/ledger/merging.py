"""Joins the ledgers of shards of one run: each claim once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_interp.errors import UsageError
from pytest_interp.ledger.ledger import Ledger, NotRun, RecordedCheckpoint, Run
from pytest_interp.ledger.outcome import ClaimOutcome


def merged(ledgers: Mapping[str, Ledger]) -> Ledger:
    """Returns one ledger with the claims of several.

    Args:
        ledgers: by a name for messages, such as that of the file; at least one.

    Returns:
        Their claims, in the order of the ledgers. The run began with the first of them and took as long as all.

    Raises:
        UsageError: two of them have the same claim with other numbers, or were run with other versions, options or
            seed, so that they are no parts of one run.
    """
    names = list(ledgers)
    first = ledgers[names[0]].run
    for name in names[1:]:
        run = ledgers[name].run
        if difference := differing(first, run):
            raise UsageError(
                f"{names[0]} and {name} are no parts of one run: {difference}; compare them with "
                "`pytest-interp compare`"
            )
    claims: dict[tuple[str, str], tuple[str, ClaimOutcome]] = {}
    for name, ledger in ledgers.items():
        for claim in ledger.claims:
            key = (str(claim.checkpoint), claim.claim.id)
            if key in claims and claims[key][1].to_json() != claim.to_json():
                raise UsageError(
                    f"{claim.claim.id} is in {claims[key][0]} and in {name} with other results; leave one of them out, "
                    "or compare them with `pytest-interp compare`"
                )
            claims.setdefault(key, (name, claim))
    runs = [ledger.run for ledger in ledgers.values()]
    doubles = sum(len(ledger.claims) for ledger in ledgers.values()) - len(claims)
    run = replace(
        first,
        started=min(run.started for run in runs),
        seconds=round(sum(run.seconds for run in runs), 3),
        ended=sum(run.ended for run in runs) - doubles,
        collected=sum(run.collected for run in runs) - doubles,
        flags=first.flags if all(run.flags == first.flags for run in runs) else (),
        not_run=_not_run(list(ledgers.values())),
    )
    return Ledger(run, tuple(claim for _, claim in claims.values()), joined(list(ledgers.values())))


def _not_run(ledgers: Sequence[Ledger]) -> tuple[NotRun, ...]:
    """Returns the claims that no ledger has: what every one of them left out, on a checkpoint that none judged."""
    judged = {name for ledger in ledgers for name in ledger.names}
    counts: dict[tuple[str, str], list[int]] = {}
    for claims in (claims for ledger in ledgers for claims in ledger.run.not_run):
        counts.setdefault((claims.checkpoint, claims.reason), []).append(claims.count)
    return tuple(
        NotRun(*key, min(several))
        for key, several in counts.items()
        if len(several) == len(ledgers) or key[0] not in judged
    )


def differing(first: Run, second: Run) -> str:
    """Returns what two runs do not have in common, which parts of one run have; empty for such parts.

    Args:
        first: of the first ledger.
        second: of another one.
    """
    names = sorted(first.versions.keys() | second.versions.keys())
    facts = [
        *((name, first.versions.get(name), second.versions.get(name)) for name in names),
        ("seed", first.seed, second.seed),
        ("texts of prompts", *("left out" if not run.has_prompts else "written" for run in (first, second))),
    ]
    return "; ".join(f"{name} {was} in the first, {value} in the second" for name, was, value in facts if was != value)


def joined(ledgers: Sequence[Ledger]) -> tuple[RecordedCheckpoint, ...]:
    """Returns the checkpoints of several ledgers, each once, with the patterns of all.

    Args:
        ledgers: whose checkpoints are joined by name.
    """
    by_name: dict[str, RecordedCheckpoint] = {}
    for checkpoint in (checkpoint for ledger in ledgers for checkpoint in ledger.checkpoints):
        earlier = by_name.get(checkpoint.name)
        by_name[checkpoint.name] = checkpoint if earlier is None else earlier.joined(checkpoint)
    return tuple(by_name.values())
