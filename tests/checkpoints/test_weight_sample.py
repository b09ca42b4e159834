"""The sample of weights by which two checkpoints are compared: near 1 for one training run, near 0 for two."""

from math import hypot

import torch
from models import random_gpt2

from pytest_interp import load


def cosine(first, second):
    return sum(a * b for a, b in zip(first, second, strict=True)) / hypot(*first) / hypot(*second)


def test_a_sample_tells_a_fine_tune_from_another_initialisation(tokenizer):
    model = random_gpt2(tokenizer, n_layer=6)
    original = load(model, tokenizer).weights.sample()
    assert len(original) == 6 * 128
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * parameter.std() * torch.randn_like(parameter))
    assert cosine(original, load(model, tokenizer).weights.sample()) > 0.95
    other = load(random_gpt2(tokenizer, n_layer=6, seed=1), tokenizer).weights.sample()
    assert abs(cosine(original, other)) < 0.2


def test_entries_are_evenly_spaced_from_the_first_to_the_last(tokenizer):
    weights = load(random_gpt2(tokenizer), tokenizer).weights
    sample = weights.sample()
    for layer in range(3):
        for place, weight in enumerate((weights.w_v(layer), weights.w_o(layer))):
            flat = weight.reshape(-1)
            part = sample[128 * layer + 64 * place :][:64]
            assert part[0] == float(f"{flat[0].item():.4g}")
            assert part[-1] == float(f"{flat[-1].item():.4g}")
            assert part[1] == float(f"{flat[(len(flat) - 1) // 63].item():.4g}")
