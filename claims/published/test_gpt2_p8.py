"""What GPT-2 small writes on the eight prompts of TransformerLens's demos, with BOS: logit differences, attribution.

Weights as compatibility mode processes them: norms folded in, writing weights and unembedding centred, value biases
folded into the output bias: zeroing z leaves what they write, and attribution leaves it out. All of it is a fixed
population, so a figure is compared by its value.
"""

import pytest

from pytest_interp import (
    assert_component_attribution,
    assert_direct_logit_attribution,
    assert_logit_diff,
    assert_logit_lens,
    assert_matrix,
    assert_measurement,
)
from pytest_interp.measure import (
    component_attribution_sweep,
    direct_logit_attribution_sweep,
    knocked_out_attribution_sweep,
    logit_lens_sweep,
)

EAD = "TransformerLens demos/Exploratory_Analysis_Demo.ipynb at 52c42edd"
APD = "TransformerLens demos/Activation_Patching_in_TL_Demo.ipynb at 4cd36aae"

pytestmark = pytest.mark.claim(source=EAD, checkpoints="gpt2", evidence="A")

PER_PROMPT = [
    ("Mary", "John", 3.337),
    ("John", "Mary", 3.202),
    ("Tom", "James", 2.709),
    ("James", "Tom", 3.797),
    ("Dan", "Sid", 1.720),
    ("Sid", "Dan", 5.281),
    ("Martin", "Amy", 2.601),
    ("Amy", "Martin", 5.767),
]


@pytest.mark.claim(source=f"{EAD}; {APD}", finding="S-B21")
def test_mean_logit_difference(p8):
    """The mean logit difference over the eight prompts is 3.5519."""
    assert_logit_diff(p8, near=(3.5519, 0.01))


@pytest.mark.claim(source=f"{EAD}; {APD}", finding="S-B21")
def test_exchanging_the_second_subject_negates_it(p8):
    """On the prompts with S2 exchanged it is -3.5519, since they are the same prompts in pairs."""
    assert_logit_diff(p8, run="s2-exchanged", near=(-3.5519, 0.01))


@pytest.mark.claim(source=EAD, finding="S-B22")
@pytest.mark.parametrize(("io", "s", "value"), PER_PROMPT, ids=[f"{io}-{s}" for io, s, _ in PER_PROMPT])
def test_logit_difference_of_each_prompt(p8, io, s, value):
    """Each prompt has the logit difference that the demo prints."""
    assert_logit_diff(p8.select(IO=io, S=s), near=(value, 0.01))


@pytest.mark.claim(source=f"{EAD}, cell 41", finding="S-D1")
@pytest.mark.parametrize(
    ("layer", "site", "value"),
    [(7, "resid_mid", 0.2497), (9, "resid_pre", 0.46), (9, "resid_mid", 5.0255), (11, "resid_mid", 3.4454)],
)
def test_the_lens_at_a_layer(p8, layer, site, value):
    """With the finished run's scale, the answer appears in the residual stream at END with the attention of layer 9."""
    assert_logit_lens(p8, layer, site=site, norm="frozen", near=(value, 0.01))


@pytest.mark.claim(source=f"{EAD}, cell 41", finding="S-D1")
def test_the_lens_at_every_layer(p8, figure):
    """The accumulated residual stream at END reads as printed before and in the middle of every layer."""
    assert_matrix(logit_lens_sweep(p8, norm="frozen"), figure("ead_logit_lens_accumulated"), within=0.01)


@pytest.mark.claim(source=f"{EAD}, cell 44", finding="S-D2")
@pytest.mark.parametrize(
    ("layer", "component", "value"),
    [
        (7, "attn_out", 0.2796),
        (8, "attn_out", 0.1995),
        (9, "attn_out", 4.5655),
        (10, "attn_out", -0.4123),
        (11, "attn_out", -1.4417),
        (9, "mlp_out", 0.1174),
        (10, "mlp_out", 0.1565),
        (11, "mlp_out", 0.1065),
    ],
)
def test_attribution_of_a_layer(p8, layer, component, value):
    """Attention of layer 9 writes the answer, that of 10 and 11 against it, and late MLPs a little for it."""
    assert_component_attribution(p8, component, layer, near=(value, 0.01))


@pytest.mark.claim(source=f"{EAD}, cell 44", finding="S-D2")
def test_attribution_of_every_component(p8, figure):
    """Embeddings, attention and MLP of each layer write what is printed, most of them nearly nothing."""
    assert_matrix(component_attribution_sweep(p8), figure("ead_layer_dla"), within=0.01)


@pytest.mark.claim(source=f"{EAD}, cell 47", finding="S-D3")
@pytest.mark.parametrize(
    ("which", "value"),
    [
        ("9.9", 2.9854),
        ("9.6", 1.3845),
        ("10.7", -1.8986),
        ("11.10", -0.9702),
        ("10.0", 0.5609),
        ("10.10", 0.4802),
        ("11.2", -0.3879),
        ("8.10", 0.2896),
        ("10.6", 0.2883),
        ("7.9", 0.1833),
        ("10.1", 0.1708),
    ],
)
def test_attribution_of_heads(p8, which, value):
    """The heads of the circuit write what is printed into the answer's direction at END."""
    assert_direct_logit_attribution(p8, which, near=(value, 0.01))


@pytest.mark.claim(source=f"{EAD}, cell 47", finding="S-D3")
def test_attribution_of_every_head(p8, figure):
    """All 144 heads write what is printed, those outside the circuit less than 0.1."""
    assert_matrix(direct_logit_attribution_sweep(p8), figure("ead_head_dla"), within=0.01)


@pytest.mark.claim(source=f"{EAD}, cell 105", finding="S-K1")
def test_zero_ablating_the_strongest_name_mover(p8):
    """Zeroing z of 9.9 at END leaves 2.92 of the logit difference, though it writes 2.99 of it."""
    assert_logit_diff(p8, knocked_out="9.9", ablation="zero", near=(2.92, 0.01))


@pytest.mark.claim(source=f"{EAD}, cell 107", finding="S-K2")
def test_what_heads_write_without_it(p8, figure):
    """With z of 9.9 zeroed at END every other head writes what is printed, later ones more for the answer.

    The scale is the ablated run's own.
    """
    assert_matrix(
        knocked_out_attribution_sweep(p8, "9.9", ablation="zero"), figure("ead_post_ablation_head_dla"), within=0.01
    )


@pytest.mark.claim(source=f"{EAD}, cell 109", finding="S-K3")
def test_the_norm_rescales_by_little(p8, scale_ratios):
    """Zeroing 9.9 at END makes the final norm's scale smaller, so that all else weighs 1.042 times as much."""
    ratios = scale_ratios(p8, "9.9", "10.0")
    assert_measurement(ratios, name="scale_ratio", unit="ratio", population="fixed", near=(1.042, 0.002))
