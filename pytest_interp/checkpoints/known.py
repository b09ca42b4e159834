"""What is known of a checkpoint that was loaded once: a run that finds all its numbers on disk loads no weights."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_interp import provenance
from pytest_interp.checkpoints.sources import folder_of, quiet
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.checkpoints.weights import Shape
from pytest_interp.files import digest, digest_of

_READ = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""What a model and its tokenizer are read from."""


@dataclass(frozen=True)
class Known:
    """A checkpoint as it was found when it was loaded.

    Attributes:
        fingerprint: hash of its weights.
        settings: hash of its configuration, and of what its tokenizer makes of a text.
        parity: largest difference of logits on the way from the raw model.
        device: where its weights are.
        dtype: their precision.
        shape: its size.
        d_mlp: the width of its MLPs; 0 where it has none.
        normed: whether there is a final norm.
        sites: the names of its hook points.
        tokenizer: its own, as the bridge sets it up.
    """

    fingerprint: str
    settings: str
    parity: float
    device: str
    dtype: str
    shape: Shape
    d_mlp: int
    normed: bool
    sites: tuple[str, ...]
    tokenizer: Any

    @classmethod
    def of(cls, bridge: Any, fingerprint: str, parity: float) -> Known:
        """What a bridge in compatibility mode shows. One that the user built has its own place and precision."""
        some, cfg = next(bridge.parameters()), bridge.cfg
        return cls(
            fingerprint,
            digest(f"{_configuration(bridge)} {_meaning(bridge.tokenizer)}"),
            parity,
            str(some.device),
            str(some.dtype).removeprefix("torch."),
            Shape.of(cfg),
            cfg.d_mlp or 0,
            bool(cfg.normalization_type),
            tuple(bridge.hook_dict),
            bridge.tokenizer,
        )


def place_of(folder: Path, spec: CheckpointSpec, device: str, dtype: str) -> Path | None:
    """Where in a cache it stands what is known of a checkpoint; None where not all of it is in files that can be read.

    The name is a hash of all these files, of the libraries' versions and of this package.
    """
    source = folder_of(spec)
    try:
        if source is None or not _has_all(source):
            return None
        files = [(path.name, digest_of(path)) for path in sorted(path for one in _READ for path in source.glob(one))]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # whoever loads it says what is wrong
    key = [spec.source, device, dtype, provenance.versions(), provenance.own_code(), files]
    return folder / "checkpoints" / digest(json.dumps(key))[:32]


def _has_all(source: Path) -> bool:
    """Whether all weights are in this folder: not an adapter of others, nor what a repository keeps elsewhere."""
    here = {path.name for path in source.iterdir()}
    index, config = source / "model.safetensors.index.json", json.loads((source / "config.json").read_text("utf-8"))
    several = json.loads(index.read_text("utf-8"))["weight_map"].values() if index.name in here else ()
    whole = {"model.safetensors"} <= here if not several else set(several) <= here
    return whole and "adapter_config.json" not in here and "transformers_weights" not in config


def recall(place: Path) -> Known | None:
    """What was remembered there; None where nothing was, or not all of it."""
    from transformers import AutoTokenizer

    try:
        check, _, text = (place / "known.json").read_text(encoding="utf-8").partition("\n")
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(place)
        if check != _check(text, tokenizer):
            return None
        found = json.loads(text)
        shape, sites = Shape(**found.pop("shape")), tuple(found.pop("sites"))
        return Known(shape=shape, sites=sites, tokenizer=tokenizer, **found)
    except Exception:  # tokenizers have no class of their own for what they cannot read
        return None  # cut off, or not ours: the model is loaded and remembered again


def remember(place: Path, known: Known) -> None:
    """Writes what is known, whole or not at all; not where its tokenizer does not come back from disk as it was."""
    kept = {name: value for name, value in vars(known).items() if name != "tokenizer"}
    text = json.dumps({**kept, "shape": asdict(known.shape)})
    with suppress(Exception):  # then it is loaded each time
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=place.parent, prefix=".part-"))
        try:
            with quiet():
                known.tokenizer.save_pretrained(work)
            (work / "known.json").write_text(f"{_check(text, known.tokenizer)}\n{text}", encoding="utf-8")
            if recall(work) is not None:
                work.chmod(0o755)
                shutil.rmtree(place, ignore_errors=True)
                work.rename(place)  # an error where another process was faster
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _check(text: str, tokenizer: Any) -> str:
    return digest(f"{text} {_meaning(tokenizer)}")


def _meaning(tokenizer: Any) -> str:
    """All that decides what a tokenizer makes of a text."""
    if tokenizer is None:
        return ""
    special = [getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "pad", "unk")]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return f"{special} {backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())}"


def _configuration(bridge: Any) -> str:
    """What decides, beside the weights, what a model computes; names and places left out."""
    own: Any = getattr(bridge.original_model, "config", None)
    found = {**(own.to_dict() if hasattr(own, "to_dict") else {}), **bridge.cfg.to_dict()}
    return repr(sorted((name, str(value)) for name, value in found.items() if not name.endswith(("name", "_path"))))
