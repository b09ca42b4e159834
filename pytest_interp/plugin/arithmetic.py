"""With which precision and on which device a run computes: what its header says, and what torch is told."""

from __future__ import annotations

import pytest

from pytest_interp.errors import UsageError
from pytest_interp.plugin.options import Options


def computed_with(options: Options) -> str:
    """The precision and the device that claims are judged with: ``float32 on cpu``."""
    from pytest_interp.checkpoints.device import described, device_of, has_tf32

    try:
        device = device_of(options.device)
    except UsageError:  # said where a model is loaded
        return f"{options.dtype} on {options.device}"
    tf32, missing = "", ""
    if options.tf32 and options.dtype == "float32":
        tf32, missing = (" with products in TF32", "") if has_tf32(device) else ("", " (which has no TF32)")
    return f"{options.dtype}{tf32} on {described(device)}{missing}"


def choose_products(config: pytest.Config, options: Options) -> None:
    """TF32 stays off unless asked, whatever the process had; put back as the session ends."""
    import torch

    from pytest_interp.checkpoints.device import device_of, has_tf32, use_tf32

    matmul, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    def restore() -> None:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolutions

    config.add_cleanup(restore)
    use_tf32(options.tf32 and has_tf32(device_of(options.device)))
