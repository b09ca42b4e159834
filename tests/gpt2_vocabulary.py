"""What heads of the numpy GPT-2 do to every token of the vocabulary, or to names, by their weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from gpt2_reference import Array, Reference, gelu
from numpy.typing import NDArray

Ranks = NDArray[np.int64]


@cache
def biased_copy_shares(model: Reference, tokens: Sequence[int], *, negative: bool, k: int) -> Array:
    """For each head the share of tokens that it puts among the top k logits, the unembedding's bias added.

    ``tokens`` is a tuple, so that the shares are computed once.
    """
    first, shares = model.blocks[0], np.zeros((model.n_layers, model.n_heads))
    embedded = model.embed[list(tokens)]
    hidden = gelu(model.normed(embedded) @ first["W_in"] + first["b_in"])
    read = embedded + hidden @ first["W_out"] + first["b_out"]
    for layer, block in enumerate(model.blocks):
        for head in range(model.n_heads):
            written = read @ block["W_v"][:, head] @ block["W_o"][head] * (-1 if negative else 1)
            logits = model.normed(written) @ model.unembed + model.unembed_bias
            own = logits[np.arange(len(tokens)), list(tokens)]
            shares[layer, head] = ((logits > own[:, None]).sum(1) < k).mean()
    return shares


def effective_embedding(model: Reference, *, bias: bool) -> Array:
    """What the first block makes of each token that attends to itself alone, without positions.

    Args:
        model: the numpy GPT-2.
        bias: whether what attention adds to every token, whatever it reads, is in it.
    """
    block = model.blocks[0]
    written = np.tensordot(np.tensordot(model.normed(model.embed), block["W_v"], 1), block["W_o"], 2)
    stream = model.embed + written
    if bias:
        stream = stream + np.tensordot(block["b_v"], block["W_o"], 2) + block["b_o"]
    return stream + gelu(model.normed(stream) @ block["W_in"] + block["b_in"]) @ block["W_out"] + block["b_out"]


@cache
def suppression_ranks(model: Reference, layer: int, head: int, *, bias: bool) -> Ranks:
    """For each token, how many others have a lower logit where the head attends to this one; 0 for the lowest."""
    block = model.blocks[layer]
    written = effective_embedding(model, bias=bias) @ block["W_v"][:, head] @ block["W_o"][head]
    return _ranks(written, -model.unembed)


@cache
def attention_ranks(model: Reference, layer: int, head: int) -> Ranks:
    """For each token, how many others have a higher score where this one's unembedding is the query's input."""
    block = model.blocks[layer]
    queries = model.unembed.T @ block["W_q"][:, head]
    return _ranks(queries, (effective_embedding(model, bias=False) @ block["W_k"][:, head]).T)


def _ranks(rows: Array, columns: Array) -> Ranks:
    """How many entries of each row of ``rows @ columns`` are above the diagonal's; a few rows at a time."""
    ranks, scores = np.empty(len(rows), dtype=np.int64), np.empty((32, columns.shape[1]))
    for start in range(0, len(rows), 32):
        part = rows[start : start + 32]
        np.matmul(part, columns, out=scores[: len(part)])
        own = scores[np.arange(len(part)), np.arange(start, start + len(part))]
        ranks[start : start + 32] = (scores[: len(part)] > own[:, None]).sum(1)
    return ranks
