"""A checkpoint for a notebook or a script: from a name, a path, or a model in memory."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_interp.checkpoints.boot import inside_of, is_bridge
from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.checkpoints.spec import CheckpointSpec, known_specs, resolve
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.text import shown

if TYPE_CHECKING:
    from pytest_interp.circuit import Circuit

_SOURCES = (
    "a name, a directory, a .gguf file, owner/name of the Hugging Face hub, a CheckpointSpec, a TransformerBridge, or "
    "a transformers model and its tokenizer"
)


@checked
def load(
    source: Any,
    tokenizer: Any = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    bos: bool | None = None,
    revision: str | None = None,
    circuit: Circuit | None = None,
    name: str = "model",
    n_devices: int = 1,
    device_map: str | Mapping[str, str | int] | None = None,
) -> Checkpoint:
    """Loads a model and checks that it can be measured, as the fixture ``checkpoint`` does.

    The logits have to be finite and those of the raw model, the hooks of measurements have to work, and a patch of an
    activation with itself has to change nothing.

    Args:
        source: a registered name such as ``gpt2``; a directory; a ``.gguf`` file; ``owner/name`` of the Hugging Face
            hub, whose weights are downloaded where they are not in its cache; a :class:`CheckpointSpec`; a
            transformers model, of which a copy is loaded; or a TransformerBridge, which is put into compatibility mode
            and frozen.
        tokenizer: of a transformers model.
        device: ``auto``, ``cuda``, ``mps`` or ``cpu``; a bridge has to be there already, or is moved.
        dtype: ``float64``, ``float32``, ``bfloat16`` or ``float16``; a bridge keeps its own.
        bos: whether BOS stands before each prompt; None for what the circuit says, else the registered checkpoint,
            else its tokenizer.
        revision: a branch, a tag or a commit of the hub, such as a training step.
        circuit: the roles that are asserted on it, see :func:`load_circuit`.
        name: of a model in memory, for records.
        n_devices: over how many GPUs the layers are spread, for a model that one cannot hold; at least 1.
        device_map: the device of each module, or a rule such as ``balanced``, in place of ``n_devices``; as
            transformers takes it.

    Returns:
        The checkpoint: frozen, in eval mode.

    Raises:
        UsageError: no such model, damaged files, or a model that cannot be measured; the sentence says which.
        Unavailable: its weights cannot be had.

    Example:
        >>> from pytest_interp import load
        >>> checkpoint = load("planted-ioi")
        >>> checkpoint.shape.n_layers
        5
    """
    spec = _spec_of(source, tokenizer, name)
    with _in_words_of_arguments():
        if revision is not None:
            spec = resolve(spec.name, {spec.name: spec}, revision)
        if n_devices < 1:
            raise UsageError(f"n_devices is {n_devices}; pass at least 1")
        if n_devices > 1 or device_map is not None:
            spec = replace(spec, n_devices=n_devices, device_map=device_map)
        checkpoint = open_checkpoint(spec, device=device, dtype=dtype)
    if bos is None:
        bos = circuit.bos if circuit is not None and circuit.bos is not None else spec.bos
    checkpoint.claimed(circuit, bos=bos)
    for head in sorted(circuit.listed) if circuit else ():
        checkpoint.check_head(head)
    return checkpoint


@checked
def save(source: Any, folder: str | PathLike[str]) -> Path:
    """Writes the weights and tokenizer of a checkpoint as a directory that transformers and ``load`` read.

    It is the model as its files have it, in float32: not the folded weights of compatibility mode. transformers refuses
    to save a model that it read from a GGUF file; this directory is that of the dequantised weights.

    Args:
        source: what :func:`load` takes as a name or path, or a checkpoint that was loaded from one.
        folder: the directory; it must not exist, or be empty.

    Returns:
        Its path.

    Raises:
        UsageError: a model in memory, which has no files, or a directory that is not empty.
        Unavailable: the weights cannot be had.

    Example:
        >>> from pytest_interp import UsageError, save
        >>> try:
        ...     save("planted-ioi", "copy")
        ... except UsageError as error:
        ...     print(error)
        planted-ioi is not a transformers checkpoint
    """
    import torch

    from pytest_interp.checkpoints.sources.gguf_file import quiet
    from pytest_interp.checkpoints.sources.model import load_transformers

    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not an empty directory; pass another one")
    spec = source.spec if isinstance(source, Checkpoint) else _spec_of(source, None, "model")
    model, tokenizer = load_transformers(spec, torch.float32)
    with quiet():
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    return target


def open_checkpoint(spec: CheckpointSpec, *, device: str, dtype: str) -> Checkpoint:
    """The checkpoint of a spec, loaded and preflighted.

    Raises:
        UsageError: it cannot be loaded, or it cannot be measured.
        Unavailable: its weights cannot be had.
    """
    checkpoint = Checkpoint(spec, device=device, dtype=dtype)
    preflight(checkpoint)
    return checkpoint


def _spec_of(source: Any, tokenizer: Any, name: str) -> CheckpointSpec:
    """Where the weights of a source are.

    Raises:
        UsageError: it is no source of weights.
    """
    if not isinstance(source, str | PathLike | CheckpointSpec):
        return spec_in_memory(source, tokenizer, name)
    if tokenizer is not None:
        raise UsageError(f"{shown(source)} has its own tokenizer; leave tokenizer out")
    return source if isinstance(source, CheckpointSpec) else resolve(str(source), known_specs())


def spec_in_memory(
    model: Any, tokenizer: Any, name: str, *, bos: bool | None = None, circuit: str | None = None
) -> CheckpointSpec:
    """The spec of a model in memory.

    Args:
        model: a transformers model, of which a copy is loaded, or a TransformerBridge.
        tokenizer: of a transformers model; None for a bridge.
        name: of the checkpoint.
        bos: whether BOS stands before each prompt.
        circuit: the name of the circuit that is asserted on it.

    Raises:
        UsageError: another object, or a model without its tokenizer.
    """
    if is_bridge(model):
        if tokenizer is not None:
            raise UsageError(f"{shown(model)} has its own tokenizer; leave tokenizer out")
        return CheckpointSpec(name, loader=lambda: model, bos=bos, circuit=circuit)
    from transformers import PreTrainedModel

    kind = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        raise UsageError(f"{kind} is no model that can be loaded{inside_of(model)}; pass {_SOURCES}")
    if tokenizer is None:
        raise UsageError(f"{kind} was passed without its tokenizer; pass the model and its tokenizer")
    # The bridge wraps a model's parts in place and folds its weights: it gets a copy of its own.
    return CheckpointSpec(name, loader=lambda: (copy.deepcopy(model), tokenizer), bos=bos, circuit=circuit)


@contextmanager
def _in_words_of_arguments() -> Iterator[None]:
    """Messages that name options of the command line name arguments inside the block: ``dtype='float32'``."""
    try:
        yield
    except UsageError as error:
        text = re.sub(r"pass --interp-(device|dtype) (\w[\w:]*)", r"pass \1='\2'", str(error))
        text = text.replace("--interp-n-devices", "n_devices")
        raise UsageError(re.sub(r"--interp-(device|dtype|revision)", r"\1", text)) from error
