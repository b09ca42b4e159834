"""A checkpoint: a model with weights, the circuit that is claimed of it, and the parts through which it is used.

The bridge is put into compatibility mode once, at load, then frozen. All other packages ask a checkpoint's parts for a
forward pass, a weight or a hook name, and never touch the bridge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from pytest_interp.checkpoints.checks.identities import Identity, Kind, check
from pytest_interp.checkpoints.checks.parity import Step
from pytest_interp.checkpoints.device import device_of
from pytest_interp.checkpoints.forward import Forward, Pass
from pytest_interp.checkpoints.guard import Guard
from pytest_interp.checkpoints.hooks import Edit, with_other_layers
from pytest_interp.checkpoints.memo import Memo, budget_of, bytes_of_row, bytes_of_sites
from pytest_interp.checkpoints.model import LoadedModel
from pytest_interp.checkpoints.shape import Shape
from pytest_interp.checkpoints.sites import Sites
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.checkpoints.weights import Weights
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, KVHead

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.cache.store import Cache
    from pytest_interp.circuit import Circuit
    from pytest_interp.tasks import Group

_OPEN = ("budget", "cache")
"""Attributes that may be set: they change no number."""


class Checkpoint:
    """A frozen model in eval mode, with the circuit that is claimed of it.

    Attributes:
        spec: where it came from.
        name: as in ids and snapshots.
        budget: how many bytes activations may take: those of a batch of patched passes, and those kept of a run.

    Example:
        :func:`pytest_interp.load` makes one, and checks that it can be measured:

        >>> from pytest_interp import load
        >>> checkpoint = load("planted-ioi")
        >>> checkpoint.shape.n_layers, checkpoint.shape.n_heads
        (5, 4)
        >>> checkpoint.sites.hook("z", 3)
        'blocks.3.attn.hook_z'
        >>> tuple(checkpoint.weights.w_o(3)[0].shape)  # of head 3.0: (d_head, d_model)
        (144, 303)
        >>> checkpoint.changes_since_load()
        []
    """

    _is_sealed = False

    def __init__(
        self,
        spec: CheckpointSpec,
        circuit: Circuit | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
    ) -> None:
        """Loads a model.

        Args:
            spec: where its weights are.
            circuit: the roles that are asserted on it.
            device: ``auto``, ``cuda``, ``mps`` or ``cpu``.
            dtype: ``float64``, ``float32``, ``bfloat16`` or ``float16``.
        """
        self.spec, self.name = spec, spec.name
        self._circuit, self._bos = circuit, spec.bos
        self._model = LoadedModel(spec, device_of(device), dtype)
        self.budget = budget_of(self.device)
        self._is_sealed = True

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name} {self.fingerprint}>"

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_sealed and not name.startswith("_") and name not in _OPEN:
            raise AttributeError(f"{name} of a checkpoint cannot be set: all claims share it")
        super().__setattr__(name, value)

    # ---- what is claimed

    @property
    def circuit(self) -> Circuit | None:
        """The roles that are asserted on it; None where there is no circuit file."""
        return self._circuit

    @property
    def bos(self) -> bool:
        """Whether BOS stands before each prompt; part of every data set's identity."""
        return self._model.adds_bos if self._bos is None else self._bos

    def claimed(self, circuit: Circuit | None, *, bos: bool | None) -> None:
        """Sets the circuit that is asserted on it.

        Args:
            circuit: None for no circuit.
            bos: whether BOS stood before the prompts on which its heads were identified; None for as the tokenizer
                adds it.
        """
        self._circuit, self._bos = circuit, bos

    @contextmanager
    def claiming(self, circuit: Circuit | None) -> Iterator[None]:
        """Asserts another circuit on it inside the block; None for no circuit."""
        outside, self._circuit = self._circuit, circuit
        try:
            yield
        finally:
            self._circuit = outside

    # ---- its parts

    @property
    def weights(self) -> Weights:
        """Its weights, by head: ``checkpoint.weights.w_o(9)[6]``."""
        return self._model.parts.weights

    @property
    def sites(self) -> Sites:
        """The names of its hook points: ``checkpoint.sites.hook("z", 9)``."""
        return self._model.parts.sites

    @property
    def forward(self) -> Forward:
        """Its forward passes."""
        return self._model.parts.forward

    @property
    def guard(self) -> Guard:
        """Checks that the model is as it was loaded, and holds the results of it."""
        return self._model.guard

    @property
    def memo(self) -> Memo:
        """Results of the model as it was loaded."""
        return self.guard.memo

    @property
    def bridge(self) -> Any:
        """TransformerLens's bridge."""
        return self._model.bridge

    @property
    def cache(self) -> Cache | None:
        """Measurements on disk; None without ``--interp-cache``."""
        return self.guard.cache

    @cache.setter
    def cache(self, cache: Cache | None) -> None:
        self.guard.cache = cache

    def run(
        self,
        tokens: Int[Tensor, "row pos"],
        *,
        edits: Mapping[str, Edit] = {},
        keep: Sequence[str] = (),
        positions: Int[Tensor, "row k"] | None = None,
    ) -> Pass:
        """One forward pass; arguments and result are those of :meth:`Forward.run`."""
        return self.forward.run(tokens, edits=edits, keep=keep, positions=positions)

    # ---- what it is

    @property
    def fingerprint(self) -> str:
        """Hash of its weights as loaded, 12 hexadecimal digits."""
        return self._model.fingerprint

    @property
    def settings(self) -> str:
        """Hash of its configuration and of its tokenizer."""
        return self._model.settings

    @property
    def parity(self) -> tuple[Step, ...]:
        """How far logits moved, up to a constant, from the raw model to its bridge and on to compatibility mode."""
        return self._model.parity

    @property
    def device(self) -> torch.device:
        """The device of its weights, as a tensor on it names it: ``cuda:0``."""
        return self._model.device

    @property
    def dtype(self) -> str:
        """The dtype of its weights, such as ``float32``."""
        return self._model.dtype

    @property
    def precision(self) -> str:
        """What decides on its float noise: the dtype, or ``tf32`` where products of float32 are rounded to it."""
        return self._model.precision

    @property
    def shape(self) -> Shape:
        """How many layers, heads and dimensions it has."""
        return self._model.shape

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self._model.tokenizer

    @property
    def identities(self) -> tuple[Identity, ...]:
        """How well parts add up on the loaded model; empty where it came with hooks attached."""
        return self._model.identities

    def check_identity(self, *kinds: Kind) -> None:
        """Accepts a model whose parts add up.

        Args:
            kinds: ``components``: to the residual stream; ``heads``: to what attention writes; ``logits``: the stream
                to the logits.

        Raises:
            NotApplicable: they do not; the message says by how much.
        """
        check(self.identities, kinds, self.name)

    # ---- heads

    def check_head(self, head: Head) -> Head:
        """The head itself, if the model has it.

        Raises:
            UsageError: the model has no such head.
        """
        layers, heads = self.shape.n_layers, self.shape.n_heads
        if head.layer >= layers or head.head >= heads:
            raise UsageError(
                f"{self.name} has no head {head}: its layers are 0 to {layers - 1}, the heads of each 0 to {heads - 1}"
            )
        return head

    def kv_head(self, head: Head) -> KVHead:
        """The key-value head whose keys and values a query head uses."""
        return KVHead(head.layer, head.head // (self.shape.n_heads // self.shape.n_kv_heads))

    def sharers(self, kv_head: KVHead) -> tuple[Head, ...]:
        """The query heads that use a key-value head, in ascending order."""
        count = self.shape.n_heads // self.shape.n_kv_heads
        return tuple(Head(kv_head.layer, kv_head.head * count + i) for i in range(count))

    def detected(self, text: str, kind: str) -> Float[Tensor, "layer head"]:
        """The scores of TransformerLens's own head detector, ``detect_head``.

        Args:
            text: the prompt; BOS stands before it as the tokenizer adds it.
            kind: ``previous_token_head``, ``duplicate_token_head`` or ``induction_head``.
        """
        from transformer_lens.head_detector import detect_head

        with torch.inference_mode():
            scores: Tensor = detect_head(self.bridge, text, kind)
        return scores

    # ---- memory

    def bytes_of_row(self, count: int, length: int, *, logits: bool) -> int:
        """The bytes of one prompt in a pass: :func:`~pytest_interp.checkpoints.memo.bytes_of_row`."""
        return bytes_of_row(self.shape, count, length, logits=logits)

    def with_other_layers(self, hooks: Sequence[str], groups: Sequence[Group]) -> list[str]:
        """These hook names, and those of the same sites in all other layers where half of the budget holds them."""
        if self._bytes_of_sites(hooks, groups) > self.budget // 2:
            return list(hooks)
        return with_other_layers(self.sites.names, hooks, self.shape.n_layers)

    def holds_stream(self, groups: Sequence[Group]) -> bool:
        """Whether the residual stream of these prompts, in every layer, fits the memory budget."""
        return self._bytes_of_sites(["resid_pre"], groups) <= self.budget

    def _bytes_of_sites(self, hooks: Sequence[str], groups: Sequence[Group]) -> int:
        return sum(bytes_of_sites(self.shape, hooks, *group.tokens.shape) for group in groups)

    # ---- changes of the model

    def changes_since_load(self) -> list[str]:
        """The differences from the model as it was loaded, in words: ``["1 hook attached", "changed weights"]``."""
        return self.guard.changes_since_load()

    def reload(self) -> None:
        """Loads the model anew from its source."""
        self._model.load()

    def restore(self) -> str:
        """Puts the model and the process back into their state at load; returns what was done, for a reader."""
        return self._model.restore()

    @contextmanager
    def edited_weight(self, layer: int, name: str) -> Iterator[Tensor]:
        """A stored weight, to be changed in place inside the block; restored bit for bit afterwards.

        Args:
            layer: from 0.
            name: ``q``, ``k``, ``v`` or ``o``.

        Yields:
            The weight as it is stored: ``checkpoint.weights`` has it by head.
        """
        weight: Tensor = getattr(self.bridge.blocks[layer].attn, name).weight
        saved = weight.detach().clone()
        with self.guard.isolated_memory():
            try:
                with torch.no_grad():
                    yield weight.data
            finally:
                weight.data.copy_(saved)

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Inside the block this checkpoint has its weights in float32.

        A second model is loaded from the source on first use. It stays in memory with its results.

        Raises:
            UsageError: it cannot be loaded, or its loader gives a bridge, which has a precision of its own.
            Unavailable: its weights cannot be had any more.
        """
        outside = self._model
        if outside.in_float32 is None:
            if self.spec.kind == "user" and self.parity[0].before != "the raw model":
                raise UsageError(f"the loader of {self.name} gives a bridge in {self.dtype}, which is left as it is")
            outside.in_float32 = LoadedModel(self.spec, self.device, "float32")
            outside.in_float32.guard.share_memory(outside.guard.processes)
        outside.in_float32.guard.cache = outside.guard.cache
        self._model = outside.in_float32
        try:
            yield
        finally:
            self._model = outside
