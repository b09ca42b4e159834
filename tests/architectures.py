"""Small models of many architectures: transformers' configurations, with random weights, norms and biases."""

from __future__ import annotations

from typing import Any

LAYERS, HEADS, WIDTH, INNER, LENGTH = 3, 4, 48, 96, 64

_USUAL = {
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "intermediate_size": INNER,
    "max_position_embeddings": LENGTH,
}  # fmt: skip
_SHARED = {**_USUAL, "num_key_value_heads": 2}
_OLDER = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "n_positions": LENGTH}
_GEMMA = {**_SHARED, "head_dim": WIDTH // HEADS}
_WINDOWS = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-2": ("GPT2", _OLDER),
    "Llama": ("Llama", _SHARED),
    "Mistral": ("Mistral", {**_SHARED, "sliding_window": 8}),
    "Qwen 2": ("Qwen2", _SHARED),
    "Qwen 3": ("Qwen3", {**_SHARED, "head_dim": 16}),
    "Gemma 1": ("Gemma", {**_GEMMA, "hidden_activation": "gelu_pytorch_tanh"}),
    "Gemma 2": (
        "Gemma2",
        {
            **_GEMMA, **_WINDOWS, "query_pre_attn_scalar": 12, "final_logit_softcapping": 30.0,
            "attn_logit_softcapping": 50.0,
        },
    ),
    "Gemma 3": ("Gemma3", {**_GEMMA, **_WINDOWS, "query_pre_attn_scalar": 12}),
    "OLMo 1": ("Olmo", {**_SHARED, "clip_qkv": None}),
    "OLMo 2": ("Olmo2", _SHARED),
    "Phi": ("Phi", {**_USUAL, "partial_rotary_factor": 0.5}),
    "Phi 3": ("Phi3", {**_SHARED, "pad_token_id": 0}),
    "Granite": (
        "Granite",
        {
            **_SHARED, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.0,
            "attention_multiplier": 0.3,
        },
    ),
    "Cohere": ("Cohere", {**_SHARED, "logit_scale": 0.25}),
    "SmolLM3": ("SmolLM3", {**_SHARED, "pad_token_id": 0}),
    "StableLM": ("StableLm", {**_SHARED, "partial_rotary_factor": 0.5, "use_qkv_bias": True}),
    "OPT": (
        "OPT",
        {
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "ffn_dim": INNER,
            "max_position_embeddings": LENGTH, "word_embed_proj_dim": WIDTH, "pad_token_id": 1,
        },
    ),
    "GPT-Neo": (
        "GPTNeo",
        {
            "num_layers": LAYERS, "num_heads": HEADS, "hidden_size": WIDTH, "max_position_embeddings": LENGTH,
            "attention_types": [[["global", "local", "global"], 1]], "window_size": 8,
        },
    ),
    "GPT-J": ("GPTJ", {**_OLDER, "rotary_dim": 6}),
    "BLOOM": ("Bloom", {"n_layer": LAYERS, "n_head": HEADS, "hidden_size": WIDTH}),
    "GPT-NeoX": ("GPTNeoX", _USUAL),
    "Falcon": (
        "Falcon",
        {**_USUAL, "bias": True, "alibi": False, "multi_query": True, "new_decoder_architecture": False},
    ),
}  # fmt: skip
"""Name -> the prefix of its classes in transformers, and what its configuration says."""

_MODEL = {"Gemma3": "Gemma3ForCausalLM", "GPT2": "GPT2LMHeadModel"}
_CONFIG = {"Gemma3": "Gemma3TextConfig"}


def random_model(name: str, d_vocab: int, **more: Any) -> Any:
    """A model of an architecture, in float32 and eval mode.

    Args:
        name: of :data:`ARCHITECTURES`.
        d_vocab: tokens in the vocabulary.
        more: what the configuration says beyond that.
    """
    import torch
    import transformers

    prefix, settings = ARCHITECTURES[name]
    config_class = getattr(transformers, _CONFIG.get(prefix, f"{prefix}Config"))
    model_class = getattr(transformers, _MODEL.get(prefix, f"{prefix}ForCausalLM"))
    config = config_class(
        **{"vocab_size": d_vocab, "bos_token_id": 0, "eos_token_id": 0, **settings, **more},
        attn_implementation="eager",
    )
    model = model_class(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Large enough for effects far above float noise; norms stay near 1, where that is what does nothing.
            gain = parameter.ndim == 1 and path.endswith("weight") and bool((parameter == 1).all())
            parameter.copy_(1 + 0.2 * noise if gain else 0.2 * noise)
    return model.eval()
