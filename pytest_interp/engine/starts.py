"""Where the passes over the prompts of one length begin, and which of them run together.

All of it follows from the tokens: integers on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import torch

from pytest_interp.engine.base import Job
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.engine.patch import Patch, Positions, Source
from pytest_interp.tasks.positions import At

if TYPE_CHECKING:
    from pytest_interp.checkpoints.resume import StartFrom
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.tasks import Group


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


class Batch(NamedTuple):
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
class Starts:
    """Where passes over the prompts of one length can begin.

    Attributes:
        experiment: checkpoint and data set.
        index: of the group in the data set.
        group: the prompts that run.
        run: their name: ``clean`` or a corruption.
        metric: what is read, if anything.
        keeps: whether activations are kept: then every change counts, also after the position that is read.
        isolated: the only positions that can change, where every attention output is patched; None otherwise.
        start_from: from where passes can start in this model.
        base: the patches of the run from which they start; none in the unedited one.
    """

    experiment: Experiment
    index: int
    group: Group
    run: str
    metric: Metric | None
    keeps: bool
    isolated: At
    start_from: StartFrom
    base: Job = ()

    def __post_init__(self) -> None:
        self.length, self.size = self.group.tokens.shape[1], len(self.group.rows)
        self._first_changed_at: dict[tuple[Source, At], Positions] = {}

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
        return self.experiment.checkpoint.forward.blocks.call_cost

    def reach(self, job: Job) -> Reach:
        """What a job can change in the run from which it starts.

        What is read before the first change is as it was: without activations to keep, such a row needs no pass.

        Args:
            job: the patches of one pass.
        """
        effective = [patch for patch in _difference(job, self.base) if self._is_effective(patch)]
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
            first=first if self.keeps else torch.where(first <= self.read_position, first, self.length),
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
        return self.group.first_difference(self.experiment.data.run(source.run).groups[self.index])

    def batches(self, reaches: Sequence[Reach]) -> list[Batch]:
        """The jobs in batches of equal start and equal rows; a job whose rows start apart is in several batches.

        Args:
            reaches: of each job.
        """
        batches: dict[tuple[int, tuple[int, ...]], Batch] = {}
        for number in sorted(range(len(reaches)), key=lambda number: reaches[number].layer):
            reach = reaches[number]
            from_first_token = self.start_from == "layer" or reach.from_first_token
            for start, rows in self._start_groups(reach.first, len(reaches)):
                start = 0 if from_first_token else start  # noqa: PLW2901
                batches.setdefault((start, rows), Batch(start, rows, [])).jobs.append(number)
        return self._joined(list(batches.values()), reaches)

    def _start_groups(self, first: Positions, job_count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
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
            job_count: how many jobs there are.

        Yields:
            A start position, and the rows that start there, in ascending order.
        """
        rows_at: dict[int, list[int]] = {}
        for row, start in enumerate(first.tolist()):
            rows_at.setdefault(start, []).append(row)
        rows_at.pop(self.length, None)
        starts = sorted(rows_at, reverse=True)
        joined_jobs = max(1, job_count // 2)
        collected: list[int] = []
        for start, earlier in zip(starts, [*starts[1:], None], strict=False):
            collected += rows_at[start]
            if earlier is None or (start - earlier) * len(collected) * joined_jobs > self._call_cost:
                yield start, tuple(sorted(collected))
                collected = []

    def _joined(self, batches: Sequence[Batch], reaches: Sequence[Reach]) -> list[Batch]:
        """Batches of the same rows joined where that is cheaper: jobs that start later then start with earlier ones.

        The positions in between are computed as they are in the unedited run. The rule is that of
        :meth:`_start_groups`, with half of the jobs of the batch that would start earlier.
        """
        joined: list[Batch] = []
        for batch in sorted(batches, key=lambda batch: (batch.rows, -batch.start)):
            later = joined[-1] if joined and joined[-1].rows == batch.rows else None
            added = 0 if later is None else later.start - batch.start
            if later and added * len(batch.rows) * max(1, len(later.jobs) // 2) <= self._call_cost:
                joined.pop()
                jobs = sorted({*later.jobs, *batch.jobs}, key=lambda number: reaches[number].layer)
                batch = batch._replace(jobs=jobs)  # noqa: PLW2901
            joined.append(batch)
        return joined


def _difference(job: Job, base: Job) -> list[Patch]:
    """The patches at whose nodes a job may differ from the run from which it starts.

    Two patches that differ only in what they spare have the same values but for the nodes that one of them spares.
    """
    patches: list[Patch] = []
    for patch, of_base in zip_longest(job, base):
        if patch is None or of_base is None or (patch.source, patch.nodes) != (of_base.source, of_base.nodes):
            patches += filter(None, (patch, of_base))
        elif nodes := set(patch.spare) ^ set(of_base.spare):
            patches.append(Patch(tuple(nodes), patch.source))
    return patches
