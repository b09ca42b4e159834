"""What claims about IOI prompts share."""

from dataclasses import replace

import pytest


@pytest.fixture(scope="session")
def padded(ioi):
    """The same prompts as no data set of this project has them: padded, as in notebooks, so that -1 is not END."""
    from pytest_interp.tasks.protocols import right_padded
    from pytest_interp.tasks.vocabulary import fill_token

    return replace(ioi, data=right_padded(fill_token(ioi.checkpoint.tokenizer))(ioi.data))
