"""A circuit discovered on the planted model, once for all tests of it."""

import pytest

from pytest_interp import Experiment
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.discovery import Question, discover
from pytest_interp.tasks import ioi


def asked(checkpoint, prompts=24):
    """Both halves of the IOI prompts on a checkpoint."""
    halves = [
        Experiment(checkpoint, ioi(checkpoint.tokenizer, half=half, n=prompts, seed=seed, bos=True))
        for seed, half in enumerate(("find", "confirm"))
    ]
    return Question(*halves, "ioi")


@pytest.fixture(scope="session")
def ask():
    return asked


@pytest.fixture(scope="session")
def question(planted):
    return asked(planted)


@pytest.fixture(scope="session")
def said():
    """The lines of progress."""
    return []


@pytest.fixture(scope="session")
def proposal(question, said):
    return discover(question, Budget(say=said.append))
