"""From a spec to a frozen bridge in compatibility mode, with the hash of its weights and the parity of its logits."""

from __future__ import annotations

import hashlib
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pytest_interp.checkpoints.planted_build import build_planted
from pytest_interp.checkpoints.planted_family import PLANS
from pytest_interp.checkpoints.sources import load_transformers
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.checkpoints.value_bias import Shifts, constants_in_values, shifts_of
from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


class Booted(NamedTuple):
    """A bridge in compatibility mode.

    Attributes:
        bridge: frozen, in eval mode.
        fingerprint: of its weights as loaded.
        parity: the largest difference of logits on the way.
        shifts: where its value biases are, see :mod:`pytest_interp.checkpoints.value_bias`.
    """

    bridge: Any
    fingerprint: str
    parity: float
    shifts: Shifts


class _Source(NamedTuple):
    bridge: Any
    fingerprint: str
    raw: Tensor | None


def boot(spec: CheckpointSpec, device: str, dtype: str) -> Booted:
    """Loads, bridges, processes and freezes a model, comparing its logits at each step.

    Raises:
        Unavailable: its weights cannot be had.
        UsageError: a loader that returns something else than a model.
    """
    bridge, fingerprint, raw = _bridge_of(spec, device, _dtype(dtype))
    probe = _probe(bridge.cfg.d_vocab, device)
    stages = [] if raw is None else [raw]
    stages.append(_logits(bridge, probe))
    constants = None
    if not bridge.compatibility_mode:
        constants = constants_in_values(bridge, probe)  # afterwards they are gone from the values
        bridge.enable_compatibility_mode(disable_warnings=True)
    bridge.eval()
    for parameter in bridge.parameters():
        parameter.requires_grad_(False)
    stages.append(_logits(bridge, probe))
    shifts = shifts_of(bridge, constants, constants_in_values(bridge, probe))
    return Booted(bridge, fingerprint, max(float((a - b).abs().max()) for a, b in pairwise(stages)), shifts)


def _bridge_of(spec: CheckpointSpec, device: str, dtype: torch.dtype) -> _Source:
    """The bridge before processing, and the raw model's logits on the probe where there is a raw model."""
    from transformer_lens.model_bridge import TransformerBridge

    if spec.kind == "planted":
        with tempfile.TemporaryDirectory() as directory:
            bridge = build_planted(PLANS[spec.source], Path(directory))
        if device != "cpu" or dtype != torch.float32:
            bridge = bridge.to(device).to(dtype)
        return _Source(bridge, _fingerprint(bridge.original_model), None)
    if spec.loader is None:
        model, tokenizer = load_transformers(spec, dtype)
    else:
        loaded = spec.loader()
        if isinstance(loaded, TransformerBridge):
            return _Source(loaded, _fingerprint(loaded.original_model), None)
        if not (isinstance(loaded, tuple) and len(loaded) == 2):
            raise UsageError(
                f"the loader of {spec.name} returned {type(loaded).__name__}; return a TransformerBridge, "
                "or a transformers model and its tokenizer as a pair"
            )
        model, tokenizer = loaded
        model.set_attn_implementation("eager")
    model = model.to(device).to(dtype).eval()
    fingerprint = _fingerprint(model)
    # The bridge wraps the model's parts in place, so the raw logits are taken before it is built.
    with torch.inference_mode():
        raw = _relative(model(_probe(model.config.vocab_size, device)).logits.float())
    with tempfile.TemporaryDirectory() as directory:
        bridge = TransformerBridge.boot_transformers(
            spec.source or spec.name,
            hf_model=model,
            tokenizer=_saved(tokenizer, directory),
            device=device,
            dtype=dtype,
        )
    return _Source(bridge, fingerprint, raw)


def _saved(tokenizer: Any, directory: str) -> Any:
    """A tokenizer with a directory behind it: TransformerLens loads it once more and refuses one made in memory."""
    from transformers import AutoTokenizer

    if tokenizer.init_kwargs.get("name_or_path"):
        return tokenizer
    tokenizer.save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


def device_of(name: str) -> str:
    """The device that ``auto`` or a name stands for.

    Raises:
        UsageError: it cannot be used here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--interp-device {name} cannot be used ({reason}); pass auto, cuda, mps or cpu") from None
    return name


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if name not in ("float64", "float32", "bfloat16", "float16") or not isinstance(dtype, torch.dtype):
        raise UsageError(f"--interp-dtype is {name!r}; allowed: float64, float32, bfloat16, float16")
    return dtype


def _fingerprint(model: torch.nn.Module) -> str:
    """Hash over the names, shapes and bits of all weights."""
    digest = hashlib.sha256()
    seen = set()
    for name, parameter in sorted(model.named_parameters(remove_duplicate=False)):
        if parameter.data_ptr() in seen:
            continue
        seen.add(parameter.data_ptr())
        bits = parameter.detach().contiguous().cpu().flatten().view(torch.uint8).numpy()
        digest.update(f"{name.replace('_original_component.', '')} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(bits.tobytes())
    return digest.hexdigest()[:12]


def _probe(d_vocab: int, device: str) -> Tensor:
    """Two rows of eight token ids, the same for every model of this vocabulary."""
    return torch.randint(0, d_vocab, (2, 8), generator=torch.Generator().manual_seed(0)).to(device)


def _relative(logits: Tensor) -> Tensor:
    """Logits up to the constant for each position in which processed and raw weights differ."""
    return logits - logits.mean(-1, keepdim=True)


def _logits(bridge: Any, probe: Tensor) -> Tensor:
    training = bridge.training
    bridge.eval()
    with torch.inference_mode():
        logits = _relative(bridge(probe, return_type="logits").float())
    bridge.train(training)
    return logits
