"""GPT-2 small on texts that are no IOI: numbers, months and days, pets, a surname. Quoted stimuli, with BOS."""

import pytest

from pytest_interp import (
    Metric,
    assert_component_attribution,
    assert_direct_logit_attribution,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_next_token,
    assert_patch_effect,
    assert_top_k,
)

TOPK = "a TransformerLens notebook on numbers and pets (seed document 003), its printed top ten tokens"
HART = "a TransformerLens notebook on facts (seed document 004), its printed top tokens"
WLG = "wlg100/numseqcont_circuit_expms at 7961d03"
PETS = (
    "Mary is a human. Fido is a dog. The pet of this family is Fido. "
    "Rachel is a human. Pebbles is a cat. The pet of this family is"
)
ROLES = "The human is Mary. The dog is Fido. The pet is Fido. The human is Rachel. The dog is Pebbles. The pet is"
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

pytestmark = pytest.mark.claim(source=TOPK, checkpoints="gpt2", evidence="A")

NEXT = [
    ("S-N1", "1 2 3 4", " 5", 0.9617),
    ("S-N1", "1 2 3 4", " Next", 0.0040),
    ("S-N2", "2 4", "/", 0.1063),
    ("S-N2", "2 4", " 4", 0.0628),
    ("S-N2", "2 4", " 5", 0.0585),
    ("S-N2", "2 4", " 6", 0.0224),
    ("S-N3", PETS, " Peb", 0.7016),
    ("S-N3", PETS, " P", 0.0260),
    ("S-N3", PETS, " F", 0.0209),
    ("S-N4", ROLES, " Peb", 0.1343),
    ("S-N4", ROLES, " F", 0.0842),
    ("S-N4", ROLES, " Rachel", 0.0491),
]


@pytest.mark.parametrize(
    ("text", "token", "probability"),
    [
        pytest.param(text, token, p, id=f"{row}-{token.strip()}", marks=pytest.mark.claim(source=TOPK, finding=row))
        for row, text, token, p in NEXT
    ],
)
def test_next_token(make_prompts, text, token, probability):
    """A token follows with the probability that is printed."""
    one = make_prompts(text, " Rachel", " Mary", bos=True)
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


@pytest.mark.claim(source=TOPK, finding="S-N1")
def test_five_follows(make_prompts):
    """The next number leads the likeliest word by 5.4894."""
    assert_logit_diff(make_prompts("1 2 3 4", " 5", " Next", bos=True), near=(5.4894, 0.01))


@pytest.mark.claim(source=TOPK, finding="S-N2")
def test_the_next_even_number_is_not_seen_after_two(make_prompts):
    """After two even numbers the third is only the ninth likeliest token, level with the tenth."""
    assert_next_token(make_prompts("2 4", " 6", " 5", bos=True), "rank", between=(9, 10))


@pytest.mark.claim(source=TOPK, finding="S-N3")
def test_the_cat_is_the_pet(make_prompts):
    """The cat's name leads the human's by 5.5811."""
    assert_logit_diff(make_prompts(PETS, " Peb", " Rachel", bos=True), near=(5.5811, 0.01))


@pytest.mark.claim(source=HART, finding="S-N5")
@pytest.mark.parametrize(
    ("token", "probability"),
    [
        (" was", 0.2703),
        (" Hart", 0.1343),
        (" died", 0.0412),
        (" came", 0.0303),
        ("'s", 0.0296),
        (" and", 0.0278),
        (" arrived", 0.0226),
        (" went", 0.0223),
        (" started", 0.0219),
        (" left", 0.0173),
    ],
)
def test_a_surname_that_was_said(make_prompts, token, probability):
    """The surname is the second likeliest token after the first name."""
    one = make_prompts("Her name was Alex Hart. When Alex", " Hart", " was", bos=True)
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


@pytest.mark.claim(source=HART, finding="S-N6")
def test_a_surname_that_is_known(make_prompts):
    """A famous first name with its profession is followed by its surname."""
    assert_top_k(make_prompts("Famous computer scientist Alan", " Turing", " Hart", bos=True), 1, at_least=1)


@pytest.fixture(scope="session")
def four(make_prompts):
    """One sequence of numbers; in the corruption the last is the one before again."""
    return make_prompts("1 2 3 4", " 5", " 4", bos=True, corrupted={"last-repeated": "1 2 3 3"})


@pytest.mark.claim(source=WLG, finding="S-N7")
def test_the_next_number_against_the_last(four):
    """The next number leads the last by 6.7274, and is behind by 4.8826 where the last was said twice."""
    assert_logit_diff(four, near=(6.7274, 0.01))
    assert_logit_diff(four, run="last-repeated", near=(-4.8826, 0.01))


@pytest.mark.claim(source=WLG, finding="S-N7")
@pytest.mark.parametrize(
    ("layer", "component", "value"),
    [(9, "mlp_out", 3.6794), (10, "mlp_out", 2.1580), (11, "mlp_out", 1.5200), (9, "attn_out", 0.4555)],
)
def test_late_mlps_write_the_next_number(four, layer, component, value):
    """The last three MLPs write the next number; attention writes little of it."""
    assert_component_attribution(four, component, layer, near=(value, 0.01))


@pytest.mark.claim(source=WLG, finding="S-N7")
@pytest.mark.parametrize(("which", "value"), [("9.1", 0.4135), ("7.10", -0.3470), ("6.9", -0.2923)])
def test_heads_that_write_the_next_number(four, which, value):
    """Of all heads 9.1 writes most of it."""
    assert_direct_logit_attribution(four, which, near=(value, 0.01))


@pytest.mark.claim(source=WLG, finding="S-N7")
@pytest.mark.parametrize(
    ("site", "layer", "value"),
    [("mlp_out", 0, 0.8546), ("mlp_out", 9, 0.6575), ("mlp_out", 10, 0.3171), ("attn_out", 9, 0.2206)],
)
def test_mlps_move_the_next_number(four, site, layer, value):
    """Clean into corrupted at END, the first MLP and that of layer 9 recover most."""
    assert_patch_effect(four, site, layer, at="END", corruption="last-repeated", near=(value, 0.002))


@pytest.mark.claim(source=WLG, finding="S-N7")
def test_one_head_moves_the_next_number(four):
    """Clean into corrupted at END, 9.1 recovers a quarter."""
    assert_head_patch_effect(four, "9.1", at="END", corruption="last-repeated", near=(0.2513, 0.002))


@pytest.mark.claim(source=WLG, finding="S-N7", evidence="C")
def test_without_that_head_little_is_lost(four):
    """Zeroing 9.1 takes about an eighth: 6.727 to 5.963. At which positions is not said, so at END a band."""
    assert_logit_diff(four, knocked_out="9.1", ablation="zero", between=(5.1, 6.7))


@pytest.fixture(scope="session")
def several(make_prompts):
    """``several("numbers")``: every run of four with the fifth as answer and the fourth as distractor.

    The sources give how many prompts there are, not which; these are the first that fit.
    """
    words = {"numbers": tuple(map(str, range(1, 25))), "months": MONTHS, "days": DAYS}

    def build(kind):
        runs = [words[kind][i : i + 5] for i in range(len(words[kind]) - 4)]
        return make_prompts(
            [" ".join(run[:4]) for run in runs],
            [f" {run[4]}" for run in runs],
            [f" {run[3]}" for run in runs],
            bos=True,
            corrupted={"last-repeated": [" ".join([*run[:3], run[2]]) for run in runs]},
            name=kind,
        )

    return build


@pytest.mark.claim(source=WLG, evidence="C")
@pytest.mark.parametrize(
    ("kind", "clean", "corrupted"),
    [
        pytest.param("numbers", 5.6015, -2.4612, id="numbers", marks=pytest.mark.claim(source=WLG, finding="S-N8")),
        pytest.param("months", 8.4781, -6.7150, id="months", marks=pytest.mark.claim(source=WLG, finding="S-N9")),
        pytest.param("days", 5.7776, -3.6786, id="days", marks=pytest.mark.claim(source=WLG, finding="S-N9")),
    ],
)
def test_what_comes_next_in_a_row(several, kind, clean, corrupted):
    """In numbers, months and days the next one leads the last, unless the last was said twice. A band of 15 %."""
    assert_logit_diff(several(kind), between=(0.85 * clean, 1.15 * clean))
    assert_logit_diff(several(kind), run="last-repeated", between=(1.15 * corrupted, 0.85 * corrupted))


@pytest.mark.claim(source=WLG, evidence="C")
@pytest.mark.parametrize(
    ("kind", "mlp", "head"),
    [
        pytest.param("numbers", 0.6612, 0.2097, id="numbers", marks=pytest.mark.claim(source=WLG, finding="S-N8")),
        pytest.param("months", 0.7086, 0.2388, id="months", marks=pytest.mark.claim(source=WLG, finding="S-N9")),
    ],
)
def test_the_same_parts_move_it(several, kind, mlp, head):
    """In numbers and months alike the MLP of layer 9 moves most of it and 9.1 about a quarter. A band of 15 %."""
    one = several(kind)
    assert_patch_effect(one, "mlp_out", 9, at="END", corruption="last-repeated", between=(0.85 * mlp, 1.15 * mlp))
    assert_head_patch_effect(one, "9.1", at="END", corruption="last-repeated", between=(0.85 * head, 1.15 * head))


@pytest.mark.claim(source=WLG, finding="S-N9", evidence="C")
def test_one_head_moves_the_next_day(several):
    """Of days 9.1 moves .2855. A band of 15 %."""
    assert_head_patch_effect(several("days"), "9.1", at="END", corruption="last-repeated", between=(0.24, 0.33))


@pytest.mark.claim(source=WLG, finding="S-N8", evidence="C")
def test_one_head_writes_the_next_number(several):
    """Over the number sequences 9.1 writes .4114 into the answer's direction. A band of 15 %."""
    assert_direct_logit_attribution(several("numbers"), "9.1", between=(0.35, 0.47))


@pytest.mark.claim(source=WLG, finding="S-N9")
@pytest.mark.parametrize(
    ("text", "answer", "last", "probability"),
    [
        ("January February March April", " May", " April", 0.9987),
        ("Monday Tuesday Wednesday Thursday", " Friday", " Thursday", 0.9745),
    ],
    ids=["months", "days"],
)
def test_the_next_month_or_day_is_certain(make_prompts, text, answer, last, probability):
    """After four in a row the next month or day has nearly all the probability."""
    assert_next_token(make_prompts(text, answer, last, bos=True), "probability", near=(probability, 0.002))
