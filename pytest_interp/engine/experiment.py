"""An experiment: a checkpoint and a data set, and the passes of one over the other.

An experiment is a handle. What was computed lives in the checkpoint's memo, under the hash of the prompts, so
that a change of weights can exchange it for an empty one; only the activations that were asked for are held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pytest_interp.engine.interventions import positions_of
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.errors import UsageError, nearest
from pytest_interp.measurement import FLOAT_NOISE, Json

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint, Edit
    from pytest_interp.circuit import Circuit
    from pytest_interp.tasks import DataSet, Group, PromptSet


@dataclass(frozen=True, repr=False)
class Experiment:
    """A checkpoint and a data set; the fixture ``ioi`` is one.

    Attributes:
        checkpoint: the loaded model.
        data: clean prompts, corruptions, reference.
        seed: for what a measurement draws itself, such as control heads.
    """

    checkpoint: Checkpoint
    data: DataSet
    seed: int = 0

    def __repr__(self) -> str:
        return f"<Experiment {self.checkpoint.name} on {self.data.name}, {len(self.data.clean)} prompts>"

    @property
    def circuit(self) -> Circuit | None:
        """The circuit claimed of the checkpoint."""
        return self.checkpoint.circuit

    @property
    def noise(self) -> float:
        """How far float noise may move a logit here."""
        return FLOAT_NOISE[self.checkpoint.dtype]

    def where(self, **tags: str) -> Experiment:
        """The same on the prompts that carry these tags, such as ``order="ABBA"``."""
        return replace(self, data=self.data.where(**tags))

    def about(self, **more: Json) -> dict[str, Json]:
        """What any measurement of this experiment was measured on, in builtin types."""
        return {**describe(self.checkpoint), "data": self.data.name, "data_hash": self.data.digest,
                "bos": self.data.clean.bos, "n": len(self.data.clean), "data_seed": self.data.seed, **more}  # fmt: skip

    def position(self, group: Group, name: str) -> Int[Tensor, " row"]:
        """The index of a named position in each row of a group.

        Raises:
            UsageError: the data set has no such position.
        """
        if name not in group.positions:
            known = self.data.clean.position_names
            raise UsageError(
                f"data set {self.data.name} has no position {name!r}; it has {', '.join(known)}{nearest(name, known)}"
            )
        return group.positions[name].to(self.checkpoint.device)

    def activation(self, hook: str, run: str = "clean") -> list[Tensor]:
        """One activation of an unedited run, one tensor for each group of the data set."""
        return self.activations([hook], self.data.run(run))[hook]

    def activations(self, hooks: Sequence[str], prompts: PromptSet) -> Mapping[str, list[Tensor]]:
        """Activations of unedited prompts by hook name, each one tensor for each group."""
        memo = self.checkpoint.memory
        wanted = [hook for hook in hooks if (prompts.digest, hook) not in memo]
        if wanted:
            kept: dict[str, list[Tensor]] = {hook: [] for hook in wanted}
            for group in prompts.groups:
                one = self.checkpoint.run(group.tokens, keep=wanted)
                for hook in wanted:
                    kept[hook].append(one.kept[hook])
            memo.update({(prompts.digest, hook): tensors for hook, tensors in kept.items()})
        return {hook: memo[prompts.digest, hook] for hook in hooks}

    def answer_logits(
        self,
        run: str = "clean",
        *,
        edits: Callable[[int, Group], Mapping[str, Edit]] | None = None,
        keep: Sequence[str] = (),
        copies: int = 1,
    ) -> tuple[Float[Tensor, "prompt 2"], Mapping[str, list[Tensor]]]:
        """Logits of answer and distractor at END in data-set order, and activations kept of the same passes.

        Args:
            run: which prompts are run; answers and distractors are the clean run's in any case.
            edits: for each group (its index and itself), what to replace in its pass.
            keep: hook names to keep, as one tensor for each group.
            copies: how often a group stands in its batch, for edits that exchange between copies; the first is read.
        """
        prompts = self.data.run(run)
        key = (prompts.digest, self.data.clean.digest, "answer_logits")
        memo = self.checkpoint.memory if edits is None and not keep else {}
        if key in memo:
            return memo[key], {}
        out = torch.empty(len(prompts), 2)
        kept: dict[str, list[Tensor]] = {hook: [] for hook in keep}
        for index, (group, clean) in enumerate(zip(prompts.groups, self.data.clean.groups, strict=True)):
            tokens = group.tokens.repeat(copies, 1)
            one = self.checkpoint.run(tokens, edits=edits(index, group) if edits else {}, keep=keep)
            columns = torch.stack([clean.answers, clean.distractors], dim=1).to(one.logits.device)
            out[list(clean.rows)] = one.logits[: len(columns)].gather(1, columns).cpu()
            for hook in keep:
                kept[hook].append(one.kept[hook])
        memo[key] = out
        return out, kept

    def logit_diffs(
        self, run: str = "clean", *, edits: Callable[[int, Group], Mapping[str, Edit]] | None = None
    ) -> Float[Tensor, " prompt"]:
        """logit(answer) - logit(distractor) at END for each prompt."""
        logits, _ = self.answer_logits(run, edits=edits)
        return logits[:, 0] - logits[:, 1]

    def scores(
        self,
        metric: Metric,
        run: str = "clean",
        *,
        edits: Callable[[int, Group], Mapping[str, Edit]] | None = None,
    ) -> Float[Tensor, " prompt"]:
        """A metric of a run, edited or not, for each prompt in data-set order."""
        if metric == LOGIT_DIFF:
            return self.logit_diffs(run, edits=edits)
        prompts = self.data.run(run)
        out = torch.empty(len(prompts))
        for index, (group, clean) in enumerate(zip(prompts.groups, self.data.clean.groups, strict=True)):
            (where,) = positions_of(self, index, metric.at)
            assert where is not None
            base = self.logits_at(index, where) if metric.score == "kl" else None
            made = edits(index, group) if edits else {}
            logits = self.checkpoint.run(group.tokens, edits=made, positions=where[:, None]).logits[:, 0]
            out[list(clean.rows)] = metric.of(logits, clean, where, self.checkpoint, base).cpu()
        return out

    def logits_at(self, index: int, where: Int[Tensor, " row"]) -> Float[Tensor, "row vocab"]:
        """The unedited clean run's logits of a group at one position of each row."""
        memo, tokens = self.checkpoint.memory, self.data.clean.groups[index].tokens
        key = (self.data.clean.digest, index, "logits", tuple(where.tolist()))
        if key not in memo:
            memo[key] = self.checkpoint.run(tokens, positions=where[:, None]).logits[:, 0]
        logits: Tensor = memo[key]
        return logits

    def in_order(self, by_group: Sequence[Tensor]) -> Tensor:
        """Per-row tensors of each group, joined in data-set order."""
        joined = torch.cat([tensor.float().cpu() for tensor in by_group])
        rows = torch.tensor([row for group in self.data.clean.groups for row in group.rows])
        return joined[rows.argsort()]


def describe(checkpoint: Checkpoint) -> dict[str, Json]:
    """Which checkpoint, in builtin types."""
    return {
        "checkpoint": checkpoint.name,
        "fingerprint": checkpoint.fingerprint,
        "dtype": checkpoint.dtype,
        "device": checkpoint.device,
    }
