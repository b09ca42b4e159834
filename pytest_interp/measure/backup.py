"""Backup heads: what other heads write when given heads are knocked out at END."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_interp.cache.store import cached, result_type
from pytest_interp.common.arguments import checked
from pytest_interp.common.context import Ablated, Context
from pytest_interp.engine.contrast import changed_prompts, nothing_ablated, place_of
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import Ablation, Node, Patch, ablated
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.measure.attribution import attribute, attributions
from pytest_interp.measure.per_prompt import on_prompts, per_prompt, ratio_noise
from pytest_interp.measure.readout import Readout, readout_hooks
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table
from pytest_interp.tasks.positions import END

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@result_type
@dataclass(frozen=True)
class BackupEffect:
    """Direct logit attribution of heads before and after others are knocked out at END.

    Attributes:
        before: by head, in the clean run.
        after: by head, in the knocked-out run, the scales of norms frozen at the clean run's.
        after_live: the same with the knocked-out run's own scales.
        total_before: the logit difference of the clean run.
        total_after: the logit difference of the knocked-out run.
        naive: what the logit difference would be if nothing reacted: before, minus what the knocked-out heads wrote
            and plus what their ablated output writes.
    """

    before: Mapping[Head, Measurement]
    after: Mapping[Head, Measurement]
    after_live: Mapping[Head, Measurement]
    total_before: Measurement
    total_after: Measurement
    naive: Measurement

    def rise(self, heads: Iterable[Head], norm: Literal["frozen", "live"] = "frozen") -> Measurement:
        """How much more the heads together write after than before, in logits; a sum over the heads per prompt."""
        chosen = tuple(heads)
        later = self.after if norm == "frozen" else self.after_live
        moves = [
            [new - old for new, old in zip(later[head].values, self.before[head].values, strict=True)]
            for head in chosen
        ]
        first = later[chosen[0]]
        context = replace(first.context.noting(norm=norm), heads=chosen)
        values = tuple(map(fsum, zip(*moves, strict=True)))
        return replace(first, quantity="backup_rise", values=values, context=context)


@checked
@cached
def backup_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    knocked_out: HeadLike | Iterable[HeadLike],
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
) -> BackupEffect:
    """The rise of heads' direct logit attribution when other heads are knocked out at END.

    Args:
        experiment: checkpoint and data set.
        heads: the heads that are watched; part of their rise is the final norm's rescaling, so both are returned.
        knocked_out: the heads whose z at END is replaced.
        ablation: ``mean``: by the mean over the data set's reference prompts of the same template (for IOI: three
            different names, at least 16 prompts); ``zero``: by zero.
        value_bias: what ``zero`` leaves in the run, as for :func:`~pytest_interp.measure.ablation_effect`. The
            attributions leave the value bias out in either case.

    Raises:
        UsageError: a head in both sets; mean ablation without a reference or with a template that it lacks.
        NotApplicable: no watched head is after a knocked-out one, or the ablation takes nothing away, so that nothing
            could react.

    Wang et al. 2022, section 3.4; McGrath et al. 2023 ("Hydra") on self-repair.
    """
    checkpoint = experiment.checkpoint
    out = [checkpoint.check_head(head) for head in as_heads(knocked_out)]
    watched = [checkpoint.check_head(head) for head in as_heads(heads)]
    if both := sorted(set(out) & set(watched)):
        raise UsageError(f"{names_of(both)} would be knocked out and watched at once; name it in one set")
    if max(head.layer for head in watched) <= min(head.layer for head in out):
        raise NotApplicable(f"none of {names_of(watched)} comes after {names_of(out)}, so none can react")
    ablated = ablated_pass(experiment, out, ablation, watched, value_bias=value_bias)
    before = attributions(experiment, watched)
    after = attribute(experiment, watched, ablated.kept, ablated.frozen)
    after_live = attribute(experiment, watched, ablated.kept, ablated.live)
    total = experiment.logit_diffs()

    context = _context(experiment, watched, out, ablation, value_bias)

    def measured(quantity: str, values: Tensor, context: Context) -> Measurement:
        return on_prompts(per_prompt(experiment, quantity, values, context), ablated.prompts)

    def by_head(values: Tensor, context: Context) -> dict[Head, Measurement]:
        return {
            head: measured("direct_logit_attribution", values[:, i], replace(context, heads=(head,)))
            for i, head in enumerate(watched)
        }

    return BackupEffect(
        before=by_head(before, context),
        after=by_head(after, context.noting(norm="frozen")),
        after_live=by_head(after_live, context.noting(norm="live")),
        total_before=measured("logit_diff", total, context),
        total_after=measured("logit_diff", ablated.logit_diffs, context),
        naive=measured("logit_diff", total - ablated.removed, context.noting(naive=True)),
    )


@checked
@cached
def knocked_out_attribution_sweep(
    experiment: Experiment,
    knocked_out: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
) -> Table[Head]:
    """The direct logit attribution of every head while others are knocked out at END, with that run's own scale.

    Args:
        experiment: checkpoint and data set.
        knocked_out: the heads whose z at END is replaced.
        ablation: as for :func:`backup_effect`.
        value_bias: as for :func:`backup_effect`.

    Returns:
        A table of logits, layer by head, the knocked-out heads' replaced output among them. With ``zero`` that is 0, or
        with ``removed`` minus what their value bias writes.

    Wang et al. 2022, section 3.4; TransformerLens's Exploratory_Analysis_Demo.
    """
    heads = experiment.checkpoint.shape.heads
    out = [experiment.checkpoint.check_head(head) for head in as_heads(knocked_out)]
    passes = ablated_pass(experiment, out, ablation, heads, value_bias=value_bias)
    values = attribute(experiment, heads, passes.kept, passes.live)
    context = replace(_context(experiment, None, out, ablation, value_bias), at=None)
    written = {
        head: per_prompt(experiment, "direct_logit_attribution", values[:, i], replace(context, heads=(head,)))
        for i, head in enumerate(heads)
    }
    return heads_table({head: on_prompts(attribution, passes.prompts) for head, attribution in written.items()})


class KnockedOutRun(NamedTuple):
    """A knocked-out run.

    Attributes:
        prompts: by row, those of which the knock-out takes anything away.
        logit_diffs: of the run.
        kept: its z by hook name.
        frozen: the norms of the clean run.
        live: the norms of the knocked-out run.
        removed: the direct effect that was taken away, in logits, by the norms of the clean run.
    """

    prompts: Sequence[int]
    logit_diffs: Tensor
    kept: Mapping[str, Sequence[Tensor]]
    frozen: Readout
    live: Readout
    removed: Tensor


def ablated_pass(
    experiment: Experiment, out: list[Head], ablation: Ablation, watched: Sequence[Head] = (), *, value_bias: ValueBias
) -> KnockedOutRun:
    """The clean prompts with heads knocked out at END.

    Raises:
        UsageError: an unknown ablation; mean ablation without a reference or with a template that it lacks.
        NotApplicable: z of the heads at END is already what the ablation puts there, on all prompts.
    """
    checkpoint = experiment.checkpoint
    layers = sorted({head.layer for head in (*watched, *out)})
    keep = [*(checkpoint.sites.hook("z", layer) for layer in layers), *readout_hooks(checkpoint, layers)]
    nodes = [Node("z", head.layer, head.head, END) for head in out]
    patch = Patch(tuple(nodes), ablated(experiment, nodes, ablation, seed=experiment.seed, value_bias=value_bias))
    (prompts,) = changed_prompts(experiment, [patch], "clean")
    if not prompts:
        raise NotApplicable(nothing_ablated(experiment, f"z of {names_of(out)} {place_of(nodes)}", ablation))
    passes = patched(experiment, [[patch]], keep=keep)
    (kept,) = passes.activations
    frozen = Readout(experiment, experiment.activations(keep, experiment.data.clean))
    removed = attributions(experiment, out) - attribute(experiment, out, kept, frozen)
    return KnockedOutRun(prompts, passes.values[0], kept, frozen, Readout(experiment, kept), removed.sum(1))


@checked
@cached
def self_repair(
    experiment: Experiment,
    knocked_out: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
) -> Measurement:
    """The share of knocked-out heads' direct effect that the rest of the model makes up for.

    ``(mean after - mean naive) / (mean before - mean naive)`` of the logit difference, a ratio of means: 0 if
    nothing reacts, 1 if the loss is made good.

    Args:
        experiment: checkpoint and data set.
        knocked_out: the heads whose z at END is replaced.
        ablation: as for :func:`backup_effect`.
        value_bias: as for :func:`backup_effect`; what ``removed`` takes away more is part of the direct effect.

    Rushing and Nanda 2024 on self-repair; Wang et al. 2022, section 3.4.
    """
    checkpoint = experiment.checkpoint
    out = [checkpoint.check_head(head) for head in as_heads(knocked_out)]
    passes = ablated_pass(experiment, out, ablation, value_bias=value_bias)
    total = experiment.logit_diffs()
    repaired = per_prompt(
        experiment,
        "self_repair",
        passes.logit_diffs - (total - passes.removed),
        _context(experiment, None, out, ablation, value_bias),
        unit="recovered",
        scale=passes.removed,
        tolerance=ratio_noise(experiment, passes.removed),
    )
    return on_prompts(repaired, passes.prompts)


@checked
@cached
def removed_attribution(
    experiment: Experiment,
    knocked_out: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
) -> Measurement:
    """The direct logit attribution that a knock-out at END takes away, in logits: what self-repair is a share of.

    Args:
        experiment: checkpoint and data set.
        knocked_out: the heads whose z at END is replaced.
        ablation: as for :func:`backup_effect`.
        value_bias: as for :func:`backup_effect`.
    """
    out = [experiment.checkpoint.check_head(head) for head in as_heads(knocked_out)]
    passes = ablated_pass(experiment, out, ablation, value_bias=value_bias)
    context = _context(experiment, None, out, ablation, value_bias)
    return on_prompts(per_prompt(experiment, "removed_attribution", passes.removed, context), passes.prompts)


def _context(
    experiment: Experiment,
    heads: Sequence[Head] | None,
    knocked_out: Sequence[Head],
    ablation: Ablation,
    value_bias: ValueBias,
) -> Context:
    """The context of what heads write while others are knocked out at END."""
    intervention = Ablated(ablation, tuple(knocked_out))
    return experiment.context(heads=heads, intervention=intervention, metric=None, at=END, value_bias=value_bias)
