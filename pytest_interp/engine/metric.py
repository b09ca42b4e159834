"""What is read off a pass: a score for each prompt, from the logits at one position."""

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
    """

    score: Score
    at: str | int = END
    token: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.score not in get_args(Score):
            known = get_args(Score)
            raise UsageError(
                f"{shown(self.score)} is no metric; allowed: {', '.join(known)}{nearest(self.score, known)}"
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
        """How far float noise may move the score's mean; a rank moves by whole places where logits tie."""
        return PROBABILITY_NOISE[precision] if self.score == "probability" else FLOAT_NOISE[precision]

    def of(
        self,
        logits: Float[Tensor, "row vocab"],
        group: Group,
        where: Int[Tensor, " row"],
        checkpoint: Checkpoint,
        clean: Float[Tensor, "row vocab"] | None,
        rows: Int[Tensor, " row"] | None = None,
    ) -> Float[Tensor, " row"]:
        """The score of rows of a group.

        Args:
            logits: at the position that is read.
            group: the clean run's group: its answers, and for ``next`` its tokens.
            where: the index that is read in each row.
            checkpoint: for its tokenizer.
            clean: the unedited clean run's logits; for ``kl`` only.
            rows: which rows of the group the logits are of; None for all of them.
        """
        chosen = torch.arange(len(group.rows)) if rows is None else rows.cpu()
        if self.score == "kl":
            if clean is None:
                raise UsageError("kl compares with the clean run's logits; none were passed")
            base = clean.log_softmax(-1)
            return (base.exp() * (base - logits.log_softmax(-1))).sum(-1).clamp(min=0)
        wanted = self._token(group, where, checkpoint)[chosen].to(logits.device)[:, None]
        own = logits.gather(1, wanted)[:, 0]
        if self.score == "logit_diff":
            return own - logits.gather(1, group.distractors[chosen].to(logits.device)[:, None])[:, 0]
        if self.score == "logit":
            return own
        if self.score == "rank":
            return (logits >= own[:, None]).sum(-1).float()  # itself included, and every tie before it
        log_prob = own - logits.logsumexp(-1)
        return log_prob.exp() if self.score == "probability" else log_prob

    def _token(self, group: Group, where: Int[Tensor, " row"], checkpoint: Checkpoint) -> Int[Tensor, " row"]:
        if self.token is None:
            return group.answers
        if self.token != "next":
            return torch.full((len(group.rows),), single_token(checkpoint.tokenizer, self.token))
        following = where.cpu() + 1
        if bool((following >= group.tokens.shape[1]).any()):
            raise UsageError(f"no token follows {self.at}, the last one; leave token out to read the answer")
        return group.tokens[torch.arange(len(group.rows)), following]


LOGIT_DIFF = Metric("logit_diff")


def as_metric(value: Metric | str) -> Metric:
    """A metric, or the one at END that a name such as ``log_prob`` means."""
    return value if isinstance(value, Metric) else Metric(value)  # type: ignore[arg-type]
