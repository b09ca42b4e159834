"""A loaded checkpoint: the one module that talks to TransformerLens's bridge.

The bridge is put into compatibility mode once, at load, then frozen. Everything else in the project asks this
class for a forward pass, a weight or a hook name, and never touches the bridge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pytest_interp.checkpoints.blocks import Blocks
from pytest_interp.checkpoints.boot import boot
from pytest_interp.checkpoints.checks.identities import Identity, Kind, check, identities_of, outlet_of
from pytest_interp.checkpoints.device import device_of, precision_of
from pytest_interp.checkpoints.guard import Guarded
from pytest_interp.checkpoints.hooks import Edit, hooked, hooks_of
from pytest_interp.checkpoints.memo import budget_of, bytes_of_row
from pytest_interp.checkpoints.model_state import configuration_of, meaning_of
from pytest_interp.checkpoints.resume import Prepared, Resumed
from pytest_interp.checkpoints.sites import Sites
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.checkpoints.stream import Outlet, transforms_of
from pytest_interp.checkpoints.weights import Shape, Weights
from pytest_interp.common.files import digest
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, KVHead

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.circuit import Circuit


class Pass(NamedTuple):
    """One forward pass: logits at END, shape ``(row, vocab)``, and the activations asked for, by hook name.

    Where positions were asked for, the logits have shape ``(row, k, vocab)``.
    """

    logits: Tensor
    kept: Mapping[str, Tensor]


class Checkpoint(Guarded, Weights, Sites):
    """A frozen model in eval mode, with the circuit that is claimed of it.

    Attributes:
        name: as in ids and snapshots.
        spec: where it came from.
        circuit: the roles asserted on it, or None.
        bos: whether BOS stands before each prompt on it; part of every data set's identity.
        fingerprint: hash of its weights as loaded.
        parity: how far logits moved (up to a constant) from the raw model where there is one to its bridge, and on to
            the bridge in compatibility mode.
        settings: hash of its configuration, and of what its tokenizer makes of a text.
        device: where its weights are.
        dtype: what they are.
        precision: what its float noise follows from: the dtype, or ``tf32`` where products of float32 are coarser.
        budget: how many bytes the activations of a batch of patched passes may take.
        exact: the same in float32, where a claim was measured again.
    """

    def __init__(
        self,
        spec: CheckpointSpec,
        circuit: Circuit | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
    ) -> None:
        self.spec, self.name = spec, spec.name
        self._circuit, self._bos, self._own_bos = circuit, spec.bos, False
        self.fingerprint = self.settings = ""
        self.device, self.dtype = device_of(device), dtype
        self.budget, self._ignored = 0, frozenset[str]()
        self._drive: Blocks | None = None
        self.exact: Checkpoint | None = None
        super().__init__()
        self.load()

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name} {self.fingerprint}>"

    @property
    def circuit(self) -> Circuit | None:
        """The roles that are asserted on it; None where there is no circuit file."""
        return self._circuit

    @property
    def bos(self) -> bool:
        """Whether BOS stands before each prompt on it."""
        return self._own_bos if self._bos is None else self._bos

    def claimed(self, circuit: Circuit | None, *, bos: bool | None) -> None:
        """Sets which circuit is asserted on it, and the BOS choice that its heads were found with, if there is one."""
        self._circuit, self._bos = circuit, bos

    @contextmanager
    def claiming(self, circuit: Circuit | None) -> Iterator[None]:
        """Another circuit is asserted on it meanwhile."""
        before, self._circuit = self._circuit, circuit
        try:
            yield
        finally:
            self._circuit = before

    def load(self) -> None:
        """Boots the model from its source; called again when a claim has damaged it."""
        self._drive = None
        self.release()
        bridge, fingerprint, self.parity, self._shifts, self._own_bos = boot(self.spec, self.device, self.dtype)
        settings = digest(f"{configuration_of(bridge)} {meaning_of(bridge.tokenizer)}")
        if self.fingerprint and (self.fingerprint, self.settings) != (fingerprint, settings):
            what = "weights" if self.fingerprint != fingerprint else "configuration or another tokenizer"
            raise UsageError(
                f"{self.name} was loaded with other {what} than before: leave its files as they are during a run; in a "
                "loader, return a new model each time, not a changed one"
            )
        self.fingerprint, self.settings = fingerprint, settings
        self._describe(bridge)
        self._drive = Blocks(bridge, self.precision)
        self._outlet = Outlet({"embed": "hook_embed"}, centred=False, transform=None)
        self._identities: tuple[Identity, ...] = ()
        self.begin(bridge)
        if not self.attached:  # hooks of others, which preflight refuses
            self._outlet = outlet_of(self, transforms_of(bridge))
            self._identities = identities_of(self)

    def _describe(self, bridge: Any) -> None:
        """Sets what is read off a bridge. One that the user built has its own dtype."""
        weights, cfg = next(bridge.parameters()), bridge.cfg
        self.dtype, self.precision = str(weights.dtype).removeprefix("torch."), precision_of(self.device, weights.dtype)
        self.shape, self._d_mlp, self._normed = Shape.of(cfg), cfg.d_mlp or 0, bool(cfg.normalization_type)
        self.sites, self.tokenizer = frozenset(bridge.hook_dict), bridge.tokenizer
        self.budget = self.budget or budget_of(self.device)

    @property
    def _blocks(self) -> Blocks:
        assert self._drive is not None
        return self._drive

    # ---- forward passes

    def run(
        self,
        tokens: Int[Tensor, "row pos"],
        *,
        edits: Mapping[str, Edit] = {},
        keep: Sequence[str] = (),
        positions: Int[Tensor, "row k"] | None = None,
    ) -> Pass:
        """One forward pass with activations replaced and others kept; only what is read is unembedded.

        Args:
            tokens: shape ``(row, pos)``; END is the last column.
            edits: hook name -> what replaces that activation.
            keep: hook names; each is kept as it is after its edit.
            positions: indices whose logits are read; None for END alone.

        Raises:
            NotApplicable: the architecture has no such site.
            UsageError: the logits are not finite.
        """
        bridge = self._bridge
        kept: dict[str, Tensor] = {}

        def only_read(value: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            if positions is None:
                return value[:, -1:].contiguous()  # else the unembedding is read once for each row
            where = positions.to(value.device)[:, :, None]
            return value.gather(1, where.expand(-1, -1, value.shape[-1]))

        for name in (*edits, *keep):
            if name not in self.sites:
                raise NotApplicable(f"{self.name} has no activation {name}")
        self.check_edits(edits)
        hooks = [*hooks_of(edits, keep, kept), ("unembed.hook_in", only_read)]
        with self._lock, torch.inference_mode(), hooked(self._points, hooks):
            logits = bridge(tokens.to(self.device), return_type="logits")
        if positions is None:
            logits = logits[:, -1]
        return Pass(self._finite(logits), kept)

    def _finite(self, logits: Tensor) -> Tensor:
        if not bool(torch.isfinite(logits).all()):
            raise UsageError(
                f"{self.name} gives NaN or infinite logits on {int((~logits.isfinite().flatten(1).all(-1)).sum())} "
                f"of {len(logits)} prompts; check its weights, or run it with --interp-dtype float32"
            )
        return logits.float()

    def prepare(self, tokens: Int[Tensor, "row pos"], keep: Sequence[str] = ()) -> Prepared:
        """What an unedited pass leaves for others to start from, and activations by hook name.

        Only these and the logits where the model is not as it was loaded: its blocks may do something else.
        """
        with self.measuring() as look:
            if look.foreign or self.attached:
                logits, kept = self.run(tokens, keep=keep)
                return Prepared((), logits, {}, "whole", kept)
        return self._blocks.prepare(tokens.to(self.device), lambda names: self.run(tokens, keep=names), keep)

    def again(self, prepared: Prepared, hooks: Sequence[str]) -> Mapping[str, Tensor]:
        """Activations of the pass that prepared these; those that it kept, others from its layers run once more."""
        others = [hook for hook in hooks if hook not in prepared.kept]
        return {**prepared.kept, **(self._blocks.again(prepared, others) if others else {})}

    def bytes_of_row(self, count: int, length: int, *, logits: bool) -> int:
        """About what one prompt takes in a pass over its last positions, ``count`` of ``length``."""
        return bytes_of_row(self.shape, self._d_mlp, count, length, logits=logits)

    def resume(self, *args: Any, edits: Mapping[str, Edit] = {}, **kwargs: Any) -> Resumed:
        """Passes that start at a layer and a position: :meth:`Blocks.resume`."""
        self.check_edits(edits)
        return self._blocks.resume(*args, edits=edits, **kwargs)

    def read(
        self, residual: Float[Tensor, "row d_model"], tokens: Int[Tensor, "row k"] | None, keep: Sequence[str] = ()
    ) -> Pass:
        """Logits of a residual stream after the last layer: of some tokens of each row, or of the whole vocabulary."""
        bridge = self._bridge
        kept: dict[str, Tensor] = {}
        with torch.inference_mode(), hooked(self._points, hooks_of({}, keep, kept)):
            normed = bridge.ln_final(residual[:, None])
            values = bridge.unembed(normed)[:, 0] if tokens is None else self.unembedded(normed[:, 0], tokens)
        return Pass(self._finite(self.logits(values)), kept)

    # ---- what adds up

    @property
    def identities(self) -> tuple[Identity, ...]:
        """How well parts add up on this model, as it was loaded; empty where it came with hooks attached."""
        return self._identities

    def check_identity(self, *kinds: Kind) -> None:
        """Accepts the model where its parts add up.

        Args:
            kinds: ``components``: to the residual stream; ``heads``: to what attention writes; ``logits``: the stream
                to the logits.

        Raises:
            NotApplicable: they do not; by how much.
        """
        check(self._identities, kinds, self.name)

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
        count = self.shape.n_heads // self.shape.n_kv_heads
        return tuple(Head(kv_head.layer, kv_head.head * count + i) for i in range(count))

    def detected(self, text: str, kind: str) -> Float[Tensor, "layer head"]:
        """The scores of TransformerLens's own head detector on a text, with BOS as the tokenizer puts it."""
        from transformer_lens.head_detector import detect_head

        with torch.inference_mode():
            scores: Tensor = detect_head(self._bridge, text, kind)
        return scores

    @contextmanager
    def weights(self, layer: int, what: str) -> Iterator[Tensor]:
        """The stored weight ``q``, ``k``, ``v`` or ``o`` of a layer, to be changed in place; restored bit for bit."""
        weight: Tensor = getattr(self._bridge.blocks[layer].attn, what).weight
        saved = weight.detach().clone()
        with self.scratch():
            try:
                with torch.no_grad():
                    yield weight.data
            finally:
                weight.data.copy_(saved)
