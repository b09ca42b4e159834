"""Our measurements against TransformerLens's own functions: largest absolute difference, on four models.

``pytest tests/measure/test_against_transformer_lens.py -rP`` prints the differences.
"""

import pytest
import torch
from models import experiment_on, values_by_prompt

from pytest_interp import Head
from pytest_interp.measure import direct_logit_attribution_sweep, head_patch_effect

MODELS = ["planted", "gpt2_like", "llama_like", "smollm2"]
SITES = ("attn.hook_z", "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_pattern")
# Heads at which SmolLM2 is compared (all of the small models' heads are): movers, a negative one, others.
SOME = [Head(23, 0), Head(23, 3), Head(24, 4), Head(0, 1), Head(29, 1)]


@pytest.fixture(scope="module", params=MODELS)
def experiment(request):
    checkpoint = request.getfixturevalue(request.param)
    return experiment_on(checkpoint, n=2 if request.param == "smollm2" else 24)


def heads_of(experiment):
    shape = experiment.checkpoint.shape
    all_heads = [Head(layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)]
    return SOME if len(all_heads) > 200 else all_heads


def stock(experiment, group, corrupted, function, index):
    """The stock function restricted to some rows of its sweep, per prompt: the logit difference of each patched run."""
    import pandas as pd
    from transformer_lens.patching import generic_activation_patch

    bridge = experiment.checkpoint.bridge
    rows = torch.arange(len(group.rows))

    def metric(logits):
        return logits[rows, -1, group.answers] - logits[rows, -1, group.distractors]

    columns = ["layer", "head"] if len(index[0]) == 2 else ["layer", "pos", "head"]
    # The stock sweeps are this function with a setter and a site; only a call of one's own takes an index.
    own = {key: function.keywords[key] for key in ("patch_setter", "activation_name")}
    with torch.inference_mode():
        _, cache = bridge.run_with_cache(group.tokens, names_filter=lambda name: name.endswith(SITES))
        result = generic_activation_patch(
            bridge, corrupted.tokens, cache, metric, index_df=pd.DataFrame(index, columns=columns), reduce="none", **own
        )
    return result.values


def largest_difference(experiment, activation, at, function):
    heads = heads_of(experiment)
    if activation in ("k", "v"):
        # One query head of each key-value head: the stock sweep counts key-value heads.
        seen = {experiment.checkpoint.kv_head(head): head for head in reversed(heads)}
        columns = [(kv.layer, kv.head) for kv in seen]
        heads = list(seen.values())
    else:
        columns = [(head.layer, head.head) for head in heads]
    ours = {
        head: values_by_prompt(
            experiment,
            lambda head=head: head_patch_effect(experiment, head, site=activation, at=at, metric="logit_diff"),
        )
        for head in heads
    }
    assert max(abs(value) for values in ours.values() for value in values) > 1e-2, "no effect to compare"
    base = experiment.logit_diffs("s2-exchanged")
    worst = 0.0
    groups = zip(experiment.data.clean.groups, experiment.data.run("s2-exchanged").groups, strict=True)
    for group, corrupted in groups:
        index = columns
        if at == "END":
            index = [(layer, group.tokens.shape[1] - 1, head) for layer, head in columns]
        theirs = stock(experiment, group, corrupted, function, index)
        for i, head in enumerate(heads):
            mine = torch.tensor([ours[head][row] for row in group.rows])
            worst = max(worst, float((theirs[i] - base[list(group.rows)] - mine).abs().max()))
    return worst


@pytest.mark.parametrize("activation", ["z", "q", "k", "v", "pattern"])
def test_patching_at_all_positions(experiment, activation):
    import transformer_lens.patching as tl

    if experiment.checkpoint.name.startswith("smollm2") and activation not in ("z", "v"):
        pytest.skip("z and v on SmolLM2; the others on the small models")
    function = {
        "z": tl.get_act_patch_attn_head_out_all_pos,
        "q": tl.get_act_patch_attn_head_q_all_pos,
        "k": tl.get_act_patch_attn_head_k_all_pos,
        "v": tl.get_act_patch_attn_head_v_all_pos,
        "pattern": tl.get_act_patch_attn_head_pattern_all_pos,
    }[activation]
    worst = largest_difference(experiment, activation, None, function)
    print(f"{experiment.checkpoint.name}: patching {activation}, all positions: {worst:.1e}")
    assert worst < 1e-4


def test_patching_at_one_position(experiment):
    import transformer_lens.patching as tl

    worst = largest_difference(experiment, "z", "END", tl.get_act_patch_attn_head_out_by_pos)
    print(f"{experiment.checkpoint.name}: patching z at END: {worst:.1e}")
    assert worst < 1e-4


def test_direct_logit_attribution(experiment):
    from transformer_lens.tools.analysis import direct_logit_attribution

    checkpoint = experiment.checkpoint
    ours = direct_logit_attribution_sweep(experiment)
    if checkpoint.sites.scale_hook is None:
        pytest.skip("TransformerLens's attribution refuses a model without a final norm; the planted truth is tested")
    group = experiment.data.clean.groups[0]
    worst = 0.0
    for i, row in enumerate(group.rows[:4]):
        with torch.inference_mode():
            theirs = direct_logit_attribution(
                checkpoint.bridge,
                group.tokens[i : i + 1],
                answer_tokens=int(group.answers[i]),
                incorrect_tokens=int(group.distractors[i]),
                unit="head",
            )
        values = dict(zip(theirs.labels, theirs.attribution.flatten().tolist(), strict=True))
        for head, attribution in ours.items():
            worst = max(worst, abs(values[f"L{head.layer}H{head.head}"] - attribution.values[row]))
    print(f"{checkpoint.name}: direct logit attribution of every head: {worst:.1e}")
    assert worst < 1e-4
