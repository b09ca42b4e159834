"""A model in memory and the parts through which it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_interp.checkpoints.blocks import Blocks
from pytest_interp.checkpoints.boot import Booted, boot, input_device
from pytest_interp.checkpoints.checks.identities import Identity, identities_of, outlet_of
from pytest_interp.checkpoints.device import precision_of
from pytest_interp.checkpoints.forward import Forward
from pytest_interp.checkpoints.guard import Guard
from pytest_interp.checkpoints.model_state import configuration_of, meaning_of
from pytest_interp.checkpoints.parts import Parts
from pytest_interp.checkpoints.shape import Shape
from pytest_interp.checkpoints.sites import Sites
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.checkpoints.stream import Outlet, transforms_of
from pytest_interp.checkpoints.weights import Weights
from pytest_interp.common.files import digest
from pytest_interp.errors import UsageError
from pytest_interp.tasks.shared_words import SharedTokenizer

if TYPE_CHECKING:
    import torch


class LoadedModel:
    """A model in memory: frozen, in eval mode, in compatibility mode; loaded anew if a claim has damaged it.

    Attributes:
        guard: checks that it is as it was loaded, and holds the results of it.
        fingerprint: hash of its weights as loaded.
        settings: hash of its configuration and of its tokenizer.
        parity: how far its logits moved on the way from the raw model to compatibility mode.
        identities: how well parts add up; empty where it came with hooks attached.
        adds_bos: whether its tokenizer puts BOS before a text.
        device: of its weights.
        dtype: of its weights, such as ``float32``.
        precision: what decides on its float noise: the dtype, or ``tf32``.
        shape: how many layers, heads and dimensions it has.
        tokenizer: its tokenizer; of words that it shares with others, one that asks their tokenizers too.
        unread_sites: hook names, without the layer, of activations that the model shows but does not read.
        in_float32: the same weights in float32; None before they are loaded.
    """

    def __init__(self, spec: CheckpointSpec, device: torch.device, dtype: str) -> None:
        """Loads a model.

        Args:
            spec: where its weights are.
            device: where it computes.
            dtype: ``float64``, ``float32``, ``bfloat16`` or ``float16``; a bridge of the user's own keeps its dtype.
        """
        self.spec, self.device, self.dtype = spec, device, dtype
        self.guard = Guard(spec.name, on_disk=spec.kind != "user")
        self.fingerprint = self.settings = ""
        self.unread_sites: set[str] = set()
        self.in_float32: LoadedModel | None = None
        self.load()

    def load(self) -> None:
        """Boots the model from its source, for the first time or anew.

        Raises:
            Unavailable: its weights cannot be had.
            UsageError: its files are damaged, or have changed since the first time.
        """
        self._parts: Parts | None = None
        self.guard.release()
        booted = boot(self.spec, self.device, self.dtype)
        bridge = booted.bridge
        self.device = input_device(self.spec, bridge, self.device)
        settings = digest(f"{configuration_of(bridge)} {meaning_of(bridge.tokenizer)}")
        if self.fingerprint and (self.fingerprint, self.settings) != (booted.fingerprint, settings):
            changed = "weights" if self.fingerprint != booted.fingerprint else "configuration or another tokenizer"
            raise UsageError(
                f"{self.spec.name} was loaded with other {changed} than before: leave its files as they are during a "
                "run; in a loader, return a new model each time, not a changed one"
            )
        self.fingerprint, self.settings = booted.fingerprint, settings
        self.parity, self.adds_bos = booted.parity, booted.bos
        dtype = next(bridge.parameters()).dtype  # a bridge that the user built has its own
        self.dtype, self.precision = str(dtype).removeprefix("torch."), precision_of(self.device, dtype)
        self.shape, self.tokenizer = Shape.of(bridge.cfg), bridge.tokenizer
        if self.spec.words is not None:
            self.tokenizer = SharedTokenizer(bridge.tokenizer, self.spec.words)
        blocks = Blocks(bridge, self.precision)
        self._parts = self._assembled(booted, blocks, Outlet({"embed": "hook_embed"}, centred=False, transform=None))
        self.identities: tuple[Identity, ...] = ()
        self.guard.begin(bridge, self.precision)
        if not self.guard.foreign_hooks:  # which preflight refuses
            outlet = outlet_of(self._parts, transforms_of(bridge))
            self._parts = self._assembled(booted, blocks, outlet)
            self.identities = identities_of(self._parts)

    def _assembled(self, booted: Booted, blocks: Blocks, outlet: Outlet) -> Parts:
        """The parts of a booted model, with what stands between its residual stream and its logits."""
        bridge, name, normed = booted.bridge, self.spec.name, bool(booted.bridge.cfg.normalization_type)
        sites = Sites(frozenset(bridge.hook_dict), name, outlet.start, normed, self.unread_sites)
        weights = Weights(bridge, name, self.shape, booted.shifts, outlet, normed, self.guard)
        return Parts(sites, weights, Forward(bridge, sites, weights, blocks, self.guard), self.shape, self.precision)

    @property
    def parts(self) -> Parts:
        """Its sites, weights and forward passes.

        Raises:
            UsageError: it could not be loaded anew.
        """
        if self._parts is None:
            self.guard.bridge  # noqa: B018  (raises the error)
        assert self._parts is not None
        return self._parts

    @property
    def bridge(self) -> Any:
        """TransformerLens's bridge.

        Raises:
            UsageError: it could not be loaded anew.
        """
        return self.guard.bridge

    def restore(self) -> str:
        """Puts the model and the process back into their state at load; returns what was done, for a reader."""
        self.guard.restore_process()
        if not self.guard.changes_since_load():
            return "all was put back"
        self.load()
        return "the model was loaded anew"
