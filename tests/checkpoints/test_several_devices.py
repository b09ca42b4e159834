"""A model that is spread over several devices, and a revision of the hub: what transformers is asked for.

No run here has two GPUs. So the arguments are compared, and a map that names the CPU alone is run.
"""

import shutil

import pytest
import torch
from models import experiment_on, random_gpt2

from pytest_interp import CheckpointSpec, load
from pytest_interp.checkpoints.sources.model import devices_of
from pytest_interp.errors import UsageError
from pytest_interp.measure import logit_diff


class Asked(Exception):
    """Transformers was asked for a model."""


@pytest.fixture
def folder(tmp_path, tokenizer):
    random_gpt2(tokenizer).save_pretrained(tmp_path / "mine")
    tokenizer.save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def two_cards(monkeypatch):
    """What TransformerLens sees of a machine with two GPUs."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(
        "transformer_lens.utilities.multi_gpu._get_available_cuda_memory_for_device", lambda index: 1000 + index
    )


@pytest.fixture
def asked(monkeypatch):
    """The arguments with which transformers is asked for a model, which it does not load."""
    arguments = {}

    def from_pretrained(source, **more):
        arguments.update(source=source, **more)
        raise Asked

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", from_pretrained)
    monkeypatch.setattr("pytest_interp.checkpoints.checkpoint.device_of", lambda name: torch.device("cpu"))
    return arguments


def test_a_number_of_devices_is_passed_on_as_transformer_lens_derives_it(folder, two_cards, asked):
    with pytest.raises(UsageError, match="Asked"):
        load(folder, n_devices=2)
    assert asked["device_map"] == "balanced"
    assert asked["max_memory"] == {0: 1000, 1: 1001}


@pytest.mark.parametrize("device_map", ["auto", {"transformer": 0, "lm_head": 1}])
def test_a_device_map_is_passed_on_as_it_is(folder, two_cards, asked, device_map):
    with pytest.raises(UsageError, match="Asked"):
        load(folder, device_map=device_map)
    assert asked["device_map"] == device_map


def test_on_one_device_transformers_is_asked_for_none(folder, asked):
    with pytest.raises(UsageError, match="Asked"):
        load(folder)
    assert "device_map" not in asked
    assert devices_of(CheckpointSpec("mine", "directory", str(folder))) == {}


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        (None, {"n_devices": 2}, r"mine cannot be spread over 2 devices \(ValueError: n_devices=2 requires CUDA"),
        (None, {"n_devices": 0}, "n_devices is 0; pass at least 1"),
        (None, {"device_map": 3}, "device_map is 3; pass a string or a dictionary"),
        ("planted-ioi", {"n_devices": 2}, "planted-ioi is not read from files, so n_devices and device_map cannot"),
    ],
)
def test_what_cannot_be_spread(folder, source, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        load(source or folder, **options)


def test_a_run_passes_the_number_on(claims_project, folder, two_cards, monkeypatch):
    seen = []

    def stub(spec, **_):
        seen.append(spec.n_devices)
        raise UsageError("seen")

    monkeypatch.setattr("pytest_interp.checkpoints.open.open_checkpoint", stub)
    claims_project.makepyfile("import pytest\n@pytest.mark.claim(source='a paper')\ndef test_it(checkpoint): pass\n")
    claims_project.runpytest("--interp-model", str(folder), "--interp-n-devices", "2")
    assert seen == [2]
    refused = claims_project.runpytest("--interp-n-devices", "0")
    refused.stderr.fnmatch_lines(["*--interp-n-devices is 0; pass at least 1"])


def test_a_map_of_the_cpu_alone_gives_the_same_numbers(folder):
    plain, spread = load(folder, device="cpu"), load(folder, device="cpu", device_map={"": "cpu"})
    assert (spread.fingerprint, spread.device) == (plain.fingerprint, torch.device("cpu"))
    first, second = (logit_diff(experiment_on(checkpoint, 8)).values for checkpoint in (plain, spread))
    assert first == second


def test_a_revision_reaches_the_hub_and_transformers(monkeypatch, folder, asked, tmp_path):
    fetched = []

    def fetch(name, file, revision):
        fetched.append((name, file, revision))
        return str(shutil.copy(folder / file, tmp_path))

    (tmp_path / "cache").mkdir()
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    for name in ("AutoConfig", "AutoTokenizer"):

        def from_pretrained(source, revision, trust_remote_code, name=name):
            fetched.append((source, name, revision))

        monkeypatch.setattr(f"transformers.{name}.from_pretrained", from_pretrained)
    with pytest.raises(UsageError, match="Asked"):
        load("some/model", revision="step1000")
    assert (asked["source"], asked["revision"]) == ("some/model", "step1000")
    names = ("config.json", "model.safetensors", "AutoConfig", "AutoTokenizer")
    assert fetched == [("some/model", name, "step1000") for name in names]
