"""What reads the residual stream at END: from what a head or a component writes there to a logit, to first order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment
    from pytest_interp.heads import Head

_UNEMBEDDED = "unembed.hook_in"


def readout_hooks(checkpoint: Checkpoint, layers: Iterable[int] = ()) -> list[str]:
    """The hook names that a readout needs: scales of the final norm and of norms after attention at some layers.

    Args:
        checkpoint: the loaded model.
        layers: the layers whose heads will be read.

    Returns:
        Hook names; none for a norm that the architecture lacks.
    """
    hooks = [checkpoint.sites.scale_hook, *(checkpoint.sites.write_scale_hook(layer) for layer in layers)]
    return [hook for hook in hooks if hook] + ([_UNEMBEDDED] if checkpoint.weights.has_transform else [])


@dataclass(frozen=True)
class Readout:
    """The norms and the unembedding as they were in a run, frozen, with the slope of a softcap where there is one.

    Attributes:
        experiment: checkpoint and data set.
        activations: of the run whose scales are meant: at least :func:`readout_hooks`, one tensor for each group.
    """

    experiment: Experiment
    activations: Mapping[str, Sequence[Tensor]]

    def __post_init__(self) -> None:
        self.experiment.checkpoint.check_identity("logits")

    def direction(self, index: int, tokens: Int[Tensor, " row"]) -> Float[Tensor, "row d_model"]:
        """The direction along which one unit written at END raises a token's logit by 1, to first order.

        Args:
            index: of the group.
            tokens: one token id for each row of the group.

        Returns:
            One direction for each row: ``W_U[token] / scale``, times the slope of a softcap.
        """
        checkpoint = self.experiment.checkpoint
        tokens = tokens.to(self._w_u.device)
        direction = self._w_u[:, tokens].T.float() / self._scale(index)[:, None]
        if checkpoint.weights.has_transform:
            normed = self.activations[_UNEMBEDDED][index][:, -1]
            before = checkpoint.weights.unembedded(normed, tokens[:, None])
            direction = direction * checkpoint.weights.slope(before)
        return direction

    def difference(self, index: int) -> Float[Tensor, "row d_model"]:
        """The direction of the answer's logit minus that of the distractor's.

        Args:
            index: of the group.

        Returns:
            One direction for each row of the group.
        """
        group = self.experiment.data.clean.groups[index]
        if self.experiment.checkpoint.weights.has_transform:
            return self.direction(index, group.answers) - self.direction(index, group.distractors)
        w_u = self._w_u
        answers, distractors = group.answers.to(w_u.device), group.distractors.to(w_u.device)
        return (w_u[:, answers] - w_u[:, distractors]).T.float() / self._scale(index)[:, None]

    def written(self, index: int, head: Head, values: Float[Tensor, "row d_head"]) -> Float[Tensor, "row d_model"]:
        """What a head adds to the residual stream at END, from its z there or from a part of it.

        Args:
            index: of the group.
            head: a query head.
            values: z of the head at END, or what one source position adds to it.

        Returns:
            ``values W_O`` for each row, over the scale of a norm after attention where there is one.

        Raises:
            NotApplicable: heads do not add up to their layer on this checkpoint.
        """
        checkpoint = self.experiment.checkpoint
        checkpoint.check_identity("heads")
        # In float32: attributions of heads are small beside what cancels in them.
        written = values.float() @ checkpoint.weights.w_o(head.layer)[head.head].float()
        hook = checkpoint.sites.write_scale_hook(head.layer)
        if hook is None:
            return written
        return written / self.activations[hook][index][:, -1].flatten(1)[:, :1].float()

    @cached_property
    def _w_u(self) -> Float[Tensor, "d_model d_vocab"]:
        """The unembedding, which all groups share."""
        return self.experiment.checkpoint.weights.w_u()

    def _scale(self, index: int) -> Float[Tensor, " row"]:
        """The scale of the final norm at END, for each row of a group; 1 where there is no final norm."""
        hook = self.experiment.checkpoint.sites.scale_hook
        if hook is None:
            rows = len(self.experiment.data.clean.groups[index].rows)
            return torch.ones(rows, device=self.experiment.checkpoint.device)
        return self.activations[hook][index][:, -1].flatten(1)[:, 0].float()
