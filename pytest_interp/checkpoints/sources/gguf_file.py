"""Dequantises the weights of a GGUF file once, and keeps them as safetensors."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pytest_interp.checkpoints.sources.library_errors import as_usage_error, listed
from pytest_interp.checkpoints.sources.weight_agreement import check_agreement, no_larger_than
from pytest_interp.checkpoints.sources.weight_files import WEIGHTS
from pytest_interp.common.files import digest_of
from pytest_interp.common.progress import activity
from pytest_interp.errors import UsageError

CACHE_FORMAT = 1
_AGAIN = "download it again"


def cache_directory() -> Path:
    """The folder of dequantised weights: ``PYTEST_INTERP_CACHE``, else one in the user's cache directory."""
    if chosen := os.environ.get("PYTEST_INTERP_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "pytest-interp"


def dequantised(path: Path) -> Path:
    """The directory with a GGUF file's weights in float32, created on first use.

    Args:
        path: of the file; its hash is part of the directory's name.

    Raises:
        UsageError: the file is damaged, or its model is not known to transformers.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    target = cache_directory() / f"gguf-{CACHE_FORMAT}-{digest_of(path)[:16]}"
    if (target / WEIGHTS).is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix="tmp-"))
    try:
        _dequantise(path, work)
        try:
            work.rename(target)
        except OSError:
            # Another process was faster; its directory has the same content.
            if not (target / WEIGHTS).is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def bos_in(path: Path) -> bool | None:
    """Whether a GGUF file says that BOS stands before a text; None where it does not say.

    Transformers drops this entry when it converts the tokenizer.

    Raises:
        UsageError: the file is damaged.
    """
    with as_usage_error(f"{path} is not a whole GGUF file", _AGAIN):
        field = _reader(path).fields.get("tokenizer.ggml.add_bos_token")
        return None if field is None else bool(field.contents())


def _dequantise(path: Path, target: Path) -> None:
    """Writes the weights in float32 and the tokenizer of a GGUF file into a folder.

    Raises:
        UsageError: the file cannot be read, or not all of its weights are in the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sizes = _tensors_of(path)
    folder, name = str(path.parent), path.name
    complaint = f"{path} cannot be read by transformers"
    doing = f"dequantising {sum(sizes.values()) / 1e6:.0f} million weights, once, into {target.parent}"
    advice = "pass a GGUF file of a decoder that transformers converts, or a directory that save_pretrained wrote"
    with (
        quiet(),
        activity(doing),
        as_usage_error(complaint, advice),
        no_larger_than(sum(sizes.values()), len(sizes), str(path)),
        _parsed_once(path),
    ):
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
        _check_all_read(model, loading, sizes, path)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        # The weights are plain floats now, but transformers refuses to save a model that is marked as quantised.
        if hasattr(model.config, "quantization_config"):  # older versions of transformers set none
            del model.config.quantization_config
        model.is_quantized, model.hf_quantizer = False, None
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)


def _check_all_read(model: Any, loading: dict[str, Any], sizes: dict[str, int], path: Path) -> None:
    """Accepts a model that has all weights of its file: transformers skips tensors that it does not know.

    Raises:
        UsageError: weights are missing on either side.
    """
    check_agreement(model, loading, {}, str(path))
    tensors, in_file = model.state_dict(), sum(sizes.values())
    untied = {tensor.data_ptr(): tensor.numel() for tensor in tensors.values()}
    if in_file not in (sum(untied.values()), sum(tensor.numel() for tensor in tensors.values())):
        unnamed = sorted(name for name in sizes if not name.startswith("blk.")) or sorted(sizes)
        raise UsageError(
            f"{path}: transformers reads {sum(untied.values()):,} of the {in_file:,} numbers of its {len(sizes)} "
            f"tensors (those outside its blocks: {listed(unnamed, 8)}); nothing is claimed of weights that were left "
            "out. Pass a directory that save_pretrained wrote"
        )


def _tensors_of(path: Path) -> dict[str, int]:
    """How many numbers each tensor of a GGUF file has, by name.

    Raises:
        UsageError: the file is cut or damaged, or states more layers than it has tensors.
    """
    complaint = f"{path} is not a whole GGUF file: {path.stat().st_size} bytes are here"
    with as_usage_error(complaint, _AGAIN):
        reader = _reader(path)
        _check_places(reader)
        layers = [field.contents() for name, field in reader.fields.items() if name.endswith(".block_count")]
        sizes = {tensor.name: int(tensor.n_elements) for tensor in reader.tensors}
        if any(count > len(sizes) for count in layers):
            raise ValueError(f"it says that it has {layers[0]} layers, and has {len(sizes)} tensors")
    return sizes


def _reader(path: Path) -> Any:
    """A reader of a GGUF file."""
    return _reader_class()(path)


def _reader_class() -> Any:
    """A GGUFReader that raises beyond the end of the file; the original would loop there, reading nothing."""
    import numpy as np
    from gguf import GGUFReader

    class Bounded(GGUFReader):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            """The bytes of the file: a plain array, since each slice of a memmap costs more than what is read."""
            return self._bytes

        @data.setter
        def data(self, mapped: Any) -> None:
            self._bytes = mapped.view(np.ndarray)

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            end = int(offset) + int(count) * np.dtype(dtype).itemsize
            if end > len(self._bytes):
                raise ValueError(f"it ends before byte {end}")
            return super()._get(offset, dtype, count, override_order)

    return Bounded


@contextmanager
def _parsed_once(path: Path) -> Iterator[None]:
    """Within the block gguf gives one reader of a file, and one map of names for each architecture.

    transformers asks for three readers, each of which parses all fields, and for a map in each module of the model.
    """
    import gguf

    originals = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    reader = cache(_reader_class())

    def reader_of(name: Any, *arguments: Any) -> Any:
        return reader(path) if Path(name) == path else originals["GGUFReader"](name, *arguments)

    gguf.GGUFReader, gguf.get_tensor_name_map = reader_of, cache(originals["get_tensor_name_map"])
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(gguf, name, original)


def _check_places(reader: Any) -> None:
    """Accepts tensors that follow each other up to the end of the file.

    Raises:
        ValueError: there are no tensors, two overlap, or bytes follow the last one.
    """
    if not reader.tensors:
        raise ValueError("it has no tensors")
    end = int(reader.data_offset)
    for tensor in sorted(reader.tensors, key=lambda tensor: int(tensor.data_offset)):
        if int(tensor.data_offset) < end:
            raise ValueError(f"its tensor {tensor.name} begins within another one")
        end = int(tensor.data_offset) + int(tensor.n_bytes)
    if len(reader.data) - end >= int(reader.alignment):
        raise ValueError(f"{len(reader.data) - end} bytes follow its last tensor")


@contextmanager
def quiet() -> Iterator[None]:
    """Turns off transformers' progress bars and log lines inside the block."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
