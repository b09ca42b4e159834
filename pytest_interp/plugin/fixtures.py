"""The plugin's fixtures. All that is heavy is imported inside the bodies and computed on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.errors import UsageError
from pytest_interp.plugin.session import session_of

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.circuit import Circuit
    from pytest_interp.engine import Experiment
    from pytest_interp.heads import Head
    from pytest_interp.tasks.slots import Half


@pytest.fixture(scope="session")
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """The model with weights that a claim is judged on: loaded once, frozen, in eval mode, preflighted.

    Claims get one after the other every checkpoint that has a circuit file and whose weights are here, or those
    that --interp-model names. ``checkpoint.circuit`` has its roles and heads.
    """
    from pytest_interp.plugin.selection import Target

    target = getattr(request, "param", None)
    if not isinstance(target, Target):
        raise UsageError("the fixture `checkpoint` is for claims: mark the test with @pytest.mark.claim(source=...)")
    return session_of(request.config).load(target)


@pytest.fixture(scope="session")
def circuit(checkpoint: Checkpoint) -> Circuit | None:
    """The roles and heads asserted on the checkpoint, from its circuit file or --interp-circuit; None if none."""
    return checkpoint.circuit


@pytest.fixture
def head() -> Head:
    """One head of the claim's role; a claim that asks for it runs once for each head of the circuit."""
    raise UsageError("`head` is for claims with a role: @pytest.mark.claim(source=..., role='name_mover')")


@pytest.fixture
def heads() -> tuple[Head, ...]:
    """All heads of the claim's role in the checkpoint's circuit."""
    raise UsageError("`heads` is for claims with a role: @pytest.mark.claim(source=..., role='name_mover')")


@pytest.fixture
def bound(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Callable[..., Mapping[str, Any]]:
    """``**bound("copy_score", at_least=0.8)``: the circuit file's bound for this head or role, else this default."""
    from pytest_interp.plugin.selection import claim_of

    claim = claim_of(request.node)
    params = getattr(request.node, "callspec", None)
    this_head = params.params.get("head") if params is not None else None

    def choose(quantity: str, **default: Any) -> Mapping[str, Any]:
        roles = {} if checkpoint.circuit is None else checkpoint.circuit.sections
        role = roles.get(claim.role) if claim is not None and claim.role is not None else None
        return (role.bound(quantity, this_head) if role is not None else {}) or default

    return choose


@pytest.fixture(scope="session")
def ioi_with(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """``ioi_with(half="confirm", bos=False)``: a sample of IOI prompts with other choices than the fixture ``ioi``."""
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import ioi as ioi_data

    options = session_of(request.config).options

    def build(*, half: Half = "confirm", bos: bool | None = None) -> Experiment:
        # The two halves share no template, no name and no seed.
        seed = 2 * options.seed + (half == "confirm")
        bos = checkpoint.bos if bos is None else bos
        data = ioi_data(checkpoint.tokenizer, half=half, n=options.prompts, seed=seed, bos=bos)
        return Experiment(checkpoint, data, seed=options.seed)

    return build


@pytest.fixture(scope="session")
def ioi(ioi_with: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on IOI prompts of the confirming half: what claims are judged on.

    Corruptions: ``s2-exchanged``, ``names-exchanged``, ``abc``, ``random-names``. Positions: IO, S1, S1+1, S2, END.
    """
    return ioi_with(half="confirm")


@pytest.fixture(scope="session")
def ioi_find(ioi_with: Callable[..., Experiment]) -> Experiment:
    """The checkpoint on IOI prompts of the finding half: other templates, names and seed, to look for heads on."""
    return ioi_with(half="find")


@pytest.fixture(scope="session")
def ioi_of(checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """``ioi_of(("Mary", "John"), ...)``: given (IO, S) pairs over all templates of the confirming half, both orders."""
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import ioi_grid

    def build(*pairs: tuple[str, str]) -> Experiment:
        return Experiment(checkpoint, ioi_grid(checkpoint.tokenizer, pairs, half="confirm", bos=checkpoint.bos))

    return build


@pytest.fixture(scope="session")
def ioi_prompt(checkpoint: Checkpoint) -> Callable[..., Experiment]:
    """``ioi_prompt(io="Mary", s="John", wording=0, order="ABBA", place=0, thing=0)``: one prompt, as it is chosen."""
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import ioi_prompt as one

    def build(**choices: Any) -> Experiment:
        return Experiment(checkpoint, one(checkpoint.tokenizer, half="confirm", bos=checkpoint.bos, **choices))

    return build


@pytest.fixture(scope="session")
def p8(checkpoint: Checkpoint) -> Experiment:
    """The checkpoint on the eight prompts of the published GPT-2 figures, with BOS as there: a fixed population."""
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks import p8 as p8_data

    return Experiment(checkpoint, p8_data(checkpoint.tokenizer, bos=True))


@pytest.fixture(scope="session")
def ioi_cache(ioi: Experiment) -> Callable[..., list[Tensor]]:
    """``ioi_cache("z", layer=9, run="clean")``: activations of the confirming half, one tensor for each token length.

    Computed on first use and kept (up to a GB); held is what was asked for, and what heads attend to.
    """

    def activations(site: str, *, layer: int, run: str = "clean") -> list[Tensor]:
        return ioi.activation(ioi.checkpoint.sites.hook(site, layer), run)

    return activations


@pytest.fixture(scope="session")
def names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """First names of the confirming half that are single tokens here; no head was found on them."""
    from pytest_interp.tasks import single_token_names

    return single_token_names(checkpoint.tokenizer, "confirm")


@pytest.fixture(scope="session")
def top_heads(ioi_find: Experiment) -> tuple[Head, ...]:
    """The three heads that write most of the answer, found on the finding half: no circuit file needed."""
    from pytest_interp.measure import direct_logit_attribution_sweep

    table = direct_logit_attribution_sweep(ioi_find)
    return tuple(sorted(table, key=lambda head: -table[head].value)[:3])


@pytest.fixture(scope="session")
def interp_seed(request: pytest.FixtureRequest) -> int:
    """The seed of --interp-seed, for a claim's own draws (``random.Random(interp_seed)``, never the global one)."""
    return session_of(request.config).options.seed
