"""A change of the model that is undone again leaves no number behind: neither in memory nor on disk.

Each change is made, a number is measured under it, and it is undone: the next measurement is that of the model as it
was loaded. And what is measured under a change is the changed model's, though the other's is in memory.
"""

import threading

import pytest
import torch
from model_changes import (
    CHANGES,
    Unsuitable,
    data_in_place,
    embedding_of_one_name,
    exchanged_heads,
    global_hook,
    module_hook,
    numbers,
    other_data,
    other_parameter,
    replaced_forward,
    replaced_softmax,
)

from conftest import experiment_on, random_gpt2, random_llama
from pytest_interp import Checkpoint, CheckpointSpec
from pytest_interp.cache import Cache
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.heads import Head
from pytest_interp.measure import logit_diff


def build(kind, tokenizer, tmp_path):
    """A model of each kind of source."""
    if kind == "planted":
        return Checkpoint(known_specs()["planted-ioi"])
    if kind == "directory":
        random_gpt2(tokenizer).save_pretrained(tmp_path / "mine")
        tokenizer.save_pretrained(tmp_path / "mine")
        return Checkpoint(CheckpointSpec("mine", "directory", str(tmp_path / "mine"), bos=True))
    model = {"loader": random_llama, "bridge": random_gpt2}[kind]
    if kind == "loader":
        return Checkpoint(CheckpointSpec("mine", loader=lambda: (model(tokenizer), tokenizer), bos=True))
    return Checkpoint(CheckpointSpec("mine", loader=lambda: bridge_of(model(tokenizer), tokenizer, tmp_path), bos=True))


def bridge_of(model, tokenizer, tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer.save_pretrained(tmp_path / "tokenizer")
    named = type(tokenizer).from_pretrained(tmp_path / "tokenizer")
    return TransformerBridge.boot_transformers("mine", hf_model=model, tokenizer=named, device="cpu")


@pytest.fixture(scope="module", params=["planted", "directory", "loader", "bridge"])
def model(request, tokenizer, tmp_path_factory):
    return build(request.param, tokenizer, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def expected(model):
    """The numbers of the model as it was loaded."""
    model.cache = None
    return numbers(model)


@pytest.mark.parametrize("cached", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_that_is_undone_leaves_no_number_behind(model, expected, tmp_path, change, cached):
    if cached and model.spec.kind == "user":
        pytest.skip("numbers of a model that the user built are never on disk")
    model.memo.clear()
    model.cache = Cache.at(tmp_path / "cache") if cached else None
    try:
        with change(model._bridge):
            changed = numbers(model)
    except Unsuitable as reason:
        pytest.skip(str(reason))
    assert numbers(model) == expected
    # And the other way round: what is in memory by now is not taken for the changed model's.
    with change(model._bridge):
        again = numbers(model)
    assert again == changed
    assert again != expected
    assert model.disturbed() == []


SAID = {
    data_in_place: "changed weights",
    other_data: "changed weights",
    other_parameter: "other modules, parameters or forward functions",
    embedding_of_one_name: "changed weights",
    module_hook: "1 hook attached",
    global_hook: "hooks on every module (torch's global ones)",
    replaced_softmax: "torch.nn.functional.softmax replaced",
    replaced_forward: "other modules, parameters or forward functions",
    exchanged_heads: "changed weights",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_left_behind_is_named_and_restored(model, expected, change):
    model.cache = None
    made = change(model._bridge)  # never undone
    try:
        made.__enter__()
    except Unsuitable as reason:
        pytest.skip(str(reason))
    assert SAID[change] in model.disturbed()
    anew = change not in (global_hook, replaced_softmax)
    assert model.restore() == ("the model was loaded anew" if anew else "all was put back")
    assert model.disturbed() == []
    assert numbers(model) == expected


SETTINGS = {
    "the default dtype at torch.float64 (it was torch.float32)": lambda: torch.set_default_dtype(torch.float64),
    "the default device at meta (it was cpu)": lambda: torch.set_default_device("meta"),
    "float32 matmul precision at medium (it was highest)": lambda: torch.set_float32_matmul_precision("medium"),
    "gradients at False (it was True)": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms at True (it was False)": lambda: torch.use_deterministic_algorithms(True),
    "autocast on the CPU at True (it was False)": lambda: torch.set_autocast_enabled("cpu", True),
}


@pytest.mark.parametrize("said", SETTINGS)
def test_settings_of_the_process_are_named_and_restored(planted, said):
    before = numbers(planted)
    try:
        SETTINGS[said]()
        assert planted.disturbed() == [said]
        if not said.startswith("gradients"):
            with planted.measuring() as look:
                assert look.foreign
    finally:
        assert planted.restore() == "all was put back"
    assert planted.disturbed() == []
    assert numbers(planted) == before


def test_gradients_that_are_switched_off_for_a_while_cost_no_memory(planted):
    with torch.no_grad(), planted.measuring() as look:
        assert look.memo is planted.memo


def test_other_threads_compute_in_the_same_state_and_are_no_part_of_a_measurement(planted):
    seen = []
    with planted.measuring():
        thread = threading.Thread(target=lambda: seen.append(planted.is_measuring))
        thread.start()
        thread.join()
        assert planted.is_measuring
    assert seen == [False]
    assert not planted.is_measuring


def test_one_measurement_takes_one_look(planted, monkeypatch):
    from pytest_interp import assert_head_patch_effect

    looks, look = [], type(planted)._look
    monkeypatch.setattr(type(planted), "_look", lambda self: looks.append(1) or look(self))
    experiment = experiment_on(planted)
    assert_head_patch_effect(experiment, "3.0", at="END", at_least=0.1)
    assert len(looks) == 1


# ---- what cannot be listed


@pytest.fixture
def llama(tokenizer):
    return Checkpoint(CheckpointSpec("mine", loader=lambda: (random_llama(tokenizer), tokenizer), bos=True))


def test_an_attribute_of_a_module_shows_in_the_outputs(llama):
    before = numbers(llama)
    norm = next(module for module in llama._bridge.original_model.modules() if hasattr(module, "variance_epsilon"))
    epsilon, norm.variance_epsilon = norm.variance_epsilon, 0.5
    assert llama.disturbed() == ["other outputs on fixed prompts"]
    assert numbers(llama) != before
    norm.variance_epsilon = epsilon
    assert numbers(llama) == before


def rotary_of(bridge):
    return next(module for module in bridge.original_model.modules() if hasattr(module, "inv_freq"))


def test_rotary_frequencies_are_buffers_and_are_seen(llama):
    before, rotary = numbers(llama), rotary_of(llama._bridge)
    saved = rotary.inv_freq.clone()
    rotary.inv_freq.mul_(1.005)
    assert llama.disturbed() == ["changed buffers"]
    assert numbers(llama) != before
    rotary.inv_freq.copy_(saved)
    assert numbers(llama) == before


def test_a_broken_rotary_embedding_is_never_read_from_the_cache(tokenizer, tmp_path, monkeypatch):
    """Positions off by half a percent, from before the model is loaded: another process that would have been green."""
    from transformers.models.llama import modeling_llama

    random_llama(tokenizer).save_pretrained(tmp_path / "mine")
    tokenizer.save_pretrained(tmp_path / "mine")
    spec = CheckpointSpec("mine", "directory", str(tmp_path / "mine"), bos=True)

    def measured():
        checkpoint = Checkpoint(spec)
        checkpoint.cache = Cache.at(tmp_path / "cache")
        return logit_diff(experiment_on(checkpoint, n=8)).values, checkpoint.cache.read

    whole, read = measured()
    assert read == 0
    assert measured() == (whole, 1)
    forward = modeling_llama.LlamaRotaryEmbedding.forward
    monkeypatch.setattr(
        modeling_llama.LlamaRotaryEmbedding,
        "forward",
        lambda self, x, position_ids: forward(self, x, 1.005 * position_ids),
    )
    broken, read = measured()
    assert read == 0
    assert broken != whole


# ---- what is handed out


def test_weights_and_activations_are_handed_out_as_copies(planted):
    experiment = experiment_on(planted, n=8)
    before = numbers(planted)
    hook = planted.hook("z", 3)
    for tensor in (
        planted.w_u(), planted.w_e(), planted.b_u(), planted.w_v(3), planted.w_o(3), planted.value_bias(3),
        *experiment.activation(hook), *experiment.activations([hook], experiment.data.clean)[hook],
        experiment.answer_logits(), experiment.logit_diffs(),
        experiment.logits_at(0, torch.zeros(len(experiment.data.clean.groups[0].rows), dtype=torch.long)),
    ):  # fmt: skip
        tensor.fill_(7)
        tensor.data.fill_(7)
    assert planted.disturbed() == []
    assert numbers(planted) == before
    assert not bool((experiment.activation(hook)[0] == 7).any())


def test_data_sets_cannot_be_changed(planted):
    experiment = experiment_on(planted, n=8)
    before, (group, *_) = numbers(planted), experiment.data.clean.groups
    for tensor in (group.tokens, group.answers, group.distractors, group.positions["S2"], group.pairs):
        tensor.fill_(1)
    assert logit_diff(experiment).values == before[0]
    with pytest.raises(TypeError):
        group.positions["S2"] = group.positions["S1"]
    with pytest.raises(TypeError):
        experiment.data.corrupted["abc"] = experiment.data.clean
    with pytest.raises(TypeError):
        experiment.data.clean.prompts[0].tags["order"] = "BABA"


def test_the_circuit_and_bos_of_a_checkpoint_are_not_a_claims_to_set(planted):
    with pytest.raises(AttributeError):
        planted.circuit = None
    with pytest.raises(AttributeError):
        planted.bos = False


@pytest.mark.parametrize(("setting", "value"), [("bos_token", "<unk>"), ("padding_side", "left")])
def test_a_tokenizer_that_is_changed_is_named_and_restored(tokenizer, tmp_path, setting, value):
    checkpoint = build("directory", tokenizer, tmp_path)
    before = getattr(checkpoint.tokenizer, setting, None)
    setattr(checkpoint.tokenizer, setting, value)
    assert checkpoint.disturbed() == ["a changed tokenizer"]
    assert checkpoint.restore() == "the model was loaded anew"
    assert getattr(checkpoint.tokenizer, setting, None) == before


def test_damage_has_a_memory_of_its_own_that_a_change_within_it_does_not_reach(planted):
    experiment, weight = experiment_on(planted, n=8), planted._bridge.blocks[2].attn.o.weight
    with damaged(planted, Damage("zeroed", (Head(3, 0),))):
        before, saved = logit_diff(experiment).values, weight.data.clone()
        weight.data.zero_()
        assert logit_diff(experiment).values != before
        weight.data.copy_(saved)
        assert logit_diff(experiment).values == before
