"""Figures of GPT-2 small on prompts that cannot be regenerated here: bands of about 15 %, on our own prompts."""

import pytest

from pytest_interp import assert_copy_score, assert_logit_diff

pytestmark = pytest.mark.claim(source="see each claim", checkpoints="gpt2", cls="C")


@pytest.mark.claim(source="ARENA 3.0, chapter 1, IOI: mean logit difference 3.1490, 100 prompts, seed 1, no BOS")
def test_logit_difference_of_the_replication_notebook(ioi_with):
    """Without BOS, on mixed ABBA and BABA prompts read at END, the mean logit difference is about 3.15.

    The notebook drew 100 prompts from 14 templates and its own list of names; names, templates and BOS each move
    the figure by tenths (published sets range from 2.81 to 3.79), so it is a band here.
    """
    assert_logit_diff(ioi_with(half="confirm", bos=False), between=(2.68, 3.62))


@pytest.mark.claim(source="ARENA 3.0, weight-based copy scores: 9.9 100 %, 10.0 and 9.6 94.5 %; Wang et al. above 95 %")
@pytest.mark.parametrize("which", ["9.9", "10.0", "9.6"])
def test_name_movers_copy(checkpoint, names, which):
    """The name movers' copy score is about 95 % or more; the notebook's names are another list."""
    assert_copy_score(checkpoint, which, names=names, k=5, at_least=0.85)


@pytest.mark.claim(source="ARENA 3.0, weight-based copy scores: 10.7 and 11.10 100 %; Wang et al. 98 %")
@pytest.mark.parametrize("which", ["10.7", "11.10"])
def test_negative_name_movers_suppress(checkpoint, names, which):
    """The negative name movers' negative copy score is about 100 %; the notebook's names are another list."""
    assert_copy_score(checkpoint, which, names=names, k=5, negative=True, at_least=0.85)
