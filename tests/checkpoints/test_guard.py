"""A change of the model that is undone again leaves no number behind: neither in memory nor on disk.

Each change is made, a number is measured under it, and it is undone: the next measurement is that of the model as it
was loaded. And what is measured under a change is the changed model's, though the other's is in memory.
"""

import threading
import warnings
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as functional
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
from models import build, experiment_on, random_llama
from torch.overrides import TorchFunctionMode

from pytest_interp import Checkpoint, CheckpointSpec, Experiment
from pytest_interp.cache.store import Cache
from pytest_interp.checkpoints.bits import hash_of_bits, hash_on_device
from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.heads import Head
from pytest_interp.measure import direct_logit_attribution_sweep, logit_diff


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
        with change(model.bridge):
            changed = numbers(model)
    except Unsuitable as reason:
        pytest.skip(str(reason))
    assert numbers(model) == expected
    # And the other way round: what is in memory by now is not taken for the changed model's.
    with change(model.bridge):
        again = numbers(model)
    assert again == changed
    assert again != expected
    assert model.changes_since_load() == []


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
    changed = change(model.bridge)  # never undone
    try:
        changed.__enter__()
    except Unsuitable as reason:
        pytest.skip(str(reason))
    assert SAID[change] in model.changes_since_load()
    anew = change not in (global_hook, replaced_softmax)
    assert model.restore() == ("the model was loaded anew" if anew else "all was put back")
    assert model.changes_since_load() == []
    assert numbers(model) == expected


SETTINGS = {
    "the default dtype at torch.float64 (it was torch.float32)": lambda: torch.set_default_dtype(torch.float64),
    "the default device at meta (it was cpu)": lambda: torch.set_default_device("meta"),
    "float32 matmul precision at medium (it was highest)": lambda: torch.set_float32_matmul_precision("medium"),
    "gradients at False (it was True)": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms at 2 (it was 0)": lambda: torch.use_deterministic_algorithms(True),
    "autocast on the CPU at True (it was False)": lambda: torch.set_autocast_enabled("cpu", True),
}


@pytest.mark.parametrize("said", SETTINGS)
def test_settings_of_the_process_are_named_and_restored(planted, said):
    before = numbers(planted)
    try:
        SETTINGS[said]()
        assert planted.changes_since_load() == [said]
        if not said.startswith("gradients"):
            with planted.guard.measuring() as look:
                assert look.foreign
    finally:
        assert planted.restore() == "all was put back"
    assert planted.changes_since_load() == []
    assert numbers(planted) == before


def test_gradients_that_are_switched_off_for_a_while_cost_no_memory(planted):
    with torch.no_grad(), planted.guard.measuring() as look:
        assert look.memo is planted.memo


def test_other_threads_compute_in_the_same_state_and_are_no_part_of_a_measurement(planted):
    seen = []
    with planted.guard.measuring():
        thread = threading.Thread(target=lambda: seen.append(planted.guard.is_measuring))
        thread.start()
        thread.join()
        assert planted.guard.is_measuring
    assert seen == [False]
    assert not planted.guard.is_measuring


def test_one_measurement_takes_one_look(planted, monkeypatch):
    from pytest_interp import assert_head_patch_effect

    looks, look = [], type(planted.guard)._look
    monkeypatch.setattr(type(planted.guard), "_look", lambda self: looks.append(1) or look(self))
    experiment = experiment_on(planted)
    assert_head_patch_effect(experiment, "3.0", at="END", at_least=0.1)
    assert len(looks) == 1


# ---- what cannot be listed


@pytest.fixture
def llama(tokenizer):
    return Checkpoint(CheckpointSpec("mine", loader=lambda: (random_llama(tokenizer), tokenizer), bos=True))


def test_an_attribute_of_a_module_shows_in_the_outputs(llama):
    before = numbers(llama)
    norm = next(module for module in llama.bridge.original_model.modules() if hasattr(module, "variance_epsilon"))
    epsilon, norm.variance_epsilon = norm.variance_epsilon, 0.5
    assert llama.changes_since_load() == ["other outputs on fixed prompts"]
    assert numbers(llama) != before
    norm.variance_epsilon = epsilon
    assert numbers(llama) == before


def test_the_fixed_prompts_are_run_again_only_where_something_changed(planted, monkeypatch):
    runs, outputs = [], type(planted.guard)._outputs
    monkeypatch.setattr(type(planted.guard), "_outputs", lambda self: runs.append(1) or outputs(self))
    with planted.guard.measuring():
        runs.clear()
    for n in (8, 12):
        logit_diff(experiment_on(planted, n=n))
    assert runs == []
    assert planted.changes_since_load() == []
    assert len(runs) == 1  # after each claim
    planted.bridge.blocks[3].made_up = 1
    logit_diff(experiment_on(planted, n=8))
    del planted.bridge.blocks[3].made_up
    logit_diff(experiment_on(planted, n=8))
    assert len(runs) == 3


class FlatSoftmax(TorchFunctionMode):
    """A mode in which softmax of an attention layer is flat."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return torch.full_like(result, 1 / result.shape[-1]) if func is functional.softmax else result


@contextmanager
def kernel_of_python():
    library = torch.library.Library("aten", "IMPL")
    flat = lambda value, dim, half_to_float: torch.full_like(value, 1 / value.shape[dim])  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a kernel that replaces another
        library.impl("_softmax", flat, "CPU")
    yield
    library._destroy()


@pytest.mark.parametrize("changed", [FlatSoftmax, kernel_of_python])
def test_modes_and_kernels_are_noticed_before_a_measurement(planted, changed):
    before = numbers(planted)
    with changed():
        assert numbers(planted) != before
        assert planted.changes_since_load() == ["other outputs on fixed prompts"]
    assert numbers(planted) == before


def test_what_cannot_be_listed_is_noticed_after_a_claim(tokenizer, monkeypatch):
    """A number in the closure of a function."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    factor, forward = [1.0], LlamaRotaryEmbedding.forward
    monkeypatch.setattr(
        LlamaRotaryEmbedding, "forward", lambda self, x, position_ids: forward(self, x, factor[0] * position_ids)
    )
    spec = CheckpointSpec("mine", loader=lambda: (random_llama(tokenizer), tokenizer), bos=True)
    checkpoint = Checkpoint(spec)
    assert checkpoint.changes_since_load() == []
    factor[0] = 1.005
    assert checkpoint.changes_since_load() == ["other outputs on fixed prompts"]


def test_a_function_whose_code_is_exchanged_is_named_and_restored(llama):
    from transformers.models.llama.modeling_llama import rotate_half

    before = numbers(llama)
    rotate_half.__code__ = (lambda x: -x).__code__
    assert numbers(llama) != before
    assert llama.changes_since_load() == ["transformers.models.llama.modeling_llama.rotate_half replaced"]
    assert llama.restore() == "all was put back"
    assert numbers(llama) == before


def rotary_of(bridge):
    return next(module for module in bridge.original_model.modules() if hasattr(module, "inv_freq"))


def test_rotary_frequencies_are_buffers_and_are_seen(llama):
    before, rotary = numbers(llama), rotary_of(llama.bridge)
    saved = rotary.inv_freq.clone()
    rotary.inv_freq.mul_(1.005)
    assert llama.changes_since_load() == ["changed buffers"]
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
    hook, weights = planted.sites.hook("z", 3), planted.weights
    for tensor in (
        weights.w_u(), weights.w_e(), weights.b_u(), weights.w_v(3), weights.w_o(3), weights.value_bias(3),
        *experiment.activation(hook), *experiment.activations([hook], experiment.data.clean)[hook],
        experiment.answer_logits(), experiment.logit_diffs(),
        experiment.logits_at(0, torch.zeros(len(experiment.data.clean.groups[0].rows), dtype=torch.long)),
    ):  # fmt: skip
        tensor.fill_(7)
        tensor.data.fill_(7)
    assert planted.changes_since_load() == []
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
    assert checkpoint.changes_since_load() == ["a changed tokenizer"]
    assert checkpoint.restore() == "the model was loaded anew"
    assert getattr(checkpoint.tokenizer, setting, None) == before


def test_damage_has_a_memory_of_its_own_that_a_change_within_it_does_not_reach(planted):
    experiment, weight = experiment_on(planted, n=8), planted.bridge.blocks[2].attn.o.weight
    with damaged(planted, Damage("zeroed", (Head(3, 0),))):
        before, saved = logit_diff(experiment).values, weight.data.clone()
        weight.data.zero_()
        assert logit_diff(experiment).values != before
        weight.data.copy_(saved)
        assert logit_diff(experiment).values == before


# ---- what a review found


def negated_rows(matrix):
    matrix[[0, 3, 5, 6]] *= -1


def negated_columns(matrix):
    matrix[:, ::2] *= -1


def negated(matrix):
    matrix *= -1


def exchanged_rows(matrix):
    matrix[[1, 4]] = matrix[[4, 1]].clone()


def exchanged_far_apart(matrix):
    matrix[[1, len(matrix) - 1]] = matrix[[len(matrix) - 1, 1]].clone()


def exchanged_entries(matrix):
    matrix[2, 3], matrix[3, 2] = matrix[3, 2].clone(), matrix[2, 3].clone()


HASHES = {"cpu": hash_of_bits, "elsewhere": lambda tensors: hash_on_device(enumerate(tensors, start=1))}


@pytest.fixture(params=HASHES)
def hash_of(request):
    return HASHES[request.param]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(5000, 8), (8, 8), (8, 7)])
@pytest.mark.parametrize(
    "change",
    [negated_rows, negated_columns, negated, exchanged_rows, exchanged_far_apart, exchanged_entries],
)
def test_the_hash_of_weights_sees_each_change(hash_of, dtype, shape, change):
    generator = torch.Generator().manual_seed(0)
    one_hot = torch.eye(shape[1]).repeat(shape[0] // shape[1] + 1, 1)[: shape[0]]
    for matrix in (torch.randn(shape, generator=generator).to(dtype), one_hot.to(dtype)):
        before, copy = hash_of([matrix]), matrix.clone()
        change(copy)
        if not torch.equal(copy, matrix) or change in (negated, negated_columns, negated_rows):
            assert hash_of([copy]) != before
        assert hash_of([matrix.clone()]) == before


@pytest.mark.parametrize(("dtype", "columns"), [(torch.int8, 3), (torch.int8, 8), (torch.int32, 1), (torch.int64, 1)])
def test_the_hash_of_buffers_tells_an_integer_from_its_complement(hash_of, dtype, columns):
    buffer = torch.zeros(3, columns, dtype=dtype)
    before = hash_of([buffer])
    buffer[1] = -1
    assert hash_of([buffer]) != before


def test_what_a_pass_left_is_handed_out_as_a_copy(planted):
    experiment = experiment_on(planted, n=8)
    before = numbers(planted)
    for clean in experiment.clean_passes():
        for residual in clean.residual:
            residual.zero_()
    assert numbers(planted) == before


def test_answers_that_read_alike_are_other_tokens(smollm2):
    from pytest_interp.tasks import from_ids

    tokenizer, ids = smollm2.tokenizer, [500, 600, 700]

    def data(answer):
        return from_ids(
            tokenizer, clean=[ids], answers=[answer], distractors=[800], texts=[tokenizer.decode(ids)], bos=False,
            population="fixed",
        )  # fmt: skip

    alike = [token for token in range(2000) if tokenizer.decode([token]) == "\ufffd"][:2]
    assert len(alike) == 2
    first, second = (logit_diff(Experiment(smollm2, data(token))).value for token in alike)
    smollm2.memo.clear()
    assert logit_diff(Experiment(smollm2, data(alike[1]))).value == second != first


@pytest.mark.parametrize("name", ["dtype", "device", "shape", "name", "sites", "tokenizer", "fingerprint", "spec"])
def test_attributes_of_a_checkpoint_cannot_be_set(planted, name):
    with pytest.raises(AttributeError, match=f"{name} of a checkpoint cannot be set"):
        setattr(planted, name, None)


def test_tables_and_what_was_measured_cannot_be_changed(planted):
    table = direct_logit_attribution_sweep(experiment_on(planted, n=8))
    with pytest.raises(TypeError):
        table.cells[Head(0, 0)] = table.cells[Head(3, 0)]
    with pytest.raises(AttributeError):
        table["3.0"].context.heads = ()


def test_functions_of_base_classes_and_of_helpers_are_looked_at(llama, monkeypatch):
    attention_class = type(llama.bridge.blocks[0].attn)
    base = next(kind for kind in attention_class.__mro__[1:] if "W_V" in vars(kind))
    with monkeypatch.context() as patch:
        patch.setattr(base, "W_V", property(lambda self: -self.v.weight))
        assert any(said.endswith(f"{base.__name__}.W_V replaced") for said in llama.changes_since_load())
    with monkeypatch.context() as patch:
        patch.setattr(torch.linalg, "eigvals", lambda _: None)
        assert llama.changes_since_load() == ["torch.linalg.eigvals replaced"]
    assert llama.changes_since_load() == []


def test_what_torch_compile_puts_in_place_is_nobodys_fault(llama, monkeypatch):
    def init(self):
        """As torch._dynamo has it."""

    init.__module__ = "torch._dynamo.made_up"
    monkeypatch.setattr(torch.nn.Module, "__setstate__", init)
    assert llama.changes_since_load() == []


def test_a_normaliser_is_part_of_the_tokenizer(tokenizer, tmp_path):
    from tokenizers import normalizers

    checkpoint = build("directory", tokenizer, tmp_path)
    checkpoint.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("Mary", "John")
    assert checkpoint.changes_since_load() == ["a changed tokenizer"]


def test_a_model_that_is_loaded_anew_within_damage_is_known_afterwards(tokenizer, tmp_path):
    checkpoint = build("directory", tokenizer, tmp_path)
    with checkpoint.edited_weight(0, "o") as weight:
        weight.zero_()
        checkpoint.reload()
    with checkpoint.guard.measuring() as look:
        assert not look.foreign
        assert look.memo is checkpoint.memo
    assert checkpoint.changes_since_load() == []


def test_threads_measure_one_after_the_other(planted):
    from concurrent.futures import ThreadPoolExecutor

    def measure(seed):
        return logit_diff(experiment_on(planted, n=8 + 4 * (seed % 3))).value

    expected = [measure(seed) for seed in range(6)]
    planted.memo.clear()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(measure, range(6))) == expected
