"""What claims about IOI prompts share."""

from dataclasses import replace

import pytest


@pytest.fixture(scope="session")
def padded(ioi):
    """The same prompts as no data set of this project has them: padded, as in notebooks, so that -1 is not END."""
    from pytest_interp.tasks.protocols import right_padded

    return replace(ioi, data=right_padded(ioi.checkpoint.tokenizer.eos_token_id)(ioi.data))
