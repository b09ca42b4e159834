"""Checks on a loaded checkpoint before anything is claimed of it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.checks.parity import check_parity
from pytest_interp.checkpoints.continued import activation_at
from pytest_interp.checkpoints.hooks import Edit
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
    3. Zeros at each site that measurements edit change what layer 0 gives. A pattern that the model shows but does not
       read is accepted: edits of it are not applicable from then on.

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
    hooks = [checkpoint.sites.hook("z", layer) for layer in sorted({0, checkpoint.shape.n_layers // 2})]
    patched = checkpoint.run(tokens, edits=dict.fromkeys(hooks, torch.Tensor.clone)).logits
    if float((patched - clean).abs().max()) > noise:
        raise UsageError(
            f"{checkpoint.name}: patching {' and '.join(hooks)} with itself changes the logits; "
            "its hooks are not to be trusted"
        )
    stream = _stream_after_layer_0(checkpoint, tokens)
    for site in _SITES:
        name = checkpoint.sites.hook(site, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TransformerLens warns of an edit that it discards
            edited = _stream_after_layer_0(checkpoint, tokens, zeroed=name)
        if torch.equal(edited, stream) and not _silent(checkpoint, tokens, name):
            if site in _SPARE:
                checkpoint.sites.refuse_edits(site)
                continue
            raise UsageError(f"{checkpoint.name}: zeroing {name} changes nothing; edits there are ignored by the model")


def _stream_after_layer_0(checkpoint: Checkpoint, tokens: torch.Tensor, zeroed: str = "") -> torch.Tensor:
    """The residual stream after layer 0, by a pass that ends there.

    Args:
        checkpoint: just loaded.
        tokens: shape ``(row, pos)``.
        zeroed: the name of a hook in layer 0, whose activation becomes 0; empty for none.

    Raises:
        UsageError: no pass reaches the hook there.
    """
    edits: dict[str, Edit] = {zeroed: torch.zeros_like} if zeroed else {}
    last = checkpoint.sites.hook("resid_post", 0)
    if (stream := activation_at(checkpoint.forward, tokens, last, edits)) is None:
        raise UsageError(f"{checkpoint.name}: no pass reaches {last}; edits there are ignored by the model")
    return stream


def _silent(checkpoint: Checkpoint, tokens: torch.Tensor, name: str) -> bool:
    """Whether an activation is zero already, so that zeroing it proves nothing."""
    return bool((checkpoint.run(tokens, keep=[name]).activations[name] == 0).all())
