"""What to ask next: claims about what an exploration saw, as a file of tests that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json import dumps
from typing import Any, NamedTuple

from pytest_interp.explore.looks import strongest
from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table
from pytest_interp.tasks.named import FUNCTION, Task
from pytest_interp.tasks.positions import END

WRITERS, ACTORS, READERS = 4, 5, 4
"""How many heads are claimed to write the answer, to move it, and to read a position."""
MANY = 2 * ACTORS
"""Needed heads among which those are left out that restore the answer, which is claimed already."""
WIDTH = 80
"""Columns of a line."""
LEAST_ATTENTION = 0.25
"""The attention to a position from which on reading it is worth a claim."""
HALF_RECOVERED = 0.5
"""The patching effect from which on the residual stream at a position is said to hold the answer."""


class Call(NamedTuple):
    """A claim to write next.

    Attributes:
        name: of the test.
        statement: its docstring.
        function: the assertion that is called.
        arguments: of the call, after the prompts, each as it is written.
    """

    name: str
    statement: str
    function: str
    arguments: tuple[str, ...]


def calls_of(tables: Mapping[str, Table[Any]], denoising: str, noising: str) -> tuple[Call, ...]:
    """Claims about what was seen, each with half of the measured value as its bound.

    Args:
        tables: of the looks that were taken, by name.
        denoising: the corrupted run into which the clean one was put.
        noising: the corrupted run that was put into the clean one.

    Returns:
        The claims, those about behaviour first; only about numbers whose interval does not contain 0.
    """
    return (
        *_behaviour(tables), *_writers(tables), *_streams(tables, denoising), *_restorers(tables, denoising),
        *_needed(tables, noising), *_readers(tables),
    )  # fmt: skip


def source_of(calls: tuple[Call, ...], task: Task, source: str) -> str:
    """The claims as a Python file.

    Args:
        calls: at least one.
        task: whose prompts the claims are judged on.
        source: of the findings, for the marker.

    Returns:
        The text of a test file.
    """
    fixture = "ioi" if task.name == "ioi" else "prompts"
    imports = ["import pytest", ""]
    if task.module is not None:
        imports += [f"from {task.module.stem} import {FUNCTION}", ""]
    functions = sorted({*(call.function for call in calls), *(["tasks"] if _draws(task) else [])})
    imports += ["from pytest_interp import (", *(f"    {name}," for name in functions), ")", ""]
    lines = [
        '"""Each bound is half of what was seen, on the prompts for finding."""',
        "",
        *imports,
        f"pytestmark = pytest.mark.claim(\n    source={dumps(source)}\n)",
    ]
    if fixture == "prompts":
        drawn = f"tasks.{task.name}" if task.module is None else FUNCTION
        lines += ["", "", '@pytest.fixture(scope="session")', "def prompts(make_task):",
                  f'    """The checkpoint on {task.module.stem if task.module else task.name}."""',
                  f"    return make_task({drawn})"]  # fmt: skip
    for call in calls:
        lines += ["", "", f"def {call.name}({fixture}):", f'    """{call.statement}"""']
        lines += _written(call.function, (fixture, *call.arguments))
    return "\n".join([*lines, ""])


def _written(function: str, arguments: tuple[str, ...]) -> list[str]:
    """A call as lines of at most 80 columns, where its arguments allow it."""
    lines = [f"    {function}({', '.join(arguments)})"]
    if len(lines[0]) <= WIDTH:
        return lines
    lines = [f"    {function}("]
    for argument in arguments:
        if len(lines) > 1 and len(lines[-1]) + len(argument) + 2 < WIDTH:
            lines[-1] += f" {argument},"
        else:
            lines.append(f"        {argument},")
    return [*lines, "    )"]


def _draws(task: Task) -> bool:
    """Whether the file needs the tasks of the package."""
    return task.module is None and task.name != "ioi"


def _half(effect: Measurement) -> str:
    """The bound that demands half of a measured value."""
    side = "at_least" if effect.value > 0 else "at_most"
    return f"{side}={float(f'{effect.value / 2:.2g}'):g}"


def _word(head: Head) -> str:
    return f"{head.layer}_{head.head}"


def _identifier(position: str | int) -> str:
    return "".join(character if character.isalnum() else "_" for character in str(position)).lower()


def _behaviour(tables: Mapping[str, Table[Any]]) -> Iterator[Call]:
    if "behaviour" in tables:
        (cell,) = [cell for cell in tables["behaviour"] if cell[0] == "all prompts"]
        effect = tables["behaviour"][cell]
        yield Call("test_the_model_does_the_task", "The answer has a higher logit than the distractor.",
                   "assert_logit_diff", (_half(effect),))  # fmt: skip


def _strongest(tables: Mapping[str, Table[Any]], name: str, count: int) -> list[tuple[Any, Measurement]]:
    """The largest cells of a table with their effects; none where the look was left out."""
    return [(cell, tables[name][cell]) for cell in strongest(tables[name], count)] if name in tables else []


def _writers(tables: Mapping[str, Table[Any]]) -> Iterator[Call]:
    for head, effect in _strongest(tables, "head_attribution", WRITERS):
        raises = effect.value > 0
        yield Call(
            f"test_{_word(head)}_{'writes' if raises else 'suppresses'}_the_answer",
            f"Head {head} {'writes the answer' if raises else 'writes against the answer'} at END.",
            "assert_direct_logit_attribution",
            (f'"{head}"', _half(effect)),
        )


def _streams(tables: Mapping[str, Table[Any]], corruption: str) -> Iterator[Call]:
    table = tables.get("residual_patching")
    if table is None:
        return
    first = next((cell for cell in table if cell[1] == END and table[cell].value >= HALF_RECOVERED), None)
    if first is not None and first[0] > 0:
        yield Call(
            f"test_the_answer_stands_at_end_before_layer_{first[0]}",
            f"Before layer {first[0]} the stream at END holds half of the answer.",
            "assert_patch_effect",
            ('"resid_pre"', str(first[0]), 'at="END"', f"corruption={dumps(corruption)}", _half(table[first])),
        )


def _restorers(tables: Mapping[str, Table[Any]], corruption: str) -> Iterator[Call]:
    for (head, at), effect in _strongest(tables, "heads_by_position", ACTORS):
        verb = "restores" if effect.value > 0 else "works against"
        yield Call(
            f"test_{_word(head)}_{verb.replace(' ', '_')}_the_answer_at_{_identifier(at)}",
            f"What head {head} writes at {at} {verb} the answer.",
            "assert_head_patch_effect",
            (f'"{head}"', f"at={dumps(at)}", f"corruption={dumps(corruption)}", _half(effect)),
        )


def _needed(tables: Mapping[str, Table[Any]], corruption: str) -> Iterator[Call]:
    restoring = [cell for cell, _ in _strongest(tables, "heads_by_position", ACTORS)]
    needed = [pair for pair in _strongest(tables, "needed_by_position", MANY) if pair[0] not in restoring]
    for (head, at), effect in needed[:ACTORS]:
        verb = "costs" if effect.value < 0 else "gives"
        yield Call(
            f"test_another_output_of_{_word(head)}_{verb}_the_answer_at_{_identifier(at)}",
            f"Under {corruption} head {head} writes at {at} what {verb} the answer logits.",
            "assert_head_patch_effect",
            (
                f'"{head}"',
                f"at={dumps(at)}",
                'direction="noise"',
                f"corruption={dumps(corruption)}",
                'metric="logit_diff"',
                _half(effect),
            ),
        )


def _readers(tables: Mapping[str, Table[Any]]) -> Iterator[Call]:
    table = tables.get("attention")
    if table is None:
        return
    count = 0
    for row in table.rows:
        head, _, at = str(row).partition(" at ")
        to = max((column for column in table.columns if column != at), key=lambda column: table[row, column].value)
        if table[row, to].value >= LEAST_ATTENTION and count < READERS:
            count += 1
            yield Call(
                f"test_{_word(Head.parse(head))}_reads_{_identifier(to)}_from_{_identifier(at)}",
                f"At {at} head {head} attends to {to}.",
                "assert_attention",
                (f'"{head}"', f'at="{at}"', f'to="{to}"', _half(table[row, to])),
            )
