"""Passes with patches: many in one batch, each from where it can first make a difference.

A patch at layer L and position p changes nothing below L and nothing before p. So passes that start at one layer and
position run together from there, on what an unedited pass left; only what is read is unembedded. Where a model's
blocks cannot be driven (``CleanPass.start_from``) whole passes with hooks give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch

from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.progress import progress
from pytest_interp.engine.edits import edits_of
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.engine.patch import Patch, Rows
from pytest_interp.errors import UsageError
from pytest_interp.tasks.positions import At

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.checkpoints.resume import CleanPass, StartFrom
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.tasks import Group

Job = Sequence[Patch]
"""The patches of one pass, in the order in which they are put in place."""

_CALL = 64
"""About how many positions of one prompt a block computes in the time that calling it takes."""

_WAYS: Sequence[StartFrom] = ("position", "layer", "whole")


class Passes(NamedTuple):
    """What patched passes give.

    Attributes:
        values: the metric, by job and prompt in data-set order; no columns without a metric.
        kept: for each job, activations by hook name, one tensor for each group; they may lack the first positions.
        since: for each job and group, from which position of each row on anything is changed.
        start_from: from where they started: a layer and a position, a layer, or the beginning (whole passes).
    """

    values: Float[Tensor, "job prompt"]
    kept: Sequence[Mapping[str, Sequence[Tensor]]]
    since: Sequence[Sequence[Rows]]
    start_from: StartFrom


@in_one_state
def patched(
    experiment: Experiment,
    jobs: Sequence[Job],
    *,
    metric: Metric | None = LOGIT_DIFF,
    run: str = "clean",
    keep: Sequence[str] = (),
    alone: At = None,
) -> Passes:
    """Runs the prompts of a run once for each job, with its patches in place.

    Args:
        experiment: checkpoint and data set.
        jobs: what is patched in each pass.
        metric: what is read; None if only activations are kept, then nothing after the last of them runs.
        run: which prompts are run; answers and distractors are the clean run's in any case.
        keep: hook names to keep for each job.
        alone: positions that no other reaches, since all attention is patched; None if that is not so.
    """
    data = experiment.data
    values = torch.empty(len(jobs), len(data.clean) if metric else 0)
    unedited = _Unedited(
        experiment.clean_passes(run),
        experiment.activations(keep, data.run(run)) if keep else {},
        experiment.scores(metric, run) if metric else None,
    )
    groups = [
        _Group(experiment, index, group, run, metric, tuple(keep), alone, unedited)
        for index, group in enumerate(data.run(run).groups)
    ]
    ways = [group.clean_pass.start_from for group in groups]
    with progress(len(jobs) * len(data.clean), experiment.checkpoint.name) as done:
        outcomes = [group.outcomes(jobs, done) for group in groups]
    for clean, some in zip(data.clean.groups, outcomes, strict=True):
        for job, outcome in enumerate(some):
            if outcome.scores is not None:
                values[job, list(clean.rows)] = outcome.scores.float().cpu()
    kept = [{hook: [some[job].kept[hook] for some in outcomes] for hook in keep} for job in range(len(jobs))]
    since = [[group.firsts[job] for group in groups] for job in range(len(jobs))]
    return Passes(values, kept, since, max(ways, key=_WAYS.index))


class _Unedited(NamedTuple):
    """What passes start from and what stays where no patch reaches: activations by hook name, the metric by prompt."""

    clean_passes: Sequence[CleanPass]
    kept: Mapping[str, Sequence[Tensor]]
    scores: Float[Tensor, " prompt"] | None


@dataclass(eq=False)
class _Outcome:
    """What one pass does to the rows of a group: their metric, and activations that may lack the first positions."""

    scores: Float[Tensor, " row"] | None
    kept: dict[str, Tensor]


@dataclass(eq=False)
class _Group:
    """The prompts of one length, and passes over them."""

    experiment: Experiment
    index: int
    group: Group
    run: str
    metric: Metric | None
    keep: tuple[str, ...]
    alone: At
    unedited: _Unedited

    def __post_init__(self) -> None:
        self.length, self.size = self.group.tokens.shape[1], len(self.group.rows)
        self.checkpoint, self.clean = self.experiment.checkpoint, self.experiment.data.clean.groups[self.index]
        self.every = torch.arange(self.size, device=self.checkpoint.device)
        self.firsts: list[Rows] = []

    @property
    def clean_pass(self) -> CleanPass:
        return self.unedited.clean_passes[self.index]

    @cached_property
    def read(self) -> Rows:
        """The position that is read in each row."""
        if self.metric in (None, LOGIT_DIFF):
            return torch.full_like(self.every, self.length - 1)  # the last token, whatever a data set calls END
        assert self.metric is not None
        (where,) = self.experiment.positions(self.index, self.metric.at)
        assert where is not None
        return where

    # ---- where passes begin

    def first(self, job: Job) -> Rows:
        """The first position of each row at which anything may change; the prompts' length where nothing does."""
        first = torch.full((self.size,), self.length, device=self.checkpoint.device)
        for patch in self._working(job):
            since = self._since(patch)
            for node in patch.nodes:
                for where in self.experiment.positions(self.index, node.at):
                    begin = since if where is None else torch.where(where >= since, where, self.length)
                    first = torch.minimum(first, begin)
        if self.alone is not None:
            alone = [where for where in self.experiment.positions(self.index, self.alone) if where is not None]
            first = torch.where(first < self.length, torch.stack(alone).amin(0), first)
        # What is read before anything changes is as it was.
        return first if self.keep else torch.where(first <= self.read, first, self.length)

    def _working(self, job: Job) -> Iterator[Patch]:
        """The patches that change anything: not those that hold a run at its own values."""
        data = self.experiment.data
        for patch in job:
            if patch.source.run is None or data.run(patch.source.run).digest != data.run(self.run).digest:
                yield patch

    def _since(self, patch: Patch) -> Rows:
        """From where on in each row a source may differ from what it replaces."""
        if patch.source.since is not None:
            return patch.source.since(self.index)
        if patch.source.run is None or patch.source.whole:
            return torch.zeros_like(self.every)
        other = self.experiment.data.run(patch.source.run).groups[self.index].tokens
        differ = (other != self.group.tokens).to(self.checkpoint.device)
        return torch.where(differ.any(1), differ.int().argmax(1), self.length)

    def _layer(self, job: Job) -> int:
        """The first layer at which a pass may change."""
        return min((node.layer for patch in self._working(job) for node in patch.nodes), default=0)

    def _alike(self, jobs: Sequence[Job]) -> Mapping[tuple[int, tuple[int, ...]], list[int]]:
        """Which passes start at the same position on the same rows, by layer."""
        found: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for number in sorted(range(len(jobs)), key=lambda number: self._layer(jobs[number])):
            whole = self.clean_pass.start_from == "layer" or any(
                patch.source.whole for patch in self._working(jobs[number])
            )
            for start, rows in self._starts(self.firsts[number], len(jobs)):
                found.setdefault((0 if whole else start, rows), []).append(number)
        return found

    def _starts(self, first: Rows, jobs: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Where rows start: later ones with earlier ones if that adds fewer positions than a call of a block costs.

        Of many passes half have joined in the middle layer.
        """
        waiting: list[int] = []
        starts = sorted({start for start in first.tolist() if start < self.length}, reverse=True)
        for start, earlier in zip(starts, [*starts[1:], -self.length * _CALL], strict=False):
            waiting += (first == start).nonzero()[:, 0].tolist()
            if (start - earlier) * len(waiting) * max(1, jobs // 2) > _CALL:
                yield start, tuple(sorted(waiting))
                waiting = []

    # ---- passes

    def outcomes(self, jobs: Sequence[Job], done: Callable[[int], object]) -> list[_Outcome]:
        """What each pass does; says of how many prompts it is known."""
        self.firsts = [self.first(job) for job in jobs]
        if self.clean_pass.start_from == "whole":
            return [self._whole(job, done) for job in jobs]
        outcomes = self._unedited()
        done(sum(int((first == self.length).sum()) for first in self.firsts))
        for (start, some), numbers in self._alike(jobs).items():
            rows = torch.tensor(some, device=self.checkpoint.device)
            for part, chunk in self._chunks(rows, numbers, start):
                self._resume([jobs[number] for number in chunk], [outcomes[n] for n in chunk], part, start)
                done(len(chunk) * len(part))
        return outcomes

    def _whole(self, job: Job, done: Callable[[int], object]) -> _Outcome:
        edits = edits_of(self.experiment, self.index, [job], self.every)
        done(self.size)
        one = self.checkpoint.run(self.group.tokens, edits=edits, keep=self.keep, positions=self.read[:, None])
        return _Outcome(self._score(one.logits[:, 0], self.every) if self.metric else None, dict(one.activations))

    def _unedited(self) -> list[_Outcome]:
        """For each job, what rows have that no patch changes."""
        kept, every = self.unedited.kept, self.unedited.scores
        scores = None if every is None else every[list(self.clean.rows)]
        made = []
        for first in self.firsts:
            count = self.length - min([self.length - 1, *first.tolist()])
            tails = {hook: kept[hook][self.index] for hook in self.keep}
            tails = {hook: value[:, -min(count, value.shape[1]) :].clone() for hook, value in tails.items()}
            made.append(_Outcome(None if scores is None else scores.clone(), tails))
        return made

    def _resume(self, jobs: list[Job], outcomes: list[_Outcome], rows: Rows, start: int) -> None:
        """Runs passes from their layers and a position on, and writes what came of it into their outcomes."""
        edits = edits_of(self.experiment, self.index, jobs, rows)
        blocks = {hook: int(hook.split(".")[1]) for hook in self.keep if hook.startswith("blocks.")}
        one = self.checkpoint.forward.resume(
            self.clean_pass, rows, [self._layer(job) for job in jobs], start, edits=edits, keep=list(blocks),
            until=None if self.metric else max(blocks.values()), attend=self.alone is None,
            end_only=self.metric == LOGIT_DIFF,
        )  # fmt: skip
        found = {hook: value.view(-1, len(rows), *value.shape[1:]) for hook, value in one.activations.items()}
        if self.metric:
            at = (self.read[rows] - start).repeat(len(jobs))
            residual = one.residual[torch.arange(len(at), device=at.device), at]
            final = [hook for hook in self.keep if hook not in blocks]
            read = self.checkpoint.forward.read(residual, self._pairs(rows, len(jobs)), keep=final)
            found |= {hook: value.view(-1, len(rows), *value.shape[1:]) for hook, value in read.activations.items()}
            logits = read.logits.view(len(jobs), len(rows), -1)
        for number, outcome in enumerate(outcomes):
            if outcome.scores is not None:
                some = logits[number]
                scores = some[:, 0] - some[:, 1] if self._pairs(rows, 1) is not None else self._score(some, rows)
                outcome.scores[rows.cpu()] = scores.to(outcome.scores)
            for hook, value in found.items():
                if number >= len(value):
                    continue  # it had not begun there: all as in the unedited run
                count = min(value.shape[2], outcome.kept[hook].shape[1])
                outcome.kept[hook][rows, -count:] = value[number][:, -count:]

    def _pairs(self, rows: Rows, copies: int) -> Tensor | None:
        """The tokens of answer and distractor where nothing else of the vocabulary is read."""
        if self.metric != LOGIT_DIFF:
            return None
        return self.clean.pairs.to(self.checkpoint.device)[rows].repeat(copies, 1)

    def _score(self, logits: Tensor, rows: Rows) -> Tensor:
        assert self.metric is not None
        base = self.experiment.logits_at(self.index, self.read)[rows] if self.metric.score == "kl" else None
        return self.metric.of(logits, self.clean, self.read, self.checkpoint, base, rows)

    def _chunks(self, rows: Rows, numbers: list[int], start: int) -> Iterator[tuple[Rows, list[int]]]:
        """The same work in parts whose batches fit the memory that is allowed; it does not change the numbers."""
        one = self.checkpoint.bytes_of_row(
            self.length - start, self.length, logits=self.metric not in (None, LOGIT_DIFF)
        )
        fit = self.checkpoint.budget // one
        if not fit:
            raise UsageError(
                f"one prompt of {self.length} tokens needs {one / 2**20:.1f} MB on {self.checkpoint.name}, but "
                f"{self.checkpoint.budget / 2**20:.1f} MB are allowed; allow more with --interp-memory"
            )
        for part in torch.split(rows, fit):
            together = max(1, fit // len(part))
            for i in range(0, len(numbers), together):
                yield part, numbers[i : i + together]
