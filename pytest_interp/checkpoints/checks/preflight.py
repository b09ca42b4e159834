"""Checks on a loaded checkpoint before anything is claimed of it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.checks.parity import check_parity
from pytest_interp.checkpoints.model_state import fixed_tokens
from pytest_interp.errors import UsageError
from pytest_interp.tolerance import FLOAT_NOISE

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

_SITES = ("q", "k", "v", "z", "pattern", "resid_pre", "attn_out")
_SPARE = ("pattern",)
"""Sites that some architectures show but do not read: GPT-J, GPT-Neo and OPT compute attention a second time."""


def preflight(checkpoint: Checkpoint) -> None:
    """Accepts a checkpoint that can be measured.

    1. It came without hooks, and its logits are finite and those of the raw model.
    2. A patch of z with itself changes nothing.
    3. Zeros at each site that measurements edit change the logits. A pattern that the model shows but does not read is
       accepted: edits of it are not applicable from then on.

    Args:
        checkpoint: just loaded.

    Raises:
        UsageError: one of these does not hold; the message says which, and by how much.
    """
    noise = FLOAT_NOISE[checkpoint.precision]
    if attached := checkpoint.guard.foreign_hooks:
        raise UsageError(f"{checkpoint.name} comes with hooks attached ({', '.join(attached[:3])}); remove them first")
    check_parity(checkpoint.name, checkpoint.parity, checkpoint.shape.n_layers, checkpoint.precision)
    tokens = fixed_tokens(checkpoint.shape.d_vocab, (2, 6), seed=1)
    clean = checkpoint.run(tokens).logits
    for layer in sorted({0, checkpoint.shape.n_layers // 2}):
        z = checkpoint.sites.hook("z", layer)
        patched = checkpoint.run(tokens, edits={z: torch.Tensor.clone}).logits
        if float((patched - clean).abs().max()) > noise:
            raise UsageError(
                f"{checkpoint.name}: patching {z} with itself changes the logits; its hooks are not to be trusted"
            )
    for site in _SITES:
        name = checkpoint.sites.hook(site, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TransformerLens warns of an edit that it discards
            edited = checkpoint.run(tokens, edits={name: torch.zeros_like}).logits
        moved = float((edited - clean).abs().max())
        if moved == 0 and not _silent(checkpoint, tokens, name):
            if site in _SPARE:
                checkpoint.sites.refuse_edits(site)
                continue
            raise UsageError(f"{checkpoint.name}: zeroing {name} changes nothing; edits there are ignored by the model")


def _silent(checkpoint: Checkpoint, tokens: torch.Tensor, name: str) -> bool:
    """Whether an activation is zero already, so that zeroing it proves nothing."""
    return bool((checkpoint.run(tokens, keep=[name]).activations[name] == 0).all())
