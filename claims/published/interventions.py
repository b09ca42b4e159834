"""What two sources derive from several interventions: signals and their shares, self-repair and its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.measurement import Measurement

PREFIX = "It was a bright day, and the streets of the old town were full of people who had nothing else to do. "
SIGNALS: Mapping[str, tuple[int, int]] = {
    "random-names": (1, 0),
    "names-exchanged": (1, -1),
    "order-exchanged": (-1, 1),
    "order-exchanged-random-names": (-1, 0),
    "s2-exchanged": (-1, -1),
}
"""What a corruption makes of the position and of the token that S2 repeats: 1 kept, 0 another, -1 the other name's."""


def signal_strengths(experiment: Any, heads: Sequence[str], signal: str) -> list[float]:
    """For each prompt, how many logits the position signal, or the token signal, of heads at END is worth.

    The logit difference with the heads' output of each corruption of ``SIGNALS``, and without any, is fitted by
    ``position * S_position + token * S_token`` (least squares, no constant). The two columns are orthogonal.

    Args:
        experiment: IOI prompts with all five corruptions.
        heads: their z at END is exchanged.
        signal: ``position`` or ``token``.

    Wang et al. 2022, appendix A.
    """
    from pytest_interp.measure import head_patch_effect

    column = ("position", "token").index(signal)
    clean = experiment.logit_diffs().tolist()
    weights, runs = [1], [clean]
    for corruption, signs in SIGNALS.items():
        change = head_patch_effect(
            experiment, heads, at="END", direction="noise", corruption=corruption, metric="logit_diff"
        )
        runs.append([before + after for before, after in zip(clean, change.values, strict=True)])
        weights.append(signs[column])
    size = sum(weight**2 for weight in weights)
    return [
        sum(weight * value for weight, value in zip(weights, values, strict=True)) / size
        for values in zip(*runs, strict=True)
    ]


def share_of_drop(
    experiment: Any, heads: Sequence[str], of: Sequence[str], *, corruption: str, at: str = "S2"
) -> tuple[float, float]:
    """How much the logit difference falls with heads at END corrupted, and the share of it with others corrupted.

    Args:
        experiment: IOI prompts with the corruption.
        heads: those whose share is asked for.
        of: the heads that are corrupted at END.
        corruption: a key of ``SIGNALS``.
        at: the position at which the former are corrupted.

    Returns:
        The mean change in logits, and the share of it.
    """
    from pytest_interp.measure import head_patch_effect

    settings: dict[str, Any] = {"direction": "noise", "corruption": corruption, "metric": "logit_diff"}
    whole = head_patch_effect(experiment, of, at="END", **settings).value
    return whole, head_patch_effect(experiment, heads, at=at, **settings).value / whole


def prefixed_changes(experiment: Any, heads: Sequence[str], prefix: str = PREFIX) -> list[float]:
    """For each prompt, how the logit difference changes with z of heads at END as in the same prompt after a prefix.

    The prefix makes every position another one, and leaves the distances between them.

    Args:
        experiment: prompts.
        heads: their z at END is exchanged.
        prefix: a text, with its last space.
    """
    import torch

    from pytest_interp.heads import as_heads
    from pytest_interp.tasks.prompts import encode

    checkpoint = experiment.checkpoint
    by_layer: dict[str, list[int]] = {}
    for head in as_heads(heads):
        by_layer.setdefault(checkpoint.sites.hook("z", head.layer), []).append(head.head)
    changes = []
    for group in experiment.data.clean.groups:
        start, tokens = int(experiment.data.clean.bos), group.tokens.cpu()
        texts = [encode(checkpoint.tokenizer, prefix + experiment.data.clean.prompts[row].text) for row in group.rows]
        longer = torch.cat([tokens[:, :start], torch.tensor(texts)], dim=1)
        activations = checkpoint.run(longer, keep=list(by_layer)).activations

        def put(value: Tensor, hook: str, activations: Any = activations) -> Tensor:
            value = value.clone()
            value[:, -1, by_layer[hook]] = activations[hook][:, -1, by_layer[hook]]
            return value

        edits = {hook: partial(put, hook=hook) for hook in by_layer}
        rows, logits = torch.arange(len(tokens)), checkpoint.run(tokens, edits=edits).logits.cpu()
        changes.append(logits[rows, group.answers.cpu()] - logits[rows, group.distractors.cpu()])
    values: list[float] = (experiment.in_order(changes) - experiment.logit_diffs().cpu()).tolist()
    return values


def self_repairs(experiment: Any, heads: Sequence[str], knocked_out: Sequence[str]) -> tuple[Measurement, Measurement]:
    """What the rest of the model makes up for where heads are mean-ablated at END, and some heads' share of it.

    Args:
        experiment: IOI prompts with a reference.
        heads: those whose share is asked for.
        knocked_out: the heads that are ablated.

    Returns:
        In logits, the logit difference minus what it would be if nothing reacted; and of its mean, the share that the
        heads write more than before, by the ablated run's own norm.
    """
    from pytest_interp.heads import as_heads
    from pytest_interp.measure import backup_effect

    effect = backup_effect(experiment, heads, knocked_out=knocked_out, ablation="mean")
    rise = effect.rise(as_heads(heads), norm="live")
    pairs = zip(effect.total_after.values, effect.naive.values, strict=True)
    repaired = replace(
        effect.total_after, quantity="repaired", values=tuple(after - expected for after, expected in pairs)
    )
    noise = rise.tolerance / max(abs(repaired.value), 1e-30)
    share = replace(rise, quantity="repair_share", unit="of repair", scale=repaired.values, tolerance=noise)
    return repaired, share


def logit_diff_without_mlps(experiment: Any, layers: Sequence[int]) -> Measurement:
    """The logit difference with MLPs mean-ablated at all positions.

    Args:
        experiment: prompts with a reference of the same templates and token lengths.
        layers: of the MLPs.
    """
    from pytest_interp.common.context import Ablated
    from pytest_interp.engine.passes import patched
    from pytest_interp.engine.patch import Node, Patch, ablated
    from pytest_interp.measure.per_prompt import per_prompt

    nodes = tuple(Node("mlp_out", layer) for layer in layers)
    passes = patched(experiment, [[Patch(nodes, ablated(experiment, nodes, "mean"))]])
    context = experiment.context(
        heads=None, intervention=Ablated("mean", None), metric="logit_diff", mlps=", ".join(map(str, layers))
    )
    return per_prompt(experiment, "logit_diff_without_mlps", passes.values[0], context)
