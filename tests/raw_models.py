"""Measurements made on a transformers model itself, without TransformerLens: what numbers should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

LAYERS = ("transformer.h", "model.layers", "model.decoder.layers", "gpt_neox.layers")
ATTENTION = ("attn.attention", "attn", "self_attention", "self_attn", "attention")
OUT = ("c_proj", "out_proj", "dense", "o_proj")
INPUT_NORM = ("ln_1", "input_layernorm", "self_attn_layer_norm")
FINAL_NORM = ("transformer.ln_f", "model.norm", "model.final_layernorm", "model.decoder.final_layer_norm",
              "gpt_neox.final_layer_norm")  # fmt: skip
UNEMBEDDING = ("lm_head", "embed_out")
POSITIONS = ("transformer.wpe", "model.decoder.embed_positions")
AFTER = ("Gemma2", "Gemma3", "Olmo2")
"""Architectures with a norm between attention and the residual stream."""


def first(module: Any, *names: str) -> Any:
    """The first of these parts that a module has; None where it has none."""
    for name in names:
        try:
            return attrgetter(name)(module)
        except AttributeError:
            continue
    return None


class RawModel:
    """A transformers model with its parts by role.

    Args:
        model: of any architecture of :mod:`architectures`.
        n_heads: query heads of a layer.
    """

    def __init__(self, model: Any, n_heads: int) -> None:
        self.model, self.config, self.n_heads = model, model.config, n_heads
        self.layers = first(model, *LAYERS)
        self.attention = [first(layer, *ATTENTION) for layer in self.layers]
        self.out = [first(attention, *OUT) for attention in self.attention]
        after = any(type(model).__name__.startswith(name) for name in AFTER)
        self.after = [layer.post_attention_layernorm if after else None for layer in self.layers]
        self.before = [first(layer, *INPUT_NORM) for layer in self.layers]
        self.final_norm, self.unembedding = first(model, *FINAL_NORM), first(model, *UNEMBEDDING)
        self.positions = first(model, *POSITIONS)
        self.multiplier = getattr(self.config, "residual_multiplier", 1.0)

    # ---- passes

    @contextmanager
    def hooked(self, *hooks: tuple[Any, Callable[..., Any]], inputs: bool = True) -> Iterator[None]:
        """Hooks on the inputs of modules (or on their outputs), and none of them afterwards."""
        handles = [
            module.register_forward_pre_hook(hook) if inputs else module.register_forward_hook(hook)
            for module, hook in hooks
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(self, tokens: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Logits at END, z of each layer, and the residual stream at END before the final norm."""
        z: dict[int, Tensor] = {}
        stream: list[Tensor] = []
        hooks = [(out, lambda _, args, layer=layer: z.update({layer: args[0]})) for layer, out in enumerate(self.out)]
        hooks.append((self.final_norm, lambda _, args: stream.append(args[0][:, -1])))
        with torch.no_grad(), self.hooked(*hooks):
            logits = self.model(tokens).logits[:, -1]
        return logits, [z[layer] for layer in range(len(self.out))], stream[0]

    def run_with_head(self, tokens: Tensor, layer: int, head: int, z_at_end: Tensor) -> Tensor:
        """Logits at END where one head's z at END is another."""

        def replace(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            z = args[0].clone()
            z[:, -1, self.columns(head, z.shape[-1])] = z_at_end
            return (z, *args[1:])

        with torch.no_grad(), self.hooked((self.out[layer], replace)):
            return self.model(tokens).logits[:, -1]

    def columns(self, head: int, width: int) -> slice:
        """Where a head's z stands among those of its layer."""
        size = width // self.n_heads
        return slice(head * size, (head + 1) * size)

    # ---- attribution

    def contribution(self, layer: int, head: int | None, z: Tensor) -> Tensor:
        """What a head (or all of attention, its bias included) adds to the residual stream; z at END of a layer."""
        with torch.no_grad():
            whole = self.out[layer](z)
            if head is None:
                part = whole
            else:
                alone = torch.zeros_like(z)
                columns = self.columns(head, z.shape[-1])
                alone[:, columns] = z[:, columns]
                part = self.out[layer](alone) - self.out[layer](torch.zeros_like(z))
            if self.after[layer] is not None:
                part = part * self.after[layer](whole) / whole  # RMS norms: gain over scale, frozen
        return part * self.multiplier

    def direct_effect(self, part: Tensor, stream: Tensor, answers: Tensor, distractors: Tensor) -> Tensor:
        """What a part of the residual stream at END adds to the logit difference, the final norm's scale frozen."""
        with torch.no_grad():
            normed, shift = self.final_norm(stream), self.final_norm(torch.zeros_like(stream))
            if self._centres(self.final_norm, stream):
                part, stream = part - part.mean(-1, keepdim=True), stream - stream.mean(-1, keepdim=True)
            before = self.unembedding(normed)
            after = self.unembedding(normed + part * (normed - shift) / stream) - before
        rows = torch.arange(len(answers))
        slope = self._slope(before)
        moved = after * slope
        return moved[rows, answers] - moved[rows, distractors]

    def _slope(self, before: Tensor) -> Tensor:
        factor = getattr(self.config, "logit_scale", 1.0) / getattr(self.config, "logits_scaling", 1.0)
        cap = getattr(self.config, "final_logit_softcapping", None)
        return factor * (torch.ones_like(before) if cap is None else 1 - torch.tanh(before / cap) ** 2)

    @staticmethod
    def _centres(norm: Any, stream: Tensor) -> bool:
        with torch.no_grad():
            ones = torch.ones_like(stream)
            return bool((norm(100 * ones) - norm(torch.zeros_like(stream))).abs().max() < 1e-3)

    # ---- weights

    def through_mlp0(self, tokens: Tensor) -> Tensor:
        """Embeddings of tokens after the first layer without attention and positions, shape ``(token, d_model)``."""
        streams: list[Tensor] = []

        def nothing(_: Any, __: Any, output: Any) -> Any:
            return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

        def see(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            streams.append((args[0] if args else kwargs["hidden_states"])[:, 0])

        silent = [self.out[0], *([self.positions] if self.positions is not None else [])]
        handle = self.layers[1].register_forward_pre_hook(see, with_kwargs=True)
        try:
            with torch.no_grad(), self.hooked(*((module, nothing) for module in silent), inputs=False):
                self.model(tokens[:, None])
        finally:
            handle.remove()
        return streams[0]

    def values(self, layer: int, stream: Tensor) -> Tensor:
        """z of a layer for one-token prompts with this residual stream, without what does not depend on it."""
        return self._z(layer, stream) - self._z(layer, torch.zeros_like(stream))

    def _z(self, layer: int, stream: Tensor) -> Tensor:
        z: list[Tensor] = []

        def enter(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            new = stream[:, None]
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        handle = self.layers[layer].register_forward_pre_hook(enter, with_kwargs=True)
        try:
            with torch.no_grad(), self.hooked((self.out[layer], lambda _, args: z.append(args[0][:, 0]))):
                self.model(torch.zeros(len(stream), 1, dtype=torch.long))
        finally:
            handle.remove()
        return z[0]

    def written_logits(self, layer: int, head: int, z: Tensor) -> Tensor:
        """What a head writes into the vocabulary from z, the scales of norms left out."""
        with torch.no_grad():
            alone = torch.zeros_like(z)
            columns = self.columns(head, z.shape[-1])
            alone[:, columns] = z[:, columns]
            part = self.out[layer](alone) - self.out[layer](torch.zeros_like(z))
            if self.after[layer] is not None:
                part = part * self._gain(self.after[layer], part)
            if self._centres(self.final_norm, part):
                part = part - part.mean(-1, keepdim=True)
            bias = self.unembedding(torch.zeros_like(part))
            return self.unembedding(part * self._gain(self.final_norm, part)) - bias

    @staticmethod
    def _gain(norm: Any, like: Tensor) -> Tensor:
        weight = getattr(norm, "weight", None)
        if weight is None:
            return torch.ones_like(like[0])
        return 1 + weight if type(norm).__name__.startswith("Gemma") else weight
