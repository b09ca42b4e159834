"""What the ledger has of a checkpoint beside its claims: circuit file, some weights, patterns, the profile of heads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.common.progress import activity
from pytest_interp.errors import InterpError
from pytest_interp.heads import Head
from pytest_interp.ledger.ledger import Pattern, RecordedCheckpoint
from pytest_interp.ledger.profile import Profile
from pytest_interp.plugin.session import session_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment
    from pytest_interp.ledger.outcome import ClaimOutcome

PROMPTS = 3
"""Prompts of a data set whose patterns are kept: the first ones."""
MOST_TOKENS = 64
"""Tokens of the longest prompt whose patterns are kept; their number grows with its square."""


class Collector:
    """Collects circuit, weights, profile and patterns of each checkpoint, each once in a process.

    Attributes:
        patterns: whether attention patterns are taken; a baseline without a ledger has no use for them.
    """

    def __init__(self, *, patterns: bool) -> None:
        self.patterns = patterns
        self._seen: set[tuple[str, ...]] = set()

    def after(self, item: pytest.Item, outcome: ClaimOutcome) -> RecordedCheckpoint | None:
        """Returns what is new of a claim's checkpoint.

        Args:
            item: a claim whose body has ended.
            outcome: of the claim.

        Returns:
            The checkpoint with its circuit file, a sample of its weights, its profile where the run compares
            checkpoints, and the patterns of heads that the verdicts are about, on the first prompts of their data; None
            where nothing is new.
        """
        arguments: dict[str, Any] = getattr(item, "funcargs", {})
        checkpoint = arguments.get("checkpoint")
        if checkpoint is None:
            return None
        patterns, circuit = tuple(self._patterns(arguments, outcome)) if self.patterns else (), ""
        weights: tuple[float, ...] = ()
        profile = None
        if (checkpoint.name,) not in self._seen:
            self._seen.add((checkpoint.name,))
            profile = measured_profile(item.config, checkpoint)
            # A claim is judged, and the run goes on, without a sample too: some architectures have no such weights.
            with suppress(InterpError, RuntimeError, AttributeError):
                weights = checkpoint.weights.sample()
            path = Path(checkpoint.circuit.path) if checkpoint.circuit and checkpoint.circuit.path else None
            circuit = path.read_text(encoding="utf-8") if path is not None and path.is_file() else ""
        elif not patterns:
            return None
        return RecordedCheckpoint(checkpoint.name, circuit, patterns, weights, profile)

    def _patterns(self, arguments: dict[str, Any], outcome: ClaimOutcome) -> Iterator[Pattern]:
        from pytest_interp.engine import Experiment

        experiments = {
            argument.data.digest: argument for argument in arguments.values() if isinstance(argument, Experiment)
        }
        for record in outcome.records:
            data = record.context.data
            experiment = experiments.get(data.digest) if data is not None else None
            if data is None or experiment is None:
                continue
            for head in record.context.heads or ():
                key = (experiment.checkpoint.name, str(head), data.name, data.digest)
                if isinstance(head, Head) and key not in self._seen:
                    self._seen.add(key)
                    yield from patterns_of(experiment, head)


def measured_profile(config: pytest.Config, checkpoint: Checkpoint) -> Profile | None:
    """Returns the profile of a checkpoint's heads, or why there is none.

    Args:
        config: of the run.
        checkpoint: with the circuit that is asserted on it.

    Returns:
        The profile, on two draws of prompts for what may be a baseline; None where nobody asks for it.
    """
    session = session_of(config)
    options, baseline = session.options, session.baseline
    compared = bool(options.baseline) and (baseline is None or any(other.profile for other in baseline.checkpoints))
    if not (options.profile or compared):
        return None
    if options.quick and not options.profile:
        return Profile(reason="a quick run measures no profile of heads; add --interp-profile")
    circuit = checkpoint.circuit
    if circuit is None:
        return Profile(reason="it has no circuit file, and so no roles")
    if circuit.task != "ioi":
        return Profile(reason=f"profiles are measured on the task ioi, and its circuit file is for {circuit.task}")
    from pytest_interp.measure.profile import profile_of
    from pytest_interp.plugin.fixtures import task_experiment
    from pytest_interp.tasks import ioi, single_token_names

    try:
        with activity(f"the profile of {checkpoint.name}"):
            names = single_token_names(checkpoint.tokenizer, "confirm")
            experiment = task_experiment(checkpoint, options, ioi, half="confirm")
            floor = options.profile or checkpoint.name == session.selection.baseline
            return profile_of(experiment, circuit, names=names, floor=floor)
    except (InterpError, RuntimeError) as error:  # such as a GPU without memory: the claims are judged all the same
        return Profile(reason=str(error))


def patterns_of(experiment: Experiment, head: Head) -> list[Pattern]:
    """Returns the attention patterns of a head on the first prompts of a data set.

    Args:
        experiment: checkpoint and data set.
        head: a query head.

    Returns:
        A pattern for each of the first three prompts of at most 64 tokens; none where the model has no such activation
        or cannot be run.
    """
    first = range(min(PROMPTS, len(experiment.data.clean)))
    part = replace(experiment, data=experiment.data.rebuild(list(first)))
    try:
        by_group = part.activation(experiment.checkpoint.sites.hook("pattern", head.layer))
    except (InterpError, RuntimeError):  # such as a GPU without memory: the claim is judged, and the run goes on
        return []
    patterns: dict[int, Pattern] = {}
    for group, activation in zip(part.data.clean.groups, by_group, strict=True):
        if group.tokens.shape[1] > MOST_TOKENS:
            continue
        for i, row in enumerate(group.rows):
            tokens = tuple(experiment.checkpoint.tokenizer.decode([token]) for token in group.tokens[i].tolist())
            attention = activation[i, head.head].float().tolist()
            rows = tuple(tuple(round(share, 4) for share in line[: n + 1]) for n, line in enumerate(attention))
            patterns[row] = Pattern(str(head), experiment.data.name, tokens, rows)
    return [patterns[row] for row in sorted(patterns)]
