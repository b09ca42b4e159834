"""The passes over the prompts of one length, in batches that fit the memory, and what each job gives.

A GPU is not waited for: results stay on it until all passes of a group have been started.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from pytest_interp.checkpoints.device import peak_memory, sent, too_little_memory
from pytest_interp.checkpoints.memo import largest_batch
from pytest_interp.checkpoints.rows import Rows, index_of
from pytest_interp.engine.base import Base, Job
from pytest_interp.engine.edits import edits_of
from pytest_interp.engine.metric import LOGIT_DIFF
from pytest_interp.engine.starts import Batch, Reach, Starts
from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.checkpoints.resume import CleanPass

logger = logging.getLogger(__name__)


class Outcomes(NamedTuple):
    """What jobs do to the rows of a group.

    Attributes:
        scores: the metric, shape ``(job, row)``; None without a metric.
        activations: by hook name, ``(job, row, pos, ...)``; the positions are the last ones of the prompts.
    """

    scores: Float[Tensor, "job row"] | None
    activations: Mapping[str, Tensor]


@dataclass(eq=False)
class GroupPasses:
    """The prompts of one length, and passes over them.

    Attributes:
        starts: the prompts, what is read of them, and where passes over them can begin.
        keep: hook names to keep.
        base: the run from which they start.
        reaches: of each job; set by :meth:`outcomes`.
    """

    starts: Starts
    keep: tuple[str, ...]
    base: Base

    def __post_init__(self) -> None:
        starts = self.starts
        self.experiment, self.index, self.group, self.metric = (
            starts.experiment, starts.index, starts.group, starts.metric
        )  # fmt: skip
        self.length, self.size, self.read_position = starts.length, starts.size, starts.read_position
        self.checkpoint, self.clean_group = self.experiment.checkpoint, self.experiment.data.clean.groups[self.index]
        self.device = self.checkpoint.device
        self.reaches: list[Reach] = []

    @property
    def clean_pass(self) -> CleanPass:
        """What the pass over the group from which the others start left."""
        return self.base.clean_passes[self.index]

    # ---- parts

    def _parts(self, batch: Batch) -> Iterator[tuple[Rows, list[int]]]:
        """A batch in parts of rows and jobs that fit the memory budget; the numbers do not depend on it.

        What a row takes is estimated. On a GPU the first part shows it, and the next ones follow what was measured.
        """
        bytes_of_row = self._bytes_of_row(batch.start)
        if bytes_of_row > self.checkpoint.budget:
            raise UsageError(
                f"one prompt of {self.length} tokens needs {bytes_of_row / 2**20:.1f} MB on {self.checkpoint.name}, "
                f"but {self.checkpoint.budget / 2**20:.1f} MB are allowed; allow more with --interp-memory"
            )
        pending = [(batch.rows, batch.jobs)]
        while pending:
            rows, jobs = pending.pop()
            budget = self.checkpoint.budget
            fitting = max(1, largest_batch(self.device, budget) // bytes_of_row)
            if len(rows) > fitting:
                pending += [(rows[fitting:], jobs), (rows[:fitting], jobs)]
                continue
            count = fitting // len(rows)
            if len(jobs) > count:
                pending.append((rows, jobs[count:]))
            part = Rows.of(rows, self.size, self.device), jobs[:count]
            if not pending:
                yield part
                continue
            with peak_memory(self.device) as peak:
                yield part
            if peak.bytes and self.checkpoint.budget == budget:  # else it ran in parts of its own
                bytes_of_row = math.ceil(peak.bytes / (len(rows) * len(part[1])))

    def _bytes_of_row(self, start: int) -> int:
        """An estimate of the bytes that one prompt takes in a pass from a position on."""
        logits = self.metric not in (None, LOGIT_DIFF)
        return self.checkpoint.bytes_of_row(self.length - start, self.length, logits=logits)

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
        self.reaches = [self.starts.reach(job) for job in jobs]
        if self.clean_pass.start_from == "whole":
            return self._whole_passes(jobs, advance)
        outcomes = self._outcomes_of_base()
        advance(sum(int((reach.first == self.length).sum()) for reach in self.reaches))
        for batch in self.starts.batches(self.reaches):
            for rows, numbers in self._parts(batch):
                budget = self.checkpoint.budget
                self._resume_in_memory(jobs, numbers, outcomes, rows, batch.start)
                if self.checkpoint.budget < budget:
                    logger.warning(
                        "%s ran out of memory: passes over %s now take batches of %.1f MB",
                        self.device, self.checkpoint.name, self.checkpoint.budget / 2**20,
                    )  # fmt: skip
                advance(len(numbers) * len(rows))
        return outcomes

    def _resume_in_memory(
        self, jobs: Sequence[Job], numbers: Sequence[int], outcomes: Outcomes, rows: Rows, start: int
    ) -> None:
        """As :meth:`_resume`, in halves where the device runs out of memory; the budget is halved then, and stays so.

        Raises:
            UsageError: one prompt alone is too much.
        """
        try:
            self._resume(jobs, numbers, outcomes, rows, start)
            return
        except torch.OutOfMemoryError as error:
            reason = str(error)
        # Outside of the handler: the error holds the tensors of the passes that failed.
        if (count := len(numbers) * len(rows)) == 1:
            raise too_little_memory(self.checkpoint.name, self.device, self.length, reason)
        halved = min(self.checkpoint.budget, count * self._bytes_of_row(start)) // 2
        self.checkpoint.budget = max(halved, self._bytes_of_row(0))
        middle = len(numbers) // 2
        if middle:
            self._resume_in_memory(jobs, numbers[:middle], outcomes, rows, start)
            self._resume_in_memory(jobs, numbers[middle:], outcomes, rows, start)
            return
        for half in rows.numbers.tensor_split(2):
            some_rows = Rows.of(half.tolist(), self.size, self.device)
            self._resume_in_memory(jobs, numbers, outcomes, some_rows, start)

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
        stacked = {hook: torch.stack([of_job[hook] for of_job in activations]) for hook in self.keep}
        return Outcomes(torch.stack(scores) if scores else None, stacked)

    def _outcomes_of_base(self) -> Outcomes:
        """The outcomes where no patch changes anything: copies, to be overwritten where one does.

        Activations begin at the earliest first changed position of any row and job, and have at least the last one.
        """
        count = len(self.reaches)
        earliest = min((int(reach.first.min()) for reach in self.reaches), default=self.length)
        positions = self.length - min(self.length - 1, earliest)
        activations = {}
        for hook in self.keep:
            value = self.base.activations[hook][self.index][:, -positions:]
            activations[hook] = value.expand(count, *value.shape).clone()
        if self.base.scores is None:
            return Outcomes(None, activations)
        scores = sent(self.base.scores[list(self.clean_group.rows)], self.device)
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
            attend=self.starts.isolated is None,
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
