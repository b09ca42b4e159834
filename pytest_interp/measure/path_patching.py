"""Path patching as in the IOI paper: the effect of heads on others, or on the logits, along direct paths alone.

Pass 1 runs the clean prompts with the senders' z from the corrupted run and every other head's z frozen at its
clean value, at all positions: what the senders write reaches a receiver directly and through MLPs, never through
another head. The receivers' queries, keys or values are recorded. Pass 2 runs the clean prompts with these put in
at the receivers' positions, everything after recomputed. Into the logits there is no second pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch

from pytest_interp.engine.interventions import At, Edits, Node, Source, from_run, mask_of, overwrite, text_of, together
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.measure._per_prompt import per_prompt, ratio_noise
from pytest_interp.measurement import Json, Measurement
from pytest_interp.positions import END
from pytest_interp.table import Table, heads_table

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Edit
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import Group

Into: TypeAlias = Literal["q", "k", "v"]
MLPs: TypeAlias = Literal["recompute", "freeze"]


def path_patch_effect(
    experiment: Experiment,
    senders: HeadLike | Iterable[HeadLike],
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    *,
    into: Into | None = None,
    at: At = END,
    corruption: str = "abc",
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
        corruption: where the senders' z comes from.
        mlps: ``recompute``: paths through MLPs count, as in the paper; ``freeze``: they are held at their clean
            values, so that only the residual stream carries (TransformerLens's ``get_act_patch_direct_path``).
        metric: ``logit_diff``: the change in logits; ``of_clean``: as a share of the mean clean logit difference, -1
            where nothing is left of it.

    Returns:
        One value for each prompt; for ``of_clean`` a ratio of means with its denominators.

    Raises:
        UsageError: an unknown head, corruption or position; ``into`` missing or not wanted.
        NotApplicable: no receiver comes after a sender: the effect is undefined, not zero.

    Wang et al. 2022, section 2.2 and appendix B; Goldowsky-Dill et al. 2023.
    """
    checkpoint = experiment.checkpoint
    sent = [checkpoint.check_head(head) for head in as_heads(senders)]
    received = _receivers(experiment, receivers, into, sent)
    if mlps not in get_args(MLPs):
        raise UsageError(f"mlps is {mlps!r}; allowed: 'recompute', 'freeze'")
    if metric not in ("logit_diff", "of_clean"):
        raise UsageError(f"metric is {metric!r}; allowed: 'logit_diff', 'of_clean'")
    if experiment.data.run(corruption).digest == experiment.data.clean.digest or corruption == "clean":
        raise UsageError(f"the corruption {corruption!r} changes no prompt: nothing would be sent along the path")
    keep = sorted({checkpoint.hook(str(into), head.layer) for head in received})
    logits, recorded = experiment.answer_logits(edits=_first_pass(experiment, sent, corruption, mlps), keep=keep)
    if received:
        edits, copies = _second_pass(experiment, received, str(into), at, recorded)
        logits, _ = experiment.answer_logits(edits=edits, copies=copies)
    clean = experiment.logit_diffs()
    values = logits[:, 0] - logits[:, 1] - clean
    about: dict[str, Json] = {
        "heads": [str(head) for head in sent],
        "receivers": [str(head) for head in received] or "logits",
        "into": into or "logits",
        "at": text_of(at),
        "direction": "noise",
        "corruption": corruption,
        "mlps": mlps,
        "metric": metric,
    }
    if metric == "logit_diff":
        return per_prompt(experiment, "path_patch_effect", values, about=about)
    noise = ratio_noise(experiment, clean)
    return per_prompt(
        experiment, "path_patch_effect", values, unit="of clean", scale=clean, tolerance=noise, about=about
    )


def path_patch_sweep(
    experiment: Experiment,
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    *,
    into: Into | None = None,
    at: At = END,
    corruption: str = "abc",
    mlps: MLPs = "recompute",
    metric: Literal["logit_diff", "of_clean"] = "logit_diff",
    layers: Iterable[int] | None = None,
) -> Table[Head]:
    """The path patching effect of each head alone into the receivers, layer by head; later heads are left out."""
    shape = experiment.checkpoint.shape
    last = shape.n_layers if receivers == "logits" else max(head.layer for head in as_heads(receivers))
    chosen = [layer for layer in (range(shape.n_layers) if layers is None else layers) if layer < last]
    heads = [Head(layer, head) for layer in chosen for head in range(shape.n_heads)]
    if not heads:
        raise NotApplicable("no head of these layers comes before a receiver: the effect is undefined, not zero")
    return heads_table(
        {
            head: path_patch_effect(
                experiment, head, receivers, into=into, at=at, corruption=corruption, mlps=mlps, metric=metric
            )
            for head in heads
        }
    )


def _receivers(
    experiment: Experiment,
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    into: Into | None,
    sent: list[Head],
) -> list[Head]:
    """The receiving heads; none for the logits."""
    if receivers == "logits":
        if into is not None:
            raise UsageError(f"into={into!r} is for heads; leave it out for the logits")
        return []
    if into not in get_args(Into):
        raise UsageError(f"into is {into!r}; allowed for heads: 'q', 'k', 'v'")
    received = [experiment.checkpoint.check_head(head) for head in as_heads(receivers)]
    if max(head.layer for head in received) <= min(head.layer for head in sent):
        raise NotApplicable(
            f"no receiver of {names_of(received)} comes after a sender of {names_of(sent)}: "
            "the effect is undefined, not zero"
        )
    return received


def _first_pass(experiment: Experiment, sent: list[Head], corruption: str, mlps: MLPs) -> Edits:
    layers = range(experiment.checkpoint.shape.n_layers)
    frozen = [Node("z", layer) for layer in layers]
    if mlps == "freeze":
        frozen += [Node("mlp_out", layer) for layer in layers]
    senders = [Node("z", head.layer, head.head) for head in sent]
    return together(
        overwrite(experiment, frozen, from_run(experiment, frozen, "clean")),
        overwrite(experiment, senders, from_run(experiment, senders, corruption)),
    )


def _second_pass(
    experiment: Experiment, received: list[Head], into: str, at: At, recorded: Mapping[str, list[Tensor]]
) -> tuple[Edits, int]:
    """The edits of pass 2, and how many copies of each group its batch holds."""
    checkpoint = experiment.checkpoint

    def source(hook: str, index: int, value: Tensor) -> Tensor:
        new = recorded[hook][index]
        return new.repeat(value.shape[0] // new.shape[0], *(1 for _ in new.shape[1:]))

    if into == "q":
        return overwrite(experiment, [Node("q", head.layer, head.head, at) for head in received], source), 1
    groups = sorted({checkpoint.kv_head(head) for head in received})
    nodes = [Node(into, kv.layer, kv.head, at) for kv in groups]
    if checkpoint.shape.n_kv_heads == checkpoint.shape.n_heads:
        return overwrite(experiment, nodes, source), 1

    # A shared key or value may change for the receiver alone. So each group runs twice in one batch: the second copy
    # has the shared head exchanged, its receivers' z go over to the first, which is the result.
    def edits(index: int, _: Group) -> Mapping[str, Edit]:
        made: dict[str, Edit] = {}
        for layer in sorted({head.layer for head in received}):
            here = [node for node in nodes if node.layer == layer]
            made[checkpoint.hook(into, layer)] = _exchange_in_copy(experiment, index, here, source)
            made[checkpoint.hook("z", layer)] = _take_over([head.head for head in received if head.layer == layer])
        return made

    return edits, 2


def _exchange_in_copy(experiment: Experiment, index: int, nodes: list[Node], source: Source) -> Edit:
    hook = experiment.checkpoint.hook(nodes[0].site, nodes[0].layer)

    def edit(value: Tensor) -> Tensor:
        mask = mask_of(experiment, index, nodes, value).clone()
        mask[: len(mask) // 2] = False
        return torch.where(mask, source(hook, index, value), value)

    return edit


def _take_over(heads: list[int]) -> Edit:
    def edit(z: Tensor) -> Tensor:
        first, second = z.chunk(2)
        first = first.clone()
        first[:, :, heads] = second[:, :, heads]
        return torch.cat([first, first])

    return edit
