"""The eigenvalues of a head's OV circuit: whether it copies directions of the residual stream, or tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import HeadLike, as_head
from pytest_interp.measure.copying import of_weights
from pytest_interp.measurement import Measurement, Sample

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

_ZERO = 1e-6
"""A sum of absolute eigenvalues that counts as 0."""


@checked
@cached
def ov_eigenvalue_score(
    checkpoint: Checkpoint, head: HeadLike, *, through: Literal["residual", "tokens"] = "tokens"
) -> Measurement:
    """The copying score of a head's OV circuit: the sum of its eigenvalues over the sum of their absolute values.

    ``sum(lambda) / sum(|lambda|)`` of ``W_V W_O`` (``residual``), or of the full circuit from tokens to tokens,
    ``W_E W_V W_O W_U`` (``tokens``). The non-zero eigenvalues of that large matrix are those of the small one
    ``W_O W_U W_E W_V``, which is
    computed. The score does not tell negative name movers from copying heads (10.7 and 11.10 of gpt2 have a high one);
    the negative copy score does.

    Args:
        checkpoint: the loaded model.
        head: a query head.
        through: ``tokens``: from the embedding to the unembedding; ``residual``: the OV circuit alone.

    Returns:
        One value, a property of the weights, in [-1, 1]: 1 where every direction is copied, -1 where every direction is
        turned round.

    Raises:
        UsageError: a head that is not there.
        NotApplicable: all eigenvalues are 0; parts of this checkpoint do not add up.

    Elhage et al. 2021, "Detecting copying behavior".

    Example:
        >>> from pytest_interp import load
        >>> checkpoint = load("planted-ioi")
        >>> [round(ov_eigenvalue_score(checkpoint, head).value, 2) for head in ("3.0", "4.0")]
        [1.0, -1.0]
    """
    head = checkpoint.check_head(as_head(head))
    checkpoint.check_identity("heads")
    if through == "tokens":
        checkpoint.forward.check_embedding()
    with torch.inference_mode():
        w_v, w_o = (
            checkpoint.weights.w_v(head.layer)[head.head].double(),
            checkpoint.weights.w_o(head.layer)[head.head].double(),
        )
        if through == "residual":
            circuit = w_o @ w_v
        else:
            w_u = checkpoint.weights.w_u().double()
            # A constant over the vocabulary says nothing; processing leaves it in only where there is a softcap.
            circuit = (w_o @ (w_u - w_u.mean(1, keepdim=True))) @ (checkpoint.weights.w_e().double() @ w_v)
        values = torch.linalg.eigvals(circuit)
    total = float(values.abs().sum())
    if total <= _ZERO:
        raise NotApplicable(f"the OV circuit of {head} of {checkpoint.name} is zero: it has no eigenvalue score")
    return Measurement(
        quantity="ov_eigenvalue_score",
        unit="score",
        values=(float(values.real.sum()) / total,),
        sample=Sample((f"{head} of {checkpoint.name}",), (str(head),), "fixed"),
        tolerance=1e-4,
        context=of_weights(checkpoint, head, "head", through=through),
    )
