"""Listed prompts: what a caller must pass, and token ids, which mean something in one vocabulary only."""

import pytest

from pytest_interp import Experiment, NotApplicable, UsageError, from_ids, from_strings
from pytest_interp.measure import logit_diff
from pytest_interp.tasks import repeated_ids, repeated_tokens
from pytest_interp.tasks.prompts import encode, single_token
from pytest_interp.tasks.protocols import WRONG, in_another_order
from pytest_interp.tasks.vocabulary import decode

TEXTS = ("When Mary and John arrived at the market", "When John and Mary arrived at the party farm")
OTHER = ("When Mary and Paul arrived at the market", "When Paul and Mary arrived at the party farm")


@pytest.fixture(scope="session")
def as_ids(tokenizer):
    """``as_ids(change=...)``: two prompts as token ids; word-level texts decode as they are written."""

    def build(**change):
        task = {
            "clean": [encode(tokenizer, text) for text in TEXTS],
            "answers": [single_token(tokenizer, word) for word in (" Mary", " John")],
            "distractors": [single_token(tokenizer, word) for word in (" John", " Mary")],
            "texts": list(TEXTS),
            "corrupted": {"other-name": [encode(tokenizer, text) for text in OTHER]},
            "positions": {"FIRST": 1, "PLACE": [7, 8]},
            "bos": True,
            "population": "fixed",
        }
        return from_ids(tokenizer, **{**task, **change})

    return build


def test_the_population_is_the_callers_to_say(tokenizer):
    for build in (from_strings, from_ids):
        with pytest.raises(TypeError, match="population"):
            build(tokenizer, clean=["When Mary"], answers=[" so"], distractors=[" to"], bos=True, **(
                {"texts": ["When Mary"]} if build is from_ids else {}
            ))  # fmt: skip


def test_a_sample_has_the_templates_that_it_was_given(tokenizer):
    data = from_strings(
        tokenizer, clean=list(TEXTS), answers=[" Mary", " John"], distractors=[" John", " Mary"],
        templates=["{A} and {B}, the market", "{A} and {B}, the farm"], bos=True, population="sampled",
    )  # fmt: skip
    assert data.population == "sampled"
    assert len({prompt.template for prompt in data.clean.prompts}) == 2


def test_ids_are_the_data_set_that_their_texts_are(tokenizer, as_ids):
    strings = from_strings(
        tokenizer, clean=list(TEXTS), answers=["Mary", "John"], distractors=["John", "Mary"],
        corrupted={"other-name": list(OTHER)}, positions={"FIRST": ["Mary", "John and"], "PLACE": ["market", "farm"]},
        bos=True, population="fixed",
    )  # fmt: skip
    data = as_ids(positions={"FIRST": [1, 2], "PLACE": [7, 8]})
    assert data.clean.digest == strings.clean.digest
    assert data.corrupted["other-name"].inputs == strings.corrupted["other-name"].inputs
    for mine, theirs in zip(data.clean.groups, strings.clean.groups, strict=True):
        assert mine.tokens.tolist() == theirs.tokens.tolist()
        assert {k: v.tolist() for k, v in mine.positions.items()} == {
            k: v.tolist() for k, v in theirs.positions.items()
        }
        assert mine.pairs.tolist() == theirs.pairs.tolist()


def test_end_is_the_last_token_and_bos_moves_positions_on(as_ids):
    for bos in (False, True):
        data = as_ids(bos=bos)
        for group in data.clean.groups:
            length = group.tokens.shape[1]
            assert group.positions["END"].tolist() == [length - 1]
            assert group.positions["FIRST"].tolist() == [1 + bos]
            assert group.positions["PLACE"].tolist() == [length - 1]


def test_parts_and_wrong_protocols_of_ids(gpt2_like, as_ids):
    experiment = Experiment(gpt2_like, as_ids())
    values = logit_diff(experiment).values
    second = Experiment(gpt2_like, experiment.data.rebuild([1]))
    assert logit_diff(second).values == pytest.approx(values[1:], abs=1e-5)
    turned = logit_diff(Experiment(gpt2_like, in_another_order(experiment.data))).values
    assert sorted(turned) == pytest.approx(sorted(values), abs=1e-5)
    for name in ("END one earlier", "others one earlier", "answer exchanged", "runs exchanged"):
        assert WRONG[name](experiment.data).digest != experiment.data.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": [TEXTS[0], "When John and Mary arrived at the party market"]},
         "prompt 1 stand for '.* party market', and this tokenizer decodes them to '.* party farm': .* vocabulary"),
        ({"clean": [[50256, 11], [1, 2]]}, "prompt 0, '.*', has the token id 50256, and this tokenizer has 0 to"),
        ({"clean": [[-1, 11], [1, 2]]}, "prompt 0, '.*', has the token id -1"),
        ({"answers": [50256, 3]}, "answer or distractor of prompt 0 has the token id 50256"),
        ({"corrupted": {"x": [[60000] * 8, [60000] * 9]}}, "prompt 0 of corruption 'x' has the token id 60000"),
    ],
)  # fmt: skip
def test_ids_of_another_vocabulary_are_not_applicable(as_ids, change, message):
    with pytest.raises(NotApplicable, match=message):
        as_ids(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": "banana"}, "population is 'banana'"),
        ({"population": "sampled"}, "templates has 0 different ones"),
        ({"population": "sampled", "templates": ["a", "a"]}, "templates has 1 different ones"),
        ({"bos": 1}, "bos is 1; pass True"),
        ({"answers": [3]}, "answers has 1 entries for 2 prompts"),
        ({"answers": [" Mary", " John"]}, "answers has the entry ' Mary'; pass whole numbers"),
        ({"answers": [3, 4], "distractors": [3, 5]}, "answer and the distractor of 'When .*' are both the token id 3"),
        ({"texts": [TEXTS[0]]}, "texts has 1 entries for 2 prompts"),
        ({"clean": [], "answers": [], "distractors": [], "texts": []}, "at least one prompt"),
        ({"clean": [5, 6]}, "clean has the entry 5; pass lists of token ids"),
        ({"clean": [[5.0], [6]]}, "prompt 0, 'When .*', has the token id 5.0; pass whole numbers"),
        ({"clean": [[], [5, 6]]}, "prompt 0 is empty"),
        ({"texts": ["", TEXTS[1]]}, "prompt 0 is empty"),
        ({"positions": {"END": 3}}, "END is always the last token"),
        ({"positions": {"PLACE": 8}}, "position PLACE of prompt 0, 'When .*', is 8; allowed: 0 to 7"),
        ({"positions": {"PLACE": -1}}, "position PLACE of prompt 0, 'When .*', is -1"),
        ({"positions": {"PLACE": [1]}}, "has 1 entries for 2 prompts"),
        ({"positions": {"PLACE": True}}, "has the entry True; pass whole numbers"),
        ({"corrupted": {"x": [[5, 6], [5, 6]]}}, "corruption 'x': .* has 3 tokens, its clean prompt .* has 9"),
    ],
)  # fmt: skip
def test_bad_ids_get_a_sentence(as_ids, change, message):
    with pytest.raises(UsageError, match=message):
        as_ids(**change)


def test_the_clean_run_is_no_corruption(as_ids, tokenizer):
    with pytest.raises(UsageError, match="is called 'clean'"):
        as_ids(corrupted={"clean": [encode(tokenizer, text) for text in OTHER]})


def test_unknown_tokens_are_refused_among_ids_too(as_ids, tokenizer):
    unknown, text = [encode(tokenizer, text) for text in TEXTS], TEXTS[1].replace("and", "<unk>")
    unknown[1][2] = tokenizer.unk_token_id
    with pytest.raises(UsageError, match="prompt 1, 'When .*', has the token id .* which is '<unk>'"):
        as_ids(clean=unknown, texts=[TEXTS[0], text])
    with pytest.raises(UsageError, match="prompt 1 of corruption 'x' has the token id .* which is '<unk>'"):
        as_ids(corrupted={"x": unknown})
    with pytest.raises(UsageError, match="answer or distractor of prompt 0 has the token id .* which is '<unk>'"):
        as_ids(answers=[tokenizer.unk_token_id, 3])
    # Where the text says something else, the id is one of another vocabulary.
    with pytest.raises(NotApplicable, match="decodes them to 'When John <unk> Mary"):
        as_ids(clean=unknown)


def test_tokens_said_twice_are_of_this_vocabulary(planted):
    with pytest.raises(NotApplicable, match="sequence 1 has the token id 50256, and this tokenizer has 0 to 178"):
        repeated_ids(planted.tokenizer, [[5, 9, 2], [7, 3, 50256]], bos=True)
    with pytest.raises(UsageError, match="sequence 0 has the token id 'five'; pass whole numbers"):
        repeated_ids(planted.tokenizer, [["five", 9, 2]], bos=True)
    for bos in ("no", None, 0):
        with pytest.raises(UsageError, match=f"bos is {bos!r}; pass True"):
            repeated_tokens(planted.tokenizer, length=5, n=2, seed=0, bos=bos, complete=False)


def test_what_a_tokenizer_calls_unknown_may_be_said_where_it_is_a_word(gpt2_tokenizer):
    """GPT-2 has one token for BOS, EOS and the unknown, and knows every text."""
    task = {"answers": [" Mary"], "distractors": [" John"], "bos": False, "population": "fixed"}
    text = "<|endoftext|>When Mary and John"
    strings = from_strings(gpt2_tokenizer, clean=[text], **task)
    ids = strings.clean.groups[0].tokens.tolist()
    assert ids[0][0] == gpt2_tokenizer.unk_token_id
    data = from_ids(
        gpt2_tokenizer, clean=ids, texts=[text], answers=encode(gpt2_tokenizer, " Mary"),
        distractors=encode(gpt2_tokenizer, " John"), bos=False, population="fixed",
    )  # fmt: skip
    assert data.clean.digest == strings.clean.digest


FOREIGN = """
import pytest
from pytest_interp import Experiment, assert_logit_diff, from_ids
from pytest_interp.tasks import repeated_ids

pytestmark = pytest.mark.claim(source="a notebook")

@pytest.fixture(scope="session")
def foreign(checkpoint):
    data = from_ids(checkpoint.tokenizer, clean=[[2215, 12313, 290]], texts=["When Victoria and"], answers=[12091],
                    distractors=[12313], bos=False, population="fixed")
    return Experiment(checkpoint, data)

def test_it(foreign):
    assert_logit_diff(foreign, at_least=-99)

def test_its_fixture_too(foreign):
    assert_logit_diff(foreign, at_least=-99)

def test_twice(checkpoint):
    data = repeated_ids(checkpoint.tokenizer, [[2215, 12313, 290]], bos=False)
    assert_logit_diff(Experiment(checkpoint, data), at_least=-99)
"""


def test_ids_of_another_vocabulary_make_a_claim_not_applicable(claims_project):
    claims_project.makepyfile(test_it=FOREIGN)
    result = claims_project.runpytest("-rs")
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(
        ["planted-ioi: 3 not applicable", "SKIPPED*not applicable: prompt 0*another vocabulary*"]
    )


CHERRY = """
import pytest
from pytest_interp import assert_ablation_effect, assert_logit_diff

@pytest.mark.claim(source="one prompt that works")
def test_it(make_prompts):
    text = "When Mary and John met near the beach, John gave a book to"
    verdict = assert_logit_diff(make_prompts(text, " Mary", " John"), at_least=1)
    assert verdict.notes[0] == "this prompt only"

@pytest.mark.claim(source="one prompt that works")
def test_reference(make_prompts):
    text = "When {} and {} met near the beach, {} gave a book to"
    reference = text.format("Paul", "John", "Mary")
    one = make_prompts(text.format("Mary", "John", "John"), " Mary", " John", reference=reference)
    assert [prompt.text for prompt in one.data.reference.prompts] == [reference]
    assert_ablation_effect(one, "3.0", at_most=99)

@pytest.mark.claim(source="one prompt that works")
def test_bos(make_prompts):
    assert_logit_diff(make_prompts("When Mary and John", " Mary", " John", bos="yes"), at_least=1)

@pytest.mark.claim(source="one prompt that works")
def test_position(make_prompts):
    assert_logit_diff(make_prompts("When Mary and John", " Mary", " John", positions={"S1": ""}), at_least=1)
"""


def test_the_fixture_of_listed_prompts(claims_project):
    claims_project.makepyfile(test_it=CHERRY)
    result = claims_project.runpytest()
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(["*bos is 'yes'; pass True*", "*the word '' is empty*"])


# ---- reference prompts of one's own

MARKET, FARM = "When {A} and {B} arrived at the market", "Yesterday {A} and {B} drove to the farm,"
NAMES = (("Tom", "Amy"), ("Dan", "Sid"), ("Martin", "Amy"))


def with_reference(tokenizer, reference, **more):
    clean = [template.format(A="Mary", B="John") for template in (MARKET, FARM)]
    task = {"answers": [" so", " to"], "distractors": [" to", " so"], "templates": ["market", "farm"]} | more
    return from_strings(tokenizer, clean=clean, reference=reference, bos=True, population="fixed", **task)


def filled(template):
    return [template.format(A=first, B=second) for first, second in NAMES]


def test_reference_prompts_by_template_or_as_one_list(tokenizer):
    by_name = with_reference(tokenizer, {"farm": filled(FARM), "market": filled(MARKET)})
    one_list = with_reference(tokenizer, [*filled(FARM), *filled(MARKET), "When Mary"])
    assert [prompt.template for prompt in by_name.reference.prompts] == ["market"] * 3 + ["farm"] * 3
    assert [prompt.text for prompt in by_name.reference.prompts] == [*filled(MARKET), *filled(FARM)]
    assert by_name.digest == one_list.digest != with_reference(tokenizer, None).digest
    part = by_name.rebuild([1])
    assert part.reference.digest == by_name.reference.digest


def test_mean_ablation_and_faithfulness_on_a_task_of_ones_own(planted_ioi):
    """The same numbers as on the IOI set that the lists were taken from."""
    from pytest_interp import Experiment
    from pytest_interp.measure import ablation_effect, faithfulness

    checkpoint, data = planted_ioi.checkpoint, planted_ioi.data
    prompts = data.clean.prompts
    templates = {prompt.template for prompt in prompts}
    reference = {name: [p.text for p in data.reference.prompts if p.template == name] for name in templates}
    listed = from_strings(
        checkpoint.tokenizer,
        clean=[prompt.text for prompt in prompts],
        answers=[prompt.answer for prompt in prompts],
        distractors=[prompt.distractor for prompt in prompts],
        templates=[prompt.template for prompt in prompts],
        reference=reference,
        bos=checkpoint.bos,
        population="sampled",
    )
    ids = from_ids(
        checkpoint.tokenizer,
        clean=[encode(checkpoint.tokenizer, prompt.text) for prompt in prompts],
        texts=[decode(checkpoint.tokenizer, encode(checkpoint.tokenizer, prompt.text)) for prompt in prompts],
        answers=[single_token(checkpoint.tokenizer, prompt.answer) for prompt in prompts],
        distractors=[single_token(checkpoint.tokenizer, prompt.distractor) for prompt in prompts],
        templates=[prompt.template for prompt in prompts],
        reference={key: [encode(checkpoint.tokenizer, text) for text in texts] for key, texts in reference.items()},
        bos=checkpoint.bos,
        population="sampled",
    )
    for task in (listed, ids):
        own = Experiment(checkpoint, task)
        assert ablation_effect(own, "4.0").values == pytest.approx(ablation_effect(planted_ioi, "4.0").values, abs=1e-5)
        circuit = ["2.0", "3.0", "4.0"]
        assert faithfulness(own, circuit).value == pytest.approx(faithfulness(planted_ioi, circuit).value, abs=1e-5)


@pytest.mark.parametrize(
    ("reference", "more", "message"),
    [
        ({"market": filled(MARKET)}, {}, "reference has no prompt of 9 tokens for the template 'farm'"),
        ({"market": [], "farm": filled(FARM)}, {}, "no prompt of 8 tokens for the template 'market'"),
        (filled(MARKET), {}, "reference has no prompt of 9 tokens for the template 'farm'; mean ablation needs some"),
        ([], {}, "reference has no prompt of 8 tokens"),
        ({"markt": []}, {}, "reference has the template 'markt', which no prompt has; nearest: market"),
        ({"market": filled(FARM), "farm": filled(FARM)}, {}, r"reference\['market'\]: .* has 9 tokens, the prompts of"),
        ({"market": [5], "farm": []}, {}, r"reference\['market'\] has the entry 5; pass strings"),
        ({"market": 5}, {}, r"reference\['market'\] is 5; pass a list of strings"),
        (5, {}, "reference is 5; pass a dictionary whose keys are strings or a list of strings"),
        (filled(FARM), {"templates": ["one", "one"]}, "'one' has prompts of 8 and of 9 tokens, and a mean over"),
    ],
)
def test_bad_references_get_a_sentence(tokenizer, reference, more, message):
    with pytest.raises(UsageError, match=message):
        with_reference(tokenizer, reference, **more)


def test_a_word_of_several_tokens_gets_the_spelling_that_is_one(gpt2_tokenizer):
    with pytest.raises(
        UsageError, match=r"'Berlin' is 2 tokens here .*use a word of one token; did you mean ' Berlin'\?"
    ):
        single_token(gpt2_tokenizer, "Berlin")
    with pytest.raises(UsageError, match=r"use a word of one token; did you mean ' Mary'\?"):
        single_token(gpt2_tokenizer, " Mary ")
    with pytest.raises(UsageError, match=r"use a word of one token$"):
        single_token(gpt2_tokenizer, " Mary Ann")
