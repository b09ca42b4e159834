"""A ledger without the text of prompts, and without paths: to be shown where these are nobody's business.

What stays: claims by name and statement, numbers and verdicts, heads, hashes of data sets, versions. What goes: labels,
names and templates (numbers stand for them), the code of claims, circuit files, notes, details and reasons, which may
quote a prompt, and the folders of checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from pytest_interp.ledger.ledger import Ledger, Pattern, RecordedCheckpoint, Run
from pytest_interp.ledger.outcome import NOT_APPLICABLE, NOT_CHECKED, ClaimOutcome
from pytest_interp.ledger.profile import Profile
from pytest_interp.ledger.record import DECISIONS, Record
from pytest_interp.ledger.reruns import Falsified, Float32Run
from pytest_interp.measurement import Sample

LEFT_OUT = "(left out)"


def without_prompts(ledger: Ledger) -> Ledger:
    """Returns a ledger without texts of prompts, code and paths.

    Args:
        ledger: of a run.

    Returns:
        A copy in which ``run.has_prompts`` is False. Its numbers are the same, and can be compared prompt by prompt.
    """
    claims = tuple(map(_claim, ledger.claims))
    folders = sorted({str(claim.checkpoint) for claim in claims if _last(str(claim.checkpoint)) != claim.checkpoint})
    return Ledger(
        _run(ledger.run),
        tuple(ClaimOutcome.from_json(_without_folders(claim.to_json(), folders)) for claim in claims),
        tuple(map(_checkpoint, ledger.checkpoints)),
    )


def _run(run: Run) -> Run:
    not_run = []
    for claims in run.not_run:
        name = _last(claims.checkpoint)
        reason = claims.reason.replace(claims.checkpoint, name)
        not_run.append(replace(claims, checkpoint=name, reason=LEFT_OUT if _last(reason) != reason else reason))
    return replace(run, has_prompts=False, flags=tuple(map(_last, run.flags)), not_run=tuple(not_run))


def _last(path: str) -> str:
    """Returns the last part of a path; another text as it is."""
    return PurePath(path).name if "/" in path or "\\" in path else path


def _without_folders(value: Any, paths: Sequence[str]) -> Any:
    """Returns a JSON value in which each path is replaced by its last part, in every text."""
    if isinstance(value, str):
        for path in paths:
            value = value.replace(path, _last(path))
        return value
    if isinstance(value, dict):
        return {key: _without_folders(item, paths) for key, item in value.items()}
    return [_without_folders(item, paths) for item in value] if isinstance(value, list) else value


def _claim(outcome: ClaimOutcome) -> ClaimOutcome:
    float32, falsified, reason = outcome.float32, outcome.falsified, ""
    if outcome.reason:
        prefixes = (prefix for prefix in (NOT_APPLICABLE, NOT_CHECKED) if prefix in outcome.reason)
        reason = f"{next(prefixes, '')}{LEFT_OUT}"
    if float32 is not None:
        float32 = Float32Run(float32.moved, LEFT_OUT, tuple(map(_record, float32.records)))
    if falsified is not None:
        mutants = tuple(replace(mutant, reason="") for mutant in falsified.mutants)
        falsified = Falsified(mutants, falsified.died, LEFT_OUT if falsified.survived else "")
    return replace(
        outcome,
        claim=replace(outcome.claim, code=""),
        records=tuple(map(_record, outcome.records)),
        float32=float32,
        falsified=falsified,
        reason=reason,
    )


def _record(record: Record) -> Record:
    data = record.context.data
    return replace(
        record,
        sample=None if record.sample is None else _sample(record.sample),
        details={key: value for key, value in record.details.items() if key in DECISIONS},
        notes=(),
        caveats=(),
        context=replace(record.context, data=None if data is None else replace(data, remarks=()), extra={}),
    )


def _sample(sample: Sample) -> Sample:
    """Returns a sample with numbers for texts: the same text has the same number."""
    rows = range(1, len(sample.labels) + 1)
    templates = _numbers(sample.clusters)
    names = _numbers([name for names in sample.names for name in names])
    return Sample(
        tuple(f"prompt {row}" for row in rows),
        tuple(f"template {templates[cluster]}" for cluster in sample.clusters),
        sample.population,
        tuple(tuple(f"name {names[name]}" for name in pair) for pair in sample.names),
    )


def _numbers(texts: Sequence[str]) -> dict[str, int]:
    return {text: number for number, text in enumerate(dict.fromkeys(texts), start=1)}


def _checkpoint(checkpoint: RecordedCheckpoint) -> RecordedCheckpoint:
    patterns = tuple(
        Pattern(pattern.head, pattern.data, tuple(str(i) for i in range(1, len(pattern.tokens) + 1)), pattern.rows)
        for pattern in checkpoint.patterns
    )
    profile = checkpoint.profile
    if profile is not None:
        draws = tuple(replace(draw, sample=_sample(draw.sample), left_out=()) for draw in profile.draws)
        profile = Profile(draws, LEFT_OUT if profile.reason else "")
    return RecordedCheckpoint(_last(checkpoint.name), "", patterns, checkpoint.weights, profile)
