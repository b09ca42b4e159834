"""The answer among all tokens, and when it is there: next token and logit lens."""

import pytest

from pytest_interp import assert_logit_lens, assert_next_token, assert_top_k

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 2; nostalgebraist 2020 on the lens")


def test_the_answer_is_among_the_first(ioi):
    """IO is among the 10 likeliest of all tokens on most prompts."""
    assert_top_k(ioi, 10, controls={"other_names": 1}, at_least=0.7)


def test_the_answer_is_likelier_than_with_the_other_name(ioi):
    """With S2 exchanged IO's probability falls to a small one."""
    assert_next_token(ioi, "probability", at_least=0.1)
    assert_next_token(ioi, "probability", run="s2-exchanged", at_most=0.1)


def test_the_embedding_does_not_know_the_answer(ioi):
    """Before the first layer the unembedding reads nothing at END that tells the names apart, at the end it does."""
    assert_logit_lens(ioi, 0, site="resid_pre", norm="frozen", between=(-0.5, 0.5))
    assert_logit_lens(ioi, ioi.checkpoint.shape.n_layers - 1, norm="frozen", at_least=2)
