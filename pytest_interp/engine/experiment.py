"""An experiment: a checkpoint and a data set, and the passes of one over the other.

An experiment holds no results. They are in the checkpoint's memo, under the hash of the prompts: a change of the
weights replaces the memo by an empty one. Within a measurement tensors are those of the memo, outside of one they are
copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.access import handed_out, in_one_state
from pytest_interp.checkpoints.device import sent
from pytest_interp.common.arguments import check, check_fields, kinds_of
from pytest_interp.common.context import Ablated, CheckpointIdentity, Context, DataIdentity, Exchanged, Json
from pytest_interp.engine.activations import UneditedRuns
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.errors import NotApplicable, UsageError, nearest
from pytest_interp.heads import Head, KVHead
from pytest_interp.text import counted, shown
from pytest_interp.tolerance import FLOAT_NOISE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.checkpoints.resume import CleanPass
    from pytest_interp.circuit import Circuit
    from pytest_interp.tasks import DataSet, Group, PromptSet
    from pytest_interp.tasks.positions import At


@dataclass(frozen=True, repr=False)
class Experiment:
    """A checkpoint and a data set; the fixture ``ioi`` is one.

    Attributes:
        checkpoint: the loaded model.
        data: clean prompts, corruptions, reference.
        seed: for what a measurement draws itself, such as control heads.

    Raises:
        NotApplicable: a token id that the model does not have.
        UsageError: a prompt that is longer than the model's context.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=8, seed=0, bos=True))
        >>> experiment
        <Experiment planted-ioi on ioi/confirm, 8 prompts>
        >>> round(float(experiment.logit_diffs().mean()), 1)  # logits
        8.9
        >>> bool((experiment.logit_diffs("s2-exchanged") < 0).all())
        True
        >>> z = experiment.activation(checkpoint.sites.hook("z", 3))
        >>> tuple(z[0].shape[2:])  # (head, d_head); one tensor for each group
        (4, 144)
    """

    checkpoint: Checkpoint
    data: DataSet
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        shape = self.checkpoint.shape
        for run in filter(None, (self.data.clean, *self.data.corrupted.values(), self.data.reference)):
            for group in run.groups:
                check_tokens(self.checkpoint, f"a prompt of {self.data.name}", group.tokens.shape[1])
                if (largest := int(group.tokens.max())) >= shape.d_vocab:
                    raise NotApplicable(
                        f"{self.data.name} has the token id {largest}, and {self.checkpoint.name} has 0 to "
                        f"{shape.d_vocab - 1}: its ids belong to another vocabulary"
                    )

    def __repr__(self) -> str:
        return f"<Experiment {self.checkpoint.name} on {self.data.name}, {counted(len(self.data.clean), 'prompt')}>"

    @property
    def circuit(self) -> Circuit | None:
        """The circuit that is claimed of the checkpoint; None where there is no circuit file."""
        return self.checkpoint.circuit

    @property
    def noise(self) -> float:
        """How far float noise may move a logit on this checkpoint, in logits."""
        return FLOAT_NOISE[self.checkpoint.precision]

    def select(self, **tags: str) -> Experiment:
        """The same experiment on the prompts that have these tags.

        Args:
            tags: names and values, such as ``order="ABBA"``.

        Raises:
            UsageError: no prompt has them.
        """
        return replace(self, data=self.data.select(**tags))

    @property
    def data_identity(self) -> DataIdentity:
        """What identifies the prompts in a record."""
        data, texts = self.data, self.data.texts if self.checkpoint.spec.shared else ""
        n, remarks = len(data.clean), tuple(data.remarks)
        return DataIdentity(data.name, data.digest, data.clean.bos, n, data.seed, remarks, texts)

    def context(
        self,
        *,
        heads: Sequence[Head | KVHead] | None,
        intervention: Ablated | Exchanged | None,
        metric: str | None,
        run: str | None = None,
        at: Json = None,
        **extra: Json,
    ) -> Context:
        """The context of a measurement of this experiment; arguments as the fields of :class:`Context`."""
        return Context(
            checkpoint=identity_of(self.checkpoint),
            data=self.data_identity,
            heads=None if heads is None else tuple(heads),
            intervention=intervention,
            metric=metric,
            run=run,
            at=at,
            extra=extra,
        )

    def position(self, group: Group, name: str) -> Int[Tensor, " row"]:
        """The index of a named position, such as ``S2``, in each row of a group of the clean run; on the device.

        Raises:
            UsageError: the data set has no such position.
        """
        return sent(self._named(group, name), self.checkpoint.device)

    def _named(self, group: Group, name: str) -> Int[Tensor, " row"]:
        """The index of a named position, on the CPU."""
        if not isinstance(name, str) or name not in group.positions:
            names = self.data.clean.position_names
            raise UsageError(
                f"data set {self.data.name} has no position {shown(name)}; it has "
                f"{', '.join(names)}{nearest(name, names)}"
            )
        return group.positions[name]

    def positions(self, index: int, at: At) -> list[Tensor | None]:
        """The index in each row of a group, for each position that ``at`` names.

        Runs are aligned token by token, so a position of the clean run is that of every other.

        Args:
            index: of the group of the clean run.
            at: a name, an index, a list of these, or None for all positions.

        Returns:
            One tensor ``(row,)`` for each position, on the CPU; ``[None]`` for all positions.

        Raises:
            UsageError: the prompts do not have such a position; the list is empty.
        """
        if at is None:
            return [None]
        group = self.data.clean.groups[index]
        check("at", at, kinds_of("At", {}))
        positions = [at] if isinstance(at, str | int) else list(at)
        if not positions:
            raise UsageError("an empty list of positions was passed; name one, or pass None for all positions")
        return [
            self._named(group, name) if isinstance(name, str) else self._numbered(group, name) for name in positions
        ]

    def _numbered(self, group: Group, position: int) -> Tensor:
        """A position that was passed as an index, for each row of a group."""
        lengths = sorted({group.tokens.shape[1] for group in self.data.clean.groups})
        if len(lengths) > 1:
            raise UsageError(
                f"position {position} is an index, but the prompts of {self.data.name} have {len(lengths)} lengths "
                f"({lengths[0]} to {lengths[-1]}); name a position, such as {self.data.clean.position_names[0]}"
            )
        if not 0 <= position < lengths[0]:
            raise UsageError(
                f"position {position} is not in prompts of {lengths[0]} tokens; pass 0 to {lengths[0] - 1}"
            )
        return torch.full((len(group.rows),), position)

    @property
    def _runs(self) -> UneditedRuns:
        return UneditedRuns(self.checkpoint, self.data)

    @handed_out
    @in_one_state
    def activation(self, hook: str, run: str = "clean") -> list[Tensor]:
        """One activation of an unedited run.

        Args:
            hook: its hook name, such as ``checkpoint.sites.hook("z", 9)``.
            run: ``clean`` or a corruption.

        Returns:
            One tensor for each group of the data set, ``(row, pos, ...)``.

        Raises:
            NotApplicable: the model has no such activation.
            UsageError: the data set has no such run.
        """
        return self.activations([hook], self.data.run(run))[hook]

    @handed_out
    @in_one_state
    def activations(self, hooks: Sequence[str], prompts: PromptSet) -> Mapping[str, list[Tensor]]:
        """Activations of unedited prompts by hook name.

        Args:
            hooks: hook names.
            prompts: the clean run, a corruption or the reference prompts of the data set.

        Returns:
            For each hook one tensor for each group, ``(row, pos, ...)``.

        Raises:
            NotApplicable: the model has no such activation.
        """
        return self._runs.activations(hooks, prompts)

    @handed_out
    @in_one_state
    def clean_passes(self, run: str = "clean") -> list[CleanPass]:
        """What an unedited pass over each group leaves for patched passes to start from.

        Args:
            run: ``clean`` or a corruption.

        Returns:
            One for each group: the residual stream of every layer, keys and values, and logits.
        """
        return self._runs.clean_passes(self.data.run(run))

    @handed_out
    @in_one_state
    def answer_logits(self, run: str = "clean") -> Float[Tensor, "prompt 2"]:
        """Logits of answer and distractor at END, in data-set order.

        Args:
            run: ``clean`` or a corruption; answers and distractors are the clean run's in any case.

        Returns:
            Shape ``(prompt, 2)``.
        """
        return self._runs.answer_logits(self.data.run(run))

    @handed_out
    @in_one_state
    def logit_diffs(self, run: str = "clean") -> Float[Tensor, " prompt"]:
        """logit(answer) - logit(distractor) at END, in logits.

        Args:
            run: ``clean`` or a corruption.

        Returns:
            Shape ``(prompt,)``, in data-set order.
        """
        logits = self.answer_logits(run)
        return logits[:, 0] - logits[:, 1]

    @handed_out
    @in_one_state
    def scores(self, metric: Metric, run: str = "clean") -> Float[Tensor, " prompt"]:
        """A metric of an unedited run.

        Args:
            metric: what is read, and at which position.
            run: ``clean`` or a corruption.

        Returns:
            Shape ``(prompt,)``, in data-set order and in the metric's unit.
        """
        if metric == LOGIT_DIFF:
            return self.logit_diffs(run)
        scores = torch.empty(len(self.data.clean))
        for index, clean in enumerate(self.data.clean.groups):
            (position,) = self.positions(index, metric.at)
            assert position is not None
            clean_logits = self.logits_at(index, position) if metric.score == "kl" else None
            logits = self.logits_at(index, position, run)
            scores[list(clean.rows)] = metric.of(logits, clean, position, self.checkpoint, clean_logits).cpu()
        return scores

    @handed_out
    @in_one_state
    def logits_at(self, index: int, position: Int[Tensor, " row"], run: str = "clean") -> Float[Tensor, "row vocab"]:
        """An unedited run's logits of a group at one position of each row.

        Args:
            index: of the group in the data set.
            position: the index that is read in each row, shape ``(row,)``.
            run: ``clean`` or a corruption.

        Returns:
            Shape ``(row, vocab)``.
        """
        return self._runs.logits_at(self.data.run(run), index, position)

    def in_order(self, by_group: Sequence[Tensor]) -> Tensor:
        """Per-row tensors of each group, joined in data-set order.

        Args:
            by_group: for each group of the clean run a tensor ``(row, ...)``.

        Returns:
            Shape ``(prompt, ...)``, float32 on the CPU.
        """
        joined = torch.cat([tensor.float().cpu() for tensor in by_group])
        rows = torch.tensor([row for group in self.data.clean.groups for row in group.rows])
        return joined[rows.argsort()]


def check_tokens(checkpoint: Checkpoint, description: str, count: int) -> None:
    """Accepts a prompt that fits the model's context.

    Args:
        checkpoint: the loaded model.
        description: of the prompt, for the message.
        count: of its tokens.

    Raises:
        UsageError: it is longer.
    """
    if count > checkpoint.shape.n_ctx:
        raise UsageError(
            f"{description} has {count} tokens, and {checkpoint.name} reads at most {checkpoint.shape.n_ctx}; pass "
            "shorter prompts"
        )


def identity_of(checkpoint: Checkpoint) -> CheckpointIdentity:
    """What identifies a checkpoint in the context of a measurement."""
    precision, device = "tf32" if checkpoint.precision == "tf32" else "", str(checkpoint.device)
    return CheckpointIdentity(
        checkpoint.name, checkpoint.fingerprint, checkpoint.dtype, device, precision, checkpoint.spec.shared
    )
