"""Forward passes of a bridge: whole ones, those that start at a layer and a position, and the readout alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from pytest_interp.checkpoints.device import sent, too_little_memory
from pytest_interp.checkpoints.hooks import Edit, hooked, hooks_of
from pytest_interp.checkpoints.resume import CleanPass, PartialPass
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.text import counted

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.blocks import Blocks
    from pytest_interp.checkpoints.guard import Guard
    from pytest_interp.checkpoints.sites import Sites
    from pytest_interp.checkpoints.weights import Weights

_Part = TypeVar("_Part", "Pass", CleanPass)

logger = logging.getLogger(__name__)


class Pass(NamedTuple):
    """One forward pass.

    Attributes:
        logits: at END, shape ``(row, vocab)``; ``(row, k, vocab)`` where ``k`` positions were requested.
        activations: those that were requested, by hook name.
    """

    logits: Tensor
    activations: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Forward:
    """The forward passes of a model.

    Attributes:
        bridge: the model.
        sites: the names of its hook points, and which of them it reads.
        weights: its unembedding and what follows it.
        blocks: its blocks, driven one by one.
        guard: checks that it is as it was loaded; if it is not, its blocks are not driven.
    """

    bridge: Any
    sites: Sites
    weights: Weights
    blocks: Blocks
    guard: Guard

    def run(
        self,
        tokens: Int[Tensor, "row pos"],
        *,
        edits: Mapping[str, Edit] = {},
        keep: Sequence[str] = (),
        positions: Int[Tensor, "row k"] | None = None,
        check: bool = True,
        split: bool = True,
    ) -> Pass:
        """One forward pass with activations replaced and others kept; only the positions that are read are unembedded.

        Args:
            tokens: shape ``(row, pos)``; END is the last column.
            edits: hook name -> what replaces that activation.
            keep: hook names; each activation is kept as it is after its edit.
            positions: indices whose logits are read, shape ``(row, k)``; None for END alone.
            check: whether logits that are not finite are refused; to look at them, the CPU waits for a GPU.
            split: whether the rows run in parts where the device runs out of memory; rows with edits never do.

        Returns:
            Logits, ``(row, vocab)`` or ``(row, k, vocab)``, and the kept activations.

        Raises:
            NotApplicable: the architecture has no such site, or does not read what is edited.
            UsageError: the logits are not finite.
        """
        for name in (*edits, *keep):
            if name not in self.sites.names:
                raise NotApplicable(f"{self.weights.name} has no activation {name}")
        self.sites.check_edits(edits)

        def part(rows: slice) -> Pass:
            return self._run(tokens[rows], edits, keep, None if positions is None else positions[rows])

        whole = self._in_halves(tokens.shape, part) if split and not edits else part(slice(None))
        if check:
            self.check_finite([whole.logits])
        return whole

    def _run(self, tokens: Tensor, edits: Mapping[str, Edit], keep: Sequence[str], positions: Tensor | None) -> Pass:
        """One forward pass, whose arguments have been checked."""
        activations: dict[str, Tensor] = {}

        def only_read(value: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            if positions is None:
                return value[:, -1:].contiguous()  # without it torch reads the unembedding once for each row
            index = sent(positions, value.device)[:, :, None]
            return value.gather(1, index.expand(-1, -1, value.shape[-1]))

        hooks = [*hooks_of(edits, keep, activations), ("unembed.hook_in", only_read)]
        with self.guard.lock, torch.inference_mode(), hooked(self.blocks.points, hooks):
            logits = self.bridge(sent(tokens, self._device), return_type="logits")
        return Pass((logits[:, -1] if positions is None else logits).float(), activations)

    def _in_halves(self, shape: Sequence[int], part: Callable[[slice], _Part]) -> _Part:
        """What a pass over rows gives, in halves where the device runs out of memory; from then on in such parts.

        Args:
            shape: of the tokens, ``(row, pos)``.
            part: makes the pass over some rows.

        Raises:
            UsageError: one prompt alone is too much.
        """
        rows, length = shape

        def over(first: int, end: int) -> _Part:
            count = end - first
            if count <= 1 or count * length <= self.blocks.most_tokens:
                try:
                    return part(slice(first, end))
                except torch.OutOfMemoryError as error:
                    reason = str(error)
                # Outside of the handler: the error holds the tensors of the pass that failed.
                if count <= 1:
                    raise too_little_memory(self.weights.name, self._device, length, reason)
                self.blocks.most_tokens = count * length // 2
            middle = (first + end) // 2
            halves: _Part = _joined(over(first, middle), over(middle, end))
            return halves

        before = self.blocks.most_tokens
        result = over(0, rows)
        if self.blocks.most_tokens < before:
            logger.warning(
                "%s ran out of memory: unedited passes over %s now take at most %d tokens",
                self._device, self.weights.name, self.blocks.most_tokens,
            )  # fmt: skip
        return result

    def clean_pass(self, tokens: Int[Tensor, "row pos"], keep: Sequence[str] = ()) -> CleanPass:
        """An unedited pass, with what others need to start from it.

        If the model is not as it was loaded, its blocks may not give what the whole model gives. Then the result has
        logits and the kept activations only.

        Args:
            tokens: shape ``(row, pos)``.
            keep: hook names of further activations.

        Returns:
            The pass; ``start_from`` says from where others can start. Whether its logits are finite is left to the
            caller.
        """
        with self.guard.measuring() as look:
            if look.foreign or self.guard.foreign_hooks:
                logits, activations = self.run(tokens, keep=keep, check=False)
                return CleanPass((), logits, {}, "whole", activations)

        def part(rows: slice) -> CleanPass:
            prompts = tokens[rows]
            return self.blocks.clean_pass(
                sent(prompts, self._device), lambda names: self.run(prompts, keep=names, check=False, split=False), keep
            )

        return self._in_halves(tokens.shape, part)

    def edited_pass(self, tokens: Int[Tensor, "row pos"], edits: Mapping[str, Edit]) -> CleanPass:
        """A pass with edits, with what others need to start from it that have the same edits before they start.

        Args:
            tokens: shape ``(row, pos)``; a clean pass over prompts of this length was made before.
            edits: hook name -> what replaces that activation.

        Returns:
            The pass. Whether its logits are finite is left to the caller.
        """
        return self.blocks.clean_pass(
            sent(tokens, self._device), lambda names: self.run(tokens, edits=edits, keep=names, check=False)
        )

    def recompute(self, clean: CleanPass, hooks: Sequence[str]) -> Mapping[str, Tensor]:
        """Activations of a clean pass: those that it kept, and others by running their blocks again.

        Args:
            clean: a pass that others can start from.
            hooks: hook names.

        Returns:
            By hook name, ``(row, pos, ...)``; those that the pass kept are all there.
        """
        missing = [hook for hook in hooks if hook not in clean.activations]
        return {**clean.activations, **(self.blocks.recompute(clean, missing) if missing else {})}

    def resume(self, *args: Any, edits: Mapping[str, Edit] = {}, **kwargs: Any) -> PartialPass:
        """Passes that start at a layer and a position; arguments and result are those of :meth:`Blocks.resume`.

        Raises:
            NotApplicable: the model does not read what is edited.
        """
        self.sites.check_edits(edits)
        return self.blocks.resume(*args, edits=edits, **kwargs)

    def read(
        self, residual: Float[Tensor, "row d_model"], tokens: Int[Tensor, "row k"] | None, keep: Sequence[str] = ()
    ) -> Pass:
        """Logits of a residual stream after the last layer.

        Args:
            residual: shape ``(row, d_model)``.
            tokens: ids whose logits are read, shape ``(row, k)``; None for the whole vocabulary.
            keep: hook names of the final norm and the unembedding.

        Returns:
            Logits in float32, ``(row, k)`` or ``(row, vocab)``, and the kept activations. Whether they are finite is
            left to the caller: to look at them, the CPU waits for a GPU.
        """
        activations: dict[str, Tensor] = {}
        with torch.inference_mode(), hooked(self.blocks.points, hooks_of({}, keep, activations)):
            normed = self.bridge.ln_final(residual[:, None])
            values = (
                self.bridge.unembed(normed)[:, 0] if tokens is None else self.weights.unembedded(normed[:, 0], tokens)
            )
        return Pass(self.weights.logits(values).float(), activations)

    @property
    def _device(self) -> torch.device:
        return self.blocks.device

    def check_finite(self, by_group: Sequence[Float[Tensor, "row ..."]]) -> None:
        """Accepts numbers that are finite; a GPU is waited for once.

        Args:
            by_group: logits, or scores that were computed from logits.

        Raises:
            UsageError: some are not finite.
        """
        wrong = torch.cat([~numbers.isfinite().flatten(1).all(-1) for numbers in by_group])
        if count := int(wrong.sum()):
            raise UsageError(
                f"{self.weights.name} gives NaN or infinite logits on {count} of {counted(len(wrong), 'prompt')}; "
                "check its weights, or run it with --interp-dtype float32"
            )

    # ---- embeddings

    def embed_through_mlp0(self, tokens: Int[Tensor, " name"]) -> Float[Tensor, "name d_model"]:
        """Token embeddings after the first MLP, without attention or positions: ``W_E + MLP0(ln2(W_E))``.

        The model itself computes them, in passes over one token. So they contain what an architecture adds to its
        embedding and its MLP: a multiplier, a norm after the MLP, an MLP that reads what attention reads.

        Args:
            tokens: ids.

        Returns:
            Shape ``(name, d_model)``.
        """
        # Copy scores ask for the same names in each layer.
        memo, key = self.guard.memory, ("embedded", tuple(tokens.tolist()))
        embedded: Tensor | None = memo.get(key)
        if embedded is None:
            memo[key] = embedded = self._embedded(tokens)
        return embedded

    def _embedded(self, tokens: Int[Tensor, " name"]) -> Float[Tensor, "name d_model"]:
        """Token embeddings after the first MLP, by a pass."""
        after_mlp = self.sites.hook("resid_post", 0)
        positions = [hook for name, hook in self.sites.embedding_hooks.items() if name != "embed"]
        zeroed = dict.fromkeys([self.sites.hook("attn_out", 0), *positions], torch.zeros_like)
        return self.run(tokens[:, None], edits=zeroed, keep=[after_mlp]).activations[after_mlp][:, 0]

    def check_embedding(self) -> None:
        """Accepts a model whose residual stream starts from its embedding, or from a multiple of it.

        Raises:
            NotApplicable: it does not, as where a norm follows the embedding (BLOOM).
        """
        tokens, hook = torch.arange(min(8, self.weights.shape.d_vocab)), self.sites.embedding_hooks["embed"]
        start = self.run(tokens[:, None], keep=[hook]).activations[hook][:, 0].double()
        rows = self.weights.w_e()[: len(tokens)].double()
        factor = (start * rows).sum() / (rows * rows).sum()
        if float((start - factor * rows).abs().max()) > 0.02 * float(start.abs().max()):
            raise NotApplicable(
                f"the residual stream of {self.weights.name} does not start from its embedding: something else, such "
                "as a norm, stands between; through='residual' does not need it"
            )


def _joined(first: Any, second: Any) -> Any:
    """Two passes as one over the rows of both: tensors are joined along rows."""
    if isinstance(first, torch.Tensor):
        return torch.cat([first, second])
    if isinstance(first, Mapping):
        return {name: _joined(value, second[name]) for name, value in first.items()}
    if not isinstance(first, tuple | list):
        return first
    parts = map(_joined, first, second)
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
