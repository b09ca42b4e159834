"""No file of weights gives a wrong number or a traceback: each is loaded as it is, or refused with a sentence."""

import json
import re
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import _randomised, random_gpt2, random_llama, random_neox
from damaged_files import differences, judge, outcomes
from pytest_interp import Checkpoint, CheckpointSpec
from pytest_interp.checkpoints import boot, known_specs, resolve, sources
from pytest_interp.checkpoints.boot import device_of
from pytest_interp.checkpoints.preflight import preflight
from pytest_interp.errors import Unavailable, UsageError

KNOWN = known_specs()
WEIGHTS = "model.safetensors"


def small_gpt2(tokenizer):
    return random_gpt2(tokenizer, n_layer=2, n_head=2, n_embd=16)


def saved(path, model, tokenizer):
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def saved_gpt2(tmp_path_factory, tokenizer):
    return saved(tmp_path_factory.mktemp("saved") / "gpt2", small_gpt2(tokenizer), tokenizer)


@pytest.fixture(scope="module")
def saved_llama(tmp_path_factory, tokenizer):
    return saved(tmp_path_factory.mktemp("saved") / "llama", random_llama(tokenizer), tokenizer)


@pytest.fixture
def folder(saved_gpt2, tmp_path):
    return shutil.copytree(saved_gpt2, tmp_path / "my-model")


@pytest.fixture
def llama(saved_llama, tmp_path):
    return shutil.copytree(saved_llama, tmp_path / "my-llama")


def load(folder):
    return Checkpoint(resolve(str(folder), KNOWN))


def refused(folder, *parts):
    """The sentence that refuses a folder; each part is in it, in their order."""
    with pytest.raises(UsageError, match=".*".join(re.escape(part) for part in parts)) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(folder, change):
    """Saves other tensors: what ``change`` makes of the dictionary of them."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})


def configure(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# ---- a fuzz


@pytest.mark.parametrize(("model", "seed"), [("saved_gpt2", 0), ("saved_llama", 1)])
def test_damaged_files_are_loaded_as_they_are_or_refused(model, seed, request):
    found = outcomes(request.getfixturevalue(model), seed, 30)
    assert [entry for entry in found if entry[-1].kind not in ("loaded", "refused")] == []
    counts = Counter(outcome.kind for _, _, outcome in found)
    assert min(counts["loaded"], counts["refused"]) >= 5
    assert not any("\n" in outcome.said for _, _, outcome in found)


def test_the_fuzz_sees_weights_that_are_not_the_files(folder, monkeypatch):
    """Otherwise it would prove nothing."""
    assert judge(folder).kind == "loaded"
    original = boot.load_transformers

    def drawn(*arguments):
        model, tokenizer = original(*arguments)
        with torch.no_grad():
            model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1
        return model, tokenizer

    with monkeypatch.context() as patch:
        patch.setattr(boot, "load_transformers", drawn)
        assert judge(folder) == ("wrong weights", "h.1.mlp.c_fc.weight")
    monkeypatch.setattr(boot, "load_transformers", lambda *_: 1 / 0)
    assert judge(folder) == ("raw error", "ZeroDivisionError: division by zero")


# ---- names and shapes of tensors


@pytest.mark.parametrize(
    ("prefix", "advice"),
    [
        ("_orig_mod.", "model._orig_mod.save_pretrained(DIR)"),
        ("base_model.model.", "model.merge_and_unload().save_pretrained(DIR)"),
        ("module.", "model.module.save_pretrained(DIR)"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_weights_of_a_wrapped_model(folder, prefix, advice, whole):
    def wrapped(weights):
        return {prefix + name if whole or ".h.1." in name else name: weight for name, weight in weights.items()}

    rewrite(folder, wrapped)
    refused(folder, f"{28 if whole else 12} of its 28 tensors begin with {prefix!r}", advice)


def without(name):
    return lambda weights: {other: weight for other, weight in weights.items() if other != name}


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (without("transformer.h.1.ln_1.weight"), ["lack transformer.h.1.ln_1.weight", "drawn at random"]),
        (lambda weights: {**weights, "more.weight": torch.ones(3)}, ["hold more.weight, which GPT2LMHeadModel does"]),
        (lambda weights: {**weights, "transformer.h.0.attn.bias": torch.ones(9)}, ["hold transformer.h.0.attn.bias"]),
        (
            lambda weights: {**weights, "transformer.h.1.mlp.c_fc.bias": torch.ones(8)},
            ["have other shapes: transformer.h.1.mlp.c_fc.bias ([8], by config.json [64])"],
        ),
        (
            lambda weights: {**weights, "h.1.ln_1.bias": torch.ones(16)},
            ["hold h.1.ln_1.bias with and without 'transformer.'"],
        ),
        (
            lambda weights: {name: weight.view(torch.int32) for name, weight in weights.items()},
            ["hold transformer.h.0.attn.c_attn.bias (I32)", "and 25 more, no floating-point numbers"],
        ),
        (lambda _: {}, ["config.json says n_layer = 2, but its weights are 0 tensors"]),
        (
            lambda weights: {**weights, "transformer.ln_f.bias": torch.full((16,), torch.nan)},
            ["NaN or infinite weights in transformer.ln_f.bias as float32"],
        ),
        (
            lambda weights: {**weights, "transformer.ln_f.bias": torch.full((16,), -torch.inf)},
            ["NaN or infinite weights in transformer.ln_f.bias as float32"],
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, change, parts):
    rewrite(folder, change)
    refused(folder, *parts)


def test_a_layer_of_which_the_configuration_does_not_know(folder):
    configure(folder, n_layer=1)
    refused(folder, "hold transformer.h.1.attn.c_attn.bias, ", "which GPT2LMHeadModel does not have")


def test_an_output_matrix_that_is_neither_there_nor_tied(llama):
    rewrite(llama, without("lm_head.weight"))
    refused(llama, "lack lm_head.weight")


def test_what_older_versions_saved_or_left_out_is_no_fault(folder, llama):
    def older(weights):
        bare = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
        masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool) for layer in range(2)}
        return {**bare, **masks, "h.0.attn.masked_bias": torch.tensor(-1e4)}

    expected = load(folder).fingerprint
    rewrite(folder, older)
    assert load(folder).fingerprint == expected
    same = load(llama).fingerprint
    rewrite(llama, lambda weights: {**weights, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    assert load(llama).fingerprint == same


def test_masks_of_pythia_are_no_fault(tmp_path, tokenizer):
    path = saved(tmp_path / "neox", random_neox(tokenizer), tokenizer)
    expected = load(path).fingerprint
    at = "gpt_neox.layers.0.attention"
    more = {f"{at}.bias": torch.ones(1, 1, 64, 64), f"{at}.masked_bias": torch.tensor(-1e9)}
    more[f"{at}.rotary_emb.inv_freq"] = torch.ones(3)
    rewrite(path, lambda weights: {**weights, **more})
    assert load(path).fingerprint == expected


def test_tied_weights_may_be_saved_once_or_twice(folder, llama):
    expected = load(folder).fingerprint
    rewrite(folder, lambda weights: {**weights, "lm_head.weight": weights["transformer.wte.weight"].clone()})
    assert load(folder).fingerprint == expected
    # Weights that differ are the file's, whatever the configuration says of them.
    apart = load(llama).fingerprint
    configure(llama, tie_word_embeddings=True)
    assert load(llama).fingerprint == apart
    assert judge(llama).kind == "loaded"


def test_weights_beyond_the_range_of_a_precision(folder):
    rewrite(folder, lambda weights: {**weights, "transformer.ln_f.bias": torch.full((16,), 1e6)})
    load(folder)
    with pytest.raises(UsageError, match="infinite weights in transformer.ln_f.bias as float16.*pass --interp-dtype"):
        Checkpoint(resolve(str(folder), KNOWN), dtype="float16")


def test_large_weights_whose_sum_is_infinite_are_numbers(folder):
    rewrite(folder, lambda weights: {**weights, "transformer.h.0.mlp.c_fc.bias": torch.full((64,), 3e38)})
    spec = resolve(str(folder), KNOWN)
    model, _ = sources.load_transformers(spec, torch.float32)
    boot.check_finite(model, "my-model")


# ---- files


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 2000, 20_000, -1])
def test_weights_that_are_cut(folder, size):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:size])
    refused(folder, f"{WEIGHTS} is no whole safetensors file: {path.stat().st_size} bytes are here", "copy all files")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("config.json", b"", "config.json is not a JSON file"),
        ("config.json", b'{"model_type": "gpt2"', "config.json is not a JSON file"),
        ("config.json", b"\xff\xfe{}", "config.json is not a JSON file (UnicodeDecodeError"),
        ("config.json", b"[1]", "config.json holds a JSON list, not an object"),
        ("config.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "config.json is not a JSON file (RecursionError"),
        ("config.json", b"{}", "config.json describes no model of transformers"),
        ("tokenizer.json", b"{", "its tokenizer cannot be read"),
        ("tokenizer.json", b"", "its tokenizer cannot be read"),
        ("tokenizer.json", b"[]", "its tokenizer cannot be read"),
        ("tokenizer.json", b"\xff", "its tokenizer cannot be read"),
        ("tokenizer.json", b'{"model":' * 9999 + b"1" + b"}" * 9999, "its tokenizer cannot be read"),
        ("tokenizer_config.json", b"{", "its tokenizer cannot be read"),
        ("tokenizer_config.json", b"7", "its tokenizer cannot be read"),
        ("tokenizer_config.json", b'{"tokenizer_class": 7}', "its tokenizer cannot be read"),
        ("tokenizer_config.json", b"\xff", "its tokenizer cannot be read"),
    ],
)
def test_settings_that_cannot_be_read(folder, name, content, part):
    (folder / name).write_bytes(content)
    refused(folder, part)


def test_a_folder_without_a_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    refused(folder, "has no tokenizer; copy tokenizer.json and tokenizer_config.json", "save_pretrained(DIR)")


def test_a_tokenizer_without_words_or_of_another_model(folder, tokenizer):
    path = folder / "tokenizer.json"
    whole = json.loads(path.read_text())
    words = whole["model"]["vocab"]
    path.write_text(json.dumps({**whole, "model": {**whole["model"], "vocab": {"<bos>": 0, "<unk>": 1}}}))
    refused(folder, "its tokenizer has no words")
    more = {**words, **{f"word{i}": i for i in range(190, 200)}}
    path.write_text(json.dumps({**whole, "model": {**whole["model"], "vocab": more}}))
    refused(folder, "its tokenizer has 10 tokens with ids from 190 on (word190, word191, word192 and 7 more)")


def test_an_adapter(folder):
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "is an adapter (adapter_config.json)", "merge_and_unload")
    with pytest.raises(UsageError, match="is an adapter"):
        Checkpoint(CheckpointSpec("by-hand", "directory", str(folder)))


def test_weights_under_another_name(folder):
    (folder / WEIGHTS).rename(folder / "weights.safetensors")
    refused(folder, "has neither model.safetensors nor model.safetensors.index.json, but weights.safetensors")
    configure(folder, transformers_weights="weights.safetensors")
    (folder / "weights.safetensors").rename(folder / WEIGHTS)
    refused(folder, "keeps its weights elsewhere (transformers_weights: 'weights.safetensors')")


# ---- several files and their index


@pytest.fixture
def shards(folder):
    """A folder whose weights are two files, and what changes its index."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    places = {name: f"model-{1 + i % 2}.safetensors" for i, name in enumerate(weights)}
    for part in ("model-1.safetensors", "model-2.safetensors"):
        save_file({name: weights[name] for name in weights if places[name] == part}, folder / part, {"format": "pt"})

    def index(**changes):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places, **changes}))

    index()
    return SimpleNamespace(folder=folder, places=places, index=index, name=next(iter(places)))


def test_several_files_are_as_one(shards, saved_gpt2):
    assert load(shards.folder).fingerprint == load(saved_gpt2).fingerprint


def test_files_that_are_not_as_their_index_says(shards):
    folder, name, places = shards.folder, shards.name, shards.places
    shards.index(weight_map={**places, "h.9.weight": "model-1.safetensors"})
    refused(folder, "names tensors that are not in their files: h.9.weight (model-1.safetensors)")
    shards.index(weight_map={**places, name: "model-2.safetensors"})
    refused(folder, f"names tensors that are not in their files: {name} (model-2.safetensors)")
    for place in ("../model-1.safetensors", 7, "model.bin", ""):
        shards.index(weight_map={**places, name: place})
        refused(folder, f"puts {name} into {place!r}, which is no *.safetensors file beside it")
    for nothing in ({}, [], None):
        shards.index(weight_map=nothing)
        refused(folder, "has no weight_map")
    (folder / "model.safetensors.index.json").write_text("{")
    refused(folder, "model.safetensors.index.json is not a JSON file")


def test_files_of_an_index_that_are_damaged(shards):
    part = shards.folder / "model-1.safetensors"
    other, whole = shards.folder / "model-2.safetensors", part.read_bytes()
    part.write_bytes(other.read_bytes())
    refused(shards.folder, "in model-2.safetensors and in another file")
    part.write_bytes(whole[:-4])
    refused(shards.folder, "model-1.safetensors is no whole safetensors file")
    part.unlink()
    refused(shards.folder, "lacks model-1.safetensors, which model.safetensors.index.json names")


# ---- configurations


@pytest.mark.parametrize("key", ["n_layer", "n_head", "n_embd", "vocab_size", "n_positions", "n_inner"])
@pytest.mark.parametrize("value", [-1, 0, 3, 10**9, 10**12, 2**70, 0.5, "2", [2], True])
def test_sizes_that_are_not_those_of_the_weights(folder, key, value):
    configure(folder, **{key: value})
    refused(folder, "")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"n_layer": 10**9}, ["config.json says n_layer = 1000000000, but its weights are 28 tensors"]),
        ({"vocab_size": 10**12}, ["describes a model with more than 16,000,000,000,000 numbers, its files hold 10,"]),
        ({"activation_function": "nosuch"}, ["transformers cannot load this model (KeyError: 'nosuch')"]),
        ({"model_type": "nosuch"}, ["config.json describes no model of transformers", "nosuch"]),
        ({"model_type": 7}, ["config.json describes no model of transformers"]),
        ({"model_type": "llama"}, ["describes a model with more than", "numbers, its files hold"]),
        ({"n_embd": 2**40}, ["describes a model with more than"]),
        ({"n_head": 5}, ["transformers cannot load this model"]),
        ({"layer_norm_epsilon": -10}, ["gives NaN or infinite logits on random tokens"]),
        ({"architectures": ["NoSuchModel"]}, ["TransformerLens cannot bridge GPT2LMHeadModel"]),
    ],
)
def test_configurations_that_do_not_go_with_the_weights(folder, values, parts):
    configure(folder, **values)
    refused(folder, *parts)


def test_a_context_that_is_shorter_than_the_probe(tmp_path, tokenizer):
    path = saved(tmp_path / "short", random_gpt2(tokenizer, n_positions=4), tokenizer)
    refused(path, "GPT2LMHeadModel does not run as a language model on 8 tokens")
