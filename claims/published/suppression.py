"""What heads write into the logits of whatever they attend to, and of names, by their sources' own sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table

if TYPE_CHECKING:
    from torch import Tensor


def source_effects(experiment: Any) -> Table[Head]:
    """What each head writes, wherever it attends, into the logits of the tokens that it attends to.

    Each prompt is read with its answer. For each source: what the head writes of it into the logit of the source's own
    token, summed over all destinations with their attention and their own final scale. Of these sums the mean over
    sources, weighted by the attention that each source gets in all. BOS is neither source nor destination.

    Args:
        experiment: prompts with BOS.

    SERI-MATS-2023-Streamlit-pages, ``project_onto_unembed.ipynb``.
    """
    import torch

    checkpoint = experiment.checkpoint
    weights, layers, scale = checkpoint.weights, range(checkpoint.shape.n_layers), checkpoint.sites.scale_hook
    hooks = {(site, layer): checkpoint.sites.hook(site, layer) for site in ("v", "pattern") for layer in layers}
    by_group: list[Tensor] = []
    for group in experiment.data.clean.groups:
        tokens = torch.cat([group.tokens.cpu(), group.answers.cpu()[:, None]], dim=1)
        activations = checkpoint.run(tokens, keep=[*hooks.values(), scale]).activations
        unembedded = weights.w_u().T[tokens.to(checkpoint.device)]
        by_layer = []
        for layer in layers:
            direction = torch.einsum("hkd,psd->pshk", weights.w_o(layer), unembedded)
            written = (activations[hooks["v", layer]] * direction).sum(-1)[:, 1:]  # (prompt, source, head)
            pattern = activations[hooks["pattern", layer]][:, :, 1:, 1:]
            effects = torch.einsum("phqs,psh,pq->psh", pattern, written, 1 / activations[scale][:, 1:, 0])
            attention = pattern.sum(2).mT
            by_layer.append((effects * attention).sum(1) / attention.sum(1))
        by_group.append(torch.stack(by_layer, dim=1))
    values = experiment.in_order(by_group)
    context = experiment.context(heads=(), intervention=None, metric=None, at="all")
    return heads_table(
        {
            Head(layer, head): Measurement(
                quantity="source_effect",
                unit="logits",
                values=tuple(values[:, layer, head].tolist()),
                sample=experiment.data.sample,
                tolerance=experiment.noise,
                context=context,
            )
            for layer in layers
            for head in range(checkpoint.shape.n_heads)
        }
    )


def name_copy_shares(checkpoint: Any, names: Sequence[str], *, negative: bool) -> dict[str, float]:
    """By head, such as ``9.9``, the share of names that it copies, or suppresses; arguments as below.

    Names are read as they stand, without a space before them.
    """
    import torch

    from pytest_interp.tasks.prompts import single_token

    memo, key = checkpoint.guard.memory, ("copy shares with bias", tuple(names), negative)
    if key not in memo:
        tokens = torch.tensor([single_token(checkpoint.tokenizer, name) for name in names])
        memo[key] = biased_copy_shares(checkpoint, tokens, negative=negative)
    shares = memo[key].tolist()
    return {f"{layer}.{head}": share for layer, row in enumerate(shares) for head, share in enumerate(row)}


def biased_copy_shares(checkpoint: Any, tokens: Tensor, *, negative: bool, k: int = 5) -> Tensor:
    """For each head the share of tokens that it puts among the top k logits, shape ``(layer, head)``.

    ``W_E + MLP0(ln2(W_E))``, through ``W_V W_O`` or its negative, through the final norm, and the unembedding with its
    bias. No norm stands before the head.

    Args:
        checkpoint: the loaded model.
        tokens: ids.
        negative: whether ``-W_V W_O`` is asked.
        k: how many of the top logits count.

    ARENA 3.0, chapter 1, IOI: ``get_copying_scores``.
    """
    import torch

    weights, sign = checkpoint.weights, -1 if negative else 1
    embedded, shares = checkpoint.forward.embed_through_mlp0(tokens), []
    for layer in range(checkpoint.shape.n_layers):
        written = sign * torch.einsum("td,hdk,hke->hte", embedded, weights.w_v(layer), weights.w_o(layer))
        scale = (written.pow(2).mean(-1, keepdim=True) + checkpoint.bridge.cfg.eps).sqrt()
        for of_head in written / scale:
            top = (of_head @ weights.w_u() + weights.b_u()).topk(k, dim=1).indices
            shares.append((top == tokens[:, None].to(top.device)).any(1).double().mean())
    return torch.stack(shares).view(checkpoint.shape.n_layers, -1)
