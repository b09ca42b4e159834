"""A head's attention from END to names where something else stands at its query's input.

Keys stay those of the prompts, and so do all other heads: what is put in changes this head's scores and nothing before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_interp.heads import Head, as_head

if TYPE_CHECKING:
    from torch import Tensor

Input: TypeAlias = "Callable[[Any, int, Head], Tensor]"
"""Experiment, index of a group, head: what stands at the query's input, ``(prompt, d_model)``, before the norm."""


def score_gaps(experiment: Any, head: str, query: str) -> list[float]:
    """For each prompt, how much higher a head scores IO than S1 at END, before the softmax.

    Args:
        experiment: IOI prompts with the positions IO and S1.
        head: such as ``10.7``.
        query: a key of ``INPUTS`` (divided by the scale of the prompt's own norm), a key of ``VECTORS`` (divided by its
            own scale), or a head, for what it writes at END (divided by its own scale).
    """
    rows = []
    for index, group in enumerate(experiment.data.clean.groups):
        scores = _scores(experiment, index, as_head(head), *_input_of(query))
        rows.append(_at(experiment, group, scores, "IO") - _at(experiment, group, scores, "S1"))
    values: list[float] = experiment.in_order(rows).tolist()
    return values


def attention_changes(experiment: Any, head: str, without: Sequence[str], *, corruption: str = "abc") -> list[float]:
    """For each prompt, how the attention from END to IO minus that to S1 changes as other heads are corrupted.

    Path patching into the head's queries: what the others write at END is that of the corrupted prompts; it reaches the
    head by the residual stream alone, with every MLP and every other head as in the prompt.

    Args:
        experiment: IOI prompts with the positions IO and S1.
        head: such as ``10.7``.
        without: the heads that are corrupted, all of earlier layers.
        corruption: the run that their output is taken from.
    """
    senders = [as_head(sender) for sender in without]
    assert all(sender.layer < as_head(head).layer for sender in senders)

    def corrupted(experiment: Any, index: int, head: Head) -> Tensor:
        written = [
            _written(experiment, index, sender, corruption) - _written(experiment, index, sender) for sender in senders
        ]
        return _stream(experiment, index, head) + sum(written[1:], written[0])

    rows = []
    for index, group in enumerate(experiment.data.clean.groups):
        before, after = (
            _scores(experiment, index, as_head(head), stream, own_scale=True).softmax(-1)
            for stream in (_stream, corrupted)
        )
        change = after - before
        rows.append(_at(experiment, group, change, "IO") - _at(experiment, group, change, "S1"))
    values: list[float] = experiment.in_order(rows).tolist()
    return values


def shares_along_answer(experiment: Any, head: str) -> list[float]:
    """For each prompt, the share of what a head writes at END, by squared length, that lies along IO's unembedding."""
    rows = []
    for index, group in enumerate(experiment.data.clean.groups):
        written, direction = _written(experiment, index, as_head(head)), _unembedded(experiment, group.answers)
        along = (written * direction).sum(-1) ** 2 / (direction**2).sum(-1)
        rows.append(along / (written**2).sum(-1))
    values: list[float] = experiment.in_order(rows).tolist()
    return values


# ---- what stands at the query's input


def _stream(experiment: Any, index: int, head: Head) -> Tensor:
    """The residual stream at END before the head's layer."""
    stream: Tensor = experiment.activation(experiment.checkpoint.sites.hook("resid_pre", head.layer))[index]
    return stream[:, -1]


def _order_exchanged(experiment: Any, index: int, head: Head) -> Tensor:
    """The same of prompts in which the first mentions of IO and S have changed places."""
    import torch

    group, hook = experiment.data.clean.groups[index], experiment.checkpoint.sites.hook("resid_pre", head.layer)
    first, second = (experiment.position(group, name).cpu() for name in ("IO", "S1"))
    tokens, rows = group.tokens.cpu().clone(), torch.arange(len(group.tokens))
    tokens[rows, first], tokens[rows, second] = tokens[rows, second], tokens[rows, first]
    stream: Tensor = experiment.checkpoint.run(tokens, keep=[hook]).activations[hook]
    return stream[:, -1]


def _projected(experiment: Any, index: int, head: Head) -> Tensor:
    """The part of the stream in the plane of the unembeddings of IO and S."""
    import torch

    group = experiment.data.clean.groups[index]
    plane = torch.stack([_unembedded(experiment, tokens) for tokens in (group.answers, group.distractors)], dim=-1)
    basis = torch.linalg.qr(plane.float()).Q
    return (basis @ (basis.mT @ _stream(experiment, index, head).float()[..., None]))[..., 0]


def _answer(experiment: Any, index: int, head: Head) -> Tensor:  # noqa: ARG001
    """The unembedding of IO."""
    return _unembedded(experiment, experiment.data.clean.groups[index].answers)


INPUTS: Mapping[str, Input] = {"clean": _stream, "order-exchanged": _order_exchanged, "projected": _projected}
VECTORS: Mapping[str, Input] = {"own": _stream, "answer": _answer}


def _input_of(query: str) -> tuple[Input, bool]:
    """What stands at the query's input, and whether it is divided by its own scale."""
    if query in INPUTS:
        return INPUTS[query], False
    if query in VECTORS:
        return VECTORS[query], True
    return lambda experiment, index, _: _written(experiment, index, as_head(query)), True


def _written(experiment: Any, index: int, head: Head, run: str = "clean") -> Tensor:
    """What a head writes at END, without the output bias."""
    z: Tensor = experiment.activation(experiment.checkpoint.sites.hook("z", head.layer), run)[index]
    written: Tensor = z[:, -1, head.head] @ experiment.checkpoint.weights.w_o(head.layer)[head.head]
    return written


def _unembedded(experiment: Any, tokens: Tensor) -> Tensor:
    """The unembeddings of tokens, ``(prompt, d_model)``."""
    unembedding: Tensor = experiment.checkpoint.weights.w_u()
    return unembedding.T[tokens.to(unembedding.device)]


# ---- scores


def _scores(experiment: Any, index: int, head: Head, stream: Input, own_scale: bool) -> Tensor:
    """The head's attention scores at END, ``(prompt, position)``."""
    checkpoint = experiment.checkpoint
    attention = checkpoint.bridge.blocks[head.layer].attn
    read = stream(experiment, index, head).float()
    read = read - read.mean(-1, keepdim=True)
    own = _stream(experiment, index, head).float()
    measured = read if own_scale else own - own.mean(-1, keepdim=True)
    epsilon = checkpoint.bridge.cfg.eps
    normed = read / (measured.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
    query = normed @ attention.W_Q[head.head].float() + attention.b_Q[head.head].float()
    keys = experiment.activation(checkpoint.sites.hook("k", head.layer))[index][:, :, head.head].float()
    scores: Tensor = (keys @ query[..., None])[..., 0] / keys.shape[-1] ** 0.5
    return scores


def _at(experiment: Any, group: Any, scores: Tensor, name: str) -> Tensor:
    """The entry of each row at a named position."""
    positions: Tensor = experiment.position(group, name)
    return scores.gather(1, positions[:, None])[:, 0]
