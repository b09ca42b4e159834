"""Sequences, analogies, facts, repeated tokens: what each corruption does to the text, and bad input."""

import pytest

from pytest_interp import Experiment
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import accuracy, detector_score_sweep, flips
from pytest_interp.tasks import alex_hart, analogies, capitals, ioi_extra_mention, repeated_tokens, sequences, surnames
from pytest_interp.tasks.prompts import encode

SAMPLED = [sequences, analogies, surnames, capitals]


@pytest.fixture(scope="module")
def real(smollm2):
    return smollm2.tokenizer


def words_at(tokenizer, group, name):
    return [
        tokenizer.decode([row[int(at)]]) for row, at in zip(group.tokens.tolist(), group.positions[name], strict=True)
    ]


@pytest.mark.parametrize("task", SAMPLED)
def test_what_identifies_a_sample(real, task):
    sample, same, other = (task(real, half="find", n=24, seed=seed, bos=False) for seed in (0, 0, 1))
    assert sample.digest == same.digest != other.digest
    confirm = task(real, half="confirm", n=24, seed=0, bos=False)
    assert not {p.template for p in sample.clean.prompts} & {p.template for p in confirm.clean.prompts}
    assert len({p.template for p in sample.clean.prompts}) >= 8
    assert sample.name.endswith("/find")
    with pytest.raises(UsageError, match="half is 'test'"):
        task(real, half="test", n=24, seed=0, bos=False)


def test_sequences_go_on(real):
    data = sequences(real, half="all", n=96, seed=0, bos=False)
    kinds = {p.tags["kind"] for p in data.clean.prompts}
    # Digits are a space and a digit there, two digits are two tokens.
    assert kinds == {"digits", "down", "words", "days", "months", "letters", "ordinals"}
    for clean, other, last, shuffled in zip(
        data.clean.prompts, *(r.prompts for r in data.corrupted.values()), strict=True
    ):
        assert clean.answer != clean.distractor
        assert len({clean.text, other.text, last.text, shuffled.text}) == 4
        assert sorted(shuffled.text) == sorted(clean.text)
    for group in data.clean.groups:
        for row, prompt in enumerate(group.rows):
            digits = data.clean.prompts[prompt].tags["kind"] in ("digits", "down")
            assert data.clean.prompts[prompt].text.endswith(" ") == digits
            assert group.tokens.shape[1] > int(group.positions["LAST"][row])
        assert all(word.strip() for word in words_at(real, group, "LAST"))


def test_analogies_flip_where_they_should(real):
    data = analogies(real, half="all", n=32, seed=0, bos=False)
    for group in data.clean.groups:
        for name in ("ANSWER", "DISTRACTOR"):
            wanted = [getattr(data.clean.prompts[row], name.lower()) for row in group.rows]
            assert words_at(real, group, name) == wanted
        assert words_at(real, group, "ASKED") == words_at(real, group, "QUESTION")
    assert {p.tags["order"] for p in data.clean.prompts} == {"asked first", "asked second"}


def test_full_names(real):
    data = surnames(real, half="all", n=32, seed=0, bos=False)
    for group, first, last in zip(
        data.clean.groups, *(data.run(n).groups for n in ("first-name", "last-name")), strict=True
    ):
        assert words_at(real, group, "SURNAME") == [data.clean.prompts[row].answer for row in group.rows]
        assert words_at(real, group, "FIRST") == words_at(real, group, "END")
        assert (first.tokens != group.tokens).sum(1).tolist() == [1] * len(group.rows)
        assert (last.tokens[:, -1] != group.tokens[:, -1]).all()


def test_one_more_mention(real):
    data = ioi_extra_mention(real, half="confirm", n=24, seed=0, bos=False)
    assert len(data.clean) == 24
    assert len({p.template for p in data.clean.prompts}) == 4
    for prompt, other in zip(data.clean.prompts, data.run("io-mentioned").prompts, strict=True):
        s, io = prompt.distractor.strip(), prompt.answer.strip()
        assert (prompt.text.split().count(s), prompt.text.split().count(io)) == (3, 1), prompt.text
        assert (other.text.split().count(s), other.text.split().count(io)) == (2, 2), other.text
    for group, twin in zip(data.clean.groups, data.run("io-mentioned").groups, strict=True):
        answers, distractors = real.batch_decode(group.answers[:, None]), real.batch_decode(group.distractors[:, None])
        assert words_at(real, group, "IO") == answers
        for position in ("S1", "S2", "EXTRA"):
            assert words_at(real, group, position) == distractors
        assert words_at(real, twin, "EXTRA") == answers


def test_the_published_stimulus(smollm2):
    experiment = Experiment(smollm2, alex_hart(smollm2.tokenizer, bos=False))
    assert accuracy(experiment).value == 1
    assert experiment.data.population == "fixed"
    assert (flips(experiment, "surname").value, flips(experiment, "last-name").value) == (1, 0)


def test_what_planted_cannot_say_is_not_applicable(planted):
    with pytest.raises(NotApplicable, match="sentences that mention a name once more"):
        ioi_extra_mention(planted.tokenizer, half="find", n=24, seed=0, bos=True)
    for task in SAMPLED:
        with pytest.raises(NotApplicable, match="tokenizer"):
            task(planted.tokenizer, half="find", n=8, seed=0, bos=True)
    with pytest.raises(UsageError, match="'primes' is no kind of sequence; allowed: digits, even"):
        sequences(planted.tokenizer, half="find", n=8, seed=0, bos=True, kinds=["primes"])


def test_repeated_tokens(planted):
    data = repeated_tokens(planted.tokenizer, length=15, n=4, seed=0, bos=True, complete=False)
    (group,), (changed,) = data.clean.groups, data.run("first-copy-changed").groups
    assert group.tokens.shape == (4, 30)
    tokens = group.tokens[:, 1:]
    assert (tokens[:, :14] == tokens[:, 15:]).all()
    assert all(len(set(row[:15].tolist())) == 15 for row in tokens)
    rows = range(4)
    assert group.tokens[rows, group.positions["NEXT"]].tolist() == group.answers.tolist()
    assert group.tokens[rows, group.positions["PREVIOUS"]].tolist() == group.tokens[:, -1].tolist()
    assert (changed.tokens[:, 16:] == group.tokens[:, 16:]).all()
    assert not set(changed.tokens[0, 1:16].tolist()) & set(group.tokens[0, 1:16].tolist())
    assert data.digest == repeated_tokens(planted.tokenizer, length=15, n=4, seed=0, bos=True, complete=False).digest
    assert data.digest != repeated_tokens(planted.tokenizer, length=15, n=4, seed=1, bos=True, complete=False).digest
    part = data.rebuild([2])
    assert part.clean.groups[0].tokens.tolist() == [group.tokens[2].tolist()]
    assert data.clean.prompts[0].text.split()[0] in planted.tokenizer.get_vocab()


def test_the_detectors_find_the_planted_heads_and_no_other(planted):
    experiment = Experiment(
        planted, repeated_tokens(planted.tokenizer, length=15, n=4, seed=0, bos=True, complete=True)
    )
    for kind, head in (("previous_token", "0.0"), ("duplicate_token", "0.1"), ("induction", "1.0")):
        table = detector_score_sweep(experiment, kind)
        assert table[head].value > 0.99
        assert sorted(score.value for score in table.values())[-2] < 0.15


def test_bad_sequences_get_a_sentence(planted, planted_ioi):
    for length, n in ((1, 4), (15, 0)):
        with pytest.raises(UsageError, match=f"length is {length} and n is {n}; a sequence needs at least 2 tokens"):
            repeated_tokens(planted.tokenizer, length=length, n=n, seed=0, bos=True, complete=True)
    with pytest.raises(UsageError, match="a sequence needs at least 3 tokens"):
        repeated_tokens(planted.tokenizer, length=2, n=1, seed=0, bos=True, complete=False)
    with pytest.raises(UsageError, match="400 different tokens are needed for length 200, .*; pass length 88 or less"):
        repeated_tokens(planted.tokenizer, length=200, n=1, seed=0, bos=True, complete=True)
    with pytest.raises(
        UsageError, match="one sequence of at least 2 tokens said twice; .*use the fixture `repeated_tokens`"
    ):
        detector_score_sweep(planted_ioi, "induction")
    assert encode(planted.tokenizer, "to")


def knowing(words):
    """A tokenizer that knows these words and no other."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {word: i for i, word in enumerate(dict.fromkeys(["<unk>", *words.split()]))}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize(
    ("task", "words", "wording"),
    [
        (analogies, "Max Rex Luna dog cat horse", "Here , is a . Next to it , So"),
        (surnames, "Alice Robert Emma Hart Carroll Stone", "The new teacher was . On the first day"),
        (capitals, "France Paris Italy Rome", "The capital of is the city of"),
    ],
)
def test_only_wordings_that_the_tokenizer_knows_are_drawn(task, words, wording):
    with pytest.raises(NotApplicable, match="none of 8 wordings is in the words of this tokenizer"):
        task(knowing(words), half="find", n=8, seed=0, bos=False)
    drawn = task(knowing(f"{words} {wording}"), half="find", n=8, seed=0, bos=False)
    assert len({prompt.template for prompt in drawn.clean.prompts}) == 1
