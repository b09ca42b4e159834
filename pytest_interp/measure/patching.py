"""Activation patching of heads: one run's activation put into the other run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, as_heads
from pytest_interp.measure._per_prompt import per_prompt, ratio_noise
from pytest_interp.measurement import Json, Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Edit
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import Group

Activation: TypeAlias = Literal["z", "q", "k", "v", "pattern"]
Direction: TypeAlias = Literal["denoise", "noise"]
Metric: TypeAlias = Literal["recovered", "logit_diff"]


def head_patch_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    activation: Activation = "z",
    at: str | None = None,
    direction: Direction = "denoise",
    corruption: str = "s2-exchanged",
    metric: Metric = "recovered",
) -> Measurement:
    """The effect of exchanging an activation of heads between the clean and the corrupted run.

    ``recovered = (mean patched - mean corrupted) / (mean clean - mean corrupted)`` of the logit difference: 0 is
    the corrupted run, 1 the clean one. ``logit_diff`` is the change in logits: patched minus the run that is
    patched. Several heads are exchanged in one pass, not one after the other.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several. Where query heads share key-value heads, ``k`` and ``v`` of the shared head
            are exchanged, for all that read it.
        activation: ``z`` (before the output weights), ``q``, ``k``, ``v`` (before rotation) or ``pattern``.
        at: a named position (for ``pattern``: the destination); None for all positions.
        direction: ``denoise`` puts clean into corrupted, ``noise`` the reverse.
        corruption: the corrupted run.
        metric: ``recovered`` or ``logit_diff``.

    Returns:
        For ``recovered`` a ratio of means, with the numerator and the denominator of each prompt; any real number.

    Raises:
        UsageError: an unknown head, activation, position or corruption.
        NotApplicable: the architecture has no such site.

    Wang et al. 2022, section 3; Zhang and Nanda 2023 on direction and corruption.
    """
    checked = [experiment.checkpoint.check_head(head) for head in as_heads(heads)]
    if direction not in ("denoise", "noise"):
        raise UsageError(
            f"direction is {direction!r}; allowed: 'denoise' (clean into corrupted), 'noise' (the reverse)"
        )
    if activation not in ("z", "q", "k", "v", "pattern"):
        raise UsageError(f"activation is {activation!r}; allowed: 'z', 'q', 'k', 'v', 'pattern'")
    if metric not in ("recovered", "logit_diff"):
        raise UsageError(f"metric is {metric!r}; allowed: 'recovered', 'logit_diff'")
    source, target = ("clean", corruption) if direction == "denoise" else (corruption, "clean")
    experiment.data.run(corruption)
    patched = experiment.logit_diffs(target, edits=_exchange(experiment, checked, activation, at, source))
    clean, corrupted = experiment.logit_diffs("clean"), experiment.logit_diffs(corruption)
    about: dict[str, Json] = {
        "heads": [str(head) for head in checked],
        "activation": activation,
        "at": at or "all positions",
        "direction": direction,
        "corruption": corruption,
        "metric": metric,
    }
    if activation in ("k", "v") and experiment.checkpoint.shape.n_kv_heads < experiment.checkpoint.shape.n_heads:
        shared = sorted({experiment.checkpoint.kv_head(head) for head in checked})
        about["kv_heads"] = {str(kv): [str(h) for h in experiment.checkpoint.sharers(kv)] for kv in shared}
    if metric == "logit_diff":
        base = clean if target == "clean" else corrupted
        return per_prompt(experiment, "head_patch_effect", patched - base, about=about)
    scale = clean - corrupted
    return per_prompt(
        experiment,
        "head_patch_effect",
        patched - corrupted,
        unit="recovered",
        scale=scale,
        tolerance=ratio_noise(experiment, scale),
        about=about,
    )


def _exchange(
    experiment: Experiment, heads: list[Head], activation: Activation, at: str | None, source: str
) -> Callable[[int, Group], Mapping[str, Edit]]:
    """For each group, the edits that put the source run's activation of these heads in place."""
    checkpoint = experiment.checkpoint
    by_layer: dict[int, list[int]] = {}
    for head in heads:
        index = checkpoint.kv_head(head).head if activation in ("k", "v") else head.head
        by_layer.setdefault(head.layer, [])
        if index not in by_layer[head.layer]:
            by_layer[head.layer].append(index)
    hooks = {layer: checkpoint.hook(activation, layer) for layer in by_layer}
    sources = experiment.activations(list(hooks.values()), experiment.data.run(source))

    def edits(index: int, group: Group) -> Mapping[str, Edit]:
        rows = torch.arange(len(group.rows), device=checkpoint.device)
        # Runs are aligned token by token, so a position of the clean run is that of the other.
        where = None if at is None else experiment.position(experiment.data.clean.groups[index], at)

        def edit(layer: int) -> Edit:
            new = sources[hooks[layer]][index]

            def replace(value: Tensor) -> Tensor:
                value = value.clone()
                for head in by_layer[layer]:
                    if activation == "pattern":
                        if where is None:
                            value[:, head] = new[:, head]
                        else:
                            value[rows, head, where] = new[rows, head, where]
                    elif where is None:
                        value[:, :, head] = new[:, :, head]
                    else:
                        value[rows, where, head] = new[rows, where, head]
                return value

            return replace

        return {hooks[layer]: edit(layer) for layer in by_layer}

    return edits
