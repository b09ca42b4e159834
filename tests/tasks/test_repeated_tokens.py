"""Tokens said twice."""

import pytest

from pytest_interp.errors import UsageError


def test_given_tokens_said_twice(planted):
    from pytest_interp.tasks import repeated_ids

    data = repeated_ids(planted.tokenizer, [[5, 9, 2], [7, 3, 8]], bos=True)
    assert data.clean.groups[0].tokens.tolist() == [[0, 5, 9, 2, 5, 9, 2], [0, 7, 3, 8, 7, 3, 8]]
    assert data.population == "fixed"
    with pytest.raises(UsageError, match=r"2 sequences of lengths \[1, 2\] were passed; pass at least one"):
        repeated_ids(planted.tokenizer, [[1], [1, 2]], bos=True)
