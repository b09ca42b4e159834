"""Activations and logits of the unedited runs of a data set, kept in the checkpoint's memo.

An activation that the memo lacks is computed in one of two ways:

1. From the clean passes. The first request makes them, with the activations that are usually requested next. They leave
   the residual stream of every layer, so a later request for an activation in a block runs that block alone. Those of a
   corrupted run continue those of the clean run, from where its prompts begin to differ.
2. From a pass that leaves the requested activations only, and the same ones of the other layers where memory allows:
   for reference prompts, and where the residual stream exceeds the memory budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.continued import continued_pass
from pytest_interp.checkpoints.device import sent
from pytest_interp.checkpoints.memo import BY_SOURCE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.checkpoints.forward import Pass
    from pytest_interp.checkpoints.resume import CleanPass
    from pytest_interp.tasks import DataSet, PromptSet


@dataclass(frozen=True, repr=False)
class UneditedRuns:
    """The unedited runs of a data set on a checkpoint: read from its memo, else computed.

    ``prompts`` is the clean run, a corruption or the reference prompts of the data set in each method.

    Attributes:
        checkpoint: the loaded model.
        data: clean prompts, corruptions, reference.
    """

    checkpoint: Checkpoint
    data: DataSet

    # ---- activations

    def activations(self, hooks: Sequence[str], prompts: PromptSet) -> dict[str, list[Tensor]]:
        """Activations by hook name, each one tensor for each group, ``(row, pos, ...)``.

        Args:
            hooks: hook names.
            prompts: a run or the reference prompts.
        """
        memo = self.checkpoint.guard.memory
        by_hook = {hook: memo.get((prompts.inputs, hook)) for hook in hooks}
        if missing := [hook for hook, tensors in by_hook.items() if tensors is None]:
            by_hook |= self._remember(prompts, missing, self._computed(prompts, missing))
        return {hook: by_hook[hook] for hook in hooks}

    def _computed(self, prompts: PromptSet, hooks: Sequence[str]) -> list[Mapping[str, Tensor]]:
        """For each group, activations at these hooks by name; others may come with them."""
        in_blocks = all(hook.startswith("blocks.") for hook in hooks)
        passes = self._remembered_passes(prompts) if in_blocks else None
        if passes is None:
            if prompts is self.data.reference or not self.checkpoint.holds_stream(prompts.groups):
                all_layers = self.checkpoint.with_other_layers(hooks, prompts.groups)
                return [plain_pass.activations for plain_pass in self._plain_passes(prompts, all_layers)]
            passes = self._make_clean_passes(prompts, hooks)
        return [self.checkpoint.forward.recompute(clean_pass, hooks) for clean_pass in passes]

    def _remember(
        self, prompts: PromptSet, hooks: Sequence[str], by_group: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, list[Tensor]]:
        """Puts all of these activations into the memo, and returns those at ``hooks`` by name.

        The residual stream is left out where the memo has the clean passes, which hold it.
        """
        memo = self.checkpoint.guard.memory
        by_hook = {hook: [activations[hook] for activations in by_group] for hook in by_group[0]}
        stream = ("hook_resid_pre", "hook_resid_post") if (prompts.inputs, "clean passes") in memo else ()
        memo.update({(prompts.inputs, hook): tensors for hook, tensors in by_hook.items() if not hook.endswith(stream)})
        return {hook: by_hook[hook] for hook in hooks}

    # ---- passes

    def clean_passes(self, prompts: PromptSet) -> list[CleanPass]:
        """For each group an unedited pass that patched passes can start from.

        Args:
            prompts: a run.
        """
        return self._remembered_passes(prompts) or self._make_clean_passes(prompts)

    def _remembered_passes(self, prompts: PromptSet) -> list[CleanPass] | None:
        passes: list[CleanPass] | None = self.checkpoint.guard.memory.get((prompts.inputs, "clean passes"))
        return passes

    def _make_clean_passes(self, prompts: PromptSet, hooks: Sequence[str] = ()) -> list[CleanPass]:
        """Makes the clean passes, and remembers them where patched passes can start from them.

        The memo also gets the logits at END, the activations at ``hooks``, and for the clean run those that are
        requested of most clean runs; of a corrupted run mostly END is read.
        """
        checkpoint = self.checkpoint
        usual = checkpoint.sites.usual_hooks if prompts is self.data.clean else ()
        by_hook = [checkpoint.with_other_layers([hook], prompts.groups) for hook in (*hooks, *usual)]
        keep = list(dict.fromkeys(hook for all_layers in by_hook for hook in all_layers))
        passes = [
            self._continued(prompts, index, keep) or checkpoint.forward.clean_pass(group.tokens, keep)
            for index, group in enumerate(prompts.groups)
        ]
        checkpoint.forward.check_finite([clean_pass.logits for clean_pass in passes])
        if all(clean_pass.start_from != "whole" for clean_pass in passes):
            # Activations and the logits of all rows are remembered under keys of their own.
            checkpoint.guard.memory[prompts.inputs, "clean passes"] = [
                clean_pass._replace(logits=clean_pass.logits[:1].clone(), activations={}) for clean_pass in passes
            ]
        self._remember(prompts, keep, [clean_pass.activations for clean_pass in passes])
        self._remember_logits(prompts, [clean_pass.logits for clean_pass in passes])
        return passes

    def _continued(self, prompts: PromptSet, index: int, keep: Sequence[str]) -> CleanPass | None:
        """The pass over a group of a corrupted run, from where its prompts begin to differ from those of the clean run.

        None where that leaves out too few positions, where the clean run cannot be continued or its activations are not
        in the memo, and where an activation has other axes than row and position first.
        """
        memo, clean, forward = self.checkpoint.guard.memory, self.data.clean, self.checkpoint.forward
        is_corrupted = any(prompts is run for run in self.data.corrupted.values())
        if not is_corrupted or prompts.inputs == clean.inputs:
            return None
        tokens = prompts.groups[index].tokens
        first = int(prompts.groups[index].first_difference(clean.groups[index]).min())
        start = min(first, tokens.shape[1] - 1)  # END runs in any case
        if start * len(tokens) <= forward.blocks.call_cost:  # then to call a block costs more
            return None
        if (clean.inputs, clean.identity, "pairs") not in memo:
            self.clean_passes(clean)  # an effect needs both runs
        passes = self._remembered_passes(clean)
        if passes is None or passes[index].start_from != "position" or self.checkpoint.guard.foreign_hooks:
            return None
        stream = dict(zip(forward.blocks.stream_hooks, passes[index].residual, strict=True))
        activations: dict[str, Tensor] = {}
        for hook in keep:
            by_group = memo.get((clean.inputs, hook))
            value = stream[hook] if hook in stream else by_group and by_group[index]
            if value is None or hook.endswith(BY_SOURCE) or value.shape[:2] != tokens.shape:
                return None
            activations[hook] = value
        return continued_pass(forward, passes[index], tokens, start, activations)

    def _plain_passes(self, prompts: PromptSet, hooks: Sequence[str] = ()) -> list[Pass]:
        """For each group a pass that leaves these activations and no residual stream; logits at END are remembered."""
        passes = [self.checkpoint.run(group.tokens, keep=hooks) for group in prompts.groups]
        if prompts is not self.data.reference:
            self._remember_logits(prompts, [plain_pass.logits for plain_pass in passes])
        return passes

    # ---- logits

    def answer_logits(self, prompts: PromptSet) -> Float[Tensor, "prompt 2"]:
        """Logits of the clean run's answer and distractor at END, in data-set order.

        Args:
            prompts: a run.
        """
        pairs: Tensor | None = self.checkpoint.guard.memory.get((prompts.inputs, self.data.clean.identity, "pairs"))
        return self._pairs(self._end_logits(prompts)) if pairs is None else pairs

    def logits_at(self, prompts: PromptSet, index: int, position: Int[Tensor, " row"]) -> Float[Tensor, "row vocab"]:
        """Logits of a group at one position of each row.

        Args:
            prompts: a run.
            index: of the group.
            position: the index that is read in each row.
        """
        memo, tokens = self.checkpoint.guard.memory, prompts.groups[index].tokens
        if bool((position == tokens.shape[1] - 1).all()) and self._logits_fit(prompts):
            return self._end_logits(prompts)[index]
        key = (prompts.inputs, index, "logits", tuple(position.tolist()))
        logits: Tensor | None = memo.get(key)
        if logits is None:
            memo[key] = logits = self.checkpoint.run(tokens, positions=position[:, None]).logits[:, 0]
        return logits

    def _end_logits(self, prompts: PromptSet) -> list[Float[Tensor, "row vocab"]]:
        """Logits at END by group.

        Many measurements are made on a sample, so its clean passes are made at once. A listed prompt is mostly measured
        once: it takes a plain pass.
        """
        logits: list[Tensor] | None = self.checkpoint.guard.memory.get((prompts.inputs, "ends"))
        if logits is not None:
            return logits
        if self.data.population == "sampled" and self.checkpoint.holds_stream(prompts.groups):
            return [clean_pass.logits for clean_pass in self._make_clean_passes(prompts)]
        return [plain_pass.logits for plain_pass in self._plain_passes(prompts)]

    def _remember_logits(self, prompts: PromptSet, by_group: list[Float[Tensor, "row vocab"]]) -> None:
        """Puts logits at END into the memo: of answer and distractor, and all of them where they are not too large."""
        memo = self.checkpoint.guard.memory
        memo[prompts.inputs, self.data.clean.identity, "pairs"] = self._pairs(by_group)
        if self._logits_fit(prompts):
            memo[prompts.inputs, "ends"] = by_group

    def _logits_fit(self, prompts: PromptSet) -> bool:
        """Whether the logits at END of all prompts take at most half of the memory budget."""
        return 4 * self.checkpoint.shape.d_vocab * len(prompts) <= self.checkpoint.budget // 2

    def _pairs(self, by_group: Sequence[Float[Tensor, "row vocab"]]) -> Float[Tensor, "prompt 2"]:
        """The logits of answer and distractor in data-set order, from all logits at END by group."""
        groups = self.data.clean.groups
        read = [
            logits.gather(1, sent(group.pairs, logits.device)) for group, logits in zip(groups, by_group, strict=True)
        ]
        pairs = torch.empty(len(self.data.clean), 2)
        pairs[[row for group in groups for row in group.rows]] = torch.cat(read).cpu().to(pairs.dtype)
        return pairs
