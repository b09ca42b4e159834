"""Each published figure, measured on the prompts and by the protocol of its source.

The figures stand in tables, ``figures/*.toml``: one claim for each measurement, one case for each figure. Listed
prompts are a fixed population, so a figure is compared by its value.

Weights are as compatibility mode processes them: norms folded in, writing weights and unembedding centred, value biases
folded into the output bias. So zeroing z leaves what the value biases write, and attribution leaves it out. Logits
themselves are not claimed: they differ by a constant between processed and unprocessed weights.
"""

import pytest

from pytest_interp import (
    Metric,
    assert_accuracy,
    assert_attention,
    assert_attention_write_correlation,
    assert_cell,
    assert_component_attribution,
    assert_copy_score,
    assert_detector_score,
    assert_direct_logit_attribution,
    assert_faithfulness,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_logit_lens,
    assert_loss,
    assert_matrix,
    assert_measurement,
    assert_minimality,
    assert_next_token,
    assert_ov_eigenvalue_score,
    assert_patch_effect,
    assert_path_patch_effect,
    assert_prompt_copy_score,
    assert_top,
    assert_top_k,
)
from pytest_interp.measure import (
    component_attribution_sweep,
    detector_score_sweep,
    direct_logit_attribution_sweep,
    knocked_out_attribution_sweep,
    logit_lens_sweep,
    patch_effect_sweep,
    source_attribution_sweep,
)


@pytest.mark.figures("logit_diff")
def test_logit_diff(experiment, figure):
    """The mean logit difference is what the source prints."""
    assert_logit_diff(experiment, **figure.protocol, **figure.bound)


@pytest.mark.figures("logit_diff_gap")
def test_logit_diff_gap(experiment, reference, figure, template_gaps):
    """Prompts of one kind are harder, or easier, than their reference by what the source has, template by template.

    The reference itself has the logit difference that the source has for it.
    """
    assert_logit_diff(reference, near=(figure.protocol["reference_value"], figure.within))
    gaps = template_gaps(experiment, reference)
    assert_measurement(gaps, name="logit_diff_gap", unit="logits", population="fixed", **figure.bound)


@pytest.mark.figures("token_logit")
def test_token_logit(experiment, figure):
    """A token's logit is below that of the likeliest token by the difference of the printed logits."""
    assert_logit_diff(experiment, **figure.bound)


@pytest.mark.figures("accuracy")
def test_accuracy(experiment, figure):
    """The answer's logit is above the subject's on the share of prompts that the source has."""
    assert_accuracy(experiment, **figure.bound)


@pytest.mark.figures("probability")
def test_probability(experiment, figure):
    """A token follows with the probability that the source prints."""
    metric = Metric("probability", token=figure.protocol.get("token"))
    assert_next_token(experiment, metric, run=figure.protocol.get("run", "clean"), **figure.bound)


@pytest.mark.figures("rank")
def test_rank(experiment, figure):
    """A token has the printed rank among all next tokens, the likeliest being 1."""
    assert_next_token(experiment, Metric("rank", token=figure.protocol["token"]), **figure.bound)


@pytest.mark.figures("loss")
def test_loss(experiment, figure):
    """The mean cross-entropy of the text's own tokens is what the source prints."""
    assert_loss(experiment, **figure.bound)


@pytest.mark.figures("top_k")
def test_top_k(experiment, figure):
    """The answer is among the likeliest next tokens."""
    assert_top_k(experiment, **figure.protocol, **figure.bound)


@pytest.mark.figures("activation_sum")
def test_activation_sum(experiment, figure, activation_sum):
    """All numbers of an activation of the first layer add up to what the source prints."""
    sums = activation_sum(experiment, figure.protocol["hook"])
    assert_measurement(sums, name="activation_sum", unit="sum", population="fixed", **figure.bound)


@pytest.mark.figures("bias_difference")
def test_bias_difference(bias_difference, figure):
    """The unembedding's bias, the final norm's folded in, prefers one name to another by what the source prints."""
    values = bias_difference(figure.stimulus["answer"], figure.stimulus["distractor"])
    assert_measurement(values, name="bias_difference", unit="logits", population="fixed", **figure.bound)


@pytest.mark.figures("scale_ratio")
def test_scale_ratio(experiment, claimed_heads, figure, scale_ratios):
    """Zeroing a head at END makes the final norm's scale smaller by the printed ratio, so that all else weighs more."""
    ratios = scale_ratios(experiment, claimed_heads)
    assert_measurement(ratios, name="scale_ratio", unit="ratio", population="fixed", **figure.bound)


@pytest.mark.figures("logit_lens")
def test_logit_lens(experiment, figure):
    """With the finished run's scale, the residual stream at END reads as printed."""
    assert_logit_lens(experiment, **figure.protocol, norm="frozen", **figure.bound)


@pytest.mark.figures("component_attribution")
def test_component_attribution(experiment, figure):
    """A layer's attention or MLP writes what is printed into the answer's direction at END."""
    assert_component_attribution(experiment, figure.protocol["component"], figure.protocol["layer"], **figure.bound)


@pytest.mark.figures("direct_logit_attribution")
def test_direct_logit_attribution(experiment, claimed_heads, figure):
    """A head writes what is printed into the answer's direction at END."""
    assert_direct_logit_attribution(experiment, claimed_heads, **figure.bound)


@pytest.mark.figures("source_attribution")
def test_source_attribution(experiment, claimed_heads, figure):
    """From one source position a head writes what is printed into the answer's own logit."""
    assert_cell(source_attribution_sweep(experiment, figure.protocol["position"]), claimed_heads, **figure.bound)


@pytest.mark.figures("source_attribution_top")
def test_source_attribution_top(experiment, claimed_heads, figure):
    """These heads write most of all into, or against, the answer's own logit from one source position."""
    table = source_attribution_sweep(experiment, figure.protocol["position"])
    assert_top(table, claimed_heads, among=figure.protocol.get("among"), most=figure.protocol.get("most", "positive"))


@pytest.mark.figures("attention")
def test_attention(experiment, claimed_heads, figure):
    """From END a head attends to a name as much, or by as much more than to another, as the source has."""
    to, minus = figure.protocol["to"], tuple(figure.protocol.get("minus", ()))
    assert_attention(experiment, claimed_heads, at="END", to=to, minus=minus, **figure.bound)


@pytest.mark.figures("attention_write_correlation")
def test_attention_write_correlation(experiment, claimed_heads, figure):
    """A name mover's attention to a name and its write towards it correlate."""
    assert_attention_write_correlation(experiment, claimed_heads, **figure.bound)


@pytest.mark.figures("copy_score")
def test_copy_score(checkpoint, claimed_heads, arena_names, figure):
    """Of the source's names a head copies, or suppresses, the share that it has, in a band.

    The source adds the unembedding's bias to what a head writes; here it is left out.
    """
    negative = figure.protocol.get("negative", False)
    assert_copy_score(checkpoint, claimed_heads, names=arena_names, k=5, negative=negative, **figure.bound)


@pytest.mark.figures("prompt_copy_score")
def test_prompt_copy_score(experiment, claimed_heads, figure):
    """Of names as the first block leaves them in a prompt, a head copies, or suppresses, the share that is printed."""
    negative = figure.protocol.get("negative", False)
    assert_prompt_copy_score(experiment, claimed_heads, k=5, negative=negative, **figure.bound)


@pytest.mark.figures("ov_eigenvalue_score")
def test_ov_eigenvalue_score(checkpoint, claimed_heads, figure):
    """From token to token the eigenvalues of a head's OV circuit add up to the printed share of their sizes."""
    assert_ov_eigenvalue_score(checkpoint, claimed_heads, through="tokens", **figure.bound)


@pytest.mark.figures("detector_score")
def test_detector_score(experiment, claimed_heads, figure):
    """On the same random tokens, said twice, a head attends along the diagonal as much as printed."""
    assert_detector_score(experiment, claimed_heads, figure.protocol["kind"], **figure.bound)


@pytest.mark.figures("detector_top")
def test_detector_top(experiment, claimed_heads, figure):
    """These heads are among the first along the diagonal."""
    table = detector_score_sweep(experiment, figure.protocol["kind"])
    assert_top(table, claimed_heads, among=figure.protocol.get("among"))


@pytest.mark.figures("patch_effect")
def test_patch_effect(experiment, figure):
    """Clean into corrupted, a layer's stream or output recovers what is printed at a position."""
    assert_patch_effect(experiment, **figure.protocol, **figure.bound)


@pytest.mark.figures("head_patch_effect")
def test_head_patch_effect(experiment, claimed_heads, figure):
    """Clean into corrupted, a head's output, queries, keys, values or pattern recover what is printed."""
    protocol = {key: value for key, value in figure.protocol.items() if key != "heads"}
    assert_head_patch_effect(experiment, claimed_heads, **protocol, **figure.bound)


@pytest.mark.figures("noising_effect")
def test_noising_effect(experiment, claimed_heads, figure):
    """Heads at END, patched from other prompts, carry which name S2 is and which place it repeats."""
    corruption = figure.protocol["corruption"]
    assert_head_patch_effect(
        experiment, claimed_heads, at="END", direction="noise", corruption=corruption, metric="logit_diff",
        **figure.bound,
    )  # fmt: skip


@pytest.mark.figures("path_patch_effect")
def test_path_patch_effect(experiment, claimed_heads, figure):
    """Along paths into a name mover's queries the heads carry part of the logit difference."""
    receiver = figure.protocol["into"]
    assert_path_patch_effect(experiment, claimed_heads, receiver, into="q", metric="of_clean", **figure.bound)


@pytest.mark.figures("circuit_alone")
def test_circuit_alone(experiment, figure):
    """The circuit alone, each head at its position, keeps the logit difference that the source prints.

    The means are those of the same prompts, template by template, as in the source.
    """
    assert_faithfulness(experiment, metric="logit_diff", **figure.bound)


@pytest.mark.figures("faithfulness")
def test_faithfulness(experiment, figure, nodes_without):
    """The circuit keeps most of the logit difference, and without one class of heads what the source has, in a band."""
    heads, without = figure.protocol.get("circuit", []), figure.protocol["without"]
    assert_faithfulness(experiment, nodes_without(heads, []), metric="logit_diff", between=(1.4, 4.4))
    assert_faithfulness(experiment, nodes_without(heads, [without]), metric="logit_diff", **figure.bound)


@pytest.mark.figures("minimality")
def test_minimality(experiment, claimed_heads, figure):
    """Without the heads K the circuit loses, or gains, by the loss of one more head what the source has, in a band."""
    assert_minimality(experiment, claimed_heads, knocked_out=figure.protocol.get("knocked_out", ()), **figure.bound)


@pytest.mark.figures("patch_effect_matrix")
def test_patch_effect_matrix(experiment, figure):
    """Every layer or head, at every position or at all of them, recovers what is printed."""
    site, corruption = figure.protocol["site"], figure.protocol.get("corruption")
    positions = range(figure.protocol["positions"]) if "positions" in figure.protocol else None
    table = patch_effect_sweep(experiment, site, positions=positions, corruption=corruption)
    assert_matrix(table, figure.value, within=figure.within)


@pytest.mark.figures("detector_score_matrix")
def test_detector_score_matrix(experiment, figure):
    """All heads score as printed on the same random tokens.

    A notebook's diagonals have up to one more entry than ours, which moves a mean of a hundred by up to 0.01.
    """
    assert_matrix(detector_score_sweep(experiment, figure.protocol["kind"]), figure.value, within=figure.within)


@pytest.mark.figures("direct_logit_attribution_matrix")
def test_direct_logit_attribution_matrix(experiment, figure):
    """All heads write what is printed, most of them nearly nothing."""
    assert_matrix(direct_logit_attribution_sweep(experiment), figure.value, within=figure.within)


@pytest.mark.figures("knocked_out_attribution_matrix")
def test_knocked_out_attribution_matrix(experiment, figure):
    """With z of one head zeroed at END every other head writes what is printed; the scale is the ablated run's own."""
    table = knocked_out_attribution_sweep(experiment, figure.protocol["knocked_out"], ablation="zero")
    assert_matrix(table, figure.value, within=figure.within)


@pytest.mark.figures("component_attribution_matrix")
def test_component_attribution_matrix(experiment, figure):
    """Embeddings, attention and MLP of each layer write what is printed, most of them nearly nothing."""
    assert_matrix(component_attribution_sweep(experiment), figure.value, within=figure.within)


@pytest.mark.figures("logit_lens_matrix")
def test_logit_lens_matrix(experiment, figure):
    """With the finished run's scale, the residual stream at END reads as printed at every layer."""
    sites = {"sites": tuple(figure.protocol["sites"])} if "sites" in figure.protocol else {}
    assert_matrix(logit_lens_sweep(experiment, norm="frozen", **sites), figure.value, within=figure.within)
