"""A circuit as a whole: whether it alone does the task, whether anything is missing, whether every head is needed.

``F(C)`` is the mean logit difference when every head-position outside of ``C`` is mean-ablated (over reference
prompts of the same template and token length), MLPs left as they are; ``F(M)`` that of the whole model.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_interp.cache.store import cached
from pytest_interp.circuit import Circuit
from pytest_interp.common.arguments import check, checked, kinds_of
from pytest_interp.common.context import Ablated
from pytest_interp.engine.base import Base, edited
from pytest_interp.engine.contrast import changed_prompts, nothing_ablated
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import Node, Patch, ablated
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, HeadLike, as_head, as_heads, names_of, optional_heads
from pytest_interp.measure.per_prompt import on_prompts, per_prompt, ratio_noise
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.positions import At
from pytest_interp.text import shown

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

CircuitLike: TypeAlias = Circuit | Mapping[Head, At] | Iterable[HeadLike]
"""A circuit file's circuit (kept at the positions that it says), heads with positions, or heads at all positions."""

Metric: TypeAlias = Literal["of_model", "logit_diff"]


@checked
@cached
def faithfulness(experiment: Experiment, circuit: CircuitLike, *, metric: Metric = "of_model") -> Measurement:
    """What a circuit alone keeps of the task: ``F(C) / F(M)``, a ratio of means, or ``F(C)`` in logits.

    Args:
        experiment: checkpoint and data set with a reference.
        circuit: the heads that are kept, and where.
        metric: ``of_model``: 1 where the circuit does all of it, above 1 where what is left out stood in the way;
            ``logit_diff``: F(C) itself.

    Returns:
        For ``of_model`` a ratio of means with its denominators, else logits; any real number.

    Raises:
        UsageError: an empty circuit, a head that is not there, a data set without a reference.
        NotApplicable: what is left out is on all prompts what the ablation puts there.

    Wang et al. 2022, section 4, who give ``|F(M) - F(C)|``.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = ["0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.1", "3.2"]  # without the negative name mover
        >>> round(faithfulness(experiment, circuit).value, 1)
        1.5
    """
    nodes = nodes_of(experiment, circuit)
    alone = _alone(experiment, nodes, nodes)
    context = experiment.context(heads=tuple(nodes), intervention=Ablated("mean", None), metric=None, at=_places(nodes))
    prompts = _ablated_prompts(experiment, *_outside(experiment, nodes), "every head outside of the circuit")
    if metric == "logit_diff":
        return on_prompts(per_prompt(experiment, "faithfulness", alone, context), prompts)
    whole = experiment.logit_diffs()
    noise = ratio_noise(experiment, whole)
    share = per_prompt(experiment, "faithfulness", alone, context, unit="of model", scale=whole, tolerance=noise)
    return on_prompts(share, prompts)


@checked
@cached
def kept_effect(experiment: Experiment, circuit: CircuitLike, heads: Iterable[HeadLike]) -> Measurement:
    """What heads of a circuit keep when every other head is mean-ablated: F(heads) - F(no head), in logits.

    Args:
        experiment: checkpoint and data set with a reference.
        circuit: the circuit, which says where its heads are kept.
        heads: which of its heads are kept.

    Returns:
        One value for each prompt, in logits; positive where the heads help the task.

    Raises:
        UsageError: a head that the circuit does not have.
    """
    nodes = nodes_of(experiment, circuit)
    kept_heads = _subset(nodes, heads, "the kept set")
    # A few heads are close to no head, and most of them to the whole circuit.
    near = nodes if 2 * len(kept_heads) > len(nodes) else {}
    values = _alone(experiment, {head: nodes[head] for head in kept_heads}, near) - _alone(experiment, {}, {})
    context = experiment.context(heads=kept_heads, intervention=Ablated("mean", None), metric=None)
    return per_prompt(experiment, "kept_effect", values, context)


@checked
@cached
def completeness(
    experiment: Experiment, circuit: CircuitLike, *, knocked_out: HeadLike | Iterable[HeadLike] = ()
) -> Measurement:
    """How differently circuit and model react to the loss of the heads K: ``F(C without K) - F(M without K)``, logits.

    Near 0 for every K where nothing is missing from the circuit: what it lacks would show when K no longer hides it.
    K is mean-ablated at all positions in the model.

    Args:
        experiment: checkpoint and data set with a reference.
        circuit: the circuit.
        knocked_out: K, a set of its heads; empty compares the whole circuit with the whole model.

    Returns:
        One value for each prompt, in logits; any real number.

    Raises:
        UsageError: a head of K that the circuit does not have.
        NotApplicable: what is left out is on all prompts what the ablation puts there.

    Wang et al. 2022, section 4.1.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = ["0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.1", "3.2"]  # without the negative name mover
        >>> round(completeness(experiment, circuit).value, 1)
        4.0
    """
    nodes = nodes_of(experiment, circuit)
    knocked_heads = _subset(nodes, knocked_out, "K")
    remaining = {head: at for head, at in nodes.items() if head not in knocked_heads}
    _ablated_prompts(experiment, *_outside(experiment, remaining), "every head outside of the circuit")
    whole = _ablate(experiment, [Node("z", head.layer, head.head) for head in knocked_heads])
    values = _alone(experiment, remaining, nodes) - whole
    context = experiment.context(heads=tuple(nodes), intervention=Ablated("mean", knocked_heads), metric=None)
    return per_prompt(experiment, "completeness", values, context)


@checked
@cached
def minimality(
    experiment: Experiment,
    head: HeadLike,
    circuit: CircuitLike,
    *,
    knocked_out: HeadLike | Iterable[HeadLike] = (),
    metric: Metric = "logit_diff",
) -> Measurement:
    """What a head adds to a circuit from which K is taken: ``F(C without K) - F(C without K and head)``.

    Far from 0 for some K where the head is needed; positive where it helps.

    Args:
        experiment: checkpoint and data set with a reference.
        head: the head v that is tested.
        circuit: the circuit.
        knocked_out: K, a set of other heads of the circuit, such as those that stand in for v.
        metric: ``logit_diff`` or ``of_model``: as a share of F(M).

    Returns:
        One value for each prompt, in logits, or for ``of_model`` a ratio of means with its denominators.

    Raises:
        UsageError: K contains the head, or a head that the circuit does not have.
        NotApplicable: what the head writes is on all prompts what the ablation puts there; the circuit file says that
            the head is outside.

    Wang et al. 2022, section 4.2.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = ["0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.1", "3.2"]  # without the negative name mover
        >>> round(minimality(experiment, "3.0", circuit).value, 1)
        6.0
    """
    if isinstance(circuit, Circuit) and as_head(head) in circuit.outside:
        raise NotApplicable(f"{head} has a role, and the circuit file of {circuit.checkpoint} puts it outside")
    nodes = nodes_of(experiment, circuit)
    (tested,) = _subset(nodes, [as_head(head)], "the test")
    knocked_heads = _subset(nodes, knocked_out, "K")
    if tested in knocked_heads:
        raise UsageError(f"K ({names_of(knocked_heads)}) contains {tested}, the head that is tested; take it out of K")
    smaller = {other: at for other, at in nodes.items() if other not in knocked_heads}
    without_tested = {other: at for other, at in smaller.items() if other != tested}
    values = _alone(experiment, smaller, smaller) - _alone(experiment, without_tested, smaller)
    context = experiment.context(
        heads=(tested,),
        intervention=Ablated("mean", knocked_heads),
        metric=None,
        circuit=[str(other) for other in nodes],
    )
    prompts = _ablated_prompts(experiment, [Node("z", tested.layer, tested.head, nodes[tested])], [], str(tested))
    if metric == "logit_diff":
        return on_prompts(per_prompt(experiment, "minimality", values, context), prompts)
    whole = experiment.logit_diffs()
    noise = ratio_noise(experiment, whole)
    share = per_prompt(experiment, "minimality", values, context, unit="of model", scale=whole, tolerance=noise)
    return on_prompts(share, prompts)


def nodes_of(experiment: Experiment, circuit: CircuitLike) -> dict[Head, At]:
    """The heads of a circuit and where they are kept.

    Args:
        experiment: checkpoint and data set.
        circuit: a circuit, heads with positions, or heads, which are kept at all positions.

    Returns:
        The positions of each head, in the order of heads; None for all positions.

    Raises:
        UsageError: no heads, one that the model lacks, or one that is named twice.
    """
    if isinstance(circuit, Circuit):
        positions: dict[Head, At] = dict(circuit.positions)
    elif isinstance(circuit, Mapping):
        positions = {}
        for label, at in circuit.items():
            head = as_head(label)
            if head in positions:
                raise UsageError(f"the circuit names head {head} twice, {shown(label)} is the second; name it once")
            check("where a head of the circuit is kept", at, kinds_of("At", {}))
            positions[head] = at
    else:
        positions = dict.fromkeys(as_heads(circuit))
    if not positions:
        raise UsageError("the circuit has no heads; name at least one")
    return {experiment.checkpoint.check_head(head): positions[head] for head in sorted(positions)}


def random_circuits(experiment: Experiment, nodes: Mapping[Head, At], count: int) -> list[dict[Head, At]]:
    """Random circuits of as many other heads of the model, kept at the same positions.

    Args:
        experiment: checkpoint and data set; its seed decides the draw.
        nodes: the heads of the circuit and their positions.
        count: how many circuits.

    Returns:
        The circuits, without heads that have a role in the checkpoint's circuit file; none if too few are left.
    """
    checkpoint = experiment.checkpoint
    taken = {*nodes, *(checkpoint.circuit.acting if checkpoint.circuit else ())}
    pool = [head for head in checkpoint.shape.heads if head not in taken]
    if len(pool) < len(nodes):
        return []
    rng = random.Random(experiment.seed)
    return [dict(zip(sorted(rng.sample(pool, len(nodes))), nodes.values(), strict=True)) for _ in range(count)]


def _alone(experiment: Experiment, nodes: Mapping[Head, At], near: Mapping[Head, At]) -> Tensor:
    """The logit difference of each prompt with every head-position outside mean-ablated.

    Args:
        experiment: checkpoint and data set with a reference.
        nodes: the heads of a circuit, and where they are kept.
        near: a circuit whose passes are remembered; those over ``nodes`` start from them, where the two first differ.
    """
    everything, spared = _outside(experiment, nodes)
    return _ablate(experiment, everything, spared, _outside(experiment, near)[1])


def _base(experiment: Experiment, nodes: Sequence[Node], spared: Sequence[Node]) -> Base | None:
    """A run with nodes mean-ablated, for others to start from; None where passes can only start at the beginning."""
    memo, key = experiment.checkpoint.guard.memory, (*_memo_key(experiment, nodes, spared), "base")
    base: Base | None = memo.get(key)
    if base is None:
        patch = Patch(tuple(nodes), ablated(experiment, nodes, "mean"), tuple(spared))
        memo[key] = base = edited(experiment, [patch])
    return base


def _memo_key(experiment: Experiment, nodes: Sequence[Node], spared: Sequence[Node]) -> tuple[Hashable, ...]:
    """Where the memo has what mean ablation of nodes does."""
    reference = experiment.data.reference
    return experiment.data.clean.identity, reference and reference.digest, "mean-ablated", repr(nodes), repr(spared)


def _outside(experiment: Experiment, nodes: Mapping[Head, At]) -> tuple[list[Node], list[Node]]:
    """All heads at all positions, and those of them that are spared."""
    everything = [Node("z", layer) for layer in range(experiment.checkpoint.shape.n_layers)]
    return everything, [Node("z", head.layer, head.head, at) for head, at in nodes.items()]


def _ablated_prompts(experiment: Experiment, nodes: Sequence[Node], spared: Sequence[Node], what: str) -> Sequence[int]:
    """The prompts, by row, of which mean ablation takes anything away."""
    (prompts,) = changed_prompts(
        experiment, [Patch(tuple(nodes), ablated(experiment, nodes, "mean"), tuple(spared))], "clean"
    )
    if not prompts:
        raise NotApplicable(nothing_ablated(experiment, f"z of {what}", "mean"))
    return prompts


def _ablate(
    experiment: Experiment, nodes: Sequence[Node], spared: Sequence[Node] = (), near: Sequence[Node] | None = None
) -> Tensor:
    """The logit difference of each prompt with nodes mean-ablated; that of the clean run if there are none.

    Args:
        experiment: checkpoint and data set with a reference.
        nodes: what is ablated.
        spared: nodes that keep their activation, where ``nodes`` cover them too.
        near: what a run spares from which this one starts; None for the unedited run.
    """
    if not nodes:
        return experiment.logit_diffs()
    memo, key = experiment.checkpoint.guard.memory, _memo_key(experiment, nodes, spared)
    logit_diffs: Tensor | None = memo.get(key)
    if logit_diffs is None:
        base = None if near is None else _base(experiment, nodes, near)
        source = ablated(experiment, nodes, "mean") if base is None else base.job[0].source
        job = [Patch(tuple(nodes), source, tuple(spared))]
        memo[key] = logit_diffs = patched(experiment, [job], base=base).values[0]
    return logit_diffs


def _subset(nodes: Mapping[Head, At], heads: HeadLike | Iterable[HeadLike], what: str) -> tuple[Head, ...]:
    """Heads that must be in the circuit; none is allowed.

    Raises:
        UsageError: a head that the circuit does not have.
    """
    subset = optional_heads(heads)
    if foreign := [head for head in subset if head not in nodes]:
        raise UsageError(f"{what} has {names_of(foreign)}, not in the circuit; it has {names_of(list(nodes))}")
    return subset


def _several(at: At) -> tuple[str | int, ...]:
    """One position or several, as a tuple."""
    return (at,) if isinstance(at, str | int) else tuple(at or ())


def _places(nodes: Mapping[Head, At]) -> list[str]:
    """The positions of each head, for a record; one entry where all are kept at every position."""
    places = ["all positions" if at is None else ", ".join(map(str, _several(at))) for at in nodes.values()]
    return places if set(places) != {"all positions"} else places[:1]
