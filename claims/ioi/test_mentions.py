"""One more mention of a name, in a sentence between (Wang et al. 2022, figure 8)."""

import pytest

from pytest_interp import assert_accuracy, assert_logit_diff, assert_patch_effect

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 4 and figure 8, for GPT-2 small")


def test_one_more_mention_of_the_subject_changes_little(extra_mention):
    """With the subject mentioned once more the answer is still preferred."""
    assert_accuracy(extra_mention, at_least=0.8)


def test_one_more_mention_of_the_answer_costs_some_of_the_lead(extra_mention):
    """With the answer mentioned once more instead of the subject, the answer leads by less."""
    assert_patch_effect(
        extra_mention, "resid_pre", 0, at="EXTRA", direction="noise", corruption="io-mentioned", metric="logit_diff",
        at_most=-0.5,
    )  # fmt: skip


def test_one_more_mention_of_the_answer_costs_half_of_the_lead(extra_mention):
    """With the answer mentioned once more, so that both names stand twice, less than half of its usual lead is left."""
    assert_logit_diff(extra_mention, at_least=2)
    assert_logit_diff(extra_mention, run="io-mentioned", at_most=2)
