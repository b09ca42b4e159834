"""What claims about IOI prompts share."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest


@pytest.fixture(scope="session")
def single_prompt(circuit) -> Mapping[str, Any]:
    """The bound on the logit difference of any single prompt: the circuit file's, else the answer wins.

    A fixture of the session, since Hypothesis refuses others.
    """
    role = None if circuit is None else circuit.roles.get("name_mover")
    return (role.bound("logit_diff", None) if role else {}) or {"at_least": 0}


@pytest.fixture(scope="session")
def padded(ioi):
    """The same prompts as no data set of this project has them: padded, as in notebooks, so that -1 is not END."""
    from pytest_interp.tasks.protocols import right_padded
    from pytest_interp.tasks.vocabulary import fill_token

    return replace(ioi, data=right_padded(fill_token(ioi.checkpoint.tokenizer))(ioi.data))
