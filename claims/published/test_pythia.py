"""Pythia-410m (24 layers of 16 heads) on the eight prompts of TransformerLens's demos, with BOS, and on IOI."""

import pytest

from pytest_interp import (
    Metric,
    assert_attention,
    assert_cell,
    assert_component_attribution,
    assert_direct_logit_attribution,
    assert_logit_diff,
    assert_matrix,
    assert_next_token,
    assert_top,
)
from pytest_interp.measure import (
    component_attribution_sweep,
    direct_logit_attribution_sweep,
    logit_lens_sweep,
    source_attribution_sweep,
)

REPO = "callummcdougall/SERI-MATS-2023-Streamlit-pages at c2a732c"
NOTEBOOK = f"{REPO}, archive/callums_notebooks_old/pythia_ioi.ipynb"

pytestmark = pytest.mark.claim(source=NOTEBOOK, checkpoints="pythia-410m", evidence="A")

PER_PROMPT = [
    ("Mary", "John", 4.4561),
    ("John", "Mary", 3.8249),
    ("Tom", "James", 5.3478),
    ("James", "Tom", 3.8952),
    ("Dan", "Sid", 6.8011),
    ("Sid", "Dan", 6.1392),
    ("Martin", "Amy", 2.9355),
    ("Amy", "Martin", 5.0044),
]


@pytest.mark.claim(source=NOTEBOOK, finding="O-14")
def test_mean_logit_difference(p8):
    """The mean logit difference is 4.8005, and -4.8005 with S2 exchanged."""
    assert_logit_diff(p8, near=(4.8005, 0.01))
    assert_logit_diff(p8, run="s2-exchanged", near=(-4.8005, 0.01))


@pytest.mark.claim(source=NOTEBOOK, finding="O-14")
@pytest.mark.parametrize(("io", "s", "value"), PER_PROMPT, ids=[f"{io}-{s}" for io, s, _ in PER_PROMPT])
def test_logit_difference_of_each_prompt(p8, io, s, value):
    """Each prompt has the logit difference that is printed."""
    assert_logit_diff(p8.select(IO=io, S=s), near=(value, 0.01))


@pytest.mark.claim(source=NOTEBOOK, finding="O-15")
@pytest.mark.parametrize(
    ("token", "probability"),
    [(" Mary", 0.6454), (" the", 0.0805), (" his", 0.0429), (" each", 0.0379), (" John", 0.0064)],
)
def test_after_a_bottle_of_milk(make_prompts, token, probability):
    """The answer has two thirds of the probability, the subject less than a hundredth."""
    one = make_prompts(
        "After John and Mary went to the store, John gave a bottle of milk to", " Mary", " John", bos=True
    )
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


@pytest.mark.claim(source=f"{NOTEBOOK}, cell 6", finding="O-16")
def test_the_lens_at_every_layer(p8, figure):
    """With the finished run's scale, the answer appears with layer 11 and grows until layer 19."""
    assert_matrix(
        logit_lens_sweep(p8, sites=("resid_pre",), norm="frozen"), figure("pythia410m_logit_lens"), within=0.01
    )


@pytest.mark.claim(source=f"{NOTEBOOK}, cell 7", finding="O-17")
@pytest.mark.parametrize(
    ("layer", "component", "value"),
    [
        (11, "attn_out", 1.5193),
        (17, "attn_out", 0.9748),
        (18, "attn_out", 2.8800),
        (19, "attn_out", -0.8887),
        (19, "mlp_out", -0.3820),
        (22, "mlp_out", -0.2494),
    ],
)
def test_attribution_of_a_layer(p8, layer, component, value):
    """Attention of layers 11 and 18 writes most of the answer; that of 19 writes against it."""
    assert_component_attribution(p8, component, layer, near=(value, 0.01))


@pytest.mark.claim(source=f"{NOTEBOOK}, cell 7", finding="O-17")
def test_attribution_of_every_component(p8, figure):
    """Embedding, attention and MLP of each layer write what is printed."""
    assert_matrix(component_attribution_sweep(p8), figure("pythia410m_layer_dla"), within=0.01)


@pytest.mark.claim(source=f"{NOTEBOOK}, cell 10", finding="O-18")
@pytest.mark.parametrize(
    ("which", "value"),
    [("11.4", 1.4252), ("19.15", -1.3128), ("18.8", 1.2532), ("17.10", 0.6002), ("13.5", 0.5991), ("20.15", -0.5219)],
)
def test_attribution_of_heads(p8, which, value):
    """11.4 and 18.8 write most of the answer, 19.15 most against it."""
    assert_direct_logit_attribution(p8, which, near=(value, 0.01))


@pytest.mark.claim(source=f"{NOTEBOOK}, cell 10", finding="O-18")
def test_attribution_of_every_head(p8, figure):
    """All 384 heads write what is printed."""
    assert_matrix(direct_logit_attribution_sweep(p8), figure("pythia410m_head_dla"), within=0.01)


@pytest.mark.claim(source=f"{REPO}, scores_dict.pkl: IOI direct effect of pythia-410m", finding="O-11", evidence="B")
def test_who_writes_the_answer_from_where_it_stands(make_ioi):
    """18.8 (.98) and 17.6 (.91) write most into the answer's own logit from IO: among the first six."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["18.8", "17.6"], among=6)
    assert_cell(table, "18.8", between=(0.5, 1.7))


@pytest.mark.claim(source=f"{REPO}, scores_dict.pkl: IOI direct effect of pythia-410m", finding="O-11", evidence="B")
def test_one_head_writes_against_it(make_ioi):
    """19.15 (-1.48) writes most against it."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, "19.15", most="negative")
    assert_cell(table, "19.15", between=(-2.5, -0.7))


@pytest.mark.claim(source=NOTEBOOK, finding="O-19", evidence="C")
def test_it_attends_to_the_answer(make_ioi):
    """19.15 attends from END to IO by .6241 more than to S1. A band on prompts of our own.

    That this stops when name movers are path-patched is not measured here.
    """
    one = make_ioi(half="confirm", bos=True)
    assert_attention(one, "19.15", at="END", to="IO", minus=("S1",), between=(0.4, 0.85))
