"""What all claims share: the one Hypothesis profile, and prompts of the tasks beyond IOI."""

import pytest
from hypothesis import settings

from pytest_interp import tasks
from pytest_interp.strategies import PROFILE

settings.register_profile("interp", PROFILE)
settings.load_profile("interp")


@pytest.fixture(scope="session")
def ioi_wordings(make_task):
    """The checkpoint on IOI prompts in 40 wordings; in 12 where its tokenizer knows no more. Corruptions as `ioi`."""
    return make_task(tasks.ioi_wordings)


@pytest.fixture(scope="session")
def sequences(make_task):
    """The checkpoint on sequences, such as of days. Corruptions: sequence-exchanged, last-changed, shuffled."""
    return make_task(tasks.sequences)


@pytest.fixture(scope="session")
def analogies(make_task):
    """The checkpoint on analogies. Corruptions: kinds-exchanged, asked-exchanged, sentences-exchanged."""
    return make_task(tasks.analogies)


@pytest.fixture(scope="session")
def surnames(make_task):
    """The checkpoint on surnames that the prompt has said before. Corruptions: surname, first-name, last-name."""
    return make_task(tasks.surnames)


@pytest.fixture(scope="session")
def capitals(make_task):
    """The checkpoint on capitals of countries. Corruption: country-exchanged."""
    return make_task(tasks.capitals)


@pytest.fixture(scope="session")
def extra_mention(make_task):
    """The checkpoint on IOI prompts that mention S once more. Corruption: io-mentioned (IO once more instead)."""
    return make_task(tasks.ioi_extra_mention)
