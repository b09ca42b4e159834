"""Writes docs/architectures.md: ``python docs/architectures.py``, some two minutes."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

PAGE = ROOT / "docs" / "architectures.md"
START, END = "<!-- made by docs/architectures.py -->\n", "<!-- end -->\n"


def table() -> str:
    """The table: a row for each architecture, a column for each family."""
    from architecture_checks import FAMILIES, cells_of
    from architectures import ARCHITECTURES
    from models import word_tokenizer

    tokenizer, reasons = word_tokenizer(), dict[str, int]()
    lines = [f"| architecture | {' | '.join(FAMILIES)} |", f"| --- |{' --- |' * len(FAMILIES)}"]
    for name in ARCHITECTURES:
        row = []
        for cell in cells_of(name, tokenizer).values():
            if cell.difference is None:
                number = reasons.setdefault(cell.reason, len(reasons) + 1)
                row.append(f"not applicable ({number})")
            else:
                row.append(f"{'right' if cell.right else '**wrong**'}, {cell.difference:.0e} of {cell.size:.2g}")
        lines.append(f"| {name} | {' | '.join(row)} |")
        print(lines[-1], flush=True)
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, "", *notes]) + "\n"


def main() -> None:
    """Measures, and writes the page."""
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(f"{before}{START}{table()}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
