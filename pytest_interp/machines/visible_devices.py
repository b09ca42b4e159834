"""The GPUs that a process may use: of those that ``CUDA_VISIBLE_DEVICES`` names, and no others."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"


def devices_of(visible: str | None, cards: int) -> list[str]:
    """Returns the entries of a list of visible devices, as CUDA reads it: what follows an invalid entry does not count.

    Args:
        visible: the value of ``CUDA_VISIBLE_DEVICES``: numbers, or names that begin with ``GPU-`` or ``MIG-``; None
            where it is not set.
        cards: the number of cards of this machine, which counts where the variable is not set.

    Example:
        >>> devices_of("2, GPU-5ab8,-1,0", 8)
        ['2', 'GPU-5ab8']
        >>> devices_of(None, 2)
        ['0', '1']
    """
    if visible is None:
        return [str(index) for index in range(cards)]
    entries = (entry.strip() for entry in visible.split(","))
    return list(takewhile(lambda entry: entry and not entry.startswith("-"), entries))


def share_of(devices: list[str], worker: int, count: int = 1) -> list[str]:
    """Returns the devices of one worker: its own, as long as there are enough; then workers share.

    Args:
        devices: of the caller.
        worker: its number, from 0.
        count: how many devices a model needs.

    Returns:
        That many neighbouring entries; all where there are no more than that.

    Example:
        >>> [share_of(["4", "5", "6", "7"], worker, 2) for worker in range(3)]
        [['4', '5'], ['6', '7'], ['4', '5']]
    """
    first = worker % max(1, len(devices) // count) * count
    return devices[first : first + count]


def callers_devices() -> list[str]:
    """Returns the devices that this process may use."""
    return devices_of(os.environ.get(VARIABLE), len(list(Path("/dev").glob("nvidia[0-9]*"))))


def narrow(worker: int, count: int) -> None:
    """Makes only the share of one worker visible to this process; it has to come before the first use of CUDA.

    Nothing changes without GPUs.

    Args:
        worker: its number, from 0.
        count: how many devices a model needs.
    """
    if devices := callers_devices():
        os.environ[VARIABLE] = ",".join(share_of(devices, worker, count))
