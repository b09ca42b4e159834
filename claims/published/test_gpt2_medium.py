"""GPT-2 medium (24 layers of 16 heads): failing prompts, number sequences, and which heads write the answer."""

import pytest

from pytest_interp import Metric, assert_accuracy, assert_cell, assert_logit_diff, assert_next_token, assert_top
from pytest_interp.measure import source_attribution_sweep

RON = "ronakrm/ioi-enumerate, plot_results.ipynb, cells 35 and 36, and ronakrm.github.io/ioi-tails"
SCORES = "callummcdougall/SERI-MATS-2023-Streamlit-pages at c2a732c, scores_dict.pkl: gpt2-medium"
WLG = "wlg100/numseqcont_circuit_expms at 7961d03"

pytestmark = pytest.mark.claim(source=RON, checkpoints="gpt2-medium", evidence="A")


@pytest.mark.claim(source=f"{RON}: 4.17984, negative on .044 % of its prompts", finding="M-1")
def test_mean_logit_difference(make_ioi):
    """With BOS and the subject named first the mean logit difference is 4.18. A band on prompts of our own."""
    one = make_ioi(half="confirm", bos=True).select(order="BABA")
    assert_logit_diff(one, between=(3.1, 5.3))
    assert_accuracy(one, at_least=0.95)


@pytest.mark.claim(source=RON, finding="M-2")
@pytest.mark.parametrize("subject", ["Amy", "Megan", "Emily", "Jesse"])
def test_hard_subjects(make_ioi, with_others, subject):
    """With these as subject it is 2.8 to 3.0, below the mean of 4.18 but well above 0."""
    assert_logit_diff(with_others(subject, "S"), between=(1.5, 4.18))
    assert_logit_diff(make_ioi(half="confirm", bos=True), at_least=2.5)


THINKING = "Then, {} and {} were thinking about going to the {}. {} wanted to give a {} to"
FAILING = [
    ("While William and Mary were working at the school, William gave a basketball to", " Mary", " William", -0.754412),
    (THINKING.format("Amy", "Megan", "store", "Amy", "bone"), " Megan", " Amy", -0.640326),
    (
        "Then, Ashley and Bradley had a lot of fun at the store. Ashley gave a bone to",
        " Bradley", " Ashley", -0.409494,
    ),
    (
        "After the lunch, William and Mary went to the school. William gave a computer to",
        " Mary", " William", -0.359272,
    ),
    ("Then, Steven and Stephen went to the restaurant. Steven gave a bone to", " Stephen", " Steven", -0.317159),
    (THINKING.format("Megan", "Melissa", "house", "Megan", "basketball"), " Melissa", " Megan", -0.310487),
    (THINKING.format("Steven", "Aaron", "school", "Steven", "ring"), " Aaron", " Steven", -0.246918),
    (THINKING.format("Mary", "Michelle", "station", "Mary", "bone"), " Michelle", " Mary", -0.243370),
    (THINKING.format("Emily", "Melissa", "hospital", "Emily", "basketball"), " Melissa", " Emily", -0.218410),
    (
        "While William and Mary were commuting to the restaurant, William gave a snack to",
        " Mary", " William", -0.092196,
    ),
]  # fmt: skip


@pytest.mark.claim(source=RON, finding="M-2b")
@pytest.mark.parametrize(("text", "answer", "subject", "value"), FAILING, ids=[f"{v:.2f}" for *_, v in FAILING])
def test_prompts_that_fail(make_prompts, text, answer, subject, value):
    """On a listed prompt with BOS the subject leads the answer by what is printed."""
    assert_logit_diff(make_prompts(text, answer, subject, bos=True), near=(value, 0.01))


@pytest.mark.claim(source=f"{SCORES}, IOI direct effect", finding="M-3", evidence="B")
def test_who_writes_the_answer_from_where_it_stands(make_ioi):
    """20.6 (1.03), 20.0 (.74) and 15.14 (.67) write most into the answer's own logit from IO: among the first eight."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["20.6", "20.0", "15.14"], among=8)
    assert_cell(table, "20.6", between=(0.5, 1.8))


@pytest.mark.claim(source=f"{SCORES}, IOI direct effect", finding="M-3", evidence="B")
def test_who_writes_against_it(make_ioi):
    """22.14 (-1.23) and 23.3 (-.77) write most against it."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["22.14", "23.3"], most="negative")
    assert_cell(table, "22.14", between=(-2.1, -0.6))


@pytest.mark.claim(source=f"{SCORES}, induction direct effect", finding="M-4", evidence="C")
def test_the_same_heads_write_against_repeated_tokens(induced):
    """On repeated random tokens 22.14, 23.3 and 17.12 write most against what comes next, 13.14 most of it."""
    table = source_attribution_sweep(induced, "NEXT")
    assert_top(table, ["22.14", "23.3", "17.12"], among=5, most="negative")
    assert_top(table, "13.14", among=5)
    assert_cell(table, "22.14", between=(-1.4, -0.4))


@pytest.mark.claim(source=f"Merullo et al. on heads reused between tasks, with {SCORES}", finding="M-6", evidence="B")
def test_movers_named_by_another_study(make_ioi):
    """15.14, 16.15, 17.4, 18.5 and 19.15 rank 3, 6, 7, 8 and 11 of 384, and 19.1 fifth of those against the answer.

    Twice as many places are claimed on prompts of our own.
    """
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["15.14", "16.15", "17.4", "18.5", "19.15"], among=22)
    assert_top(table, "19.1", among=10, most="negative")


@pytest.mark.claim(source=WLG, finding="M-11")
def test_even_numbers(make_prompts):
    """After six even numbers the seventh leads the sixth by 3.2485."""
    assert_logit_diff(make_prompts("2 4 6 8 10 12", " 14", " 12", bos=True), near=(3.2485, 0.01))


@pytest.mark.claim(source=WLG, finding="M-11")
def test_a_break_in_even_numbers(make_prompts):
    """After five even numbers and 11 the likeliest is 12, with .6317."""
    one = make_prompts("2 4 6 8 10 11", " 12", " 11", bos=True)
    assert_next_token(one, Metric("probability"), near=(0.6317, 0.002))
