"""Finds, names and undoes the changes that a claim leaves on the models of its fixtures."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_interp.common.compat import argument_names, fixture_definitions
from pytest_interp.plugin.deselection import target_name


def undone_later(item: pytest.Function) -> bool:
    """Returns whether a fixture of a claim may undo its changes only after the body, so that the check must wait.

    Args:
        item: the claim.

    Returns:
        True with ``monkeypatch``, with ``request`` (which can add finalizers), and with any function-scoped fixture
        that does not come with pytest, syrupy or this plugin.
    """
    if "monkeypatch" in item.fixturenames or "request" in argument_names(item):
        return True
    safe_modules = ("_pytest.", "pytest_interp.", "syrupy")
    return any(
        definition.scope == "function"
        and ("xunit" in definition.argname or not str(definition.func.__module__).startswith(safe_modules))
        for definitions in fixture_definitions(item).values()
        for definition in definitions
    )


def checkpoints_of(item: pytest.Function) -> list[Any]:
    """Returns the checkpoints that the fixtures of a claim hold, directly or in an ``Experiment``.

    Args:
        item: the claim, after its set-up.

    Returns:
        Each checkpoint once, in the order of the fixtures.
    """
    values = [getattr(value, "checkpoint", value) for value in (getattr(item, "funcargs", None) or {}).values()]
    return list({id(value): value for value in values if hasattr(value, "changes_since_load")}.values())


def assign(item: pytest.Function, checkpoint: Any) -> None:
    """Sets the circuit and BOS choice of a claim's checkpoint, which another claim may have set differently.

    Args:
        item: the claim; one without the parameter ``checkpoint`` changes nothing.
        checkpoint: the model that it is about; None where it has none.
    """
    from pytest_interp.plugin.session import session_of

    target = getattr(getattr(item, "callspec", None), "params", {}).get("checkpoint")
    if checkpoint is not None and target is not None:
        session_of(item.config).assign(checkpoint, target)


def check_untouched(item: pytest.Item) -> None:
    """Restores a model that was changed before a claim whose own fixtures may change it, and refuses the claim.

    After its body nobody could tell who made the change.

    Args:
        item: any test; only claims with such fixtures are checked.

    Raises:
        UsageError: the model was changed.
    """
    if not isinstance(item, pytest.Function) or not undone_later(item):
        return
    from pytest_interp.errors import UsageError
    from pytest_interp.plugin.session import session_of

    checkpoint = session_of(item.config).loaded(target_name(item))
    if checkpoint is not None and (changes := restore(checkpoint, by="something before it")):
        raise UsageError(f"{item.name} was not run: {changes}. Run it again, and let tests undo what they change")


def restore(*checkpoints: Any, by: str = "the claim") -> str:
    """Restores models that were changed since they were loaded.

    Args:
        *checkpoints: the models.
        by: who changed them, for the text.

    Returns:
        What was changed on which model, and what was done about it; empty where nothing was changed.
    """
    texts = [text for checkpoint in checkpoints if (text := _restored(checkpoint, by))]
    return "; ".join(texts)


def _restored(checkpoint: Any, by: str) -> str:
    """Restores one model; returns a text about it, empty where it was unchanged or is not loaded."""
    from pytest_interp.errors import Unavailable, UsageError

    if not checkpoint.guard.has_model or not (changes := checkpoint.changes_since_load()):
        return ""
    try:
        result = checkpoint.restore()
    except (UsageError, Unavailable) as error:
        result = f"it cannot be loaded anew: {error}"
    return f"{by} left {' and '.join(changes)} on {checkpoint.name}; {result}"
