"""Tensors that are read as copies: all claims of a session share the prompts, and no claim may change them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Copied:
    """A field of a dataclass that holds a tensor; each read returns a copy, so the stored tensor cannot be changed."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, group: Any, owner: type) -> Tensor:
        if group is None:
            raise AttributeError(self.name)  # so that a dataclass sees a field without a default
        tensor: Tensor = vars(group)[self.name]
        return tensor.clone()

    def __set__(self, group: Any, tensor: Tensor) -> None:
        vars(group)[self.name] = tensor.clone()


class Copies(Mapping[str, "Tensor"]):
    """A read-only mapping of names to tensors; each read returns a copy."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = {name: tensor.clone() for name, tensor in tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
