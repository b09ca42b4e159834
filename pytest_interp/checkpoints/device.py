"""Where a checkpoint computes: the one place that chooses a device, brings a model there and says what it is.

A device is a ``torch.device`` as a tensor on it says it is (``cuda:0``, not ``cuda``), so that two of them can be
compared. Everything else asks ``checkpoint.device``, or the tensor at hand.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from pytest_interp.checkpoints.sources.library_errors import as_usage_error
from pytest_interp.errors import UsageError
from pytest_interp.text import shown

_UNKNOWN_MEMORY = 2**30


def automatic() -> str:
    """What ``auto`` stands for: CUDA or MPS where they are there, else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_of(name: str) -> torch.device:
    """The device that ``auto`` or a name stands for, as its tensors say it is.

    Raises:
        UsageError: it cannot be used here.
    """
    with as_usage_error(f"--interp-device {shown(name)} cannot be used", "pass auto, cuda, mps or cpu"):
        there = torch.ones(2, device=automatic() if name == "auto" else name)
        there.sum().item()  # some devices exist and hold no numbers
        return there.device


def moved(bridge: Any, device: torch.device, name: str, dtype: torch.dtype | None = None) -> Any:
    """A bridge, all of it on a device; itself, since modules are moved in place.

    Args:
        bridge: as it was built.
        device: where it has to be.
        name: of the checkpoint, for the message.
        dtype: its precision there; None leaves it.

    Raises:
        UsageError: it stands on several devices, or does not go there.
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
        if left := _places(bridge) - {device}:
            raise UsageError(
                f"{name} was put on {device}, and part of it stays on {' and '.join(sorted(map(str, left)))}; "
                f"pass --interp-device {min(map(str, left))}, or a bridge that was built on {device}"
            )
    if dtype is not None and any(parameter.dtype != dtype for parameter in bridge.parameters()):
        bridge = bridge.to(dtype, print_details=False)
    return bridge


def _places(bridge: Any) -> set[torch.device]:
    return {tensor.device for tensor in (*bridge.parameters(), *bridge.buffers())}


def described(device: torch.device) -> str:
    """A device for a reader: ``cpu``, or ``NVIDIA H200 (cuda:0, 140 GB)``."""
    if device.type != "cuda":
        return str(device)
    card = torch.cuda.get_device_properties(device)
    return f"{card.name} ({device}, {card.total_memory / 2**30:.0f} GB)"


def free_memory(device: torch.device) -> int:
    """How many bytes are free on a device, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN_MEMORY


def has_tf32(device: torch.device) -> bool:
    """Whether TF32 means anything there: products of float32 whose factors have 10 bits of mantissa."""
    return device.type == "cuda"


def use_tf32(asked: bool) -> None:
    """Turns TF32 on for CUDA, or off everywhere, for the whole process."""
    torch.set_float32_matmul_precision("highest")
    if asked:
        # Not set_float32_matmul_precision("high"): that lets products on the CPU be coarser too.
        torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = asked


def precision_of(device: torch.device, dtype: torch.dtype) -> str:
    """What float noise follows from: ``tf32`` where products of float32 are coarser, else the dtype's name."""
    name = str(dtype).removeprefix("torch.")
    coarse = has_tf32(device) and torch.get_float32_matmul_precision() != "highest"
    return "tf32" if coarse and name == "float32" else name
