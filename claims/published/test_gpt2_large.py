"""GPT-2 large (36 layers of 20 heads) on IOI: the eight prompts, failing prompts, which heads write the answer."""

import pytest

from pytest_interp import Metric, assert_accuracy, assert_cell, assert_logit_diff, assert_next_token, assert_top
from pytest_interp.measure import source_attribution_sweep

RON = "ronakrm/ioi-enumerate, plot_results.ipynb, cells 45 and 46, and ronakrm.github.io/ioi-tails"
SCORES = "callummcdougall/SERI-MATS-2023-Streamlit-pages at c2a732c, scores_dict.pkl: gpt2-large"
NOTEBOOK = "a TransformerLens notebook on numbers and pets (seed document 003)"

pytestmark = pytest.mark.claim(source=NOTEBOOK, checkpoints="gpt2-large", evidence="A")


@pytest.mark.claim(source=f"{NOTEBOOK}, which prints the corrupted value; the clean one is its negative", finding="L-1")
def test_mean_logit_difference_of_the_eight_prompts(p8):
    """The mean logit difference is 4.5051, and -4.5051 with S2 exchanged."""
    assert_logit_diff(p8, near=(4.5051, 0.01))
    assert_logit_diff(p8, run="s2-exchanged", near=(-4.5051, 0.01))


@pytest.mark.claim(source=f"{RON}: 4.67917, negative on .064 % of its prompts", finding="L-2")
def test_mean_logit_difference(make_ioi):
    """With BOS and the subject named first the mean logit difference is 4.68. A band on prompts of our own."""
    one = make_ioi(half="confirm", bos=True).select(order="BABA")
    assert_logit_diff(one, between=(3.5, 5.9))
    assert_accuracy(one, at_least=0.95)


@pytest.mark.claim(source=RON, finding="L-3")
@pytest.mark.parametrize(
    ("name", "place"),
    [("Paul", "S"), ("Jesse", "S"), ("Gregory", "IO"), ("James", "S"), ("Adam", "S"), ("John", "S"), ("Mary", "S")],
)
def test_hard_names(make_ioi, with_others, name, place):
    """With these names in a place it is 3.3 to 3.6, below the mean of 4.68 but well above 0."""
    assert_logit_diff(with_others(name, place), between=(1.8, 4.68))
    assert_logit_diff(make_ioi(half="confirm", bos=True), at_least=3)


# The first two are outliers of the source's own list: to be measured again first where they fail.
FAILING = [
    ("Then, Adam and Matthew went to the garden. Adam gave a snack to", " Matthew", " Adam", -4.678267),
    ("Then, Aaron and James went to the garden. Aaron gave a ring to", " James", " Aaron", -3.063119),
    ("Afterwards, John and Sean went to the station. John gave a ring to", " Sean", " John", -1.089462),
    ("Afterwards, John and Erin went to the station. John gave a ring to", " Erin", " John", -0.394150),
    ("Then, Timothy and Paul went to the office. Timothy gave a drink to", " Paul", " Timothy", -0.343878),
    ("Then, Sarah and Heather went to the station. Sarah gave a ring to", " Heather", " Sarah", -0.328880),
    ("After the lunch, Eric and Erica went to the school. Eric gave a ring to", " Erica", " Eric", -0.176732),
    ("Then, Mary and Katherine went to the station. Mary gave a snack to", " Katherine", " Mary", -0.136243),
    (
        "Then, Ashley and Samantha were thinking about going to the store. Ashley wanted to give a bone to",
        " Samantha", " Ashley", -0.054685,
    ),
    (
        "After the lunch, Lindsay and Lindsey went to the office. Lindsay gave a ring to",
        " Lindsey", " Lindsay", -0.049021,
    ),
]  # fmt: skip


@pytest.mark.claim(source=RON, finding="L-4")
@pytest.mark.parametrize(("text", "answer", "subject", "value"), FAILING, ids=[f"{v:.2f}" for *_, v in FAILING])
def test_prompts_that_fail(make_prompts, text, answer, subject, value):
    """On a listed prompt with BOS the subject leads the answer by what is printed."""
    assert_logit_diff(make_prompts(text, answer, subject, bos=True), near=(value, 0.01))


BAG = [
    ("L-5", "When John and Mary went to the shops, John gave the bag to", " Mary", 0.6249),
    ("L-5", "When John and Mary went to the shops, John gave the bag to", " his", 0.1925),
    ("L-5", "When John and Mary went to the shops, John gave the bag to", " the", 0.0274),
    ("L-5", "When John and Mary went to the shops, John gave the bag to", " a", 0.0148),
    ("L-5", "When John and Mary went to the shops, John gave the bag to", " John", 0.0144),
    ("L-6", "When Mary and John went to the shops, John gave the bag to", " Mary", 0.7737),
    ("L-6", "When Mary and John went to the shops, John gave the bag to", " his", 0.1004),
    ("L-6", "When Mary and John went to the shops, John gave the bag to", " her", 0.0277),
    ("L-6", "When Mary and John went to the shops, John gave the bag to", " John", 0.0037),
]


@pytest.mark.parametrize(
    ("text", "token", "probability"),
    [
        pytest.param(text, token, p, id=f"{row}-{token.strip()}", marks=pytest.mark.claim(source=NOTEBOOK, finding=row))
        for row, text, token, p in BAG
    ],
)
def test_after_the_bag(make_prompts, text, token, probability):
    """The answer leads in either order of the names, more where it is named first."""
    one = make_prompts(text, " Mary", " John", bos=True)
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


@pytest.mark.claim(source=f"{SCORES}, IOI direct effect", finding="L-7", evidence="B")
def test_who_writes_the_answer_from_where_it_stands(make_ioi):
    """29.0 (.81), 30.14 (.47) and 23.13 (.45) write most into the answer's own logit from IO: among the first eight."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["29.0", "30.14", "23.13"], among=8)
    assert_cell(table, "29.0", between=(0.4, 1.4))


@pytest.mark.claim(source=f"{SCORES}, IOI direct effect", finding="L-7", evidence="B")
def test_who_writes_against_it(make_ioi):
    """32.0 (-1.07) writes most against it, and 34.14 and 30.0 (-.37, -.36) are among the first six."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, "32.0", most="negative")
    assert_top(table, ["34.14", "30.0"], among=6, most="negative")
    assert_cell(table, "32.0", between=(-1.8, -0.5))


@pytest.mark.claim(source=f"{SCORES}, induction direct effect", finding="L-8", evidence="C")
def test_the_same_heads_write_against_repeated_tokens(induced):
    """On repeated random tokens 32.0, 34.14, 27.11 and 26.0 write most against what comes next, 21.8 most of it."""
    table = source_attribution_sweep(induced, "NEXT")
    assert_top(table, ["32.0", "34.14", "27.11", "26.0"], among=7, most="negative")
    assert_top(table, "21.8", among=5)
    assert_cell(table, "32.0", between=(-0.9, -0.25))
