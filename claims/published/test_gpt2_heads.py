"""What heads of GPT-2 small attend to and copy. Where a figure rests on other prompts and names, a band on ours."""

import pytest

from pytest_interp import (
    assert_attention,
    assert_attention_write_correlation,
    assert_cell,
    assert_copy_score,
    assert_direct_logit_attribution,
    assert_head_patch_effect,
    assert_ov_eigenvalue_score,
    assert_path_patch_effect,
    assert_prompt_copy_score,
    assert_top,
)
from pytest_interp.measure import source_attribution_sweep

WANG = "Wang et al. 2022 (arXiv 2211.00593)"
MUR = "Murano et al., a study of the same heads on prompts of its own"
ARENA = "ARENA 3.0, chapter 1, IOI, weight-based copy scores of 109 names"
MAIN = "TransformerLens demos/Main_Demo.ipynb at 2223baa0, cells 108-116"
SERI = "callummcdougall/SERI-MATS-2023-Streamlit-pages at c2a732c"
# Neither the paper nor scores_dict.pkl says whether value biases count as their heads': they are left out, as
# TransformerLens's default loading leaves them out.

pytestmark = pytest.mark.claim(source="see each claim", checkpoints="gpt2", evidence="C")


@pytest.mark.claim(source=f"{WANG}, section 3.1 (mean of three .59); {MUR}", finding=("S-C1", "S-C2"))
@pytest.mark.parametrize(
    ("which", "low", "high"), [("9.9", 0.55, 0.95), ("9.6", 0.5, 0.9), ("10.0", 0.3, 0.7)], ids=["9.9", "9.6", "10.0"]
)
def test_name_movers_attend_to_the_answer(make_ioi, which, low, high):
    """From END 9.9, 9.6 and 10.0 attend to IO with .812, .742 and .460; another study has .59 for their mean."""
    assert_attention(make_ioi(half="confirm", bos=True), which, at="END", to="IO", between=(low, high))


@pytest.mark.claim(source=f"{WANG}, figure 3", finding="S-C3")
@pytest.mark.parametrize("which", ["9.9", "9.6", "10.0"])
def test_name_movers_write_what_they_attend_to(make_ioi, which):
    """A name mover's attention to a name and its write towards it correlate, by more than .81 there."""
    assert_attention_write_correlation(make_ioi(half="confirm", bos=True), which, at_least=0.6)


@pytest.mark.claim(source=f"{ARENA}; {WANG}, section 3.1", finding=("S-C4", "S-C6"))
@pytest.mark.parametrize("which", ["9.9", "10.0", "9.6"])
def test_name_movers_copy(checkpoint, names, which):
    """The name movers' copy score is about 95 % or more (9.9 100 %, 10.0 and 9.6 94.5 %); the names are others."""
    assert_copy_score(checkpoint, which, names=names, k=5, at_least=0.85)


@pytest.mark.claim(source=f"{ARENA}; {WANG}, section 3.1", finding=("S-C5", "S-C6"))
@pytest.mark.parametrize("which", ["10.7", "11.10"])
def test_negative_name_movers_suppress(checkpoint, names, which):
    """The negative name movers' negative copy score is about 100 %; the names are others."""
    assert_copy_score(checkpoint, which, names=names, k=5, negative=True, at_least=0.85)


@pytest.mark.claim(
    source="ARENA-like notebook (seed document 001), copy scores over prompts", finding="S-C7", evidence="B"
)
@pytest.mark.parametrize(
    ("which", "negative"), [("9.9", False), ("10.0", False), ("9.6", False), ("10.7", True), ("11.10", True)]
)
def test_they_copy_names_in_prompts(make_ioi, which, negative):
    """Of names as the first block leaves them in a prompt, the same heads copy, or suppress, 95 % and more."""
    one = make_ioi(half="confirm", bos=False)
    assert_prompt_copy_score(one, which, k=5, negative=negative, at_least=0.85)


@pytest.mark.claim(
    source="ARENA-like notebook (seed document 001), copy scores over prompts", finding="S-C7", evidence="B"
)
def test_other_heads_do_not_copy(make_ioi):
    """9.10, 3.2 and 6.1 copy none of the names, where 9.9 copies all."""
    one = make_ioi(half="confirm", bos=False)
    assert_prompt_copy_score(one, "9.9", k=5, at_least=0.85)
    assert_prompt_copy_score(one, "9.10", k=5, at_most=0.05)
    assert_prompt_copy_score(one, "3.2", k=5, at_most=0.05)
    assert_prompt_copy_score(one, "6.1", k=5, at_most=0.05)


@pytest.mark.claim(source=f"{WANG}, section 3.2", finding="S-C8")
@pytest.mark.parametrize("which", ["7.3", "7.9", "8.6", "8.10"])
def test_subject_suppressors_attend_to_the_second_subject(make_ioi, which):
    """From END the four attend to S2, with .51 in the mean over them; of each a fifth at least is claimed."""
    assert_attention(make_ioi(half="confirm", bos=True), which, at="END", to="S2", at_least=0.2)


@pytest.mark.claim(source=f"{SERI}, path_patching_from_name_movers.ipynb, cell 7", finding="S-C9")
def test_a_negative_name_mover_attends_to_the_answer(make_ioi):
    """Without BOS 10.7 attends from END to IO by .5953 more than to S1."""
    one = make_ioi(half="confirm", bos=False)
    assert_attention(one, "10.7", at="END", to="IO", minus=("S1",), between=(0.45, 0.75))


@pytest.mark.claim(source=MAIN, finding="S-C14", evidence="A")
@pytest.mark.parametrize(("which", "value"), [("11.3", 0.9995), ("10.9", 0.9987), ("9.3", 0.9987), ("11.10", 0.9945)])
def test_eigenvalues_of_the_full_circuit(checkpoint, which, value):
    """From token to token nearly all eigenvalues are positive, of 11.10 too: this score does not tell its sign."""
    assert_ov_eigenvalue_score(checkpoint, which, through="tokens", near=(value, 0.002))


@pytest.mark.claim(
    source=f"{SERI}, investigate_query.ipynb, cell 22: 50 prompts of seed 42", finding="S-D4", evidence="B"
)
@pytest.mark.parametrize(
    ("which", "low", "high"),
    [
        ("9.9", 1.6, 3.8),
        ("9.6", 0.6, 2.2),
        ("10.0", 0.15, 1.2),
        ("10.10", 0.15, 1.0),
        ("10.7", -3.2, -1.0),
        ("11.10", -1.7, -0.3),
        ("8.10", 0.05, 0.7),
    ],
    ids=["9.9", "9.6", "10.0", "10.10", "10.7", "11.10", "8.10"],
)
def test_what_heads_write_on_sampled_prompts(make_ioi, which, low, high):
    """On a sample with BOS they write as on the eight prompts: 2.69 of 9.9, -1.98 of 10.7. A wide band on ours."""
    assert_direct_logit_attribution(make_ioi(half="confirm", bos=True), which, between=(low, high))


@pytest.mark.claim(source=f"{SERI}, scores_dict.pkl: IOI direct effect of gpt2-small", finding="S-D5", evidence="B")
def test_who_writes_the_answer_from_where_it_stands(make_ioi):
    """What 9.9, 9.6 and 10.0 write into the answer's own logit from IO is the most of all heads; 9.9 writes 3.11."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, "9.9")
    assert_top(table, ["9.9", "9.6", "10.0"], among=5)
    assert_cell(table, "9.9", between=(2.0, 4.5))


@pytest.mark.claim(source=f"{SERI}, scores_dict.pkl: IOI direct effect of gpt2-small", finding="S-D5", evidence="B")
def test_who_writes_against_it(make_ioi):
    """10.7 (-2.38) and 11.10 (-1.63) write most against it, and by far."""
    table = source_attribution_sweep(make_ioi(half="confirm", bos=True), "IO")
    assert_top(table, ["10.7", "11.10"], most="negative")
    assert_cell(table, "10.7", between=(-3.6, -1.3))
    assert_cell(table, "11.10", between=(-2.6, -0.8))


@pytest.mark.claim(source=f"{WANG}, figure 4b; {MUR}: -28.9 % for 9.9, -22.8 % for 10.0", finding="S-H4")
@pytest.mark.parametrize("which", ["9.9", "10.0"])
def test_subject_suppressors_act_through_queries(make_ioi, which):
    """Along paths into a name mover's queries the four heads carry about a quarter of the logit difference."""
    one = make_ioi(half="confirm", bos=True)
    senders = ["7.3", "7.9", "8.6", "8.10"]
    assert_path_patch_effect(one, senders, which, into="q", metric="of_clean", between=(-0.5, -0.05))


@pytest.mark.claim(
    source=f"{WANG}, appendix A, figure 9: logit differences 3.55 to 2.45, 1.77 and -3.16", finding="S-H6"
)
@pytest.mark.parametrize(
    ("corruption", "low", "high"),
    [("random-names", -1.9, -0.4), ("names-exchanged", -3.0, -0.8), ("s2-exchanged", -8.7, -4.5)],
)
def test_what_subject_suppressors_carry(make_ioi, corruption, low, high):
    """The four heads at END, patched from other prompts, carry which name S2 is and which place it repeats.

    Of 3.55 logits 1.1 are lost where S2 is a strange name, 1.8 where it is IO, 6.7 where it also repeats IO's place.
    """
    one, four = make_ioi(half="confirm", bos=True), ["7.3", "7.9", "8.6", "8.10"]
    assert_head_patch_effect(
        one, four, at="END", direction="noise", corruption=corruption, metric="logit_diff", between=(low, high)
    )
