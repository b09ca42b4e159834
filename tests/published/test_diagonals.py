"""Diagonals of OV and QK circuits over the vocabulary, against a GPT-2 in numpy and a head that is made to suppress."""

import gpt2_vocabulary
import pytest
import torch

from claims.published.diagonals import _ranks, attention_ranks, effective_embedding, suppression_ranks
from pytest_interp import Head


@pytest.fixture(scope="module")
def folder(tokenizer, saved_gpt2):
    return saved_gpt2(tokenizer)


@pytest.mark.parametrize("bias", [False, True])
def test_the_effective_embedding(checkpoint, reference, bias):
    ours = effective_embedding(checkpoint, bias=bias)
    assert ours.numpy() == pytest.approx(gpt2_vocabulary.effective_embedding(reference, bias=bias), abs=1e-4)


def test_with_the_bias_it_is_the_first_block_on_one_token(checkpoint):
    """The model itself, on one token without a position, gives the same."""
    tokens = torch.arange(40)[:, None]
    after = checkpoint.sites.hook("resid_post", 0)
    no_position = {checkpoint.sites.embedding_hooks["pos_embed"]: torch.zeros_like}
    stream = checkpoint.run(tokens, edits=no_position, keep=[after]).activations[after][:, 0]
    assert effective_embedding(checkpoint, bias=True)[:40].numpy() == pytest.approx(stream.numpy(), abs=1e-4)


@pytest.mark.parametrize("head", [Head(1, 2), Head(2, 1)], ids=str)
def test_ranks(checkpoint, reference, head):
    """Float noise may exchange two tokens whose logits are nearly equal."""
    pairs = [
        (
            suppression_ranks(checkpoint, head, bias=bias),
            gpt2_vocabulary.suppression_ranks(reference, head.layer, head.head, bias=bias),
        )
        for bias in (False, True)
    ]
    pairs.append((attention_ranks(checkpoint, head), gpt2_vocabulary.attention_ranks(reference, head.layer, head.head)))
    for ours, theirs in pairs:
        assert abs(ours.numpy() - theirs).max() <= 2
        assert (ours.numpy() == theirs).mean() > 0.95
        assert 0.1 < ours.float().mean() / len(ours) < 0.9


def test_ranks_by_hand(monkeypatch):
    """A tie does not count; rows are ranked a few at a time."""
    monkeypatch.setattr("claims.published.diagonals.ROWS", 2)
    scores = torch.tensor([[3.0, 1, 2], [5, 4, 6], [1, 0, 1]])
    assert _ranks(scores, torch.eye(3)).tolist() == [0, 2, 0]
