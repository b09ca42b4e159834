"""Published figures whose measurement is their source's own: estimates, diagonals, other queries, signals, successors.

As in ``test_figures.py``, one claim for each measurement and one case for each figure of the tables.
"""

import pytest

from pytest_interp import (
    assert_cell,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_matrix,
    assert_measurement,
    assert_top,
)

from .diagonals import attended_share, suppressed_share
from .estimates import estimates
from .interventions import (
    logit_diff_without_mlps,
    prefixed_changes,
    self_repairs,
    share_of_drop,
    signal_strengths,
)
from .queries import attention_changes, score_gaps, shares_along_answer
from .successors import successor_scores
from .suppression import name_copy_shares, source_effects


@pytest.mark.figures("attribution_estimate_matrix")
def test_attribution_estimate_matrix(experiment, figure):
    """Gradient times difference estimates for every cell the patching effect that the source prints as its estimate.

    An estimate is no evidence of an effect; the effects themselves are those of the activation patching figures.
    """
    table = estimates(experiment, figure.protocol["site"])
    assert_matrix(table, figure.value, within=figure.within)


@pytest.mark.figures("suppressed_share")
def test_suppressed_share(checkpoint, claimed_heads, figure):
    """Of all tokens a head suppresses the printed share for themselves, among those that it suppresses most."""
    among, bias = figure.protocol["among"], figure.protocol["bias"]
    share = suppressed_share(checkpoint, claimed_heads, among=among, bias=bias)
    assert_measurement([share], name="suppressed_share", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("attended_share")
def test_attended_share(checkpoint, claimed_heads, figure):
    """With a token's unembedding as query, the printed share of all tokens is what a head attends to most."""
    share = attended_share(checkpoint, claimed_heads)
    assert_measurement([share], name="attended_share", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("score_gap")
def test_score_gap(experiment, claimed_heads, figure):
    """Before the softmax a head prefers IO to S1 by the printed score, with another vector at its query's input."""
    gaps = score_gaps(experiment, claimed_heads, figure.protocol["query"])
    assert_measurement(gaps, name="score_gap", unit="score", population="fixed", **figure.bound)


@pytest.mark.figures("attention_change")
def test_attention_change(experiment, claimed_heads, figure):
    """A head attends to IO, over S1, less or more by what is printed where name movers' paths to it are patched."""
    changes = attention_changes(experiment, claimed_heads, figure.protocol["senders"])
    assert_measurement(changes, name="attention_change", unit="gap", population="fixed", **figure.bound)


@pytest.mark.figures("share_along_answer")
def test_share_along_answer(experiment, claimed_heads, figure):
    """Of what a head writes at END the printed share, by squared length, lies along the answer's unembedding."""
    shares = shares_along_answer(experiment, claimed_heads)
    assert_measurement(shares, name="share_along_answer", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("source_effect")
def test_source_effect(experiment, claimed_heads, figure):
    """Wherever it attends, a head writes what is printed into the logit of the token that it attends to, in a band."""
    assert_cell(source_effects(experiment), claimed_heads, **figure.bound)


@pytest.mark.figures("source_effect_top")
def test_source_effect_top(experiment, claimed_heads, figure):
    """Of all heads these suppress most what they attend to, whatever it is."""
    table = source_effects(experiment)
    assert_top(table, claimed_heads, among=figure.protocol.get("among"), most=figure.protocol["most"])


@pytest.mark.figures("biased_copy_share")
def test_biased_copy_share(checkpoint, claimed_heads, arena_names, figure):
    """Of the source's names, without a space before them, a head copies, or suppresses, the share that is printed."""
    negative = figure.protocol.get("negative", False)
    share = name_copy_shares(checkpoint, arena_names, negative=negative)[claimed_heads]
    assert_measurement([share], name="biased_copy_share", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("biased_copy_average")
def test_biased_copy_average(checkpoint, arena_names, figure):
    """Heads after the first layer copy, or suppress, the printed share of names; the divisor is the source's, 144."""
    shares = name_copy_shares(checkpoint, arena_names, negative=figure.protocol["negative"])
    average = sum(share for head, share in shares.items() if not head.startswith("0.")) / len(shares)
    assert_measurement([average], name="biased_copy_average", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("successor_score")
def test_successor_score(checkpoint, claimed_heads, figure):
    """A head puts the successor of a word it reads, or the word itself, among its top five logits as often as there."""
    sequence, own = figure.protocol["sequence"], figure.protocol.get("own", False)
    scores = successor_scores(checkpoint, claimed_heads, sequence=sequence, own=own)
    assert_measurement(scores, name="successor_score", unit="share", population="fixed", **figure.bound)


@pytest.mark.figures("logit_diff_without_mlps")
def test_logit_diff_without_mlps(experiment, figure):
    """Without the first MLP the model prefers the subject, where it preferred the answer."""
    assert_logit_diff(experiment, at_least=2)
    assert_measurement(logit_diff_without_mlps(experiment, figure.protocol["layers"]), **figure.bound)


@pytest.mark.figures("signal_strength")
def test_signal_strength(experiment, claimed_heads, figure):
    """Fitted to six kinds of prompts, a signal that heads carry at END is worth what the source has, in a band."""
    strengths = signal_strengths(experiment, claimed_heads, figure.protocol["signal"])
    assert_measurement(strengths, name="signal_strength", unit="logits", population="fixed", **figure.bound)


@pytest.mark.figures("signal_share")
def test_signal_share(experiment, claimed_heads, figure):
    """Earlier heads at S2 bring most of the position signal of heads at END, and next to nothing of the token signal.

    The signal itself is worth as many logits as the source's table has, in a band.
    """
    protocol = figure.protocol
    drop, share = share_of_drop(experiment, claimed_heads, protocol["of"], corruption=protocol["corruption"])
    assert_measurement([drop], name="signal", unit="logits", population="fixed", between=tuple(protocol["signal_drop"]))
    assert_measurement([share], name="signal_share", unit="share of signal", population="fixed", **figure.bound)


@pytest.mark.figures("prefixed_change")
def test_prefixed_change(experiment, claimed_heads, figure):
    """Heads at END say where S1 is by distance: their output in prompts with a prefix leaves the logit difference.

    Their output in prompts with the names exchanged does not.
    """
    assert_head_patch_effect(
        experiment, claimed_heads, at="END", direction="noise", corruption="names-exchanged", metric="logit_diff",
        at_most=-0.6,
    )  # fmt: skip
    changes = prefixed_changes(experiment, claimed_heads)
    assert_measurement(changes, name="prefixed_change", unit="logits", population="fixed", **figure.bound)


@pytest.mark.figures("repair_share")
def test_repair_share(experiment, claimed_heads, figure):
    """Where name movers are ablated the rest makes up for much, and negative heads for the printed share of that."""
    repaired, share = self_repairs(experiment, claimed_heads, figure.protocol["knocked_out"])
    assert_measurement(repaired, at_least=0.5)
    assert_measurement(share, **figure.bound)
