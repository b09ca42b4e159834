"""What a person reads of a value in a notebook or a debugger: one short line, with the numbers."""

import re

import pytest

from pytest_interp import Bound, Experiment, Head, judge
from pytest_interp.common.context import CheckpointIdentity, Context, DataIdentity
from pytest_interp.measure import direct_logit_attribution, direct_logit_attribution_sweep, logit_diff
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.table import heads_table
from pytest_interp.tasks import from_strings

NUMBER = r"-?\d+\.\d{3}"


CONTEXT = Context(
    checkpoint=CheckpointIdentity("gpt2", "0" * 12, "float32", "cpu"),
    data=DataIdentity("ioi/find", "0" * 12, False, 1, 0),
    heads=(Head(9, 9), Head(9, 6)), intervention=None, metric=None, observation="name",
)  # fmt: skip


def measured(*values, scale=(), **more):
    labels = tuple(f"a long label of prompt {i}" * 9 for i in range(len(values)))
    return Measurement("effect", "logits", values, Sample(labels, labels, "fixed"), scale=scale, **more)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (measured(1.0, 3.0), "<Measurement effect = 2.000 logits, 2 prompts from 1.000 to 3.000, fixed>"),
        (measured(1.0), "<Measurement effect = 1.000 logits, 1 prompt, fixed>"),
        (measured(1.0, 3.0, scale=(2.0, 6.0)), "<Measurement effect = 0.500 logits, 2 prompts, fixed>"),
        (measured(1.0, 3.0, scale=(1.0, -1.0)), "<Measurement effect = undefined logits, 2 prompts, fixed>"),
        (
            measured(1.0, context=CONTEXT),
            "<Measurement effect of 9.9, 9.6 = 1.000 logits, 1 name, fixed; gpt2 on ioi/find>",
        ),
    ],
)
def test_a_measurement(value, text):
    assert repr(value) == text


def test_a_table_names_its_largest_cells():
    numbers = {Head(0, 1): 2.0, Head(1, 0): 1.0, Head(1, 1): -4.0}
    effects = {Head(0, 0): "nothing can change there"} | {head: measured(value) for head, value in numbers.items()}
    assert repr(heads_table(effects)) == (
        "<Table of effect (logits), 2 layers by 2 heads; largest: 1.1 -4.000, 0.1 2.000, 1.0 1.000; 1 undefined>"
    )


def test_a_table_with_a_cell_that_has_no_value():
    table = heads_table({Head(0, 0): measured(1.0, 3.0, scale=(1.0, -1.0)), Head(0, 1): measured(2.0)})
    assert repr(table) == "<Table of effect (logits), 1 layer by 2 heads; largest: 0.1 2.000>"


def test_a_verdict():
    verdict = judge(measured(1.0, 3.0), Bound.of(at_least=1.5))
    assert repr(verdict) == "<Verdict supported: effect = 2.000 logits, bound: at least 1.5, n = 2>"


def test_a_data_set(tokenizer):
    data = from_strings(
        tokenizer,
        clean=["When Mary and John arrived", "When Mary and John arrived at the market"],
        answers=[" so", " to"],
        distractors=[" to", " so"],
        corrupted={"same": ["When Mary and Paul arrived", "When Mary and John arrived at the farm"]},
        positions={"FIRST": ["Mary", "Mary"]},
        reference=["When Tom and Amy arrived", "When Tom and Amy arrived at the farm"],
        bos=True,
        population="fixed",
    )
    assert repr(data) == (
        "<DataSet task: 2 prompts of 6 to 9 tokens (BOS), fixed; corrupted: same; positions FIRST, END; reference of 2>"
    )
    assert repr(data.clean) == "<PromptSet of 2 prompts of 6 to 9 tokens (BOS): 'When Mary and John arrived' ...>"


def test_what_is_measured_on_a_model(planted_ioi: Experiment):
    n = len(planted_ioi.data.clean)
    assert repr(planted_ioi) == f"<Experiment planted-ioi on ioi/confirm, {n} prompts>"
    assert repr(planted_ioi.data).startswith(f"<DataSet ioi/confirm: {n} prompts of ")
    attribution = direct_logit_attribution(planted_ioi, "L3H0")
    prompts = rf"{n} prompts from {NUMBER} to {NUMBER}"
    pattern = (
        rf"<Measurement direct_logit_attribution of 3\.0 = {NUMBER} logits, {prompts}, sampled; planted-ioi on ioi/conf"
    )
    assert re.match(pattern, repr(attribution))
    verdict = judge(logit_diff(planted_ioi), Bound.of(at_least=1))
    interval = rf"\[{NUMBER}, {NUMBER}\]"
    assert re.match(
        rf"<Verdict supported: logit_diff = {NUMBER} {interval} logits, bound: at least 1, n = {n}", repr(verdict)
    )
    for value in (
        planted_ioi,
        planted_ioi.data,
        planted_ioi.data.clean,
        attribution,
        verdict,
        direct_logit_attribution_sweep(planted_ioi),
    ):
        assert len(repr(value)) < 340
        assert "\n" not in repr(value)
