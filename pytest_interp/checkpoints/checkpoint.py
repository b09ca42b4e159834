"""A loaded checkpoint: the one module that talks to TransformerLens's bridge.

The bridge is put into compatibility mode once, at load, then frozen. Everything else in the project asks this
class for a forward pass, a weight or a hook name, and never touches the bridge.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pytest_interp.checkpoints import guard
from pytest_interp.checkpoints.boot import boot, device_of
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, KVHead

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.circuit import Circuit

Edit = Callable[["Tensor"], "Tensor"]
"""What replaces an activation: gets it, returns another of the same shape."""

_HOOKS = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_mid": "blocks.{}.hook_resid_mid",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "q": "blocks.{}.attn.hook_q",
    "k": "blocks.{}.attn.hook_k",
    "v": "blocks.{}.attn.hook_v",
    "z": "blocks.{}.attn.hook_z",
    "pattern": "blocks.{}.attn.hook_pattern",
}


class Pass(NamedTuple):
    """One forward pass: logits at END, shape ``(row, vocab)``, and the activations asked for, by hook name."""

    logits: Tensor
    kept: Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """How many of what a checkpoint has."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_vocab: int


class Checkpoint:
    """A frozen model in eval mode, with the circuit that is claimed of it.

    Attributes:
        name: as in ids and snapshots.
        spec: where it came from.
        circuit: the roles asserted on it, or None.
        bos: whether BOS stands before each prompt on it; part of every data set's identity.
        fingerprint: hash of its weights as loaded.
        parity: largest difference of logits (up to a constant) between the raw model where there is one, the bridge,
            and the bridge in compatibility mode.
        memo: measured activations; emptied when the weights change.
    """

    def __init__(
        self, spec: CheckpointSpec, circuit: Circuit | None = None, *, device: str = "auto", dtype: str = "float32"
    ) -> None:
        self.spec, self.name, self.circuit = spec, spec.name, circuit
        self.bos = spec.bos
        self.fingerprint = ""
        self.device, self.dtype = device_of(device), dtype
        self.memo: dict[Any, Any] = {}
        self.load()

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name} {self.fingerprint}>"

    def load(self) -> None:
        """Boots the model from its source; called again when a claim has damaged it."""
        self.memo.clear()
        self._bridge: Any = None
        gc.collect()
        booted = boot(self.spec, self.device, self.dtype)
        if self.fingerprint not in ("", booted.fingerprint):
            raise UsageError(
                f"the loader of {self.name} returned other weights than before ({booted.fingerprint}, not "
                f"{self.fingerprint}): return a new model each time, not one that a claim has changed"
            )
        self._bridge, self.fingerprint, self.parity = booted
        cfg = self._bridge.cfg
        n_kv = cfg.n_key_value_heads or cfg.n_heads
        self.shape = Shape(cfg.n_layers, cfg.n_heads, n_kv, cfg.d_head, cfg.d_model, cfg.d_vocab)
        self.tokenizer = self._bridge.tokenizer
        # A bridge that the user built has its own place and precision.
        some = next(self._bridge.parameters())
        self.device, self.dtype = str(some.device), str(some.dtype).removeprefix("torch.")
        self._loaded, self._versions = self.state(), guard.versions(self._bridge)

    # ---- forward passes

    def run(self, tokens: Int[Tensor, "row pos"], *, edits: Mapping[str, Edit] = {}, keep: Sequence[str] = ()) -> Pass:
        """One forward pass with activations replaced and others kept; only END is unembedded.

        Args:
            tokens: shape ``(row, pos)``; END is the last column.
            edits: hook name -> what replaces that activation.
            keep: hook names; each is kept as it is after its edit.

        Raises:
            NotApplicable: the architecture has no such site.
            UsageError: the logits are not finite.
        """
        bridge, kept = self._bridge, {}

        def editing(edit: Edit) -> Callable[[Tensor, Any], Tensor]:
            return lambda value, hook: edit(value)  # noqa: ARG005 - TransformerLens calls it with hook=

        def keeping(name: str) -> Callable[[Tensor, Any], None]:
            def store(value: Tensor, hook: Any) -> None:  # noqa: ARG001
                kept[name] = value.detach()

            return store

        def only_end(value: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            return value[:, -1:]

        for name in (*edits, *keep):
            if name not in bridge.hook_dict:
                raise NotApplicable(f"{self.name} has no activation {name}")
        hooks: list[tuple[str, Callable[[Tensor, Any], Tensor | None]]]
        hooks = [(name, editing(edit)) for name, edit in edits.items()]
        hooks += [(name, keeping(name)) for name in keep]
        hooks.append(("unembed.hook_in", only_end))
        with torch.inference_mode(), bridge.hooks(fwd_hooks=hooks):
            logits = bridge(tokens.to(self.device), return_type="logits")[:, -1]
        if not bool(torch.isfinite(logits).all()):
            raise UsageError(
                f"{self.name} gives NaN or infinite logits on {logits.isfinite().all(-1).logical_not().sum()} of "
                f"{len(logits)} prompts; check its weights, or run it with --interp-dtype float32"
            )
        return Pass(logits.float(), kept)

    def hook(self, site: str, layer: int) -> str:
        """The hook name of a site such as ``z`` at a layer.

        Raises:
            UsageError: no such site; NotApplicable: this architecture lacks it.
        """
        if site not in _HOOKS:
            raise UsageError(f"{site!r} is not a site; allowed: {', '.join(_HOOKS)}")
        name = _HOOKS[site].format(layer)
        if name not in self._bridge.hook_dict:
            raise NotApplicable(f"{self.name} has no {site} at layer {layer}")
        return name

    @property
    def scale_hook(self) -> str | None:
        """The hook of the final norm's scale, or None where the model has no final norm."""
        name = "ln_final.hook_scale"
        return name if name in self._bridge.hook_dict and self._bridge.cfg.normalization_type else None

    # ---- weights, as compatibility mode leaves them

    def w_v(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """Value weights by query head; grouped key-value heads are repeated for the query heads that share them."""
        weights: Tensor = self._bridge.blocks[layer].attn.W_V
        return weights.repeat_interleave(self.shape.n_heads // len(weights), dim=0)

    def w_o(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """Output weights by head."""
        weights: Tensor = self._bridge.blocks[layer].attn.W_O
        return weights

    def w_u(self) -> Float[Tensor, "d_model d_vocab"]:
        """The unembedding."""
        weights: Tensor = self._bridge.W_U
        return weights

    def embed_through_mlp0(self, tokens: Int[Tensor, " name"]) -> Float[Tensor, "name d_model"]:
        """Token embeddings after the first MLP, without attention or positions: ``W_E + MLP0(ln2(W_E))``."""
        with torch.inference_mode():
            embedded: Tensor = self._bridge.W_E[tokens.to(self.device)].unsqueeze(1)
            block = self._bridge.blocks[0]
            if getattr(block, "mlp", None) is not None:
                embedded = embedded + block.mlp(block.ln2(embedded) if hasattr(block, "ln2") else embedded)
            return embedded.squeeze(1)

    def ln1(self, layer: int, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The residual as the attention of a layer reads it (its gain is folded into the weights)."""
        block = self._bridge.blocks[layer]
        if not hasattr(block, "ln1"):
            return residual
        with torch.inference_mode():
            normed: Tensor = block.ln1(residual.unsqueeze(1))
            return normed.squeeze(1)

    # ---- heads

    def check_head(self, head: Head) -> Head:
        """The head, if the model has it.

        Raises:
            UsageError: it does not.
        """
        layers, heads = self.shape.n_layers, self.shape.n_heads
        if head.layer >= layers or head.head >= heads:
            raise UsageError(
                f"{self.name} has no head {head}: its layers are 0 to {layers - 1}, the heads of each 0 to {heads - 1}"
            )
        return head

    def kv_head(self, head: Head) -> KVHead:
        """The key-value head that a query head reads."""
        return KVHead(head.layer, head.head // (self.shape.n_heads // self.shape.n_kv_heads))

    def sharers(self, kv_head: KVHead) -> tuple[Head, ...]:
        """The query heads that read a key-value head."""
        group = self.shape.n_heads // self.shape.n_kv_heads
        return tuple(Head(kv_head.layer, kv_head.head * group + i) for i in range(group))

    # ---- the guard

    @property
    def attached(self) -> list[str]:
        """The hook points that carry a hook; of a pass of this class none is left."""
        return guard.attached(self._bridge)

    @property
    def memory(self) -> dict[Any, Any]:
        """The memo; an empty one while hooks are attached or parameters were changed in place, to be forgotten."""
        pristine = not self.attached and guard.versions(self._bridge) == self._versions
        return self.memo if pristine else {}

    def state(self) -> guard.State:
        """Hooks, weights and mode, to compare a model before and after. Takes 0.2 s for 163M weights."""
        return guard.state_of(self._bridge)

    def disturbed(self, since: guard.State | None = None) -> list[str]:
        """What was left behind, since loading or since a :meth:`state`: hooks, changed weights, train mode."""
        return guard.changes(since or self._loaded, self.state())

    @contextmanager
    def weights(self, layer: int, what: str) -> Iterator[Tensor]:
        """The stored weight ``q``, ``k``, ``v`` or ``o`` of a layer, to be changed in place; restored bit for bit."""
        weight: Tensor = getattr(self._bridge.blocks[layer].attn, what).weight
        saved, memo = weight.detach().clone(), dict(self.memo)
        self.memo.clear()
        try:
            with torch.no_grad():
                yield weight.data
        finally:
            weight.data.copy_(saved)
            self.memo.clear()
            self.memo.update(memo)
