"""Which device a checkpoint computes on; and that nothing mixes it with the CPU, held where there is only a CPU."""

from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from bad_arguments import valid_calls
from device_marks import STAND_IN, Mixed, marked_devices, on_stand_in
from models import CLAIMS, experiment_on, random_gpt2, random_llama

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, assert_logit_diff
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.checkpoints.device import described, device_of, moved, precision_of, use_tf32
from pytest_interp.checkpoints.planted.build import build_planted
from pytest_interp.checkpoints.planted.rules import RULES
from pytest_interp.errors import ClaimFailed, InterpError, UsageError
from pytest_interp.heads import Head
from pytest_interp.measure import direct_logit_attribution_sweep, logit_diff
from pytest_interp.tasks import repeated_tokens

# ---- the marks themselves


@pytest.fixture
def seen():
    with marked_devices() as seen:
        yield seen


@pytest.fixture
def there(seen):
    """A matrix on the stand-in."""
    return torch.arange(12.0, device="cpu:0").view(3, 4)


def test_what_is_put_there_and_what_is_computed_of_it_is_there(there):
    weight = torch.nn.Linear(4, 2).to("cpu:0").weight
    for tensor in (there, there[0], there.T @ there, torch.zeros_like(there), there.new_zeros(2), weight,
                   there.to(torch.float64), torch.tensor([1, 2], device="cpu:0"), there.clone()[:, 1:].flatten(),
                   torch.zeros(2).to(there), torch.zeros(2, device=there.device)):  # fmt: skip
        assert on_stand_in(tensor)
        assert tensor.device == STAND_IN
    for tensor in (torch.zeros(2), there.cpu(), there.to("cpu"), torch.tensor([1, 2]), torch.zeros(2).clone()):
        assert not on_stand_in(tensor)
        assert tensor.device == torch.device("cpu")
    assert torch.equal(there.cpu(), torch.arange(12.0).view(3, 4))


MIXES = {
    "a sum": lambda x: x + torch.ones(4),
    "a product": lambda x: x @ torch.ones(4, 2),
    "a mask": lambda x: torch.where(torch.ones(3, 4, dtype=torch.bool), x, 0.0),
    "joined": lambda x: torch.cat([x, torch.ones(1, 4)]),
    "stacked without dimensions": lambda x: torch.stack([x.sum(), torch.tensor(1.0)]),
    "gathered": lambda x: x.gather(1, torch.zeros(3, 1, dtype=torch.long)),
    "an index of the device": lambda x: torch.ones(3, 4)[torch.tensor([0], device=x.device)],
    "index_select": lambda x: x.index_select(0, torch.tensor([0])),
    "an embedding": lambda x: torch.nn.functional.embedding(torch.tensor([0]), x),
    "put by index": lambda x: x.index_put_((torch.tensor([0, 1]),), torch.ones(2, 4)),
    "compared": lambda x: torch.equal(x, torch.ones(3, 4)),
    "a number of the device": lambda x: torch.ones(3) * x.sum(),
    "in place": lambda x: torch.ones(3, 4).add_(x),
    "a generator of the CPU": lambda x: torch.rand(2, generator=torch.Generator(), device=x.device),
}


@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_is_refused(there, mix):
    with pytest.raises(Mixed, match="Expected"):
        MIXES[mix](there)


ALLOWED = {
    "a number of the CPU": lambda x: x * torch.tensor(2.0),
    "an index of the CPU": lambda x: x[torch.tensor([0, 1])],
    "a list": lambda x: x[[0, 1], [1, 2]],
    "put at an index of the CPU": lambda x: x.index_put_((torch.tensor([0]),), torch.tensor(1.0)),
    "copied": lambda x: x.clone().copy_(torch.ones(3, 4)),
    "a number of Python": lambda x: x + 1,
}


@pytest.mark.parametrize("use", ALLOWED)
def test_what_cuda_allows_is_allowed(there, use):
    assert on_stand_in(ALLOWED[use](there))


def test_numpy_of_the_device_is_refused(there):
    with pytest.raises(TypeError, match="can't convert cpu:0 device type tensor to numpy"):
        there.numpy()
    assert there.cpu().numpy().shape == (3, 4)


WAITING = {
    "item, bool, float, int": [lambda x: x[0, 0].item(), lambda x: float(x.sum()), lambda x: bool((x > 0).all())],
    "tolist": [lambda x: x.tolist()],
    "nonzero": [lambda x: (x > 1).nonzero()],
    "mask": [lambda x: x[x > 1], lambda x: x.masked_select(x > 1)],
    "cpu": [lambda x: x.cpu(), lambda x: x.to("cpu"), lambda x: torch.ones(3, 4).copy_(x)],
    "equal": [lambda x: torch.equal(x, x)],
}


@pytest.mark.parametrize("kind", WAITING)
def test_what_waits_is_counted(seen, there, kind):
    for ask in WAITING[kind]:
        before = seen.waits.copy()
        ask(there)
        assert {waiting for waiting, _ in seen.waits - before} == {kind}
    before = seen.waits.copy()
    for free in (lambda x: x @ x.T, lambda x: x[0], lambda x: x[torch.tensor([0])], torch.zeros_like):
        free(there)
    assert seen.waits == before


def test_a_mix_can_be_counted_instead():
    with marked_devices(refuse=False) as seen:
        mixed = torch.ones(3, 4, device="cpu:0") + torch.ones(4)
        assert on_stand_in(mixed)
    assert list(seen.mixed) == [("add of (3, 4) on cpu:0, (4,) on cpu", "")]


def test_marks_hold_no_memory(there):
    from device_marks import _MARKS

    before = len(_MARKS._storages)
    for _ in range(50):
        there * 2
    assert len(_MARKS._storages) == before


# ---- everything that measures


def _deep_gpt2(tokenizer):
    return random_gpt2(tokenizer, n_layer=5)


def _deep_llama(tokenizer):
    return random_llama(tokenizer, n_layer=5)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("planted-ioi", id="planted"),
        pytest.param(_deep_gpt2, id="gpt2", marks=pytest.mark.thorough),
        pytest.param(_deep_llama, id="llama"),
    ],
)
def test_nothing_mixes_devices(model, tokenizer):
    """Loading, preflight, the look at what is left behind, damage, and each measurement and assertion."""
    spec = known_specs()[model] if isinstance(model, str) else None
    spec = spec or CheckpointSpec("small", loader=lambda: (model(tokenizer), tokenizer), bos=True)
    with marked_devices() as seen:
        checkpoint = Checkpoint(spec, device="cpu:0")
        assert checkpoint.device == STAND_IN
        assert all(map(on_stand_in, (*checkpoint.bridge.parameters(), *checkpoint.bridge.buffers())))
        preflight(checkpoint)
        on, find = experiment_on(checkpoint, 6), experiment_on(checkpoint, 6, "find")
        twice = Experiment(
            checkpoint, repeated_tokens(checkpoint.tokenizer, length=5, n=2, seed=1, bos=True, complete=True)
        )
        kinds = ("measure ", "assert ") if isinstance(model, str) else ("measure ",)
        for call in valid_calls(on, find, twice, tokenizer):
            if call.name.startswith(kinds):
                with suppress(InterpError, ClaimFailed):  # a random model does no task
                    call.run()
        for damage in (Damage("zeroed", (Head(1, 0),)), Damage("random")):
            with damaged(checkpoint, damage):
                logit_diff(on)
        assert not checkpoint.changes_since_load()
    assert not seen.mixed
    assert seen.waits


# ---- which device


def test_a_device_is_what_its_tensors_say():
    assert device_of("cpu") == torch.zeros(1).device
    with marked_devices():
        assert device_of("cpu:0") == torch.zeros(1, device="cpu:0").device


def test_a_model_is_loaded_anew_on_its_device():
    """Configurations were compared with the device's name in them: ``cuda`` at first, ``cuda:0`` when loaded anew."""
    with marked_devices():
        checkpoint = Checkpoint(known_specs()["planted-ioi"], device="cpu:0")
        first = checkpoint.settings
        with torch.no_grad():
            checkpoint.bridge.blocks[0].attn.q.weight.add_(1.0)
        assert checkpoint.restore() == "the model was loaded anew"
        assert checkpoint.device == STAND_IN
    # The same files under another name of the device are the same model.
    assert checkpoint.settings == first == Checkpoint(known_specs()["planted-ioi"], device="cpu").settings


def test_a_bridge_of_ones_own_is_moved(tmp_path, capsys):
    """It stayed where it was while tokens went to the device of the run."""
    bridge = build_planted(RULES, tmp_path)
    with marked_devices():
        assert not any(map(on_stand_in, bridge.parameters()))
        spec = CheckpointSpec("mine", loader=lambda: bridge, bos=True)
        checkpoint = Checkpoint(spec, device="cpu:0")
        assert all(map(on_stand_in, (*bridge.parameters(), *bridge.buffers())))
        assert checkpoint.device == STAND_IN
        assert_logit_diff(experiment_on(checkpoint), at_least=2)
        assert direct_logit_attribution_sweep(experiment_on(checkpoint))["3.0"].value > 0
    assert "Moving" not in capsys.readouterr().out, "TransformerLens prints it"


class Stubborn(torch.nn.Module):
    """A bridge whose parts do not all move."""

    def __init__(self, *devices, n_devices=1):
        super().__init__()
        for number, device in enumerate(devices):
            self.register_parameter(f"part{number}", torch.nn.Parameter(torch.zeros(2, device=device)))
        self.cfg = SimpleNamespace(n_devices=n_devices)

    def to(self, *_, **__):
        return self


@pytest.mark.parametrize(
    ("bridge", "sentence"),
    [
        (Stubborn("cpu", "meta"), "it stands on cpu and meta; a checkpoint computes on one device: build it with"),
        (Stubborn("meta", n_devices=2), "it stands on meta; a checkpoint computes on one device"),
        (Stubborn("meta"), "it was put on cpu, and part of it stays on meta; pass --interp-device meta"),
    ],
)
def test_a_bridge_that_cannot_be_moved_is_refused(bridge, sentence):
    with pytest.raises(UsageError, match=sentence):
        moved(bridge, torch.device("cpu"), "it")


def test_a_bridge_that_is_there_is_left_alone():
    bridge = Stubborn("cpu")
    assert moved(bridge, torch.device("cpu"), "it", torch.float32) is bridge


# ---- what it is called


@pytest.fixture
def card(monkeypatch):
    """A stand-in for a GPU's properties."""
    properties = SimpleNamespace(name="NVIDIA H200", total_memory=150_109_880_320)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


def test_a_device_says_what_it_is(card):
    assert described(torch.device("cpu")) == "cpu"
    assert described(torch.device("cuda", 0)) == "NVIDIA H200 (cuda:0, 140 GB)"


@pytest.fixture
def matmul():
    """What torch multiplies in, put back after the test."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_tf32_is_a_precision_of_its_own(matmul):
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    use_tf32(True)
    assert torch.backends.cuda.matmul.allow_tf32
    assert precision_of(cuda, torch.float32) == "tf32"
    assert precision_of(cuda, torch.bfloat16) == "bfloat16"
    assert precision_of(cpu, torch.float32) == "float32", "the CPU has none"
    torch.set_float32_matmul_precision("high")
    use_tf32(False)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert precision_of(cuda, torch.float32) == "float32"


CLAIM = """
import pytest, torch
from pytest_interp import assert_logit_diff

@pytest.mark.claim(source="a paper")
def test_task(ioi):
    assert torch.get_float32_matmul_precision() == {precision!r}
    assert_logit_diff(ioi, at_least=2)
"""


def test_the_header_names_the_device(claims_project):
    claims_project.makepyfile(CLAIM.format(precision="highest"))
    result = claims_project.runpytest("--interp-model=planted-ioi", "--interp-device=cpu")
    result.stdout.fnmatch_lines(["interp: float32 on cpu, seed 0, 96 prompts"])
    asked = claims_project.runpytest("--interp-model=planted-ioi", "--interp-device=cpu", "--interp-tf32")
    asked.stdout.fnmatch_lines(["interp: float32 on cpu (which has no TF32), seed 0, 96 prompts"])
    assert asked.ret == result.ret


def test_the_header_says_tf32(claims_project, card, monkeypatch, matmul):
    """The header and the setting of a run on CUDA, of which only the name is here."""
    for home in ("checkpoint", "device"):
        monkeypatch.setattr(f"pytest_interp.checkpoints.{home}.device_of", lambda name: torch.device("cpu"))
    monkeypatch.setattr("pytest_interp.checkpoints.device.has_tf32", lambda device: True)
    monkeypatch.setattr("pytest_interp.checkpoints.device.described", lambda device: "NVIDIA H200 (cuda:0, 140 GB)")
    claims_project.makepyfile(CLAIM.format(precision="high"))
    before = torch.get_float32_matmul_precision()
    result = claims_project.runpytest("--interp-model=planted-ioi", "--interp-tf32", "-v")
    result.stdout.fnmatch_lines(
        ["interp: float32 with products in TF32 on NVIDIA H200 (cuda:0, 140 GB), seed 0,", "        96 prompts"]
    )
    assert "AssertionError" not in result.stdout.str()
    assert torch.get_float32_matmul_precision() == before, "it is put back"


def test_records_say_what_was_computed_with(planted):
    about = logit_diff(experiment_on(planted, 6)).context.to_json()
    assert about["device"] == str(planted.device)
    assert "precision" not in about


def test_the_suite_has_the_snapshots_that_a_gpu_is_compared_with():
    assert list(CLAIMS.rglob("__snapshots__/*.json"))
