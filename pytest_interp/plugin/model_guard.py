"""What a claim leaves behind on the models that it has in hand: looked for, named, and put back."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_interp.common.compat import argument_names, fixture_definitions
from pytest_interp.plugin.deselection import target_name


def undone_later(item: pytest.Function) -> bool:
    """Whether what a claim changes may be put back only after its body, by a fixture of the function's scope."""
    if "monkeypatch" in item.fixturenames or "request" in argument_names(item):
        return True
    ours = ("_pytest.", "pytest_interp.", "syrupy")
    return any(
        definition.scope == "function"
        and ("xunit" in definition.argname or not str(definition.func.__module__).startswith(ours))
        for definitions in fixture_definitions(item).values()
        for definition in definitions
    )


def checkpoints_of(item: pytest.Function) -> list[Any]:
    """The checkpoints that a claim has in hand, its own fixtures' among them."""
    values = [getattr(value, "checkpoint", value) for value in (getattr(item, "funcargs", None) or {}).values()]
    return list({id(value): value for value in values if hasattr(value, "changes_since_load")}.values())


def assign(item: pytest.Function, checkpoint: Any) -> None:
    """Sets the circuit and BOS choice of the claim's checkpoint, whatever another claim has set."""
    from pytest_interp.plugin.session import session_of

    target = getattr(getattr(item, "callspec", None), "params", {}).get("checkpoint")
    if checkpoint is not None and target is not None:
        session_of(item.config).assign(checkpoint, target)


def check_untouched(item: pytest.Item) -> None:
    """Refuses to run a claim whose fixtures may change the model, where something else has changed it before them."""
    if not isinstance(item, pytest.Function) or not undone_later(item):
        return
    from pytest_interp.errors import UsageError
    from pytest_interp.plugin.session import session_of

    checkpoint = session_of(item.config).loaded(target_name(item))
    if checkpoint is not None and (left := restore(checkpoint, by="something before it")):
        raise UsageError(f"{item.name} was not run: {left}. Run it again, and let tests undo what they change")


def restore(*checkpoints: Any, by: str = "the claim") -> str:
    """Makes models what they were where a claim changed them, and says so; empty where it did not."""
    said = [text for checkpoint in checkpoints if (text := _restored(checkpoint, by))]
    return "; ".join(said)


def _restored(checkpoint: Any, by: str) -> str:
    from pytest_interp.errors import Unavailable, UsageError

    if not checkpoint.guard.has_model or not (left := checkpoint.changes_since_load()):
        return ""
    try:
        done = checkpoint.restore()
    except (UsageError, Unavailable) as error:
        done = f"it cannot be loaded anew: {error}"
    return f"{by} left {' and '.join(left)} on {checkpoint.name}; {done}"
