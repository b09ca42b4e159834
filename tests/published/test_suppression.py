"""What heads write into the logits of what they attend to, against a GPT-2 in numpy, prompt by prompt."""

import gpt2_vocabulary
import numpy as np
import pytest
import torch

from claims.published.populations import arena
from claims.published.stimuli import listed
from claims.published.suppression import biased_copy_shares, source_effects

NAMES = (" Mary", " John", " Sarah", " Arthur", " Tom", " James")


@pytest.fixture(scope="module")
def folder(gpt2_tokenizer, saved_gpt2):
    return saved_gpt2(gpt2_tokenizer, 3, 4, 32, n_positions=64)


def test_source_effects(checkpoint, reference, gpt2_tokenizer):
    prompts = arena(seed=0, prompts=6, symmetric=True)
    table = source_effects(listed(checkpoint, prompts, bos=True, name="ioi/arena"))
    for row, prompt in enumerate(prompts):
        tokens = np.array([[50256, *gpt2_tokenizer.encode(f"{prompt.text} {prompt.io}")]])
        run, length = reference.run(tokens), tokens.shape[1]
        for layer, head in ((0, 1), (1, 3), (2, 2)):
            pattern, values = run.sites["pattern", layer][0, head], run.sites["v", layer][0, :, head]
            effects, attention = np.zeros(length), np.zeros(length)
            for source in range(1, length):
                own_logit = reference.unembed[:, tokens[0, source]]
                written = values[source] @ reference.blocks[layer]["W_o"][head] @ own_logit
                for destination in range(source, length):
                    effects[source] += pattern[destination, source] * written / run.scale[0, destination]
                    attention[source] += pattern[destination, source]
            expected = (effects * attention).sum() / attention.sum()
            assert table[f"{layer}.{head}"].values[row] == pytest.approx(expected, abs=1e-4)
    assert max(abs(cell.value) for cell in table.values()) > 0.001


@pytest.mark.parametrize("negative", [False, True])
def test_copy_shares_with_the_unembeddings_bias(checkpoint, reference, gpt2_tokenizer, negative):
    tokens = [gpt2_tokenizer.encode(name)[0] for name in NAMES]
    ours = biased_copy_shares(checkpoint, torch.tensor(tokens), negative=negative, k=20000)
    theirs = gpt2_vocabulary.biased_copy_shares(reference, tuple(tokens), negative=negative, k=20000)
    assert ours.numpy() == pytest.approx(theirs)
    assert 0 < theirs.mean() < 1
