"""The plugin's fixtures for tasks beyond IOI. All that is heavy is imported inside the bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.plugin.session import session_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks.slots import Half


@pytest.fixture(scope="session")
def task(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """``task(sequences, half="find")``: the checkpoint on a task that draws from two halves of its wordings.

    Takes the functions ``sequences``, ``analogies``, ``surnames``, ``capitals`` of ``pytest_interp.tasks``; not
    applicable where the checkpoint's tokenizer cannot say them.
    """
    from pytest_interp.engine import Experiment

    options = session_of(request.config).options

    def build(draw: Callable[..., Any], *, half: Half = "confirm") -> Experiment:
        seed = 2 * options.seed + (half == "confirm")
        data = draw(checkpoint.tokenizer, half=half, n=options.prompts, seed=seed, bos=checkpoint.bos)
        return Experiment(checkpoint, data, seed=options.seed)

    return build


@pytest.fixture(scope="session")
def prompts(checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """``prompts("When ... gave a book to", " Mary", " John", bos=True)``: listed prompts, a fixed population.

    Prompts, answers and distractors are strings or equally long lists of them; ``corrupted`` and ``positions`` as in
    ``from_strings``, with a string for a list of one; ``bos`` by default as the checkpoint's other prompts.
    """
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import from_strings

    def several(value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def build(
        clean: Any,
        answers: Any,
        distractors: Any,
        *,
        bos: bool | None = None,
        corrupted: Mapping[str, Any] | None = None,
        positions: Mapping[str, Any] | None = None,
        name: str = "listed prompts",
    ) -> Experiment:
        data = from_strings(
            checkpoint.tokenizer,
            clean=several(clean),
            answers=several(answers),
            distractors=several(distractors),
            corrupted={key: several(value) for key, value in (corrupted or {}).items()},
            positions={key: several(value) for key, value in (positions or {}).items()},
            bos=checkpoint.bos if bos is None else bos,
            name=name,
            population="fixed",
        )
        return Experiment(checkpoint, data)

    return build


@pytest.fixture(scope="session")
def doubled_of(checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """``doubled_of([[5, 9, 2], ...], bos=False)``: given token ids, each sequence said twice: a fixed population."""
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import doubled_of as draw

    def build(sequences: Any, *, bos: bool = False) -> Experiment:
        return Experiment(checkpoint, draw(checkpoint.tokenizer, sequences, bos=bos))

    return build


@pytest.fixture(scope="session")
def sequences(task: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on sequences that go on. Corruptions: sequence-exchanged, last-changed, shuffled."""
    from pytest_interp.tasks import sequences as draw

    return task(draw)


@pytest.fixture(scope="session")
def analogies(task: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on what was said of two. Corruptions: kinds-, asked-, sentences-exchanged."""
    from pytest_interp.tasks import analogies as draw

    return task(draw)


@pytest.fixture(scope="session")
def surnames(task: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on surnames that were said before. Corruptions: surname, first-name, last-name."""
    from pytest_interp.tasks import surnames as draw

    return task(draw)


@pytest.fixture(scope="session")
def capitals(task: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on capitals that it knows. Corruption: country-exchanged."""
    from pytest_interp.tasks import capitals as draw

    return task(draw)


@pytest.fixture(scope="session")
def mentioned(task: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on IOI prompts that mention S once more. Corruption: io-mentioned (IO once more instead)."""
    from pytest_interp.tasks import mentioned as draw

    return task(draw)


@pytest.fixture(scope="session")
def repeated(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Experiment:
    """The checkpoint on random tokens said twice, up to the last. Corruption: first-copy-changed."""
    from pytest_interp.tasks import repeated as draw

    return _random_tokens(request, checkpoint, draw)


@pytest.fixture(scope="session")
def doubled(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Experiment:
    """The checkpoint on random tokens said twice in full, for the head detectors."""
    from pytest_interp.tasks import doubled as draw

    return _random_tokens(request, checkpoint, draw)


def _random_tokens(request: pytest.FixtureRequest, checkpoint: Checkpoint, draw: Callable[..., Any]) -> Experiment:
    from pytest_interp.engine import Experiment

    seed = session_of(request.config).options.seed
    length = min(50, (checkpoint.shape.n_ctx - 1) // 2)
    data = draw(checkpoint.tokenizer, length=length, n=16, seed=2 * seed + 1, bos=checkpoint.bos)
    return Experiment(checkpoint, data, seed=seed)
