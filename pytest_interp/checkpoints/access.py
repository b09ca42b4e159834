"""Decorators of measurements: the model is checked once for each, and callers outside of one get copies of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pytest_interp.common.arguments import subject_of

P = ParamSpec("P")
R = TypeVar("R")


def in_one_state(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function one measurement: the model is checked once, as it begins, however many functions it calls.

    Args:
        function: its first argument is an experiment or a checkpoint.

    Returns:
        The same function, within :meth:`Guard.measuring <pytest_interp.checkpoints.guard.Guard.measuring>`.
    """

    @wraps(function)
    def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        _, checkpoint = subject_of(args, kwargs)
        if checkpoint is None:
            return function(*args, **kwargs)
        with checkpoint.guard.measuring():
            return function(*args, **kwargs)

    return measured


def handed_out(method: Callable[P, R]) -> Callable[P, R]:
    """Makes a method return the model's own tensors within a measurement, and copies to other callers.

    A caller outside of a measurement may change a tensor in place; the model and its memo must not notice.

    Args:
        method: of an experiment, or of an object with a ``guard``.

    Returns:
        The same method; tensors in mappings, lists and tuples are copied too.
    """

    @wraps(method)
    def handed(*args: P.args, **kwargs: P.kwargs) -> R:
        _, owner = subject_of(args, kwargs)
        if owner.guard.is_measuring:
            return method(*args, **kwargs)
        copies: R = _copied(method(*args, **kwargs))
        return copies

    return handed


def _copied(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_copied(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
