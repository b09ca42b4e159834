"""What the model says next: a table of tokens for one text, and scores of answers over a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_interp.cache.store import cached, result_type
from pytest_interp.common.arguments import checked
from pytest_interp.engine.experiment import check_tokens
from pytest_interp.engine.metric import Metric, as_metric
from pytest_interp.errors import UsageError
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.prompts import encode, single_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment


@result_type
@dataclass(frozen=True)
class NextToken:
    """A token that may follow a text: its place (1 is the likeliest), logit and probability."""

    rank: int
    token: str
    logit: float
    probability: float


@checked
@cached
def next_tokens(
    checkpoint: Checkpoint, text: str, *, k: int = 10, also: Sequence[str] = (), bos: bool | None = None
) -> tuple[NextToken, ...]:
    """The next-token table of a text: the k likeliest tokens, then those asked for besides.

    Args:
        checkpoint: the loaded model.
        text: what the model reads.
        k: how many of the likeliest.
        also: words whose rank, logit and probability are wanted too, each one token, with its leading space.
        bos: whether BOS stands before the text; by default as the checkpoint's data sets have it.

    Returns:
        The ``k`` likeliest tokens, the likeliest first, then those of ``also`` that are not among them, in their order.

    Raises:
        UsageError: an empty text, k out of range, a word of several tokens.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> text = experiment.data.clean.prompts[0].text
        >>> text, [guess.token for guess in next_tokens(checkpoint, text, k=1)]
        ('After Kevin and Simon met near the school, Simon passed a knife to', ['Kevin'])
    """
    if not 1 <= k <= checkpoint.shape.d_vocab:
        raise UsageError(f"k is {k}; allowed: 1 to {checkpoint.shape.d_vocab}")
    start = [checkpoint.tokenizer.bos_token_id] if (checkpoint.bos if bos is None else bos) else []
    ids = [*start, *encode(checkpoint.tokenizer, text)]
    check_tokens(checkpoint, "the text", len(ids))
    if not ids:
        raise UsageError("an empty text has no next token; pass at least one word, or bos=True")
    logits = checkpoint.run(torch.tensor([ids])).logits[0]
    probabilities = logits.softmax(-1)
    tokens = logits.topk(k).indices.tolist()
    tokens += [token for token in (single_token(checkpoint.tokenizer, word) for word in also) if token not in tokens]
    return tuple(
        NextToken(
            int((logits >= logits[token]).sum()),
            checkpoint.tokenizer.decode([token]),
            float(logits[token]),
            float(probabilities[token]),
        )
        for token in tokens
    )


@checked
@cached
def next_token(experiment: Experiment, metric: Metric | str = "log_prob", *, run: str = "clean") -> Measurement:
    """A score of the next token: logit, log-probability, probability or rank of the answer or another token.

    Args:
        experiment: checkpoint and data set.
        metric: ``log_prob``, ``probability``, ``rank`` ... of the answer at END, or a :class:`Metric` for another
            token or position.
        run: ``clean`` or a corruption; scored with the clean run's answers.

    Returns:
        One value for each prompt, in the metric's unit. Raw logits differ by a constant between processed and
        unprocessed weights: claims are better made on the others.

    Raises:
        UsageError: an unknown metric or run.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> next_token(experiment, "rank").value
        1.0
    """
    score = as_metric(metric)
    values = experiment.scores(score, run)
    # Ranks are decisions: within float noise two tokens may change places, and one place is as far as claims go.
    tolerance = 0.5 if score.score == "rank" else score.noise(experiment.checkpoint.precision)
    context = experiment.context(heads=None, intervention=None, metric=score.text, run=run)
    return per_prompt(experiment, score.score, values, context, unit=score.unit, tolerance=tolerance)


@checked
@cached
def top_k(experiment: Experiment, k: int = 1, *, run: str = "clean") -> Measurement:
    """The share of prompts whose answer is among the k likeliest next tokens of the whole vocabulary.

    Args:
        experiment: checkpoint and data set.
        k: how many tokens, from 1 to one less than the vocabulary has.
        run: ``clean`` or a corruption; scored with the clean run's answers.

    Returns:
        0 or 1 for each prompt; a tie counts against the answer.

    Raises:
        UsageError: k out of range, an unknown run.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> top_k(experiment, 1).value
        1.0
    """
    if not 1 <= k < experiment.checkpoint.shape.d_vocab:
        raise UsageError(f"k is {k}; allowed: 1 to {experiment.checkpoint.shape.d_vocab - 1}")
    ranks = experiment.scores(Metric("rank"), run)
    context = experiment.context(heads=None, intervention=None, metric=None, run=run, k=k)
    return per_prompt(experiment, "top_k", (ranks <= k).float(), context, unit="share", tolerance=1e-9)


@checked
@cached
def loss(experiment: Experiment, *, run: str = "clean") -> Measurement:
    """The cross-entropy loss: minus the mean log-probability of each token given those before it, per prompt.

    ``-1/(n-1) sum log p(token[i+1] | token[..i])`` over the prompt and not its answer; BOS is read and not predicted.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.

    Returns:
        One value for each prompt, in nats; at least 0.

    Raises:
        UsageError: a prompt of one token, an unknown run.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(loss(experiment).value, 1)
        5.2
    """
    prompts = experiment.data.run(run)
    by_group = []
    for group in prompts.groups:
        rows, length = group.tokens.shape
        if length < 2:
            raise UsageError("a prompt of one token has no loss; pass longer ones")
        positions = torch.arange(length - 1).expand(rows, -1)
        logits = experiment.checkpoint.run(group.tokens, positions=positions).logits
        following = group.tokens[:, 1:, None].to(logits.device)
        by_group.append(-logits.log_softmax(-1).gather(-1, following)[..., 0].mean(-1))
    context = experiment.context(heads=None, intervention=None, metric=None, run=run)
    return per_prompt(experiment, "loss", experiment.in_order(by_group), context, unit="nats")
