"""GPT-2 xl (48 layers of 25 heads): a known fact, and which heads write the answer on IOI."""

import pytest

from pytest_interp import Metric, assert_cell, assert_logit_diff, assert_matrix, assert_next_token, assert_top
from pytest_interp.measure import patch_effect_sweep, source_attribution_sweep

FACTS = "TransformerLens demos/Attribution_Patching_Demo.ipynb (copy in SERI-MATS-2023-Streamlit-pages at c2a732c)"
SCORES = "callummcdougall/SERI-MATS-2023-Streamlit-pages at c2a732c, scores_dict.pkl: gpt2-xl"

pytestmark = pytest.mark.claim(source=FACTS, checkpoints="gpt2-xl", evidence="A")


@pytest.fixture(scope="session")
def tower(make_prompts):
    """A landmark whose city the model knows, with one of another city in the corruption: 12 tokens each with BOS."""
    return make_prompts(
        "The Eiffel Tower is located in the city of",
        " Paris",
        " Rome",
        bos=True,
        corrupted={"landmark": "The Colosseum is located in the city of"},
    )


@pytest.mark.claim(source=f"{FACTS}, cells 56-58", finding="X-4")
def test_each_landmark_has_its_city(tower):
    """Paris leads Rome by 10.6345 after the one landmark, and is behind by 8.9884 after the other."""
    assert_logit_diff(tower, near=(10.6345, 0.01))
    assert_logit_diff(tower, run="landmark", near=(-8.9884, 0.01))


@pytest.mark.claim(source=f"{FACTS}, cells 56-58", finding="X-4")
@pytest.mark.parametrize(
    ("run", "token", "probability"),
    [("clean", " Paris", 0.9580), ("clean", " E", 0.0139), ("landmark", " Rome", 0.8371)],
    ids=["Paris", "E", "Rome"],
)
def test_the_city_is_likely(tower, run, token, probability):
    """Paris follows with .958, Rome after the other landmark with .837."""
    assert_next_token(tower, Metric("probability", token=token), run=run, near=(probability, 0.002))


@pytest.mark.claim(source=f"{FACTS}, cell 61", finding="X-5")
def test_where_the_fact_is(tower, figure):
    """The residual stream carries the city at the subject's last tokens first, and at END from about layer 34 on."""
    table = patch_effect_sweep(tower, "resid_pre", positions=range(12), corruption="landmark")
    assert_matrix(table, figure("xl_factual_resid_pre"), within=0.002)


@pytest.mark.claim(source=f"{SCORES}, IOI direct effect", finding="X-1", evidence="B")
def test_who_writes_the_answer_from_where_it_stands(make_ioi):
    """35.17 (.30), 40.4 (.28) and 31.3 (.26) write most into the answer's own logit from IO: among the first ten."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["35.17", "40.4", "31.3"], among=10)
    assert_cell(table, "35.17", between=(0.12, 0.6))


@pytest.mark.claim(source=f"{SCORES}, IOI direct effect", finding="X-1", evidence="B")
def test_who_writes_against_it(make_ioi):
    """39.9 (-.37), 42.22 (-.26) and 32.13 (-.22) write most against it: among the first eight."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["39.9", "42.22", "32.13"], among=8, most="negative")
    assert_cell(table, "39.9", between=(-0.7, -0.15))


@pytest.mark.claim(source=f"{SCORES}, induction direct effect", finding="X-2", evidence="C")
def test_who_writes_against_repeated_tokens(induced):
    """On repeated random tokens 26.14, 39.12, 38.24 and 39.9 write most against what comes next, 22.20 most of it."""
    table = source_attribution_sweep(induced, "NEXT")
    assert_top(table, ["26.14", "39.12", "38.24", "39.9"], among=8, most="negative")
    assert_top(table, "22.20", among=6)
    assert_cell(table, "26.14", between=(-0.5, -0.12))
