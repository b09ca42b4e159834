"""Describes the precision and device of a run for its header, and sets TF32 in torch accordingly."""

from __future__ import annotations

import pytest

from pytest_interp.errors import UsageError
from pytest_interp.plugin.options import Options


def computed_with(options: Options) -> str:
    """Returns the precision and the device that claims are judged with.

    Args:
        options: of the run.

    Returns:
        Such as ``float32 on cpu``; with what the user wrote where that is no device here.
    """
    from pytest_interp.checkpoints.device import described, device_of, has_tf32

    try:
        device = device_of(options.device)
    except UsageError:  # loading the model raises it again; the header must not
        return f"{options.dtype} on {options.device}"
    tf32, missing = "", ""
    if options.tf32 and options.dtype == "float32":
        tf32, missing = (" with products in TF32", "") if has_tf32(device) else ("", " (which has no TF32)")
    return f"{options.dtype}{tf32} on {described(device)}{missing}"


def choose_products(config: pytest.Config, options: Options) -> None:
    """Turns TF32 on or off as the option says, whatever the process had, and restores it when the session ends.

    Args:
        config: of the run; it restores the setting as it closes.
        options: of the run; TF32 is on with ``--interp-tf32`` on a device that has it.

    Raises:
        UsageError: the device is not here.
    """
    import torch

    from pytest_interp.checkpoints.device import device_of, has_tf32, use_tf32

    matmul, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    def restore() -> None:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolutions

    config.add_cleanup(restore)
    use_tf32(options.tf32 and has_tf32(device_of(options.device)))
