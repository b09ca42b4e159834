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
        """How much more heads write after than before, in logits; a sum over the heads per prompt.

        Args:
            heads: which of the watched heads.
            norm: ``frozen``: with the scales of norms of the clean run; ``live``: with those of the knocked-out run.

        Returns:
            One value for each prompt, in logits; positive where the heads stand in.
        """
        summed_heads = tuple(heads)
        after = self.after if norm == "frozen" else self.after_live
        rises = [
            [new - old for new, old in zip(after[head].values, self.before[head].values, strict=True)]
            for head in summed_heads
        ]
        first = after[summed_heads[0]]
        context = replace(first.context.noting(norm=norm), heads=summed_heads)
        values = tuple(map(fsum, zip(*rises, strict=True)))
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

    Returns:
        The attributions of each watched head before and after, and the logit differences: in logits, one value for
        each prompt on which the ablation takes anything away.

    Raises:
        UsageError: a head in both sets; mean ablation without a reference or with a template that it lacks.
        NotApplicable: no watched head is after a knocked-out one, or the ablation takes nothing away, so that nothing
            could react.

    Wang et al. 2022, section 3.4; McGrath et al. 2023 ("Hydra") on self-repair.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> effect = backup_effect(experiment, "4.1", knocked_out=["3.0", "3.1", "3.2"])
        >>> round(effect.rise(effect.before).value, 1)
        3.9
    """
    checkpoint = experiment.checkpoint
    ablated_heads = [checkpoint.check_head(head) for head in as_heads(knocked_out)]
    watched = [checkpoint.check_head(head) for head in as_heads(heads)]
    if both := sorted(set(ablated_heads) & set(watched)):
        raise UsageError(f"{names_of(both)} would be knocked out and watched at once; name it in one set")
    if max(head.layer for head in watched) <= min(head.layer for head in ablated_heads):
        raise NotApplicable(f"none of {names_of(watched)} comes after {names_of(ablated_heads)}, so none can react")
    knockout = ablated_pass(experiment, ablated_heads, ablation, watched, value_bias=value_bias)
    before = attributions(experiment, watched)
    after = attribute(experiment, watched, knockout.activations, knockout.frozen)
    after_live = attribute(experiment, watched, knockout.activations, knockout.live)
    total = experiment.logit_diffs()

    context = _context(experiment, watched, ablated_heads, ablation, value_bias)

    def measured(quantity: str, values: Tensor, context: Context) -> Measurement:
        """A measurement on the prompts of which the ablation takes anything away."""
        return on_prompts(per_prompt(experiment, quantity, values, context), knockout.prompts)

    def by_head(values: Tensor, context: Context) -> dict[Head, Measurement]:
        """The attribution of each watched head, from a column of values each."""
        return {
            head: measured("direct_logit_attribution", values[:, i], replace(context, heads=(head,)))
            for i, head in enumerate(watched)
        }

    return BackupEffect(
        before=by_head(before, context),
        after=by_head(after, context.noting(norm="frozen")),
        after_live=by_head(after_live, context.noting(norm="live")),
        total_before=measured("logit_diff", total, context),
        total_after=measured("logit_diff", knockout.logit_diffs, context),
        naive=measured("logit_diff", total - knockout.removed, context.noting(naive=True)),
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

    Raises:
        UsageError, NotApplicable: as for :func:`backup_effect`.

    Wang et al. 2022, section 3.4; TransformerLens's Exploratory_Analysis_Demo.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(knocked_out_attribution_sweep(experiment, ["3.0", "3.1", "3.2"])["4.1"].value, 2)
        3.88
    """
    heads = experiment.checkpoint.shape.heads
    ablated_heads = [experiment.checkpoint.check_head(head) for head in as_heads(knocked_out)]
    passes = ablated_pass(experiment, ablated_heads, ablation, heads, value_bias=value_bias)
    values = attribute(experiment, heads, passes.activations, passes.live)
    context = replace(_context(experiment, None, ablated_heads, ablation, value_bias), at=None)
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
        activations: its z and its norms' scales by hook name, one tensor for each group.
        frozen: the norms of the clean run.
        live: the norms of the knocked-out run.
        removed: the direct effect that was taken away, in logits, by the norms of the clean run.
    """

    prompts: Sequence[int]
    logit_diffs: Tensor
    activations: Mapping[str, Sequence[Tensor]]
    frozen: Readout
    live: Readout
    removed: Tensor


def ablated_pass(
    experiment: Experiment,
    ablated_heads: list[Head],
    ablation: Ablation,
    watched: Sequence[Head] = (),
    *,
    value_bias: ValueBias,
) -> KnockedOutRun:
    """The clean prompts with heads knocked out at END.

    Args:
        experiment: checkpoint and data set.
        ablated_heads: the heads whose z at END is replaced.
        ablation: as for :func:`backup_effect`.
        value_bias: as for :func:`backup_effect`.
        watched: heads whose z is kept too.

    Returns:
        The run, and what the knock-out took away directly.

    Raises:
        UsageError: an unknown ablation; mean ablation without a reference or with a template that it lacks.
        NotApplicable: z of the heads at END is already what the ablation puts there, on all prompts.
    """
    checkpoint = experiment.checkpoint
    layers = sorted({head.layer for head in (*watched, *ablated_heads)})
    keep = [*(checkpoint.sites.hook("z", layer) for layer in layers), *readout_hooks(checkpoint, layers)]
    nodes = [Node("z", head.layer, head.head, END) for head in ablated_heads]
    patch = Patch(tuple(nodes), ablated(experiment, nodes, ablation, seed=experiment.seed, value_bias=value_bias))
    (prompts,) = changed_prompts(experiment, [patch], "clean")
    if not prompts:
        raise NotApplicable(nothing_ablated(experiment, f"z of {names_of(ablated_heads)} {place_of(nodes)}", ablation))
    passes = patched(experiment, [[patch]], keep=keep)
    (activations,) = passes.activations
    frozen = Readout(experiment, experiment.activations(keep, experiment.data.clean))
    removed = attributions(experiment, ablated_heads) - attribute(experiment, ablated_heads, activations, frozen)
    live = Readout(experiment, activations)
    return KnockedOutRun(prompts, passes.values[0], activations, frozen, live, removed.sum(1))


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

    Returns:
        A ratio of means, with the numerator and the denominator of each prompt; any real number, negative where the
        rest makes the loss worse.

    Raises:
        UsageError, NotApplicable: as for :func:`backup_effect`.

    Rushing and Nanda 2024 on self-repair; Wang et al. 2022, section 3.4.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(self_repair(experiment, ["3.0", "3.1", "3.2"]).value, 2)
        0.61
    """
    checkpoint = experiment.checkpoint
    ablated_heads = [checkpoint.check_head(head) for head in as_heads(knocked_out)]
    passes = ablated_pass(experiment, ablated_heads, ablation, value_bias=value_bias)
    total = experiment.logit_diffs()
    repaired = per_prompt(
        experiment,
        "self_repair",
        passes.logit_diffs - (total - passes.removed),
        _context(experiment, None, ablated_heads, ablation, value_bias),
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

    Returns:
        One value for each prompt, in logits; negative where the heads lowered the answer.

    Raises:
        UsageError, NotApplicable: as for :func:`backup_effect`.
    """
    ablated_heads = [experiment.checkpoint.check_head(head) for head in as_heads(knocked_out)]
    passes = ablated_pass(experiment, ablated_heads, ablation, value_bias=value_bias)
    context = _context(experiment, None, ablated_heads, ablation, value_bias)
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
