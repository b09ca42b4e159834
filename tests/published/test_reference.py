"""The numpy GPT-2 and the package agree on a random model, so that either can judge a figure of the other."""

import numpy as np
import pytest
from gpt2_reference import Prompts, Reference

from pytest_interp import Experiment, Metric, from_strings
from pytest_interp.measure import (
    component_attribution_sweep,
    direct_logit_attribution_sweep,
    knocked_out_attribution_sweep,
    logit_diff,
    logit_lens_sweep,
    loss,
    next_token,
    ov_eigenvalue_score,
    patch_effect_sweep,
)
from pytest_interp.tasks import p8

AGREE = 2e-5
"""The package computes in float32, the reference in float64."""


@pytest.fixture(scope="module")
def folder(tokenizer, saved_gpt2):
    return saved_gpt2(tokenizer)


@pytest.fixture(scope="module")
def experiment(checkpoint):
    return Experiment(checkpoint, p8(checkpoint.tokenizer))


def prompts_of(experiment, run="clean"):
    (clean,), (group,) = experiment.data.clean.groups, experiment.data.run(run).groups
    return Prompts.of(group.tokens.tolist(), clean.answers.tolist(), clean.distractors.tolist())


def matrix(table):
    return np.array(table.matrix(), dtype=float)


def test_logit_differences(reference, experiment):
    for run in ("clean", "s2-exchanged"):
        ours = reference.logit_diff(prompts_of(experiment, run))
        assert ours == pytest.approx(logit_diff(experiment, run=run).values, abs=AGREE)
        assert abs(ours).max() > 0.1


def test_what_is_written(reference, experiment):
    prompts = prompts_of(experiment)
    heads = reference.head_attributions(prompts)
    assert heads == pytest.approx(matrix(direct_logit_attribution_sweep(experiment)), abs=AGREE)
    assert abs(heads).max() > 0.01
    components = component_attribution_sweep(experiment)
    for layer in range(reference.n_layers):
        for site in ("attn_out", "mlp_out"):
            ours = reference.component_attribution(prompts, site, layer)
            assert ours == pytest.approx(components[layer, site].value, abs=AGREE)
    start = components["start", "embed"].value, components["start", "pos_embed"].value
    assert reference.embedding_attributions(prompts) == pytest.approx(start, abs=AGREE)


def test_the_lens_with_the_finished_scale(reference, experiment):
    lens = logit_lens_sweep(experiment, norm="frozen")
    for layer in range(reference.n_layers):
        for site in ("resid_pre", "resid_mid"):
            ours = reference.lens(prompts_of(experiment), site, layer)
            assert ours == pytest.approx(lens[layer, site].value, abs=AGREE)


def test_a_head_that_is_zeroed(reference, experiment):
    prompts, edits = prompts_of(experiment), Reference.zeroed((1, 2))
    ablated = logit_diff(experiment, knocked_out="1.2", ablation="zero")
    assert reference.logit_diff(prompts, edits) == pytest.approx(ablated.values, abs=AGREE)
    ours = reference.head_attributions(prompts, edits)
    for head, measurement in knocked_out_attribution_sweep(experiment, "1.2", ablation="zero").items():
        assert ours[head.layer, head.head] == pytest.approx(measurement.value, abs=AGREE)


def test_a_head_that_is_zeroed_with_its_value_bias(folder, reference, experiment):
    """In the raw model z = 0 takes the value bias away too."""
    prompts, edits = prompts_of(experiment), Reference.zeroed((1, 2))
    ours = Reference(folder, fold_value_biases=False).logit_diff(prompts, edits)
    ablated = logit_diff(experiment, knocked_out="1.2", ablation="zero", value_bias="removed")
    assert ours == pytest.approx(ablated.values, abs=AGREE)
    assert abs(ours - reference.logit_diff(prompts, edits)).max() > 100 * AGREE


@pytest.mark.parametrize("site", ["z", "q", "k", "v", "pattern"])
@pytest.mark.parametrize("at", [None, 10])
def test_heads_that_are_patched(reference, experiment, site, at):
    clean, corrupted = prompts_of(experiment), prompts_of(experiment, "s2-exchanged")
    sweep = patch_effect_sweep(experiment, site, at=at)
    ours = {cell: reference.patched(clean, corrupted, site, cell.layer, at=at, head=cell.head) for cell in sweep}
    assert list(ours.values()) == pytest.approx([number.value for number in sweep.values()], abs=1e-4)
    assert max(map(abs, ours.values())) > 0.01


@pytest.mark.parametrize("site", ["resid_pre", "attn_out", "mlp_out"])
def test_streams_that_are_patched(reference, experiment, site):
    clean, corrupted = prompts_of(experiment), prompts_of(experiment, "s2-exchanged")
    for (layer, position), number in patch_effect_sweep(experiment, site).items():
        ours = reference.patched(clean, corrupted, site, layer, at=position, head=None)
        assert ours == pytest.approx(number.value, abs=1e-4)


def test_the_next_token(reference, experiment):
    tokenizer = experiment.checkpoint.tokenizer
    text = "When John and Mary went to the shops, John gave the bag to"
    data = from_strings(tokenizer, clean=[text], answers=[" Mary"], distractors=[" John"], bos=True, population="fixed")
    asked = Experiment(experiment.checkpoint, data)
    tokens = asked.data.clean.groups[0].tokens[0].tolist()
    mary = asked.data.clean.groups[0].answers[0].item()
    probability = next_token(asked, Metric("probability", token=" Mary"))
    assert reference.probability(tokens, mary) == pytest.approx(probability.value, abs=1e-6)
    assert reference.rank(tokens, mary) == next_token(asked, "rank").value
    assert reference.loss(tokens) == pytest.approx(loss(asked).value, abs=AGREE)


def test_weights_alone(reference, experiment):
    checkpoint = experiment.checkpoint
    score = ov_eigenvalue_score(checkpoint, "2.1", through="tokens")
    assert reference.eigenvalue_score(2, 1) == pytest.approx(score.value, abs=1e-4)
    bias = checkpoint.weights.b_u()
    assert reference.bias_difference(5, 9) == pytest.approx(float(bias[5] - bias[9]), abs=AGREE)
