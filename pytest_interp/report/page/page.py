"""The page as text: what the template is given, and the data for its script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from pytest_interp.compare.drift import Drift
from pytest_interp.compare.series import Series
from pytest_interp.ledger.ledger import Ledger
from pytest_interp.ledger.reruns import Falsified, Mutant
from pytest_interp.measurement import quote
from pytest_interp.report import circuit_drift, drift, mutants, noise, series
from pytest_interp.report.page.circuit import circuit_of
from pytest_interp.report.page.claims import ClaimView, Prompts, claims_of, interval
from pytest_interp.report.page.drawing import line_of
from pytest_interp.report.page.file import GENERATOR
from pytest_interp.report.page.matrices import HeatMaps
from pytest_interp.report.page.summary import counts_of, judged, sentence
from pytest_interp.report.page.unchecked import gaps_of, in_short
from pytest_interp.text import counted, line, paragraph

TEMPLATES = Path(__file__).with_name("templates")
MOST_BYTES, SHORT = 1_200_000, 1_500
"""Characters of all claims of a page, and those that are kept free for each claim that is still to come."""
MOST_WEIGHTS = 30_000
"""Attention weights of all patterns of a page; patterns after them are left out, and counted."""


def html_of(ledger: Ledger, *, drifts: Sequence[Drift] = (), steps: Series | None = None) -> str:
    """Returns the page of a run.

    Args:
        ledger: of the run.
        drifts: checkpoints of the run against a baseline.
        steps: claims over a series of checkpoints.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"line": _line, "code": _code, "quote": quote, "ends": interval, "counted": counted}
    prompts = Prompts()
    claims, codes = claims_of(ledger, prompts)
    maps, models = HeatMaps(ledger, claims), judged(claims)
    gaps = gaps_of(ledger, compared=bool(drifts))
    patterns, patterns_left_out = _patterns(ledger)
    script, style = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    data = {"prompts": list(map(_whole, prompts.texts)), "patterns": patterns}
    return environment.get_template("page.html").render(
        ledger=ledger,
        run=ledger.run,
        claims=claims,
        codes=codes,
        unheld=[claim for claim in claims if claim.finding not in ("supported", "not applicable")],
        sentence=sentence(ledger, claims),
        counts=counts_of(claims),
        judged=models,
        rows=_rows(environment, claims, several=len(models) > 1),
        roles=sorted({claim.outcome.claim.role for claim in claims if claim.outcome.claim.role}),
        gaps=gaps,
        gaps_in_short=in_short(gaps),
        maps=maps.shown,
        maps_left_out=maps.left_out,
        patterns=patterns,
        patterns_left_out=patterns_left_out,
        circuits=[drawing for checkpoint in ledger.checkpoints if (drawing := circuit_of(checkpoint, claims))],
        drifts=drifts,
        drift_views=drift,
        circuit_views=circuit_drift,
        series=steps,
        series_views=series,
        line_of=line_of,
        mutants=_mutants(claims),
        teeth=mutants.teeth,
        noise=[noise.noise_table(*named) for named in noise.measured_again(ledger.claims).items()],
        data=htmlsafe_json_dumps(data, separators=(",", ":")),
        script=script,
        style=style,
        generator=GENERATOR,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _rows(environment: Environment, claims: Sequence[ClaimView], *, several: bool) -> list[str]:
    """Returns the rows of the table of claims; the last ones are shortened where the page would become too large."""
    template, rows, room = environment.get_template("claim.html"), [], MOST_BYTES
    for place, claim in enumerate(claims):
        row = template.render(c=claim, several=several, full=True)
        if len(row) > room - SHORT * (len(claims) - place - 1):
            row = template.render(c=claim, several=several, full=False)
        room -= len(row)
        rows.append(row)
    return rows


def _line(text: object, limit: int = 1_000) -> str:
    """Returns a text in one line without control characters."""
    return line(text, limit)


def _code(text: str) -> str:
    """Returns a text of several lines without control characters."""
    return paragraph(text, 20_000)


def _whole(text: str) -> str:
    """Returns a prompt without what JSON or a clipboard could not take."""
    return text.encode("utf-8", "backslashreplace").decode()


def _patterns(ledger: Ledger) -> tuple[list[dict[str, Any]], int]:
    """Returns the attention patterns as tables of JSON, and how many are left out so that the page stays small."""
    patterns: list[dict[str, Any]] = []
    weights, left_out = 0, 0
    for checkpoint in ledger.checkpoints:
        for pattern in checkpoint.patterns:
            weights += sum(map(len, pattern.rows))
            if weights > MOST_WEIGHTS:
                left_out += 1
                continue
            patterns.append(
                {
                    "checkpoint": line(checkpoint.name),
                    "head": line(pattern.head),
                    "data": line(pattern.data),
                    "tokens": [line(token, 40) for token in pattern.tokens],
                    "rows": [[round(share, 3) for share in row] for row in pattern.rows],
                }
            )
    return patterns, left_out


def _mutants(claims: Sequence[ClaimView]) -> dict[str, tuple[list[Mutant], list[tuple[ClaimView, Falsified]]]]:
    """Returns by checkpoint the mutants, those that must kill first, and the claims that were run on them."""
    by_checkpoint: dict[str, list[tuple[ClaimView, Falsified]]] = {}
    for claim in claims:
        if claim.outcome.falsified is not None:
            by_checkpoint.setdefault(str(claim.outcome.checkpoint), []).append((claim, claim.outcome.falsified))
    tables = {}
    for checkpoint, rows in by_checkpoint.items():
        columns = {(mutant.expected, mutant.name): mutant for _, falsified in rows for mutant in falsified.mutants}
        tables[checkpoint] = [columns[key] for key in sorted(columns, key=lambda key: key[0])], rows
    return tables
