"""The published claims without GPT-2's weights: their arithmetic, and that a model which is not GPT-2 fails them."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from conftest import random_gpt2
from pytest_interp import Checkpoint, Experiment
from pytest_interp.checkpoints import known_specs, resolve
from pytest_interp.measure import direct_logit_attribution, head_patch_effect, logit_diff
from pytest_interp.tasks import p8

CLAIMS = Path(__file__).parents[1] / "claims"


def figures():
    spec = importlib.util.spec_from_file_location("test_gpt2_p8", CLAIMS / "published" / "test_gpt2_p8.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_printed_figures_agree_with_each_other(tokenizer):
    rows = figures().PER_PROMPT
    assert sum(value for *_, value in rows) / 8 == pytest.approx(3.5519, abs=1e-3)
    prompts = p8(tokenizer).clean.prompts
    assert [(io, s) for io, s, _ in rows] == [(p.answer.strip(), p.distractor.strip()) for p in prompts]


@pytest.fixture(scope="module")
def impostor(tokenizer, tmp_path_factory):
    """A directory called gpt2 with a model of GPT-2's shape in layers and heads and random weights."""
    path = tmp_path_factory.mktemp("weights") / "gpt2"
    random_gpt2(tokenizer, n_layer=12, n_head=12, n_embd=48).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def published(pytester):
    for folder in ("circuits", "published"):
        shutil.copytree(CLAIMS / folder, pytester.path / folder, ignore=shutil.ignore_patterns("__*"))
    for other in (pytester.path / "circuits").glob("*.toml"):
        if other.stem != "gpt2":
            other.unlink()
    return pytester


def test_without_weights_everything_is_not_checked(published, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    result = published.runpytest("published")
    result.assert_outcomes(skipped=31)
    result.stdout.fnmatch_lines(["gpt2: 31 not checked: *"])


def test_a_model_that_is_not_gpt2_is_refuted_on_every_figure(published, impostor):
    result = published.runpytest("published", "--interp-model", str(impostor))
    outcomes = result.parseoutcomes()
    assert outcomes.get("passed", 0) == 0
    assert outcomes["failed"] == 31
    assert " supported" not in result.stdout.str().partition("findings")[2]


def test_a_right_figure_passes_and_one_that_is_off_fails(published, impostor):
    experiment = _experiment(impostor)
    mean = logit_diff(experiment).value
    attribution = direct_logit_attribution(experiment, "9.9").value
    text = f"""
import pytest
from pytest_interp import assert_direct_logit_attribution, assert_logit_diff

pytestmark = pytest.mark.claim(source="measured here", checkpoints="gpt2", cls="A")

def test_right(p8):
    assert_logit_diff(p8, near=({mean}, 0.01))

def test_off(p8):
    assert_logit_diff(p8, near=({mean} + 0.02, 0.01))

def test_right_head(p8):
    assert_direct_logit_attribution(p8, "9.9", near=({attribution}, 0.01))

def test_off_head(p8):
    assert_direct_logit_attribution(p8, "9.9", near=({attribution} + 0.02, 0.01))
"""
    published.makepyfile(test_figures=text)
    result = published.runpytest("test_figures.py", "--interp-model", str(impostor))
    result.assert_outcomes(passed=2, failed=2)


def _experiment(path):
    checkpoint = Checkpoint(resolve(str(path), known_specs()))
    return Experiment(checkpoint, p8(checkpoint.tokenizer))


def test_the_protocol_of_the_figures(impostor):
    """P8 is exchanged in pairs, so the corrupted mean is minus the clean one, and all heads at all positions do not
    recover everything: embeddings and MLPs differ at S2 too.
    """
    experiment = _experiment(impostor)
    assert logit_diff(experiment, run="s2-exchanged").value == pytest.approx(-logit_diff(experiment).value, abs=1e-4)
    assert experiment.data.population == "fixed"
    one = head_patch_effect(experiment, "9.9")
    assert len(one.values) == len(one.scale) == 8
    assert one.value == pytest.approx(sum(one.values) / sum(one.scale))
