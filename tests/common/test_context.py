"""Contexts: fields that decide on mutants cannot be left out, and a record gives the context back."""

import json

import pytest
from records import record

from pytest_interp import UsageError
from pytest_interp.common.context import NO_CONTEXT, Ablated, CheckpointIdentity, Context, DataIdentity, Exchanged
from pytest_interp.heads import Head, KVHead
from pytest_interp.ledger.record import Record

WHERE = {
    "checkpoint": CheckpointIdentity("gpt2", "abc", "float32", "cpu", "tf32"),
    "data": DataIdentity("ioi", "def", bos=True, n=4, seed=None, remarks=("few",)),
}
CONTEXTS = [
    NO_CONTEXT,
    Context(**WHERE, heads=(Head(9, 9),), intervention=Ablated("mean", None), metric="kl at END", run="clean"),
    Context(**WHERE, heads=None, intervention=Ablated("zero", ()), metric=None, at=["S2", "END"], left_out=2),
    Context(
        **WHERE, heads=None, intervention=Ablated("zero", (Head(0, 1),)), metric=None, observation="head", cached=True
    ),
    Context(
        checkpoint=CheckpointIdentity("gpt2", "abc", "float32", "cpu", words="shared by the tokenizers of two"),
        data=DataIdentity("ioi", "def", bos=True, n=4, seed=1, texts="123"),
        heads=None,
        intervention=None,
        metric=None,
    ),
    Context(
        **WHERE,
        heads=(KVHead(1, 0),),
        intervention=Exchanged("abc", "noise"),
        metric="recovered",
        kv_heads={KVHead(1, 0): (Head(1, 0), Head(1, 1))},
        claim="some_head",
        extra={"passes_from": "whole"},
    ),
]


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_record_gives_the_context_back(context):
    assert Context.from_json(json.loads(json.dumps(context.to_json()))) == context


def test_what_there_is_none_of_has_no_key():
    assert NO_CONTEXT.to_json() == {}
    assert "knocked_out" not in CONTEXTS[1].to_json()
    assert CONTEXTS[2].to_json()["knocked_out"] == []


def test_a_ledger_gives_the_record_back():
    """The ledger has the context under ``about``, with the keys that snapshots and reports read there."""
    for context in CONTEXTS:
        written = record(context=context)
        table = json.loads(json.dumps(written.to_json()))
        assert table["about"] == json.loads(json.dumps(context.to_json()))
        assert "context" not in table
        assert Record.from_json(table) == written


def test_further_facts_cannot_replace_a_field():
    assert NO_CONTEXT.noting(n=3).to_json() == {"n": 3}
    for name in ("heads", "checkpoint", "data_hash", "n"):
        with pytest.raises(UsageError, match=name):
            CONTEXTS[1].noting(**{name: 3})


@pytest.mark.parametrize("field", ["checkpoint", "data", "heads", "intervention", "metric"])
def test_what_decides_the_mutants_cannot_be_forgotten(field):
    fields = dict.fromkeys({"checkpoint", "data", "heads", "intervention", "metric"} - {field})
    with pytest.raises(TypeError, match=field):
        Context(**fields)
    with pytest.raises(TypeError, match="knocked_out"):
        Ablated("mean")
