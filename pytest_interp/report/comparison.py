"""Two ledgers side by side: lines for a terminal of 80 columns, Markdown for a pull request, JSON for a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytest_interp.compare.comparison import ORDER, Change, Comparison, Pair, verdict_of
from pytest_interp.compare.moves import Move
from pytest_interp.ledger.ledger import Ledger
from pytest_interp.measurement import quote_both
from pytest_interp.report.layout import WIDTH
from pytest_interp.report.terminal import Line
from pytest_interp.text import counted, line, wrapped

MARKUP: dict[Change, dict[str, bool]] = {"turned": {"red": True}, "moved": {"yellow": True}, "other prompts": {}}
NAMES_SHOWN = 5
"""Claims of only one ledger that are named; the others are counted."""


def terminal(comparison: Comparison, names: tuple[str, str]) -> list[Line]:
    """Returns the comparison for a terminal: what differs between the runs, then the claims, worst first.

    Args:
        comparison: of two ledgers.
        names: of the two, such as the names of their files.

    Returns:
        Lines of at most 79 columns.
    """
    lines = [
        Line(text)
        for name, ledger in zip(names, (comparison.before, comparison.after), strict=True)
        for text in wrapped(f"{name}: {_run(ledger)}", WIDTH, rest="  ")
    ]
    if causes := comparison.common_causes:
        lines += [Line(text) for text in wrapped(f"changed: {'; '.join(causes)}", WIDTH, rest="  ")]
    for pair in comparison.pairs:
        if pair.change != "unchanged":
            lines += _claim(comparison, pair)
    lines += [Line(text) for text in only(comparison, names)]
    bad = comparison.fails("number")
    return [
        *lines,
        *(Line(text, {"red": bad, "green": not bad, "bold": True}) for text in wrapped(summary(comparison), WIDTH)),
    ]


def summary(comparison: Comparison) -> str:
    """Returns one sentence: how many claims turned, moved, and are unchanged.

    Args:
        comparison: of two ledgers.
    """
    counts = [f"{comparison.counts[change]} {change}" for change in ORDER if comparison.counts[change]]
    unchanged = [pair for pair in comparison.pairs if pair.change == "unchanged"]
    furthest = max(unchanged, key=lambda pair: pair.share, default=None)
    nearly = f" (the furthest by {furthest.share:.0%} of what it may)" if furthest and furthest.share else ""
    return f"{counted(len(comparison.pairs), 'claim')} in both: {', '.join(counts)}{nearly}"


def _run(ledger: Ledger) -> str:
    """Returns what a run was, in one line."""
    checkpoints = list(dict.fromkeys(str(claim.checkpoint) for claim in ledger.claims))
    incomplete = "" if ledger.run.is_complete else f"{ledger.run.ended} of "
    count = counted(len(ledger.claims) if ledger.run.is_complete else ledger.run.collected, "claim")
    return f"{ledger.run.started}, {incomplete}{count}, {', '.join(line(name, 60) for name in checkpoints)}"


def _claim(comparison: Comparison, pair: Pair) -> list[Line]:
    """Returns the lines of one claim."""
    indent = " " * 17
    heading = wrapped(comparison.name_of(pair), WIDTH, f"  {pair.change:<14} ", indent)
    lines = [Line(text, MARKUP[pair.change]) for text in heading]
    texts = []
    if pair.change == "turned":
        texts.append(f"{verdict_of(pair.before)} -> {verdict_of(pair.after)}")
    texts += [_moved(move) for move in shown(pair)]
    texts += [pair.unpaired] if pair.unpaired else []
    if causes := comparison.causes(pair):
        texts.append(f"changed: {'; '.join(causes)}")
    return lines + [Line(part) for text in texts for part in wrapped(text, WIDTH, indent, f"{indent}  ")]


def shown(pair: Pair) -> Sequence[Move]:
    """Returns the moves of a claim that explain its change.

    These are all on other prompts, else those beyond noise, else those that are not 0.

    Args:
        pair: a claim in two ledgers.
    """
    if pair.change == "other prompts":
        return pair.moves
    return [move for move in pair.moves if move.is_beyond] or [move for move in pair.moves if move.distance]


def _moved(move: Move) -> str:
    """Returns both values of a number, how far it moved, and how far it may."""
    before, after = quote_both(move.before, move.after)
    how_far = "on other prompts" if move.allowed is None else f"moved {distance(move)}, may {move.allowed:.2g}"
    return f"{move.quantity} {before} -> {after} {move.unit}, {how_far}"


def distance(move: Move) -> str:
    """Returns how far a number moved, with the interval of the difference prompt by prompt.

    Args:
        move: of a claim.
    """
    ends = "" if move.interval is None else f" [{move.interval[0]:+.2g}, {move.interval[1]:+.2g}]"
    return f"{move.distance:+.2g}{ends}"


def only(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    """Returns lines about the claims that only one of the ledgers has.

    Args:
        comparison: of two ledgers.
        names: of the two.
    """
    lines = []
    for name, claims in zip(names, (comparison.only_before, comparison.only_after), strict=True):
        if claims:
            more = f" and {len(claims) - NAMES_SHOWN} more" if len(claims) > NAMES_SHOWN else ""
            text = f"only in {name}: {counted(len(claims), 'claim')}: {', '.join(claims[:NAMES_SHOWN])}{more}"
            lines += wrapped(text, WIDTH, rest="  ")
    return lines


# ---- Markdown and JSON


def markdown(comparison: Comparison, names: tuple[str, str]) -> str:
    """Returns the comparison as Markdown: a sentence, what differs between the runs, a table of claims.

    Args:
        comparison: of two ledgers.
        names: of the two.

    Returns:
        GitHub's Markdown, with a newline at its end.
    """
    first, second = map(cell, names)
    parts = [f"**{cell(summary(comparison))}**", ""]
    parts += [f"- {first}: {cell(_run(comparison.before))}", f"- {second}: {cell(_run(comparison.after))}"]
    parts += [f"- changed: {cell('; '.join(comparison.common_causes))}"] if comparison.common_causes else []
    parts += [f"- {cell(' '.join(text.split()))}" for text in [" ".join(only(comparison, names))] if text]
    rows = [row for pair in comparison.pairs if pair.change != "unchanged" for row in _rows(comparison, pair)]
    if rows:
        header = ["claim", "verdict", "number", first, second, "moved", "may", "changed"]
        parts += ["", *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))]
    return "\n".join(parts) + "\n"


def _rows(comparison: Comparison, pair: Pair) -> list[list[str]]:
    """Returns a row of the table for each number of a claim; name, verdict and causes stand in the first one."""
    verdict = verdict_of(pair.after)
    if pair.change == "turned":
        verdict = f"**{verdict_of(pair.before)} → {verdict}**"
    causes = "; ".join([*([pair.unpaired] if pair.unpaired else []), *comparison.causes(pair)])
    numbers = [
        [
            f"{cell(move.quantity)} ({cell(move.unit)})",
            *quote_both(move.before, move.after),
            distance(move),
            "other prompts" if move.allowed is None else f"{move.allowed:.2g}",
        ]
        for move in shown(pair)
    ]
    first, *others = numbers or [[""] * 5]
    return [[cell(comparison.name_of(pair)), verdict, *first, cell(causes)], *(["", "", *row, ""] for row in others)]


def cell(text: str) -> str:
    """Returns a text that Markdown shows as it is: no HTML, no table cell, no emphasis.

    Args:
        text: of any origin.
    """
    escaped = line(text, 1_000).replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\")
    for character in "|*_`[]":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def table(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison as a table of JSON.

    Args:
        comparison: of two ledgers.

    Returns:
        ``counts``, ``changed`` (what differs between the runs), ``claims`` (all that both ledgers have, worst first),
        ``only_before`` and ``only_after``.
    """
    return {
        "counts": {change: comparison.counts[change] for change in ORDER},
        "changed": list(comparison.common_causes),
        "claims": [
            {
                "checkpoint": pair.checkpoint,
                "claim": pair.name,
                "change": pair.change,
                "before": verdict_of(pair.before),
                "after": verdict_of(pair.after),
                "changed": [*pair.causes, *([pair.unpaired] if pair.unpaired else [])],
                "numbers": [{**number(move), "allowed": move.allowed} for move in pair.moves],
            }
            for pair in comparison.pairs
        ],
        "only_before": list(comparison.only_before),
        "only_after": list(comparison.only_after),
    }


def number(move: Move) -> dict[str, Any]:
    """Returns a number before and after as a table of JSON.

    Args:
        move: of a claim.
    """
    return {
        "quantity": move.quantity,
        "subject": move.subject,
        "unit": move.unit,
        "before": move.before,
        "after": move.after,
        "moved": move.distance,
        "interval": move.interval,
    }


def coloured(lines: Sequence[Line], write: Callable[[str], object], *, colour: bool) -> None:
    """Writes lines to a terminal or a file.

    Args:
        lines: of a table.
        write: takes each line, with its newline.
        colour: whether escape sequences of colours are written.
    """
    codes = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}
    for table_line in lines:
        style = ";".join(code for name, code in codes.items() if table_line.markup.get(name))
        write(f"\x1b[{style}m{table_line.text}\x1b[0m\n" if colour and style else f"{table_line.text}\n")
