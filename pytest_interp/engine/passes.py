"""Passes with patches: many in one batch, each from where it can first make a difference.

A patch at layer L and position p changes nothing below L and nothing before p. So a patched pass need not start at the
beginning: it starts at L and p from what an unedited pass left there. The algorithm, for the prompts of one length:

1. For each job (the patches of one pass) and each row: the first position that the patches can change. A row in which
   nothing changes keeps the unedited metric, and takes no pass (:meth:`Starts.reach`).
2. Rows are grouped by start position. A block call has a fixed cost, so rows that start a little later join an earlier
   group (:meth:`Starts._start_groups`).
3. Jobs with the same start and the same rows form one batch. It is sorted by the first layer of each job: a job joins
   the batch at its layer (:meth:`Starts.batches`). Batches of the same rows join where they start close together.
4. A batch runs in parts that fit the memory budget (:meth:`GroupPasses._parts`); its logits and activations are written
   into the outcomes of its jobs (:meth:`GroupPasses._resume`).

Where a model's blocks cannot be driven (``CleanPass.start_from`` is ``whole``) whole passes with hooks give the same
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.progress import progress
from pytest_interp.engine.base import Base, Job, unedited
from pytest_interp.engine.batches import GroupPasses
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.engine.patch import Positions
from pytest_interp.engine.starts import Starts
from pytest_interp.tasks.positions import At

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.checkpoints.resume import StartFrom
    from pytest_interp.engine.experiment import Experiment

_EARLIEST_FIRST: Sequence[StartFrom] = ("position", "layer", "whole")


class Passes(NamedTuple):
    """What patched passes give.

    Attributes:
        values: the metric, shape ``(job, prompt)``, prompts in data-set order; no columns without a metric.
        activations: for each job, by hook name, one tensor for each group. Its first axis is the row; it has the last
            positions of the prompts, at least those from the first changed one on.
        first_changed: for each job and group, per row, the first position that the patches can change.
        start_from: from where passes started: a layer and a position, a layer, or the beginning (whole passes).
    """

    values: Float[Tensor, "job prompt"]
    activations: Sequence[Mapping[str, Sequence[Tensor]]]
    first_changed: Sequence[Sequence[Positions]]
    start_from: StartFrom


@in_one_state
def patched(
    experiment: Experiment,
    jobs: Sequence[Job],
    *,
    metric: Metric | None = LOGIT_DIFF,
    run: str = "clean",
    keep: Sequence[str] = (),
    isolated: At = None,
    base: Base | None = None,
) -> Passes:
    """Runs the prompts of a run once for each job, with its patches in place.

    Args:
        experiment: checkpoint and data set.
        jobs: what is patched in each pass.
        metric: what is read; None if only activations are kept, then nothing after the last of them runs.
        run: which prompts are run; answers and distractors are the clean run's in any case.
        keep: hook names to keep for each job.
        isolated: where every attention output is patched, the only positions that can change: positions then do not
            influence each other. None otherwise.
        base: a run with patches, see :func:`~pytest_interp.engine.base.edited`: passes start where their patches first
            differ from its own. None for the unedited run.

    Returns:
        The metric for each job and prompt, and the kept activations.

    Raises:
        NotApplicable: a site that the model lacks or does not read.
        UsageError: one prompt needs more memory than the budget; the logits are not finite.

    Example:
        The logit difference of each prompt with z of head 3.0 at END as it is on the corrupted prompts:

        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.engine.patch import Node, Patch, from_run
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=8, seed=0, bos=True))
        >>> nodes = (Node("z", 3, 0, "END"),)
        >>> patch = Patch(nodes, from_run(experiment, nodes, "s2-exchanged"))
        >>> passes = patched(experiment, [[patch]])
        >>> tuple(passes.values.shape)  # (job, prompt)
        (1, 8)
        >>> bool((passes.values[0] < experiment.logit_diffs()).all())
        True
    """
    assert base is None or (metric, run, *keep) == (LOGIT_DIFF, "clean"), (
        "a base has no other metric, run or activations"
    )
    data = experiment.data
    values = torch.empty(len(jobs), len(data.clean) if metric else 0)
    start = unedited(experiment, run, metric, keep) if base is None else base
    groups = [
        GroupPasses(
            Starts(experiment, index, group, run, metric, bool(keep), isolated, clean_pass.start_from, start.job),
            tuple(keep),
            start,
        )
        for index, (group, clean_pass) in enumerate(zip(data.run(run).groups, start.clean_passes, strict=True))
    ]
    with progress(len(jobs) * len(data.clean), experiment.checkpoint.name) as advance:
        outcomes = [group.outcomes(jobs, advance) for group in groups]
    by_group = [of_group.scores for of_group in outcomes if of_group.scores is not None]
    if by_group:
        order = [row for group in data.clean.groups for row in group.rows]
        values[:, order] = torch.cat(by_group, 1).float().cpu()
        experiment.checkpoint.forward.check_finite([values.T])
    numbers = range(len(jobs))
    activations = [
        {hook: [of_group.activations[hook][job] for of_group in outcomes] for hook in keep} for job in numbers
    ]
    first_changed = [[group.reaches[job].first for group in groups] for job in numbers]
    start_from = max((group.clean_pass.start_from for group in groups), key=_EARLIEST_FIRST.index)
    return Passes(values, activations, first_changed, start_from)
