import pytest

from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, KVHead, as_head, as_heads, names_of


@pytest.mark.parametrize("value", [Head(9, 6), "9.6", " 9.6 ", "L9H6", (9, 6)])
def test_four_ways_to_name_a_head(value):
    assert as_head(value) == Head(9, 6)
    assert as_heads(value) == (Head(9, 6),)


def test_a_head_that_is_named_twice():
    with pytest.raises(UsageError, match="9.6 is named twice in a set of 3 heads; name each head once"):
        as_heads(["9.6", "10.0", (9, 6)])


def test_heads_are_sorted():
    assert names_of(as_heads(["10.0", (9, 6), "9.10"])) == "9.6, 9.10, 10.0"


def test_a_key_value_head_is_not_a_query_head():
    assert str(KVHead(9, 1)) == "kv 9.1"
    with pytest.raises(UsageError, match="not a head"):
        as_head(KVHead(9, 1))


@pytest.mark.parametrize(
    "value", ["L9.6", "9H6", "L9H", "L-9H6", "l9h6", "9", "9.-1", "", (3, -4), (3,), (True, 1), 9.6, None]
)
def test_what_is_not_a_head_is_told_every_spelling(value):
    with pytest.raises(UsageError, match=r"is not a head; write '9\.9', 'L9H9' or \(9, 9\): layer and head, whole num"):
        as_head(value)


def test_no_heads_at_all():
    with pytest.raises(UsageError, match="empty set of heads"):
        as_heads([])
