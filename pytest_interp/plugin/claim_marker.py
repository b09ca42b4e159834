"""The ``claim`` marker of a test, and the claim as the ledger has it: its names, what it states, and its code."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.ledger.claim import RecordedClaim

MARKER_KEYS = ("source", "role", "checkpoints", "evidence", "finding", "quick")


@dataclass(frozen=True)
class Claim:
    """The keywords of the ``claim`` marker.

    Attributes:
        source: the paper and section, or the notebook, whose finding it is.
        role: the role whose heads ``head`` and ``heads`` are.
        checkpoints: the only checkpoints it is about; by default every one.
        evidence: the class of a published figure: A exact, B regenerable, C band, D sign or rank.
        finding: the rows of a list of documented findings that it checks.
        quick: whether it belongs to the few that ``--interp-quick`` runs.
    """

    source: str
    role: str | None = None
    checkpoints: tuple[str, ...] = ()
    evidence: str | None = None
    finding: tuple[str, ...] = ()
    quick: bool = False


def claim_of(node: Any) -> Claim | None:
    """Returns the claim marker of a test; keywords at the function override those of its class and module.

    Args:
        node: pytest's item, or the definition of a function that is being parametrised.

    Returns:
        The keywords of the marker; None for a test that is no claim.

    Raises:
        UsageError: positional arguments, an unknown keyword, no source.
    """
    marks = list(node.iter_markers("claim"))
    if not marks:
        return None
    keywords: dict[str, Any] = {}
    for mark in reversed(marks):
        if mark.args:
            raise UsageError(f"claim marker takes keywords only ({', '.join(MARKER_KEYS)}); got {mark.args!r}")
        for key in mark.kwargs:
            if key not in MARKER_KEYS:
                raise UsageError(
                    f"claim marker has no keyword {key!r}; allowed: {', '.join(MARKER_KEYS)}{nearest(key, MARKER_KEYS)}"
                )
        keywords.update(mark.kwargs)
    if not isinstance(keywords.get("source"), str) or not keywords["source"]:
        raise UsageError('claim marker needs its source, e.g. claim(source="Wang et al. 2022, 3.1")')
    for key in ("checkpoints", "finding"):
        names = keywords.get(key, ())
        keywords[key] = (names,) if isinstance(names, str) else tuple(names)
    if keywords.get("evidence") not in (None, "A", "B", "C", "D"):
        raise UsageError(f"claim marker: evidence is {keywords['evidence']!r}; allowed: 'A', 'B', 'C', 'D'")
    return Claim(**keywords)


def cite_of(item: Any) -> str:
    """Returns the stable id of a claim, wherever pytest is run from: ``ioi/name_movers.reads_the_answer[gpt2-9.9]``.

    The path is relative to the nearest folder that has a folder ``circuits``, or to the rootdir where none has.
    """
    roots = [folder for folder in item.path.parents if (folder / "circuits").is_dir()]
    root = roots[0] if roots else item.config.rootpath
    path = item.path.relative_to(root) if item.path.is_relative_to(root) else item.path
    parts = [*path.parent.parts, path.stem.removeprefix("test_")]
    return f"{'/'.join(parts)}.{item.nodeid.partition('::')[2].replace('::', '.').replace('test_', '', 1)}"


def statement_of(item: Any) -> str:
    """Returns the statement of a claim: the first paragraph of its docstring, in one line; empty without one."""
    text = getattr(getattr(item, "obj", None), "__doc__", None) or ""
    return " ".join(text.strip().partition("\n\n")[0].split())


def recorded(item: Any) -> RecordedClaim:
    """Returns a claim as the ledger has it: its names, what it states, and its code.

    Args:
        item: pytest's item of the claim.
    """
    claim = claim_of(item)
    function: Any = getattr(item, "obj", None)
    try:
        code = inspect.getsource(inspect.unwrap(getattr(function, "__func__", function)))
    except (OSError, TypeError):  # made at run time
        code = ""
    return RecordedClaim(
        id=item.nodeid,
        name=item.name,
        cite=cite_of(item),
        statement=statement_of(item),
        docstring=inspect.getdoc(function) or "",
        code=code,
        source=claim.source if claim else None,
        role=claim.role if claim else None,
        evidence=claim.evidence if claim else None,
        finding=tuple(claim.finding) if claim else (),
        markers=tuple(dict.fromkeys(mark.name for mark in item.iter_markers())),
    )
