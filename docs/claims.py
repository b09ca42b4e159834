"""Writes docs/claims.md and docs/documented.md: what is checked, and which documented finding has a claim.

    python docs/claims.py

Both come from the claims' own markers and docstrings, nothing is run; tests/test_docs.py holds them true.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_interp.plugin.selection import cite_of, claim_of, statement_of

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "claims"
HERE = ("planted-ioi", "smollm2-135m-instruct")
"""The checkpoints that are run where this project is developed."""


class _Collected:
    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = [item for item in session.items if item.get_closest_marker("claim")]


def collected() -> list[pytest.Item]:
    """Every case of every claim, for every checkpoint that it is about."""
    found = _Collected()
    arguments = [
        str(CLAIMS),
        "--collect-only",
        "-p",
        "no:terminal",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:syrupy",
        f"--rootdir={ROOT}",
    ]
    code = pytest.main(arguments, plugins=[found])
    if code != pytest.ExitCode.OK:
        raise SystemExit(f"collecting the claims ended with {code}")
    return found.items


def by_claim(items: list[pytest.Item]) -> dict[str, list[pytest.Item]]:
    """The cases of each claim, by its stable id without parameters."""
    claims: dict[str, list[pytest.Item]] = {}
    for item in sorted(items, key=lambda item: (item.path, item.location[1] or 0)):
        claims.setdefault(cite_of(item).partition("[")[0], []).append(item)
    return claims


def checkpoints_of(items: list[pytest.Item]) -> list[str]:
    """The checkpoints that cases of a claim are about, where the circuit has its role."""
    names = dict.fromkeys(
        item.callspec.params["checkpoint"].spec.name
        for item in items
        if not any("not applicable" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skip"))
    )
    return list(names)


def claims_page(items: list[pytest.Item]) -> str:
    """One list of what is checked."""
    claims = by_claim(items)
    cases = {name: sum(checkpoint_of(item) == name for item in items) for name in map(checkpoint_of, items)}
    lines = [
        "# What is checked",
        "",
        "Every claim: its stable id, what it states, whose finding it is, and on which checkpoints. Where this project",
        f"is developed it runs on {' and '.join(HERE)}; the weights of the others are not to be had there.",
        "*x*: it does not carry over, and runs as a strict expected failure; the circuit file has the measured value.",
        "Made by `python docs/claims.py` from the claims' markers and docstrings.",
        "",
        f"{len(claims)} claims in {len(items)} cases: "
        + ", ".join(f"{name} {count}" for name, count in cases.items())
        + ". Run here: "
        + f"{sum(bool(set(checkpoints_of(some)) & set(HERE)) for some in claims.values())} claims.",
    ]
    folder = ""
    for name, some in claims.items():
        if folder != name.partition(".")[0]:
            folder = name.partition(".")[0]
            lines += [
                "",
                f"## {folder}",
                "",
                "| claim | statement | source | class | checkpoints |",
                "|---|---|---|---|---|",
            ]
        failing = {checkpoint_of(item) for item in some if item.get_closest_marker("xfail")}
        where = ", ".join(f"{one} *x*" if one in failing else one for one in checkpoints_of(some))
        count = f" ({len(some)} cases)" if len(some) > len(checkpoints_of(some)) > 0 else ""
        classes = "".join(sorted({claim_of(item).evidence or "" for item in some}))
        cells = (name.partition(".")[2] + count, statement_of(some[0]), source_of(some), classes, where)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def source_of(items: list[pytest.Item]) -> str:
    """The source of a claim, or of how many its cases are."""
    sources = dict.fromkeys(claim_of(item).source for item in items)
    first = next(iter(sources))
    return first if len(sources) == 1 else f"{len(sources)} sources, such as {first}"


def checkpoint_of(item: pytest.Item) -> str:
    """The checkpoint of a case."""
    return str(item.callspec.params["checkpoint"].spec.name)


def documented_page(items: list[pytest.Item]) -> str:
    """Which documented finding of class A, B or C has which claim, or why none can."""
    rows = tomllib.loads((CLAIMS / "published" / "rows.toml").read_text())["rows"]
    claims: dict[str, dict[str, None]] = {row: {} for row in rows}
    for name, some in by_claim(items).items():
        for item in some:
            for row in claim_of(item).finding:
                claims[row][name] = None
    covered = {row for row, names in claims.items() if names}
    lines = [
        "# Documented findings",
        "",
        "Findings about GPT-2 and Pythia that others documented with numbers, by row of the list that the claims in",
        "`claims/published/` were written from: A exact prompts and a deterministic number, B a data set that can be",
        "drawn again, C a band. Each has a claim, or the reason why it has none. The figures stand in tables, one for",
        "each checkpoint, in `claims/published/figures/`; the environment variable `INTERP_PUBLISHED_FIGURES` names",
        "another folder of such tables. None of these was run where this project is developed: the weights are not to",
        "be had there. Made by `python docs/claims.py`.",
        "",
        f"{len(covered)} of {len(rows)} rows have a claim: "
        + ", ".join(
            f"class {cls} {sum(rows[row]['evidence'] == cls for row in covered)} of "
            f"{sum(one['evidence'] == cls for one in rows.values())}"
            for cls in "ABC"
        )
        + ".",
        "",
        "| row | checkpoint | class | finding | claim, or why there is none |",
        "|---|---|---|---|---|",
    ]
    for row, one in rows.items():
        said = ", ".join(f"`{name}`" for name in claims[row]) or one["why"]
        lines.append(f"| {row} | {one['checkpoint']} | {one['evidence']} | {one['what']} | {said} |")
    return "\n".join(lines) + "\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page and its text."""
    items = collected()
    yield ROOT / "docs" / "claims.md", claims_page(items)
    yield ROOT / "docs" / "documented.md", documented_page(items)


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
