"""Data sets depend on the vocabulary and the task, not on the tokens that a tokenizer or library calls special."""

import copy
from functools import partial

import pytest

from pytest_interp import tasks
from pytest_interp.checkpoints.planted.rules import vocabulary as planted_words
from pytest_interp.checkpoints.sources.gguf_file import quiet
from pytest_interp.checkpoints.spec import known_specs, wheel_gguf
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.tasks.protocols import right_padded
from pytest_interp.tasks.vocabulary import check_known, control_tokens, fill_token, ordinary_tokens, unknown_token

DRAWN = (tasks.ioi, tasks.sequences, tasks.analogies, tasks.surnames, tasks.capitals, tasks.ioi_extra_mention)
IDS = [[5, 9, 2], [7, 3, 8]]


def padded(tokenizer, *, bos):
    return right_padded(fill_token(tokenizer))(tasks.ioi(tokenizer, half="find", n=24, seed=1, bos=bos))


TASKS = {
    **{task.__name__: partial(task, half="confirm", n=24, seed=1) for task in DRAWN},
    "repeated_tokens": partial(tasks.repeated_tokens, length=15, n=4, seed=1, complete=True),
    "incomplete": partial(tasks.repeated_tokens, length=15, n=4, seed=1, complete=False),
    "repeated_ids": partial(tasks.repeated_ids, sequences=IDS),
    "ioi_grid": partial(tasks.ioi_grid, pairs=[("Mary", "John")], half="confirm"),
    "ioi_prompt": partial(
        tasks.ioi_prompt, io="Mary", s="John", wording=0, order="ABBA", place=0, thing=0, half="confirm"
    ),
    "p8": tasks.p8,
    "alex_hart": tasks.alex_hart,
    "from_strings": partial(
        tasks.from_strings, clean=["When Mary and John arrived at the farm"], answers=[" Mary"], distractors=[" John"],
        population="fixed",
    ),
    "padded": padded,
}  # fmt: skip
"""Every data set of this project, to be built with a tokenizer and a BOS choice."""
OF_PLANTED = (
    "ioi",
    "repeated_tokens",
    "incomplete",
    "repeated_ids",
    "ioi_grid",
    "ioi_prompt",
    "from_strings",
    "padded",
)


def made(words, **called):
    """A tokenizer of these words, some of which it calls special."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **called)


def renamed(tokenizer, **called):
    """The same tokenizer, which calls other tokens special."""
    other = copy.deepcopy(tokenizer)
    for name, token in called.items():
        setattr(other, name, token)
    return other


@pytest.fixture(scope="module")
def smollm2_tokenizer():
    from transformers import AutoTokenizer

    if reason := known_specs()["smollm2-135m-instruct"].missing():
        pytest.skip(reason)
    path = wheel_gguf()
    with quiet():
        return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)


def differing(name, tokenizer, other_tokenizer):
    """The BOS choices with which two tokenizers give different data sets of a task."""
    assert tokenizer.all_special_ids != other_tokenizer.all_special_ids
    return [
        bos
        for bos in (False, True)
        if TASKS[name](tokenizer, bos=bos).digest != TASKS[name](other_tokenizer, bos=bos).digest
    ]


@pytest.mark.parametrize("name", OF_PLANTED)
def test_of_words(name):
    usual = made(planted_words(), bos_token="<bos>", unk_token="<unk>", eos_token="<bos>", pad_token="<bos>")
    assert not differing(name, usual, made(planted_words(), bos_token="<bos>"))


@pytest.fixture(scope="module")
def gpt2_renamed(gpt2_tokenizer):
    return renamed(gpt2_tokenizer, pad_token="!", unk_token=None)


@pytest.mark.parametrize("name", TASKS)
def test_of_gpt2(gpt2_tokenizer, gpt2_renamed, name):
    assert not differing(name, gpt2_tokenizer, gpt2_renamed)


@pytest.fixture(scope="module")
def smollm2_as_read(smollm2_tokenizer):
    """As transformers 5.17 reads the file, which takes BOS for EOS and sees no pad token; and as 5.24 does."""
    older = renamed(smollm2_tokenizer, eos_token="<|im_start|>", pad_token=None)
    newer = renamed(smollm2_tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    assert (older.all_special_ids, older.pad_token_id, older.eos_token_id) == ([1, 0], None, 1)
    assert (newer.all_special_ids, newer.pad_token_id, newer.eos_token_id) == ([1, 2, 0], 2, 2)
    return older, newer


@pytest.mark.parametrize("name", TASKS)
def test_of_smollm2_as_two_versions_of_transformers_read_it(smollm2_as_read, name):
    assert not differing(name, *smollm2_as_read)


def test_random_tokens_are_no_control_tokens(smollm2_tokenizer):
    data = tasks.repeated_tokens(smollm2_tokenizer, length=50, n=400, seed=0, bos=False, complete=True)
    drawn = set(data.clean.groups[0].tokens.flatten().tolist())
    assert len(drawn) > 10_000
    assert not drawn & set(control_tokens(smollm2_tokenizer))


def test_control_tokens_are_told_by_how_they_are_written(smollm2_tokenizer, gpt2_tokenizer):
    assert control_tokens(smollm2_tokenizer) == tuple(range(17))
    assert control_tokens(gpt2_tokenizer) == (50256,)
    written = ["<s>", "</s>", "<|eot_id|>", "<start_of_turn>", "<0x0A>", "<unused1>", "[PAD]", "[INST]", "[/INST]",
               ">>TITLE<<", "|||EMAIL_ADDRESS|||", "<\uff5cend\u2581of\u2581sentence\uff5c>"]  # fmt: skip
    words = ["<unk>", "a", "<", "<>", "</", "[]", "[...]", ">>", "<<", "||", "(b)", "<b", "1", "\u00e9", " [x]"]
    tokenizer = made([*written, *words])
    assert control_tokens(tokenizer) == tuple(range(len(written) + 1))
    assert ordinary_tokens(tokenizer) == tuple(range(len(written) + 1, len(written) + len(words)))
    assert fill_token(tokenizer) == 0


def test_a_vocabulary_without_control_tokens_is_not_filled_up():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"unknown": 0, "a": 1}, unk_token="unknown"))
    with pytest.raises(NotApplicable, match=r"no control token, such as <\|endoftext\|>, to fill up prompts with"):
        fill_token(PreTrainedTokenizerFast(tokenizer_object=words))


def test_what_is_unknown_shows_in_what_becomes_of_a_text(smollm2_tokenizer, gpt2_tokenizer):
    """Tokenizers that spell by bytes know everything, though they name a token for the unknown."""
    for tokenizer in (smollm2_tokenizer, gpt2_tokenizer):
        assert tokenizer.unk_token_id is not None
        assert unknown_token(tokenizer) is None
        check_known(tokenizer, [tokenizer.unk_token_id], "it")
    unnamed = made(["a", "<unk>"])
    assert unnamed.unk_token_id is None
    assert unknown_token(unnamed) == 1
    with pytest.raises(UsageError, match="it has the token id 1, which is '<unk>'"):
        check_known(unnamed, [1], "it")
