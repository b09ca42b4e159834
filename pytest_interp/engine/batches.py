"""The passes of the prompts of one length: which rows start where, which jobs share a batch, and what each gives.

Where a pass starts follows from the tokens. It is worked out on the CPU, and a GPU is not waited for until all passes
of a group have been started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch

from pytest_interp.checkpoints.device import sent
from pytest_interp.checkpoints.rows import Rows, index_of
from pytest_interp.engine.edits import edits_of
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.engine.patch import Patch, Positions, Source
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


class Outcomes(NamedTuple):
    """What jobs do to the rows of a group.

    Attributes:
        scores: the metric, shape ``(job, row)``; None without a metric.
        activations: by hook name, ``(job, row, pos, ...)``; the positions are the last ones of the prompts.
    """

    scores: Float[Tensor, "job row"] | None
    activations: Mapping[str, Tensor]


class Reach(NamedTuple):
    """What a job can change.

    Attributes:
        layer: the first one.
        first: per row, the first position; the prompts' length where nothing can change.
        from_first_token: whether a source needs the activation at every position.
    """

    layer: int
    first: Positions
    from_first_token: bool


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
        reaches: of each job; set by :meth:`outcomes`.
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
        self.device = self.checkpoint.device
        self.reaches: list[Reach] = []
        self._first_changed_at: dict[tuple[Source, At], Positions] = {}

    @property
    def clean_pass(self) -> CleanPass:
        """What the unedited pass over the group left."""
        return self.unedited.clean_passes[self.index]

    @cached_property
    def read_position(self) -> Positions:
        """The position whose logits are read, shape ``(row,)``."""
        if self.metric in (None, LOGIT_DIFF):
            return torch.full((self.size,), self.length - 1)  # the last token, whatever a data set calls END
        assert self.metric is not None
        (position,) = self.experiment.positions(self.index, self.metric.at)
        assert position is not None
        return position

    @property
    def _call_cost(self) -> int:
        """The cost of calling a block, in positions of one prompt."""
        return self.checkpoint.forward.blocks.call_cost

    # ---- where passes begin

    def reach(self, job: Job) -> Reach:
        """What a job can change.

        What is read before the first change is as it was: without activations to keep, such a row needs no pass.

        Args:
            job: the patches of one pass.
        """
        effective = [patch for patch in job if self._is_effective(patch)]
        first = torch.full((self.size,), self.length)
        for patch in effective:
            for at in dict.fromkeys(node.at for node in patch.nodes):
                first = torch.minimum(first, self._first_changed(patch.source, at))
        if self.isolated is not None:
            named = self.experiment.positions(self.index, self.isolated)
            earliest = torch.stack([position for position in named if position is not None]).amin(0)
            first = torch.where(first < self.length, earliest, first)
        return Reach(
            layer=min((node.layer for patch in effective for node in patch.nodes), default=0),
            first=first if self.keep else torch.where(first <= self.read_position, first, self.length),
            from_first_token=any(patch.source.full_scan for patch in effective),
        )

    def _is_effective(self, patch: Patch) -> bool:
        """Whether a patch can change anything: not if it holds a run at its own values."""
        data, run = self.experiment.data, patch.source.run
        return run is None or data.run(run).digest != data.run(self.run).digest

    def _first_changed(self, source: Source, at: At) -> Positions:
        """Per row, the first position that a source can change at nodes at these positions."""
        if (source, at) not in self._first_changed_at:
            differs = self._first_difference(source)
            first = torch.full((self.size,), self.length)
            for position in self.experiment.positions(self.index, at):
                changed = differs if position is None else torch.where(position >= differs, position, self.length)
                first = torch.minimum(first, changed)
            self._first_changed_at[source, at] = first
        return self._first_changed_at[source, at]

    def _first_difference(self, source: Source) -> Positions:
        """Per row, the first position at which a source may differ from what it replaces.

        An unedited run of other prompts differs from the first other token on, since attention is causal.
        """
        if source.first_position is not None:
            return source.first_position(self.index)
        if source.run is None or source.full_scan:
            return torch.zeros(self.size, dtype=torch.long)
        differ = self.experiment.data.run(source.run).groups[self.index].tokens != self.group.tokens
        return torch.where(differ.any(1), differ.int().argmax(1), self.length)

    def _batches(self) -> list[_Batch]:
        """The jobs in batches of equal start and equal rows; a job whose rows start apart is in several batches."""
        batches: dict[tuple[int, tuple[int, ...]], _Batch] = {}
        for number in sorted(range(len(self.reaches)), key=lambda number: self.reaches[number].layer):
            reach = self.reaches[number]
            from_first_token = self.clean_pass.start_from == "layer" or reach.from_first_token
            for start, rows in self._start_groups(reach.first):
                start = 0 if from_first_token else start  # noqa: PLW2901
                batches.setdefault((start, rows), _Batch(start, rows, [])).jobs.append(number)
        return self._joined(list(batches.values()))

    def _start_groups(self, first: Positions) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Groups rows by start position; a row that starts later joins an earlier group where that is cheaper.

        From the latest start to the earliest: the rows collected so far could all start at the next earlier position.
        That adds ``gap * rows`` positions to each job in the batch. On average half of the jobs have joined the batch
        (jobs begin at layers spread over the model). If the addition is more than a separate block call costs, the
        collected rows form a group of their own; else they wait for the earlier ones. The earliest rows always close
        a group.

        Example: with two jobs and rows that start at 9, 9 and 7, joining adds (9 - 7) * 2 rows * 1 job = 4 positions.
        That is less than a call, which costs 64 on a CPU: all three rows start at 7.

        Args:
            first: per row, the first changed position; the prompts' length where nothing changes.

        Yields:
            A start position, and the rows that start there, in ascending order.
        """
        rows_at: dict[int, list[int]] = {}
        for row, start in enumerate(first.tolist()):
            rows_at.setdefault(start, []).append(row)
        rows_at.pop(self.length, None)
        starts = sorted(rows_at, reverse=True)
        joined_jobs = max(1, len(self.reaches) // 2)
        collected: list[int] = []
        for start, earlier in zip(starts, [*starts[1:], None], strict=False):
            collected += rows_at[start]
            if earlier is None or (start - earlier) * len(collected) * joined_jobs > self._call_cost:
                yield start, tuple(sorted(collected))
                collected = []

    def _joined(self, batches: Sequence[_Batch]) -> list[_Batch]:
        """Batches of the same rows joined where that is cheaper: jobs that start later then start with earlier ones.

        The positions in between are computed as they are in the unedited run. The rule is that of
        :meth:`_start_groups`, with half of the jobs of the batch that would start earlier.
        """
        joined: list[_Batch] = []
        for batch in sorted(batches, key=lambda batch: (batch.rows, -batch.start)):
            later = joined[-1] if joined and joined[-1].rows == batch.rows else None
            added = 0 if later is None else later.start - batch.start
            if later and added * len(batch.rows) * max(1, len(later.jobs) // 2) <= self._call_cost:
                joined.pop()
                jobs = sorted({*later.jobs, *batch.jobs}, key=lambda number: self.reaches[number].layer)
                batch = batch._replace(jobs=jobs)  # noqa: PLW2901
            joined.append(batch)
        return joined

    def _parts(self, batch: _Batch) -> Iterator[tuple[Rows, list[int]]]:
        """A batch in parts of rows and jobs that fit the memory budget; the numbers do not depend on it."""
        per_row = self.checkpoint.bytes_of_row(
            self.length - batch.start, self.length, logits=self.metric not in (None, LOGIT_DIFF)
        )
        fitting = self.checkpoint.budget // per_row
        if not fitting:
            raise UsageError(
                f"one prompt of {self.length} tokens needs {per_row / 2**20:.1f} MB on {self.checkpoint.name}, but "
                f"{self.checkpoint.budget / 2**20:.1f} MB are allowed; allow more with --interp-memory"
            )
        for first in range(0, len(batch.rows), fitting):
            rows = Rows.of(batch.rows[first : first + fitting], self.size, self.device)
            jobs_at_once = max(1, fitting // len(rows))
            for i in range(0, len(batch.jobs), jobs_at_once):
                yield rows, batch.jobs[i : i + jobs_at_once]

    # ---- passes

    def outcomes(self, jobs: Sequence[Job], advance: Callable[[int], object]) -> Outcomes:
        """What each job does to the rows.

        Args:
            jobs: the patches of each pass.
            advance: called with the number of rows whose passes have been started, for the progress bar.

        Returns:
            The outcomes in the order of the jobs.

        Raises:
            UsageError: one prompt needs more memory than the budget.
        """
        self.reaches = [self.reach(job) for job in jobs]
        if self.clean_pass.start_from == "whole":
            return self._whole_passes(jobs, advance)
        outcomes = self._unedited_outcomes()
        advance(sum(int((reach.first == self.length).sum()) for reach in self.reaches))
        for batch in self._batches():
            for rows, numbers in self._parts(batch):
                self._resume(jobs, numbers, outcomes, rows, batch.start)
                advance(len(numbers) * len(rows))
        return outcomes

    def _whole_passes(self, jobs: Sequence[Job], advance: Callable[[int], object]) -> Outcomes:
        """Runs each job from the first block and the first position, with hooks."""
        scores, activations = [], []
        all_rows = Rows.of(range(self.size), self.size, self.device)
        for job in jobs:
            edits = edits_of(self.experiment, self.index, [job], all_rows)
            advance(self.size)
            whole = self.checkpoint.run(
                self.group.tokens, edits=edits, keep=self.keep, positions=self.read_position[:, None]
            )
            activations.append(whole.activations)
            if self.metric:
                scores.append(self._scored(whole.logits[:, 0], all_rows))
        kept = {hook: torch.stack([of_job[hook] for of_job in activations]) for hook in self.keep}
        return Outcomes(torch.stack(scores) if scores else None, kept)

    def _unedited_outcomes(self) -> Outcomes:
        """The outcomes where no patch changes anything: copies, to be overwritten where one does.

        Activations begin at the earliest first changed position of any row and job, and have at least the last one.
        """
        count = len(self.reaches)
        earliest = min((int(reach.first.min()) for reach in self.reaches), default=self.length)
        positions = self.length - min(self.length - 1, earliest)
        activations = {}
        for hook in self.keep:
            value = self.unedited.activations[hook][self.index][:, -positions:]
            activations[hook] = value.expand(count, *value.shape).clone()
        if self.unedited.scores is None:
            return Outcomes(None, activations)
        scores = sent(self.unedited.scores[list(self.clean_group.rows)], self.device)
        return Outcomes(scores.repeat(count, 1), activations)

    def _resume(self, jobs: Sequence[Job], numbers: Sequence[int], outcomes: Outcomes, rows: Rows, start: int) -> None:
        """Runs jobs in one batch from a position on, and writes their results into the outcomes.

        Args:
            jobs: all of them.
            numbers: of the jobs that run, in ascending order of their first layer.
            outcomes: of all jobs.
            rows: of the group that run.
            start: the first position that is computed.
        """
        block_hooks = {hook: int(hook.split(".")[1]) for hook in self.keep if hook.startswith("blocks.")}
        resumed = self.checkpoint.forward.resume(
            self.clean_pass,
            rows,
            [self.reaches[number].layer for number in numbers],
            start,
            edits=edits_of(self.experiment, self.index, [jobs[number] for number in numbers], rows),
            keep=list(block_hooks),
            until=None if self.metric else max(block_hooks.values()),
            attend=self.isolated is None,
            end_only=self.metric == LOGIT_DIFF,
        )
        activations = dict(resumed.activations)  # (joined job * row, pos, ...)
        if outcomes.scores is not None:
            readout_hooks = [hook for hook in self.keep if hook not in block_hooks]
            stream = self._read(resumed.residual, rows, start)
            read = self.checkpoint.forward.read(stream, self._pairs(rows, len(numbers)), keep=readout_hooks)
            activations |= read.activations
            logits = read.logits.view(len(numbers), len(rows), -1)
            _write(outcomes.scores, numbers, rows, self._scores(logits, rows).to(outcomes.scores.dtype))
        for hook, value in activations.items():
            by_job = value.view(-1, len(rows), *value.shape[1:])
            # Jobs join the batch in order. A hook below the first layer of the last ones has the first ones only; the
            # others have the unedited activation there.
            positions = min(by_job.shape[2], outcomes.activations[hook].shape[2])
            tail = outcomes.activations[hook][:, :, -positions:]
            _write(tail, numbers[: len(by_job)], rows, by_job[:, :, -positions:])

    def _read(self, residual: Float[Tensor, "batch pos d_model"], rows: Rows, start: int) -> Float[Tensor, "batch d"]:
        """The residual stream at the position that is read of each row of a batch ``(job * row)``."""
        if self.metric == LOGIT_DIFF:
            return residual[:, -1]
        at = sent(self.read_position[rows.numbers] - start, self.device).repeat(len(residual) // len(rows))
        return residual[torch.arange(len(at), device=self.device), at]

    def _scores(self, logits: Float[Tensor, "job row token"], rows: Rows) -> Float[Tensor, "job row"]:
        """The metric; the tokens are answer and distractor for the logit difference, else the vocabulary."""
        if self.metric == LOGIT_DIFF:
            return logits[..., 0] - logits[..., 1]
        return torch.stack([self._scored(of_job, rows) for of_job in logits])

    def _pairs(self, rows: Rows, copies: int) -> Tensor | None:
        """Answer and distractor ids, ``(copies * row, 2)``; None where more of the vocabulary is read."""
        if self.metric != LOGIT_DIFF:
            return None
        return sent(self.clean_group.pairs[rows.numbers], self.device).repeat(copies, 1)

    def _scored(self, logits: Float[Tensor, "row vocab"], rows: Rows) -> Float[Tensor, " row"]:
        """The metric of rows, from their logits at the position that is read."""
        assert self.metric is not None
        clean_logits = None
        if self.metric.score == "kl":
            clean_logits = self.experiment.logits_at(self.index, self.read_position)[rows.index]
        return self.metric.of(logits, self.clean_group, self.read_position, self.checkpoint, clean_logits, rows.numbers)


def _write(target: Tensor, numbers: Sequence[int], rows: Rows, values: Tensor) -> None:
    """Writes values ``(job, row, ...)`` into those of all jobs and rows, at these jobs and rows."""
    jobs = index_of(numbers, len(target), target.device)
    if isinstance(jobs, slice) or isinstance(rows.index, slice):
        target[jobs, rows.index] = values
    else:
        target[jobs[:, None], rows.index[None]] = values
