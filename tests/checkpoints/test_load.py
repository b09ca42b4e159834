"""`load` gives a notebook the checkpoint that a claim would get."""

import gc
import re

import pytest
import torch
from models import CLAIMS, random_gpt2

from pytest_interp import Checkpoint, CheckpointSpec, UsageError, load, load_circuit
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.planted.build import build_planted
from pytest_interp.checkpoints.planted.rules import RULES


def test_a_registered_name(planted):
    checkpoint = load("planted-ioi")
    assert (checkpoint.name, checkpoint.fingerprint, checkpoint.bos) == ("planted-ioi", planted.fingerprint, True)
    assert checkpoint.guard.has_model


def test_a_directory(tmp_path, tokenizer):
    random_gpt2(tokenizer).save_pretrained(tmp_path / "mine")
    tokenizer.save_pretrained(tmp_path / "mine")
    default, other = load(tmp_path / "mine"), load(str(tmp_path / "mine"), dtype="bfloat16", bos=True)
    assert (default.name, default.dtype, other.dtype, other.bos) == ("mine", "float32", "bfloat16", True)


def test_a_model_and_its_tokenizer_is_copied(tokenizer):
    model = random_gpt2(tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    checkpoint = load(model, tokenizer, name="step 3")
    assert checkpoint.name == "step 3"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    weight = checkpoint.bridge.blocks[0].attn.o.weight
    weight.data.zero_()
    assert checkpoint.restore() == "the model was loaded anew"


def test_a_bridge_and_a_spec(tmp_path):
    assert load(build_planted(RULES, tmp_path)).name == "model"
    assert load(CheckpointSpec("own", loader=lambda: build_planted(RULES, tmp_path))).name == "own"


def test_a_circuit_brings_its_bos_and_is_checked(tmp_path):
    text = (CLAIMS / "circuits" / "planted-ioi.toml").read_text()
    path = tmp_path / "own.toml"
    path.write_text(re.sub("^bos = .*$", "bos = false", text, flags=re.M))
    circuit = load_circuit(path)
    checkpoint = load("planted-ioi", circuit=circuit)
    assert (checkpoint.circuit, checkpoint.bos) == (circuit, False)
    assert load("planted-ioi", circuit=circuit, bos=True).bos
    path.write_text(text.replace('"3.0"', '"9.9"'))
    with pytest.raises(UsageError, match=r"planted-ioi has no head 9\.9"):
        load("planted-ioi", circuit=load_circuit(path))


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_loading_as_before(enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        load("planted-ioi")
        with pytest.raises(UsageError):
            load(CheckpointSpec("no model", loader=lambda: None))
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (("planted-iol",), {}, "unknown checkpoint 'planted-iol': pass one of .*nearest: planted-ioi"),
        ((3,), {}, "int is no model that can be loaded; pass a name, a directory, a .gguf file"),
        ((None,), {}, "NoneType is no model that can be loaded"),
        (
            ("planted-ioi",),
            {"revision": "step3"},
            "^revision is for models of the hub; planted-ioi comes",
        ),
        (("planted-ioi",), {"dtype": "int8"}, "^dtype is 'int8'; allowed: float64"),
        (("planted-ioi",), {"device": "tpu"}, "^device 'tpu' cannot be used.*pass auto, cuda, mps or cpu"),
        (("planted-ioi",), {"bos": "yes"}, "bos is 'yes'; pass True or False"),
        (("planted-ioi",), {"circuit": "planted-ioi"}, "circuit is 'planted-ioi'; pass a Circuit"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        load(*arguments, **options)


def test_a_model_without_its_tokenizer_or_in_a_wrapper(tokenizer):
    model = random_gpt2(tokenizer)
    with pytest.raises(UsageError, match=r"GPT2LMHeadModel was passed without its tokenizer; pass the model and"):
        load(model)
    with pytest.raises(UsageError, match="'planted-ioi' has its own tokenizer; leave tokenizer out"):
        load("planted-ioi", tokenizer)
    wrapper = torch.nn.Module()
    wrapper.module = model
    with pytest.raises(UsageError, match=r"Module is no model that can be loaded \(that is model\.module\)"):
        load(wrapper, tokenizer)


def test_a_model_with_hooks_is_refused_as_the_fixture_does(tmp_path):
    bridge = build_planted(RULES, tmp_path)
    bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value)
    with pytest.raises(UsageError, match="comes with hooks attached"):
        load(bridge)


def test_a_checkpoint_has_a_public_bridge(planted):
    assert planted.bridge is planted.forward.bridge is planted.weights.bridge
    assert isinstance(Checkpoint(known_specs()["planted-ioi"]).bridge, type(planted.bridge))


def test_loading_walks_all_modules_a_few_times_only(monkeypatch):
    """To switch the mode of a bridge takes as long as a short pass, and so does a collection of garbage."""
    from transformer_lens.model_bridge import TransformerBridge

    switched, collected, train = [], [], TransformerBridge.train
    monkeypatch.setattr(TransformerBridge, "train", lambda self, mode=True: switched.append(mode) or train(self, mode))
    monkeypatch.setattr(gc, "collect", lambda *_: collected.append(1))
    checkpoint = load("planted-ioi")
    assert len(switched) <= 3
    assert collected == []
    assert not checkpoint.bridge.training
    checkpoint.reload()
    assert collected == [1]
