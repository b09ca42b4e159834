"""Diagonals over the vocabulary: whether a head suppresses each token that it reads, and attends to each predicted one.

Both read the effective embedding of the copy suppression paper: a token's embedding and what the first block adds to it
where the token attends to itself alone, without positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_interp.heads import as_head

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 32
"""Tokens that are ranked at a time: what they score of every other token stays in a processor's cache."""


def effective_embedding(checkpoint: Any, *, bias: bool) -> Tensor:
    """``W_E``, what every head of the first block writes of it, and MLP0 of both: shape ``(d_vocab, d_model)``.

    Args:
        checkpoint: a GPT-2.
        bias: whether the first block's attention adds its output bias.
    """
    import torch

    weights, block = checkpoint.weights, checkpoint.bridge.blocks[0]
    with torch.inference_mode():
        embedded = weights.w_e()
        values = torch.einsum("td,hdk->thk", weights.ln1(0, embedded), weights.w_v(0))
        after_attention = embedded + torch.einsum("thk,hkd->td", values, weights.w_o(0))
        if bias:
            after_attention = after_attention + weights.b_o(0)
        mlp: Tensor = block.mlp(block.ln2(after_attention[:, None]))[:, 0]
        return after_attention + mlp


def suppressed_share(checkpoint: Any, head: str, *, among: int, bias: bool) -> float:
    """The share of all tokens that a head suppresses for themselves, among so many that it suppresses most.

    Args:
        checkpoint: a GPT-2.
        head: such as ``10.7``.
        among: how many of the most suppressed tokens count.
        bias: whether the first block's attention adds its output bias.
    """
    memo, key = checkpoint.guard.memory, ("suppression ranks", head, bias)
    if key not in memo:
        memo[key] = suppression_ranks(checkpoint, as_head(head), bias=bias)
    return float((memo[key] < among).double().mean())


def attended_share(checkpoint: Any, head: str) -> float:
    """The share of all tokens that a head attends to most where their unembedding is the query's input."""
    return float((attention_ranks(checkpoint, as_head(head)) == 0).double().mean())


def suppression_ranks(checkpoint: Any, head: Any, *, bias: bool) -> Tensor:
    """For each token, how many others the head suppresses more where it attends to this token: 0 where none is."""
    weights = checkpoint.weights
    read = effective_embedding(checkpoint, bias=bias) @ weights.w_v(head.layer)[head.head]
    return _ranks(-read, weights.w_o(head.layer)[head.head] @ weights.w_u())


def attention_ranks(checkpoint: Any, head: Any) -> Tensor:
    """For each token, how many others the head scores higher where this token's unembedding is the query's input.

    The source leaves out biases and norms.
    """
    attention = checkpoint.bridge.blocks[head.layer].attn
    queries = checkpoint.weights.w_u().T @ attention.W_Q[head.head]
    return _ranks(queries, (effective_embedding(checkpoint, bias=False) @ attention.W_K[head.head]).T)


def _ranks(rows: Tensor, columns: Tensor) -> Tensor:
    """For each row of ``rows @ columns``, how many entries are above the one on the diagonal."""
    import torch

    # Memory is taken once. A small result that is kept after each product leaves holes that the next does not fit in.
    ranks = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    scores = torch.empty(ROWS, columns.shape[1], dtype=rows.dtype, device=rows.device)
    above = torch.empty(scores.shape, dtype=torch.bool, device=rows.device)
    with torch.inference_mode():
        for start in range(0, len(rows), ROWS):
            part = slice(0, len(rows[start : start + ROWS]))
            torch.mm(rows[start : start + ROWS], columns, out=scores[part])
            torch.gt(scores[part], scores[part].diagonal(start)[:, None], out=above[part])
            ranks[start : start + ROWS] = above[part].sum(1)
    return ranks
