"""Path patching as in the IOI paper: the effect of heads on others, or on the logits, along direct paths alone.

Pass 1 runs the clean prompts with the senders' z from the corrupted run and every other head's z frozen at its
clean value, at all positions: what the senders write reaches a receiver directly and through MLPs, never through
another head. The receivers' queries, keys or values are recorded. Pass 2 runs the clean prompts with these put in
at the receivers' positions, everything after recomputed. Into the logits there is no second pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.common.context import Exchanged
from pytest_interp.engine.contrast import changed_prompts, no_change, place_of, require_contrast
from pytest_interp.engine.passes import Passes, patched
from pytest_interp.engine.patch import Node, Patch, from_run, recorded
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.measure.patching import corruption_of
from pytest_interp.measure.per_prompt import defined, effect_or_reason, per_prompt, ratio_noise
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table
from pytest_interp.tasks.positions import END, At, text_of
from pytest_interp.text import shown

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

Into: TypeAlias = Literal["q", "k", "v"]
MLPs: TypeAlias = Literal["recompute", "freeze"]


@checked
@cached
def path_patch_effect(
    experiment: Experiment,
    senders: HeadLike | Iterable[HeadLike],
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    *,
    into: Into | None = None,
    at: At = END,
    corruption: str | None = None,
    mlps: MLPs = "recompute",
    metric: Literal["logit_diff", "of_clean"] = "logit_diff",
) -> Measurement:
    """The effect of heads on the logit difference along direct paths into receivers: patched minus clean.

    Args:
        experiment: checkpoint and data set. The clean run is patched (noising), from the corrupted one.
        senders: one head or several, corrupted at all positions.
        receivers: heads, which may sit in several layers, or ``"logits"``.
        into: which of the receivers' inputs: ``q``, ``k`` or ``v``; None for the logits. Where query heads share
            key-value heads, only the receiver's private copy of its ``k`` or ``v`` changes.
        at: the positions at which the receivers' input is exchanged: for ``q`` the one that attends, for ``k`` and
            ``v`` those attended to; None for all.
        corruption: the run that the senders' z comes from; by default the data set's only corruption, and ``abc``
            where it has several.
        mlps: ``recompute``: paths through MLPs count, as in the paper; ``freeze``: they are held at their clean
            values, so that only the residual stream carries (TransformerLens's ``get_act_patch_direct_path``).
        metric: ``logit_diff``: the change in logits; ``of_clean``: as a share of the mean clean logit difference, -1
            where nothing is left of it.

    Returns:
        One value for each prompt; for ``of_clean`` a ratio of means with its denominators.

    Raises:
        UsageError: an unknown head, corruption or position; ``into`` missing or not wanted.
        NotApplicable: no receiver comes after a sender, or what the senders write at the receivers' positions is equal
            in both runs: the effect is undefined, not zero.

    Wang et al. 2022, section 2.2 and appendix B; Goldowsky-Dill et al. 2023.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(path_patch_effect(experiment, "3.0", "logits").value, 2)
        -5.94
        >>> round(path_patch_effect(experiment, ["2.0", "2.1"], ["3.0", "3.1", "3.2"], into="q").value, 2)
        -9.19
    """
    (effect,) = _effects(experiment, [as_heads(senders)], receivers, into, at, corruption, mlps, metric)
    return defined(effect)


@checked
@cached
def path_patch_effect_sweep(
    experiment: Experiment,
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    *,
    into: Into | None = None,
    at: At = END,
    corruption: str | None = None,
    mlps: MLPs = "recompute",
    metric: Literal["logit_diff", "of_clean"] = "logit_diff",
    layers: Collection[int] | None = None,
    senders: Iterable[HeadLike] | None = None,
) -> Table[Head]:
    """The path patching effect of each head alone into the receivers, layer by head.

    Args:
        experiment: checkpoint and data set.
        receivers: heads, or ``"logits"``.
        into: as for :func:`path_patch_effect`.
        at: the positions at which the receivers' input is exchanged; None for all.
        corruption: as for :func:`path_patch_effect`.
        mlps: ``recompute`` or ``freeze``.
        metric: ``logit_diff`` or ``of_clean``.
        layers: the senders' layers; by default all before the last receiver's.
        senders: which heads of these layers send; by default all of them.

    Returns:
        A table of layer by head; each cell is :func:`path_patch_effect`. Heads that come after the receivers have no
        cell; a head that writes the same in both runs at the receivers' positions is undefined.

    Raises:
        UsageError: an unknown head, corruption or position; ``into`` missing or not wanted.
        NotApplicable: no head comes before a receiver, or no cell is defined.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(path_patch_effect_sweep(experiment, "logits")["3.0"].value, 2)
        -5.94
    """
    shape = experiment.checkpoint.shape
    end_layer = shape.n_layers if is_logits(receivers) else max(head.layer for head in as_heads(receivers))
    sender_layers = [layer for layer in (range(shape.n_layers) if layers is None else layers) if layer < end_layer]
    heads = [Head(layer, head) for layer in sender_layers for head in range(shape.n_heads)]
    if senders is not None:
        asked = {experiment.checkpoint.check_head(head) for head in as_heads(senders)}
        heads = [head for head in heads if head in asked]
    if not heads:
        raise NotApplicable("no head of these layers comes before a receiver: the effect is undefined, not zero")
    effects = _effects(experiment, [(head,) for head in heads], receivers, into, at, corruption, mlps, metric)
    return heads_table(dict(zip(heads, effects, strict=True)))


def _effects(
    experiment: Experiment,
    sender_sets: Sequence[Sequence[Head]],
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    into: Into | None,
    at: At,
    corruption: str | None,
    mlps: MLPs,
    metric: str,
) -> list[Measurement | str]:
    """The effect of several sets of senders, each on its own, or why it is undefined."""
    sent = [[experiment.checkpoint.check_head(head) for head in heads] for heads in sender_sets]
    received = _receivers(experiment, receivers, into, sent)
    corruption = corruption_of(experiment, corruption, "abc")
    require_contrast(experiment, corruption)
    crossings = _crossings(experiment, sent, received, at, corruption)
    prompts = changed_prompts(experiment, crossings, "clean")
    acting = [heads for heads, rows in zip(sent, prompts, strict=True) if rows]
    jobs = _first_pass(experiment, acting, corruption, mlps)
    if received:
        keep = sorted({experiment.checkpoint.sites.hook(str(into), head.layer) for head in received})
        first = patched(experiment, jobs, metric=None, keep=keep, isolated=at)
        passes = patched(experiment, _second_pass(experiment, received, str(into), at, first))
    else:
        passes = patched(experiment, jobs, isolated=END)
    clean = experiment.logit_diffs()
    of_clean: dict[str, Any] = {"unit": "of clean", "scale": clean, "tolerance": ratio_noise(experiment, clean)}
    effects: list[Measurement | str] = []
    measured = iter(passes.values)
    for heads, crossing, rows in zip(sent, crossings, prompts, strict=True):
        if not rows:
            what = f"what {names_of(heads)} sends {place_of(crossing.nodes)}"
            effects.append(no_change(experiment, what, crossing.nodes, corruption))
            continue
        context = experiment.context(
            heads=heads,
            intervention=Exchanged(corruption, "noise"),
            metric=metric,
            at=text_of(at),
            receivers=[str(head) for head in received] or "logits",
            into=into or "logits",
            mlps=mlps,
            passes_from=passes.start_from,
        )
        ratio = of_clean if metric == "of_clean" else {}
        effect = per_prompt(experiment, "path_patch_effect", next(measured) - clean, context, **ratio)
        effects.append(effect_or_reason(effect, rows))
    return effects


def _crossings(
    experiment: Experiment, sent: Sequence[Sequence[Head]], received: Sequence[Head], at: At, corruption: str
) -> list[Patch]:
    """For each set of senders what crosses over to the receivers: z at the receivers' own positions.

    All other attention is held at its clean values, so nothing travels from one position to another.
    """
    last = max((head.layer for head in received), default=experiment.checkpoint.shape.n_layers)
    sets = [
        tuple(Node("z", head.layer, head.head, at if received else END) for head in heads if head.layer < last)
        for heads in sent
    ]
    source = from_run(experiment, [node for nodes in sets for node in nodes], corruption)
    return [Patch(nodes, source) for nodes in sets]


def _receivers(
    experiment: Experiment,
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    into: Into | None,
    sent: Sequence[Sequence[Head]],
) -> list[Head]:
    """The receiving heads; none for the logits."""
    if is_logits(receivers):
        if into is not None:
            raise UsageError(f"into={shown(into)} is for heads; leave it out for the logits")
        return []
    if into not in get_args(Into):
        raise UsageError(f"into is {shown(into)}; allowed for heads: 'q', 'k', 'v'")
    received = [experiment.checkpoint.check_head(head) for head in as_heads(receivers)]
    for heads in sent:
        if max(head.layer for head in received) <= min(head.layer for head in heads):
            raise NotApplicable(
                f"no receiver of {names_of(received)} comes after a sender of {names_of(heads)}: "
                "the effect is undefined, not zero"
            )
    return received


def is_logits(receivers: object) -> bool:
    """Whether the logits are meant, not heads.

    Args:
        receivers: heads, or ``"logits"``.

    Returns:
        True for ``"logits"``.
    """
    return isinstance(receivers, str) and receivers == "logits"


def _first_pass(
    experiment: Experiment, sent: Sequence[Sequence[Head]], corruption: str, mlps: MLPs
) -> list[list[Patch]]:
    """The patches of the first pass, for each set of senders.

    All heads, and with ``freeze`` all MLPs, are held at their clean values; the senders' z is the corrupted run's.
    """
    layers = range(experiment.checkpoint.shape.n_layers)
    frozen = [Node("z", layer) for layer in layers]
    if mlps == "freeze":
        frozen += [Node("mlp_out", layer) for layer in layers]
    held = Patch(tuple(frozen), from_run(experiment, frozen, "clean"))
    senders = [tuple(Node("z", head.layer, head.head) for head in heads) for heads in sent]
    source = from_run(experiment, [node for nodes in senders for node in nodes], corruption)
    return [[held, Patch(nodes, source)] for nodes in senders]


def _second_pass(
    experiment: Experiment, received: Sequence[Head], into: str, at: At, first: Passes
) -> list[list[Patch]]:
    """The receivers' inputs as the first passes left them, put into the clean run."""
    checkpoint = experiment.checkpoint
    inputs = [
        recorded(activations, first_changed.__getitem__)
        for activations, first_changed in zip(first.activations, first.first_changed, strict=True)
    ]
    if into == "q":
        nodes = tuple(Node("q", head.layer, head.head, at) for head in received)
        return [[Patch(nodes, source)] for source in inputs]
    shared = {kv: Node(into, kv.layer, kv.head, at) for kv in sorted({checkpoint.kv_head(head) for head in received})}
    if checkpoint.shape.n_kv_heads == checkpoint.shape.n_heads:
        return [[Patch(tuple(shared.values()), source)] for source in inputs]

    # A shared key or value may change for the receivers alone. So their z is taken from a pass in which the shared
    # head is exchanged, layer by layer, and put into one in which it is not.
    jobs: list[list[Patch]] = [[] for _ in inputs]
    for layer in sorted({head.layer for head in received}):
        here = tuple(node for kv, node in shared.items() if kv.layer == layer)
        exchanged = [[*job, Patch(here, source)] for job, source in zip(jobs, inputs, strict=True)]
        passes = patched(experiment, exchanged, metric=None, keep=[checkpoint.sites.hook("z", layer)])
        readers = tuple(Node("z", head.layer, head.head) for head in received if head.layer == layer)
        for job, activations, first_changed in zip(jobs, passes.activations, passes.first_changed, strict=True):
            job.append(Patch(readers, recorded(activations, first_changed.__getitem__)))
    return jobs
