"""A GPT-2 with random weights that stands in for GPT-2 small: its layers, heads and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

BOS = 50256


def stand_in(folder: Path, tokenizer: Any, words: Sequence[int], *, seed: int, width: int, gain: float) -> None:
    """Writes a GPT-2 with 12 layers of 12 heads and random weights, biases and norm gains among them.

    Heads write most of the residual stream, so that a figure of one head moves where something is done wrongly. Tokens
    that figures speak of are likelier than others: a part of their embeddings lies along the final norm's bias.

    Args:
        folder: is made.
        tokenizer: of transformers, saved beside the weights.
        words: ids of the tokens that figures speak of.
        seed: of all weights.
        width: numbers a head.
        gain: of the final norm: how far logits are apart.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    d_model = 12 * width
    config = GPT2Config(
        n_layer=12, n_head=12, n_embd=d_model, vocab_size=len(tokenizer), n_positions=128, bos_token_id=BOS,
        eos_token_id=BOS,
    )  # fmt: skip
    model, generator = GPT2LMHeadModel(config), torch.Generator().manual_seed(seed)
    deviations = {"wte": 0.15, "wpe": 0.1, "c_attn": (2 / d_model) ** 0.5, "attn.c_proj": 0.15 / width**0.5,
                  "c_fc": d_model**-0.5, "mlp.c_proj": 0.1 / width**0.5}  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if ".ln_" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                deviation = next((size for part, size in deviations.items() if f"{part}." in name), 0.2)
                parameter.copy_((0.2 if name.endswith("bias") else deviation) * noise)
        direction = torch.randn(d_model, generator=generator)
        direction -= direction.mean()
        direction /= direction.norm()
        final = model.transformer.ln_f
        final.weight *= gain
        final.bias.copy_(12 * direction)
        model.transformer.wte.weight[list(words)] += direction
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
