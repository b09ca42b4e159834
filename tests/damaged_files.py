"""Damage to a saved model's files, drawn from a seed, and what loading the damaged files comes to.

``judge(folder)`` gives *loaded*, *refused* or a fault: an error that is no sentence, or weights that are not the
file's. A longer run: ``python tests/damaged_files.py FOLDER SEED COUNT``, where FOLDER is what save_pretrained wrote.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import torch
from safetensors.torch import load_file, save_file

from pytest_interp import Checkpoint
from pytest_interp.checkpoints import boot, known_specs, resolve
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.errors import Unavailable, UsageError

WEIGHTS = "model.safetensors"
NUMBERS = (-1, 0, 1, 3, 7, 10**9, 10**12, 2**63, 2**70, 0.5, -0.5, 1e308, float("nan"), float("inf"))
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, False, "", "x", "gpt2", "llama", "bert", "t5", "\ud800", "1", [], [1], [[]], {}, {"a": 1},
    "bfloat16", "float8", "relu", "nosuch", ["NoSuchModel"], ["LlamaForCausalLM"], ["GPT2Model"], "x" * 5000,
)  # fmt: skip
MORE_KEYS = (
    "quantization_config", "transformers_weights", "auto_map", "rope_scaling", "rope_parameters", "layer_types",
    "head_dim", "n_inner", "dtype", "torch_dtype", "attn_implementation", "_attn_implementation", "return_dict",
    "use_return_dict", "output_attentions", "output_hidden_states", "tokenizer_class", "is_encoder_decoder",
    "sliding_window", "num_labels", "id2label", "text_config", "fusion_config", "chunk_size_feed_forward",
    "is_decoder", "name_or_path", "experts_implementation", "vocab_size", "num_hidden_layers", "model_type",
)  # fmt: skip


# ---- bytes


def flipped(folder: Path, random: Random) -> str:
    """Some bytes of a file replaced; of the weights, those of the header half of the time."""
    path = _file(folder, random)
    content = bytearray(path.read_bytes())
    end = len(content)
    if path.suffix == ".safetensors" and random.random() < 0.5:
        end = 8 + struct.unpack("<Q", content[:8])[0]
    places = [random.randrange(end) for _ in range(random.choice((1, 1, 2, 8)))]
    for place in places:
        content[place] = random.choice((content[place] ^ (1 << random.randrange(8)), random.randrange(256)))
    path.write_bytes(content)
    return f"{path.name}: bytes {places} changed"


def cut(folder: Path, random: Random) -> str:
    """A file that ends early."""
    path = _file(folder, random)
    content = path.read_bytes()
    length = random.choice((0, 1, 7, 8, 9, len(content) // 2, len(content) - 1, random.randrange(len(content))))
    path.write_bytes(content[:length])
    return f"{path.name}: cut to {length} bytes"


def replaced(folder: Path, random: Random) -> str:
    """A file that is not there, or holds something else."""
    path = _file(folder, random)
    other = random.choice(("gone", "not UTF-8", "nested", "a list", "a number", "another file", "a folder", "longer"))
    content = path.read_bytes()
    path.unlink()
    match other:
        case "not UTF-8":
            path.write_bytes(content[:1] + b"\xff\xfe" + content[1:])
        case "nested":
            path.write_text('{"a":' * 20_000 + "1" + "}" * 20_000)
        case "a list":
            path.write_text("[1, 2]")
        case "a number":
            path.write_text("7")
        case "another file":
            path.write_bytes(_file(folder, random).read_bytes())
        case "a folder":
            path.mkdir()
        case "longer":
            path.write_bytes(content + content[:100])
    return f"{path.name}: {other}"


def _file(folder: Path, random: Random) -> Path:
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    weights = [path for path in files if path.suffix == ".safetensors"]
    return random.choice(weights if weights and random.random() < 0.5 else files)


# ---- tensors


def renamed(folder: Path, random: Random) -> str:
    """Tensors under other names, or missing, or more of them."""
    weights = load_file(folder / WEIGHTS)
    names = list(weights)
    name, other = random.sample(names, 2)
    prefix = random.choice(("_orig_mod.", "base_model.model.", "module.", "x"))
    head, _, rest = name.partition(".")
    what, change = random.choice(
        [
            (f"all begin with {prefix}", lambda: {prefix + name: weights[name] for name in names}),
            (f"{name} begins with {prefix}", lambda: _moved(weights, name, prefix + name)),
            (f"{name} is missing", lambda: _moved(weights, name, None)),
            (f"{name} is {rest}", lambda: _moved(weights, name, rest or head)),
            (f"{name} is there as {rest} too", lambda: {**weights, rest or head: weights[name] + 1}),
            (f"all without {head}", lambda: {name.removeprefix(f"{head}."): weights[name] for name in names}),
            (f"{name} is {name}.more", lambda: _moved(weights, name, f"{name}.more")),
            (f"{name} is {other} too", lambda: {**_moved(weights, other, None), other: weights[name].clone()}),
            ("one more", lambda: {**weights, "more.weight": torch.ones(3)}),
            ("a mask more", lambda: {**weights, f"{head}.h.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool)}),
            ("none", dict),
            ("a layer is missing", lambda: {name: weights[name] for name in names if ".1." not in name}),
        ]
    )
    _save(change(), folder)
    return f"tensors: {what}"


def _moved(weights: dict[str, torch.Tensor], name: str, to: str | None) -> dict[str, torch.Tensor]:
    others = {other: weight for other, weight in weights.items() if other != name}
    return others if to is None else {**others, to: weights[name]}


def altered(folder: Path, random: Random) -> str:
    """A tensor of another shape or type, or with values that are none."""
    weights = load_file(folder / WEIGHTS)
    name = random.choice(list(weights))
    weight = weights[name]
    what, change = random.choice(
        [
            ("is transposed", lambda: weight.t() if weight.ndim == 2 else weight[:, None]),
            ("is shorter", lambda: weight[:-1]),
            ("is longer", lambda: torch.cat([weight, weight[:1]])),
            ("is flat", weight.flatten),
            ("has another dimension", lambda: weight[None]),
            ("is empty", lambda: weight[:0]),
            ("is a number", lambda: weight.flatten()[0]),
            ("is int32", lambda: weight.view(torch.int32)),
            ("is bool", lambda: weight > 0),
            ("is float16", weight.half),
            ("is bfloat16", weight.bfloat16),
            ("is float64", weight.double),
            ("is 1e30", lambda: torch.full_like(weight, 1e30)),
            *((f"has {value}", lambda value=value: _with(weight, value, random)) for value in ("nan", "inf", "-inf")),
        ]
    )
    _save({**weights, name: change()}, folder)
    return f"tensors: {name} {what}"


def _with(weight: torch.Tensor, value: str, random: Random) -> torch.Tensor:
    changed = weight.clone().flatten()
    changed[random.randrange(len(changed))] = float(value)
    return changed.view(weight.shape)


def _save(weights: dict[str, torch.Tensor], folder: Path) -> None:
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / WEIGHTS, {"format": "pt"})


def sharded(folder: Path, random: Random) -> str:
    """The weights in two files and an index, whole or damaged."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names, parts = list(weights), ["model-1.safetensors", "model-2.safetensors"]
    places: dict[str, Any] = {name: parts[i % 2] for i, name in enumerate(names)}
    for part in parts:
        save_file({name: weights[name] for name in names if places[name] == part}, folder / part, {"format": "pt"})
    index: dict[str, Any] = {"metadata": {"total_size": 1}, "weight_map": places}
    name = random.choice(names)
    what, change = random.choice(
        [
            ("whole", lambda: None),
            ("a shard is missing", (folder / parts[0]).unlink),
            ("a shard is cut", lambda: (folder / parts[0]).write_bytes((folder / parts[0]).read_bytes()[:-9])),
            ("the shard lacks a tensor", lambda: places.update({"h.9.weight": parts[0]})),
            ("a tensor in the other shard", lambda: places.update({name: parts[names.index(name) % 2 - 1]})),
            ("a tensor of the index is missing", lambda: places.pop(name)),
            ("the index leads out", lambda: places.update({name: "../model-1.safetensors"})),
            ("the index leads to a number", lambda: places.update({name: 7})),
            ("the index has no map", lambda: index.pop("weight_map")),
            ("the index maps to nothing", lambda: index.update(weight_map={})),
            ("the index is a list", lambda: index.update(weight_map=[1])),
        ]
    )
    change()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return f"shards: {what}"


# ---- settings


def configured(folder: Path, random: Random) -> str:
    """A value of config.json replaced, added or taken away."""
    return _set(folder / "config.json", random, MORE_KEYS)


def tokenized(folder: Path, random: Random) -> str:
    """A value of a tokenizer's files replaced, added or taken away."""
    name = random.choice(("tokenizer.json", "tokenizer_config.json", "generation_config.json"))
    return _set(folder / name, random, ("tokenizer_class", "model_max_length", "chat_template", "added_tokens_decoder"))


def _set(path: Path, random: Random, more: tuple[str, ...]) -> str:
    settings = json.loads(path.read_text())
    table, above = settings, ""
    while True:
        key = random.choice([*table, *more] if random.random() < 0.3 or not table else list(table))
        inner = table.get(key)
        if not isinstance(inner, dict) or not inner or random.random() < 0.3:
            break
        table, above = inner, f"{above}{key}."
    value = random.choice(VALUES)
    if random.random() < 0.1:
        table.pop(key, None)
        said = "is gone"
    else:
        table[key] = value
        said = f"is {value!r:.40}"
    path.write_text(json.dumps(settings))
    return f"{path.name}: {above}{key} {said}"


# ---- what comes of it

KINDS: tuple[Callable[[Path, Random], str], ...] = (
    flipped, flipped, cut, replaced, renamed, altered, sharded, configured, configured, tokenized,
)  # fmt: skip


def damage(source: Path, target: Path, seed: int, index: int) -> str:
    """Makes ``target`` a damaged copy of ``source``, the same one for a seed and an index; says what was damaged."""
    random = Random(f"{seed} {index}")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return random.choice(KINDS)(target, random)


class Outcome(NamedTuple):
    """What loading came to: *loaded*, *refused*, *raw error* or *wrong weights*, and what was said."""

    kind: str
    said: str


def judge(folder: Path) -> Outcome:
    """Loads and preflights what is in a folder, and compares the weights with those in its files."""
    seen: dict[str, torch.Tensor] = {}

    original = vars(boot)["load_transformers"]  # that of a test, where it has put another in place

    def listening(*arguments):
        model, tokenizer = original(*arguments)
        # The bridge wraps and folds the model's parts in place.
        seen.update({name: weight.detach().clone() for name, weight in model.state_dict().items()})
        return model, tokenizer

    try:
        with mock.patch.object(boot, "load_transformers", listening):
            preflight(Checkpoint(resolve(str(folder), known_specs())))
    except (UsageError, Unavailable) as error:
        return Outcome("refused", str(error))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return Outcome("raw error", f"{type(error).__name__}: {error}")
    wrong = differences(folder, seen)
    return Outcome("wrong weights", ", ".join(wrong)) if wrong else Outcome("loaded", "")


def differences(folder: Path, loaded: dict[str, torch.Tensor]) -> list[str]:
    """The names of tensors that are not, in a model, what they are in the files of a folder."""
    stored = {_bare(name): weight for path in sorted(folder.glob("model*.safetensors")) for name, weight in _read(path)}
    loaded = {_bare(name): weight for name, weight in loaded.items()}
    missing = [name for name in loaded if name not in stored and not _tied(name, loaded)]
    wrong = [name for name, weight in stored.items() if name in loaded and not _same(weight, loaded[name])]
    ignored = (".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq")
    more = [name for name in stored if name not in loaded and not name.endswith(ignored)]
    return [*missing, *wrong, *more]


def _bare(name: str) -> str:
    """A tensor's name without what versions of transformers put before it or call otherwise."""
    base = next((base for base in ("transformer.", "model.", "gpt_neox.") if name.startswith(base)), "")
    return name.removeprefix(base).replace("embed_out.", "lm_head.")


def _tied(name: str, loaded: dict[str, torch.Tensor]) -> bool:
    """Whether a model's unembedding is its embedding, which is saved once."""
    embeddings = [
        loaded[other] for other in ("wte.weight", "embed_tokens.weight", "embed_in.weight") if other in loaded
    ]
    return name == "lm_head.weight" and any(torch.equal(loaded[name], weight) for weight in embeddings)


def _same(stored: torch.Tensor, loaded: torch.Tensor) -> bool:
    return stored.shape == loaded.shape and torch.equal(stored.to(loaded.dtype), loaded)


def _read(path: Path) -> list[tuple[str, torch.Tensor]]:
    """The tensors of a safetensors file, read without the library that the plugin uses."""
    types = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:end])
    tensors = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, stop = entry["data_offsets"]
        # A type that is none of these cannot be a weight: no tensor is equal to it.
        kind = types.get(entry["dtype"])
        flat = torch.frombuffer(bytearray(content[end + begin : end + stop] or b"\0" * 8), dtype=kind or torch.uint8)
        tensors.append((name, flat.view(entry["shape"]) if kind and stop > begin else torch.full((1,), torch.nan)))
    return tensors


def outcomes(source: Path, seed: int, count: int, *, first: int = 0) -> list[tuple[int, str, Outcome]]:
    """What loading comes to for some damaged copies of a saved model: index, what was damaged, outcome."""
    entries = []
    with tempfile.TemporaryDirectory() as work:
        for index in range(first, first + count):
            target = Path(work) / "model"
            said = damage(source, target, seed, index)
            entries.append((index, said, judge(target)))
    return entries


def main() -> None:
    """Prints the counts of a run, and every fault."""
    source, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    entries = outcomes(source, seed, count)
    for index, said, outcome in entries:
        if outcome.kind not in ("loaded", "refused"):
            print(f"{index}: {said}: {outcome.kind}: {outcome.said}")
    print(dict(Counter(outcome.kind for _, _, outcome in entries)))


if __name__ == "__main__":
    main()
