"""Published figures whose measurement is their source's own: estimates, diagonals, other queries, signals, successors.

As in ``test_figures.py``, one claim for each measurement and one case for each figure of the tables.
"""

import pytest

from pytest_interp import assert_logit_diff, assert_matrix, assert_measurement


@pytest.mark.figures("attribution_estimate_matrix")
def test_attribution_estimate_matrix(experiment, figure, attribution_estimates):
    """Gradient times difference estimates for every cell the patching effect that the source prints as its estimate.

    An estimate is no evidence of an effect; the effects themselves are those of the activation patching figures.
    """
    table = attribution_estimates(experiment, figure.protocol["site"])
    assert_matrix(table, figure.value, within=figure.within)


@pytest.mark.figures("suppressed_share")
def test_suppressed_share(claimed_heads, figure, suppressed_share):
    """Of all tokens a head suppresses the printed share for themselves, among those that it suppresses most."""
    share = suppressed_share(claimed_heads, among=figure.protocol["among"], bias=figure.protocol["bias"])
    assert_measurement([share], name="suppressed_share", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("attended_share")
def test_attended_share(claimed_heads, figure, attended_share):
    """With a token's unembedding as query, the printed share of all tokens is what a head attends to most."""
    share = attended_share(claimed_heads)
    assert_measurement([share], name="attended_share", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("score_gap")
def test_score_gap(experiment, claimed_heads, figure, score_gaps):
    """Before the softmax a head prefers IO to S1 by the printed score, with another vector at its query's input."""
    gaps = score_gaps(experiment, claimed_heads, figure.protocol["query"])
    assert_measurement(gaps, name="score_gap", unit="score", population="fixed", **figure.bound)


@pytest.mark.figures("attention_change")
def test_attention_change(experiment, claimed_heads, figure, attention_changes):
    """A head attends to IO, over S1, less or more by what is printed where name movers' paths to it are patched."""
    changes = attention_changes(experiment, claimed_heads, figure.protocol["senders"])
    assert_measurement(changes, name="attention_change", unit="gap", population="fixed", **figure.bound)


@pytest.mark.figures("share_along_answer")
def test_share_along_answer(experiment, claimed_heads, figure, shares_along_answer):
    """Of what a head writes at END the printed share, by squared length, lies along the answer's unembedding."""
    shares = shares_along_answer(experiment, claimed_heads)
    assert_measurement(shares, name="share_along_answer", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("successor_score")
def test_successor_score(claimed_heads, figure, successor_scores):
    """A head puts the successor of a word it reads, or the word itself, among its top five logits as often as there."""
    scores = successor_scores(claimed_heads, figure.protocol["sequence"], own=figure.protocol.get("own", False))
    assert_measurement(scores, name="successor_score", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("logit_diff_without_mlps")
def test_logit_diff_without_mlps(experiment, figure, logit_diff_without_mlps):
    """Without the first MLP the model prefers the subject, where it preferred the answer."""
    assert_logit_diff(experiment, at_least=2)
    assert_measurement(logit_diff_without_mlps(experiment, figure.protocol["layers"]), **figure.bound)


@pytest.mark.figures("signal_strength")
def test_signal_strength(experiment, claimed_heads, figure, signal_strengths):
    """Fitted to six kinds of prompts, a signal that heads carry at END is worth what the source has, in a band."""
    strengths = signal_strengths(experiment, claimed_heads, figure.protocol["signal"])
    assert_measurement(strengths, name="signal_strength", unit="logits", population="fixed", **figure.bound)


@pytest.mark.figures("signal_share")
def test_signal_share(experiment, claimed_heads, figure, signal_share):
    """Earlier heads at S2 bring most of the position signal of heads at END, and next to nothing of the token signal.

    The signal itself is worth as many logits as the source's table has, in a band.
    """
    protocol = figure.protocol
    drop, share = signal_share(experiment, claimed_heads, protocol["of"], protocol["corruption"])
    assert_measurement([drop], name="signal", unit="logits", population="fixed", between=tuple(protocol["signal_drop"]))
    assert_measurement([share], name="signal_share", unit="share of signal", population="fixed", **figure.bound)


@pytest.mark.figures("repair_share")
def test_repair_share(experiment, claimed_heads, figure, self_repairs):
    """Where name movers are ablated the rest makes up for much, and negative heads for the printed share of that."""
    repaired, share = self_repairs(experiment, claimed_heads, figure.protocol["knocked_out"])
    assert_measurement(repaired, at_least=0.5)
    assert_measurement(share, **figure.bound)
