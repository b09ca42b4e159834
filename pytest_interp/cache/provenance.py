"""Checks that the installed libraries are unmodified. Cached numbers are reused only if they are."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution, version
from importlib.util import find_spec
from pathlib import Path

MEASURING = ("transformer-lens", "transformers", "tokenizers", "torch")
"""The distributions that compute what is measured."""


@cache
def versions() -> dict[str, str]:
    """The version of each distribution that measures, by its name on PyPI."""
    return {name: version(name) for name in MEASURING}


@cache
def own_code() -> str:
    """A hash of every module of this package, as it is on disk, apart from the claims.

    It is part of each key: after any change of the package everything is measured again.
    """
    root, total = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if not path.is_relative_to(root / "claims"):
            total.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


@cache
def changed(names: Sequence[str] = MEASURING) -> str:
    """Why a distribution may differ from what its version says; empty if all are as they were installed.

    Python files are compared with the hashes that were written at installation, other files by their size. Changes in
    the running process are not seen here; :mod:`pytest_interp.checkpoints.process_state` sees those of functions.

    Args:
        names: of distributions on PyPI.
    """
    for name in names:
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            return f"{name} is not installed as a distribution"
        if reason := _changed(installed, name):
            return reason
    return ""


def _changed(installed: Distribution, name: str) -> str:
    """Why one distribution may differ from what its version says; empty if it is as it was installed."""
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return f"{name} is installed in editable mode"
    recorded = [file for file in installed.files or () if file.hash is not None]
    if not recorded:
        return f"{name} has no record of its files"
    spec = find_spec(name.replace("-", "_"))
    if (
        spec is None
        or spec.origin is None
        or not Path(spec.origin).is_relative_to(Path(str(installed.locate_file(""))))
    ):
        return f"{name} is imported from {spec.origin if spec else 'nowhere'}, not from where it is installed"
    for file in recorded:
        try:
            if not _is_as_recorded(file):
                return f"{name} was changed after it was installed ({file})"
        except OSError:
            return f"{name} lacks {file}"
    return ""


def _is_as_recorded(file: PackagePath) -> bool:
    """Whether a module has the recorded hash, and any other file the recorded size.

    Raises:
        OSError: it is not there.
    """
    path = Path(str(file.locate()))
    if file.suffix != ".py" or file.hash is None:
        return file.size is None or path.stat().st_size == file.size
    digest = hashlib.new(file.hash.mode, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value
