"""Where claims are that are installed: this project's own, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from pytest_interp.errors import UsageError, nearest

GROUP = "pytest_interp.claims"
OWN = "suite"


def folders() -> Mapping[str, Path]:
    """The folders of claims by name: ``suite`` is this project's; others come by an entry point.

    A package brings its claims with ``[project.entry-points."pytest_interp.claims"] mine = "my_package.claims"``.

    Raises:
        UsageError: an entry point whose package is not there, or two under one name.
    """
    inside = Path(__file__).parents[1] / "claims"
    found = {OWN: inside if inside.is_dir() else Path(__file__).parents[2] / "claims"}
    for entry in entry_points(group=GROUP):
        if entry.name in found:
            raise UsageError(f"two packages bring claims as {entry.name!r}; uninstall one")
        try:
            spec = find_spec(entry.value)
        except ModuleNotFoundError:
            spec = None
        places = list(spec.submodule_search_locations or []) if spec else []
        if not places:
            raise UsageError(f"the claims {entry.name!r} should be in the package {entry.value}, which is not there")
        found[entry.name] = Path(places[0])
    return found


def chosen(names: Sequence[str]) -> list[Path]:
    """The folders of named claims; ``all`` is every one.

    Raises:
        UsageError: a name that no package brings.
    """
    known = folders()
    if "all" in names:
        return list(known.values())
    for name in names:
        if name not in known:
            raise UsageError(f"there are no claims {name!r}; installed are {', '.join(known)}{nearest(name, known)}")
    return [known[name] for name in dict.fromkeys(names)]
