"""What a knock-out costs, as a share of the logit difference: a number that can be compared between tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.common.context import Ablated, Context, Exchanged
from pytest_interp.engine.contrast import changed_prompts, require_contrast
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import Ablation, Node, Patch, Source, ablated, from_run
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import HeadLike, KVHead, as_heads
from pytest_interp.measure.patch_cells import heads_cell
from pytest_interp.measure.patching import Activation, corruption_of
from pytest_interp.measure.per_prompt import per_prompt, ratio_noise
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.positions import END, At, text_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@checked
@cached
def knockout_cost(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    at: At = END,
    value_bias: ValueBias = "kept",
) -> Measurement:
    """The share of the logit difference that is lost when heads are ablated: (unablated - ablated) / unablated.

    As :func:`ablation_effect`, as a ratio of means, so that tasks can be compared. Every prompt counts: one on which
    the ablation changes nothing loses nothing.

    Args:
        experiment: checkpoint and data set; its seed draws ``resample`` and ``permute``.
        heads: one head or several, ablated together.
        ablation: ``mean``, ``zero``, ``resample`` or ``permute``, as for :func:`ablation_effect`.
        at: a named position, an index, several; None for all positions.
        value_bias: what ``zero`` leaves, as for :func:`ablation_effect`.

    Returns:
        A ratio of means with its denominators: 0 where nothing is lost, 1 where all of it is, negative where the heads
        stand in the way.

    Raises:
        UsageError: an empty set of heads; a data set without a reference for ``mean`` and ``resample``.
        NotApplicable: the logit difference is no more than float noise.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(knockout_cost(experiment, ["3.0", "3.1", "3.2"]).value, 2)
        0.57
    """
    checked_heads = tuple(experiment.checkpoint.check_head(head) for head in as_heads(heads))
    nodes = tuple(Node("z", head.layer, head.head, at) for head in checked_heads)
    source = ablated(experiment, nodes, ablation, seed=experiment.seed, value_bias=value_bias)
    context = experiment.context(
        heads=checked_heads, intervention=Ablated(ablation, None), metric=None, at=text_of(at), value_bias=value_bias
    )
    return _lost(experiment, nodes, source, context)


@checked
@cached
def exchange_cost(
    experiment: Experiment,
    heads: HeadLike | KVHead | Iterable[HeadLike],
    *,
    site: Activation = "z",
    at: At = None,
    corruption: str | None = None,
) -> Measurement:
    """The share of the logit difference that is lost when an activation of heads comes from a corrupted run.

    As :func:`head_patch_effect` with ``direction="noise"``, as a share of the clean logit difference and on every
    prompt.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several, exchanged together.
        site: ``z``, ``q``, ``k``, ``v`` or ``pattern``.
        at: a named position, an index, several; None for all positions.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.

    Returns:
        As :func:`knockout_cost`.

    Raises:
        UsageError: an unknown head, site, position or corruption; runs that do not differ.
        NotApplicable: the logit difference is no more than float noise.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(exchange_cost(experiment, ["3.0", "3.1", "3.2"], at="END").value, 2)
        1.44
    """
    corruption = corruption_of(experiment, corruption)
    require_contrast(experiment, corruption)
    cell = heads_cell(experiment, heads, site, at)
    context = experiment.context(
        heads=cell.heads, intervention=Exchanged(corruption, "noise"), metric=None, at=text_of(at), site=site
    )
    return _lost(experiment, cell.nodes, from_run(experiment, cell.nodes, corruption), context)


def _lost(experiment: Experiment, nodes: Sequence[Node], source: Source, context: Context) -> Measurement:
    """The share of the clean logit difference that is lost when nodes take their activation from a source."""
    whole = experiment.logit_diffs()
    noise = ratio_noise(experiment, whole)
    if noise >= 1:
        raise NotApplicable(f"the logit difference on {experiment.data.name} is no more than float noise")
    patch = Patch(tuple(nodes), source)
    (changed,) = changed_prompts(experiment, [patch], "clean")
    lost = whole - patched(experiment, [[patch]]).values[0] if changed else whole * 0
    return per_prompt(
        experiment, "knockout_cost", lost, context, unit="of the logit difference", scale=whole, tolerance=noise
    )
