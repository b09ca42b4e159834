"""A head can raise the logit difference without ever reading the answer: it reads S2 and writes against S.

Merullo et al. 2024 describe such a head in GPT-2 medium (19.1); by attribution alone it looks like a name mover.
"""

import pytest

from pytest_interp import assert_attention, assert_copy_score, assert_direct_logit_attribution

pytestmark = pytest.mark.claim(source="Merullo et al. 2024, section 3", role="subject_suppressor")


def test_reads_the_second_subject(ioi, head):
    """At END a subject suppressor attends to S2 more than to IO."""
    assert_attention(ioi, head, at="END", to="S2", minus=("IO",), at_least=0.2)


def test_suppresses_the_name_it_reads(checkpoint, head, names):
    """With its sign turned, its OV circuit puts the name it reads among its top 5 logits."""
    assert_copy_score(checkpoint, head, names=names, k=5, negative=True, at_least=0.8, controls_at_most=0.8)


def test_raises_the_answer_all_the_same(ioi, head):
    """It writes the answer's direction at END, as a name mover does, by lowering the other name."""
    assert_direct_logit_attribution(ioi, head, at_least=0.5, controls_at_most=0.3)
