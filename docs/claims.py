"""Writes docs/claims.md and docs/documented.md: the list of claims, and the claims on documented findings.

    python docs/claims.py

Both follow from the markers and docstrings of the claims; no claim is run. tests/test_docs.py compares the pages.
"""

import json
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_interp.plugin.claim_marker import cite_of, claim_of, statement_of

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "claims"
HERE = ("planted-ioi", "smollm2-135m-instruct")
"""The checkpoints on which the project itself runs the claims."""


class _Collected:
    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = [item for item in session.items if item.get_closest_marker("claim")]


def collected() -> list[pytest.Item]:
    """Every case of every claim, for every checkpoint that it is about."""
    collector = _Collected()
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
    code = pytest.main(arguments, plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise SystemExit(f"collecting the claims ended with {code}")
    return collector.items


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
    """The page that lists all claims."""
    claims = by_claim(items)
    cases = {name: sum(checkpoint_of(item) == name for item in items) for name in map(checkpoint_of, items)}
    lines = [
        "# What is checked",
        "",
        "The table lists every claim: its stable id, its statement, the source of the finding, its checkpoints. The",
        f"project's own runs are on {' and '.join(HERE)}; the weights of the others were not available.",
        "*x*: the claim does not hold there and runs as a strict expected failure; the circuit file has the value.",
        "Made by `python docs/claims.py` from the claims' markers and docstrings.",
        "",
        f"{len(claims)} claims in {len(items)} cases: "
        + ", ".join(f"{name} {count}" for name, count in cases.items())
        + ". Run here: "
        + f"{sum(bool(set(checkpoints_of(cases_of_claim)) & set(HERE)) for cases_of_claim in claims.values())} claims.",
    ]
    folder = ""
    for name, claim_items in claims.items():
        if folder != name.partition(".")[0]:
            folder = name.partition(".")[0]
            lines += [
                "",
                f"## {folder}",
                "",
                "| claim | statement | source | class | checkpoints |",
                "|---|---|---|---|---|",
            ]
        classes = "".join(sorted({claim_of(item).evidence or "" for item in claim_items}))
        failing = {checkpoint_of(item) for item in claim_items if item.get_closest_marker("xfail")}
        checkpoints = checkpoints_of(claim_items)
        marked = ", ".join(f"{label} *x*" if label in failing else label for label in checkpoints)
        count = f" ({len(claim_items)} cases)" if len(claim_items) > len(checkpoints) > 0 else ""
        cells = (
            name.partition(".")[2] + count,
            statement_of(claim_items[0]),
            source_of(claim_items),
            classes,
            marked,
        )
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


def summary_of_chances() -> str:
    """How many claims on published figures are expected not to be supported, and the least likely ones."""
    benchmarks = ROOT / "benchmarks"
    rows = json.loads((benchmarks / "chance.json").read_text())
    text: str = runpy.run_path(str(benchmarks / "chance_page.py"))["summary_of"](rows)
    return text


def documented_page(items: list[pytest.Item]) -> str:
    """The page that lists the documented findings of classes A, B and C, each with its claims or why it has none."""
    rows = tomllib.loads((CLAIMS / "published" / "rows.toml").read_text())["rows"]
    claims: dict[str, dict[str, None]] = {row: {} for row in rows}
    for name, claim_items in by_claim(items).items():
        for item in claim_items:
            for row in claim_of(item).finding:
                claims[row][name] = None
    covered = {row for row, names in claims.items() if names}
    lines = [
        "# Documented findings",
        "",
        "The table lists findings about GPT-2 and Pythia that others documented with numbers. Class A has exact",
        "prompts and a deterministic number, class B a data set that can be drawn again, class C a band. Each row has",
        "its claims in `claims/published/`, or the reason why it has none. The figures stand in tables, one for each",
        "checkpoint, in `claims/published/figures/`; the environment variable `INTERP_PUBLISHED_FIGURES` names another",
        "folder of such tables. The project has not run these claims, because the weights were not available.",
        "Made by `python docs/claims.py`.",
        "",
        f"{len(covered)} of {len(rows)} rows have a claim: "
        + ", ".join(
            f"class {cls} {sum(rows[row]['evidence'] == cls for row in covered)} of "
            f"{sum(finding['evidence'] == cls for finding in rows.values())}"
            for cls in "ABC"
        )
        + ".",
        "",
        "How surely a claim is supported if its figure is true stands in [chance of support](chance.md). "
        + summary_of_chances(),
        "",
        "| row | checkpoint | class | finding | claim, or why there is none |",
        "|---|---|---|---|---|",
    ]
    for row, finding in rows.items():
        names = ", ".join(f"`{name}`" for name in claims[row]) or finding["why"]
        lines.append(f"| {row} | {finding['checkpoint']} | {finding['evidence']} | {finding['what']} | {names} |")
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
