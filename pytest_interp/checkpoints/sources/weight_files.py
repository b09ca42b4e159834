"""Finds the files that hold a model's weights, and reads their headers and the model's settings, but no weight."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from pytest_interp.checkpoints.sources.library_errors import as_usage_error, listed
from pytest_interp.errors import UsageError
from pytest_interp.text import line, shown

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
AGAIN = "copy all files of the model again, or save it once more with model.save_pretrained(DIR)"


class Stored(NamedTuple):
    """A tensor in a file.

    Attributes:
        dtype: as safetensors names it, such as ``F32``.
        shape: of the tensor.
        file: the name of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    file: str

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


def settings_in(path: Path, advice: str = AGAIN) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: of the file.
        advice: what the user can do about a damaged file.

    Raises:
        UsageError: it cannot be read, or holds something other than an object.
    """
    with as_usage_error(f"{path} is not a JSON file", advice):
        settings = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise UsageError(f"{path} holds a JSON {type(settings).__name__}, not an object; {advice}")
    return settings


def check_directory(path: Path) -> None:
    """Accepts a directory that has a configuration and safetensors.

    Raises:
        UsageError: it lacks one of them, or is an adapter.
    """
    if (path / "adapter_config.json").is_file():
        raise UsageError(
            f"{path} is an adapter (adapter_config.json): only changes of another model's weights. Merge them: "
            "model.merge_and_unload().save_pretrained(DIR), and pass DIR"
        )
    if not (path / CONFIG).is_file():
        raise UsageError(f"{path} has no {CONFIG}; pass a directory that save_pretrained wrote")
    if not list(path.glob("*.safetensors")):
        raise UsageError(
            f"{path} has no *.safetensors weights (pickled weights are not loaded); save it as safetensors"
        )


def weight_files(folder: Path) -> list[Path]:
    """The files from which transformers reads a folder's weights: a single one, or those that its index names.

    Raises:
        UsageError: there is neither a single file nor an index, or a file of the index is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        present = listed(sorted(path.name for path in folder.glob("*.safetensors")))
        raise UsageError(f"{folder} has neither {WEIGHTS} nor {INDEX}, but {present}; rename it, or {AGAIN}")
    names, present_files = shards_of(folder / INDEX), {path.name for path in folder.iterdir() if path.is_file()}
    if missing := [name for name in names if name not in present_files]:
        raise UsageError(f"{folder} lacks {listed(missing)}, which {INDEX} names; {AGAIN}")
    return [folder / name for name in names]


def shards_of(index: Path) -> dict[str, list[str]]:
    """For each file that an index names, the names of its tensors; files in alphabetical order.

    Raises:
        UsageError: it is no index, or names a file outside of its folder.
    """
    places = settings_in(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UsageError(f"{index} has no weight_map that names the file of each tensor; {AGAIN}")
    shards: dict[str, list[str]] = {}
    for tensor, name in places.items():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise UsageError(
                f"{index} puts {line(tensor)} into {shown(name)}, which is no *.safetensors file beside it; {AGAIN}"
            )
        shards.setdefault(name, []).append(tensor)
    return dict(sorted(shards.items()))


def stored_in(files: Iterable[Path], advice: str = AGAIN) -> dict[str, Stored]:
    """The tensors of files by name, from the headers of the files.

    Args:
        files: of safetensors.
        advice: what the user can do about a damaged file.

    Raises:
        UsageError: a file is cut or damaged, or a tensor is in two of them.
    """
    from safetensors import safe_open

    tensors: dict[str, Stored] = {}
    for path in files:
        complaint = f"{path} is no whole safetensors file: {_size(path)} bytes are here"
        with as_usage_error(complaint, advice), safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            of_file = {
                name: Stored(part.get_dtype(), tuple(part.get_shape()), path.name) for name, part in slices.items()
            }
        if duplicates := sorted(tensors.keys() & of_file.keys()):
            raise UsageError(f"{listed(duplicates)}: in {path.name} and in another file of {path.parent}; {advice}")
        tensors.update(of_file)
    return tensors


def check_index(index: Path, stored: Mapping[str, Stored]) -> None:
    """Accepts files that hold the tensors which the index names for them.

    Args:
        index: the file of the index.
        stored: the tensors of all files, by name.

    Raises:
        UsageError: a tensor is missing, or in another file.
    """
    shards = shards_of(index)
    if strays := [
        f"{tensor} ({name})"
        for name, tensors in shards.items()
        for tensor in tensors
        if tensor not in stored or stored[tensor].file != name
    ]:
        raise UsageError(f"{index} names tensors that are not in their files: {listed(strays)}; {AGAIN}")


def check_layers(settings: Mapping[str, Any], path: Path, tensors: int) -> None:
    """Accepts settings with no more layers than there are tensors, since a layer has at least one.

    Args:
        settings: the object in config.json.
        path: of that file, for the message.
        tensors: how many tensors the files of the weights hold.

    Raises:
        UsageError: there are more layers, or the settings name weights in another place.
    """
    if elsewhere := settings.get("transformers_weights"):
        raise UsageError(
            f"{path} keeps its weights elsewhere (transformers_weights: {shown(elsewhere)}); save the model "
            f"with model.save_pretrained(DIR), which writes {WEIGHTS}, and pass DIR"
        )
    for table in (settings, *(value for value in settings.values() if isinstance(value, dict))):
        for name in _LAYERS:
            layers = table.get(name)
            if isinstance(layers, int | float) and layers > tensors:
                raise UsageError(
                    f"{path} says {name} = {shown(layers)}, but its weights are {tensors} tensors; pass the "
                    f"{CONFIG} that was saved with these weights"
                )


def _size(path: Path) -> int:
    """The size of a file in bytes; 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0
