"""Activation patching in GPT-2 small, clean into corrupted, as a share of the clean-minus-corrupted logit difference.

P8 is the eight prompts of TransformerLens's demos with BOS, 15 tokens: S2 at position 10, END at 14.
"""

import pytest

from pytest_interp import assert_head_patch_effect, assert_logit_diff, assert_matrix, assert_patch_effect
from pytest_interp.measure import patch_effect_sweep

APD = "TransformerLens demos/Activation_Patching_in_TL_Demo.ipynb at 4cd36aae"
ATP = "TransformerLens demos/Attribution_Patching_Demo.ipynb (copy in SERI-MATS-2023-Streamlit-pages at c2a732c)"
MAIN = "TransformerLens demos/Main_Demo.ipynb at 2223baa0"

pytestmark = pytest.mark.claim(source=APD, checkpoints="gpt2", evidence="A")


@pytest.mark.claim(source=f"{APD}, cell 22", finding=("S-A1", "S-A2"))
def test_the_residual_stream_by_layer_and_position(p8, figure):
    """The answer's information sits at S2 up to layer 8 and at END from layer 9 on, and nowhere else."""
    assert_matrix(patch_effect_sweep(p8, "resid_pre"), figure("apd_resid_pre"), within=0.002)


@pytest.mark.claim(source=f"{APD}, cell 28", finding="S-A3")
def test_attention_output_by_layer_and_position(p8, figure):
    """Attention of layers 3 and 5 matters at S2, that of 7 to 9 at END, and that of 10 and 11 at END against it."""
    assert_matrix(patch_effect_sweep(p8, "attn_out"), figure("apd_block_attn_out"), within=0.002)


@pytest.mark.claim(source=f"{APD}, cell 28", finding="S-A4")
def test_mlp_output_by_layer_and_position(p8, figure):
    """Of all MLPs the first matters, at S2, and none at END."""
    assert_matrix(patch_effect_sweep(p8, "mlp_out"), figure("apd_block_mlp_out"), within=0.002)


STREAMS = [
    ("resid_pre", 7, "S2", 0.9228),
    ("resid_pre", 9, "S2", 0.0273),
    ("resid_pre", 8, "END", 0.3187),
    ("resid_pre", 9, "END", 0.9384),
    ("resid_pre", 10, "END", 1.0048),
    ("attn_out", 5, "S2", 0.3521),
    ("attn_out", 8, "END", 0.5697),
    ("attn_out", 11, "END", -0.4062),
    ("mlp_out", 0, "S2", 0.8508),
]


@pytest.mark.claim(source=f"{APD}, cells 22 and 28", finding=("S-A1", "S-A2", "S-A3", "S-A4"))
@pytest.mark.parametrize(("site", "layer", "at", "value"), STREAMS)
def test_one_layer_at_one_position(p8, site, layer, at, value):
    """A layer's stream or output at S2 or END recovers what is printed."""
    assert_patch_effect(p8, site, layer, at=at, near=(value, 0.002))


SWEEPS = [
    ("z", "apd_head_out_all_pos"),
    ("q", "apd_head_query"),
    ("k", "apd_head_key"),
    ("v", "apd_head_value"),
    ("pattern", "apd_head_pattern"),
]


@pytest.mark.claim(source=f"{APD}, cells 24 and 30", finding=("S-A5", "S-A7", "S-A8", "S-A9", "S-A10"))
@pytest.mark.parametrize(("activation", "name"), SWEEPS, ids=[activation for activation, _ in SWEEPS])
def test_every_head_at_all_positions(p8, figure, activation, name):
    """Output, queries, keys, values and patterns of each head, exchanged at all positions, recover what is printed."""
    assert_matrix(patch_effect_sweep(p8, activation), figure(name), within=0.002)


BY_POSITION = [
    ("z", "apd_head_out_by_pos", f"{APD}, cell 26", "S-A6"),
    ("q", "actp_head_bypos_query", f"{ATP}, cell 52", "S-A7"),
    ("k", "actp_head_bypos_key", f"{ATP}, cell 52", "S-A8"),
    ("v", "actp_head_bypos_value", f"{ATP}, cell 52", "S-A9"),
    ("pattern", "actp_head_bypos_pattern", f"{ATP}, cell 52", "S-A10"),
]


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        pytest.param(activation, name, id=activation, marks=pytest.mark.claim(source=source, finding=row))
        for activation, name, source, row in BY_POSITION
    ],
)
def test_every_head_by_position(p8, figure, activation, name):
    """The same at one position at a time: most of it is at S2 and END. A pattern's position is that which attends."""
    assert_matrix(patch_effect_sweep(p8, activation, positions=range(15)), figure(name), within=0.002)


ALL_POSITIONS = [
    ("10.7", "z", -0.4799),
    ("5.5", "z", 0.3435),
    ("8.6", "z", 0.3186),
    ("11.10", "z", -0.2782),
    ("8.10", "z", 0.2779),
    ("9.9", "z", 0.2636),
    ("7.9", "z", 0.1922),
    ("10.7", "q", -0.5129),
    ("9.9", "q", 0.2794),
    ("10.7", "k", -0.1310),
    ("8.6", "v", 0.3172),
    ("8.10", "v", 0.2727),
    ("7.9", "v", 0.2084),
    ("5.5", "pattern", 0.3435),
    ("9.9", "pattern", 0.2766),
]


@pytest.mark.claim(source=f"{APD}, cells 24 and 30", finding=("S-A5", "S-A7", "S-A8", "S-A9", "S-A10"))
@pytest.mark.parametrize(("which", "activation", "value"), ALL_POSITIONS)
def test_one_head_at_all_positions(p8, which, activation, value):
    """Subject suppressors act through their values, induction heads and name movers through queries and patterns."""
    assert_head_patch_effect(p8, which, site=activation, near=(value, 0.002))


@pytest.mark.claim(source=f"{APD}, cell 26", finding="S-A6")
@pytest.mark.parametrize(
    ("which", "at", "value"),
    [
        ("10.7", "END", -0.4764),
        ("5.5", "S2", 0.3431),
        ("8.6", "END", 0.3109),
        ("11.10", "END", -0.2782),
        ("8.10", "END", 0.2687),
        ("9.9", "END", 0.2586),
        ("7.9", "END", 0.1859),
        ("6.9", "S2", 0.1306),
        ("7.3", "END", 0.1176),
        ("3.0", "S2", 0.1164),
    ],
)
def test_one_head_at_one_position(p8, which, at, value):
    """Each head of the circuit recovers what is printed at its own position."""
    assert_head_patch_effect(p8, which, site="z", at=at, near=(value, 0.002))


@pytest.fixture(scope="session")
def milk(make_prompts):
    """The prompt of the Main Demo with S2 exchanged: 17 tokens with BOS, S2 at position 10, END at 16."""
    return make_prompts(
        "After John and Mary went to the store, Mary gave a bottle of milk to",
        " John",
        " Mary",
        bos=True,
        corrupted={"s2-exchanged": "After John and Mary went to the store, John gave a bottle of milk to"},
    )


@pytest.mark.claim(source=MAIN, finding="S-P2")
def test_the_milk_prompt(milk):
    """John leads by 4.276 where Mary gives, and by -2.738 where John does."""
    assert_logit_diff(milk, near=(4.276, 0.01))
    assert_logit_diff(milk, run="s2-exchanged", near=(-2.738, 0.01))


@pytest.mark.claim(source=f"{MAIN}, cell 36", finding="S-A11")
def test_the_residual_stream_of_the_milk_prompt(milk, figure):
    """On one prompt too the information moves from S2 to END between layers 7 and 9."""
    assert_matrix(
        patch_effect_sweep(milk, "resid_pre", positions=range(17)), figure("md_resid_pre_17tok"), within=0.002
    )
