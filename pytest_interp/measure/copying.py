"""Copy scores: whether a head's OV circuit puts a name it reads among its own top logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

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

_ZERO = 1e-6
"""Logits of a row that differ by no more are equal: the head writes nothing."""


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
    negative score. Position, ``b_V``, ``b_U`` and the final norm's scale are left out (the scale cannot change a rank).
    LN1's gain is folded into ``W_V``. A tie counts against the name. The vocabulary is the whole one.

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

    Example:
        >>> from pytest_interp import load
        >>> from pytest_interp.tasks import single_token_names
        >>> checkpoint = load("planted-ioi")
        >>> names = single_token_names(checkpoint.tokenizer, "confirm")
        >>> copy_score(checkpoint, "3.0", names=names).value
        1.0
        >>> copy_score(checkpoint, "4.0", names=names, negative=True).value
        1.0
    """
    head = checkpoint.check_head(as_head(head))
    tokens = _tokens(checkpoint, names, k)
    return _copy_score(checkpoint, names, k, negative, head, _ranks_by_head(checkpoint, [head], tokens, k)[head])


@checked
@cached
def copy_score_sweep(
    checkpoint: Checkpoint, *, names: Sequence[str], k: int = 5, negative: bool = False, reach: float = 0.0
) -> Table[Head]:
    """The copy score of every head, layer by head; a head that writes nothing has no cell.

    Ranking all names costs one unembedding for each name and head. With ``reach`` above 0 most heads cost a quarter
    of that: a head is ranked on the first quarter of the names. Its score can be at most the one that it would have
    if it copied all other names; where even that is below ``reach``, the head is left out. The others are then ranked
    on all names.

    Args:
        checkpoint: the loaded model.
        names: as for :func:`copy_score`.
        k: how many of the top logits count.
        negative: the negative copy score.
        reach: the lowest score of interest, in [0, 1]. A head that cannot have it may be left out.

    Returns:
        A table of layer by head; each cell is :func:`copy_score`.

    Raises:
        UsageError: no names, a name of several tokens, k < 1.
        NotApplicable: no head has a cell.

    Example:
        >>> from pytest_interp import load
        >>> from pytest_interp.tasks import single_token_names
        >>> checkpoint = load("planted-ioi")
        >>> names = single_token_names(checkpoint.tokenizer, "confirm")
        >>> [(str(head), score.value) for head, score in copy_score_sweep(checkpoint, names=names, reach=0.8).items()]
        [('1.0', 1.0), ('3.0', 1.0), ('3.1', 1.0), ('3.2', 1.0), ('4.1', 1.0)]
    """
    tokens = _tokens(checkpoint, names, k)
    first_quarter = tokens[: max(1, len(names) // 4)]
    scores: dict[Head, Measurement] = {}
    for layer in range(checkpoint.shape.n_layers):
        heads = [head for head in checkpoint.shape.heads if head.layer == layer]
        if reach > 0:
            early = _ranks_by_head(checkpoint, heads, first_quarter, k)
            misses = {head: int((signs[negative].ranks > k).sum()) for head, signs in early.items() if signs}
            heads = [head for head in misses if 1 - misses[head] / len(names) >= reach]
        for head, by_sign in _ranks_by_head(checkpoint, heads, tokens, k).items():
            if by_sign:
                scores[head] = _copy_score(checkpoint, names, k, negative, head, by_sign)
    if not scores:
        raise NotApplicable(f"no head of {checkpoint.name} writes what it reads, or anything, into the unembedding")
    return heads_table(scores)


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
        For each prompt the share of its positions that are copied, in [0, 1].

    Raises:
        UsageError: a head, position or run that is not there; no positions; k < 1.
        NotApplicable: the head writes nothing into the unembedding, so that it ranks nothing.

    Wang et al. 2022, section 3.1 and appendix B; the variant over prompts.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> prompt_copy_score(experiment, "3.0").value
        1.0
    """
    checkpoint, head = experiment.checkpoint, experiment.checkpoint.check_head(as_head(head))
    hook = checkpoint.sites.hook("resid_post", 0)
    residuals = experiment.activations([hook], experiment.data.run(run))[hook]
    _check(checkpoint, k)
    require_some("at", at)
    shares, close_shares = [], []
    for index, group in enumerate(experiment.data.run(run).groups):
        columns = []
        for name in at:
            positions = experiment.position(experiment.data.clean.groups[index], name)
            rows = torch.arange(len(positions), device=positions.device)
            residual = residuals[index][rows, positions]
            tokens = group.tokens.to(positions.device)[rows, positions]
            read = checkpoint.weights.ln1(head.layer, residual) if ln1 else residual
            (logits,) = _ov_logits(checkpoint, [head], read)
            if not _writes_anything(logits):
                raise _no_copy_score(checkpoint, head)
            ranks, close = _ranks_of(logits, tokens, k, negative)
            columns.append((ranks <= k).float())
            close_shares.append(close)
        shares.append(torch.stack(columns).mean(0))
    return per_prompt(
        experiment,
        "negative_prompt_copy_score" if negative else "prompt_copy_score",
        experiment.in_order(shares),
        experiment.context(heads=(head,), intervention=None, metric=None, run=run, at=list(at), k=k, ln1=ln1),
        unit="share",
        tolerance=max(close_shares) + 1e-9,
    )


class _Ranks(NamedTuple):
    """The ranks of tokens among the logits of their rows.

    Attributes:
        ranks: of each row's token; 1 is the highest logit, and every tie is ranked before the token.
        close: the share of rows in which float noise could move the token into the top k or out of it.
    """

    ranks: Int[Tensor, " row"]
    close: float


def _tokens(checkpoint: Checkpoint, names: Sequence[str], k: int) -> Int[Tensor, " name"]:
    """The token ids of names with their leading space, on the checkpoint's device.

    Raises:
        UsageError: no names, a name of several tokens, k out of range.
    """
    if not names:
        raise UsageError("a copy score needs names; pass the fixture `names` or a list of first names")
    _check(checkpoint, k)
    return torch.tensor([single_token(checkpoint.tokenizer, f" {name}") for name in names], device=checkpoint.device)


def _ranks_by_head(
    checkpoint: Checkpoint, heads: Sequence[Head], tokens: Int[Tensor, " name"], k: int
) -> dict[Head, Mapping[bool, _Ranks] | None]:
    """For each of several heads of one layer, the ranks of tokens by whether the sign of the OV circuit is turned.

    None for a head that writes nothing. Ranks are remembered as long as the weights stay as they are.
    """
    memo, computed = checkpoint.guard.memory, {}
    keys = {head: ("copy ranks", head, tuple(tokens.tolist()), k) for head in heads}
    missing = [head for head in heads if keys[head] not in memo]
    if missing:
        with torch.inference_mode():
            x = checkpoint.weights.ln1(missing[0].layer, checkpoint.forward.embed_through_mlp0(tokens))
    # The unembedding is read once for as many heads as fit, with four tensors of that size at a time.
    fit = max(1, checkpoint.budget // (16 * len(tokens) * checkpoint.shape.d_vocab))
    for start in range(0, len(missing), fit):
        batch = missing[start : start + fit]
        for head, logits in zip(batch, _ov_logits(checkpoint, batch, x), strict=True):
            signs = (False, True) if _writes_anything(logits) else ()
            memo[keys[head]] = computed[head] = {sign: _ranks_of(logits, tokens, k, sign) for sign in signs} or None
    return {head: computed[head] if head in computed else memo[keys[head]] for head in heads}


def _copy_score(
    checkpoint: Checkpoint,
    names: Sequence[str],
    k: int,
    negative: bool,
    head: Head,
    by_sign: Mapping[bool, _Ranks] | None,
) -> Measurement:
    """The copy score of a head from the ranks of the names.

    Raises:
        NotApplicable: there are no ranks, since the head writes nothing.
    """
    if by_sign is None:
        raise _no_copy_score(checkpoint, head)
    ranks, close = by_sign[negative]
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
        context=of_weights(checkpoint, head, "name", k=k, n=len(names), through="mlp0"),
    )


def of_weights(checkpoint: Checkpoint, head: Head, observation: str, **extra: Json) -> Context:
    """The context of a measurement of a head's weights.

    Args:
        checkpoint: the loaded model.
        head: a query head.
        observation: what one value is of, such as ``name``.
        **extra: further settings.

    Returns:
        The context, without prompts.
    """
    return Context(
        checkpoint=identity_of(checkpoint), data=None, heads=(head,), intervention=None, metric=None,
        observation=observation, extra=extra,
    )  # fmt: skip


def _ov_logits(checkpoint: Checkpoint, heads: Sequence[Head], x: Tensor) -> Float[Tensor, "head row vocab"]:
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
        for head, of_head in zip(heads, logits, strict=True):
            if not bool((of_head.amax(1) - of_head.amin(1)).isfinite().all()):  # faster than to look at each number
                raise UsageError(f"head {head} of {checkpoint.name} writes NaN or infinite logits; check its weights")
    return logits


def _writes_anything(logits: Float[Tensor, "row vocab"]) -> bool:
    """Whether the logits of each row differ, so that they rank tokens."""
    return bool((logits.amax(1) - logits.amin(1) > _ZERO).all())


def _no_copy_score(checkpoint: Checkpoint, head: Head) -> NotApplicable:
    """The error for a head that ranks nothing."""
    return NotApplicable(f"head {head} of {checkpoint.name} writes nothing into the unembedding: no copy score")


def _ranks_of(logits: Float[Tensor, "row vocab"], tokens: Int[Tensor, " row"], k: int, negative: bool) -> _Ranks:
    """The rank of each row's token, from the smallest logit up if ``negative``, and the share of rows that are close.

    A token is in the top k as long as its logit is above its rival's: the k-th largest logit of all *other* tokens.
    Among the logits of all tokens, that is the (k+1)-th largest where the token itself is in the top k, else the k-th
    largest. A row is close where token and rival differ by at most 1e-5 of the spread of the row's logits.
    """
    own = logits.gather(1, tokens[:, None])
    ahead = torch.le if negative else torch.ge
    # Counts the token itself and its ties; in floats, which add up faster than booleans, and exactly up to 2**24.
    ranks = ahead(logits, own, out=torch.empty_like(logits)).sum(1).long()
    first = logits.topk(k + 1, dim=1, largest=not negative).values
    kth, after_kth = first[:, k - 1 : k], first[:, k:]
    rival = torch.where(ahead(own, kth), after_kth, kth)
    spread = logits.amax(1) - logits.amin(1)
    return _Ranks(ranks, float(((own - rival).abs() <= 1e-5 * spread[:, None]).float().mean()))


def _check(checkpoint: Checkpoint, k: int) -> None:
    """Refuses a k that is not below the size of the vocabulary."""
    if not 1 <= k < checkpoint.shape.d_vocab:
        raise UsageError(f"k is {k}; allowed: 1 to {checkpoint.shape.d_vocab - 1}")
