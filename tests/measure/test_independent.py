"""Each measurement against a computation of another kind: TransformerLens's own function, or a loop by hand.

``pytest tests/measure/test_independent.py -rP`` prints the largest absolute difference on each of four models.
"""

import contextlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from models import experiment_on, values_by_prompt

from pytest_interp import Experiment, Head, Metric
from pytest_interp.errors import NotApplicable
from pytest_interp.measure import (
    ablation_effect,
    activation_statistics,
    attention,
    attention_and_write,
    attention_write_correlation,
    component_attribution_sweep,
    detector_score_sweep,
    faithfulness,
    head_norms,
    head_patch_effect,
    logit_diff,
    logit_lens_sweep,
    loss,
    next_token,
    ov_eigenvalue_score,
    patch_effect,
    path_patch_effect,
    prompt_copy_score,
    score_statistics,
    selectivity,
)
from pytest_interp.tasks import repeated_tokens

MODELS = ["planted", "gpt2_like", "llama_like", "smollm2"]


@pytest.fixture(scope="module", params=MODELS)
def experiment(request):
    """One group of prompts of one length, so that positions have an index."""
    whole = experiment_on(request.getfixturevalue(request.param), n=24)
    count = 2 if request.param == "smollm2" else 4
    rows = max(whole.data.clean.groups, key=lambda group: len(group.rows)).rows[:count]
    return replace(whole, data=whole.data.rebuild(rows))


def groups_of(experiment, prompts):
    """Groups whose tensors are where the model is: a bridge takes them as they are."""
    there = experiment.checkpoint.device
    return [
        replace(
            group,
            positions={name: positions.to(there) for name, positions in group.positions.items()},
            **{name: getattr(group, name).to(there) for name in ("tokens", "answers", "distractors")},
        )
        for group in prompts.groups
    ]


def parts(experiment, run="clean"):
    """The bridge, the one group, and a cache of its run."""
    bridge, (group,) = experiment.checkpoint.bridge, groups_of(experiment, experiment.data.run(run))
    with torch.inference_mode():
        logits, cache = bridge.run_with_cache(group.tokens)
    return bridge, group, logits, cache


def layers_of(experiment):
    count = experiment.checkpoint.shape.n_layers
    return [0, count // 2, count - 1] if count > 8 else list(range(count))


def heads_of(experiment):
    heads = [
        Head(layer, head) for layer in layers_of(experiment) for head in range(experiment.checkpoint.shape.n_heads)
    ]
    return heads[::5] if len(heads) > 24 else heads


def agree(experiment, what, pairs, bound=1e-4, moving=1e-3):
    """Prints the largest difference; both sides must be numbers that could differ."""
    ours, theirs = (np.array([float(value) for value in side]) for side in zip(*pairs, strict=True))
    worst = float(np.abs(ours - theirs).max())
    print(f"{experiment.checkpoint.name}: {what}: {worst:.1e} of {np.abs(ours).max():.3g}")
    assert worst < bound
    assert np.abs(ours).max() > moving, "nothing to compare"


def differences(group, logits):
    rows = torch.arange(len(group.rows))
    return (logits[rows, -1, group.answers] - logits[rows, -1, group.distractors]).cpu()


@pytest.mark.parametrize("site", ["resid_pre", "attn_out", "mlp_out"])
def test_streams_by_layer_and_position(experiment, site):
    from transformer_lens.patching import generic_activation_patch, layer_pos_patch_setter

    bridge, group, _, cache = parts(experiment)
    (corrupted,) = groups_of(experiment, experiment.data.run("s2-exchanged"))
    base = logit_diff(experiment, run="s2-exchanged").values
    s2 = int(group.positions["S2"][0])
    places = [(layer, pos) for layer in layers_of(experiment) for pos in (s2, group.tokens.shape[1] - 1)]
    with torch.inference_mode():
        result = generic_activation_patch(
            bridge, corrupted.tokens, cache, lambda logits: differences(group, logits), layer_pos_patch_setter, site,
            index_df=pd.DataFrame(places, columns=["layer", "pos"]), reduce="none",
        )  # fmt: skip
    pairs = [
        (value, float(result.values[i][row]) - base[row])
        for i, (layer, pos) in enumerate(places)
        for row, value in enumerate(
            values_by_prompt(experiment, lambda: patch_effect(experiment, site, layer, at=pos, metric="logit_diff"))  # noqa: B023
        )
    ]
    # The planted MLPs are zero.
    agree(experiment, f"patching {site}", pairs, moving=-1 if site == "mlp_out" else 1e-3)


def test_the_middle_of_a_layer_by_its_end(experiment):
    """The bridge's hook of resid_mid reaches the MLP alone: the oracle is the end of the layer, not the stock sweep."""
    bridge, group, _, clean = parts(experiment)
    (corrupted,) = groups_of(experiment, experiment.data.run("s2-exchanged"))
    base = torch.tensor(logit_diff(experiment, run="s2-exchanged").values)
    pairs = []
    for layer in layers_of(experiment):
        for name in ("S2", "END"):
            position = int(group.positions[name][0])
            block, mid = bridge.blocks[layer], clean[f"blocks.{layer}.hook_resid_mid"][:, position]

            def put(value, hook, block=block, mid=mid, position=position):
                value = value.clone()
                value[:, position] = mid + block.mlp(block.ln2(mid[:, None]))[:, 0]
                return value

            with torch.inference_mode():
                hooks = [(f"blocks.{layer}.hook_resid_post", put)]
                logits = bridge.run_with_hooks(corrupted.tokens, fwd_hooks=hooks)
            ours = values_by_prompt(
                experiment,
                lambda: patch_effect(experiment, "resid_mid", layer, at=position, metric="logit_diff"),  # noqa: B023
            )
            pairs += list(zip(ours, differences(group, logits) - base, strict=True))
    agree(experiment, "patching resid_mid", pairs)


@pytest.mark.parametrize("into", ["q", "k", "v"])
def test_direct_paths(experiment, into):
    from transformer_lens.patching import get_act_patch_direct_path

    shape = experiment.checkpoint.shape
    if experiment.checkpoint.name == "planted-ioi":
        pytest.skip("native models have no split inputs: the planted truth is tested")
    if into != "q" and shape.n_kv_heads < shape.n_heads:
        pytest.skip("TransformerLens refuses k and v of grouped key-value heads; see the private copy")
    if shape.n_layers > 8:
        pytest.skip("its sweep over all later heads takes minutes here; see the one edge below")
    bridge, group, _, clean = parts(experiment)
    _, _, _, abc = parts(experiment, "abc")
    with torch.inference_mode():
        theirs = get_act_patch_direct_path(
            bridge,
            group.tokens,
            abc,
            clean,
            lambda logits: differences(group, logits).mean(),
            0,
            1,
            into,
            verbose=False,
        )
    base = logit_diff(experiment).value
    pairs = []
    for layer in range(1, shape.n_layers):
        for head in range(shape.n_heads):
            ours = path_patch_effect(experiment, "0.1", Head(layer, head), into=into, at=None, mlps="freeze").value
            pairs.append((ours, float(theirs[layer, head]) - base))
    agree(experiment, f"direct path into {into}", pairs)


@pytest.mark.parametrize("mlps", ["recompute", "freeze"])
def test_paths_by_a_residual_stream_built_by_hand(experiment, mlps):
    """Into queries at END: the stream is added up layer by layer, and the receiver reads it through its own norm."""
    if experiment.checkpoint.name == "planted-ioi":
        pytest.skip("native models have no split inputs")
    bridge, group, _, clean = parts(experiment)
    _, _, _, abc = parts(experiment, "abc")
    layers = experiment.checkpoint.shape.n_layers
    sender, receiver = (Head(20, 0), Head(23, 0)) if layers > 8 else (Head(0, 1), Head(2, 2))
    z = f"blocks.{sender.layer}.attn.hook_z"
    moved = (abc[z] - clean[z])[:, :, sender.head] @ bridge.blocks[sender.layer].attn.W_O[sender.head]
    stream = clean[f"blocks.{sender.layer}.hook_resid_mid"] + moved
    with torch.inference_mode():
        for layer in range(sender.layer, receiver.layer):
            block = bridge.blocks[layer]
            if layer > sender.layer:
                stream = stream + clean[f"blocks.{layer}.hook_attn_out"]
            frozen = clean[f"blocks.{layer}.hook_mlp_out"]
            stream = stream + (block.mlp(block.ln2(stream)) if mlps == "recompute" else frozen)

        def put(value, hook):
            value = value.clone()
            value[:, -1, receiver.head] = stream[:, -1]
            return value

        bridge.set_use_split_qkv_input(True)
        try:
            hooks = [(f"blocks.{receiver.layer}.attn.hook_q_input", put)]
            logits = bridge.run_with_hooks(group.tokens, fwd_hooks=hooks)
        finally:
            bridge.set_use_split_qkv_input(False)
    theirs = differences(group, logits) - torch.tensor(logit_diff(experiment).values)
    ours = path_patch_effect(experiment, sender, receiver, into="q", mlps=mlps).values
    agree(experiment, f"path into queries, MLPs {mlps}", list(zip(ours, theirs, strict=True)))


def test_a_private_key_or_value_in_two_runs(experiment):
    """One run in which the shared head changes, and one in which the receiver's z alone is taken from it."""
    shape = experiment.checkpoint.shape
    if shape.n_kv_heads == shape.n_heads:
        pytest.skip("no shared key-value heads")
    bridge, group, _, clean = parts(experiment)
    sender, receiver = (Head(17, 4), Head(20, 0)) if shape.n_layers > 8 else (Head(0, 3), Head(2, 1))
    positions, kv = group.positions["S2"], experiment.checkpoint.kv_head(receiver).head
    rows = torch.arange(len(positions))
    _, _, _, abc = parts(experiment, "abc")
    for into in ("k", "v"):
        recorded = {}

        def freeze(value, hook, sender=sender):
            value = clean[hook.name].clone()
            if hook.layer() == sender.layer:
                value[:, :, sender.head] = abc[hook.name][:, :, sender.head]
            return value

        def record(value, hook, recorded=recorded):
            recorded["x"] = value.clone()

        def exchange(value, hook, recorded=recorded):
            value = value.clone()
            value[rows, positions, kv] = recorded["x"][rows, positions, kv]
            return value

        def keep(value, hook, recorded=recorded):
            recorded["z"] = value.clone()

        def take(value, hook, recorded=recorded):
            value = value.clone()
            value[:, :, receiver.head] = recorded["z"][:, :, receiver.head]
            return value

        site, z = (f"blocks.{receiver.layer}.attn.hook_{name}" for name in (into, "z"))
        with torch.inference_mode():
            frozen = [(f"blocks.{layer}.attn.hook_z", freeze) for layer in range(shape.n_layers)]
            bridge.run_with_hooks(group.tokens, fwd_hooks=[*frozen, (site, record)])
            bridge.run_with_hooks(group.tokens, fwd_hooks=[(site, exchange), (z, keep)])
            logits = bridge.run_with_hooks(group.tokens, fwd_hooks=[(z, take)])
        theirs = differences(group, logits) - torch.tensor(logit_diff(experiment).values)
        ours = path_patch_effect(experiment, sender, receiver, into=into, at="S2").values
        agree(experiment, f"path into a private {into}", list(zip(ours, theirs, strict=True)), moving=1e-5)


def test_the_lens(experiment):
    checkpoint = experiment.checkpoint
    bridge, group, _, cache = parts(experiment)
    if checkpoint.sites.scale_hook is None:
        pytest.skip("no final norm: the planted truth is tested")
    from transformer_lens.tools.analysis import logit_lens as stock

    with torch.inference_mode():
        theirs = stock(bridge, group.tokens, positions=-1, layers=None)
        stack, labels = cache.accumulated_resid(layer=-1, incl_mid=False, pos_slice=-1, return_labels=True)
        scaled = cache.apply_ln_to_stack(stack, layer=-1, pos_slice=-1)
    live, frozen = (logit_lens_sweep(experiment, norm=norm, sites=("resid_pre",)) for norm in ("live", "frozen"))
    rows = torch.arange(len(group.rows))
    direction = checkpoint.weights.w_u()[:, group.answers] - checkpoint.weights.w_u()[:, group.distractors]
    bias = checkpoint.weights.b_u()[group.answers] - checkpoint.weights.b_u()[group.distractors]
    logits = theirs.values
    live_pairs, frozen_pairs = [], []
    for i in range(checkpoint.shape.n_layers):
        row = logits[i][rows, group.answers] - logits[i][rows, group.distractors]
        live_pairs += list(zip(live[i, "resid_pre"].values, row, strict=True))
        frozen_pairs += list(zip(frozen[i, "resid_pre"].values, (scaled[i] * direction.T).sum(-1) + bias, strict=True))
    assert labels[0].startswith("0_pre")
    agree(experiment, "logit lens, live norm", live_pairs, bound=2e-4)
    agree(experiment, "logit lens, frozen norm", frozen_pairs)


def test_components_add_up(experiment):
    table = component_attribution_sweep(experiment)
    (group,) = groups_of(experiment, experiment.data.clean)
    bias = experiment.checkpoint.weights.b_u()[group.answers] - experiment.checkpoint.weights.b_u()[group.distractors]
    total = torch.tensor([attribution.values for attribution in table.values()]).sum(0) + bias.cpu()
    agree(experiment, "components' sum", list(zip(total, logit_diff(experiment).values, strict=True)))


def test_next_tokens_and_losses(experiment):
    bridge, group, logits, _ = parts(experiment)
    log_p = logits[:, -1].double().log_softmax(-1)
    own = log_p[torch.arange(len(group.rows)), group.answers]
    agree(experiment, "log-probability", list(zip(next_token(experiment).values, own, strict=True)))
    ranks = (log_p >= own[:, None]).sum(-1)
    assert next_token(experiment, "rank").values == tuple(ranks.float().tolist())
    at, rows = group.positions["S2"], torch.arange(len(group.rows))
    following = logits.double().log_softmax(-1)[rows, at, group.tokens[rows, at + 1]]
    ours = next_token(experiment, Metric("log_prob", at="S2", token="next")).values
    agree(experiment, "log-probability of the next token at S2", list(zip(ours, following, strict=True)))
    with torch.inference_mode():
        theirs = [bridge(tokens[None], return_type="loss") for tokens in group.tokens]
    agree(experiment, "loss", list(zip(loss(experiment).values, theirs, strict=True)))


def test_ablations_prompt_by_prompt(experiment):
    bridge, group, logits, _ = parts(experiment)
    out = [Head(20, 0), Head(23, 3)] if experiment.checkpoint.shape.n_layers > 8 else [Head(1, 0), Head(2, 1)]
    base = differences(group, logits)
    reference = experiment.data.reference
    for how, at in (("mean", "END"), ("zero", None), ("mean", None)):
        values = torch.tensor(ablation_effect(experiment, out, ablation=how, at=at).values)
        kl = ablation_effect(experiment, out, ablation=how, at=at, metric="kl").values
        pairs, divergences = [], []
        for i, row in enumerate(group.rows):
            template = experiment.data.clean.prompts[row].template
            same = [
                g.tokens[j]
                for g in groups_of(experiment, reference)
                for j, r in enumerate(g.rows)
                if reference.prompts[r].template == template
            ]
            with torch.inference_mode():
                _, cache = bridge.run_with_cache(torch.stack(same), names_filter=lambda name: name.endswith("hook_z"))

                def ablate(value, hook, cache=cache, how=how, at=at):
                    value = value.clone()
                    new = cache[hook.name].mean(0) if how == "mean" else torch.zeros_like(value[0])
                    positions = slice(-1, None) if at == "END" else slice(None)
                    for head in out:
                        if head.layer == hook.layer():
                            value[:, positions, head.head] = new[positions, head.head]
                    return value

                hooks = [(f"blocks.{layer}.attn.hook_z", ablate) for layer in {head.layer for head in out}]
                ablated = bridge.run_with_hooks(group.tokens[i : i + 1], fwd_hooks=hooks)[0, -1]
            after = ablated[group.answers[i]] - ablated[group.distractors[i]]
            pairs.append((values[i], after - base[i]))
            p, q = (x.double().log_softmax(-1) for x in (logits[i, -1], ablated))
            divergences.append((kl[i], (p.exp() * (p - q)).sum()))
        agree(experiment, f"{how} ablation at {at or 'all positions'}", pairs)
        agree(experiment, f"KL of {how} ablation at {at or 'all positions'}", divergences, moving=1e-6)


def test_faithfulness_prompt_by_prompt(experiment):
    bridge, group, _, _ = parts(experiment)
    circuit = {Head(1, 0): "S2", Head(2, 0): "END", Head(2, 1): None}
    values = faithfulness(experiment, circuit, metric="logit_diff").values
    reference, pairs = experiment.data.reference, []
    for i, row in enumerate(group.rows):
        template = experiment.data.clean.prompts[row].template
        same = [
            g.tokens[j]
            for g in groups_of(experiment, reference)
            for j, r in enumerate(g.rows)
            if reference.prompts[r].template == template
        ]
        with torch.inference_mode():
            _, cache = bridge.run_with_cache(torch.stack(same), names_filter=lambda name: name.endswith("hook_z"))

            def outside(value, hook, cache=cache, i=i):
                new = cache[hook.name].mean(0, keepdim=True).clone()
                for head, at in circuit.items():
                    if head.layer == hook.layer():
                        positions = slice(None) if at is None else int(group.positions[at][i])
                        new[:, positions, head.head] = value[:, positions, head.head]
                return new

            hooks = [(f"blocks.{layer}.attn.hook_z", outside) for layer in range(experiment.checkpoint.shape.n_layers)]
            logits = bridge.run_with_hooks(group.tokens[i : i + 1], fwd_hooks=hooks)[0, -1]
        pairs.append((values[i], logits[group.answers[i]] - logits[group.distractors[i]]))
    agree(experiment, "faithfulness", pairs, moving=1e-6)


def test_attention_weighted_and_against_writes(experiment):
    checkpoint = experiment.checkpoint
    bridge, group, _, cache = parts(experiment)
    scale = cache[checkpoint.sites.scale_hook][:, -1, 0].double() if checkpoint.sites.scale_hook else 1.0
    pairs, correlations, rows = [], [], torch.arange(len(group.rows))
    for head in heads_of(experiment):
        v = cache[f"blocks.{head.layer}.attn.hook_v"][:, :, checkpoint.kv_head(head).head].double()
        w_o = bridge.blocks[head.layer].attn.W_O[head.head].double()
        pattern = cache[f"blocks.{head.layer}.attn.hook_pattern"][:, head.head, -1].double()
        moved = pattern * (v @ w_o).norm(dim=-1)
        share = moved[rows, group.positions["IO"]] / moved.sum(-1).clamp(min=1e-30)
        pairs += list(zip(attention(experiment, head, at="END", to="IO", weighted=True).values, share, strict=True))
        z = cache[f"blocks.{head.layer}.attn.hook_z"][:, -1, head.head].double()
        read, written = [], []
        for name in ("IO", "S1", "S2"):
            at = group.positions[name]
            read.append(pattern[rows, at])
            w_u = checkpoint.weights.w_u()[:, group.tokens[rows, at]].double()
            written.append((z @ w_o * w_u.T).sum(-1) / scale)
        read, written = torch.cat(read).cpu(), torch.cat(written).cpu()
        if read.std() > 1e-4 and written.std() > 1e-2:
            r = np.corrcoef(read.numpy(), written.numpy())[0, 1]
            correlations.append((attention_write_correlation(experiment, head).value, r))
            points = attention_and_write(experiment, head)
            assert torch.allclose(torch.cat([point[2] for point in points]).double(), written, atol=1e-3)
    agree(experiment, "value-weighted attention", pairs)
    agree(experiment, "attention against write, r", correlations)


def test_copying(experiment):
    checkpoint = experiment.checkpoint
    bridge, group, _, cache = parts(experiment)
    stream = cache["blocks.0.hook_resid_post"].double()
    eigen, shares, rows = [], [], torch.arange(len(group.rows))
    small = checkpoint.shape.d_vocab < 1000
    for head in [head for head in heads_of(experiment) if head.layer > 0]:
        factored = bridge.OV[head.layer, head.head]
        values = factored.eigenvalues
        if float(values.abs().sum()) > 1e-3:
            eigen.append((ov_eigenvalue_score(checkpoint, head, through="residual").value,
                      values.real.sum() / values.abs().sum()))  # fmt: skip
        w_v, w_o = (
            checkpoint.weights.w_v(head.layer)[head.head].double(),
            checkpoint.weights.w_o(head.layer)[head.head].double(),
        )
        full = (
            torch.linalg.eigvals(checkpoint.weights.w_e().double() @ w_v @ w_o @ checkpoint.weights.w_u().double())
            if small
            else None
        )
        if full is not None and float(full.abs().sum()) > 1e-3:
            eigen.append((ov_eigenvalue_score(checkpoint, head).value, full.real.sum() / full.abs().sum()))
        copied = []
        for name in ("IO", "S1", "S2"):
            at = group.positions[name]
            logits = stream[rows, at] @ w_v @ w_o @ checkpoint.weights.w_u().double()
            own = logits[rows, group.tokens[rows, at]]
            copied.append((logits >= own[:, None]).sum(-1) <= 5)
        with contextlib.suppress(NotApplicable):  # a head that writes nothing has no copy score
            ours = prompt_copy_score(experiment, head).values
            shares += list(zip(ours, torch.stack(copied).double().mean(0), strict=True))
    agree(experiment, "OV eigenvalue score", eigen, bound=1e-3)
    agree(experiment, "copy score over prompts", shares, moving=-1)


def test_detectors_by_hand(experiment):
    checkpoint = experiment.checkpoint
    data = repeated_tokens(checkpoint.tokenizer, length=12, n=2, seed=0, bos=checkpoint.bos, complete=True)
    twice = Experiment(checkpoint, data)
    _, group, _, cache = parts(twice)
    start = int(checkpoint.bos)
    for kind, back in (("previous_token", 1), ("duplicate_token", 12), ("induction", 11)):
        table, pairs = detector_score_sweep(twice, kind), []
        for head in heads_of(experiment):
            pattern = cache[f"blocks.{head.layer}.attn.hook_pattern"][:, head.head]
            for row in range(2):
                first = start + (1 if kind == "previous_token" else 12)
                numbers = [float(pattern[row, i, i - back]) for i in range(first, group.tokens.shape[1])]
                pairs.append((table[head].values[row], sum(numbers) / len(numbers)))
        agree(experiment, f"{kind} score", pairs)


def test_statistics_by_hand(experiment):
    checkpoint = experiment.checkpoint
    _, group, _, cache = parts(experiment)
    variants = (("pattern", "per_head"), ("scores", "per_head"), ("scores", "concatenated"))
    soft, raw, long = (score_statistics(experiment, kind, variant=variant) for kind, variant in variants)
    values, norms = activation_statistics(experiment, "v"), head_norms(experiment, at="S2")
    length, rows = group.tokens.shape[1], torch.arange(len(group.rows))
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    pairs, unsure = [], []
    for layer in layers_of(experiment):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"].double()
        flat = pattern[:, :, causal].flatten(1)
        pairs += [
            *zip(soft[layer, "mean"].values, flat.mean(1), strict=True),
            *zip(soft[layer, "sd"].values, flat.std(1, correction=0), strict=True),
        ]
        if checkpoint.name != "planted-ioi":  # whose hook of scores holds the pattern
            scores = cache[f"blocks.{layer}.attn.hook_attn_scores"].double()[:, :, causal].flatten(1)
            unsure += list(zip(raw[layer, "mean"].values, scores.mean(1), strict=True))
        q, k, v = (cache[f"blocks.{layer}.attn.hook_{site}"].double() for site in "qkv")
        k_all = k.repeat_interleave(q.shape[2] // k.shape[2], dim=2)
        joined = torch.einsum("rihd,rjhd->rij", q, k_all) / checkpoint.shape.d_head**0.5
        unsure += list(zip(long[layer, "mean"].values, joined.flatten(1).mean(1), strict=True))
        pairs += list(zip(values[layer, "variance"].values, v[:, 1:].flatten(1).var(1, correction=0), strict=True))
        z = cache[f"blocks.{layer}.attn.hook_z"].double()
        pairs += list(zip(norms[Head(layer, 1)].values, z[rows, group.positions["S2"], 1].norm(dim=-1), strict=True))
    agree(experiment, "pattern, values, norms", pairs)
    agree(experiment, "scores, per head and concatenated", unsure, bound=1e-3)
    ratios = selectivity(experiment)
    layer = next(iter(ratios))[0]
    z = cache[f"blocks.{layer}.attn.hook_z"].double()
    means = (z[rows, group.positions["S1"]] - z[rows, group.positions["S2"]]).abs().mean(-1).sort(-1).values
    expected = means[:, -2:].mean(-1) / means[:, :2].mean(-1)
    agree(experiment, "selectivity", list(zip(ratios[layer, "ratio"].values, expected, strict=True)), bound=1e-2)


def test_the_comparison_can_fail(experiment):
    """Another head, another position: differences far above the bounds."""
    first, other = (
        head_patch_effect(experiment, head, metric="logit_diff").values for head in (Head(1, 0), Head(2, 1))
    )
    with pytest.raises(AssertionError):
        agree(experiment, "two heads", list(zip(first, other, strict=True)))
