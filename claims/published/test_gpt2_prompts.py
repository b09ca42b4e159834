"""What GPT-2 small says next after single prompts that others printed, quoted as the stimulus of their figures.

Logits themselves are not claimed: they differ by a constant between processed and unprocessed weights.
"""

import pytest

from pytest_interp import (
    Metric,
    assert_direct_logit_attribution,
    assert_logit_diff,
    assert_loss,
    assert_measurement,
    assert_next_token,
)

EAD = "TransformerLens demos/Exploratory_Analysis_Demo.ipynb at 52c42edd, cell 20"
MAIN = "TransformerLens demos/Main_Demo.ipynb at 2223baa0"
SERI = "callummcdougall/SERI-MATS-2023-Streamlit-pages at c2a732c, project_onto_unembed.ipynb, cell 8"
RON = "ronakrm/ioi-enumerate, plot_results.ipynb and ronakrm.github.io/ioi-tails"
LOG = "a replication log with its own GPT-2 code, checked against Hugging Face's"
WLG = "wlg100/numseqcont_circuit_expms at 7961d03"

pytestmark = pytest.mark.claim(source="see each claim", checkpoints="gpt2", evidence="A")


@pytest.fixture(scope="session")
def bag(make_prompts):
    """The first of the demos' eight prompts on its own."""
    return make_prompts("When John and Mary went to the shops, John gave the bag to", " Mary", " John", bos=True)


@pytest.mark.claim(source=EAD, finding="S-P1")
@pytest.mark.parametrize(
    ("token", "probability"),
    [(" Mary", 0.7007), (" the", 0.0467), (" John", 0.0454), (" them", 0.0411), (" his", 0.0273)],
)
def test_after_a_bottle_of_milk(make_prompts, token, probability):
    """Where John gives, Mary has seven tenths of the probability, and no other token as much as a twentieth."""
    one = make_prompts(
        "After John and Mary went to the store, John gave a bottle of milk to", " Mary", " John", bos=True
    )
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


@pytest.mark.claim(source=MAIN, finding="S-P3")
@pytest.mark.parametrize(("bos", "value"), [(True, 6.754), (False, 2.782)], ids=["bos", "no-bos"])
def test_the_first_word_is_a_name(make_prompts, bos, value):
    """A prompt that begins with the answer loses most of its logit difference without BOS."""
    text = "Claire and Mary went to the shops, then Mary gave a bottle of milk to"
    assert_logit_diff(make_prompts(text, " Claire", " Mary", bos=bos), near=(value, 0.01))


@pytest.mark.claim(source=MAIN, finding="S-P4")
def test_the_bias_of_the_unembedding(bias_difference):
    """The unembedding's bias, the final norm's folded in, prefers John to Mary by 2.8995 - 1.6034 logits."""
    values = [bias_difference(" John", " Mary")]
    assert_measurement(values, name="bias_difference", unit="logits", population="fixed", near=(1.2961, 0.01))


@pytest.mark.claim(source=WLG, finding="S-P5")
def test_the_bag_prompt(bag):
    """The logit difference of the first of the eight prompts is 3.3367."""
    assert_logit_diff(bag, near=(3.3367, 0.01))


@pytest.mark.claim(source="TransformerLens demos/Direct_Logit_Attribution demo", finding="S-D7")
@pytest.mark.parametrize(
    ("which", "value"),
    [
        ("9.9", 1.9583),
        ("9.6", 1.6281),
        ("10.7", -1.4267),
        ("11.1", -0.9117),
        ("11.10", -0.9042),
        ("10.0", 0.6370),
        ("10.10", 0.4524),
        ("8.10", 0.4264),
    ],
)
def test_what_heads_write_on_the_bag_prompt(bag, which, value):
    """On this prompt alone the same heads write most, and 11.1 against the answer."""
    assert_direct_logit_attribution(bag, which, near=(value, 0.01))


@pytest.mark.claim(source=SERI, finding="S-P6")
@pytest.mark.parametrize(
    ("token", "probability"),
    [(" Sarah", 0.4679), (" Arthur", 0.1415), (" the", 0.0585), (" her", 0.0224), (" his", 0.0154)],
)
def test_after_a_bone(make_prompts, token, probability):
    """The answer leads the subject here, though by less than usual."""
    text = "Then, Sarah and Arthur had a lot of fun at the hospital. Arthur gave a bone to"
    one = make_prompts(text, " Sarah", " Arthur", bos=True)
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


@pytest.mark.claim(source=RON, finding="S-P7")
@pytest.mark.parametrize(
    ("token", "probability"),
    [(" her", 0.2356), (" Lisa", 0.1318), (" the", 0.1157), (" them", 0.0928), (" Alicia", 0.0743)],
)
def test_a_prompt_that_fails(make_prompts, token, probability):
    """With Lisa as the subject and Alicia as the answer the model prefers a pronoun, and Lisa to Alicia."""
    text = "Then, Lisa and Alicia were working at the store. Lisa decided to give a computer to"
    one = make_prompts(text, " Alicia", " Lisa", bos=True)
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.002))


WITHOUT_BOS = [
    ("S-P8", "When Mary and John went to the store, John gave a drink to", " Mary", 0.45),
    ("S-P8", "When Mary and John went to the store, John gave a drink to", " them", 0.21),
    ("S-P8", "When Mary and John went to the store, John gave a drink to", " the", 0.07),
    ("S-P9", "When Vincent and Vanessa went to the park, Vincent gave a leaf to", " Vanessa", 0.51),
    ("S-P9", "When Vincent and Vanessa went to the park, Vanessa gave a leaf to", " Vincent", 0.54),
    ("S-P10", "Yesterday Mary and John went to the store. John gave a drink to", " Mary", 0.74),
    ("S-P10", "Yesterday Mary and John went to the store. Mary gave a drink to", " John", 0.43),
    ("S-P11", "Mary and John went to the store. John gave a drink to", " them", 0.31),
    ("S-P11", "Mary and John went to the store. John gave a drink to", " John", 0.15),
    ("S-P11", "Mary and John went to the store. John gave a drink to", " the", 0.13),
]


@pytest.mark.parametrize(
    ("text", "token", "probability"),
    [
        pytest.param(text, token, p, id=f"{row}-{token.strip()}", marks=pytest.mark.claim(source=LOG, finding=row))
        for row, text, token, p in WITHOUT_BOS
    ],
)
def test_without_bos(make_prompts, text, token, probability):
    """Without BOS the answer leads too, but not where the first word of all is a name. Printed to two places."""
    one = make_prompts(text, " Mary", " John", bos=False)
    assert_next_token(one, Metric("probability", token=token), near=(probability, 0.007))


@pytest.mark.claim(source="TransformerLens's own tests at 4cd36aae", finding="S-P12")
def test_the_loss_of_a_greeting(make_prompts):
    """The mean cross-entropy of a two-word greeting with its exclamation mark, after BOS, is 5.3319 nats."""
    assert_loss(make_prompts("Hello world!", " Hello", " world", bos=True), near=(5.3319, 0.01))
