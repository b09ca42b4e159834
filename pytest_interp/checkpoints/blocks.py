"""Runs a bridge's own blocks one by one, so that a pass can start at a layer and at a position.

A change at layer L and position p reaches nothing below L and, attention being causal, nothing before p. So such a
pass takes the residual stream at the entry of L from an unedited one, with the keys and values of the positions
before p, and runs only what comes after. Norms, rotation, gating and shared key-value heads are those of the
model's own blocks; the other arguments of each block are recorded in an ordinary pass.

1. :meth:`Blocks.clean_pass` runs prompts once, unedited. Hooks on the blocks record the other arguments of each block
   (masks, position ids, rotary embeddings) for prompts of this length, and a key-value cache of ours records keys and
   values.
2. The first prompt is then resumed without any edit, from the middle position, else from layer 0. Where this
   reproduces its logits, passes may start there (``start_from``); else only whole passes are right.
3. :meth:`Blocks.resume` calls blocks with the tail of the residual stream, the tail of the other arguments, and the
   keys and values of the positions before.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from pytest_interp.checkpoints.block_arguments import last_positions, shared_by_rows
from pytest_interp.checkpoints.hooks import Edit, hooked, hooks_of
from pytest_interp.checkpoints.resume import CleanPass, KeyValues, PartialPass, StartFrom
from pytest_interp.checkpoints.rows import Rows
from pytest_interp.checkpoints.shortcuts import mlp_at_end, shortcuts_of, shortened
from pytest_interp.tolerance import noise_of_logits

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

_CANNOT_BE_DRIVEN = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError)
"""Errors of blocks that need other arguments than those that an ordinary pass recorded."""

_CALL_COST = 64
"""The cost of calling a block on a CPU, in positions; measured on two cores."""
_CALIBRATION = 4096
"""So many positions a block computes at once, to find what one of them costs on a GPU."""


class Blocks:
    """The blocks of a bridge.

    Attributes:
        bridge: the model.
        n_layers: how many blocks it has.
        device: of its weights.
        points: its hook points by name.
        call_cost: the cost of calling a block, as the number of positions of one prompt that it computes in that time;
            measured on a GPU, from the first clean pass on.
        most_tokens: how many tokens an unedited pass may take at once; fewer where the device ran out of memory.
        can_continue: by token length, whether a pass that continues another one gave the logits of a whole pass.
    """

    def __init__(self, bridge: Any, precision: str) -> None:
        """The blocks of a bridge, which no pass has been made through yet.

        Args:
            bridge: in compatibility mode.
            precision: of the model, such as ``float32``: decides on the float noise that is allowed.
        """
        self.bridge, self.precision = bridge, precision
        self.n_layers = len(bridge.blocks)
        self.device: torch.device = next(bridge.parameters()).device
        self.points: Mapping[str, Any] = dict(bridge.hook_dict)
        # By the token length of prompts: the other arguments of each block, from where passes can start, and whether
        # the last MLP can run at END alone.
        self._arguments: dict[int, list[tuple[Any, Any]]] = {}
        self.call_cost, self.most_tokens = _CALL_COST, sys.maxsize
        self.can_continue: dict[int, bool] = {}
        self._start_from: dict[int, StartFrom] = {}
        self._mlp_can_run_at_end: dict[int, bool] = {}
        self._shortcuts = shortcuts_of(bridge)

    @property
    def stream_hooks(self) -> list[str]:
        """The hook names of the residual stream: at the entry of each layer, and after the last one."""
        entries = [f"blocks.{layer}.hook_resid_pre" for layer in range(self.n_layers)]
        return [*entries, f"blocks.{self.n_layers - 1}.hook_resid_post"]

    def clean_pass(
        self,
        tokens: Int[Tensor, "row pos"],
        run: Callable[[Sequence[str]], tuple[Tensor, Mapping[str, Tensor]]],
        keep: Sequence[str] = (),
    ) -> CleanPass:
        """An unedited pass, and whether blocks can be driven from it: tried on the first prompt of each length.

        Args:
            tokens: the prompts, shape ``(row, pos)``.
            run: makes the pass over them and keeps activations by hook name; returns the logits at END, and these.
            keep: hook names of further activations.

        Returns:
            The pass; without residual stream, keys and values where its blocks cannot be driven.
        """
        cache, length = KeyValues(), tokens.shape[1]
        with self._attending(cache), self._recording_arguments(tokens.shape):
            logits, activations = run(list(dict.fromkeys([*self.stream_hooks, *keep])))
        requested = {name: activations[name] for name in keep}
        stream = [activations[name] for name in self.stream_hooks]
        clean = CleanPass(stream, logits, cache.recorded, "position", requested)
        if length not in self._start_from:
            with torch.inference_mode():
                self._start_from[length] = self._earliest_start(clean)
            if self.device.type == "cuda" and self._start_from[length] != "whole":
                self.call_cost = self._measured_call_cost(clean)
        start_from = self._start_from[length]
        if start_from == "whole":
            return CleanPass((), logits, {}, start_from, requested)
        return clean._replace(start_from=start_from, keys_values=cache.recorded if start_from == "position" else {})

    def recompute(self, clean: CleanPass, hooks: Sequence[str]) -> Mapping[str, Tensor]:
        """Further activations of a clean pass: each block that has one runs once more, on the residual stream.

        Args:
            clean: a pass that others can start from.
            hooks: names of hooks in blocks.

        Returns:
            By hook name, ``(row, pos, ...)``.
        """
        stream = dict(zip(self.stream_hooks, clean.residual, strict=True))
        stream |= {f"blocks.{layer}.hook_resid_post": clean.residual[layer + 1] for layer in range(self.n_layers)}
        activations = {hook: stream[hook] for hook in hooks if hook in stream}
        by_layer: dict[int, list[str]] = {}
        for hook in hooks:
            if hook not in activations:
                by_layer.setdefault(int(hook.split(".")[1]), []).append(hook)
        size = len(clean.residual[0])
        rows = Rows.of(range(size), size, self.device)
        for layer, layer_hooks in by_layer.items():
            activations |= self.resume(clean, rows, [layer], 0, keep=layer_hooks, until=layer).activations
        return activations

    def resume(
        self,
        clean: CleanPass,
        rows: Rows,
        layers: Sequence[int],
        start: int,
        *,
        edits: Mapping[str, Edit] = {},
        keep: Sequence[str] = (),
        until: int | None = None,
        attend: bool = True,
        end_only: bool = False,
        records: bool = False,
    ) -> PartialPass:
        """Runs several passes over the same rows in one batch, from a position on, each joining at its layer.

        Args:
            clean: the unedited pass over the prompts.
            rows: which of them.
            layers: the first block that runs of each pass, in ascending order. The batch of a block holds the rows of
                the passes that have joined, one pass after the other: ``(pass * row, pos, d_model)``.
            start: the first position that is computed.
            edits: hook name -> what replaces that activation, which begins at ``start``.
            keep: hook names; each activation is kept as it is after its edit.
            until: the last block that runs; None for all.
            attend: whether attention reads the positions before ``start``; it need not where its output is replaced.
            end_only: whether only END of the residual stream is read; then the last MLP runs there alone.
            records: whether the keys and values of all positions are returned too.

        Returns:
            The residual stream after the last block, ``(pass * row, pos, d_model)``, the activations, and the keys and
            values where ``records`` asks for them.
        """
        activations: dict[str, Tensor] = {}

        def prefix(layer: int) -> tuple[Tensor, Tensor]:
            keys, values = (part[rows.index, :, :start] for part in clean.keys_values[layer])
            return keys, values

        last = self.n_layers - 1 if until is None else until
        length = clean.residual[0].shape[1]
        arguments = self._arguments[length]
        ends_alone = end_only and self._can_end_alone(length, last, (*edits, *keep))
        stream = clean.residual[0][:0, start:]  # no row yet: (0, length - start, d_model)
        cache = KeyValues(prefix, records=records) if attend and (start or records) else None
        with (
            torch.inference_mode(),
            hooked(self.points, hooks_of(edits, keep, activations)),
            self._attending(cache),
            shortened(self._shortcuts, (*edits, *keep)),
            mlp_at_end(self.bridge.blocks[last] if ends_alone else None),
        ):
            for layer in range(layers[0], last + 1):
                if joining := layers.count(layer):
                    clean_rows = clean.residual[layer][rows.index, start:]
                    stream = torch.cat([stream, *[clean_rows] * joining])
                args, kwargs = last_positions(arguments[layer], length - start, length)
                output = self.bridge.blocks[layer](stream, *args, **kwargs)
                stream = output[0] if isinstance(output, tuple) else output
        return PartialPass(stream, activations, cache.recorded if cache else {})

    def _can_end_alone(self, length: int, last: int, hooks: Sequence[str]) -> bool:
        """Whether the last MLP may run at END alone: the logits come out right, and no hook needs the other positions.

        Attention comes before the MLP, so hooks of attention get all positions in any case.
        """
        in_last = [name for name in hooks if name.startswith(f"blocks.{last}.")]
        return self._mlp_can_run_at_end.get(length, True) and all(".attn." in name for name in in_last)

    # ---- from where passes can start

    def _earliest_start(self, clean: CleanPass) -> StartFrom:
        """The earliest restart point (position, layer, or none) at which an unedited pass gives the expected logits.

        Args:
            clean: the pass whose first prompt is run again.
        """
        expected, length = clean.logits[:1], clean.residual[0].shape[1]
        allowed = noise_of_logits(self.precision, float(expected.abs().max()))
        candidates: tuple[tuple[StartFrom, int], ...] = (("position", length // 2), ("layer", 0))
        for start_from, start in candidates:
            if start_from == "position" and len(clean.keys_values) < self.n_layers:
                continue
            if self._reproduces(expected, allowed, clean, start, end_only=False):
                self._mlp_can_run_at_end[length] = self._reproduces(expected, allowed, clean, start, end_only=True)
                return start_from
        return "whole"

    def _reproduces(self, expected: Tensor, allowed: float, clean: CleanPass, start: int, *, end_only: bool) -> bool:
        """Whether the first prompt, resumed without any edit, has its logits at END, shape ``(1, vocab)``."""
        first_row = Rows.of([0], len(clean.residual[0]), self.device)
        try:
            last = self.resume(clean, first_row, [0], start, end_only=end_only).residual[:, -1:]
            logits = self.bridge.unembed(self.bridge.ln_final(last))[:, 0].float()
        except _CANNOT_BE_DRIVEN:
            return False
        return bool((logits - expected).abs().max() <= allowed)

    def _measured_call_cost(self, clean: CleanPass) -> int:
        """The cost of calling a block, from the seconds that the middle one takes on few positions and on many."""
        size, length, _ = clean.residual[0].shape
        layer, rows = self.n_layers // 2, Rows.of(range(size), size, self.device)
        copies = 1 + _CALIBRATION // (size * length)

        def seconds(passes: int) -> float:
            durations = []
            for _ in range(4):  # the first ones choose kernels
                torch.cuda.synchronize(self.device)
                start = time.perf_counter()
                self.resume(clean, rows, [layer] * passes, 0, until=layer)
                torch.cuda.synchronize(self.device)
                durations.append(time.perf_counter() - start)
            return min(durations)

        few, many = seconds(1), seconds(1 + copies)
        of_position = max(many - few, 0.01 * few) / (copies * size * length)
        return max(_CALL_COST, int(few / of_position))

    # ---- the arguments of blocks

    @contextmanager
    def _recording_arguments(self, shape: Sequence[int]) -> Iterator[None]:
        """Records the arguments of each block beside the residual stream, in the first pass over prompts of a length.

        Args:
            shape: of the tokens, ``(row, pos)``.
        """
        rows, length = shape
        recorded: dict[int, tuple[Any, Any]] = {}

        def recorder(layer: int) -> Callable[..., None]:
            def record(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                # The residual stream is the first argument; it may be passed by name.
                named = {name: value for name, value in kwargs.items() if args or name != "hidden_states"}
                recorded[layer] = shared_by_rows(args[1:], rows), shared_by_rows(named, rows)

            return record

        blocks = [] if length in self._arguments else enumerate(self.bridge.blocks)
        handles = [block.register_forward_pre_hook(recorder(layer), with_kwargs=True) for layer, block in blocks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        if recorded:
            self._arguments[length] = [recorded[layer] for layer in range(self.n_layers)]

    @contextmanager
    def _attending(self, cache: KeyValues | None) -> Iterator[None]:
        """Inside the block attention gets this key-value cache in place of the model's own."""

        def with_cache(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return args, {**kwargs, "past_key_values": cache}

        handles = []
        if cache is not None:
            handles = [
                block.attn.register_forward_pre_hook(with_cache, with_kwargs=True)
                for block in self.bridge.blocks
                if hasattr(block, "attn")
            ]
        try:
            with warnings.catch_warnings():
                # Some attention takes the model's own cache nevertheless (OPT): then passes start at a layer.
                warnings.filterwarnings("ignore", "Both `past_key_values` and `cache` are set", FutureWarning)
                yield
        finally:
            for handle in handles:
                handle.remove()
