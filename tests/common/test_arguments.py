"""Arguments of the wrong kind or value get a sentence: what was passed, and what may be."""

import re
import resource
from collections import Counter
from typing import get_args

import numpy as np
import pytest
import torch
from bad_arguments import LIMIT, bad_arguments, outcome, valid_calls
from models import experiment_on

import pytest_interp
from pytest_interp import (
    Experiment,
    Head,
    Metric,
    NotApplicable,
    UsageError,
    assert_ablation_effect,
    assert_accuracy,
    assert_attention,
    assert_copy_score,
    assert_direct_logit_attribution,
    assert_faithfulness,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_some_head,
    assert_top,
    assert_top_k,
    from_ids,
    measure,
    tasks,
)
from pytest_interp.common import arguments
from pytest_interp.tasks import repeated_tokens


@pytest.fixture(scope="module")
def on(planted):
    return experiment_on(planted, 8)


@pytest.fixture(scope="module")
def calls(planted, on, request):
    try:
        tokenizer = request.getfixturevalue("gpt2_tokenizer")
    except pytest.skip.Exception:
        tokenizer = planted.tokenizer
    random_tokens = Experiment(
        planted, repeated_tokens(planted.tokenizer, length=6, n=2, seed=1, bos=True, complete=True)
    )
    return valid_calls(on, experiment_on(planted, 8, "find"), random_tokens, tokenizer)


def test_every_public_function_has_a_valid_call(calls):
    """Else nothing below would say anything of it."""
    there = {call.name.partition(" ")[2] for call in calls}
    public = {name for name in pytest_interp.__all__ if name.startswith("assert_")}
    for home in (measure, tasks):
        public |= {name for name in home.__all__ if name[0].islower()}
    assert public <= there
    outcomes = {call.name: outcome(call) for call in calls}
    raw = {name: text for name, (kind, text) in outcomes.items() if kind == "raw"}
    assert not raw
    refused = {name for name, (kind, _) in outcomes.items() if kind == "refused"}
    # An attention-only model whose first head has no OV circuit; words that a tokenizer of 179 words lacks.
    assert {name for name in refused if not name.startswith("tasks")} <= {"measure ov_eigenvalue_score"}


@pytest.mark.parametrize("count", [2000, pytest.param(4000, marks=pytest.mark.thorough)])
def test_one_bad_argument_gives_a_sentence_or_a_result(calls, count):
    """No other exception, no more than two seconds, and no memory to speak of."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts, wrong = Counter(), []
    for call in bad_arguments(calls, seed=1, count=count):
        kind, text = outcome(call)
        counts[kind] += 1
        if kind in ("raw", "slow"):
            wrong.append(f"{call.name}, {call.bad}: {text}")
        if kind == "refused":
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), call.bad
            assert 0 < len(text) < 2_100, call.bad
    assert not wrong, wrong[:5]
    assert counts["refused"] > 0.75 * count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024  # kilobytes


def test_the_test_can_fail(calls):
    """A function that checks nothing is seen."""

    def careless(run):
        return run.upper() + " "

    call = calls[0].__class__("careless", careless, {"run": 5})
    assert outcome(call) == ("raw", "AttributeError: 'int' object has no attribute 'upper'")
    assert LIMIT == 2


@pytest.mark.parametrize("name", sorted(arguments.WORDS))
def test_words_that_are_known_without_torch_are_those_of_their_modules(name):
    from pytest_interp.checkpoints import value_bias
    from pytest_interp.engine import patch
    from pytest_interp.measure import detectors, patching, path_patching
    from pytest_interp.tasks import positions

    (literal,) = {
        getattr(home, name) for home in (value_bias, patch, positions, detectors, path_patching, patching) if
        name in vars(home) and (home is not path_patching or name in ("Into", "MLPs"))
    }  # fmt: skip
    assert get_args(literal) == arguments.WORDS[name]


IOI = "experiment is {}; pass an Experiment (a checkpoint on a data set), such as the fixture `ioi`"


@pytest.mark.parametrize("function", [assert_accuracy, measure.accuracy, measure.loss, measure.head_norms])
@pytest.mark.parametrize("what", ["checkpoint", "data", "none", "text"])
def test_what_is_no_experiment(on, function, what):
    """Of an assertion and of a measurement, before anything is asked of it."""
    value = {"checkpoint": on.checkpoint, "data": on.data, "none": None, "text": "ioi"}[what]
    bound = {"at_least": 0.5} if function is assert_accuracy else {}
    with pytest.raises(UsageError, match="^experiment is .*pass an Experiment .*such as the fixture `ioi`"):
        function(value, **bound)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda on: assert_copy_score(on, "3.0", names=["Mary"], at_least=0.5),
         "checkpoint is <Experiment planted-ioi on ioi/confirm, 8 prompts>; pass a Checkpoint, such as the fixture"),
        (lambda on: measure.copy_score(None, "3.0", names=["Mary"]), "checkpoint is None; pass a Checkpoint"),
        (lambda on: assert_top_k(on, True, at_least=0.5), "k is True; pass a whole number"),
        (lambda on: assert_top_k(on, "5", at_least=0.5), "k is '5'; pass a whole number"),
        (lambda on: assert_top_k(on, 2.5, at_least=0.5), "k is 2.5; pass a whole number"),
        (lambda on: assert_top_k(on, 0, at_least=0.5), "k is 0; allowed: 1 to 178"),
        (lambda on: assert_top_k(on, -1, at_least=0.5), "k is -1; allowed: 1 to 178"),
        (lambda on: assert_top_k(on, 999, at_least=0.5), "k is 999; allowed: 1 to 178"),
        (lambda on: measure.copy_score(on.checkpoint, "3.0", names="Mary"), "names is 'Mary'; pass a list of strings"),
        (lambda on: measure.copy_score(on.checkpoint, "3.0", names=[]), "a copy score needs names"),
        (lambda on: measure.copy_score(on.checkpoint, "3.0", names=[5]), r"names is \[5\]; pass a list of strings"),
        (lambda on: measure.copy_score(on.checkpoint, "3.0", names=None), "names is None; pass a list of strings"),
        (lambda on: measure.attention(on, "2.0", at="EDN", to="IO"), "has no position 'EDN'; .*nearest: END"),
        (lambda on: measure.attention(on, "2.0", at=None, to="IO"), "at is None; pass a string"),
        (lambda on: measure.attention(on, "2.0", at="END", to=["IO"]), r"to is \['IO'\]; pass a string"),
        (lambda on: measure.attention(on, "2.0", at="END", to="IO", minus="S1"), "minus is 'S1'; pass a list"),
        (lambda on: assert_attention(on, "2.0", at="END", to="IO", minus=3), "minus is 3; pass a list"),
        (lambda on: measure.ablation_effect(on, "3.0", ablation="zero", at=object), "at is <class 'object'>; pass the"),
        (lambda on: measure.next_token(on, 5), "metric is 5; pass a Metric or a string"),
        (lambda on: measure.next_token(on, None), "metric is None; pass a Metric or a string"),
        (lambda on: measure.next_token(on, "logprob"), "'logprob' is no metric; .*nearest: log_prob"),
        (lambda on: measure.minimality(on, "3.0", ["3.0"], metric="logits"),
         "metric is 'logits'; allowed: 'of_model', 'logit_diff'; nearest: logit_diff"),
        (lambda on: measure.source_attribution_sweep(on, "IO", of="answers"),
         "of is 'answers'; allowed: 'answer', 'logit_diff'; nearest: answer"),
        (lambda on: measure.accuracy(on, run=None), "run is None; pass a string"),
        (lambda on: measure.accuracy(on, run="s2-exchange"), "no corruption 's2-exchange'; .*nearest: s2-exchanged"),
        (lambda on: measure.flips(on, ["abc"]), r"corruption is \['abc'\]; pass a string"),
        (lambda on: assert_direct_logit_attribution(on, "3.0", value_bias=True, at_least=0),
         "value_bias is True; allowed: 'kept', 'removed'"),
        (lambda on: assert_ablation_effect(on, "3.0", ablation=0, at_least=0), "ablation is 0; allowed: 'mean',"),
        (lambda on: assert_head_patch_effect(on, "3.0", direction="noisy", at_least=0),
         "direction is 'noisy'; allowed: 'denoise', 'noise'; nearest: noise"),
        (lambda on: Experiment(on.checkpoint, on.data, seed=None), "seed of Experiment is None; pass a whole number"),
        (lambda on: Experiment(on.checkpoint, on.checkpoint), "data of Experiment is .*; pass a DataSet"),
        (lambda on: assert_accuracy(on, controls=10**9, at_least=0.5),
         "1000000000 controls of the kind same_layer were asked for; allowed: 0 to 20, the heads of planted-ioi"),
        (lambda on: assert_accuracy(on, controls=True, at_least=0.5), "controls is True; pass a number of heads, or"),
        (lambda on: assert_faithfulness(on, ["3.0"], controls=-1, at_least=0), "-1 controls of the kind same_layer"),
        (lambda on: assert_accuracy(on, at_least=None), "got none"),
        (lambda on: assert_accuracy(on, at_least=float("nan")), "at_least=nan is not a finite number"),
        (lambda on: assert_accuracy(on, at_least=10**400), "at_least=10+.* is not a finite number"),
        (lambda on: assert_accuracy(on, at_least="0.5"), "at_least='0.5' is not a finite number"),
        (lambda on: assert_accuracy(on, at_least=(0.5,)), r"at_least=\(0.5,\): pass one number"),
        (lambda on: assert_accuracy(on, at_least=b"x"), "at_least=b'x' is not a finite number"),
        (lambda on: assert_accuracy(on, near=0.5), "near=0.5: pass a pair of numbers"),
        (lambda on: assert_accuracy(on, near=(0.5, -1)), "accepts nothing: the tolerance is negative"),
        (lambda on: assert_accuracy(on, at_least=0.5, at_most=1), "got at_least, at_most"),
        (lambda on: assert_accuracy(on, at_least=0.5, controls=1, controls_at_most="a"), "controls_at_most='a' is not"),
        (lambda on: assert_logit_diff(on, knocked_out=0, at_least=0), "0 is not a head"),
        (lambda on: assert_some_head(on, found_on=on, to="IO", minus=(), names=["a"], copy_at_least=-1),
         "copy_at_least is -1; a copy score is a share: pass 0 to 1"),
        (lambda on: measure.next_tokens(on.checkpoint, "Mary " * 500), "the text has 501 tokens, and planted-ioi"),
        (lambda on: tasks.ioi(on.checkpoint.tokenizer, half="confirm", n=10**9, seed=0, bos=True),
         "n is 1000000000; pass a whole number up to 100000"),
        (lambda on: tasks.ioi(None, half="confirm", n=2, seed=0, bos=True), "tokenizer is None; pass a Hugging Face"),
        (lambda on: tasks.ioi(on.checkpoint.tokenizer, half="confirm", n=2, seed="a", bos=True), "seed is 'a'; pass a"),
        (lambda on: measure.prompt_copy_score(on, "3.0", at=[]), "at is empty; pass at least one"),
        (lambda on: measure.attention_write_correlation(on, "4.0", to=()), "to is empty; pass at least one"),
        (lambda on: assert_top(measure.direct_logit_attribution_sweep(on), torch.tensor(1)),
         r"cells is tensor\(1\); pass a cell"),
        (lambda on: Metric(["rank"]), r"score of Metric is \['rank'\]; pass a string"),
        (lambda on: pytest_interp.check(None, None, prompts="9"), "prompts is '9'; pass a whole number"),
    ],
)  # fmt: skip
def test_sentences(on, ask, sentence):
    with pytest.raises(UsageError, match=sentence):
        ask(on)


@pytest.mark.parametrize(
    ("heads", "sentence"),
    [
        (("a", "b"), "'a' is not a head; write '9.9', 'L9H9' or"),
        ("9", "'9' is not a head; write '9.9', 'L9H9' or"),
        ("9.9.9", "'9.9.9' is not a head"),
        ("-1.0", "'-1.0' is not a head"),
        ("\u0663.\u0663", "is not a head; write"),
        (9.9, "9.9 is not a head; write '9.9'"),
        ([], "an empty set of heads"),
        (["3.0", "3.0"], "3.0 is named twice"),
        ("99.0", "planted-ioi has no head 99.0: its layers are 0 to 4"),
        (None, "None is not a head"),
        ((1, 2.5), "layer 1, head 2.5 is not a head"),
        ((1, "a"), "layer 1, head 'a' is not a head"),
        ([True, 1], "True is not a head"),
        ({"a": 1}, "{'a': 1} is not a head"),
        (torch.tensor(1), r"tensor\(1\) is not a head"),
        (np.zeros(2), r"np.float64\(0.0\) is not a head"),
    ],
)
def test_what_is_no_head(on, heads, sentence):
    """In a measurement and in its assertion alike; ``"3.0"`` where several may stand is that one head."""
    with pytest.raises(UsageError, match=sentence):
        measure.direct_logit_attribution(on, heads)
    with pytest.raises(UsageError, match=sentence):
        assert_direct_logit_attribution(on, heads, at_least=0)
    assert measure.direct_logit_attribution(on, "3.0") == measure.direct_logit_attribution(on, [Head(3, 0)])


def test_prompts_longer_than_the_model_reads(gpt2_like):
    """They were an index error deep in the model."""
    name = tasks.single_token_names(gpt2_like.tokenizer)[0]
    long = tasks.repeated_tokens(gpt2_like.tokenizer, length=40, n=2, seed=0, bos=True, complete=True)
    with pytest.raises(
        UsageError, match=r"a prompt of repeated-tokens/40 has 81 tokens, and gpt2-like reads at most 64; pass"
    ):
        Experiment(gpt2_like, long)
    with pytest.raises(UsageError, match="the text has 201 tokens, and gpt2-like reads at most 64"):
        measure.next_tokens(gpt2_like, f"{name} " * 200)


def test_tokens_of_another_vocabulary(planted, gpt2_tokenizer):
    ids = gpt2_tokenizer("Paris is a city", add_special_tokens=False)["input_ids"]
    data = from_ids(
        gpt2_tokenizer, clean=[ids[:-1]], answers=[ids[-1]], distractors=[ids[0]], texts=["Paris is a"], bos=False,
        population="fixed",
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="task has the token id .*, and planted-ioi has 0 to 178: its ids belong"):
        Experiment(planted, data)


def test_several_positions_may_be_a_list(on):
    """A list of positions has no hash and was an error of Python's."""
    listed = measure.ablation_effect(on, "3.0", ablation="zero", at=["S2", "END"])
    assert listed.values == measure.ablation_effect(on, "3.0", ablation="zero", at=("S2", "END")).values
