"""From a spec to a frozen bridge in compatibility mode, with the hash of its weights and the parity of its logits."""

from __future__ import annotations

import gc
import hashlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pytest_interp.checkpoints.checks.parity import Stage, Step, steps_of
from pytest_interp.checkpoints.device import moved, precision_of
from pytest_interp.checkpoints.model_state import fixed_tokens
from pytest_interp.checkpoints.planted.build import build_planted
from pytest_interp.checkpoints.planted.family import PLANS
from pytest_interp.checkpoints.sources.gguf_file import bos_in
from pytest_interp.checkpoints.sources.library_errors import as_usage_error
from pytest_interp.checkpoints.sources.model import load_transformers
from pytest_interp.checkpoints.sources.tokenizer import adds_bos, check_tokenizer
from pytest_interp.checkpoints.sources.weight_agreement import check_finite, check_present
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.checkpoints.value_bias import Shifts, constants_in_values, shifts_of
from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

PROBE = (2, 8)
"""Rows and tokens on which logits are compared."""
_WRAPPERS = {
    "_orig_mod": "model._orig_mod",
    "merge_and_unload": "model.merge_and_unload()",
    "module": "model.module",
}
"""An attribute by which a wrapper of a model is recognised, and the expression for the model inside."""
_CHECK = "check config.json against the weights, and whether TransformerLens supports this architecture"


class Booted(NamedTuple):
    """A bridge in compatibility mode.

    Attributes:
        bridge: frozen, in eval mode.
        fingerprint: of its weights as loaded.
        parity: how far its logits moved at each step on the way.
        shifts: where its value biases are, see :mod:`pytest_interp.checkpoints.value_bias`.
        bos: whether its tokenizer puts BOS before a text.
    """

    bridge: Any
    fingerprint: str
    parity: tuple[Step, ...]
    shifts: Shifts
    bos: bool


class _Source(NamedTuple):
    """A bridge before processing.

    Attributes:
        bridge: on its device.
        fingerprint: of its weights.
        raw: the raw model's logits on the probe; None where there is no raw model.
        bos: whether its tokenizer puts BOS before a text.
    """

    bridge: Any
    fingerprint: str
    raw: Tensor | None
    bos: bool


def boot(spec: CheckpointSpec, device: torch.device, dtype: str) -> Booted:
    """Loads, bridges, processes and freezes a model, and compares its logits at each step.

    Args:
        spec: where its weights are.
        device: where it computes.
        dtype: ``float64``, ``float32``, ``bfloat16`` or ``float16``; a bridge of the user's own keeps its dtype.

    Raises:
        Unavailable: its weights cannot be had.
        UsageError: its files are damaged or do not belong together, a loader returns something other than a model, or
            TransformerLens cannot run it.
    """
    with _later_collections():
        return _booted(spec, device, _dtype(dtype))


@contextmanager
def _later_collections() -> Iterator[None]:
    """No search for garbage inside the block: imports and modules are a million objects, almost all of which stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _booted(spec: CheckpointSpec, device: torch.device, dtype: torch.dtype) -> Booted:
    """A bridge in compatibility mode; arguments and errors are those of :func:`boot`."""
    bridge, fingerprint, raw, bos = _bridge_of(spec, device, dtype)
    device = input_device(spec, bridge, device)
    with as_usage_error(f"{spec.name}: TransformerLens cannot run this model", _CHECK):
        bridge.eval()  # once: to switch thousands of modules takes as long as a pass
        probe = _probe(bridge.cfg.d_vocab, device)
        logits: dict[Stage, Tensor] = {} if raw is None else {"the raw model": raw}
        logits["its bridge"] = _logits(bridge, probe)
        if not next(iter(logits.values())).isfinite().all():
            raise UsageError(f"{spec.name} gives NaN or infinite logits on random tokens; {_CHECK}")
        constants = None
        if not bridge.compatibility_mode:
            constants = constants_in_values(bridge, probe)  # compatibility mode takes them out of the values
            with warnings.catch_warnings():
                # A warning that norms are not folded (OLMo 2): measurements here do not need it.
                warnings.simplefilter("ignore", UserWarning)
                # The folding copies all weights, also where there is nothing to fold. NaN (not known) is any.
                folds = any(bool(constant.any()) for constant in constants)
                bridge.enable_compatibility_mode(disable_warnings=True, fold_value_biases=folds)
        if any(module.training for module in bridge.modules()):  # new ones
            bridge.eval()
        for parameter in bridge.parameters():
            parameter.requires_grad_(False)
        logits["the bridge in compatibility mode"] = _logits(bridge, probe)
        shifts = shifts_of(bridge, constants, constants_in_values(bridge, probe))
        parity = steps_of(logits, bridge.cfg.n_layers, precision_of(device, next(bridge.parameters()).dtype))
    return Booted(bridge, fingerprint, parity, shifts, bos)


def input_device(spec: CheckpointSpec, bridge: Any, device: torch.device) -> torch.device:
    """The device of token ids: that of the embedding where a model is spread over several, else the chosen one."""
    return torch.device(bridge.cfg.device) if spec.is_spread else device


def _bridge_of(spec: CheckpointSpec, device: torch.device, dtype: torch.dtype) -> _Source:
    """The bridge before processing, and the raw model's logits on the probe where there is a raw model."""
    from transformer_lens.model_bridge import TransformerBridge

    if spec.is_spread and (spec.kind == "planted" or spec.loader is not None):
        raise UsageError(
            f"{spec.name} is not read from files, so n_devices and device_map cannot spread it over devices; "
            "leave out --interp-n-devices"
        )
    if spec.kind == "planted":
        with tempfile.TemporaryDirectory() as directory:
            bridge = build_planted(PLANS[spec.source], Path(directory))
        bridge = moved(bridge, device, spec.name, dtype)
        return _Source(bridge, _fingerprint(_weights_of(bridge.original_model)), None, adds_bos(bridge.tokenizer))
    if spec.loader is None:
        source = _bridged(spec, *load_transformers(spec, dtype), device, dtype)
        bos = bos_in(Path(spec.source)) if spec.kind == "gguf" and spec.bos is None else None
        return source if bos is None else source._replace(bos=bos)
    loaded = spec.loader()
    if isinstance(loaded, TransformerBridge):
        check_present(loaded.original_model, spec.name)
        check_finite(loaded.original_model, spec.name)
        bridge = moved(loaded, device, f"the bridge of {spec.name}")
        return _Source(bridge, _fingerprint(_weights_of(bridge.original_model)), None, adds_bos(bridge.tokenizer))
    return _bridged(spec, *_pair(loaded, spec.name), device, dtype)


def _pair(loaded: Any, name: str) -> tuple[Any, Any]:
    """A model and its tokenizer, as a loader returned them.

    Raises:
        UsageError: it returned something else, or a model without eager attention.
    """
    from transformers import PreTrainedModel

    advice = "return a TransformerBridge, or a transformers model and its tokenizer as a pair"
    if not (isinstance(loaded, tuple) and len(loaded) == 2):
        raise UsageError(f"the loader of {name} returned {type(loaded).__name__}; {advice}")
    model, tokenizer = loaded
    if not isinstance(model, PreTrainedModel):
        kinds = " and ".join(type(part).__name__ for part in loaded)
        swapped = ": the model comes first" if isinstance(tokenizer, PreTrainedModel) else ""
        raise UsageError(f"the loader of {name} returned {kinds}{swapped}; {advice}{inside_of(model)}")
    with as_usage_error(f"the loader of {name} returned a {type(model).__name__} without eager attention", _CHECK):
        model.set_attn_implementation("eager")
    return model, tokenizer


def inside_of(wrapper: Any) -> str:
    """The expression for the model inside a wrapper, for a message: `` (that is model.module)``; empty for others."""
    return next(
        (f" (that is {expression})" for attribute, expression in _WRAPPERS.items() if hasattr(wrapper, attribute)), ""
    )


def is_bridge(model: Any) -> bool:
    """Whether a model is a TransformerBridge, without importing TransformerLens."""
    return hasattr(model, "hook_dict")


def _bridged(spec: CheckpointSpec, model: Any, tokenizer: Any, device: torch.device, dtype: torch.dtype) -> _Source:
    """Checks the weights and the tokenizer of a transformers model, and puts it into a bridge.

    Raises:
        UsageError: NaN or infinite weights, another model's tokenizer, or a model that cannot be run or bridged.
    """
    from transformer_lens.model_bridge import TransformerBridge

    kind = type(model).__name__
    check_present(model, spec.name)
    with as_usage_error(f"{spec.name}: {kind} cannot be put on {device} in {dtype}", "pass another --interp-device"):
        # A model that is spread was put where it belongs as it was read, and must not be moved.
        model = model.eval() if spec.is_spread else model.to(device).to(dtype).eval()
        place = model.get_input_embeddings().weight.device if spec.is_spread else device
    check_finite(model, spec.name)
    with as_usage_error(f"{spec.name}: {kind} does not run as a language model on {PROBE[1]} tokens", _CHECK):
        check_tokenizer(tokenizer, len(model.get_input_embeddings().weight), spec.name)
        # The bridge wraps the model's parts in place, so the raw logits are taken before it is built.
        with torch.inference_mode():
            raw = _relative(model(_probe(model.config.get_text_config().vocab_size, place)).logits.float())
    bos = adds_bos(tokenizer)  # before TransformerLens sets every tokenizer to add it
    if not getattr(model.config, "architectures", None):
        model.config.architectures = [kind]  # a model that was built from a configuration, and never saved
    complaint = f"{spec.name}: TransformerLens cannot bridge {kind}"
    # Two threads: a bridge wraps the model's parts, and leaves its weights as they are.
    weights = _weights_of(model)
    with tempfile.TemporaryDirectory() as directory, as_usage_error(complaint, _CHECK), ThreadPoolExecutor(1) as second:
        fingerprint = second.submit(_fingerprint, weights)
        bridge = TransformerBridge.boot_transformers(
            spec.source or spec.name,
            hf_model=model,
            tokenizer=_saved(tokenizer, directory),
            device=place,
            dtype=dtype,
        )
        return _Source(bridge, fingerprint.result(), raw, bos)


def _saved(tokenizer: Any, directory: str) -> Any:
    """The tokenizer, loaded from a directory: TransformerLens loads it again, and refuses one made in memory."""
    from transformers import AutoTokenizer

    if tokenizer.init_kwargs.get("name_or_path"):
        return tokenizer
    tokenizer.save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


def _dtype(name: str) -> torch.dtype:
    """The dtype of a name.

    Raises:
        UsageError: it is none of the four that are allowed.
    """
    dtype = getattr(torch, name, None)
    if name not in ("float64", "float32", "bfloat16", "float16") or not isinstance(dtype, torch.dtype):
        raise UsageError(f"--interp-dtype is {name!r}; allowed: float64, float32, bfloat16, float16")
    return dtype


def _weights_of(model: torch.nn.Module) -> list[tuple[str, Tensor]]:
    """The weights of a model by name, in alphabetical order; tied ones stand under each of their names."""
    return sorted(model.named_parameters(remove_duplicate=False))


def _fingerprint(weights: Iterable[tuple[str, Tensor]]) -> str:
    """Hash over the names, shapes and bits of weights, 12 hexadecimal digits; tied weights count once."""
    digest = hashlib.sha256()
    hashed = set()
    for name, parameter in weights:
        if parameter.data_ptr() in hashed:
            continue
        hashed.add(parameter.data_ptr())
        bits = parameter.detach().contiguous().cpu().flatten().view(torch.uint8).numpy()
        digest.update(f"{name.replace('_original_component.', '')} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(bits.data)  # no copy
    return digest.hexdigest()[:12]


def _probe(d_vocab: int, device: torch.device) -> Tensor:
    """Two rows of eight token ids, the same for every model of this vocabulary."""
    return fixed_tokens(d_vocab, PROBE, seed=0).to(device)


def _relative(logits: Tensor) -> Tensor:
    """Logits minus their mean at each position: processed and raw weights differ by a constant there."""
    return logits - logits.mean(-1, keepdim=True)


def _logits(bridge: Any, probe: Tensor) -> Tensor:
    """Logits on the probe, ``(row, pos, vocab)``."""
    with torch.inference_mode():
        return _relative(bridge(probe, return_type="logits").float())
