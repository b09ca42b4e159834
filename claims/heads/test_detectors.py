"""Heads that look back: previous-token, duplicate-token and induction heads (Wang et al. 2022, appendix H)."""

import pytest

from pytest_interp import assert_detector_score, assert_logit_diff, assert_patch_effect, assert_top
from pytest_interp.measure import detector_score_sweep


@pytest.mark.claim(source="Elhage et al. 2021; Olsson et al. 2022", role="random_tokens.induction")
def test_induction_heads_look_after_the_earlier_copy(repeated_tokens, head):
    """On random tokens said twice an induction head attends to what came next the first time."""
    assert_detector_score(repeated_tokens, head, "induction", at_least=0.5)


@pytest.mark.claim(source="Wang et al. 2022, appendix H", role="random_tokens.previous_token")
def test_previous_token_heads_look_one_back(repeated_tokens, head):
    """A previous-token head attends to the token before."""
    assert_detector_score(repeated_tokens, head, "previous_token", at_least=0.5)


@pytest.mark.claim(source="Wang et al. 2022, appendix H", role="random_tokens.duplicate_token")
def test_duplicate_token_heads_look_at_the_same_token(repeated_tokens, head):
    """A duplicate-token head attends to the earlier copy of its token."""
    assert_detector_score(repeated_tokens, head, "duplicate_token", at_least=0.5)


@pytest.mark.claim(source="Olsson et al. 2022", role="random_tokens.induction")
def test_the_first_of_them_is_the_strongest(repeated_tokens, heads):
    """No head of the model has a higher induction score than the first that the circuit lists."""
    assert_top(detector_score_sweep(repeated_tokens, "induction"), heads[0])


@pytest.fixture(scope="session")
def incomplete(make_repeated_tokens):
    """Random tokens whose second copy lacks its last token, which is the answer."""
    return make_repeated_tokens(complete=False)


@pytest.mark.claim(source="Olsson et al. 2022")
def test_repetition_is_continued(incomplete):
    """After random tokens said twice the token that came next the first time is preferred, and only then."""
    assert_logit_diff(incomplete, at_least=0.5)
    # Paired, since logits of two random tokens differ by 2 or 3 either way: what the other first copy takes away.
    assert_patch_effect(
        incomplete,
        "resid_pre",
        0,
        direction="noise",
        corruption="first-copy-changed",
        metric="logit_diff",
        at_most=-0.5,
    )
