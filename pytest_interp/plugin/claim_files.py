"""Finds the claims of a folder by a search of the files' text; nothing is imported or collected."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pytest_interp.circuit import Circuit
from pytest_interp.errors import UsageError, nearest

_FUNCTION = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)


def own_folder() -> Path:
    """Returns the folder of this project's claims.

    Returns:
        The folder ``claims`` inside the package where a wheel is installed, beside it in a clone.
    """
    package = Path(__file__).parents[1]
    installed = package / "claims"
    return installed if installed.is_dir() else package.parent / "claims"


def functions_of(folder: Path, *, files: Sequence[str], ignored: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """Returns the functions that the claims files at or below a folder define.

    Args:
        folder: the folder to search.
        files: patterns of file names, as in pytest's ``python_files``.
        ignored: patterns of folders to skip, as in pytest's ``norecursedirs``; virtual environments are skipped too.

    Returns:
        The names of functions by file name; files of one name in several folders share an entry.
    """
    functions: dict[str, frozenset[str]] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not any(fnmatch(name, pattern) for pattern in ignored)
            and not (Path(root) / name / "pyvenv.cfg").is_file()
        ]
        for name in names:
            if name.endswith(".py") and any(fnmatch(name, pattern) for pattern in files):
                text = (Path(root) / name).read_text(encoding="utf-8", errors="replace")
                functions[name] = functions.get(name, frozenset()) | set(_FUNCTION.findall(text))
    return functions


def check_failures(circuits: Collection[Circuit], folder: Path, config: pytest.Config) -> None:
    """Checks that every claim that a circuit file expects to fail exists, since a misspelt name would have no effect.

    Args:
        circuits: their expected failures are checked.
        folder: the claims are in it or below it.
        config: of the run; it says which files have tests, and which folders have none.

    Raises:
        UsageError: a name that no file has.
    """
    expected = [(circuit, failure) for circuit in circuits for failure in circuit.expected_failures]
    if not expected:
        return
    functions = functions_of(folder, files=config.getini("python_files"), ignored=config.getini("norecursedirs"))
    all_names = {name for names in functions.values() for name in names}
    for circuit, failure in expected:
        file, _, name = failure.claim.rpartition("::")
        if name not in (functions.get(file, ()) if file else all_names):
            known = [f"{file}::{name}" for file, names in sorted(functions.items()) for name in sorted(names)]
            raise UsageError(
                f"{circuit.path}: expected_failures.claim is {failure.claim!r}, which no file in {folder} has; write "
                f'"FILE.py::FUNCTION" or "FUNCTION"{nearest(failure.claim, [*known, *sorted(all_names)])}'
            )
