"""A second device where there is none: tensors of the CPU that are marked, and refused beside others as CUDA does it.

``cpu:0`` stands for the device. torch computes there as on ``cpu``, so the numbers are real; and it keeps the two
names apart in arguments, so that ``tensor.to("cpu:0")`` and ``torch.zeros(2, device="cpu:0")`` can be told from those
of the CPU. What is put there is marked, with all that is computed from it; ``tensor.device`` of a marked one says so.

Refused is what CUDA refuses: an operation on tensors of both, but for
- a tensor of the CPU without dimensions beside one of the device (not where it is joined, or is itself an index);
- ``x[i]`` and ``x[i] = y`` of a marked ``x`` with an index of the CPU; the reverse is refused;
- ``copy_`` and ``to``, which bring a tensor to the other side;
and ``numpy()`` of a marked tensor, and a generator of the CPU that fills one.

What makes a CPU wait for a GPU is counted: ``item``, ``tolist``, ``bool``, ``float`` and ``int`` of a tensor,
``cpu()``, ``nonzero``, indexing by a mask, comparing as a whole.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import pytest_interp

STAND_IN = torch.device("cpu", 0)
CPU = torch.device("cpu")
_PACKAGE = str(Path(pytest_interp.__file__).parent)

_JOINED = {"cat", "stack", "gather", "index_select", "embedding", "scatter", "scatter_", "scatter_add", "take",
           "take_along_dim", "mm", "bmm", "addmm", "matmul"}  # fmt: skip
"""Operations in which a tensor of the CPU without dimensions is refused too."""
_WAITING = {"_local_scalar_dense": "item, bool, float, int", "nonzero": "nonzero", "masked_select": "mask",
            "equal": "equal", "allclose": "equal", "_unique2": "unique", "unique_dim": "unique",
            "unique_consecutive": "unique", "bincount": "bincount", "is_nonzero": "item, bool, float, int"}  # fmt: skip
_OF_DATA = (torch.tensor, torch.as_tensor, torch.asarray)


class Mixed(RuntimeError):
    """An operation on tensors of two devices."""


class _Marks:
    """The storages that stand on the device. A view has the storage of what it is a view of."""

    def __init__(self) -> None:
        self._storages: dict[int, ref[torch.UntypedStorage]] = {}

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = id(storage)
        self._storages[address] = ref(storage, lambda _: self._storages.pop(address, None))

    def remove(self, tensor: Tensor) -> None:
        self._storages.pop(id(tensor.untyped_storage()), None)

    def __contains__(self, tensor: Tensor) -> bool:
        try:
            return id(tensor.untyped_storage()) in self._storages
        except NotImplementedError:  # no storage, as sparse tensors have none
            return False


_MARKS = _Marks()
"""Of the process: what a checkpoint or a cache of functions holds stays marked from one use to the next."""


def on_stand_in(tensor: Tensor) -> bool:
    """Whether a tensor is marked."""
    with torch._C.DisableTorchFunction():
        return tensor in _MARKS


class Seen:
    """What was seen while tensors were marked.

    Attributes:
        mixed: operations on both devices, by the line of the package that asked for them; empty where they are refused.
        waits: what makes a CPU wait for a GPU, by kind and line of the package.
        uploads: how often a tensor was put on the device, by line of the package.
        operations: how often the device computed something, by operation; views compute nothing.
    """

    def __init__(self) -> None:
        self.mixed: Counter[tuple[str, str]] = Counter()
        self.waits: Counter[tuple[str, str]] = Counter()
        self.uploads: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    def waited(self, kind: str) -> None:
        self.waits[kind, line_of_package()] += 1


def line_of_package() -> str:
    """The innermost line of the package that is running: ``measure/attribution.py:112``; empty if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return f"{frame.f_code.co_filename[len(_PACKAGE) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@contextmanager
def marked_devices(*, refuse: bool = True) -> Iterator[Seen]:
    """Tensors of ``cpu:0`` are told from those of ``cpu`` meanwhile.

    Args:
        refuse: whether an operation on both raises :class:`Mixed`; else it is counted and goes on.
    """
    seen = Seen()
    with _Operations(seen, refuse), _Functions(seen):
        yield seen


class _Operations(TorchDispatchMode):
    """Marks the result of each operation, and refuses those on both devices."""

    def __init__(self, seen: Seen, refuse: bool) -> None:
        super().__init__()
        self.seen, self.refuse = seen, refuse

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            name = func._schema.name.partition("::")[2]
            inputs = list(_tensors((*args, *kwargs.values())))
            marks = [tensor in _MARKS for tensor in inputs]
            device = kwargs.get("device")
            if name == "copy_":
                self._brought(from_device=marks[1], to_device=marks[0])
                self.seen.operations[name] += marks[0]
                return func(*args, **kwargs)
            before = set() if not name.endswith("_") else {id(inputs[0])}
            mixed = any(marks) and self._mixes(name, args, inputs, marks)
            if mixed:
                pairs = zip(inputs, marks, strict=True)
                shapes = ", ".join(f"{tuple(t.shape)} on {STAND_IN if mark else CPU}" for t, mark in pairs)
                if self.refuse:
                    raise Mixed(f"Expected all tensors to be on the same device: {name} of {shapes}")
                self.seen.mixed[f"{name} of {shapes}", line_of_package()] += 1
            self._count(name, args, marks)
            result = func(*args, **kwargs)
            marked = any(marks) if device is None else torch.device(device) == STAND_IN
            if name in ("index", "index_put", "index_put_"):
                marked = marks[0]
            if name == "_to_copy" and device is not None:
                self._brought(from_device=any(marks), to_device=marked)
            self._check_generator(name, kwargs, marked or (bool(before) and any(marks)))
            self.seen.operations[name] += marked and not func.is_view
            for tensor in _tensors((result,)):
                if marked:
                    _MARKS.add(tensor)
            return result

    def _mixes(self, name: str, args: Any, inputs: list[Tensor], marks: list[bool]) -> bool:
        if name in ("_to_copy", "set_"):
            return False
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            indices = list(_tensors((args[1],)))
            values = list(_tensors(args[2:3]))
            if not marks[0]:
                return any(marks)
            return any(value not in _MARKS and value.ndim for value in values) and bool(indices)
        others = [tensor for tensor, mark in zip(inputs, marks, strict=True) if not mark]
        return any(tensor.ndim or name in _JOINED for tensor in others)

    def _count(self, name: str, args: Any, marks: list[bool]) -> None:
        if not any(marks):
            return
        if name in _WAITING:
            self.seen.waited(_WAITING[name])
        if name == "repeat_interleave" and len(marks) > 1:
            self.seen.waited("repeat_interleave")
        if name.startswith("index") and len(args) > 1 and isinstance(args[1], list | tuple):
            masks = [index for index in _tensors((args[1],)) if index.dtype in (torch.bool, torch.uint8)]
            if any(mask in _MARKS for mask in masks):
                self.seen.waited("mask")

    def _brought(self, *, from_device: bool, to_device: bool) -> None:
        if from_device and not to_device:
            self.seen.waited("cpu")
        if to_device and not from_device:
            self.seen.uploads[line_of_package()] += 1

    def _check_generator(self, name: str, kwargs: Mapping[str, Any], marked: bool) -> None:
        generator = kwargs.get("generator")
        if marked and generator is not None and generator.device == CPU and self.refuse:
            raise Mixed(f"Expected a generator of the device, found one of the CPU: {name}")


class _Functions(TorchFunctionMode):
    """What never reaches an operation, since both devices are the CPU: their names, and moving between them."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not args or not isinstance(args[0], Tensor):
            return self._made(func, args, kwargs)
        tensor, name = args[0], getattr(func, "__name__", "")
        if name == "__get__" and getattr(func, "__self__", None) is Tensor.device:
            return STAND_IN if tensor in _MARKS else func(*args, **kwargs)
        if name == "to" and func is Tensor.to:
            return self._moved(tensor, *_asked(args[1:], kwargs))
        if func is Tensor.cpu:
            return self._moved(tensor, CPU, None, copy=False)
        if func in (Tensor.numpy, Tensor.__array__) and tensor in _MARKS:
            raise TypeError("can't convert cpu:0 device type tensor to numpy. Use Tensor.cpu() to copy it first")
        if func is Tensor.tolist and tensor in _MARKS:
            self.seen.waited("tolist")
        if func is Tensor.new_tensor:
            result = func(*args, **kwargs)
            return self._put(result, kwargs.get("device", STAND_IN if tensor in _MARKS else CPU))
        return self._made(func, args, kwargs)

    def _made(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func not in _OF_DATA:
            return func(*args, **kwargs)
        device = kwargs.get("device")
        if device is None:
            data = args[0] if args else kwargs.get("data")
            device = STAND_IN if isinstance(data, Tensor) and data in _MARKS else CPU
        rest = {name: value for name, value in kwargs.items() if name != "device"}
        return self._put(func(*args, **rest), torch.device(device))

    def _put(self, tensor: Tensor, device: torch.device | str) -> Tensor:
        if torch.device(device) != STAND_IN or tensor in _MARKS:
            return tensor
        tensor = tensor.clone()  # as_tensor may have the storage of what it was given
        _MARKS.add(tensor)
        self.seen.uploads[line_of_package()] += 1
        return tensor

    def _moved(self, tensor: Tensor, device: torch.device | None, dtype: torch.dtype | None, copy: bool) -> Tensor:
        mark = tensor in _MARKS
        result = tensor if dtype is None else tensor.to(dtype)
        goal = mark if device is None else device == STAND_IN
        if goal == mark:
            return result.clone() if copy and result is tensor else result
        result = result.clone()  # of a storage of its own
        if goal:
            _MARKS.add(result)
            self.seen.uploads[line_of_package()] += 1
        else:
            _MARKS.remove(result)
            self.seen.waited("cpu")
        return result


def _asked(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[torch.device | None, torch.dtype | None, bool]:
    """Device, dtype and whether a copy is wanted, of the arguments of ``Tensor.to``."""
    other = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
    if other is not None:
        return (STAND_IN if other in _MARKS else CPU), other.dtype, bool(kwargs.get("copy"))
    copy = bool(kwargs.get("copy"))
    rest = {name: value for name, value in kwargs.items() if name != "copy"}
    device, dtype, _, _ = torch._C._nn._parse_to(*args, **rest)
    return device, dtype, copy


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
