"""Whether the code that measures is what was installed: a number may stand for a later run only then."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path

MEASURING = ("transformer-lens", "transformers", "tokenizers", "torch")
"""The distributions that compute what is measured."""


@cache
def versions(names: Sequence[str] = MEASURING) -> dict[str, str]:
    """The version of each distribution."""
    return {name: version(name) for name in names}


@cache
def own_code() -> str:
    """A hash of every module of this package, as it is on disk: any change of it gives other keys."""
    root, found = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if not path.is_relative_to(root / "claims"):
            found.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


@cache
def changed(names: Sequence[str] = MEASURING) -> str:
    """Why a distribution may not be what its version says; empty if all are as they were installed.

    Python files are compared with the hashes that were written at installation, other files by their size. What a
    program changes in a running process is not seen.
    """
    for name in names:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            return f"{name} is not installed as a distribution"
        if reason := _changed(found, name):
            return reason
    return ""


def _changed(found: Distribution, name: str) -> str:
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return f"{name} is installed in editable mode"
    recorded = [file for file in found.files or () if file.hash is not None]
    if not recorded:
        return f"{name} has no record of its files"
    spec = find_spec(name.replace("-", "_"))
    if spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(Path(str(found.locate_file("")))):
        return f"{name} is imported from {spec.origin if spec else 'nowhere'}, not from where it is installed"
    for file in recorded:
        path = Path(str(file.locate()))
        assert file.hash is not None
        try:
            if file.suffix != ".py":
                same = file.size is None or path.stat().st_size == file.size
            else:
                digest = hashlib.new(file.hash.mode, path.read_bytes()).digest()
                same = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value
        except OSError:
            return f"{name} lacks {file}"
        if not same:
            return f"{name} was changed after it was installed ({file})"
    return ""
