"""One look at a model for each measurement, and copies of its tensors for whoever is outside of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pytest_interp.common.arguments import subject_of

P = ParamSpec("P")
R = TypeVar("R")


def in_one_state(function: Callable[P, R]) -> Callable[P, R]:
    """A function of an experiment or a checkpoint that looks at the model once, however much it measures."""

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
    """A method whose tensors are the model's own within a measurement, and copies to everybody else.

    Its object is an experiment, or has a ``guard``.
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
