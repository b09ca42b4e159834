"""pytester takes modules that an inner run imported out again; these cannot be imported twice in one process."""

import hypothesis.strategies
import scipy.special
import torch
import transformers
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge

from pytest_interp import assertions, comparison, fixtures, measure, snapshots, strategies
from pytest_interp.checkpoints import checkpoint, preflight
from pytest_interp.report import terminal

__all__ = [
    "TransformerBridge", "assertions", "checkpoint", "comparison", "fixtures", "hypothesis", "measure", "patching",
    "preflight", "scipy", "snapshots", "strategies", "terminal", "torch", "transformers",
]  # fmt: skip
