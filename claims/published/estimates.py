"""Attribution patching of every site: the first-order estimate of a patching effect, as a notebook prints it.

An estimate is no evidence of an effect. What is claimed is that the estimates are those of the source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_interp import Experiment, Head
from pytest_interp.table import Table, heads_table

if TYPE_CHECKING:
    from torch import Tensor

HEAD_AXIS = {"z": 2, "q": 2, "k": 2, "v": 2, "pattern": 1}
"""The axis of heads in ``(prompt, position, head, d_head)`` or ``(prompt, head, destination, source)``."""


def estimates(experiment: Experiment, site: str, *, corruption: str = "s2-exchanged") -> Table[Any]:
    """The estimated share of the logit difference that clean activations recover in the corrupted run, cell by cell.

    For each prompt: the gradient of the logit difference by the activation, at the corrupted run, times the clean minus
    the corrupted activation, summed over dimensions; over the mean clean minus the mean corrupted logit difference.

    Args:
        experiment: checkpoint and data set; all prompts have one token length.
        site: ``z``, ``q``, ``k``, ``v`` or ``pattern``: layer by head, all positions together; ``resid_pre``,
            ``attn_out`` or ``mlp_out``: layer by position.
        corruption: the corrupted run.

    Returns:
        A table of ratios of means, in the unit ``recovered``.

    Nanda 2023 (attribution patching).
    """
    from pytest_interp.measure.per_prompt import per_prompt, ratio_noise

    products = _products(experiment, site, corruption)
    gained = experiment.logit_diffs("clean") - experiment.logit_diffs(corruption)
    context = experiment.context(heads=None, intervention=None, metric="recovered", run=corruption, site=site)

    def cell(values: Tensor) -> Any:
        noise = ratio_noise(experiment, gained)
        return per_prompt(
            experiment, "attribution_estimate", values, context, unit="recovered", scale=gained, tolerance=noise
        )

    if site in HEAD_AXIS:
        return heads_table(
            {
                Head(layer, head): cell(of_layer[:, head])
                for layer, of_layer in enumerate(products)
                for head in range(of_layer.shape[1])
            }
        )
    return Table.of(
        {
            (layer, position): cell(of_layer[:, position])
            for layer, of_layer in enumerate(products)
            for position in range(of_layer.shape[1])
        },
        ("layer", "position"),
    )


def _products(experiment: Experiment, site: str, corruption: str) -> list[Tensor]:
    """For each layer, gradient times difference by prompt and head, or by prompt and position."""
    import torch

    from pytest_interp.checkpoints.gradients import activation_gradients

    checkpoint = experiment.checkpoint
    (clean,), (corrupted,) = experiment.data.clean.groups, experiment.data.run(corruption).groups
    answers, distractors = clean.answers.to(checkpoint.device), clean.distractors.to(checkpoint.device)
    rows = torch.arange(len(answers), device=checkpoint.device)

    def summed_logit_diff(logits: Tensor) -> Tensor:
        return (logits[rows, -1, answers] - logits[rows, -1, distractors]).sum()

    hooks = [checkpoint.sites.hook(site, layer) for layer in range(checkpoint.shape.n_layers)]
    slopes = activation_gradients(checkpoint, corrupted.tokens, summed_logit_diff, hooks)
    products = []
    for hook in hooks:
        (ours,), (theirs,) = experiment.activation(hook), experiment.activation(hook, corruption)
        product = slopes[hook] * (ours - theirs)
        shared_axes = {0, HEAD_AXIS.get(site, 1)}
        products.append(product.sum(dim=[axis for axis in range(product.ndim) if axis not in shared_axes]))
    return products
