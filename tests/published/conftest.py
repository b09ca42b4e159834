"""Small GPT-2s with random weights: as a checkpoint of the package, and as the reference in numpy.

A test file says in its own fixture ``folder`` which model it is: ``saved_gpt2(tokenizer, layers, heads, width)``.
"""

import pytest
from gpt2_reference import Reference
from models import random_gpt2

from pytest_interp import Checkpoint, CheckpointSpec


@pytest.fixture(scope="module")
def saved_gpt2(tmp_path_factory):
    """``saved_gpt2(tokenizer, *shape)``: the folder of a model with random weights and its tokenizer."""

    def save(tokenizer, *shape, **options):
        folder = tmp_path_factory.mktemp("gpt2")
        random_gpt2(tokenizer, *shape, **options).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="module")
def checkpoint(folder):
    return Checkpoint(CheckpointSpec("small", "directory", str(folder), bos=True))


@pytest.fixture(scope="module")
def reference(folder):
    return Reference(folder)
