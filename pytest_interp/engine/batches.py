"""The passes of the prompts of one length: which rows start where, which jobs share a batch, and what each gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch

from pytest_interp.engine.edits import edits_of
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.engine.patch import Patch, Rows
from pytest_interp.errors import UsageError
from pytest_interp.tasks.positions import At

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.checkpoints.resume import CleanPass
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.tasks import Group

Job: TypeAlias = Sequence[Patch]
"""The patches of one pass, in the order in which they are put in place."""

_CALL_COST = 64
"""The cost of calling a block, as the number of positions of one prompt that it computes in that time."""


class Unedited(NamedTuple):
    """The unedited run: from what passes start, and what stays where no patch reaches.

    Attributes:
        clean_passes: of each group.
        activations: by hook name, one tensor for each group.
        scores: the metric by prompt; None without a metric.
    """

    clean_passes: Sequence[CleanPass]
    activations: Mapping[str, Sequence[Tensor]]
    scores: Float[Tensor, " prompt"] | None


@dataclass(eq=False)
class Outcome:
    """What one job does to the rows of a group.

    Attributes:
        scores: the metric, shape ``(row,)``; None without a metric.
        activations: by hook name; the first axis is the row, and the positions are the last ones of the prompts.
    """

    scores: Float[Tensor, " row"] | None
    activations: dict[str, Tensor]


class _Batch(NamedTuple):
    """Jobs that start at one position on the same rows.

    Attributes:
        start: the first position that is computed.
        rows: of the group, in ascending order.
        jobs: numbers of the jobs, in the order of the first layer that they change.
    """

    start: int
    rows: tuple[int, ...]
    jobs: list[int]


@dataclass(eq=False)
class GroupPasses:
    """The prompts of one length, and passes over them.

    Attributes:
        experiment: checkpoint and data set.
        index: of the group in the data set.
        group: the prompts that run.
        run: their name: ``clean`` or a corruption.
        metric: what is read, if anything.
        keep: hook names to keep.
        isolated: the only positions that can change, where every attention output is patched; None otherwise.
        unedited: the unedited run.
        first_changed_by_job: of each job, per row, the first position that it can change; set by :meth:`outcomes`.
    """

    experiment: Experiment
    index: int
    group: Group
    run: str
    metric: Metric | None
    keep: tuple[str, ...]
    isolated: At
    unedited: Unedited

    def __post_init__(self) -> None:
        self.length, self.size = self.group.tokens.shape[1], len(self.group.rows)
        self.checkpoint, self.clean_group = self.experiment.checkpoint, self.experiment.data.clean.groups[self.index]
        self.all_rows = torch.arange(self.size, device=self.checkpoint.device)
        self.first_changed_by_job: list[Rows] = []

    @property
    def clean_pass(self) -> CleanPass:
        """What the unedited pass over the group left."""
        return self.unedited.clean_passes[self.index]

    @cached_property
    def read_position(self) -> Rows:
        """The position whose logits are read, shape ``(row,)``."""
        if self.metric in (None, LOGIT_DIFF):
            return torch.full_like(self.all_rows, self.length - 1)  # the last token, whatever a data set calls END
        assert self.metric is not None
        (position,) = self.experiment.positions(self.index, self.metric.at)
        assert position is not None
        return position

    # ---- where passes begin

    def first_changed(self, job: Job) -> Rows:
        """Per row, the first position that a job's patches can change; the prompts' length where they change nothing.

        What is read before the first change is as it was: without activations to keep, such a row needs no pass.

        Args:
            job: the patches of one pass.

        Returns:
            Shape ``(row,)``, indices from 0.
        """
        first = torch.full((self.size,), self.length, device=self.checkpoint.device)
        for patch in self._effective(job):
            source_differs = self._first_difference(patch)
            for node in patch.nodes:
                for position in self.experiment.positions(self.index, node.at):
                    if position is None:  # all positions
                        changed = source_differs
                    else:
                        changed = torch.where(position >= source_differs, position, self.length)
                    first = torch.minimum(first, changed)
        if self.isolated is not None:
            named = self.experiment.positions(self.index, self.isolated)
            earliest = torch.stack([position for position in named if position is not None]).amin(0)
            first = torch.where(first < self.length, earliest, first)
        return first if self.keep else torch.where(first <= self.read_position, first, self.length)

    def _effective(self, job: Job) -> Iterator[Patch]:
        """The patches that can change anything: not those that hold a run at its own values."""
        data = self.experiment.data
        for patch in job:
            if patch.source.run is None or data.run(patch.source.run).digest != data.run(self.run).digest:
                yield patch

    def _first_difference(self, patch: Patch) -> Rows:
        """Per row, the first position at which a patch's source may differ from what it replaces.

        An unedited run of other prompts differs from the first other token on, since attention is causal.
        """
        if patch.source.first_position is not None:
            return patch.source.first_position(self.index)
        if patch.source.run is None or patch.source.full_scan:
            return torch.zeros_like(self.all_rows)
        source_tokens = self.experiment.data.run(patch.source.run).groups[self.index].tokens
        differ = (source_tokens != self.group.tokens).to(self.checkpoint.device)
        return torch.where(differ.any(1), differ.int().argmax(1), self.length)

    def _first_layer(self, job: Job) -> int:
        """The first layer that a job can change."""
        return min((node.layer for patch in self._effective(job) for node in patch.nodes), default=0)

    def _batches(self, jobs: Sequence[Job]) -> list[_Batch]:
        """The jobs in batches of equal start and equal rows; a job whose rows start apart is in several batches."""
        batches: dict[tuple[int, tuple[int, ...]], _Batch] = {}
        for number in sorted(range(len(jobs)), key=lambda number: self._first_layer(jobs[number])):
            from_first_token = self.clean_pass.start_from == "layer" or any(
                patch.source.full_scan for patch in self._effective(jobs[number])
            )
            for start, rows in self._start_groups(self.first_changed_by_job[number], len(jobs)):
                start = 0 if from_first_token else start  # noqa: PLW2901
                batches.setdefault((start, rows), _Batch(start, rows, [])).jobs.append(number)
        return list(batches.values())

    def _start_groups(self, first: Rows, job_count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Groups rows by start position; a row that starts later joins an earlier group where that is cheaper.

        From the latest start to the earliest: the rows collected so far could all start at the next earlier position.
        That adds ``gap * rows`` positions to each job in the batch. On average half of the jobs have joined the batch
        (jobs begin at layers spread over the model). If the addition is more than a separate block call costs, the
        collected rows form a group of their own; else they wait for the earlier ones. The earliest rows always close
        a group.

        Example: with two jobs and rows that start at 9, 9 and 7, joining adds (9 - 7) * 2 rows * 1 job = 4 positions.
        That is less than a call, which costs 64: all three rows start at 7.

        Args:
            first: per row, the first changed position; the prompts' length where nothing changes.
            job_count: how many jobs there are.

        Yields:
            A start position, and the rows that start there, in ascending order.
        """
        starts = sorted({start for start in first.tolist() if start < self.length}, reverse=True)
        joined_jobs = max(1, job_count // 2)
        collected: list[int] = []
        for start, earlier in zip(starts, [*starts[1:], None], strict=False):
            collected += (first == start).nonzero()[:, 0].tolist()
            if earlier is None or (start - earlier) * len(collected) * joined_jobs > _CALL_COST:
                yield start, tuple(sorted(collected))
                collected = []

    def _parts(self, batch: _Batch) -> Iterator[tuple[Rows, list[int]]]:
        """A batch in parts of rows and jobs that fit the memory budget; the numbers do not depend on it."""
        rows = torch.tensor(batch.rows, device=self.checkpoint.device)
        per_row = self.checkpoint.bytes_of_row(
            self.length - batch.start, self.length, logits=self.metric not in (None, LOGIT_DIFF)
        )
        fitting = self.checkpoint.budget // per_row
        if not fitting:
            raise UsageError(
                f"one prompt of {self.length} tokens needs {per_row / 2**20:.1f} MB on {self.checkpoint.name}, but "
                f"{self.checkpoint.budget / 2**20:.1f} MB are allowed; allow more with --interp-memory"
            )
        for part in torch.split(rows, fitting):
            jobs_at_once = max(1, fitting // len(part))
            for i in range(0, len(batch.jobs), jobs_at_once):
                yield part, batch.jobs[i : i + jobs_at_once]

    # ---- passes

    def outcomes(self, jobs: Sequence[Job], advance: Callable[[int], object]) -> list[Outcome]:
        """What each job does to the rows.

        Args:
            jobs: the patches of each pass.
            advance: called with the number of rows whose outcome has become known, for the progress bar.

        Returns:
            One outcome for each job, in their order.

        Raises:
            UsageError: one prompt needs more memory than the budget.
        """
        self.first_changed_by_job = [self.first_changed(job) for job in jobs]
        if self.clean_pass.start_from == "whole":
            return [self._whole_pass(job, advance) for job in jobs]
        outcomes = self._unedited_outcomes()
        advance(sum(int((first == self.length).sum()) for first in self.first_changed_by_job))
        for batch in self._batches(jobs):
            for rows, numbers in self._parts(batch):
                self._resume([jobs[n] for n in numbers], [outcomes[n] for n in numbers], rows, batch.start)
                advance(len(numbers) * len(rows))
        return outcomes

    def _whole_pass(self, job: Job, advance: Callable[[int], object]) -> Outcome:
        """Runs a job from the first block and the first position, with hooks."""
        edits = edits_of(self.experiment, self.index, [job], self.all_rows)
        advance(self.size)
        logits, activations = self.checkpoint.run(
            self.group.tokens, edits=edits, keep=self.keep, positions=self.read_position[:, None]
        )
        return Outcome(self._scored(logits[:, 0], self.all_rows) if self.metric else None, dict(activations))

    def _unedited_outcomes(self) -> list[Outcome]:
        """For each job, the outcome where no patch changes anything: copies, to be overwritten where one does.

        Activations begin at the earliest first changed position of any row, and have at least the last position.
        """
        by_prompt = self.unedited.scores
        scores = None if by_prompt is None else by_prompt[list(self.clean_group.rows)]
        outcomes = []
        for first in self.first_changed_by_job:
            count = self.length - min([self.length - 1, *first.tolist()])
            full = {hook: self.unedited.activations[hook][self.index] for hook in self.keep}
            tails = {hook: value[:, -min(count, value.shape[1]) :].clone() for hook, value in full.items()}
            outcomes.append(Outcome(None if scores is None else scores.clone(), tails))
        return outcomes

    def _resume(self, jobs: list[Job], outcomes: list[Outcome], rows: Rows, start: int) -> None:
        """Runs jobs in one batch from a position on, and writes their results into their outcomes.

        Args:
            jobs: in ascending order of their first layer.
            outcomes: of these jobs.
            rows: of the group that run.
            start: the first position that is computed.
        """
        block_hooks = {hook: int(hook.split(".")[1]) for hook in self.keep if hook.startswith("blocks.")}
        resumed = self.checkpoint.forward.resume(
            self.clean_pass,
            rows,
            [self._first_layer(job) for job in jobs],
            start,
            edits=edits_of(self.experiment, self.index, jobs, rows),
            keep=list(block_hooks),
            until=None if self.metric else max(block_hooks.values()),
            attend=self.isolated is None,
            end_only=self.metric == LOGIT_DIFF,
        )
        activations = dict(resumed.activations)  # (joined job * row, pos, ...)
        if self.metric:
            at = (self.read_position[rows] - start).repeat(len(jobs))  # (job * row,)
            stream = resumed.residual[torch.arange(len(at), device=at.device), at]  # (job * row, d_model)
            readout_hooks = [hook for hook in self.keep if hook not in block_hooks]
            read = self.checkpoint.forward.read(stream, self._pairs(rows, len(jobs)), keep=readout_hooks)
            activations |= read.activations
            self._write_scores(outcomes, read.logits.view(len(jobs), len(rows), -1), rows)
        for hook, value in activations.items():
            self._write_activations(outcomes, hook, value.view(-1, len(rows), *value.shape[1:]), rows)

    def _write_scores(self, outcomes: list[Outcome], logits: Float[Tensor, "job row token"], rows: Rows) -> None:
        """Writes the metric; the tokens are answer and distractor for the logit difference, else the vocabulary."""
        for outcome, of_job in zip(outcomes, logits, strict=True):
            assert outcome.scores is not None
            scores = of_job[:, 0] - of_job[:, 1] if self.metric == LOGIT_DIFF else self._scored(of_job, rows)
            outcome.scores[rows.cpu()] = scores.to(outcome.scores)

    def _write_activations(self, outcomes: list[Outcome], hook: str, value: Tensor, rows: Rows) -> None:
        """Writes the last positions of an activation, as many as both it and the outcome have.

        Args:
            outcomes: of the jobs in the batch.
            hook: the name of the activation.
            value: shape ``(joined job, row, pos, ...)``. Jobs join the batch in order, so a hook below the first layer
                of the last jobs has the first jobs only. The others have the unedited activation there.
            rows: of the group that ran.
        """
        for outcome, of_job in zip(outcomes, value, strict=False):
            stored = outcome.activations[hook]
            count = min(of_job.shape[1], stored.shape[1])
            stored[rows, -count:] = of_job[:, -count:]

    def _pairs(self, rows: Rows, copies: int) -> Tensor | None:
        """Answer and distractor ids, ``(copies * row, 2)``; None where more of the vocabulary is read."""
        if self.metric != LOGIT_DIFF:
            return None
        return self.clean_group.pairs.to(self.checkpoint.device)[rows].repeat(copies, 1)

    def _scored(self, logits: Float[Tensor, "row vocab"], rows: Rows) -> Float[Tensor, " row"]:
        """The metric of rows, from their logits at the position that is read."""
        assert self.metric is not None
        clean_logits = None
        if self.metric.score == "kl":
            clean_logits = self.experiment.logits_at(self.index, self.read_position)[rows]
        return self.metric.of(logits, self.clean_group, self.read_position, self.checkpoint, clean_logits, rows)
