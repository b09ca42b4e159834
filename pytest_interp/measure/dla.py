"""Direct logit attribution: what heads write into the answer's direction at END."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from pytest_interp.heads import Head, HeadLike, as_heads
from pytest_interp.measure._per_prompt import per_prompt
from pytest_interp.measurement import Measurement

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.engine import Experiment


def direct_logit_attribution(
    experiment: Experiment, heads: HeadLike | Iterable[HeadLike], *, run: str = "clean"
) -> Measurement:
    """The direct logit attribution of heads to the logit difference at END, summed over the heads.

    ``z W_O . (W_U[answer] - W_U[distractor]) / scale``, with the scale of the final norm of the same run (1 where
    there is no final norm); without ``b_O`` and ``b_U``.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        run: ``clean`` or a corruption.

    Returns:
        One value for each prompt, in logits; any real number.

    Wang et al. 2022, section 3.1; Elhage et al. 2021, "Mathematical Framework", on the direct path.
    """
    checked = [experiment.checkpoint.check_head(head) for head in as_heads(heads)]
    values = attributions(experiment, checked, run=run).sum(1)
    return per_prompt(
        experiment, "direct_logit_attribution", values, about={"heads": [str(h) for h in checked], "run": run}
    )


def head_attributions(experiment: Experiment, *, run: str = "clean") -> Mapping[Head, Measurement]:
    """The direct logit attribution of every head of the model, as a table of measurements."""
    shape = experiment.checkpoint.shape
    heads = [Head(layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)]
    values = attributions(experiment, heads, run=run)
    return {
        head: per_prompt(experiment, "direct_logit_attribution", values[:, i], about={"heads": [str(head)], "run": run})
        for i, head in enumerate(heads)
    }


def attributions(experiment: Experiment, heads: Sequence[Head], *, run: str = "clean") -> Float[Tensor, "prompt head"]:
    """The attribution of each of several heads in an unedited run."""
    checkpoint = experiment.checkpoint
    hooks = [checkpoint.hook("z", layer) for layer in sorted({head.layer for head in heads})]
    scale_hook = checkpoint.scale_hook
    kept = experiment.activations([*hooks, *([scale_hook] if scale_hook else [])], experiment.data.run(run))
    return attribute(experiment, heads, kept, final_scale(experiment, kept))


def final_scale(experiment: Experiment, kept: Mapping[str, list[Tensor]]) -> list[Tensor]:
    """The final norm's scale at END in a run, for each group, shape ``(row,)``; ones where there is no norm."""
    hook = experiment.checkpoint.scale_hook
    if hook is None:
        device = experiment.checkpoint.device
        return [torch.ones(len(group.rows), device=device) for group in experiment.data.clean.groups]
    return [scale[:, -1].flatten(1)[:, 0].float() for scale in kept[hook]]


def attribute(
    experiment: Experiment, heads: Sequence[Head], kept: Mapping[str, list[Tensor]], scale: Sequence[Tensor]
) -> Float[Tensor, "prompt head"]:
    """Attribution from kept activations z and a final scale for each group."""
    checkpoint = experiment.checkpoint
    w_u = checkpoint.w_u()
    by_group = []
    for index, group in enumerate(experiment.data.clean.groups):
        answers, distractors = group.answers.to(w_u.device), group.distractors.to(w_u.device)
        direction = (w_u[:, answers] - w_u[:, distractors]).T.float() / scale[index][:, None]
        columns = []
        for head in heads:
            z = kept[checkpoint.hook("z", head.layer)][index][:, -1, head.head].float()
            columns.append(((z @ checkpoint.w_o(head.layer)[head.head].float()) * direction).sum(-1))
        by_group.append(torch.stack(columns, dim=1))
    return experiment.in_order(by_group)
