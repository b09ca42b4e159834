"""An experiment: a checkpoint and a data set, and the passes of one over the other.

An experiment is a handle. What was computed lives in the checkpoint's memo, under the hash of the prompts, so
that a change of weights can exchange it for an empty one; only the activations that were asked for are held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pytest_interp.engine.interventions import positions_of
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.errors import NotApplicable, UsageError, nearest
from pytest_interp.measurement import FLOAT_NOISE, Json

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.blocks import Prepared
    from pytest_interp.checkpoints.checkpoint import Checkpoint
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
        """Activations of unedited prompts by hook name, each one tensor for each group.

        Where a site of one layer is asked for, and all layers' together are not large, all are kept: others follow.
        """
        memo = self.checkpoint.memory
        found = {hook: memo.get((prompts.digest, hook)) for hook in hooks}
        wanted = [hook for hook, kept in found.items() if kept is None]
        if wanted:
            rows = sum(len(group.rows) for group in prompts.groups)
            longest = max(group.tokens.shape[1] for group in prompts.groups)
            wanted = [hook for hook in self.checkpoint.with_other_layers(wanted, rows, longest)
                      if (prompts.digest, hook) not in memo]  # fmt: skip
            kept: dict[str, list[Tensor]] = {hook: [] for hook in wanted}
            for index, group in enumerate(prompts.groups):
                one = self.checkpoint.run(group.tokens, keep=wanted)
                self._note(prompts, index, one.logits)
                for hook in wanted:
                    kept[hook].append(one.kept[hook])
            memo.update({(prompts.digest, hook): tensors for hook, tensors in kept.items()})
            found |= kept
        return {hook: found[hook] for hook in hooks}

    def prepared(self, index: int, run: str = "clean") -> Prepared:
        """What an unedited pass over a group leaves for patched ones to start from."""
        prompts, memo = self.data.run(run), self.checkpoint.memory
        key = (prompts.digest, index, "prepared")
        found: Prepared | None = memo.get(key)
        if found is None:
            made = self.checkpoint.prepare(prompts.groups[index].tokens)
            self._note(prompts, index, made.logits)
            memo[key] = found = made._replace(logits=made.logits[:1])
        return found

    def _note(self, prompts: PromptSet, index: int, logits: Float[Tensor, "row vocab"]) -> Float[Tensor, "row 2"]:
        """Keeps the logits of answer and distractor that any unedited pass over a group gives."""
        groups, memo = self.data.clean.groups, self.checkpoint.memory
        if not any(prompts is run for run in (self.data.clean, *self.data.corrupted.values())):
            return logits[:, :0]  # the reference's prompts are not aligned with the answers
        columns = torch.stack([groups[index].answers, groups[index].distractors], dim=1).to(logits.device)
        pairs = logits.gather(1, columns).cpu()
        memo[prompts.digest, self.data.clean.digest, index, "pairs"] = pairs
        return pairs

    def answer_logits(self, run: str = "clean") -> Float[Tensor, "prompt 2"]:
        """Logits of answer and distractor at END in data-set order."""
        prompts, memo = self.data.run(run), self.checkpoint.memory
        if run == "clean" and (prompts.digest, prompts.digest, 0, "pairs") not in memo:
            # What heads attend to is asked for next, and costs nothing beside the pass that is made anyway.
            with suppress(NotApplicable):
                self.activations([self.checkpoint.hook("pattern", 0)], prompts)
        out = torch.empty(len(prompts), 2)
        for index, group in enumerate(prompts.groups):
            pairs = memo.get((prompts.digest, self.data.clean.digest, index, "pairs"))
            if pairs is None:
                pairs = self._note(prompts, index, self.checkpoint.run(group.tokens).logits)
            out[list(group.rows)] = pairs
        return out

    def logit_diffs(self, run: str = "clean") -> Float[Tensor, " prompt"]:
        """logit(answer) - logit(distractor) at END for each prompt."""
        logits = self.answer_logits(run)
        return logits[:, 0] - logits[:, 1]

    def scores(self, metric: Metric, run: str = "clean") -> Float[Tensor, " prompt"]:
        """A metric of an unedited run for each prompt in data-set order."""
        if metric == LOGIT_DIFF:
            return self.logit_diffs(run)
        out = torch.empty(len(self.data.clean))
        for index, clean in enumerate(self.data.clean.groups):
            (where,) = positions_of(self, index, metric.at)
            assert where is not None
            base = self.logits_at(index, where) if metric.score == "kl" else None
            logits = self.logits_at(index, where, run)
            out[list(clean.rows)] = metric.of(logits, clean, where, self.checkpoint, base).cpu()
        return out

    def logits_at(self, index: int, where: Int[Tensor, " row"], run: str = "clean") -> Float[Tensor, "row vocab"]:
        """An unedited run's logits of a group at one position of each row."""
        prompts, memo = self.data.run(run), self.checkpoint.memory
        tokens = prompts.groups[index].tokens
        key = (prompts.digest, index, "logits", tuple(where.tolist()))
        logits: Tensor | None = memo.get(key)
        if logits is None:
            memo[key] = logits = self.checkpoint.run(tokens, positions=where[:, None]).logits[:, 0]
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
