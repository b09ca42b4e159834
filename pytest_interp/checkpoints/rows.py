"""Which rows of a batch of prompts take part: known on the CPU, and usable as an index on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.device import sent

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a batch of prompts.

    Attributes:
        numbers: of the rows, in ascending order, on the CPU: positions and masks follow from them there.
        index: selects these rows from the first axis of a tensor on the device; a slice where all rows take part, so
            that nothing is copied.
    """

    numbers: Int[Tensor, " row"]
    index: slice | Int[Tensor, " row"]

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of(cls, numbers: Sequence[int], size: int, device: torch.device) -> Rows:
        """These rows of a batch.

        Args:
            numbers: of the rows, from 0, in ascending order.
            size: how many rows the batch has.
            device: of the tensors that are to be indexed.

        Example:
            >>> Rows.of([0, 1], 2, torch.device("cpu")).index
            slice(None, None, None)
            >>> Rows.of([0, 2], 3, torch.device("cpu")).index
            tensor([0, 2])
        """
        return cls(torch.tensor(numbers, dtype=torch.long), index_of(numbers, size, device))


def index_of(numbers: Sequence[int], size: int, device: torch.device) -> slice | Int[Tensor, " number"]:
    """What selects these entries of an axis: a slice where it can, else their numbers on the device.

    Args:
        numbers: of the entries, from 0.
        size: how many entries the axis has.
        device: of the tensor that is to be indexed.

    Example:
        >>> index_of([2, 3], 5, torch.device("cpu"))
        slice(2, 4, None)
    """
    if list(numbers) == list(range(size)):
        return slice(None)
    if numbers and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return slice(numbers[0], numbers[-1] + 1)
    return sent(torch.tensor(numbers, dtype=torch.long), device)
