"""Scores of a pass: a number for each prompt, computed from its logits at one position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch

from pytest_interp.common.arguments import check_fields
from pytest_interp.errors import UsageError, nearest
from pytest_interp.tasks.positions import END
from pytest_interp.tasks.prompts import single_token
from pytest_interp.text import shown
from pytest_interp.tolerance import FLOAT_NOISE, PROBABILITY_NOISE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.tasks import Group

Score: TypeAlias = Literal["logit_diff", "logit", "log_prob", "probability", "rank", "kl"]

UNITS = {
    "logit_diff": "logits",
    "logit": "logits",
    "log_prob": "nats",
    "probability": "probability",
    "rank": "rank",
    "kl": "nats",
}


@dataclass(frozen=True)
class Metric:
    """A score of a pass.

    Attributes:
        score: ``logit_diff`` (answer minus distractor), ``logit``, ``log_prob``, ``probability`` or ``rank`` (1 is
            the likeliest; a tie counts against the token) of one token, or ``kl``: the divergence of the next-token
            distribution from the clean run's, ``sum p_clean (log p_clean - log p)``.
        at: the named position whose logits are read, or an index where all prompts have one length.
        token: whose logit; None is the prompt's answer, ``next`` the token that follows ``at`` in the clean prompt,
            any other text one word for all prompts.

    Raises:
        UsageError: no such score; a token for a score that has none.

    Example:
        >>> metric = Metric("log_prob", at="S2", token="next")
        >>> metric.text
        "log_prob of 'next' at S2"
        >>> metric.unit
        'nats'
    """

    score: Score
    at: str | int = END
    token: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.score not in get_args(Score):
            allowed = get_args(Score)
            raise UsageError(
                f"{shown(self.score)} is no metric; allowed: {', '.join(allowed)}{nearest(self.score, allowed)}"
            )
        if self.token is not None and self.score in ("logit_diff", "kl"):
            raise UsageError(f"{self.score} is not of one token; leave token={shown(self.token)} out")

    @property
    def unit(self) -> str:
        """The unit of the score."""
        return UNITS[self.score]

    @property
    def text(self) -> str:
        """For records: ``log_prob of next at S2``."""
        return f"{self.score}{f' of {self.token!r}' if self.token else ''} at {self.at}"

    def noise(self, precision: str) -> float:
        """How far float noise may move the score's mean, in the metric's unit.

        A rank moves by whole places where logits tie: it has the noise of a logit.

        Args:
            precision: of the checkpoint, such as ``float32`` or ``tf32``.
        """
        return PROBABILITY_NOISE[precision] if self.score == "probability" else FLOAT_NOISE[precision]

    def of(
        self,
        logits: Float[Tensor, "row vocab"],
        group: Group,
        position: Int[Tensor, " row"],
        checkpoint: Checkpoint,
        clean_logits: Float[Tensor, "row vocab"] | None,
        rows: Int[Tensor, " row"] | None = None,
    ) -> Float[Tensor, " row"]:
        """The score of rows of a group.

        Args:
            logits: at the position that is read.
            group: the clean run's group: its answers, and for ``next`` its tokens.
            position: the index that is read in each row of the group.
            checkpoint: for its tokenizer.
            clean_logits: the unedited clean run's, for the same rows; for ``kl`` only.
            rows: which rows of the group the logits are of; None for all of them.

        Returns:
            Shape ``(row,)``, in the metric's unit.

        Raises:
            UsageError: ``kl`` without the clean logits; ``next`` at the last token; a token that is not one token.
        """
        selected = torch.arange(len(group.rows)) if rows is None else rows.cpu()
        if self.score == "kl":
            if clean_logits is None:
                raise UsageError("kl compares with the clean run's logits; none were passed")
            clean_log_probs = clean_logits.log_softmax(-1)
            return (clean_log_probs.exp() * (clean_log_probs - logits.log_softmax(-1))).sum(-1).clamp(min=0)
        tokens = self._token(group, position, checkpoint)[selected].to(logits.device)[:, None]
        logit = logits.gather(1, tokens)[:, 0]
        if self.score == "logit_diff":
            return logit - logits.gather(1, group.distractors[selected].to(logits.device)[:, None])[:, 0]
        if self.score == "logit":
            return logit
        if self.score == "rank":
            return (logits >= logit[:, None]).sum(-1).float()  # the token itself counts, and so does every tie
        log_prob = logit - logits.logsumexp(-1)
        return log_prob.exp() if self.score == "probability" else log_prob

    def _token(self, group: Group, position: Int[Tensor, " row"], checkpoint: Checkpoint) -> Int[Tensor, " row"]:
        """The id of the scored token for each row of a group."""
        if self.token is None:
            return group.answers
        if self.token != "next":
            return torch.full((len(group.rows),), single_token(checkpoint.tokenizer, self.token))
        following = position.cpu() + 1
        if bool((following >= group.tokens.shape[1]).any()):
            raise UsageError(f"no token follows {self.at}, the last one; leave token out to read the answer")
        return group.tokens[torch.arange(len(group.rows)), following]


LOGIT_DIFF = Metric("logit_diff")


def as_metric(value: Metric | str) -> Metric:
    """A metric as it is; of a name such as ``log_prob``, the metric of the answer at END.

    Args:
        value: a metric, or the name of a score.

    Raises:
        UsageError: no such score.

    Example:
        >>> as_metric("probability")
        Metric(score='probability', at='END', token=None)
    """
    return value if isinstance(value, Metric) else Metric(value)  # type: ignore[arg-type]
