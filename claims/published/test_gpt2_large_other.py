"""GPT-2 large on texts that are no IOI: numbers, days, pets and abstract rules. Quoted stimuli, with BOS."""

import pytest

from pytest_interp import Metric, assert_logit_diff, assert_next_token

NOTEBOOK = "a TransformerLens notebook on numbers and pets (seed document 003), its printed top ten tokens"
FAMILY = "Mary is a human. Fido is a dog. The pet of this family is Fido. "
PET_SECOND = FAMILY + "Rachel is a human. Pebbles is a cat. The pet of this family is"
PET_FIRST = FAMILY + "Pebbles is a cat. Rachel is a human. The pet of this family is"
KINDS_EXCHANGED = FAMILY + "Rachel is a cat. Pebbles is a human. The pet of this family is"
SCHOOL = (
    "Mary is a teacher. Fido is a student. The child is Fido. Pebbles is a student. Rachel is a teacher. The child is"
)
STORY = (
    "Mary is the hero. Fido is the mentor. The main character is Mary. "
    "Pebbles is the hero. Rachel is the mentor. The main character is"
)
LETTERS = "Mary is X. Fido is Y. Z is Fido. "
LETTERS_SAME = LETTERS + "Pebbles is Y. Rachel is X. Z is"
LETTERS_EXCHANGED = LETTERS + "Pebbles is X. Rachel is Y. Z is"
LETTERS_TWICE = LETTERS + "John is Y. Larry is X. Z is John. Pebbles is X. Rachel is Y. Z is"
ROLES = "The human is Mary. The dog is Fido. The pet is Fido. "
DOG_FIRST = ROLES + "The dog is Pebbles. The human is Rachel. The pet is"
DOG_LAST = ROLES + "The human is Rachel. The dog is Pebbles. The pet is"

pytestmark = pytest.mark.claim(source=NOTEBOOK, checkpoints="gpt2-large", evidence="A")

NEXT = [
    ("L-N2", "1 2 3 4", " 5", 0.9691),
    ("L-N3", "1 2 3 5", " 6", 0.4151),
    ("L-N3", "1 2 3 5", " 7", 0.0993),
    ("L-N3", "1 2 3 5", " 4", 0.0625),
    ("L-N4", "1 2 3", " 4", 0.9497),
    ("L-N5", "2 4", " 5", 0.0882),
    ("L-N5", "2 4 6", " 7", 0.1395),
    ("L-N5", "2 4 6", " 8", 0.0817),
    ("L-N5", "2 4 6 8", " 9", 0.2426),
    ("L-N5", "2 4 6 8", " 10", 0.1825),
    ("L-N5", "2 4 6 8", " 8", 0.1529),
    ("L-N6", "Monday Tuesday Wednesday", " Thursday", 0.9920),
    ("L-N7", PET_SECOND, " Peb", 0.8842),
    ("L-N7", PET_SECOND, " F", 0.0221),
    ("L-N7", PET_SECOND, " Rachel", 0.0095),
    ("L-N8", PET_FIRST, " Rachel", 0.7465),
    ("L-N8", PET_FIRST, " Peb", 0.0403),
    ("L-N11", SCHOOL, " Rachel", 0.4808),
    ("L-N11", SCHOOL, " Peb", 0.2916),
    ("L-N11", SCHOOL, " F", 0.0883),
    ("L-N12", STORY, " Rachel", 0.5454),
    ("L-N12", STORY, " Peb", 0.2494),
    ("L-N13", LETTERS_SAME, " F", 0.3721),
    ("L-N13", LETTERS_SAME, " Y", 0.2213),
    ("L-N13", LETTERS_SAME, " Z", 0.1336),
    ("L-N13", LETTERS_SAME, " Rachel", 0.0377),
    ("L-N14", LETTERS_EXCHANGED, " F", 0.3441),
    ("L-N14", LETTERS_EXCHANGED, " Rachel", 0.1685),
    ("L-N14", LETTERS_EXCHANGED, " Z", 0.1241),
    ("L-N14", LETTERS_EXCHANGED, " Peb", 0.0329),
    ("L-N15", LETTERS_TWICE, " Rachel", 0.4974),
    ("L-N15", LETTERS_TWICE, " Peb", 0.1871),
    ("L-N16", DOG_FIRST, " Rachel", 0.3558),
    ("L-N16", DOG_FIRST, " Peb", 0.1347),
    ("L-N16", DOG_LAST, " Peb", 0.9000),
    ("L-N17", "Mary. Fido. Fido. Pebbles. Rachel. ", "\N{NO-BREAK SPACE}", 0.6821),
]


@pytest.mark.parametrize(
    ("text", "token", "probability"),
    [
        pytest.param(text, token, p, id=f"{row}-{i}", marks=pytest.mark.claim(source=NOTEBOOK, finding=row))
        for i, (row, text, token, p) in enumerate(NEXT)
    ],
)
def test_next_token(make_prompts, text, token, probability):
    """A token follows with the probability that is printed."""
    one = make_prompts(text, " Rachel", " Mary", bos=True)
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


DIFFERENCES = [
    ("L-N2", "1 2 3 4", " 5", " 6", 7.3265),
    ("L-N3", "1 2 3 5", " 5", " 6", -2.7137),
    ("L-N7", PET_SECOND, " Peb", " Rachel", 4.5368),
    ("L-N8", PET_FIRST, " Peb", " Rachel", -2.9183),
    ("L-N9", KINDS_EXCHANGED, " Peb", " Rachel", 5.1553),
]


@pytest.mark.parametrize(
    ("text", "one", "other", "value"),
    [
        pytest.param(text, one, other, v, id=row, marks=pytest.mark.claim(source=NOTEBOOK, finding=row))
        for row, text, one, other, v in DIFFERENCES
    ],
)
def test_one_token_against_another(make_prompts, text, one, other, value):
    """One token leads another by what is printed: the pet's name wins by its place, whatever kind it is."""
    assert_logit_diff(make_prompts(text, one, other, bos=True), near=(value, 0.01))


@pytest.mark.claim(source=NOTEBOOK, finding="L-N10")
def test_the_mean_over_both_orders(make_prompts):
    """With the cat second and with the cat first the mean logit difference is .8093."""
    both = make_prompts([PET_SECOND, PET_FIRST], [" Peb", " Peb"], [" Rachel", " Rachel"], bos=True)
    assert_logit_diff(both, near=(0.8093, 0.01))
