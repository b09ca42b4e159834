"""Value biases kept and removed, against the raw transformers model: hooks on the input of its output projection."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from models import experiment_on, random_gpt2, random_llama, random_neox, randomised

from pytest_interp import (
    Checkpoint,
    CheckpointSpec,
    Head,
    assert_ablation_effect,
    assert_attention,
    assert_attention_write_correlation,
    assert_backup_heads,
    assert_direct_logit_attribution,
    assert_logit_diff,
    assert_self_repair,
)
from pytest_interp.checkpoints import value_bias
from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.checkpoints.planted.family import PLANS
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    ablation_effect,
    ablation_effect_sweep,
    activation_statistics,
    activation_values,
    attention,
    attention_and_write,
    attention_sweep,
    attention_write_correlation,
    backup_effect,
    direct_logit_attribution,
    direct_logit_attribution_sweep,
    head_norms,
    knocked_out_attribution_sweep,
    logit_diff,
    occurrence_difference,
    position_norms,
    self_repair,
    source_attribution_sweep,
)
from pytest_interp.verdict.recording import trial

RAW = {"gpt2_like": random_gpt2, "neox_like": random_neox, "llama_like": random_llama, "qwen2_like": None}
OUT = [Head(0, 1), Head(1, 2)]
WRITER = Head(0, 3)  # what it writes is for the answer, so that its loss can be repaired


def random_qwen2(tokenizer):
    """A Qwen-2-shaped model with random weights: values with biases, three query heads to a key-value head."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, hidden_size=48, intermediate_size=96,
        vocab_size=len(tokenizer), max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    return randomised(Qwen2ForCausalLM(config), torch)


RAW["qwen2_like"] = random_qwen2


@pytest.fixture(scope="module")
def qwen2_like(tokenizer):
    return Checkpoint(CheckpointSpec("qwen2-like", loader=lambda: (random_qwen2(tokenizer), tokenizer), bos=True))


class RawModel:
    """The same weights in plain transformers, with what a measurement of ours is compared with."""

    def __init__(self, model, shape):
        self.model, self.shape = model.requires_grad_(False), shape
        layers = getattr(model, "transformer", None) or getattr(model, "gpt_neox", None) or model.model
        self.layers = getattr(layers, "h", None) or layers.layers
        self.norm = next(
            getattr(layers, name) for name in ("ln_f", "final_layer_norm", "norm") if hasattr(layers, name)
        )

    def projection(self, layer):
        block = self.layers[layer]
        attn = next(getattr(block, name) for name in ("attn", "attention", "self_attn") if hasattr(block, name))
        return next(getattr(attn, name) for name in ("c_proj", "dense", "o_proj") if hasattr(attn, name))

    def w_o(self, head):
        """Of shape (d_head, d_model)."""
        projection, size = self.projection(head.layer), self.shape.d_head
        weight = projection.weight if type(projection).__name__ == "Conv1D" else projection.weight.T
        return weight[head.head * size : (head.head + 1) * size]

    @contextmanager
    def zeroed(self, heads, at):
        """The input of the output projection with these heads' slices zero, at one position or (None) at all."""

        def zero(head):
            def hook(module, args):
                z = args[0].clone()
                size = self.shape.d_head
                positions = slice(None) if at is None else slice(at, None)
                z[:, positions, head.head * size : (head.head + 1) * size] = 0
                return (z, *args[1:])

            return self.projection(head.layer).register_forward_pre_hook(hook)

        handles = [zero(head) for head in heads]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(self, tokens):
        """Logits, the raw z of each layer ``(row, pos, head, d_head)``, and the final norm's input."""
        z, final = {}, []

        def see(layer):
            def hook(module, args):
                z[layer] = args[0].reshape(*args[0].shape[:2], self.shape.n_heads, self.shape.d_head)

            return self.projection(layer).register_forward_pre_hook(hook)

        handles = [see(layer) for layer in range(self.shape.n_layers)]
        handles.append(self.norm.register_forward_pre_hook(lambda module, args: final.append(args[0])))
        try:
            with torch.no_grad():
                out = self.model(tokens, output_attentions=True)
        finally:
            for handle in handles:
                handle.remove()
        return out, z, final[0]

    def values(self, head, tokens):
        """The raw values that a head reads, ``(row, pos, d_head)``, as each architecture projects them."""
        block, size, seen = self.layers[head.layer], self.shape.d_head, []
        if hasattr(block, "attn"):
            projection = block.attn.c_attn
        else:
            projection = block.attention.query_key_value if hasattr(block, "attention") else block.self_attn.v_proj
        handle = projection.register_forward_hook(lambda module, args, out: seen.append(out))
        self.run(tokens)
        handle.remove()
        (out,) = seen
        if hasattr(block, "attn"):
            return out.chunk(3, dim=-1)[2].unflatten(-1, (-1, size))[:, :, head.head]
        if hasattr(block, "attention"):
            return out.unflatten(-1, (-1, 3 * size))[:, :, head.head, 2 * size :]
        shared = self.shape.n_heads // self.shape.n_kv_heads
        return out.unflatten(-1, (-1, size))[:, :, head.head // shared]

    def directions(self, group, final, of="logit_diff", tokens=None):
        """What a residual stream at END is multiplied by to give a logit less the mean over all: ``(row, d_model)``.

        Through the final norm with its scale as it is.
        """
        w_u = self.model.get_output_embeddings().weight
        direction = w_u[group.answers if tokens is None else tokens] - w_u.mean(0)
        if of == "logit_diff":
            direction = direction - (w_u[group.distractors] - w_u.mean(0))
        direction, end = direction * self.norm.weight, final[:, -1]
        if isinstance(self.norm, torch.nn.LayerNorm):
            direction = direction - direction.mean(-1, keepdim=True)
            return direction / (end.var(-1, correction=0, keepdim=True) + self.norm.eps).sqrt()
        return direction / (end.pow(2).mean(-1, keepdim=True) + self.norm.variance_epsilon).sqrt()


@pytest.fixture(scope="module", params=list(RAW))
def pair(request, tokenizer):
    """An experiment on one group of prompts of one length, and the raw model."""
    checkpoint = request.getfixturevalue(request.param)
    whole = experiment_on(checkpoint, n=24)
    rows = max(whole.data.clean.groups, key=lambda group: len(group.rows)).rows[:5]
    experiment = replace(whole, data=whole.data.rebuild(rows))
    return experiment, RawModel(RAW[request.param](tokenizer), checkpoint.shape)


@pytest.fixture
def biased(pair):
    if pair[0].checkpoint.name == "llama-like":
        pytest.skip("it has no value biases")
    return pair


def scored(group, logits):
    rows = torch.arange(len(group.rows))
    return logits[rows, -1, group.answers] - logits[rows, -1, group.distractors]


def close(ours, theirs, bound=2e-4):
    ours, theirs = torch.as_tensor(ours, dtype=torch.float32), torch.as_tensor(theirs, dtype=torch.float32)
    assert float((ours - theirs).abs().max()) < bound
    assert float(theirs.abs().max()) > 1e-3, "nothing to compare"


def apart(first, other, least=1e-3):
    assert float((torch.as_tensor(first) - torch.as_tensor(other)).abs().max()) > least


HEADS = [Head(0, 0), Head(1, 3), Head(2, 2)]


@pytest.mark.parametrize("at", ["END", None])
def test_removed_is_the_true_zero(pair, at):
    experiment, raw = pair
    (group,) = experiment.data.clean.groups
    before = scored(group, raw.run(group.tokens)[0].logits)
    with raw.zeroed(OUT, None if at is None else -1):
        after = scored(group, raw.run(group.tokens)[0].logits)
    close(ablation_effect(experiment, OUT, ablation="zero", at=at, value_bias="removed").values, after - before)
    if at == "END":
        close(logit_diff(experiment, knocked_out=OUT, ablation="zero", value_bias="removed").values, after)
    for head in OUT:
        with raw.zeroed([head], None if at is None else -1):
            alone = scored(group, raw.run(group.tokens)[0].logits) - before
        close(ablation_effect_sweep(experiment, ablation="zero", at=at, value_bias="removed")[head].values, alone)


def test_kept_leaves_what_the_bias_writes(biased):
    """The raw run with the heads' slices at their value bias instead of zero."""
    experiment, raw = biased
    (group,) = experiment.data.clean.groups
    bias = {
        head: experiment.checkpoint.weights.value_bias(head.layer)[experiment.checkpoint.kv_head(head).head]
        for head in OUT
    }

    def put(head):
        def hook(module, args):
            z, size = args[0].clone(), raw.shape.d_head
            z[:, -1, head.head * size : (head.head + 1) * size] = bias[head]
            return (z, *args[1:])

        return raw.projection(head.layer).register_forward_pre_hook(hook)

    handles = [put(head) for head in OUT]
    after = scored(group, raw.run(group.tokens)[0].logits)
    for handle in handles:
        handle.remove()
    ours = logit_diff(experiment, knocked_out=OUT, ablation="zero").values
    close(ours, after)
    apart(ours, logit_diff(experiment, knocked_out=OUT, ablation="zero", value_bias="removed").values)


def test_attributions_of_the_raw_model(pair):
    experiment, raw = pair
    (group,) = experiment.data.clean.groups
    out, z, final = raw.run(group.tokens)
    direction, answer = raw.directions(group, final), raw.directions(group, final, of="answer")
    table = direct_logit_attribution_sweep(experiment, value_bias="kept")
    parts = {name: source_attribution_sweep(experiment, name, value_bias="kept") for name in ("IO", "S1")}
    rows = torch.arange(len(group.rows))
    for head in HEADS:
        written = z[head.layer][:, -1, head.head] @ raw.w_o(head)
        close(table[head].values, (written * direction).sum(-1))
        close(direct_logit_attribution(experiment, head, value_bias="kept").values, (written * direction).sum(-1))
        for name, of_source in parts.items():
            positions = group.positions[name]
            moved = raw.values(head, group.tokens)[rows, positions] @ raw.w_o(head)
            expected = out.attentions[head.layer][rows, head.head, -1, positions] * (moved * answer).sum(-1)
            close(of_source[head].values, expected)


def test_weighted_attention_of_the_raw_model(pair):
    experiment, raw = pair
    (group,) = experiment.data.clean.groups
    out, _, _ = raw.run(group.tokens)
    rows = torch.arange(len(group.rows))
    table = attention_sweep(experiment, at="END", to="IO", weighted=True, value_bias="kept")
    # LayerNorm's compatibility mode centres what is written, which a norm sees.
    for head in HEADS:
        w_o = raw.w_o(head)
        if isinstance(raw.norm, torch.nn.LayerNorm):
            w_o = w_o - w_o.mean(-1, keepdim=True)
        norms = (raw.values(head, group.tokens) @ w_o).norm(dim=-1)
        moved = out.attentions[head.layer][:, head.head, -1] * norms
        share = moved[rows, group.positions["IO"]] / moved.sum(-1)
        close(table[head].values, share)
        close(attention(experiment, head, at="END", to="IO", weighted=True, value_bias="kept").values, share)


def test_norms_and_statistics_of_the_raw_model(pair):
    experiment, raw = pair
    (group,) = experiment.data.clean.groups
    _, z, _ = raw.run(group.tokens)
    end, everywhere = (head_norms(experiment, at=at, value_bias="kept") for at in ("END", None))
    by_position = position_norms(experiment, positions=("END",), value_bias="kept")
    table = activation_statistics(experiment, "z", value_bias="kept")
    for layer in range(raw.shape.n_layers):
        norms = z[layer].norm(dim=-1)
        for head in range(raw.shape.n_heads):
            close(end[Head(layer, head)].values, norms[:, -1, head])
            close(everywhere[Head(layer, head)].values, norms[:, :, head].mean(1))
        close(by_position[layer, "END"].values, norms[:, -1].mean(1))
        flat = z[layer][:, 1:].flatten(1)
        close(table[layer, "variance"].values, flat.var(1, correction=0))
        close(table[layer, "mean"].values, flat.mean(1))
        close(activation_values(experiment, "z", layer, value_bias="kept"), flat.flatten())
    values = activation_statistics(experiment, "v", value_bias="kept")
    kv_heads = range(0, raw.shape.n_heads, raw.shape.n_heads // raw.shape.n_kv_heads)
    heads = [raw.values(Head(1, head), group.tokens)[:, 1:] for head in kv_heads]
    close(values[1, "mean"].values, torch.stack(heads).transpose(0, 1).flatten(1).mean(1))


def test_writes_towards_names_of_the_raw_model(pair):
    experiment, raw = pair
    (group,) = experiment.data.clean.groups
    _, z, final = raw.run(group.tokens)
    rows, head = torch.arange(len(group.rows)), HEADS[1]
    written = z[head.layer][:, -1, head.head] @ raw.w_o(head)
    for name, _, ours in attention_and_write(experiment, head, to=("IO", "S1"), value_bias="kept"):
        tokens = group.tokens[rows, group.positions[name]]
        close(ours, (written * raw.directions(group, final, of="token", tokens=tokens)).sum(-1))


MEASUREMENTS = {
    "ablation": lambda e, **how: ablation_effect(e, OUT, ablation="zero", **how).values,
    "ablation sweep": lambda e, **how: ablation_effect_sweep(e, ablation="zero", **how)[OUT[0]].values,
    "logit difference": lambda e, **how: logit_diff(e, knocked_out=OUT, ablation="zero", **how).values,
    "backup": lambda e, **how: (
        backup_effect(e, ["2.1"], knocked_out=OUT, ablation="zero", **how).after[Head(2, 1)].values
    ),
    "attributions without": lambda e, **how: (
        knocked_out_attribution_sweep(e, OUT, ablation="zero", **how)["2.1"].values
    ),
    "self-repair": lambda e, **how: self_repair(e, OUT, ablation="zero", **how).values,
    "attribution": lambda e, **how: direct_logit_attribution(e, OUT, **how).values,
    "attribution sweep": lambda e, **how: direct_logit_attribution_sweep(e, **how)["2.1"].values,
    "from a source": lambda e, **how: source_attribution_sweep(e, "IO", **how)["2.1"].values,
    "weighted attention": lambda e, **how: attention(e, "2.1", at="END", to="IO", weighted=True, **how).values,
    "weighted attentions": lambda e, **how: attention_sweep(e, at="END", to="IO", weighted=True, **how)["2.1"].values,
    "correlation": lambda e, **how: attention_write_correlation(e, "2.1", **how).values,
    "norms": lambda e, **how: head_norms(e, **how)["2.1"].values,
    "norms by position": lambda e, **how: position_norms(e, positions=("END",), **how)[2, "END"].values,
    "z": lambda e, **how: activation_statistics(e, "z", **how)[1, "variance"].values,
    "v": lambda e, **how: activation_statistics(e, "v", **how)[1, "mean"].values,
}
STAYS = ("ablation", "ablation sweep", "logit difference", "backup", "attributions without", "self-repair")
"""What the bias stays in unless told; elsewhere it is left out."""


@pytest.mark.parametrize("what", MEASUREMENTS)
def test_they_differ_where_there_are_biases_and_nowhere_else(pair, what):
    experiment, _ = pair
    with_bias, removed, default = (
        MEASUREMENTS[what](experiment, **how) for how in ({"value_bias": "kept"}, {"value_bias": "removed"}, {})
    )
    assert default == (with_bias if what in STAYS else removed)
    if experiment.checkpoint.name == "llama-like":
        assert with_bias == removed
    else:
        apart(with_bias, removed)


def test_a_constant_does_not_matter_to_a_difference(biased):
    experiment, _ = biased
    z = experiment.activation(experiment.checkpoint.sites.hook("z", 1))[0]
    bias = experiment.checkpoint.weights.value_bias(1).repeat_interleave(
        z.shape[2] // len(experiment.checkpoint.weights.value_bias(1)), 0
    )
    (group,) = experiment.data.clean.groups
    rows = torch.arange(len(group.rows))
    raw = z + bias
    moved = (raw[rows, group.positions["S1"]] - raw[rows, group.positions["S2"]]).abs().mean(-1)
    close(occurrence_difference(experiment)["1.2"].values, moved[:, 2])


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_other_ablations_are_the_same_either_way(biased, ablation):
    experiment, _ = biased
    first, other = (ablation_effect(experiment, OUT, ablation=ablation, value_bias=how) for how in ("kept", "removed"))
    assert first.values == other.values
    assert tuple(part.context.extra["value_bias"] for part in (first, other)) == ("kept", "removed")
    if ablation == "mean":
        first, other = (
            backup_effect(experiment, "2.1", knocked_out=OUT, value_bias=how) for how in ("kept", "removed")
        )
        assert first.after_live[Head(2, 1)].values == other.after_live[Head(2, 1)].values


def test_what_removed_takes_away_more_is_direct_effect(biased):
    """The knocked-out heads' naive loss is what they wrote, their value bias among it, in the raw model."""
    experiment, raw = biased
    (group,) = experiment.data.clean.groups
    _, z, final = raw.run(group.tokens)
    lost = sum((z[h.layer][:, -1, h.head] @ raw.w_o(h) * raw.directions(group, final)).sum(-1) for h in OUT)
    effect = backup_effect(experiment, "2.1", knocked_out=OUT, ablation="zero", value_bias="removed")
    close(effect.naive.values, torch.tensor(effect.total_before.values) - lost)
    with raw.zeroed(OUT, -1):
        close(effect.total_after.values, scored(group, raw.run(group.tokens)[0].logits))


def test_what_is_refused(biased):
    experiment, _ = biased
    with pytest.raises(UsageError, match="permute shuffles z without its value bias"):
        ablation_effect(experiment, OUT, ablation="permute", value_bias="removed")
    with pytest.raises(UsageError, match="pass weighted=True"):
        attention(experiment, "1.0", at="END", to="IO", value_bias="kept")
    for ask in MEASUREMENTS.values():
        with pytest.raises(UsageError, match="allowed: 'kept', 'removed'"):
            ask(experiment, value_bias="some")
    with pytest.raises(UsageError, match="allowed: 'kept', 'removed'"):
        ablation_effect(experiment, OUT, ablation="mean", value_bias="some")


def test_records_say_which(gpt2_like):
    experiment = experiment_on(gpt2_like, n=16)
    experiment = replace(experiment, data=replace(experiment.data, population="fixed"))
    wide = {"between": (-1e9, 1e9)}
    with trial(until_refuted=False) as records:  # it need not do the task
        for how in ("kept", "removed"):
            assert_ablation_effect(experiment, OUT, ablation="zero", value_bias=how, controls=0, **wide)
            assert_logit_diff(experiment, knocked_out=OUT, ablation="zero", value_bias=how, **wide)
            assert_self_repair(experiment, WRITER, ablation="zero", value_bias=how, **wide)
            assert_direct_logit_attribution(experiment, OUT, value_bias=how, controls=0, **wide)
            assert_attention(experiment, "2.1", at="END", to="IO", weighted=True, value_bias=how, controls=0, **wide)
            assert_attention_write_correlation(experiment, "2.1", value_bias=how, controls=0, **wide)
            assert_backup_heads(experiment, "2.1", knocked_out=OUT, ablation="zero", value_bias=how, controls=0, **wide)
    assert [record.context.extra["value_bias"] for record in records] == ["kept"] * 7 + ["removed"] * 7
    for first, other in zip(records[:7], records[7:], strict=True):
        assert first.value != other.value or first.quantity == "backup_rise", first.quantity


# ---- where the biases are


@pytest.mark.parametrize("name", ["planted-ioi", "planted-gqa"])
def test_planted_models_have_none(name):
    assert name in PLANS
    checkpoint = Checkpoint(CheckpointSpec(name, "planted", name, bos=True))
    shape = checkpoint.shape
    for layer in range(shape.n_layers):
        assert checkpoint.weights.value_bias(layer).shape == (shape.n_kv_heads, shape.d_head)
        assert not checkpoint.weights.value_bias(layer).any()


def test_they_are_what_the_weights_say(gpt2_like, tokenizer):
    """The bias of the joint projection's third part, and what the norm's own bias becomes in the values."""
    model = random_gpt2(tokenizer)
    for layer, block in enumerate(model.transformer.h):
        width = model.config.n_embd
        expected = block.attn.c_attn.bias[-width:] + block.ln_1.bias @ block.attn.c_attn.weight[:, -width:]
        close(gpt2_like.weights.value_bias(layer), expected.detach().view(4, 16), bound=1e-5)
        assert not gpt2_like.weights.value_bias(layer, "removed").any()


@pytest.mark.parametrize("architecture", ["OPT", "Phi", "StableLm", "Starcoder2"])
def test_values_with_their_bias_are_those_of_the_raw_model(architecture, tokenizer):
    import transformers

    sizes = {
        "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6, "max_position_embeddings": 64,
        "vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "attn_implementation": "eager",
    }  # fmt: skip
    sizes |= {"ffn_dim": 96, "word_embed_proj_dim": 48} if architecture == "OPT" else {"intermediate_size": 96}
    sizes |= {"num_key_value_heads": 2, "use_qkv_bias": True} if architecture in ("StableLm", "Starcoder2") else {}
    config = getattr(transformers, f"{architecture}Config")(**sizes)

    def build():
        return randomised(getattr(transformers, f"{architecture}ForCausalLM")(config), torch)

    experiment = experiment_on(Checkpoint(CheckpointSpec("x", loader=lambda: (build(), tokenizer), bos=True)), n=4)
    checkpoint, model, (group, *_) = experiment.checkpoint, build(), experiment.data.clean.groups
    seen = []
    projections = [module for name, module in model.named_modules() if name.endswith("v_proj")]
    for module in projections:
        module.register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        model(group.tokens)
    for layer, raw in enumerate(seen):
        ours = experiment.activation(checkpoint.sites.hook("v", layer))[0]
        apart(ours.flatten(), raw.flatten())
        close((ours + checkpoint.weights.value_bias(layer)).flatten(2), raw)


def bridge_of(model, tokenizer):
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers("x", hf_model=model, tokenizer=tokenizer, device="cpu")


@pytest.fixture
def own(tokenizer, tmp_path):
    """A checkpoint of a bridge that a user built, and put into compatibility mode or not."""
    from pytest_interp.checkpoints.boot import _saved

    def build(model, **mode):
        def load():
            bridge = bridge_of(model(tokenizer), _saved(tokenizer, str(tmp_path)))
            if mode:
                bridge.enable_compatibility_mode(disable_warnings=True, **mode)
            return bridge

        return experiment_on(Checkpoint(CheckpointSpec("own", loader=load, bos=True)), n=8)

    return build


def test_of_a_bridge_of_ones_own(own, gpt2_like):
    experiment = own(random_gpt2)
    for layer in range(3):
        close(experiment.checkpoint.weights.value_bias(layer), gpt2_like.weights.value_bias(layer), bound=1e-5)


def test_of_a_bridge_that_comes_in_compatibility_mode_they_are_not_known(own, gpt2_like):
    experiment, same = own(random_gpt2, fold_ln=True), experiment_on(gpt2_like, n=8)
    for what, ask in MEASUREMENTS.items():
        default, other = ("kept", "removed") if what in STAYS else ("removed", "kept")
        close(ask(experiment, value_bias=default), ask(same), bound=2e-3)
        with pytest.raises(NotApplicable, match="the value biases of own are not known"):
            ask(experiment, value_bias=other)


def test_where_values_are_no_constant_at_zero_they_are_not_known(gpt2_like, monkeypatch):
    monkeypatch.setattr(value_bias, "_zeros", lambda value, hook: value)
    checkpoint = Checkpoint(gpt2_like.spec)
    assert not checkpoint.weights.value_bias(0, "removed").any()
    with pytest.raises(NotApplicable, match="the residual stream alone"):
        checkpoint.weights.value_bias(0)


def test_where_nothing_can_have_been_folded_there_is_no_bias(own):
    experiment = own(random_llama, fold_ln=True)
    assert not experiment.checkpoint.weights.value_bias(1).any()


def test_of_a_bridge_whose_biases_are_not_folded(own, gpt2_like):
    """The words mean the same, though z = 0 is the raw model's zero there."""
    experiment, same = own(random_gpt2, fold_value_biases=False), experiment_on(gpt2_like, n=8)
    for ask in MEASUREMENTS.values():
        for how in ("kept", "removed"):
            close(ask(experiment, value_bias=how), ask(same, value_bias=how), bound=2e-3)


# ---- damage


def test_damage_takes_the_biases_of_its_heads_along(gpt2_like):
    """A head that trades places takes its bias with it; what zeroed heads write is zero, bias and all."""
    experiment, mine, other = experiment_on(gpt2_like, n=8), Head(1, 0), Head(1, 3)
    before = [gpt2_like.weights.value_bias(layer).clone() for layer in range(3)]
    whole = direct_logit_attribution_sweep(experiment, value_bias="kept")
    effect = ablation_effect(experiment, mine, ablation="zero", value_bias="removed").values
    with damaged(gpt2_like, Damage("exchanged", (mine,), {mine: other, other: mine})):
        table = direct_logit_attribution_sweep(experiment, value_bias="kept")
        close(table[other].values, whole[mine].values)
        close(table[mine].values, whole[other].values)
        close(ablation_effect(experiment, other, ablation="zero", value_bias="removed").values, effect)
    with damaged(gpt2_like, Damage("zeroed", (mine,))):
        assert set(direct_logit_attribution(experiment, mine, value_bias="kept").values) == {0.0}
        nothing = ablation_effect(experiment, mine, ablation="zero", value_bias="removed").values
        assert float(torch.tensor(nothing).abs().max()) < 1e-5
    with damaged(gpt2_like, Damage("flipped", (mine,))):
        bias = gpt2_like.weights.value_bias(1)
        assert torch.equal(bias, before[1])
    with damaged(gpt2_like, Damage("borrowed", (mine,), {mine: other})):
        assert torch.equal(gpt2_like.weights.value_bias(1)[0], before[1][3])
    with damaged(gpt2_like, Damage("random")):
        apart(gpt2_like.weights.value_bias(1), before[1])
    assert all(torch.equal(gpt2_like.weights.value_bias(layer), before[layer]) for layer in range(3))


def test_grouped_heads_trade_biases_with_their_group(qwen2_like):
    first, second = ([Head(1, head) for head in range(start, start + 3)] for start in (0, 3))
    partner = {**dict(zip(first, second, strict=True)), **dict(zip(second, first, strict=True))}
    before = qwen2_like.weights.value_bias(1).clone()
    with damaged(qwen2_like, Damage("exchanged", tuple(first), partner)):
        assert torch.equal(qwen2_like.weights.value_bias(1), before.flip(0))
    assert torch.equal(qwen2_like.weights.value_bias(1), before)
