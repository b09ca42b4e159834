"""Writes the tables of docs/reference.md from the code: ``python docs/reference.py``; tests/test_docs.py compares them.

A table stands between ``<!-- made: name -->`` and ``<!-- end -->``. What it says of a name is the first sentence of the
name's docstring, or the help of its option.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest_interp
from pytest_interp import measure
from pytest_interp.cli import COMMANDS
from pytest_interp.plugin import fixtures
from pytest_interp.plugin.options import Options

PAGE = Path(__file__).parent / "reference.md"
SCHEMA = Path(pytest_interp.__file__).parent / "ledger" / "schema.json"
_PLACE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.S)
_CODE = re.compile(r"``(.*?)``")
_ROLE = re.compile(r":\w+:`[~.]?(?:[\w.]*\.)?(\w+)`")


def summary(docstring: str | None) -> str:
    """The first paragraph of a docstring, as Markdown in one line."""
    paragraph = inspect.cleandoc(docstring or "").partition("\n\n")[0].replace("\n", " ")
    return _ROLE.sub(r"`\1`", _CODE.sub(r"`\1`", paragraph)).replace("|", "\\|")


def table(names: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """A table of two columns."""
    lines = [names, ("---", "---"), *rows]
    return "".join(f"| {left} | {right} |\n" for left, right in lines)


def assertions() -> str:
    """The assertions of the package."""
    names = [name for name in pytest_interp.__all__ if name.startswith("assert_")]
    return table(
        ("assertion", "what it does"), ((f"`{name}`", summary(getattr(pytest_interp, name).__doc__)) for name in names)
    )


def measurements() -> str:
    """The functions that measure."""
    functions = {name: getattr(measure, name) for name in measure.__all__}
    return table(
        ("measurement", "what it returns"),
        ((f"`{name}`", summary(f.__doc__)) for name, f in functions.items() if inspect.isfunction(f)),
    )


def values() -> str:
    """The other public names: types, and functions that load, read and write."""
    names = [name for name in pytest_interp.__all__ if not name.startswith("assert_")]
    return table(
        ("name", "what it is"), ((f"`{name}`", summary(getattr(pytest_interp, name).__doc__)) for name in names)
    )


def fixture_table() -> str:
    """The fixtures of the plugin, in the order of its module."""
    functions = (node for node in ast.parse(inspect.getsource(fixtures)).body if isinstance(node, ast.FunctionDef))
    rows = (
        (f"`{node.name}`", summary(ast.get_docstring(node)))
        for node in functions
        if any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
    )
    return table(("fixture", "what it gives"), rows)


def options() -> str:
    """The options of pytest."""

    def spelled(name: str, metavar: str | None) -> str:
        flag = f"--interp-{name.replace('_', '-')}"
        return f"`{flag} {metavar}`" if metavar else f"`{flag}`"

    rows = ((spelled(field.name, field.metadata["metavar"]), str(field.metadata["help"])) for field in fields(Options))
    return table(("option", "meaning"), rows)


def commands() -> str:
    """The subcommands of ``pytest-interp``."""
    return table(
        ("command", "what it does"),
        ((f"`pytest-interp {name}`", command.summary) for name, command in COMMANDS.items()),
    )


def ledger() -> str:
    """The fields of a ledger that its schema describes; what is a number, and no more, is left out."""
    schema = json.loads(SCHEMA.read_text())
    described: dict[str, str] = {}

    def walk(node: object, path: tuple[str, ...]) -> None:
        if isinstance(node, dict):
            if path and not str(node.get("description", "a number")).startswith("a number"):
                described[".".join(path)] = node["description"]
            for name, child in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
                walk(child, (*path, name))
            for key in ("items", "additionalProperties"):
                walk(node.get(key), path)
            for child in node.get("anyOf", ()):
                walk(child, path)

    walk(schema, ())
    for name, definition in schema.get("$defs", {}).items():
        walk(definition, (name,))
    return table(("field", "content"), ((f"`{path}`", text) for path, text in described.items()))


TABLES = {
    "assertions": assertions,
    "measurements": measurements,
    "values": values,
    "fixtures": fixture_table,
    "options": options,
    "commands": commands,
    "ledger": ledger,
}


def filled(page: str) -> str:
    """A page with its tables made anew."""
    return _PLACE.sub(lambda place: f"{place[1]}{TABLES[place[2]]()}{place[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
