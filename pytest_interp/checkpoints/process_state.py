"""What all models of a process share: torch's settings, its hooks on every module, and the functions they call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType
from typing import Any

import torch

_NAMESPACES: tuple[Any, ...] = (torch, torch.linalg, torch.nn.functional, torch.Tensor, torch.nn.Module)
"""Modules and classes whose functions every model calls; a model's own modules and classes come in addition."""


def _set_default_device(device: torch.device) -> None:
    # The CPU is the default of a process that never chose one; naming it would put every call through a mode.
    torch.set_default_device(None if device.type == "cpu" else device)


SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (torch.get_default_device, _set_default_device),
    "float32 matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "deterministic algorithms": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "autocast on the CPU": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda enabled: torch.set_autocast_enabled("cpu", enabled),
    ),
    "autocast on CUDA": (
        lambda: torch.is_autocast_enabled("cuda"),
        lambda enabled: torch.set_autocast_enabled("cuda", enabled),
    ),
    "gradients": (torch.is_grad_enabled, torch._C._set_grad_enabled),
}
"""Settings of the process that numbers depend on: how each is read, and how it is set."""

WITHOUT_EFFECT = ("gradients",)
"""Settings that move no number: every pass runs in inference mode."""

_HELPERS = ("transformers.masking_utils", "transformers.modeling_rope_utils", "transformers.activations")
"""Modules of transformers whose functions every model of it may call."""
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodDescriptorType, property, classmethod, staticmethod)

_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
    "_global_forward_hooks_always_called",
    "_global_forward_hooks_with_kwargs",
)


class Functions:
    """The functions that a model computes with, as they are when it is loaded."""

    def __init__(self, bridge: Any) -> None:
        """Records the functions of torch, of the model's classes and of the modules that define them.

        Args:
            bridge: the model.
        """
        kinds = {type(module): None for module in bridge.modules()}
        classes = {base: None for kind in kinds for base in kind.__mro__ if base is not object}
        homes = [
            sys.modules[name] for name in (*(kind.__module__ for kind in classes), *_HELPERS) if name in sys.modules
        ]
        self._saved = {space: _functions_in(space) for space in dict.fromkeys((*_NAMESPACES, *classes, *homes))}
        self._codes = [
            (space, name, function, function.__code__)
            for space, saved in self._saved.items()
            for name, function in saved.items()
            if isinstance(function, FunctionType)
        ]

    @property
    def replaced(self) -> tuple[str, ...]:
        """The names of the functions that have been replaced since, or whose code has."""
        return tuple(f"{_name_of(space)}.{name}" for space, name in self._changed())

    def restore(self) -> None:
        """Puts the recorded functions and their code back, and deletes functions that were added to a class."""
        for _, _, function, code in self._codes:
            if function.__code__ is not code:
                function.__code__ = code
        for space, name in list(self._changed()):
            if name in self._saved[space]:
                setattr(space, name, self._saved[space][name])
            else:
                delattr(space, name)

    def _changed(self) -> Iterator[tuple[Any, str]]:
        """The module or class and the name of each function that was replaced, in place too, or added to a class."""
        yield from ((space, name) for space, name, function, code in self._codes if function.__code__ is not code)
        for space, saved in self._saved.items():
            current = vars(space)
            yield from (
                (space, name)
                for name, function in saved.items()
                if current.get(name) is not function and not _of_compiler(current.get(name))
            )
            if isinstance(space, type):  # an added method hides one that is inherited
                yield from (
                    (space, name)
                    for name, function in _functions_in(space).items()
                    if name not in saved and not _of_transformers(function)
                )


class Process:
    """Torch's settings and its hooks on every module, as they are when a model is loaded.

    Attributes:
        settings: name and value of each.
    """

    def __init__(self) -> None:
        """Records the current settings and hooks."""
        self.settings = settings_now()
        self._hooks = {name: dict(_global_hooks(name)) for name in _GLOBAL_HOOKS}

    def restore(self) -> None:
        """Puts the recorded settings back, and removes hooks that were attached since."""
        for name, value in self.settings:
            read, write = SETTINGS[name]
            if read() != value:
                write(value)
        for name, hooks in self._hooks.items():
            _global_hooks(name).clear()
            _global_hooks(name).update(hooks)


def settings_now() -> tuple[tuple[str, Any], ...]:
    """Name and current value of each setting."""
    return tuple((name, read()) for name, (read, _) in SETTINGS.items())


def global_hooks() -> int:
    """A hash of the hooks that torch calls on every module."""
    return hash(tuple(id(hook) for name in _GLOBAL_HOOKS[:4] for hook in _global_hooks(name).values()))


def modes_and_kernels() -> tuple[int, ...]:
    """How many of torch's modes are entered, and how many kernels Python code has registered."""
    # torch has no public names for these.
    modes = torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()
    return *modes, len(torch.library._impls)


def _global_hooks(name: str) -> dict[int, Any]:
    """One of torch's dictionaries of hooks on every module."""
    hooks: dict[int, Any] = getattr(torch.nn.modules.module, name)
    return hooks


def _functions_in(space: Any) -> dict[str, Any]:
    """The functions and properties of a module or class, by name."""
    return {name: value for name, value in list(vars(space).items()) if isinstance(value, _FUNCTIONS)}


def _of_compiler(function: Any) -> bool:
    """Whether torch.compile put a function in place, which it does on first use."""
    return str(getattr(function, "__module__", "")).startswith("torch._dynamo")


def _of_transformers(function: Any) -> bool:
    """Whether transformers added a function, as it does to every module when it first builds a model."""
    return str(getattr(function, "__module__", "")).startswith("transformers.")


def _name_of(space: Any) -> str:
    """The full name of a module or class."""
    return space.__name__ if not isinstance(space, type) else f"{space.__module__}.{space.__name__}"
