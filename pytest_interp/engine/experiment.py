"""An experiment: a checkpoint and a data set, and the passes of one over the other.

An experiment is a handle. What was computed lives in the checkpoint's memo, under the hash of the prompts, so
that a change of weights can exchange it for an empty one; only the activations that were asked for are held. Outside
of a measurement they are handed out as copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.access import handed_out, in_one_state
from pytest_interp.common.arguments import check, check_fields, kinds_of
from pytest_interp.common.context import Ablated, CheckpointIdentity, Context, DataIdentity, Exchanged, Json
from pytest_interp.engine.metric import LOGIT_DIFF, Metric
from pytest_interp.errors import NotApplicable, UsageError, nearest
from pytest_interp.heads import Head, KVHead
from pytest_interp.text import shown
from pytest_interp.tolerance import FLOAT_NOISE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.checkpoints.forward import Pass
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
                if (most := int(group.tokens.max())) >= shape.d_vocab:
                    raise NotApplicable(
                        f"{self.data.name} has the token id {most}, and {self.checkpoint.name} has 0 to "
                        f"{shape.d_vocab - 1}: its ids belong to another vocabulary"
                    )

    def __repr__(self) -> str:
        return f"<Experiment {self.checkpoint.name} on {self.data.name}, {len(self.data.clean)} prompts>"

    @property
    def circuit(self) -> Circuit | None:
        """The circuit claimed of the checkpoint."""
        return self.checkpoint.circuit

    @property
    def noise(self) -> float:
        """How far float noise may move a logit here."""
        return FLOAT_NOISE[self.checkpoint.precision]

    def select(self, **tags: str) -> Experiment:
        """The same on the prompts that carry these tags, such as ``order="ABBA"``."""
        return replace(self, data=self.data.select(**tags))

    @property
    def data_identity(self) -> DataIdentity:
        """Which prompts these are."""
        data = self.data
        return DataIdentity(data.name, data.digest, data.clean.bos, len(data.clean), data.seed, tuple(data.remarks))

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
        """The index of a named position in each row of a group.

        Raises:
            UsageError: the data set has no such position.
        """
        if not isinstance(name, str) or name not in group.positions:
            known = self.data.clean.position_names
            raise UsageError(
                f"data set {self.data.name} has no position {shown(name)}; it has "
                f"{', '.join(known)}{nearest(name, known)}"
            )
        return group.positions[name].to(self.checkpoint.device)

    def positions(self, index: int, at: At) -> list[Tensor | None]:
        """The index in each row of a group for each position that ``at`` names; ``[None]`` for all positions.

        Runs are aligned token by token, so a position of the clean run is that of every other.

        Args:
            index: of the group of the clean run.
            at: the positions.

        Raises:
            UsageError: a position that the prompts do not have; an empty list.
        """
        if at is None:
            return [None]
        group = self.data.clean.groups[index]
        check("at", at, kinds_of("At", {}))
        several = [at] if isinstance(at, str | int) else list(at)
        if not several:
            raise UsageError("an empty list of positions was passed; name one, or pass None for all positions")
        return [
            self.position(group, name) if isinstance(name, str) else self._numbered(group, name) for name in several
        ]

    def _numbered(self, group: Group, position: int) -> Tensor:
        """The same index in each row of a group."""
        lengths = sorted({other.tokens.shape[1] for other in self.data.clean.groups})
        if len(lengths) > 1:
            raise UsageError(
                f"position {position} is an index, but the prompts of {self.data.name} have {len(lengths)} lengths "
                f"({lengths[0]} to {lengths[-1]}); name a position, such as {self.data.clean.position_names[0]}"
            )
        if not 0 <= position < lengths[0]:
            raise UsageError(
                f"position {position} is not in prompts of {lengths[0]} tokens; pass 0 to {lengths[0] - 1}"
            )
        return torch.full((len(group.rows),), position, device=self.checkpoint.device)

    @handed_out
    @in_one_state
    def activation(self, hook: str, run: str = "clean") -> list[Tensor]:
        """One activation of an unedited run, one tensor for each group of the data set."""
        return self.activations([hook], self.data.run(run))[hook]

    @handed_out
    @in_one_state
    def activations(self, hooks: Sequence[str], prompts: PromptSet) -> Mapping[str, list[Tensor]]:
        """Activations of unedited prompts by hook name, each one tensor for each group.

        The first that is asked for takes a pass, which keeps what is mostly asked for next; others of a block take
        that block alone, on the residual stream that the pass left. Of prompts for means, and where it is too large,
        no residual stream is kept.
        """
        memo = self.checkpoint.guard.memory
        found = {hook: memo.get((prompts.inputs, hook)) for hook in hooks}
        if missing := [hook for hook, kept in found.items() if kept is None]:
            of_blocks = all(hook.startswith("blocks.") for hook in missing)
            prepared = memo.get((prompts.inputs, "clean passes")) if of_blocks else None
            if prepared is None and (
                prompts is self.data.reference or not self.checkpoint.holds_stream(prompts.groups)
            ):
                wanted = self.checkpoint.with_other_layers(missing, prompts.groups)
                made = [one.activations for one in self._run(prompts, wanted)]
            else:
                made = [
                    self.checkpoint.forward.recompute(one, missing)
                    for one in prepared or self._prepare(prompts, missing)
                ]
            found |= self._keep(prompts, missing, made)
        return {hook: found[hook] for hook in hooks}

    @handed_out
    @in_one_state
    def clean_passes(self, run: str = "clean") -> list[CleanPass]:
        """What an unedited pass over each group leaves for patched ones to start from."""
        prompts = self.data.run(run)
        found: list[CleanPass] | None = self.checkpoint.guard.memory.get((prompts.inputs, "clean passes"))
        return found or self._prepare(prompts)

    def _prepare(self, prompts: PromptSet, hooks: Sequence[str] = ()) -> list[CleanPass]:
        """The pass that is kept: its residual stream, its logits, these activations, and what follows most often."""
        checkpoint = self.checkpoint
        usual = checkpoint.sites.usual_hooks if prompts is self.data.clean else ()  # others are mostly only read at END
        also = [checkpoint.with_other_layers([hook], prompts.groups) for hook in (*hooks, *usual)]
        keep = list(dict.fromkeys(hook for some in also for hook in some))
        made = [checkpoint.forward.clean_pass(group.tokens, keep) for group in prompts.groups]
        if all(one.start_from != "whole" for one in made):
            checkpoint.guard.memory[prompts.inputs, "clean passes"] = [
                one._replace(logits=one.logits[:1].clone(), activations={}) for one in made
            ]
        self._keep(prompts, keep, [one.activations for one in made])
        self._keep_ends(prompts, [one.logits for one in made])
        return made

    def _run(self, prompts: PromptSet, hooks: Sequence[str] = ()) -> list[Pass]:
        """A pass of which only these activations and what END says is kept."""
        made = [self.checkpoint.run(group.tokens, keep=hooks) for group in prompts.groups]
        if prompts is not self.data.reference:
            self._keep_ends(prompts, [one.logits for one in made])
        return made

    def _keep(
        self, prompts: PromptSet, hooks: Sequence[str], made: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, list[Tensor]]:
        """Activations by hook name; all of them stay in the memo, but for the residual stream where that is there."""
        found, memo = {hook: [one[hook] for one in made] for hook in made[0]}, self.checkpoint.guard.memory
        there = ("hook_resid_pre", "hook_resid_post") if (prompts.inputs, "clean passes") in memo else ()
        memo.update({(prompts.inputs, hook): kept for hook, kept in found.items() if not hook.endswith(there)})
        return {hook: found[hook] for hook in hooks}

    def _keep_ends(self, prompts: PromptSet, logits: list[Tensor]) -> None:
        """Keeps the logits at END where they are not too large, and in any case those of answer and distractor."""
        memo = self.checkpoint.guard.memory
        memo[prompts.inputs, self.data.clean.identity, "pairs"] = self._pairs(logits)
        if self._ends_fit(prompts):
            memo[prompts.inputs, "ends"] = logits

    def _ends_fit(self, prompts: PromptSet) -> bool:
        return 4 * self.checkpoint.shape.d_vocab * len(prompts) <= self.checkpoint.budget // 2

    def _pairs(self, logits: Sequence[Tensor]) -> Float[Tensor, "prompt 2"]:
        """Of logits at END by group those of answer and distractor, in data-set order."""
        out = torch.empty(len(self.data.clean), 2)
        for group, some in zip(self.data.clean.groups, logits, strict=True):
            out[list(group.rows)] = some.gather(1, group.pairs.to(some.device)).cpu()
        return out

    def _ends(self, prompts: PromptSet) -> list[Tensor]:
        """Logits at END by group. A sample is asked many things: its pass is kept; a listed prompt mostly one."""
        memo = self.checkpoint.guard.memory
        found: list[Tensor] | None = memo.get((prompts.inputs, "ends"))
        if found is None:
            kept = self.data.population == "sampled" and self.checkpoint.holds_stream(prompts.groups)
            return [one.logits for one in (self._prepare(prompts) if kept else self._run(prompts))]
        return found

    @handed_out
    @in_one_state
    def answer_logits(self, run: str = "clean") -> Float[Tensor, "prompt 2"]:
        """Logits of answer and distractor at END in data-set order."""
        prompts = self.data.run(run)
        found: Tensor | None = self.checkpoint.guard.memory.get((prompts.inputs, self.data.clean.identity, "pairs"))
        return self._pairs(self._ends(prompts)) if found is None else found

    @handed_out
    @in_one_state
    def logit_diffs(self, run: str = "clean") -> Float[Tensor, " prompt"]:
        """logit(answer) - logit(distractor) at END for each prompt."""
        logits = self.answer_logits(run)
        return logits[:, 0] - logits[:, 1]

    @handed_out
    @in_one_state
    def scores(self, metric: Metric, run: str = "clean") -> Float[Tensor, " prompt"]:
        """A metric of an unedited run for each prompt in data-set order."""
        if metric == LOGIT_DIFF:
            return self.logit_diffs(run)
        out = torch.empty(len(self.data.clean))
        for index, clean in enumerate(self.data.clean.groups):
            (where,) = self.positions(index, metric.at)
            assert where is not None
            base = self.logits_at(index, where) if metric.score == "kl" else None
            logits = self.logits_at(index, where, run)
            out[list(clean.rows)] = metric.of(logits, clean, where, self.checkpoint, base).cpu()
        return out

    @handed_out
    @in_one_state
    def logits_at(self, index: int, where: Int[Tensor, " row"], run: str = "clean") -> Float[Tensor, "row vocab"]:
        """An unedited run's logits of a group at one position of each row."""
        prompts, memo = self.data.run(run), self.checkpoint.guard.memory
        tokens = prompts.groups[index].tokens
        if bool((where == tokens.shape[1] - 1).all()) and self._ends_fit(prompts):
            return self._ends(prompts)[index]
        key = (prompts.inputs, index, "logits", tuple(where.tolist()))
        logits: Tensor | None = memo.get(key)
        if logits is None:
            memo[key] = logits = self.checkpoint.run(tokens, positions=where[:, None]).logits[:, 0]
        return logits

    def in_order(self, by_group: Sequence[Tensor]) -> Tensor:
        """Per-row tensors of each group, joined in data-set order."""
        joined = torch.cat([tensor.float().cpu() for tensor in by_group])
        rows = torch.tensor([row for group in self.data.clean.groups for row in group.rows])
        return joined[rows.argsort()]


def check_tokens(checkpoint: Checkpoint, what: str, count: int) -> None:
    """Refuses a prompt that is longer than what the model reads.

    Raises:
        UsageError: it is.
    """
    if count > checkpoint.shape.n_ctx:
        raise UsageError(
            f"{what} has {count} tokens, and {checkpoint.name} reads at most {checkpoint.shape.n_ctx}; pass shorter "
            "prompts"
        )


def identity_of(checkpoint: Checkpoint) -> CheckpointIdentity:
    """Which checkpoint it is, for the context of a measurement."""
    return CheckpointIdentity(
        checkpoint.name,
        checkpoint.fingerprint,
        checkpoint.dtype,
        str(checkpoint.device),
        "tf32" if checkpoint.precision == "tf32" else "",
    )
