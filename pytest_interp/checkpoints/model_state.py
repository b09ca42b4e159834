"""The state of a model at one moment: all that decides which numbers it gives, as values that can be compared.

Weights, hooks, modules and torch's settings are read directly. What cannot be listed (a patched kernel, an attribute of
a module) shows in the outputs on fixed prompts: the logits, and z of every head, since equal logits hide exchanged
heads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pytest_interp.checkpoints.bits import INTEGERS, hash_of_bits
from pytest_interp.checkpoints.hooks import Hook, hooked, storing
from pytest_interp.checkpoints.process_state import (
    WITHOUT_EFFECT,
    Functions,
    global_hooks,
    modes_and_kernels,
    settings_now,
)
from pytest_interp.text import counted
from pytest_interp.tolerance import noise_of_logits

if TYPE_CHECKING:
    from torch import Tensor

_PLAIN = (int, float, str, type(None))
"""Types of attributes that are compared by value; to ask for a tuple of types takes half as long as for their union."""
_HOOK_LISTS = ("fwd_hooks", "bwd_hooks")
"""Attributes of hook points that are made anew in each pass; the hooks themselves are looked at."""
FIXED_PROMPTS = (2, 24)
"""Rows and tokens of the prompts on which outputs are compared."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of a model on fixed prompts.

    Attributes:
        digest: of their bits; equal where every bit is.
        values: logits at END and z of every head, one vector.
    """

    digest: str
    values: Tensor = field(compare=False, repr=False)

    def differ(self, other: Outputs, precision: str) -> bool:
        """Whether they differ by more than float noise.

        Args:
            other: of the same prompts.
            precision: of the model, such as ``float32``.
        """
        if self.values.shape != other.values.shape:
            return True
        largest = float(other.values.abs().max())
        difference = float((self.values - other.values).abs().max())
        return not difference <= noise_of_logits(precision, largest)


class State(NamedTuple):
    """A model at one moment.

    Attributes:
        hooks: which hooks its modules carry, those of transformers itself left out.
        global_hooks: a hash of the hooks that torch calls on every module.
        modules: a hash of which modules and parameters it is made of, and of the functions put in their place.
        weights: a hash of the bits of its parameters.
        buffers: a hash of the bits of its buffers.
        training: how many of its modules are in train mode.
        functions: names of the functions that are not those that it was loaded with.
        settings: torch's settings that numbers depend on, by name.
        tokenizer: what its tokenizer puts around a text.
        configuration: a hash of its configuration.
        details: a hash of attributes of its modules, and of torch's modes and of kernels that Python registered. Some
            attributes change in every pass, so it is not compared: it only says whether outputs are run again.
        outputs: on fixed prompts; None where more than the weights shows that it is not as it was loaded.
    """

    hooks: tuple[int, ...]
    global_hooks: int
    modules: int
    weights: int
    buffers: int
    training: int
    functions: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]
    tokenizer: str
    configuration: str
    details: int
    outputs: Outputs | None

    def same_numbers(self, other: State) -> bool:
        """Whether a model in this state and in the other gives the same numbers, bit by bit."""
        return self._comparable == other._comparable

    def same_apart_from_weights(self, other: State) -> bool:
        """Whether the two differ in parameters alone, as a damage makes them."""
        without_weights = [state._comparable._replace(weights=0, outputs=None) for state in (self, other)]
        return without_weights[0] == without_weights[1]

    @property
    def _comparable(self) -> State:
        """The state without the details and the settings that move no number."""
        settings = tuple(pair for pair in self.settings if pair[0] not in WITHOUT_EFFECT)
        return self._replace(settings=settings, details=0)

    @property
    def digest(self) -> str:
        """A hash of all that decides its numbers and means the same in another process."""
        parts = (self.weights, self.buffers, self.tokenizer, self.configuration, self.outputs and self.outputs.digest)
        return hashlib.sha256(repr((parts, self._comparable.settings)).encode()).hexdigest()[:16]


def state_of(
    bridge: Any, functions: Functions, outputs: Callable[[], Outputs], loaded: State | None, seen: State | None
) -> State:
    """The current state of a model.

    Args:
        bridge: the model.
        functions: those that it was loaded with.
        outputs: runs the fixed prompts. It is called only where at most the weights differ from the loaded state:
            foreign hooks must not be called by a check.
        loaded: its state when it was loaded; None while that is recorded.
        seen: a state of it whose outputs were run: where all else is as it was then, they are not run again.
    """
    modules = tuple(bridge.modules())
    state = State(
        hooks=tuple(id(hook) for module in modules for hook in _hooks_of(module)),
        global_hooks=global_hooks(),
        modules=hash(tuple(map(_identity, modules))),
        weights=hash_of_bits(bridge.parameters()),
        buffers=hash_of_bits(bridge.buffers()),
        training=sum(module.training for module in modules),
        functions=functions.replaced,
        settings=settings_now(),
        tokenizer=around_texts(bridge.tokenizer),
        configuration=configuration_of(bridge),
        details=hash((tuple(map(_attributes, modules)), modes_and_kernels())),
        outputs=None,
    )
    if seen is not None and state == seen._replace(outputs=None):
        return seen
    runs_safely = loaded is None or state._replace(buffers=loaded.buffers).same_apart_from_weights(loaded)
    state = state._replace(outputs=outputs() if runs_safely else None)
    # Hashed again: some rotary tables grow with a long prompt, and shrink again in the fixed prompts' pass.
    return state._replace(buffers=hash_of_bits(bridge.buffers()))


def outputs_of(bridge: Any, points: Mapping[str, Any], tokens: Tensor) -> Outputs:
    """Logits at END and z of every head on fixed prompts, by the bridge's own pass.

    Args:
        bridge: the model.
        points: its hook points by name.
        tokens: the prompts, ``(row, pos)``.
    """
    names = [name for name in points if name.endswith("attn.hook_z")]
    z: dict[str, Tensor] = {}
    hooks: list[tuple[str, Hook]] = [(name, storing(z, name)) for name in names]
    hooks.append(("unembed.hook_in", lambda value, hook: value[:, -1:].contiguous()))  # noqa: ARG005
    with torch.inference_mode(), hooked(points, hooks):
        logits = bridge(tokens, return_type="logits")
        parts = [logits[:, -1], *(z[name] for name in names if name in z)]
        values = torch.cat([part.flatten() for part in parts])
        bits = values.view(INTEGERS[values.element_size()]).cpu()
    return Outputs(hashlib.sha256(bits.numpy().tobytes()).hexdigest()[:16], values.float().cpu())


def fixed_tokens(d_vocab: int, shape: tuple[int, int], seed: int) -> Tensor:
    """Random token ids, the same in every process for a vocabulary of this size.

    Args:
        d_vocab: the size of the vocabulary.
        shape: rows and tokens of each.
        seed: of the generator.
    """
    return torch.randint(0, d_vocab, shape, generator=torch.Generator().manual_seed(seed), device="cpu")


def changes(loaded: State, current: State, precision: str) -> list[str]:
    """The differences between two states, in words: ``["1 hook attached", "changed weights"]``.

    Args:
        loaded: when the model was loaded.
        current: of the same model later.
        precision: of the model, such as ``float32``.
    """
    differences = []
    if extra := len(current.hooks) - len(loaded.hooks):
        differences.append(f"{counted(abs(extra), 'hook')} {'attached' if extra > 0 else 'taken away'}")
    elif current.hooks != loaded.hooks:
        differences.append("other hooks attached")
    if current.global_hooks != loaded.global_hooks:
        differences.append("hooks on every module (torch's global ones)")
    if current.modules != loaded.modules:
        differences.append("other modules, parameters or forward functions")
    if current.weights != loaded.weights:
        differences.append("changed weights")
    if current.buffers != loaded.buffers:
        differences.append("changed buffers")
    if current.training != loaded.training:
        differences.append(f"the model in {'train' if current.training > loaded.training else 'eval'} mode")
    differences += [f"{name} replaced" for name in current.functions if name not in loaded.functions]
    pairs = zip(loaded.settings, current.settings, strict=True)
    differences += [f"{name} at {other} (it was {value})" for (name, value), (_, other) in pairs if other != value]
    if current.tokenizer != loaded.tokenizer:
        differences.append("a changed tokenizer")
    if current.configuration != loaded.configuration:
        differences.append("a changed configuration")
    if not differences and loaded.outputs and current.outputs and current.outputs.differ(loaded.outputs, precision):
        differences.append("other outputs on fixed prompts")
    return differences


def around_texts(tokenizer: Any) -> str:
    """The settings of a tokenizer that decide what it puts around a text, and the size of its vocabulary, as a text."""
    if tokenizer is None:
        return ""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = [repr(getattr(backend, name, None)) for name in ("normalizer", "pre_tokenizer", "post_processor")]
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "add_bos_token", "add_prefix_space",
             "padding_side", "truncation_side")  # fmt: skip
    return f"{len(tokenizer)} {[getattr(tokenizer, name, None) for name in names]} {parts}"


def meaning_of(tokenizer: Any) -> str:
    """All that decides which ids a tokenizer gives for a text: its settings and its vocabulary, as a text."""
    if tokenizer is None:
        return ""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    return f"{around_texts(tokenizer)} {vocabulary}"


def configuration_of(bridge: Any) -> str:
    """A hash of the configuration of a model: what decides, beside the weights, what it computes.

    Names, paths and the device are left out: they decide nothing.
    """
    config: Any = getattr(bridge.original_model, "config", None)
    settings = {**(config.to_dict() if hasattr(config, "to_dict") else {}), **bridge.cfg.to_dict()}
    names = [name for name in settings if not name.endswith(("name", "_path")) and name != "device"]
    return hashlib.sha256(repr(sorted((name, str(settings[name])) for name in names)).encode()).hexdigest()


def _hooks_of(module: torch.nn.Module) -> list[Any]:
    """The hooks of torch that a module carries."""
    # transformers installs hooks of its own, once and for good, when outputs are first captured.
    groups = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    hooks = [hook for group in groups if group for hook in group.values()]
    return [hook for hook in hooks if not str(getattr(hook, "__module__", "")).startswith("transformers.")]


def _attributes(module: torch.nn.Module) -> tuple[Any, ...]:
    """The attributes of a module that are no parts of it: plain values by value, others by which object they are."""
    return tuple(
        (name, value if isinstance(value, _PLAIN) else id(value))
        for name, value in vars(module).items()
        if name[0] != "_" and name not in _HOOK_LISTS
    )


def _identity(module: torch.nn.Module) -> tuple[int, ...]:
    """Which module it is, the functions that were put in place of its own, and which parameters it has."""
    attributes = vars(module)
    return (
        id(module),
        id(attributes.get("forward")),
        id(attributes.get("hook_conversion")),
        *map(id, module._parameters.values()),
    )
