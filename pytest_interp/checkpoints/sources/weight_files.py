"""Which files of a folder hold its weights, and what their headers and its settings say; no weight is read."""

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
    """A tensor in a file: its type as safetensors names it, its shape, its file's name."""

    dtype: str
    shape: tuple[int, ...]
    file: str

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


def settings_in(path: Path, advice: str = AGAIN) -> dict[str, Any]:
    """What a JSON file holds.

    Args:
        path: of the file.
        advice: what to do about one that is damaged.

    Raises:
        UsageError: it cannot be read, or holds something else than an object.
    """
    with as_usage_error(f"{path} is not a JSON file", advice):
        settings = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise UsageError(f"{path} holds a JSON {type(settings).__name__}, not an object; {advice}")
    return settings


def check_directory(path: Path) -> None:
    """Accepts a directory that has a configuration and safetensors of its own.

    Raises:
        UsageError: it has not, or is an adapter.
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
    """The files that transformers reads a folder's weights from: one, or those that its index names.

    Raises:
        UsageError: there are none of these names, or a file of the index is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        others = listed(sorted(path.name for path in folder.glob("*.safetensors")))
        raise UsageError(f"{folder} has neither {WEIGHTS} nor {INDEX}, but {others}; rename it, or {AGAIN}")
    names, here = shards_of(folder / INDEX), {path.name for path in folder.iterdir() if path.is_file()}
    if missing := [name for name in names if name not in here]:
        raise UsageError(f"{folder} lacks {listed(missing)}, which {INDEX} names; {AGAIN}")
    return [folder / name for name in names]


def shards_of(index: Path) -> dict[str, list[str]]:
    """The names of the tensors of each file that an index names.

    Raises:
        UsageError: it is no index, or names files that are not beside it.
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
    """The tensors of some files by name, from the files' headers.

    Args:
        files: of safetensors.
        advice: what to do about one that is damaged.

    Raises:
        UsageError: a file that is cut or damaged, or a tensor in two of them.
    """
    from safetensors import safe_open

    tensors: dict[str, Stored] = {}
    for path in files:
        complaint = f"{path} is no whole safetensors file: {_size(path)} bytes are here"
        with as_usage_error(complaint, advice), safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            here = {name: Stored(part.get_dtype(), tuple(part.get_shape()), path.name) for name, part in slices.items()}
        if twice := sorted(tensors.keys() & here.keys()):
            raise UsageError(f"{listed(twice)}: in {path.name} and in another file of {path.parent}; {advice}")
        tensors.update(here)
    return tensors


def check_index(index: Path, stored: Mapping[str, Stored]) -> None:
    """Accepts files in which each tensor is where the index says.

    Raises:
        UsageError: some are not.
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
    """Accepts settings with no more layers than there are tensors: a layer has one at least.

    Raises:
        UsageError: more layers; or weights that are in none of the files beside it.
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
    return path.stat().st_size if path.is_file() else 0
