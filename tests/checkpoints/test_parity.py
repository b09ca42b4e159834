"""A bridge that is not the model is refused in every precision; one that only rounds is not."""

import pytest
import torch
from models import random_gpt2, random_llama, random_neox

from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.checkpoints.checks.parity import UNIT_ROUNDOFF, check_parity, steps_of
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.checkpoints.spec import CheckpointSpec, known_specs
from pytest_interp.errors import UsageError

DTYPES = ["float32", "bfloat16", "float16"]


def load(model, tokenizer, dtype):
    return Checkpoint(CheckpointSpec("mine", loader=lambda: (model(tokenizer), tokenizer), bos=True), dtype=dtype)


def deep_llama(tokenizer):
    """As deep as SmolLM2 and with logits ten times as large as a small model's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=30, num_attention_heads=4, num_key_value_heads=2, hidden_size=64, intermediate_size=128,
        vocab_size=len(tokenizer), max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager", initializer_range=0.125,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(10)
    return model


@pytest.mark.parametrize("dtype", [*DTYPES, "float64"])
@pytest.mark.parametrize("model", [random_gpt2, random_llama, random_neox, deep_llama])
def test_rounding_is_no_fault(model, dtype, tokenizer):
    checkpoint = load(model, tokenizer, dtype)
    preflight(checkpoint)
    assert [step.after for step in checkpoint.parity] == ["its bridge", "the bridge in compatibility mode"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["planted-ioi", "planted-mlp0", "planted-noisy"])
def test_planted_models_load_in_every_precision(name, dtype):
    preflight(Checkpoint(known_specs()[name], dtype=dtype))


def test_smollm2_loads_in_half_precision(smollm2):
    preflight(Checkpoint(smollm2.spec, dtype="bfloat16"))


# ---- faults: what a bridge could get wrong


def other_rotary_base(model):
    rotary = model.model.rotary_emb
    width = torch.arange(0, 2 * len(rotary.inv_freq), 2).float() / (2 * len(rotary.inv_freq))
    rotary.inv_freq.copy_(1 / 500_000**width)


def slower_rotary(model):
    model.gpt_neox.rotary_emb.inv_freq.mul_(0.1)


def no_bias_of_queries_keys_values(model):
    model.transformer.h[1].attn.c_attn.bias.zero_()


def no_output_bias(model):
    model.transformer.h[1].attn.c_proj.bias.zero_()


def no_bias_of_one_layer(model):
    model.gpt_neox.layers[1].attention.query_key_value.bias.zero_()


def exchanged_queries(model):
    weight, width = model.model.layers[1].self_attn.q_proj.weight, model.config.head_dim
    weight[: 2 * width] = weight[: 2 * width].roll(width, 0)


def exchanged_fused_queries(model):
    weight, width = model.transformer.h[1].attn.c_attn.weight, model.config.n_embd // model.config.n_head
    weight[:, : 2 * width] = weight[:, : 2 * width].roll(width, 1)


def other_epsilon(model):
    for part in (model.config, *model.modules()):
        for name in ("eps", "variance_epsilon", "layer_norm_epsilon"):
            if hasattr(part, name):
                setattr(part, name, 1e-2)


def no_gain_of_the_last_norm(model):
    model.model.norm.weight.fill_(1)


FAULTS = [
    (random_llama, other_rotary_base),
    (random_llama, exchanged_queries),
    (random_llama, other_epsilon),
    (random_llama, no_gain_of_the_last_norm),
    (random_gpt2, no_bias_of_queries_keys_values),
    (random_gpt2, no_output_bias),
    (random_gpt2, exchanged_fused_queries),
    (random_gpt2, other_epsilon),
    (random_neox, slower_rotary),
    (random_neox, no_bias_of_one_layer),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("model", "fault"), FAULTS, ids=lambda part: part.__name__)
def test_a_bridge_of_another_model_is_refused(model, fault, dtype, tokenizer, monkeypatch):
    from transformer_lens.model_bridge import TransformerBridge

    boot = TransformerBridge.boot_transformers

    def wrong(*arguments, hf_model, **settings):
        with torch.no_grad():
            fault(hf_model)
        return boot(*arguments, hf_model=hf_model, **settings)

    monkeypatch.setattr(TransformerBridge, "boot_transformers", wrong)
    with pytest.raises(
        UsageError, match="the logits of its bridge differ from those of the raw model by .* not bridged"
    ):
        preflight(load(model, tokenizer, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fold_that_goes_wrong_is_refused(dtype, tokenizer, monkeypatch):
    from transformer_lens.model_bridge import TransformerBridge

    enable = TransformerBridge.enable_compatibility_mode

    def wrong(bridge, **settings):
        enable(bridge, **settings)
        with torch.no_grad():
            bridge.blocks[1].attn.o.weight.mul_(1.25)

    monkeypatch.setattr(TransformerBridge, "enable_compatibility_mode", wrong)
    with pytest.raises(
        UsageError, match="the logits of the bridge in compatibility mode differ from those of its bridge"
    ):
        preflight(load(random_llama, tokenizer, dtype))


# ---- the bound


def test_the_bound_grows_with_the_logits_with_the_root_of_the_depth_and_with_the_roundoff():
    logits = torch.randn(2, 8, 50, generator=torch.Generator().manual_seed(0))

    def allowed(scale=1, n_layers=4, dtype="float32"):
        (step,) = steps_of({"the raw model": scale * logits, "its bridge": scale * logits}, n_layers, dtype)
        return step.allowed

    assert allowed(scale=7) == pytest.approx(7 * allowed())
    assert allowed(n_layers=36) == pytest.approx(3 * allowed())
    assert allowed(dtype="bfloat16") == pytest.approx(8 * allowed(dtype="float16"))
    for dtype in UNIT_ROUNDOFF.keys() - {"tf32"}:  # no dtype: products with 10 bits of mantissa, as float16 has
        assert torch.finfo(getattr(torch, dtype)).eps / 2 <= UNIT_ROUNDOFF[dtype]


def test_the_message_says_what_was_measured():
    logits = torch.ones(1, 1, 4)
    steps = steps_of({"the raw model": 2 * logits, "its bridge": 3 * logits}, 4, "bfloat16")
    with pytest.raises(UsageError) as error:
        check_parity("mine", steps, 4, "bfloat16")
    assert str(error.value) == (
        "mine: the logits of its bridge differ from those of the raw model by 1 (root mean squares; the logits have "
        "2), and rounding in bfloat16 over 4 layers explains up to 0.047; this architecture is not bridged faithfully, "
        "do not trust claims on it; --interp-dtype float32 tells the two apart by far less"
    )
    steps = steps_of({"the raw model": logits, "its bridge": logits * torch.nan}, 4, "float16")
    with pytest.raises(
        UsageError, match=r"its bridge gives NaN or infinite logits in float16 .*pass --interp-dtype float32"
    ):
        check_parity("mine", steps, 4, "float16")
