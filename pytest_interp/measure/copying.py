"""Copy scores: whether a head's OV circuit puts a name it reads among its own top logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked, require_some
from pytest_interp.common.context import Context, Json
from pytest_interp.engine.experiment import identity_of
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, HeadLike, as_head
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.table import Table, heads_table
from pytest_interp.tasks.prompts import single_token

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment

_DEAD = 1e-6


@checked
@cached
def copy_score(
    checkpoint: Checkpoint,
    head: HeadLike,
    *,
    names: Sequence[str],
    k: int = 5,
    negative: bool = False,
) -> Measurement:
    """The copy score: the share of names that a head's OV circuit ranks among its top k logits for themselves.

    ``x = ln1(W_E + MLP0(ln2(W_E)))`` at the name's token, then ``x W_V W_O W_U``, with its sign turned for the
    negative score; position,
    ``b_V``, ``b_U`` and the final norm's scale are left out (the scale cannot change a rank). LN1's gain is folded into
    ``W_V``. A tie counts against the name. The vocabulary is the whole one.

    Args:
        checkpoint: the loaded model.
        head: a query head; with grouped key-value heads it reads its group's values.
        names: words without leading space, each one token with it. Use a hundred: 20 of 20 bound the share
            below by 0.83 only.
        k: how many of the top logits count.
        negative: the negative copy score, which asks the same of ``-W_V W_O``.

    Returns:
        0 or 1 for each name; the mean is in [0, 1]. A fixed population: it is a property of the weights.

    Raises:
        UsageError: no names, a name of several tokens, k < 1.
        NotApplicable: the head writes nothing into the unembedding, so that it ranks nothing.

    Wang et al. 2022, section 3.1; the weight-based form with embeddings through MLP0.
    """
    head = checkpoint.check_head(as_head(head))
    tokens = _tokens(checkpoint, names, k)
    return _copy_score(checkpoint, names, k, negative, head, _ranked(checkpoint, [head], tokens, k)[head])


@checked
@cached
def copy_score_sweep(
    checkpoint: Checkpoint, *, names: Sequence[str], k: int = 5, negative: bool = False, reach: float = 0.0
) -> Table[Head]:
    """The copy score of every head, layer by head; a head that writes nothing has no cell.

    Args:
        checkpoint: the loaded model.
        names: as for :func:`copy_score`.
        k: how many of the top logits count.
        negative: the negative copy score.
        reach: heads that cannot reach this score have no cell either; of most a quarter of the names tells.

    Raises:
        NotApplicable: no head has a cell.
    """
    tokens = _tokens(checkpoint, names, k)
    few = tokens[: max(1, len(names) // 4)]
    found: dict[Head, Measurement] = {}
    for layer in range(checkpoint.shape.n_layers):
        heads = [head for head in checkpoint.shape.heads if head.layer == layer]
        if reach > 0:
            some = _ranked(checkpoint, heads, few, k)
            wrong = {head: int((ranks[negative].ranks > k).sum()) for head, ranks in some.items() if ranks}
            heads = [head for head in wrong if 1 - wrong[head] / len(names) >= reach]
        for head, ranks in _ranked(checkpoint, heads, tokens, k).items():
            if ranks:
                found[head] = _copy_score(checkpoint, names, k, negative, head, ranks)
    if not found:
        raise NotApplicable(f"no head of {checkpoint.name} writes what it reads, or anything, into the unembedding")
    return heads_table(found)


@checked
@cached
def prompt_copy_score(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: Sequence[str] = ("IO", "S1", "S2"),
    k: int = 5,
    negative: bool = False,
    ln1: bool = False,
    run: str = "clean",
) -> Measurement:
    """The copy score over prompts: the share of name tokens that a head's OV circuit ranks among its top k logits.

    As :func:`copy_score`, with ``x`` the residual stream after the whole first block at a name's position in a
    prompt: attention and position of that block are in it. ``ln1`` puts the head's own input norm before it (its
    scale cannot change a rank, its centring of processed weights neither; published counts leave it out).

    Args:
        experiment: checkpoint and data set.
        head: a query head after the first layer.
        at: the positions of the names.
        k: how many of the top logits count.
        negative: the negative copy score.
        ln1: whether the head's input norm is applied.
        run: ``clean`` or a corruption.

    Returns:
        For each prompt the share of its positions that are copied.

    Wang et al. 2022, section 3.1 and appendix B; the variant over prompts.
    """
    checkpoint, head = experiment.checkpoint, experiment.checkpoint.check_head(as_head(head))
    hook = checkpoint.sites.hook("resid_post", 0)
    kept = experiment.activations([hook], experiment.data.run(run))[hook]
    _check(checkpoint, k)
    require_some("at", at)
    shares, doubtful = [], []
    for index, group in enumerate(experiment.data.run(run).groups):
        columns = []
        for name in at:
            where = experiment.position(experiment.data.clean.groups[index], name)
            rows = torch.arange(len(where), device=where.device)
            x = kept[index][rows, where]
            tokens = group.tokens.to(where.device)[rows, where]
            (logits,) = _written(checkpoint, [head], checkpoint.weights.ln1(head.layer, x) if ln1 else x)
            if not _alive(logits):
                raise _nothing(checkpoint, head)
            found = _rank(-logits if negative else logits, tokens, k)
            columns.append((found.ranks <= k).float())
            doubtful.append(found.close)
        shares.append(torch.stack(columns).mean(0))
    return per_prompt(
        experiment,
        "negative_prompt_copy_score" if negative else "prompt_copy_score",
        experiment.in_order(shares),
        experiment.context(heads=(head,), intervention=None, metric=None, run=run, at=list(at), k=k, ln1=ln1),
        unit="share",
        tolerance=max(doubtful) + 1e-9,
    )


@checked
@cached
def ov_eigenvalue_score(
    checkpoint: Checkpoint, head: HeadLike, *, through: Literal["residual", "tokens"] = "tokens"
) -> Measurement:
    """The copying score of a head's OV circuit: the sum of its eigenvalues over the sum of their absolute values.

    ``sum(lambda) / sum(|lambda|)`` of ``W_V W_O`` (``residual``), or of the full circuit from tokens to tokens,
    ``W_E W_V W_O W_U`` (``tokens``). 1 where every direction is copied, -1 where every one is turned. A property of
    weights alone: it calls negative name movers copying heads too (10.7 and 11.10 of gpt2), the negative copy score
    does not. The non-zero eigenvalues of the large matrix are those of ``W_O W_U W_E W_V``, which is small.

    Elhage et al. 2021, "Detecting copying behavior". Not applicable where all eigenvalues are 0.
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
            small = w_o @ w_v
        else:
            w_u = checkpoint.weights.w_u().double()
            # A constant over the vocabulary says nothing; processing leaves it in only where there is a softcap.
            small = (w_o @ (w_u - w_u.mean(1, keepdim=True))) @ (checkpoint.weights.w_e().double() @ w_v)
        values = torch.linalg.eigvals(small)
    total = float(values.abs().sum())
    if total <= _DEAD:
        raise NotApplicable(f"the OV circuit of {head} of {checkpoint.name} is zero: it has no eigenvalue score")
    return Measurement(
        quantity="ov_eigenvalue_score",
        unit="score",
        values=(float(values.real.sum()) / total,),
        sample=Sample((f"{head} of {checkpoint.name}",), (str(head),), "fixed"),
        tolerance=1e-4,
        context=_of_weights(checkpoint, head, "head", through=through),
    )


class _Ranks(NamedTuple):
    """Of each row a token's rank among the logits; the share of rows where another machine may rank it otherwise."""

    ranks: Int[Tensor, " row"]
    close: float


def _tokens(checkpoint: Checkpoint, names: Sequence[str], k: int) -> Int[Tensor, " name"]:
    if not names:
        raise UsageError("a copy score needs names; pass the fixture `names` or a list of first names")
    _check(checkpoint, k)
    return torch.tensor([single_token(checkpoint.tokenizer, f" {name}") for name in names], device=checkpoint.device)


def _ranked(
    checkpoint: Checkpoint, heads: Sequence[Head], tokens: Int[Tensor, " name"], k: int
) -> dict[Head, Mapping[bool, _Ranks] | None]:
    """The ranks of tokens by heads of one layer, for both signs; None for a head that writes nothing."""
    memo, found = checkpoint.guard.memory, {}
    keys = {head: ("copy ranks", head, tuple(tokens.tolist()), k) for head in heads}
    missing = [head for head in heads if keys[head] not in memo]
    if missing:
        with torch.inference_mode():
            x = checkpoint.weights.ln1(missing[0].layer, checkpoint.forward.embed_through_mlp0(tokens))
    # The unembedding is read once for as many heads as fit, with four tensors of that size at a time.
    fit = max(1, checkpoint.budget // (16 * len(tokens) * checkpoint.shape.d_vocab))
    for start in range(0, len(missing), fit):
        some = missing[start : start + fit]
        for head, logits in zip(some, _written(checkpoint, some, x), strict=True):
            both = {False: _rank(logits, tokens, k), True: _rank(-logits, tokens, k)} if _alive(logits) else None
            memo[keys[head]] = found[head] = both
    return {head: found[head] if head in found else memo[keys[head]] for head in heads}


def _copy_score(
    checkpoint: Checkpoint, names: Sequence[str], k: int, negative: bool, head: Head, both: Mapping[bool, _Ranks] | None
) -> Measurement:
    if both is None:
        raise _nothing(checkpoint, head)
    ranks, close = both[negative]
    return Measurement(
        quantity="negative_copy_score" if negative else "copy_score",
        unit="share",
        values=tuple((ranks <= k).float().tolist()),
        sample=Sample(
            labels=tuple(f"{name} (rank {rank})" for name, rank in zip(names, ranks.tolist(), strict=True)),
            clusters=tuple(names),
            population="fixed",
        ),
        tolerance=close + 1e-9,
        context=_of_weights(checkpoint, head, "name", k=k, n=len(names), through="mlp0"),
    )


def _of_weights(checkpoint: Checkpoint, head: Head, each: str, **extra: Json) -> Context:
    """The context of what the weights of a head say."""
    return Context(
        checkpoint=identity_of(checkpoint), data=None, heads=(head,), intervention=None, metric=None, each=each,
        extra=extra,
    )  # fmt: skip


def _written(checkpoint: Checkpoint, heads: Sequence[Head], x: Tensor) -> Float[Tensor, "head row vocab"]:
    """The logits that the OV circuits of heads of one layer write from each row of ``x``.

    Raises:
        UsageError: they are not finite.
        NotApplicable: parts of this checkpoint do not add up.
    """
    checkpoint.check_identity("heads", "logits")
    layer, numbers = heads[0].layer, [head.head for head in heads]
    with torch.inference_mode():
        written = x @ checkpoint.weights.w_v(layer)[numbers] @ checkpoint.weights.w_o(layer)[numbers]
        logits = (written.flatten(0, 1) @ checkpoint.weights.w_u()).float().view(len(heads), len(x), -1)
        for head, one in zip(heads, logits, strict=True):
            if not bool(torch.isfinite(one).all()):
                raise UsageError(f"head {head} of {checkpoint.name} writes NaN or infinite logits; check its weights")
    return logits


def _alive(logits: Float[Tensor, "row vocab"]) -> bool:
    """Whether each row says anything."""
    return bool((logits.amax(1) - logits.amin(1) > _DEAD).all())


def _nothing(checkpoint: Checkpoint, head: Head) -> NotApplicable:
    return NotApplicable(f"head {head} of {checkpoint.name} writes nothing into the unembedding: no copy score")


def _rank(logits: Float[Tensor, "row vocab"], tokens: Int[Tensor, " row"], k: int) -> _Ranks:
    own = logits.gather(1, tokens[:, None])
    ranks = (logits >= own).sum(1)  # itself included, and every tie before it
    top = logits.topk(k + 1, dim=1).values
    rivals = torch.where(own >= top[:, -2:-1], top[:, -1:], top[:, -2:-1])  # the k-th of the others
    spread = logits.amax(1) - logits.amin(1)
    return _Ranks(ranks, float(((own - rivals).abs() <= 1e-5 * spread[:, None]).float().mean()))


def _check(checkpoint: Checkpoint, k: int) -> None:
    if not 1 <= k < checkpoint.shape.d_vocab:
        raise UsageError(f"k is {k}; allowed: 1 to {checkpoint.shape.d_vocab - 1}")
