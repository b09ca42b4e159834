"""Tasks by name: those of this package, and those of a user's own module."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Protocol

from pytest_interp.errors import InterpError, UsageError, nearest
from pytest_interp.tasks.analogies import analogies
from pytest_interp.tasks.dataset import DataSet
from pytest_interp.tasks.facts import capitals, surnames
from pytest_interp.tasks.ioi import ioi, ioi_wordings
from pytest_interp.tasks.ioi_extra_mention import ioi_extra_mention
from pytest_interp.tasks.repeated_tokens import copied_tokens
from pytest_interp.tasks.sequences import sequences
from pytest_interp.tasks.slots import Half
from pytest_interp.text import line, shown

FUNCTION = "task"
"""The name of the function that a user's own module defines."""


class Draw(Protocol):
    """A function that draws prompts: those of ``pytest_interp.tasks``, and the ``task`` of a user's own module."""

    def __call__(self, tokenizer: Any, /, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:
        """The prompts of a half of templates and names."""


@dataclass(frozen=True)
class Task:
    """A task, and where it comes from.

    Attributes:
        name: as it was passed: a name of this package, or the path of a module.
        function: draws its prompts.
        module: the path of a user's own module; None for a task of this package.
    """

    name: str
    function: Draw
    module: Path | None = None

    def draw(self, tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:
        """Draws the prompts of a half.

        Args:
            tokenizer: a Hugging Face tokenizer.
            half: of templates and names; the two halves have different seeds too.
            n: the number of prompts.
            seed: of the run, at least 0.
            bos: whether BOS stands before each prompt.

        Returns:
            The data set.

        Raises:
            UsageError: a user's own function takes other arguments, fails, or returns something else.
        """
        choices: dict[str, Any] = {"half": half, "n": n, "seed": 2 * seed + (half == "confirm"), "bos": bos}
        if self.module is None:
            return self.function(tokenizer, **choices)
        try:
            data: Any = self.function(tokenizer, **choices)
        except InterpError:
            raise
        except Exception as error:
            raise UsageError(f"{self._called(choices)} failed: {type(error).__name__}: {line(error)}") from error
        if not isinstance(data, DataSet):
            raise UsageError(
                f"{self._called(choices)} returned {shown(data)}; return a DataSet, such as from_strings makes it"
            )
        return data

    def _called(self, choices: Mapping[str, Any]) -> str:
        """The call of a user's own function, for a message."""
        return (
            f"{FUNCTION}(tokenizer, {', '.join(f'{key}={value!r}' for key, value in choices.items())}) of {self.name}"
        )


TASKS: Mapping[str, Draw] = {
    "ioi": ioi,
    "ioi_wordings": ioi_wordings,
    "ioi_extra_mention": ioi_extra_mention,
    "sequences": sequences,
    "analogies": analogies,
    "surnames": surnames,
    "capitals": capitals,
    "copied_tokens": copied_tokens,
}
"""The tasks of this package by name."""


def task_of(name: str) -> Task:
    """The task that a user named.

    Args:
        name: of a task of this package, or the path of a Python module that defines ``task(tokenizer, *, half, n, seed,
            bos)``, which returns a data set. The module is imported, so its code runs.

    Returns:
        The task.

    Raises:
        UsageError: no such task or file; a module that cannot be imported or lacks the function.

    Example:
        >>> from pytest_interp import load
        >>> tokenizer = load("planted-ioi").tokenizer
        >>> task_of("ioi").draw(tokenizer, half="find", n=8, seed=0, bos=True).name
        'ioi/find'
    """
    if name in TASKS:
        return Task(name, TASKS[name])
    if not name.endswith(".py"):
        raise UsageError(
            f"unknown task {shown(name)}: pass one of {', '.join(TASKS)}, or a .py file with a function "
            f"{FUNCTION}(tokenizer, *, half, n, seed, bos){nearest(name, TASKS)}"
        )
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {line(name)}; pass a .py file, or one of {', '.join(TASKS)}")
    if not re.fullmatch(r"[A-Za-z_]\w*", path.stem):
        raise UsageError(f"{line(path.name)} is no name of a module: pass a file of letters, digits and underscores")
    function = getattr(_module(path), FUNCTION, None)
    if not callable(function):
        raise UsageError(f"{line(name)} defines no function {FUNCTION}(tokenizer, *, half, n, seed, bos)")
    return Task(name, function, path)


def _module(path: Path) -> object:
    """A user's own module, imported under a name that hides no other module."""
    spec = spec_from_file_location(f"pytest_interp_task_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # a module imports what stands beside it, as in a run of pytest
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{line(path)} cannot be imported: {type(error).__name__}: {line(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module
