"""Drift against a baseline: one sentence, then a line for each claim that did not simply hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pytest_interp.compare.drift import WORDS, ClaimDrift, Drift, Word
from pytest_interp.measurement import quote_both
from pytest_interp.report import circuit_drift as views
from pytest_interp.report.comparison import cell, distance, number, only, shown
from pytest_interp.report.layout import WIDTH
from pytest_interp.report.terminal import Line
from pytest_interp.text import counted, wrapped

MARKUP: dict[Word, dict[str, bool]] = {
    "reversed": {"red": True},
    "lost": {"red": True},
    "undecided": {"yellow": True},
    "weakened": {"yellow": True},
    "gained": {"green": True},
}
QUIET: tuple[Word, ...] = ("held", "not held before")
"""Words of claims that a terminal only counts, unless a caveat is new."""


def sentence(drift: Drift) -> str:
    """Returns one sentence: how many findings of the baseline hold, and what became of the others.

    Args:
        drift: of a checkpoint against its baseline.
    """
    count, held = drift.supported_before, drift.supported_after
    remarks = [f"{drift.counts['weakened']} of them weakened"] if drift.counts["weakened"] else []
    if doubtful := sum(bool(claim.reason) for claim in drift.claims if claim.word in ("held", "weakened")):
        remarks.append(f"{doubtful} with a new caveat")
    weakened = f" ({', '.join(remarks)})" if remarks else ""
    others = [
        f"{drift.counts[word]} {word}" for word in WORDS if word not in ("held", "weakened") and drift.counts[word]
    ]
    finding = f"{counted(count, 'finding')} of {_name(drift, 0)} hold{'s' * (held == 1)} on {_name(drift, 1)}"
    parts = [f"{held} of {finding}{weakened}", *([", ".join(others)] if others else [])]
    return "; ".join([*parts, *views.clauses(drift)])


def terminal(drift: Drift) -> list[Line]:
    """Returns the drift for a terminal: claims, worst first, then the sentence.

    Args:
        drift: of a checkpoint against its baseline.

    Returns:
        Lines of at most 79 columns.
    """
    lines = []
    if causes := changed(drift):
        lines += [Line(text) for text in wrapped(f"changed: {causes}", WIDTH, rest="  ")]
    if drift.words:
        lines += [Line(text) for text in wrapped(f"words {drift.words}", WIDTH, rest="  ")]
    lines += views.terminal(drift)
    for claim in drift.claims:
        if claim.word not in QUIET or claim.reason:
            lines += _claim(claim)
    lines += [Line(text) for text in only(drift.comparison, names(drift))]
    if drift.left_out:
        lines += [Line(text) for text in wrapped(f"heads are not compared: {drift.left_out}", WIDTH, rest="  ")]
    for role, words in drift.heads.items():
        heads = ", ".join(f"{head} {word}" for head, word in words.items())
        lines += [Line(text) for text in wrapped(f"role {role}: {heads}", WIDTH, rest="  ")]
    good = not any(drift.counts[word] for word in ("reversed", "lost", "undecided"))
    markup = {"green": good, "red": not good, "bold": True}
    return [*lines, *(Line(text, markup) for text in wrapped(sentence(drift), WIDTH, rest="  "))]


def _claim(claim: ClaimDrift) -> list[Line]:
    """Returns the lines of one claim: its word and name, then what moved or why it cannot be said."""
    indent = " " * 17
    lines = [
        Line(text, MARKUP.get(claim.word, {}))
        for text in wrapped(claim.pair.name, WIDTH, f"  {claim.word:<14} ", indent)
    ]
    texts = [claim.reason] if claim.reason else []
    for quantity, before, after, how_far, bound in numbers(claim):
        texts.append(f"{quantity} {before} -> {after} ({how_far}), bound: {bound}")
    return lines + [Line(part) for text in texts for part in wrapped(text, WIDTH, indent, f"{indent}  ")]


def changed(drift: Drift) -> str:
    """Returns what differs between the two runs, the weights by their cosine.

    Args:
        drift: of a checkpoint against its baseline.
    """
    causes = [cause for cause in drift.comparison.common_causes if not cause.startswith("weights ")]
    if drift.cosine is not None:
        causes.append(f"weights of heads, cosine {drift.cosine:.4f}")
    return "; ".join(causes)


def names(drift: Drift) -> tuple[str, str]:
    """Returns the names of baseline and checkpoint.

    Args:
        drift: of a checkpoint against its baseline.
    """
    return drift.comparison.before.names[0], drift.comparison.after.names[0]


def _name(drift: Drift, place: int) -> str:
    return names(drift)[place]


def markdown(drift: Drift) -> str:
    """Returns the drift as Markdown: the sentence, then a table of all claims, worst first.

    Args:
        drift: of a checkpoint against its baseline.

    Returns:
        GitHub's Markdown, with a newline at its end.
    """
    parts = [f"**{cell(sentence(drift))}**"]
    parts += ["", f"changed: {cell(causes)}"] if (causes := changed(drift)) else []
    parts += ["", f"words {cell(drift.words)}"] if drift.words else []
    if text := " ".join(only(drift.comparison, names(drift))):
        parts += ["", cell(" ".join(text.split()))]
    parts += views.markdown(drift)
    rows = [row for claim in drift.claims for row in _rows(claim)]
    if rows:
        header = ["claim", "drift", "number", _name(drift, 0), _name(drift, 1), "moved", "bound", "why"]
        parts += ["", *(f"| {' | '.join(row)} |" for row in (list(map(cell, header)), ["---"] * len(header), *rows))]
    if drift.heads:
        rows = [[role, head, word] for role, words in drift.heads.items() for head, word in words.items()]
        parts += ["", "| role | head | drift |", "| --- | --- | --- |"]
        parts += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join(parts) + "\n"


def _rows(claim: ClaimDrift) -> list[list[str]]:
    """Returns a row for each number of a claim; its name and word stand in the first one."""
    first, *others = [list(map(cell, row)) for row in numbers(claim)] or [[""] * 5]
    named = [cell(claim.pair.name), f"**{claim.word}**", *first, cell(claim.reason)]
    return [named, *(["", "", *row, ""] for row in others)]


def numbers(claim: ClaimDrift) -> list[tuple[str, str, str, str, str]]:
    """Returns quantity with unit, both values, how far it moved and the bound of each number that a claim shows.

    Args:
        claim: on the baseline and on the checkpoint.
    """
    if claim.word == "not applicable":
        return []
    bounds = {id(move): after.bound for _, after, move in claim.matched}
    return [
        (f"{move.quantity} ({move.unit})", *quote_both(move.before, move.after), distance(move), bounds[id(move)])
        for move in shown(claim.pair) or claim.pair.moves
    ]


def table(drift: Drift) -> dict[str, Any]:
    """Returns the drift as a table of JSON.

    Args:
        drift: of a checkpoint against its baseline.

    Returns:
        ``baseline``, ``checkpoint``, ``sentence``, ``cosine`` of their weights, ``words`` (who shares those of the
        prompts; empty for those of the checkpoint's own tokenizer), ``counts`` by word, ``circuit``
        (capability, roles, effects; None without profiles), ``heads`` (by role and head the worst word of claims) and
        ``claims``, worst first.
    """
    return {
        "baseline": _name(drift, 0),
        "checkpoint": _name(drift, 1),
        "sentence": sentence(drift),
        "cosine": drift.cosine,
        "words": drift.words,
        "counts": {word: drift.counts[word] for word in WORDS},
        "circuit": None if drift.circuit is None else asdict(drift.circuit),
        "heads": {role: dict(words) for role, words in drift.heads.items()},
        "claims": [
            {
                "claim": claim.pair.name,
                "drift": claim.word,
                "reason": claim.reason,
                "numbers": [{**number(move), "bound": after.bound} for _, after, move in claim.matched],
            }
            for claim in drift.claims
        ],
    }
