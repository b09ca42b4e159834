"""The runs from which patched passes start: the unedited one, or one with patches of its own.

Passes that differ from each other in one head have all else in common: below its layer and before its position they
give the same. So one of them is run whole, and the others start from it where they differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pytest_interp.checkpoints.device import sent
from pytest_interp.checkpoints.memo import bytes_in
from pytest_interp.checkpoints.rows import Rows
from pytest_interp.engine.edits import edits_of
from pytest_interp.engine.patch import Patch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.checkpoints.resume import CleanPass
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.engine.metric import Metric

Job: TypeAlias = Sequence[Patch]
"""The patches of one pass, in the order in which they are put in place."""


class Base(NamedTuple):
    """A run from which patched passes start, and what stays where their patches do not reach.

    Attributes:
        clean_passes: of each group.
        activations: by hook name, one tensor for each group.
        scores: the metric by prompt; None without a metric.
        job: its own patches; none in the unedited run.
    """

    clean_passes: Sequence[CleanPass]
    activations: Mapping[str, Sequence[Tensor]]
    scores: Float[Tensor, " prompt"] | None
    job: Job = ()


def unedited(experiment: Experiment, run: str, metric: Metric | None, keep: Sequence[str] = ()) -> Base:
    """The unedited run, with its metric and with activations by hook name.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        metric: what is read; None for nothing.
        keep: hook names.
    """
    return Base(
        experiment.clean_passes(run),
        experiment.activations(keep, experiment.data.run(run)) if keep else {},
        experiment.scores(metric, run) if metric else None,
    )


def edited(experiment: Experiment, job: Job) -> Base | None:
    """The clean prompts with patches, and their logit difference; None where it is better to start without them.

    That is where passes can only start at the beginning, and where a run takes more than a quarter of the memo: two
    runs from which passes start in turn would drive each other and the unedited one out.

    Args:
        experiment: checkpoint and data set.
        job: its patches.

    Raises:
        UsageError: the logits are not finite.
    """
    clean_passes, capacity = experiment.clean_passes(), experiment.checkpoint.guard.memory.capacity
    if any(clean.start_from == "whole" for clean in clean_passes) or bytes_in(clean_passes) > capacity // 4:
        return None
    forward, groups = experiment.checkpoint.forward, experiment.data.clean.groups
    passes = []
    for index, group in enumerate(groups):
        rows = Rows.of(range(len(group.rows)), len(group.rows), experiment.checkpoint.device)
        passes.append(forward.edited_pass(group.tokens, edits_of(experiment, index, [job], rows)))
    forward.check_finite([edited_pass.logits for edited_pass in passes])
    pairs = experiment.in_order([
        edited_pass.logits.gather(1, sent(group.pairs, edited_pass.logits.device))
        for edited_pass, group in zip(passes, groups, strict=True)
    ])  # fmt: skip
    shortened = [edited_pass._replace(logits=edited_pass.logits[:1].clone()) for edited_pass in passes]
    return Base(shortened, {}, pairs[:, 0] - pairs[:, 1], job)
