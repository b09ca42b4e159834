"""Copy scores: whether a head's OV circuit puts a name it reads among its own top logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from pytest_interp.engine.experiment import describe
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import HeadLike, as_head
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.prompts import single_token

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

_DEAD = 1e-6


def copy_score(
    checkpoint: Checkpoint,
    head: HeadLike,
    *,
    names: Sequence[str],
    k: int = 5,
    sign: Literal[1, -1] = 1,
) -> Measurement:
    """The copy score: the share of names that a head's OV circuit ranks among its top k logits for themselves.

    ``x = ln1(W_E + MLP0(ln2(W_E)))`` at the name's token, then ``sign * x W_V W_O W_U``; position, ``b_V``,
    ``b_U`` and the final norm's scale are left out (the scale cannot change a rank). LN1's gain is folded into
    ``W_V``. A tie counts against the name. The vocabulary is the whole one.

    Args:
        checkpoint: the loaded model.
        head: a query head; with grouped key-value heads it reads its group's values.
        names: words without leading space, each one token with it. Use a hundred: 20 of 20 bound the share
            below by 0.83 only.
        k: how many of the top logits count.
        sign: -1 for the negative copy score, which asks the same of ``-W_V W_O``.

    Returns:
        0 or 1 for each name; the mean is in [0, 1]. A fixed population: it is a property of the weights.

    Raises:
        UsageError: no names, a name of several tokens, k < 1.
        NotApplicable: the head writes nothing into the unembedding, so that it ranks nothing.

    Wang et al. 2022, section 3.1; the weight-based form with embeddings through MLP0.
    """
    head = checkpoint.check_head(as_head(head))
    if not names:
        raise UsageError("copy_score needs names; pass the fixture `names` or a list of first names")
    if not 1 <= k < checkpoint.shape.d_vocab or sign not in (1, -1):
        raise UsageError(
            f"k is {k} and sign is {sign}; allowed: k from 1 to {checkpoint.shape.d_vocab - 1}, sign 1 or -1"
        )
    tokens = torch.tensor([single_token(checkpoint.tokenizer, f" {name}") for name in names], device=checkpoint.device)
    with torch.inference_mode():
        x = checkpoint.ln1(head.layer, checkpoint.embed_through_mlp0(tokens))
        written = x @ checkpoint.w_v(head.layer)[head.head] @ checkpoint.w_o(head.layer)[head.head]
        logits = sign * (written @ checkpoint.w_u()).float()
        if not bool(torch.isfinite(logits).all()):
            raise UsageError(f"head {head} of {checkpoint.name} writes NaN or infinite logits; check its weights")
        spread = logits.amax(1) - logits.amin(1)
        if bool((spread <= _DEAD).any()):
            raise NotApplicable(f"head {head} of {checkpoint.name} writes nothing into the unembedding: no copy score")
        own = logits.gather(1, tokens[:, None])
        ranks = (logits >= own).sum(1)  # itself included, and every tie before it
        # A rank within float noise of the k-th could come out either way on another machine.
        rivals = logits.scatter(1, tokens[:, None], float("-inf")).topk(k, dim=1).values[:, -1:]
        close = float(((own - rivals).abs() <= 1e-5 * spread[:, None]).float().mean())
    return Measurement(
        quantity="copy_score" if sign == 1 else "negative_copy_score",
        unit="share",
        values=tuple((ranks <= k).float().tolist()),
        labels=tuple(f"{name} (rank {rank})" for name, rank in zip(names, ranks.tolist(), strict=True)),
        clusters=tuple(names),
        population="fixed",
        tolerance=close + 1e-9,
        about={**describe(checkpoint), "heads": [str(head)], "k": k, "n": len(names), "through": "mlp0"},
    )
