"""How much memory a batch of passes may take."""

from __future__ import annotations

import os
import re

import torch

from pytest_interp.checkpoints.weights import Shape
from pytest_interp.errors import UsageError

_MOST = 2**28
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def budget_of(device: str) -> int:
    """By default a quarter of what is free on the device, at most 256 MB: larger batches are no faster."""
    return max(2**24, min(_MOST, _free(device) // 4))


def bytes_of(text: str) -> int:
    """The number of bytes that ``300M`` or ``2GB`` says.

    Raises:
        UsageError: it says none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)I?B?\s*", text.upper())
    if not found or not float(found[1]):
        raise UsageError(f"{text!r} is no amount of memory; pass a number of bytes, or one such as 300M or 2G")
    return int(float(found[1]) * _UNITS[found[2]])


def bytes_of_row(shape: Shape, d_mlp: int, count: int, length: int, *, logits: bool) -> int:
    """About what one prompt takes in a pass over its last positions.

    Args:
        shape: of the model.
        d_mlp: the width of its MLPs.
        count: how many positions are computed.
        length: how many the prompt has.
        logits: whether the whole vocabulary is unembedded, at one position.
    """
    wide = shape.n_heads * shape.d_head
    stream = count * (8 * shape.d_model + 3 * d_mlp + 6 * wide)
    attention = 3 * shape.n_heads * count * length + 4 * wide * length
    return 4 * (stream + attention + (2 * shape.d_vocab if logits else 0))


def _free(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 * _MOST
