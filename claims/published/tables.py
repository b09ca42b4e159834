"""The published figures as data: one TOML table for each checkpoint, read and checked.

A table has sources, stimuli and figures. A ``[[figures]]`` group holds what its cases share; each case adds keys or
overrides them. ``INTERP_PUBLISHED_FIGURES`` names another folder of tables, such as figures that were measured again.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pytest_interp import UsageError
from pytest_interp.errors import nearest
from pytest_interp.text import shown

HERE = Path(__file__).parent
VARIABLE = "INTERP_PUBLISHED_FIGURES"

# What each measurement takes beside its stimulus; the claim of that name passes them to its assertion.
MEASUREMENTS: Mapping[str, frozenset[str]] = {
    name: frozenset(keys.split())
    for name, keys in {
        "logit_diff": "run knocked_out ablation",
        "logit_diff_gap": "reference reference_value",
        "token_logit": "reference_value",
        "accuracy": "run",
        "probability": "token run",
        "rank": "token",
        "loss": "",
        "top_k": "k",
        "activation_sum": "hook",
        "bias_difference": "",
        "scale_ratio": "heads",
        "logit_lens": "layer site",
        "component_attribution": "layer component",
        "direct_logit_attribution": "heads",
        "source_attribution": "heads position",
        "source_attribution_top": "heads position among most",
        "attention": "heads to minus",
        "attention_write_correlation": "heads",
        "copy_score": "heads negative",
        "prompt_copy_score": "heads negative",
        "ov_eigenvalue_score": "heads",
        "detector_score": "heads kind",
        "detector_top": "heads kind among",
        "patch_effect": "site layer at corruption",
        "head_patch_effect": "heads site at corruption",
        "path_patch_effect": "heads into",
        "noising_effect": "heads corruption",
        "circuit_alone": "",
        "faithfulness": "circuit without",
        "minimality": "heads knocked_out",
        "patch_effect_matrix": "matrix site positions corruption",
        "detector_score_matrix": "matrix kind",
        "direct_logit_attribution_matrix": "matrix",
        "knocked_out_attribution_matrix": "matrix knocked_out",
        "component_attribution_matrix": "matrix",
        "logit_lens_matrix": "matrix sites",
        "attribution_estimate_matrix": "matrix site",
        "suppressed_share": "heads among bias",
        "attended_share": "heads",
        "score_gap": "heads query",
        "attention_change": "heads senders",
        "share_along_answer": "heads",
        "source_effect": "heads",
        "source_effect_top": "heads among most",
        "biased_copy_share": "heads negative",
        "biased_copy_average": "negative",
        "successor_score": "heads sequence own",
        "logit_diff_without_mlps": "layers",
        "signal_strength": "heads signal",
        "signal_share": "heads of corruption signal_drop",
        "prefixed_change": "heads",
        "repair_share": "heads knocked_out",
    }.items()
}
_STIMULUS = frozenset(
    (
        *("bos", "rows", "select", "signals"),
        *("prompt", "answer", "distractor", "corrupted"),
        *("fixture", "arguments"),
        *("arena", "arenas", "enumerated", "mentioned", "random"),
    )
)
_FIGURE = frozenset(
    (
        *("row", "rows", "checkpoint", "measurement", "source", "evidence", "stimulus", "prompts", "id"),
        *("value", "within", "between", "at_least", "at_most"),
    )
)
_STIMULUS_OVERRIDES = frozenset(("answer", "distractor"))


@dataclass(frozen=True)
class Figure:
    """A number that a source prints, the measurement it is compared with, and on which prompts.

    Attributes:
        checkpoint: whose number it is.
        measurement: a key of ``MEASUREMENTS``.
        rows: of the list of documented findings.
        source: paper and section, or notebook and cell.
        evidence: A exact, B regenerable, C band.
        stimulus: what the model reads, as the table has it: listed prompts, a fixture, or a generated set.
        protocol: the measurement's own arguments.
        bound: what the measured value is compared with: ``near``, ``between``, ``at_least`` or ``at_most``.
        value: the printed number, or the matrix of printed numbers; None where the source prints an order only.
        within: how far from the printed number a value may be.
        label: for the id of the case.
    """

    checkpoint: str
    measurement: str
    rows: tuple[str, ...]
    source: str
    evidence: str
    stimulus: Mapping[str, Any]
    protocol: Mapping[str, Any] = field(default_factory=dict)
    bound: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None
    within: float | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if not self.rows:
            raise UsageError(f"{self.place}: a figure names its row")
        if not self.source:
            raise UsageError(f"{self.place}: a figure names its source")
        if self.evidence not in ("A", "B", "C"):
            raise UsageError(f"{self.place}: evidence is {shown(self.evidence)}; allowed: A, B, C")

    @property
    def place(self) -> str:
        """Where it stands, for a message."""
        return f"figures of {self.checkpoint}, {', '.join(self.rows) or 'no row'} ({self.measurement})"


def figures_of(measurement: str, folder: Path | None = None) -> Sequence[Figure]:
    """The figures that a measurement is compared with, of all checkpoints.

    Args:
        measurement: a key of ``MEASUREMENTS``.
        folder: of the tables; by default this project's, or the one that the environment variable names.

    Raises:
        UsageError: no such measurement, or a table that is not well formed.
    """
    if measurement not in MEASUREMENTS:
        raise UsageError(f"{shown(measurement)} is no measurement of a figure{nearest(measurement, MEASUREMENTS)}")
    chosen = folder or Path(os.environ.get(VARIABLE) or HERE / "figures")
    return [figure for figure in all_figures(chosen) if figure.measurement == measurement]


@cache
def all_figures(folder: Path) -> Sequence[Figure]:
    """Every figure of the tables of a folder.

    Raises:
        UsageError: there is no table, or one that is not well formed.
    """
    tables = sorted(folder.glob("*.toml"))
    if not tables:
        raise UsageError(f"{folder} has no table of figures (*.toml); {VARIABLE} names a folder that has")
    figures = [figure for table in tables for figure in read(table)]
    labels = [(figure.checkpoint, figure.measurement, figure.label) for figure in figures]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise UsageError(f"{folder}: two figures are {shown(' '.join(twice[0]))}; give one another id")
    return figures


def read(path: Path) -> Sequence[Figure]:
    """The figures of one table.

    Raises:
        UsageError: not TOML, a missing or unknown key, an unknown source, stimulus, measurement or matrix, a value that
            is no number.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML ({error}); mend that line") from None
    _only(f"{path}: the table", table, ("checkpoint", "sources", "stimuli", "figures"))
    for name, stimulus in table.get("stimuli", {}).items():
        _only(f"{path}: stimuli.{name}", stimulus, _STIMULUS)
    return [figure for group in table.get("figures", ()) for figure in _figures(path, table, group)]


def _figures(path: Path, table: Mapping[str, Any], group: Mapping[str, Any]) -> Iterator[Figure]:
    shared = {key: value for key, value in group.items() if key != "cases"}
    for case in group.get("cases", [{}]):
        yield _figure(path, table, {**shared, **case}, case)


def _figure(path: Path, table: Mapping[str, Any], entry: Mapping[str, Any], case: Mapping[str, Any]) -> Figure:
    measurement = str(entry.get("measurement"))
    if measurement not in MEASUREMENTS:
        raise UsageError(f"{path}: {shown(measurement)} is no measurement{nearest(measurement, MEASUREMENTS)}")
    keys = MEASUREMENTS[measurement]
    rows = entry.get("rows", [entry["row"]] if "row" in entry else [])
    place = f"{path}: {', '.join(rows)} ({measurement})"
    _only(place, entry, _FIGURE | _STIMULUS_OVERRIDES | keys)
    protocol = {key: value for key, value in entry.items() if key in keys}
    matrix = protocol.pop("matrix", None)
    value = entry.get("value") if matrix is None else matrices(path.parent)[matrix]
    stimulus = {**_named(place, table, "stimuli", entry.get("stimulus")), **_parts(entry)}
    if "reference" in protocol:
        protocol["reference"] = _named(place, table, "stimuli", protocol["reference"])
    return Figure(
        checkpoint=_checkpoint(place, table, entry),
        measurement=measurement,
        rows=tuple(rows),
        source=_source(place, table, entry.get("source", "")),
        evidence=entry.get("evidence", _classes().get(rows[0], "") if rows else ""),
        stimulus=stimulus,
        protocol=protocol,
        bound={} if matrix else _bound(place, entry),
        value=value,
        within=entry.get("within"),
        label=_label(rows, entry, case),
    )


def _checkpoint(place: str, table: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    name = entry.get("checkpoint", table.get("checkpoint"))
    if not isinstance(name, str):
        raise UsageError(f"{place} has no checkpoint; name one, or name it for the whole table")
    return name


def _parts(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a figure changes of its stimulus: the compared tokens, or which of its prompts are read."""
    parts = {key: entry[key] for key in _STIMULUS_OVERRIDES if key in entry}
    if "prompts" in entry:
        parts["rows"] = entry["prompts"]
    return parts


def _bound(place: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    wide = {key: entry[key] for key in ("between", "at_least", "at_most") if key in entry}
    if wide:
        return {key: tuple(value) if key == "between" else value for key, value in wide.items()}
    if entry["measurement"].endswith("_top"):
        return {}
    value, within = entry.get("value"), entry.get("within")
    if not isinstance(value, int | float) or not isinstance(within, int | float):
        raise UsageError(f"{place} has value {shown(value)} and within {shown(within)}; pass two numbers, or a band")
    if within <= 0:
        raise UsageError(f"{place} has within {within}; it is how far a value may be off: above 0")
    return {"near": (value - entry.get("reference_value", 0), within)}


def _label(rows: Sequence[str], entry: Mapping[str, Any], case: Mapping[str, Any]) -> str:
    """The row and what tells a case from the others of its group, in characters that an id may have."""
    numbers = ("value", "within", "between", "at_least", "at_most", "row", "rows", "checkpoint", "evidence", "source")
    parts = [entry["id"]] if "id" in entry else [_text(case[key]) for key in case if key not in numbers]
    return "-".join([*rows[:1], *filter(None, map(str, parts))])


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "-".join(map(_text, value.values()))
    if isinstance(value, list):
        return "+".join(map(_text, value))
    return str(value).strip().encode("unicode_escape").decode()


def _named(place: str, table: Mapping[str, Any], section: str, name: Any) -> Mapping[str, Any]:
    known = table.get(section, {})
    if name is None:
        return {}
    if name not in known:
        raise UsageError(f"{place} names {shown(name)}, which [{section}] has not{nearest(str(name), known)}")
    table_of_name: Mapping[str, Any] = known[name]
    return table_of_name


def _source(place: str, table: Mapping[str, Any], text: str) -> str:
    """The source in full: ``EAD, cell 20`` with the key before the comma, or before a colon, written out."""
    known = table.get("sources", {})
    parts = []
    for part in text.split("; "):
        key = next((key for key in known if part == key or part.startswith((f"{key},", f"{key}:"))), None)
        if key is None:
            raise UsageError(f"{place} has the source {shown(part)}; begin it with one of {', '.join(known)}")
        parts.append(known[key] + part[len(key) :])
    return "; ".join(parts)


def _only(place: str, table: Mapping[str, Any], known: Any) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{place} has the unknown key {shown(key)}{nearest(key, list(known))}")


@cache
def _classes() -> Mapping[str, str]:
    rows = tomllib.loads((HERE / "rows.toml").read_text(encoding="utf-8"))["rows"]
    return {name: row["evidence"] for name, row in rows.items()}


@cache
def matrices(folder: Path) -> Mapping[str, Any]:
    """The printed matrices by name, row by row."""
    text = (folder / "matrices.json").read_text(encoding="utf-8")
    return {name: matrix["values"] for name, matrix in json.loads(text).items()}
