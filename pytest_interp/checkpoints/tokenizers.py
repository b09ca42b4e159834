"""The tokenizers of checkpoints without their weights, and the words that they share."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_interp.checkpoints.planted.build import planted_tokenizer
from pytest_interp.checkpoints.sources.model import load_tokenizer
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.tasks.ioi_words import NAMES
from pytest_interp.tasks.prompts import single_tokens
from pytest_interp.tasks.shared_words import SharedWords
from pytest_interp.tasks.vocabulary import vocabulary_of


def shared_words(specs: Sequence[CheckpointSpec]) -> SharedWords | None:
    """The words that checkpoints share; None where all have the same vocabulary, apart from control tokens.

    A checkpoint whose tokenizer cannot be had is left out: loading it says what is wrong with it.

    Args:
        specs: of the checkpoints that are compared.
    """
    tokenizers: dict[str, Any] = {}
    vocabularies: list[dict[str, int]] = []
    for spec in specs:
        try:
            tokenizer = tokenizer_of(spec)
            vocabulary = vocabulary_of(tokenizer)
        except Exception:  # a loader of the user's own may raise anything
            continue
        if vocabulary not in vocabularies:
            vocabularies.append(vocabulary)
            tokenizers[spec.name] = tokenizer
    if len(tokenizers) < 2:
        return None
    names = NAMES
    for tokenizer in tokenizers.values():
        names = single_tokens(tokenizer, names)
    owners = f"{', '.join(list(tokenizers)[:-1])} and {list(tokenizers)[-1]}"
    return SharedWords(
        tokenizers, f"shared by the tokenizers of {owners}: {len(names)} of {len(NAMES)} first names are left"
    )


def tokenizer_of(spec: CheckpointSpec) -> Any:
    """The tokenizer of a checkpoint, without its weights; what a loader of the user's own loads is dropped again.

    Args:
        spec: where its files are.

    Raises:
        Unavailable: the files cannot be had.
        UsageError: they cannot be read.
    """
    if spec.kind == "planted":
        with tempfile.TemporaryDirectory() as directory:
            return planted_tokenizer(Path(directory))
    if spec.loader is None:
        return load_tokenizer(spec)
    loaded = spec.loader()
    tokenizer = loaded[1] if isinstance(loaded, tuple) else loaded.tokenizer
    del loaded
    gc.collect()  # the parts of a bridge refer to each other; memory may not hold two models
    return tokenizer
