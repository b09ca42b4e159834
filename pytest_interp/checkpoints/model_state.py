"""What a model is at one moment: all that decides which numbers it gives, as values that can be compared.

Weights, hooks, modules and torch's settings are read directly. What cannot be listed (a patched kernel, an attribute of
a module) shows in the outputs on fixed prompts: the logits, and z of every head, since equal logits hide exchanged
heads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pytest_interp.checkpoints.hooks import Hook, hooked, storing
from pytest_interp.checkpoints.process_state import WITHOUT_EFFECT, Functions, global_hooks, settings_now
from pytest_interp.tolerance import FLOAT_NOISE

if TYPE_CHECKING:
    from torch import Tensor

FIXED_PROMPTS = (2, 24)
"""Rows and tokens of the prompts on which outputs are compared."""
_BLOCK = 2**17
"""Numbers that are hashed at a time."""
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Outputs:
    """What a model gives on fixed prompts.

    Attributes:
        digest: of their bits; equal where every bit is.
        values: logits at END and z of every head, one vector.
    """

    digest: str
    values: Tensor = field(compare=False, repr=False)

    def differ(self, other: Outputs, precision: str) -> bool:
        """Whether they differ by more than float noise."""
        if self.values.shape != other.values.shape:
            return True
        largest = float(other.values.abs().max())
        difference = float((self.values - other.values).abs().max())
        return not difference <= FLOAT_NOISE[precision] * max(1.0, largest / 20)


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
    outputs: Outputs | None

    def same_numbers(self, other: State) -> bool:
        """Whether a model in this state and in the other gives the same numbers, bit by bit."""
        return self._comparable == other._comparable

    def same_apart_from_weights(self, other: State) -> bool:
        """Whether the two differ in parameters alone, as a damage makes them."""
        mine, theirs = (state._comparable._replace(weights=0, outputs=None) for state in (self, other))
        return mine == theirs

    @property
    def _comparable(self) -> State:
        settings = tuple(pair for pair in self.settings if pair[0] not in WITHOUT_EFFECT)
        return self._replace(settings=settings)

    @property
    def digest(self) -> str:
        """A hash of all that decides its numbers and means the same in another process."""
        parts = (self.weights, self.buffers, self.tokenizer, self.configuration, self.outputs and self.outputs.digest)
        return hashlib.sha256(repr((parts, self._comparable.settings)).encode()).hexdigest()[:16]


def state_of(bridge: Any, functions: Functions, outputs: Callable[[], Outputs], loaded: State | None) -> State:
    """The state of a model now.

    Args:
        bridge: the model.
        functions: as they were when it was loaded.
        outputs: runs the fixed prompts; not called where more than weights differ, so that hooks of others are not
            called by us.
        loaded: its state when it was loaded; None while that is taken.
    """
    modules = tuple(bridge.modules())
    state = State(
        hooks=tuple(id(hook) for module in modules for hook in _hooks_of(module)),
        global_hooks=global_hooks(),
        modules=hash(tuple(map(_identity, modules))),
        weights=hash_of_bits(bridge.parameters()),
        buffers=0,
        training=sum(module.training for module in modules),
        functions=functions.replaced,
        settings=settings_now(),
        tokenizer=around_texts(bridge.tokenizer),
        configuration=configuration_of(bridge),
        outputs=None,
    )
    seen = outputs() if loaded is None or state.same_apart_from_weights(loaded._replace(buffers=0)) else None
    # Some rotary tables grow with a long prompt and shrink with the next short one, as the fixed prompts are.
    return state._replace(outputs=seen, buffers=hash_of_bits(bridge.buffers()))


def outputs_of(bridge: Any, points: Mapping[str, Any], tokens: Tensor) -> Outputs:
    """Logits at END and z of every head on fixed prompts, by the bridge's own pass."""
    names = [name for name in points if name.endswith("attn.hook_z")]
    kept: dict[str, Tensor] = {}
    hooks: list[tuple[str, Hook]] = [(name, storing(kept, name)) for name in names]
    hooks.append(("unembed.hook_in", lambda value, hook: value[:, -1:].contiguous()))  # noqa: ARG005
    with torch.inference_mode(), hooked(points, hooks):
        logits = bridge(tokens, return_type="logits")
        parts = [logits[:, -1], *(kept[name] for name in names if name in kept)]
        values = torch.cat([part.flatten() for part in parts])
        bits = values.view(_INTEGERS[values.element_size()]).cpu()
    return Outputs(hashlib.sha256(bits.numpy().tobytes()).hexdigest()[:16], values.float().cpu())


def fixed_tokens(d_vocab: int, shape: tuple[int, int], seed: int) -> Tensor:
    """Token ids that are the same for every model of this vocabulary, in each process."""
    return torch.randint(0, d_vocab, shape, generator=torch.Generator().manual_seed(seed), device="cpu")


def changes(before: State, now: State, precision: str) -> list[str]:
    """What is different, in words."""
    said = []
    if extra := len(now.hooks) - len(before.hooks):
        said.append(f"{abs(extra)} hook{'s' if abs(extra) != 1 else ''} {'attached' if extra > 0 else 'taken away'}")
    elif now.hooks != before.hooks:
        said.append("other hooks attached")
    if now.global_hooks != before.global_hooks:
        said.append("hooks on every module (torch's global ones)")
    if now.modules != before.modules:
        said.append("other modules, parameters or forward functions")
    if now.weights != before.weights:
        said.append("changed weights")
    if now.buffers != before.buffers:
        said.append("changed buffers")
    if now.training != before.training:
        said.append(f"the model in {'train' if now.training > before.training else 'eval'} mode")
    said += [f"{name} replaced" for name in now.functions if name not in before.functions]
    pairs = zip(before.settings, now.settings, strict=True)
    said += [f"{name} at {new} (it was {old})" for (name, old), (_, new) in pairs if new != old]
    if now.tokenizer != before.tokenizer:
        said.append("a changed tokenizer")
    if now.configuration != before.configuration:
        said.append("a changed configuration")
    if not said and before.outputs and now.outputs and now.outputs.differ(before.outputs, precision):
        said.append("other outputs on fixed prompts")
    return said


def hash_of_bits(tensors: Iterable[Tensor]) -> int:
    """A hash of the bits of tensors, in 64-bit arithmetic on their own device: a change of any entry or place shows."""
    total = 0
    for number, tensor in enumerate(tensors, start=1):
        bits = tensor.detach().contiguous()
        if not bits.numel():
            continue
        # Eight bytes at a time where a row can be cut so: no conversion is needed.
        wide = bits.ndim and bits.shape[-1] * bits.element_size() % 8 == 0 and bits.data_ptr() % 8 == 0
        bits = bits.view(torch.int64 if wide else _INTEGERS[bits.element_size()])
        rows = bits.reshape(len(bits), -1) if bits.ndim else bits.reshape(1, 1)
        total += number * _hash_of_rows(rows)
    return total


def _hash_of_rows(rows: Tensor) -> int:
    """Entries times pseudo-random numbers of their row and column, modulo 2**64."""
    by_column, step = _odd_numbers(rows.shape[1], rows.device), max(1, _BLOCK // rows.shape[1])
    sums = []
    for start in range(0, len(rows), step):  # what fits into a processor's cache at a time
        part = rows[start : start + step].long()
        # The highest bit would be lost modulo 2**64 where it changes twice; it is a float's sign.
        mixed = part >> 29
        mixed ^= part
        mixed *= by_column
        sums.append(mixed.sum(1))
    joined = torch.cat(sums)
    return int(((joined ^ (joined >> 31)) * _odd_numbers(len(rows), rows.device)).sum())


@cache
def _odd_numbers(count: int, device: torch.device) -> Tensor:
    """Pseudo-random odd numbers, the same in each process (splitmix64)."""
    numbers = torch.arange(1, count + 1, device=device, dtype=torch.int64) * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        numbers = (numbers ^ (numbers >> shift)) * factor
    return numbers ^ (numbers >> 31) | 1


def around_texts(tokenizer: Any) -> str:
    """What a tokenizer puts around a text, and how many tokens it knows."""
    if tokenizer is None:
        return ""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = [repr(getattr(backend, name, None)) for name in ("normalizer", "pre_tokenizer", "post_processor")]
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "add_bos_token", "add_prefix_space",
             "padding_side", "truncation_side")  # fmt: skip
    return f"{len(tokenizer)} {[getattr(tokenizer, name, None) for name in names]} {parts}"


def meaning_of(tokenizer: Any) -> str:
    """All that decides what a tokenizer makes of a text."""
    if tokenizer is None:
        return ""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    return f"{around_texts(tokenizer)} {vocabulary}"


def configuration_of(bridge: Any) -> str:
    """A hash of what decides, beside the weights, what a model computes; names and places left out."""
    own: Any = getattr(bridge.original_model, "config", None)
    settings = {**(own.to_dict() if hasattr(own, "to_dict") else {}), **bridge.cfg.to_dict()}
    names = [name for name in settings if not name.endswith(("name", "_path")) and name != "device"]
    return hashlib.sha256(repr(sorted((name, str(settings[name])) for name in names)).encode()).hexdigest()


def _hooks_of(module: torch.nn.Module) -> list[Any]:
    # transformers installs hooks of its own, once and for good, when outputs are first captured.
    groups = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    hooks = [hook for group in groups if group for hook in group.values()]
    return [hook for hook in hooks if not str(getattr(hook, "__module__", "")).startswith("transformers.")]


def _identity(module: torch.nn.Module) -> tuple[int, ...]:
    own = vars(module)
    return id(module), id(own.get("forward")), id(own.get("hook_conversion")), *map(id, module._parameters.values())
