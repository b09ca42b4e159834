"""The published figures of a hundred listed prompts, rehearsed: GPT-2's own tokenizer on a small random model.

The weights of GPT-2 are not to be had everywhere. What can go wrong before they are is checked here: the prompts, BOS,
END, the names that are compared, and what becomes of the claims on another vocabulary.
"""

import json
import shutil
import tomllib
from copy import deepcopy
from statistics import fmean

import pytest
from models import ROOT, random_gpt2

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, NotApplicable, from_ids
from pytest_interp.measure import logit_diff
from pytest_interp.tasks.protocols import end_one_earlier

PUBLISHED = ROOT / "claims" / "published"
STIMULUS = json.loads((PUBLISHED / "ioi_seed001.json").read_text())
PROMPTS = STIMULUS["prompts"]
CLAIM = "published/test_figures.py::test_logit_diff"
TABLE = """
[sources]
HERE = "measured here"

[stimuli]
"seed 1" = {{ fixture = "seed_one" }}

[[figures]]
checkpoint = "{checkpoint}"
measurement = "logit_diff"
source = "HERE"
stimulus = "seed 1"
within = 0.01
cases = [
    {{ row = "S-B16", value = {mean} }},
    {{ row = "S-B17", prompts = [0, 25], value = {first} }},
{five}]
"""


def test_the_prompts_are_of_the_task():
    assert len(PROMPTS) == 100
    for prompt in PROMPTS:
        tokens, text = prompt["tokens"], prompt["text"]
        assert (tokens.count(prompt["io"]), tokens.count(prompt["s"])) == (1, 2)
        assert text.endswith(" to")
        assert (text.count(prompt["io_text"]), text.count(prompt["s_text"])) == (1, 2), text


def test_the_claims_are_about_the_figures_of_the_source():
    figures = STIMULUS["figures"]
    groups = [
        group
        for group in tomllib.loads((PUBLISHED / "figures" / "gpt2.toml").read_text())["figures"]
        if group.get("stimulus") == "seed 1" and group["measurement"] == "logit_diff"
    ]
    cases = [(case.get("prompts"), case["value"]) for group in groups for case in group.get("cases", [group])]
    assert cases == [
        (None, figures["mean_logit_diff_100"]),
        ([0, 25], figures["mean_logit_diff_first_25"]),
        *enumerate(figures["logit_diff_first_5"]),
    ]
    assert {group["within"] for group in groups} == {0.01}


def test_the_texts_are_those_of_the_tokens(gpt2_tokenizer):
    for prompt in PROMPTS:
        assert gpt2_tokenizer(prompt["text"], add_special_tokens=False)["input_ids"] == prompt["tokens"]
        for name in ("io", "s"):
            assert gpt2_tokenizer(prompt[f"{name}_text"])["input_ids"] == [prompt[name]]
            assert prompt[f"{name}_text"].startswith(" ")


@pytest.fixture(scope="session")
def model(gpt2_tokenizer):
    return random_gpt2(gpt2_tokenizer, n_layer=2, n_head=2, n_embd=48)


@pytest.fixture(scope="session")
def values(model):
    """The logit difference of each prompt, by transformers alone."""
    import torch

    differences = []
    with torch.no_grad():
        for prompt in PROMPTS:
            logits = model(torch.tensor([prompt["tokens"]])).logits[0, -1]
            differences.append(float(logits[prompt["io"]] - logits[prompt["s"]]))
    return differences


@pytest.fixture
def rehearsal(pytester, model, gpt2_tokenizer, monkeypatch):
    """``rehearsal(mean, first, five)``: the published claims with these figures, on the small model."""
    weights = pytester.path / "rehearsal"
    model.save_pretrained(weights)
    gpt2_tokenizer.save_pretrained(weights)

    def run(mean, first, five, *options):
        project = claims(pytester, monkeypatch, "rehearsal", mean, first, five)
        return project.runpytest(CLAIM, "--interp-model", str(weights), "-v", *options)

    return run


def claims(pytester, monkeypatch, checkpoint, mean=3.1490, first=2.8052, five=(0.0,) * 5):
    """The claims with another table in the place of the published ones."""
    shutil.copytree(PUBLISHED, pytester.path / "published", ignore=shutil.ignore_patterns("__pycache__", "test_gpt2_*"))
    folder = pytester.path / "tables"
    folder.mkdir()
    lines = "".join(f'    {{ row = "S-B17", prompts = {i}, value = {value} }},\n' for i, value in enumerate(five))
    (folder / "table.toml").write_text(TABLE.format(checkpoint=checkpoint, mean=mean, first=first, five=lines))
    monkeypatch.setenv("INTERP_PUBLISHED_FIGURES", str(folder))
    return pytester


def test_right_figures_are_supported(rehearsal, values):
    assert abs(fmean(values)) > 0.05
    result = rehearsal(fmean(values), fmean(values[:25]), values[:5])
    result.assert_outcomes(passed=7)


def test_wrong_protocols_refute_the_mean(rehearsal, values):
    result = rehearsal(fmean(values), fmean(values[:25]), values[:5], "--interp-falsify=all", "-k", "S-B16")
    result.assert_outcomes(passed=1)
    killed = [r"  answer exchanged +1 ", r"  names permuted +1 ", r"  END one earlier +1 "]
    result.stdout.re_match_lines_random(killed)


def test_figures_that_are_off_are_refuted(rehearsal, values):
    result = rehearsal(fmean(values) + 0.02, fmean(values[:25]) - 0.02, [value + 0.02 for value in values[:5]])
    result.assert_outcomes(failed=7)
    result.stdout.fnmatch_lines(["rehearsal: 7 refuted", "*"])
    result.stdout.fnmatch_lines_random(
        ["*note        these 100 prompts only", "*note        these 25 prompts only", "*note        this prompt only"]
    )


def of_the_ids(tokenizer, *, bos):
    return from_ids(
        tokenizer,
        clean=[prompt["tokens"] for prompt in PROMPTS],
        texts=[prompt["text"] for prompt in PROMPTS],
        answers=[prompt["io"] for prompt in PROMPTS],
        distractors=[prompt["s"] for prompt in PROMPTS],
        bos=bos,
        population="fixed",
    )


def test_bos_and_another_end_change_the_figures(model, gpt2_tokenizer, values):
    checkpoint = Checkpoint(CheckpointSpec("rehearsal", loader=lambda: (deepcopy(model), gpt2_tokenizer)))
    right = of_the_ids(gpt2_tokenizer, bos=False)
    assert logit_diff(Experiment(checkpoint, right)).values == pytest.approx(values, abs=1e-4)
    for wrong in (of_the_ids(gpt2_tokenizer, bos=True), end_one_earlier(right)):
        of_all = logit_diff(Experiment(checkpoint, wrong))
        assert abs(of_all.value - fmean(values)) > 0.05
        assert abs(of_all.value_of(range(25)) - fmean(values[:25])) > 0.05
        assert min(abs(of_all.values[i] - values[i]) for i in range(5)) > 0.05


def test_on_another_vocabulary_they_are_not_applicable(pytester, monkeypatch):
    result = claims(pytester, monkeypatch, "planted-ioi").runpytest(CLAIM, "--interp-model", "planted-ioi", "-rs")
    result.assert_outcomes(skipped=7)
    result.stdout.fnmatch_lines(["planted-ioi: 7 not applicable", "*prompt 0, 'When Victoria and Jane *vocabulary*"])


def test_a_vocabulary_that_has_the_ids_but_not_the_texts():
    """A tokenizer of the same size with the same ids in another order."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0} | {f"w{i}": i for i in range(1, 50257)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    other = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    with pytest.raises(NotApplicable, match="stand for 'When Victoria .*decodes them to 'w2215 w12313 .* vocabulary"):
        of_the_ids(other, bos=False)
