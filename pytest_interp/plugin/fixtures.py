"""The plugin's fixtures. All that is heavy is imported inside the bodies and computed on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.errors import UsageError
from pytest_interp.plugin.session import session_of
from pytest_interp.text import counted

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.circuit import Circuit
    from pytest_interp.engine import Experiment
    from pytest_interp.heads import Head
    from pytest_interp.plugin.options import Options
    from pytest_interp.tasks.dataset import DataSet
    from pytest_interp.tasks.slots import Half

# ---- the model, its circuit, and what the claim's marker selects


@pytest.fixture(scope="session")
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """The model that a claim is judged on: loaded once, frozen, in eval mode, checked: ``checkpoint.circuit``.

    A claim runs on every checkpoint that has a circuit file and whose weights are here, or on those that
    --interp-model names.
    """
    from pytest_interp.plugin.selection import Target

    target = getattr(request, "param", None)
    if not isinstance(target, Target):
        raise UsageError("the fixture `checkpoint` is for claims: mark the test with @pytest.mark.claim(source=...)")
    return session_of(request.config).load(target)


@pytest.fixture(scope="session")
def circuit(checkpoint: Checkpoint) -> Circuit | None:
    """The checkpoint's circuit: ``circuit.role("name_mover").heads``.

    It comes from the checkpoint's circuit file, or from that of --interp-circuit; None if there is none.
    """
    return checkpoint.circuit


@pytest.fixture
def head() -> Head:
    """One head of the claim's role, such as ``9.9``; the claim runs once for each head of the role."""
    raise UsageError("`head` is for claims with a role: @pytest.mark.claim(source=..., role='name_mover')")


@pytest.fixture
def heads() -> tuple[Head, ...]:
    """All heads of the claim's role in the checkpoint's circuit: ``heads[0]``."""
    raise UsageError("`heads` is for claims with a role: @pytest.mark.claim(source=..., role='name_mover')")


@pytest.fixture
def bound(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Callable[..., Mapping[str, Any]]:
    """The circuit file's bound for this head or role, else the default: ``**bound("copy_score", at_least=0.8)``."""
    from pytest_interp.plugin.claim_marker import claim_of

    claim = claim_of(request.node)
    params = getattr(request.node, "callspec", None)
    this_head = params.params.get("head") if params is not None else None

    def choose(quantity: str, **default: Any) -> Mapping[str, Any]:
        roles = {} if checkpoint.circuit is None else checkpoint.circuit.sections
        role = roles.get(claim.role) if claim is not None and claim.role is not None else None
        return (role.bound(quantity, this_head) if role is not None else {}) or default

    return choose


@pytest.fixture(scope="session")
def interp_seed(request: pytest.FixtureRequest) -> int:
    """The seed of --interp-seed, for a claim's own random choices: ``random.Random(interp_seed)``."""
    return session_of(request.config).options.seed


# ---- IOI prompts


@pytest.fixture(scope="session")
def make_ioi(make_task: Callable[..., Experiment]) -> Callable[..., Experiment]:
    """Makes IOI prompts with other choices than those of ``ioi``: ``make_ioi(half="confirm", bos=False)``.

    ``half`` is ``confirm`` (the default) or ``find``; ``bos`` is by default the checkpoint's choice.
    """
    from pytest_interp.tasks import ioi as draw

    def build(*, half: Half = "confirm", bos: bool | None = None) -> Experiment:
        return make_task(draw, half=half, bos=bos)

    return build


@pytest.fixture(scope="session")
def ioi(make_ioi: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on IOI prompts of the confirming half: ``assert_logit_diff(ioi, at_least=1)``.

    Corruptions: ``s2-exchanged``, ``names-exchanged``, ``abc``, ``random-names``. Positions: IO, S1, S1+1, S2, END.
    """
    return make_ioi(half="confirm")


@pytest.fixture(scope="session")
def ioi_find(make_ioi: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on IOI prompts of the finding half, to look for heads on: ``attention_sweep(ioi_find, ...)``.

    It shares no template, no name and no seed with ``ioi``, on which the heads are then confirmed.
    """
    return make_ioi(half="find")


@pytest.fixture(scope="session")
def make_ioi_pairs(checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """Makes IOI prompts with the (IO, S) pairs that are passed: ``make_ioi_pairs(("Mary", "John"))``.

    Each pair is in all templates of the confirming half, in both orders.
    """
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import ioi_grid

    def build(*pairs: tuple[str, str]) -> Experiment:
        return Experiment(checkpoint, ioi_grid(checkpoint.tokenizer, pairs, half="confirm", bos=checkpoint.bos))

    return build


@pytest.fixture(scope="session")
def make_ioi_prompt(checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """Makes one IOI prompt: ``make_ioi_prompt(io="Mary", s="John", wording=0, order="ABBA", place=0, thing=0)``."""
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import ioi_prompt

    def build(**choices: Any) -> Experiment:
        return Experiment(checkpoint, ioi_prompt(checkpoint.tokenizer, half="confirm", bos=checkpoint.bos, **choices))

    return build


@pytest.fixture(scope="session")
def p8(checkpoint: Checkpoint) -> Experiment:
    """The checkpoint on the eight IOI prompts of the published GPT-2 figures, with BOS: a fixed population."""
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import p8 as p8_data

    return Experiment(checkpoint, p8_data(checkpoint.tokenizer, bos=True))


@pytest.fixture(scope="session")
def names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """First names of the confirming half that are one token each: ``assert_copy_score(..., names=names, k=5)``."""
    from pytest_interp.tasks import single_token_names

    return _Names(single_token_names(checkpoint.tokenizer, "confirm"))


class _Names(tuple[str, ...]):
    """Names in a short form: pytest and Hypothesis print the arguments of a claim that fails."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'name')}, {self[0]} to {self[-1]}>" if self else "<no names>"


@pytest.fixture(scope="session")
def top_heads(ioi_find: Experiment) -> tuple[Head, ...]:
    """The three heads that write most of the answer on ``ioi_find``, on any checkpoint: ``top_heads[0]``."""
    from pytest_interp.measure import direct_logit_attribution_sweep

    table = direct_logit_attribution_sweep(ioi_find)
    return tuple(sorted(table, key=lambda head: -table[head].value)[:3])


# ---- other prompts


@pytest.fixture(scope="session")
def make_task(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """Makes prompts of a task of ``pytest_interp.tasks``: ``make_task(tasks.sequences, half="find")``.

    The tasks are ``ioi``, ``ioi_wordings``, ``ioi_extra_mention``, ``sequences``, ``analogies``, ``surnames`` and
    ``capitals``. ``half`` is ``confirm`` (the default) or ``find``; ``bos`` is by default the checkpoint's choice.
    """
    options = session_of(request.config).options

    def build(draw: Callable[..., DataSet], *, half: Half = "confirm", bos: bool | None = None) -> Experiment:
        return task_experiment(checkpoint, options, draw, half=half, bos=bos)

    return build


def task_experiment(
    checkpoint: Checkpoint, options: Options, draw: Callable[..., DataSet], *, half: Half, bos: bool | None = None
) -> Experiment:
    """Returns a checkpoint on prompts of a task, as the options of the run ask for them.

    Args:
        checkpoint: the model.
        options: with the number of prompts and the seed.
        draw: a function of ``pytest_interp.tasks``.
        half: of templates and names.
        bos: whether BOS stands before each prompt; None for the checkpoint's choice.
    """
    from pytest_interp.engine import Experiment

    # The two halves share no template, no name and no seed.
    seed = 2 * options.seed + (half == "confirm")
    bos = checkpoint.bos if bos is None else bos
    data = draw(checkpoint.tokenizer, half=half, n=options.prompts, seed=seed, bos=bos)
    return Experiment(checkpoint, data, seed=options.seed)


@pytest.fixture(scope="session")
def make_prompts(checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """Makes prompts from your own strings: ``make_prompts("Mary and John ... to", " Mary", " John", bos=True)``.

    They are a fixed population. Prompts, answers and distractors are strings or equally long lists of them;
    ``corrupted``, ``positions`` and ``reference`` are as in ``from_strings``, with a string for a list of one. ``bos``
    is by default the checkpoint's choice.
    """
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import from_strings

    def as_list(value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def build(
        clean: str | Sequence[str],
        answers: str | Sequence[str],
        distractors: str | Sequence[str],
        *,
        bos: bool | None = None,
        corrupted: Mapping[str, Any] | None = None,
        positions: Mapping[str, Any] | None = None,
        reference: str | Sequence[str] | None = None,
        name: str = "listed prompts",
    ) -> Experiment:
        data = from_strings(
            checkpoint.tokenizer,
            clean=as_list(clean),
            answers=as_list(answers),
            distractors=as_list(distractors),
            corrupted={key: as_list(value) for key, value in (corrupted or {}).items()},
            positions={key: as_list(value) for key, value in (positions or {}).items()},
            reference=as_list(reference),
            bos=checkpoint.bos if bos is None else bos,
            name=name,
            population="fixed",
        )
        return Experiment(checkpoint, data)

    return build


@pytest.fixture(scope="session")
def make_repeated_tokens(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """Makes random tokens that are repeated once: ``make_repeated_tokens(complete=False)``.

    With ``complete=True`` both copies are whole. With ``complete=False`` the second copy lacks its last token, which
    is the answer; corruption: ``first-copy-changed``.
    """
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import repeated_tokens as draw

    seed = session_of(request.config).options.seed
    length = min(50, (checkpoint.shape.n_ctx - 1) // 2)

    def build(*, complete: bool) -> Experiment:
        data = draw(checkpoint.tokenizer, length=length, n=16, seed=2 * seed + 1, bos=checkpoint.bos, complete=complete)
        return Experiment(checkpoint, data, seed=seed)

    return build


@pytest.fixture(scope="session")
def repeated_tokens(make_repeated_tokens: Callable[..., Experiment]) -> Experiment:
    """Random tokens, repeated once in full: ``assert_detector_score(repeated_tokens, head, "induction", ...)``."""
    return make_repeated_tokens(complete=True)
