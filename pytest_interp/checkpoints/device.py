"""Devices: the only module that chooses a device, moves a model to it and describes it.

A device is a ``torch.device`` as a tensor on it names it (``cuda:0``, not ``cuda``), so that two of them can be
compared. All other modules use ``checkpoint.device``, or the device of a tensor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from pytest_interp.checkpoints.sources.library_errors import as_usage_error
from pytest_interp.errors import UsageError
from pytest_interp.text import shown

_UNKNOWN_MEMORY = 2**30


def automatic() -> str:
    """The device that ``auto`` stands for: CUDA or MPS where there is one, else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_of(name: str) -> torch.device:
    """The device that ``auto`` or a name stands for, as its tensors name it.

    Args:
        name: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:1``.

    Raises:
        UsageError: it cannot be used on this machine.

    Example:
        >>> device_of("cpu")
        device(type='cpu')
    """
    with as_usage_error(f"--interp-device {shown(name)} cannot be used", "pass auto, cuda, mps or cpu"):
        tensor = torch.ones(2, device=automatic() if name == "auto" else name)
        tensor.sum().item()  # some devices (meta) exist, but hold no numbers
        return tensor.device


def moved(bridge: Any, device: torch.device, name: str, dtype: torch.dtype | None = None) -> Any:
    """Moves a bridge to a device, in place, and returns it.

    Args:
        bridge: as it was built.
        device: the target.
        name: of the checkpoint, for the message.
        dtype: of its weights afterwards; None leaves it.

    Raises:
        UsageError: its parts are on several devices, or some cannot be moved.
    """
    places = _places(bridge)
    if places - {device}:
        if len(places) > 1 or getattr(bridge.cfg, "n_devices", 1) > 1:
            raise UsageError(
                f"{name} stands on {' and '.join(sorted(map(str, places)))}; a checkpoint computes on one device: "
                f"build it with device='{device}', without a device_map"
            )
        with as_usage_error(f"{name} cannot be put on {device}", "pass another --interp-device"):
            bridge = bridge.to(device, print_details=False)
        if remaining := _places(bridge) - {device}:
            raise UsageError(
                f"{name} was put on {device}, and part of it stays on {' and '.join(sorted(map(str, remaining)))}; "
                f"pass --interp-device {min(map(str, remaining))}, or a bridge that was built on {device}"
            )
    if dtype is not None and any(parameter.dtype != dtype for parameter in bridge.parameters()):
        bridge = bridge.to(dtype, print_details=False)
    return bridge


def _places(bridge: Any) -> set[torch.device]:
    """The devices of a bridge's parameters and buffers."""
    return {tensor.device for tensor in (*bridge.parameters(), *bridge.buffers())}


def described(device: torch.device) -> str:
    """A device for a reader: ``cpu``, or ``NVIDIA H200 (cuda:0, 140 GB)``."""
    if device.type != "cuda":
        return str(device)
    card = torch.cuda.get_device_properties(device)
    return f"{card.name} ({device}, {card.total_memory / 2**30:.0f} GB)"


def free_memory(device: torch.device) -> int:
    """The number of free bytes on a GPU; for other devices, of the machine's memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN_MEMORY


@dataclass
class Peak:
    """The most memory that was taken at once.

    Attributes:
        bytes: beyond what was taken before; 0 where that is not measured.
    """

    bytes: int = 0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measures the most memory that is taken at once inside the block, on a GPU; elsewhere nothing is measured.

    The allocator counts in the host, so the CPU does not wait. Its highest count starts anew.

    Yields:
        Filled when the block ends.
    """
    peak = Peak()
    if device.type != "cuda":
        yield peak
        return
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    yield peak
    peak.bytes = torch.cuda.max_memory_allocated(device) - before


def too_little_memory(name: str, device: torch.device, length: int, reason: str) -> UsageError:
    """The error of a prompt that does not fit a device.

    Args:
        name: of the checkpoint.
        device: that ran out of memory.
        length: of the prompt, in tokens.
        reason: what torch says of it; its first sentence is shown.
    """
    return UsageError(
        f"a pass over one prompt of {length} tokens does not fit the memory of {device} beside {name}: "
        f"{reason.partition('. ')[0]}; pass --interp-device cpu, or --interp-dtype bfloat16"
    )


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device; the CPU does not wait for a GPU.

    Args:
        tensor: on the CPU. It may be changed afterwards: CUDA has copied it when this returns. MPS need not have, so it
            is waited for.
        device: where it is needed.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def has_tf32(device: torch.device) -> bool:
    """Whether a device has TF32: products of float32 whose factors are rounded to 10 bits of mantissa."""
    return device.type == "cuda"


def use_tf32(enabled: bool) -> None:
    """Turns TF32 on for CUDA, or off everywhere, for the whole process."""
    torch.set_float32_matmul_precision("highest")
    if enabled:
        # Not set_float32_matmul_precision("high"): that lets products on the CPU be coarser too.
        torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = enabled


def precision_of(device: torch.device, dtype: torch.dtype) -> str:
    """What decides on float noise: ``tf32`` where products of float32 are rounded to it, else the name of the dtype.

    Args:
        device: of the model.
        dtype: of its weights.
    """
    name = str(dtype).removeprefix("torch.")
    coarse = has_tf32(device) and torch.get_float32_matmul_precision() != "highest"
    return "tf32" if coarse and name == "float32" else name
