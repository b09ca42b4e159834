"""Words that several tokenizers share: all of them get the same texts."""

import pytest
from models import tokenizer_of_names

from pytest_interp import CheckpointSpec, UsageError
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.sources.model import load_tokenizer
from pytest_interp.checkpoints.tokenizers import shared_words, tokenizer_of
from pytest_interp.tasks import ioi, ioi_grid, single_token_names
from pytest_interp.tasks.ioi_words import NAMES
from pytest_interp.tasks.named import TASKS
from pytest_interp.tasks.shared_words import SharedTokenizer, SharedWords

PLANTED = known_specs()["planted-ioi"]


class Bridge:
    """What a loader of the user's own returns, as far as it is asked for."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer


@pytest.fixture
def other(tmp_path):
    """A tokenizer with 30 of the 40 names of planted models, 10 others, and all of them under other ids."""
    return tokenizer_of_names(tmp_path, [*NAMES[40:50], *NAMES[:30][::-1]])


def spec_of(tokenizer, name="other"):
    return CheckpointSpec(name, loader=lambda: Bridge(tokenizer))


def texts(run):
    return [(prompt.text, prompt.answer, prompt.distractor) for prompt in run.prompts]


def test_prompts_of_both_are_drawn_from_the_names_of_both(other):
    words = shared_words([PLANTED, spec_of(other)])
    assert (
        words.summary == f"shared by the tokenizers of planted-ioi and other: 30 of {len(NAMES)} first names are left"
    )
    first, second = (SharedTokenizer(tokenizer, words) for tokenizer in (tokenizer_of(PLANTED), other))
    assert single_token_names(first) == single_token_names(second) == NAMES[:30]
    choices = {"half": "confirm", "n": 24, "seed": 1, "bos": True}
    before, after = ioi(first, **choices), ioi(second, **choices)
    assert texts(before.clean) == texts(after.clean)
    assert before.texts == after.texts == ioi(second, **{**choices, "bos": False}).texts
    assert before.digest != after.digest  # the tokens are others
    assert before.texts != ioi(first, **{**choices, "seed": 2}).texts
    alone = [ioi(tokenizer, **choices) for tokenizer in (first.own, second.own)]
    assert texts(alone[0].clean) != texts(alone[1].clean)
    assert texts(ioi_grid(first, [("Mary", "John")], half="find", bos=True).clean) == texts(
        ioi_grid(second, [("Mary", "John")], half="find", bos=True).clean
    )


def test_it_is_its_own_tokenizer_in_all_else(other):
    shared = SharedTokenizer(other, shared_words([PLANTED, spec_of(other)]))
    assert (len(shared), shared.bos_token_id) == (len(other), other.bos_token_id)
    assert shared(" Mary", add_special_tokens=False) == other(" Mary", add_special_tokens=False)


def test_too_few_names_are_an_error_that_says_whose(tmp_path):
    few = tokenizer_of_names(tmp_path, [*NAMES[40:75], *NAMES[:5]])
    shared = SharedTokenizer(few, shared_words([PLANTED, spec_of(few, "few")]))
    sentence = f"only 2 of {len(NAMES) // 2} first names are single tokens of all of the tokenizers of planted-ioi, few"
    with pytest.raises(UsageError, match=sentence):
        ioi(shared, half="confirm", n=24, seed=1, bos=True)


def test_one_vocabulary_changes_nothing(tmp_path):
    def broken():
        raise RuntimeError("no such file")

    tokenizer_of(PLANTED).save_pretrained(tmp_path)  # a folder without weights
    with_pad = tokenizer_of(PLANTED)
    with_pad.add_tokens(["<|pad|>"])
    same = [CheckpointSpec("folder", "directory", str(tmp_path)), spec_of(with_pad, "with-pad")]
    assert shared_words([PLANTED, *same, CheckpointSpec("broken", loader=broken)]) is None


@pytest.fixture(scope="module")
def of_trained_models(gpt2_tokenizer):
    spec = known_specs()["smollm2-135m-instruct"]
    if reason := spec.missing():
        pytest.skip(reason)
    words = SharedWords({"gpt2": gpt2_tokenizer, spec.name: load_tokenizer(spec)}, "")
    return [SharedTokenizer(tokenizer, words) for tokenizer in words.tokenizers.values()]


@pytest.mark.parametrize("task", [name for name in TASKS if name != "copied_tokens"])
def test_every_task_asks_gpt2_and_smollm2_the_same(of_trained_models, task):
    """The two differ in names, and in digits: a space and a digit are one token of GPT-2, and two of SmolLM2."""
    drawn = [TASKS[task](tokenizer, half="confirm", n=24, seed=1, bos=False) for tokenizer in of_trained_models]
    assert len(drawn[0].clean) == len(drawn[1].clean) > 0
    assert drawn[0].texts == drawn[1].texts
    assert drawn[0].digest != drawn[1].digest
