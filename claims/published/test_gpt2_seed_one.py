"""The logit difference of GPT-2 small on the prompts of ARENA's IOI data set with seed 1, to the token, without BOS.

The prompts are listed, so each figure is compared by its value; the source prints four decimals. Only where a tokenizer
decodes their token ids to their texts (``ioi_seed001.json``) do the figures mean anything.
"""

import pytest

from pytest_interp import assert_logit_diff

ARENA = "ARENA 3.0, chapter 1, IOI, 109 names, seed 1, no BOS"
NOTEBOOK = f"a replication notebook of Wang et al. 2022 on {ARENA}"

pytestmark = pytest.mark.claim(source="see each claim", checkpoints="gpt2", evidence="B")


@pytest.mark.claim(source=f"{NOTEBOOK}: 3.1490 of 100 prompts", finding="S-B16")
def test_mean_of_a_hundred_prompts(seed_one):
    """Over the hundred prompts the mean logit difference at END is 3.1490."""
    assert_logit_diff(seed_one(0, 100), near=(3.1490, 0.01))


@pytest.mark.claim(source=f"{ARENA}: 2.8052 of 25 prompts", finding="S-B17")
def test_mean_of_the_first_25(seed_one):
    """Over the first 25 of them the mean logit difference at END is 2.8052."""
    assert_logit_diff(seed_one(0, 25), near=(2.8052, 0.01))


@pytest.mark.claim(source=f"{ARENA}: 2.4403, 6.5408, 3.3345, 1.1972, 3.0530", finding="S-B17")
@pytest.mark.parametrize(("number", "value"), [(0, 2.4403), (1, 6.5408), (2, 3.3345), (3, 1.1972), (4, 3.0530)])
def test_the_first_five_one_by_one(seed_one, number, value):
    """Each of the first five prompts on its own has the logit difference that is printed for it."""
    assert_logit_diff(seed_one(number, number + 1), near=(value, 0.01))
